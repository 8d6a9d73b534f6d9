"""What the rules look at and what they answer. Plain data: the same in, the same out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final


@dataclass(frozen=True, slots=True)
class SubjectLine:
    """One line as the rules see it. ``amount`` is after all discounts, without freight."""

    sku_id: int
    sku_code: str
    quantity: int
    amount: Decimal
    base_price: Decimal | None
    """None where the SKU has no base price in the order's currency."""
    is_gift: bool
    available: int | None = None
    """Units left in all usable places when this line could not be reserved; None once it is."""
    gift_strategy: str = ""
    """Which strategy the line names; empty where nobody has said."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One order to be judged. Keys are empty where the platform gives no such evidence."""

    order_id: int
    number: str
    placed_at: datetime
    amount: Decimal
    buyer: str
    device: str
    phone: str
    address: str
    ip: str
    lines: tuple[SubjectLine, ...]
    shop_id: int = 0

    def key(self, name: str) -> str:
        value: str = getattr(self, name)
        return value


class _NotApplicable:
    """The fact has no meaning for this order: no gift in it, everything reserved, no such key."""

    def __repr__(self) -> str:
        return "n/a"


NOT_APPLICABLE: Final = _NotApplicable()

FactValue = bool | int | Decimal | Fraction | str | frozenset[str] | _NotApplicable | None
"""None is "unknown", which is never a pass. Text is normal (``risk/words.py``)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A fact's value and what it was counted from."""

    value: FactValue
    orders: tuple[int, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule said of one order."""

    code: str
    hit: bool
    tier: str
    words: str
    seen: tuple[str, ...]
    limits: tuple[str, ...]
    orders: tuple[int, ...] = ()
    queue: str = ""
    tag: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The worst outcome, every finding, and the version that gave it."""

    order_id: int
    rule_set_version: int
    tier: str
    findings: tuple[Finding, ...]
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def hits(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.hit)
