"""What an order says by itself: money, place, goods, words, and what is missing."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Final

from ordercenter.core.clock import SHANGHAI
from risk.contracts import NOT_APPLICABLE, FactValue, Subject, SubjectLine
from risk.words import normal

OVER_CUSTOMS: Final = frozenset({"台湾省", "香港特别行政区", "澳门特别行政区"})
"""Provinces to which parcels pass the customs, as they do to any place abroad."""


def _main(subject: Subject) -> list[SubjectLine]:
    return [line for line in subject.lines if not line.is_gift]


def _one(text: str) -> FactValue:
    """A text as a set of one; unknown where nothing is given."""
    return frozenset((text,)) if text else None


def _goods_amount(subject: Subject) -> FactValue:
    return sum((line.amount for line in _main(subject)), Decimal(0))


def _units(subject: Subject) -> FactValue:
    return sum(line.quantity for line in _main(subject))


def _max_line_units(subject: Subject) -> FactValue:
    return max((line.quantity for line in _main(subject)), default=NOT_APPLICABLE)


def _is_cross_border(subject: Subject) -> FactValue:
    """A place beyond the customs: one of ours, or one that has no Chinese sign in its name.

    Where no place is given nothing is said; a misspelled province is no place abroad.
    """
    return _is_beyond(subject.province) if subject.province else NOT_APPLICABLE


@lru_cache(maxsize=1_024)
def _is_beyond(province: str) -> bool:
    return province in OVER_CUSTOMS or not any("\u4e00" <= sign <= "\u9fff" for sign in province)


def _has_gift(subject: Subject) -> FactValue:
    return True in [line.is_gift for line in subject.lines]


PLAIN: Final[Mapping[str, Callable[[Subject], FactValue]]] = {
    "amount": lambda s: s.amount,
    "goods_amount": _goods_amount,
    "freight": lambda s: s.freight,
    "province": lambda s: _one(s.province),
    "city": lambda s: _one(s.city),
    "district": lambda s: _one(s.district),
    "channel": lambda s: _one(s.channel),
    "shop": lambda s: _one(s.shop),
    "category": lambda s: s.categories - {""},
    "sku": lambda s: frozenset(line.sku_code for line in s.lines),
    "units": _units,
    "lines": lambda s: len(_main(s)),
    "max_line_units": _max_line_units,
    "is_bundle": lambda s: True in [line.is_part for line in s.lines],
    "has_gift": _has_gift,
    "remark": lambda s: s.remark and normal(s.remark),
    "memo": lambda s: s.memo and normal(s.memo),
    "remark_empty": lambda s: not s.remark.strip(),
    "missing": lambda s: s.missing,
    "is_presale": lambda s: s.is_presale,
    "is_cross_border": _is_cross_border,
    "is_test": lambda s: s.is_test,
    "is_rush": lambda s: s.is_rush,
    "hour": lambda s: s.placed_at.astimezone(SHANGHAI).hour,
}
"""Each is a function of the order alone."""
