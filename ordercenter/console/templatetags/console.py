"""Words and figures for the templates of the console. Nothing here marks text as safe."""

from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from django import template
from django.template import Context
from django.utils import timezone

from ordercenter.console.navigation import Place, desk, places
from ordercenter.console.stops import banner
from ordercenter.console.words import age_in_words, color, money, plain, said, span_in_words
from ordercenter.core.masking import mask_numbers

register = template.Library()

register.filter("plain", plain)
register.filter("color", color)
register.filter("said", said)


@register.filter
def in_currency(amount: Decimal, currency: str) -> str:
    return money(amount, currency)


@register.filter
def age(moment: datetime | None) -> str:
    return age_in_words(moment, timezone.now())


@register.filter
def left(moment: datetime) -> str:
    """How long until then; nothing is left of what is past."""
    return span_in_words(moment - timezone.now())


@register.filter
def percent(share: Decimal) -> str:
    """A share of one, in percent; never rounded up to all of it."""
    return f"{(share * 100).quantize(Decimal('0.1'), rounding=ROUND_DOWN)}%"


@register.filter
def no_numbers(text: str) -> str:
    """What a buyer typed, without identity and bank-card numbers. Escaped as ever."""
    return mask_numbers(text)


@register.simple_tag(takes_context=True)
def my_places(context: Context) -> list[Place]:
    return places(context["request"])


@register.inclusion_tag("console/intercept/parts/banner_place.html")
def stops_banner() -> dict[str, Any]:
    """What is stopped just now, kept up to date by itself; nothing where nothing is."""
    lines, more = banner()
    return {"lines": lines, "more": more}


@register.simple_tag(takes_context=True)
def my_desk(context: Context) -> dict[str, Any]:
    return desk(context["request"])
