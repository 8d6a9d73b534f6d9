"""The fields a rule's form is drawn with, and what may be picked in them."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

Choices = Sequence[tuple[str, str | Promise]]

WINDOW_UNITS: Final[Choices] = (
    ("1", gettext_lazy("秒")),
    ("60", gettext_lazy("分钟")),
    ("3600", gettext_lazy("小时")),
    ("86400", gettext_lazy("天")),
)
MOST_WORDS: Final = 500
LONGEST_WORD: Final = 100
_BETWEEN: Final = re.compile(r"[、,，;；]")
_HUNDRED: Final = Decimal(100)


class Wrong(ValueError):
    """What is wrong with one field, in words for whoever filled it in."""


@dataclass(frozen=True, slots=True)
class Box:
    """One field: ``kind`` is ``text``, ``number``, ``words``, ``check``, ``one``, ``many`` or
    ``window`` (a number and its unit, ``name`` and ``name.unit``)."""

    kind: str
    name: str
    label: str | Promise
    values: Sequence[str] = ()
    choices: Choices = ()
    unit: str | Promise = ""
    unit_value: str = ""
    error: str = ""
    hint: str | Promise = ""
    redraws: bool = False
    groups: Sequence[tuple[str | Promise, Choices]] = field(default=())

    @property
    def value(self) -> str:
        return self.values[0] if self.values else ""

    @property
    def picks(self) -> list[tuple[str, str | Promise, bool]]:
        """(value, label, whether it is picked); what is picked but no longer offered stays."""
        offered = {value for value, _label in self.choices}
        grouped = {value: label for _heading, choices in self.groups for value, label in choices}
        gone = [
            (value, grouped.get(value, value))
            for value in self.values
            if value and value not in offered and (self.kind == "many" or value not in grouped)
        ]
        return [(value, label, value in self.values) for value, label in (*self.choices, *gone)]


def number_of(text: str) -> Decimal:
    """A number as people type it, commas and full-width digits included. Raises Wrong."""
    plain = unicodedata.normalize("NFKC", text).replace(",", "").replace(" ", "")
    if not plain:
        raise Wrong(_("请填写数字"))
    try:
        number = Decimal(plain)
    except InvalidOperation:
        raise Wrong(_("请填数字，不是“%(text)s”") % {"text": text[:20]}) from None
    if not number.is_finite() or abs(number) >= Decimal(10) ** 12:
        raise Wrong(_("数字太大了"))
    if number < 0:
        raise Wrong(_("不能为负数"))
    return number


def plain(number: Decimal) -> str:
    """A number as a rule writes it: no exponent, no zeros behind the point."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_percent(text: str) -> str:
    """A stored ratio as the form shows it; what is no number is shown as it is."""
    try:
        return plain(Decimal(text) * _HUNDRED)
    except InvalidOperation:
        return text


def from_percent(text: str) -> str:
    """A share typed in per cent, as a rule writes it. Raises Wrong."""
    return plain(number_of(unicodedata.normalize("NFKC", text).rstrip("%")) / _HUNDRED)


def whole_of(text: str) -> int:
    """A whole number. Raises Wrong."""
    number = number_of(text)
    if number != number.to_integral_value():
        raise Wrong(_("请填整数"))
    return int(number)


def words_of(text: str) -> list[str]:
    """The words of a field, each once. Raises Wrong.

    One a line; all on one line they are told apart by 、, commas or semicolons. A word that has
    such a sign in itself is kept whole by ``lines``.
    """
    parts = text.splitlines() if "\n" in text or "\r" in text else _BETWEEN.split(text)
    found = dict.fromkeys(word for part in parts if (word := part.strip()))
    if len(found) > MOST_WORDS:
        raise Wrong(_("最多 %(most)d 个") % {"most": MOST_WORDS})
    if long := next((word for word in found if len(word) > LONGEST_WORD), None):
        raise Wrong(_("“%(word)s…”太长") % {"word": long[:20]})
    return list(found)


def lines(words: Sequence[str]) -> str:
    """Words as a field shows them; ``words_of`` reads the very same out of it."""
    text = "\n".join(words)
    return f"{text}\n" if _BETWEEN.search(text) else text


def window_of(amount: str, unit: str) -> int:
    """Seconds of a span. Raises Wrong."""
    if unit not in dict(WINDOW_UNITS):
        raise Wrong(_("请选择时间单位"))
    seconds = number_of(amount) * int(unit)
    if seconds != seconds.to_integral_value():
        raise Wrong(_("时间请填到整秒"))
    return int(seconds)


def window_shown(seconds: str) -> tuple[str, str]:
    """(amount, unit) in the largest unit that comes out whole."""
    if not seconds.isdecimal():
        return seconds, "60"
    for unit in ("86400", "3600", "60"):
        if int(seconds) and int(seconds) % int(unit) == 0:
            return str(int(seconds) // int(unit)), unit
    return seconds, "1"
