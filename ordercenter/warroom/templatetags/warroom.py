"""How the live pages put figures into words."""

from collections.abc import Sequence
from datetime import timedelta

from django import template
from django.utils.translation import gettext as _

from ordercenter.warroom import spark

register = template.Library()


@register.filter
def span(value: timedelta | None) -> str:
    """Say how long in at most two units; nothing for nothing."""
    if value is None:
        return ""
    seconds = max(int(value.total_seconds()), 0)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return _("%(days)d 天 %(hours)d 时") % {"days": days, "hours": hours}
    if hours:
        return _("%(hours)d 时 %(minutes)d 分") % {"hours": hours, "minutes": minutes}
    if minutes:
        return _("%(minutes)d 分钟") % {"minutes": minutes}
    return _("%(seconds)d 秒") % {"seconds": seconds}


@register.filter
def points(figures: Sequence[int]) -> str:
    return spark.points(figures)
