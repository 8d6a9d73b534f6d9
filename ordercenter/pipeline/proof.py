"""The proof badge: the stock's invariants checked over everything, every few minutes, on record.

A badge is green only while the last full check is young and found nothing. A check that did not
end leaves no row, so that the badge grows old by itself and says so.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from django.db import transaction

from inventory.models import StockProof
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce
from ordercenter.notices import services as notices
from ordercenter.pipeline.invariants import INVARIANTS, Invariant, Look, Outcome, look_at, snapshot

STALE_AFTER: Final = timedelta(minutes=30)
MOST_ROWS: Final = 1_000
"""So many rows of one broken invariant are counted; more are told as this many."""
KEPT: Final = timedelta(days=400)
_STOCK_CODE: Final = re.compile(r"S\d+")
_COUNTS: Final = (
    "SELECT (SELECT count(*) FROM inventory_stocklevel), "
    "(SELECT count(*) FROM inventory_stockmovement)"
)


class Standing(StrEnum):
    """What a badge says, and the class it is drawn with."""

    GOOD = "good"
    BROKEN = "bad"
    STALE = "stale"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class BrokenCode:
    """One invariant that did not hold: its words, and how many rows break it."""

    code: str
    words: str
    rows: int

    @property
    def is_more(self) -> bool:
        """Whether there are more rows than were counted."""
        return self.rows >= MOST_ROWS


@dataclass(frozen=True, slots=True)
class Badge:
    """The last full check, as it stands at ``now``."""

    standing: Standing
    proof: StockProof | None
    broken: Sequence[BrokenCode] = ()
    checks: int = 0

    @property
    def is_good(self) -> bool:
        return self.standing is Standing.GOOD


def stock_invariants() -> list[Invariant]:
    """The invariants of the stock: those whose code is S and a number."""
    return [one for one in INVARIANTS if _STOCK_CODE.fullmatch(one.code)]


def prove_stock(*, now: datetime | None = None) -> StockProof:
    """Check every stock invariant in one snapshot, keep the result, tell people of a break.

    Writers go on meanwhile. Must not be called inside a transaction.
    """
    now = now or clock_now()
    with snapshot() as cursor:
        cursor.execute(_COUNTS)
        levels, movements = cursor.fetchone()
        outcomes = look_at(Look(cursor, now, MOST_ROWS), stock_invariants())
    broken = {one.code: len(one.broken) for one in outcomes if not one.holds}
    with transaction.atomic():
        before = StockProof.objects.order_by("-ran_at").first()
        proof = StockProof.objects.create(
            ran_at=now,
            seconds=round(sum(one.seconds for one in outcomes), 3),
            levels=levels,
            movements=movements,
            broken=broken,
        )
        StockProof.objects.filter(ran_at__lt=now - KEPT).delete()
        if broken:
            _alarm(outcomes, now=now)
        if before is None or before.broken != broken:
            announce("shops")
    return proof


def _alarm(outcomes: Sequence[Outcome], *, now: datetime) -> None:
    """One notice for the same break an hour; a new code is told at once."""
    red = [one for one in outcomes if not one.holds]
    codes = "-".join(one.code for one in red)
    notices.tell(
        key=f"stock-proof:{codes}:{now:%Y%m%d%H}",
        urgency="3",
        title=f"库存核对不符：{'、'.join(one.code for one in red)}",
        lines=[f"{one.code} {one.words}：{len(one.broken)} 处" for one in red],
        now=now,
    )


def badge(*, now: datetime | None = None) -> Badge:
    """What the last check says now: never green once it is older than ``STALE_AFTER``."""
    now = now or clock_now()
    proof = StockProof.objects.order_by("-ran_at").first()
    checks = len(stock_invariants())
    if proof is None:
        return Badge(Standing.NEVER, None, checks=checks)
    broken = broken_codes(proof.broken)
    if broken:
        return Badge(Standing.BROKEN, proof, broken, checks)
    stale = now - proof.ran_at > STALE_AFTER
    return Badge(Standing.STALE if stale else Standing.GOOD, proof, (), checks)


def broken_codes(told: Mapping[str, int]) -> list[BrokenCode]:
    """What a proof's ``broken`` says, with words; a code of an older version keeps its code."""
    words = {one.code: str(one.words) for one in INVARIANTS}
    return [BrokenCode(code, words.get(code, code), rows) for code, rows in told.items()]
