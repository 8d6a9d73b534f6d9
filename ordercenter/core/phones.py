"""What kind of number a phone is, and the one text it has however it was typed."""

import re
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

_EXTENSION: Final = r"(?:(?:-|#|,|x|转|分机|ext\.?)(?P<extension>\d{1,6}))?"
_MOBILE: Final = re.compile(
    rf"(?:\+?86|0086)?-?(?P<number>1[3-9]\d-?\d{{4}}-?\d{{4}}){_EXTENSION}", re.IGNORECASE
)
_LANDLINE: Final = re.compile(
    rf"(?:(?:\+?86|0086)-?)?(?P<number>\(?0\d{{2,3}}\)?-?[2-9]\d{{6,7}}){_EXTENSION}", re.IGNORECASE
)
_SERVICE: Final = re.compile(rf"(?P<number>[48]00-?\d{{3}}-?\d{{4}}){_EXTENSION}", re.IGNORECASE)
_FOREIGN: Final = re.compile(r"(?:\+|00)(?P<number>[1-9][\d().-]{5,20})")
_BLANK: Final = re.compile(r"\s+")
_NOT_DIGIT: Final = re.compile(r"\D")
_FEWEST, _MOST = 6, 20
"""Digits a number has; GB/T 41833 wants six of them on a label."""


class PhoneKind(StrEnum):
    MOBILE = "mobile"
    PRIVACY = "privacy"
    """A mobile with an extension: the platform lends it for a while, to one order or to many."""
    LANDLINE = "landline"
    SERVICE = "service"
    FOREIGN = "foreign"
    OTHER = "other"
    """It has the digits of a number; nothing more is known."""


@dataclass(frozen=True, slots=True)
class Phone:
    """A number by its kind. ``key`` is the same for one line however it was typed; it is empty
    where the number tells nobody apart."""

    kind: PhoneKind
    key: str = field(repr=False)


def read_phone(text: str) -> Phone | None:
    """Read a phone as typed; None for what cannot be one, and for masked text."""
    told = _BLANK.sub("", unicodedata.normalize("NFKC", text))
    if "*" in told:
        return None
    if match := _MOBILE.fullmatch(told):
        kind = PhoneKind.PRIVACY if match["extension"] else PhoneKind.MOBILE
        return Phone(kind, "" if match["extension"] else _digits(match["number"]))
    for kind, pattern in (
        (PhoneKind.LANDLINE, _LANDLINE),
        (PhoneKind.SERVICE, _SERVICE),
        (PhoneKind.FOREIGN, _FOREIGN),
    ):
        if match := pattern.fullmatch(told):
            plus = "+" if kind is PhoneKind.FOREIGN else ""
            return Phone(kind, plus + _digits(match["number"]))
    return Phone(PhoneKind.OTHER, "") if _FEWEST <= len(_digits(told)) <= _MOST else None


def _digits(text: str) -> str:
    return "".join(str(unicodedata.digit(char)) for char in _NOT_DIGIT.sub("", text))
