"""What the rules look at and what they answer. Plain data: the same in, the same out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from risk.language import FactSpec, Outcome, Program


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
    category: str = ""
    is_part: bool = False
    """Part of a bundle that was bought as one."""


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
    shop: str = ""
    channel: str = ""
    received_at: datetime | None = None
    """When it came in: lists count as they stood then. None for its own time."""
    currency: str = "CNY"
    freight: Decimal = Decimal(0)
    province: str = ""
    city: str = ""
    district: str = ""
    remark: str = ""
    memo: str = ""
    missing: frozenset[str] | None = frozenset()
    """What of receiver and money was not given, by name; None where nobody can tell."""
    shingles: tuple[int, ...] | None = None
    """Of a clear address (``OrderEvidence.address_shingles``); None where there is none."""
    is_presale: bool = False
    is_test: bool = False
    is_rush: bool = False

    def key(self, name: str) -> str:
        value: str = getattr(self, name)
        return value

    @property
    def listed_at(self) -> datetime:
        return self.received_at or self.placed_at

    @property
    def categories(self) -> frozenset[str]:
        return frozenset(line.category for line in self.lines if not line.is_gift)


class _NotApplicable:
    """The fact has no meaning for this order: no gift in it, everything reserved, no such key."""

    def __repr__(self) -> str:
        return "n/a"


NOT_APPLICABLE: Final = _NotApplicable()

FactValue = bool | int | Decimal | Fraction | str | frozenset[str] | _NotApplicable | None
"""None is "unknown", which is never a pass. Text is normal (``risk/words.py``)."""


class Seen(NamedTuple):
    """A fact's value and what it was counted from; made for every fact of every order."""

    value: FactValue
    orders: tuple[int, ...] = ()
    detail: str = ""


Facts = Mapping[FactSpec, Seen]


@dataclass(frozen=True, slots=True)
class Around:
    """What speaks against acting on a hit: it is kept, and stops nobody.

    ``spent``: rules whose budget for this order is used up. ``exempt``: rules of tier 2 that let
    this customer pass, "" for all of them. ``is_history``: the order was over before it came.
    """

    spent: frozenset[str] = frozenset()
    exempt: frozenset[str] = frozenset()
    is_history: bool = False


NOTHING_AROUND: Final = Around()
HISTORY, EXEMPT, SPENT = "history", "exempt", "budget"
"""Why a hit was skipped."""


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
    outcome: Outcome | None = None
    error: str = ""
    skipped: str = ""
    """Why a hit counts for nothing; empty where it does."""

    @property
    def queue(self) -> str:
        return self.outcome.queue if self.outcome else ""

    @property
    def tag(self) -> str:
        return self.outcome.tag if self.outcome else ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The worst outcome, every rule that hit, and the rules and facts that gave it."""

    subject: Subject = field(repr=False)
    tier: str
    found: tuple[Finding, ...]
    """Rules that hit, those skipped among them."""
    program: Program = field(repr=False)
    facts: Facts = field(repr=False)
    around: Around = NOTHING_AROUND

    @property
    def order_id(self) -> int:
        return self.subject.order_id

    @property
    def rule_set_version(self) -> int:
        return self.program.version

    @property
    def hits(self) -> tuple[Finding, ...]:
        """What counts."""
        return tuple([f for f in self.found if not f.skipped])
