"""Gifts and stock: what is missing to a gift, and what could not be had."""

from collections.abc import Sequence
from decimal import Decimal

from ordercenter.catalog.gifts import MANUAL, Basket, Missed, Piece, Strategy, judge, matching
from risk.contracts import Seen, Subject, SubjectLine
from risk.facts.told import NO_MATTER


def gift_gap(subject: Subject, strategies: Sequence[Strategy]) -> Seen:
    """How much the main goods lack to the gifts, in money or else in pieces.

    Every gift needs a strategy that fits the shop, the time and the goods, unless a person gave
    it. Unknown where there is none at all.
    """
    present = [line for line in subject.lines if line.is_gift]
    if not present:
        return NO_MATTER
    basket = Basket(
        subject.shop_id,
        subject.placed_at,
        tuple(
            Piece(line.sku_id, line.quantity, line.amount)
            for line in subject.lines
            if not line.is_gift
        ),
    )
    worst = Seen(Decimal(0), detail=present[0].sku_code)
    for line in present:
        missed = _missed(line, basket, strategies)
        if missed is None:
            continue
        gap = missed.amount or Decimal(missed.quantity)
        seen = Seen(gap or None, detail=f"{line.sku_code}，{missed.words}")
        if seen.value is None:
            return seen
        worst = max(worst, seen, key=lambda one: Decimal(str(one.value)))
    return worst


def _missed(line: SubjectLine, basket: Basket, strategies: Sequence[Strategy]) -> Missed | None:
    """What the line's gift misses; None where it is earned, or a person's own decision."""
    if line.gift_strategy == MANUAL:
        return None
    found = matching(strategies, line.sku_id, line.gift_strategy)
    verdicts = [judge(one, basket, gift_sku_id=line.sku_id) for one in found]
    missed = [one for one in verdicts if isinstance(one, Missed)]
    if any(one.is_manual for one in found) or len(missed) < len(verdicts):
        return None
    return min(missed, key=lambda m: m.distance, default=Missed("没有对应的赠品策略", 9))


def gift_short(subject: Subject) -> Seen:
    """Units of gifts that could not be reserved because there are not enough."""
    gifts = [line for line in subject.lines if line.is_gift]
    if not gifts:
        return NO_MATTER
    short = [
        (line.quantity - line.available, line.sku_code)
        for line in gifts
        if line.available is not None and line.available < line.quantity
    ]
    if not short:
        return Seen(0)
    return Seen(sum(n for n, _ in short), detail="、".join(code for _, code in short))


def unlocked_available(subject: Subject) -> Seen:
    """The least that is left of a SKU this order wants and does not hold."""
    left = [(ln.available, ln.sku_code) for ln in subject.lines if ln.available is not None]
    if not left:
        return NO_MATTER
    value, code = min(left)
    return Seen(value, detail=code)
