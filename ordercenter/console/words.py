"""How figures are put into words on the pages of the console."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.utils.translation import gettext as _

_SIGNS: Final = {"CNY": "¥", "USD": "$", "EUR": "€", "GBP": "£", "HKD": "HK$", "JPY": "JP¥"}
_NOTHING: Final = "无"
_COLOR: Final = re.compile(r"#[0-9A-Fa-f]{6}")


def span_in_words(span: timedelta) -> str:
    """Two units at most: ``3 分``, ``2 小时 5 分``, ``4 天 6 小时``."""
    minutes = max(0, int(span.total_seconds() // 60))
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return _("%(days)d 天 %(hours)d 小时") % {"days": days, "hours": hours}
    if hours:
        return _("%(hours)d 小时 %(minutes)d 分") % {"hours": hours, "minutes": minutes}
    return _("%(minutes)d 分") % {"minutes": minutes}


def age_in_words(moment: datetime | None, now: datetime) -> str:
    return span_in_words(now - moment) if moment else ""


def money(amount: Decimal, currency: str) -> str:
    """``¥1,234.50``; a currency without a sign of its own is named."""
    sign = _SIGNS.get(currency)
    minus = "-" if amount < 0 else ""
    return f"{minus}{sign}{abs(amount):,.2f}" if sign else f"{currency} {amount:,.2f}"


def color(text: str) -> str:
    """A color a page may paint with, or nothing."""
    return text if _COLOR.fullmatch(text) else ""


def plain(value: Any) -> str:
    """A value out of a JSON column, as people write it."""
    if isinstance(value, bool):
        return _("是") if value else _("否")
    if value is None:
        return "—"
    if isinstance(value, list | tuple):
        return "、".join(plain(part) for part in value)
    if isinstance(value, dict):
        return "；".join(f"{key}：{plain(part)}" for key, part in value.items())
    return str(value)


def said(text: str) -> str:
    """What a buyer wrote; empty where he wrote nothing and a rule of tier 1 filled that in."""
    return "" if text.strip() == _NOTHING else text
