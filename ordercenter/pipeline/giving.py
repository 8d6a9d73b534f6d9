"""The step of the path that gives: which gifts an order earns, as lines that need stock.

Gifts are counted when an order is mapped and again whenever what it bought changes. While
nothing of it is picked the lines follow at once, and what it holds of the stock with them;
after that a hold says what is owed and what lies in the parcel. Platform gifts are only named.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from fulfillment.models import Parcel
from inventory.selectors import SourceMap
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.catalog import gifts
from ordercenter.catalog.gifts import Basket, Earned, Gift, Missed, Step, Strategy, judge
from ordercenter.core.actor import Actor, ActorKind
from ordercenter.orders.states import OPEN, HoldKind, OrderStatus
from ordercenter.pipeline import gift_facts, regiving
from ordercenter.pipeline.work import HoldDraft, Line, Work, new_lines

S = OrderStatus
CODE: Final = "gift"
"""The code of the hold for gifts that do not fit the order any more."""
FITS: Final = "赠品已与订单一致"
IN_WAREHOUSE: Final = (Parcel.State.PICKED, Parcel.State.PACKED)


@dataclass(slots=True)
class Change:
    """What is to become of one order's gifts."""

    work: Work
    add: list[tuple[Strategy, Earned]] = field(default_factory=list)
    drop: list[tuple[Line, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.add or self.drop)

    @property
    def words(self) -> str:
        owed = [f"应加赠 {e.step.gift.name}×{e.step.quantity}（{s.name}）" for s, e in self.add]
        return "；".join(
            owed + [f"应撤回 {ln.title}×{ln.quantity}：{why}" for ln, why in self.drop]
        )


def give(works: Sequence[Work], sources: SourceMap, *, actor: Actor, now: datetime) -> None:
    """Let the gifts of every order that asks for it follow its goods.

    In the caller's transaction, orders locked, before stock is. Without an active strategy and
    without a gift there is no statement.
    """
    due = [work for work in works if work.must_gift and _may_get(work)]
    for work in works:
        work.must_gift = False
    if not due:
        return
    rows = gifts.strategies()
    _name_platform_gifts(due, rows)
    known = {row.code: row for row in rows if row.is_automatic}
    given = any(ln.gift_strategy in known for work in due for ln in work.lines)
    if given or any(row.is_active for row in known.values()):
        baskets = gift_facts.baskets(due, known.values())
        changes = [_compare(work, baskets[work.id], known) for work in due]
        _leave_out_declined(changes)
        _keep_to_limits(changes)
    else:
        changes = [Change(work) for work in due]
    _apply(changes, works, sources, actor=actor, now=now)


def _may_get(work: Work) -> bool:
    """Not what somebody else has shipped, what has left or ended, or is not mapped whole; and not
    what leaves in parts: its gifts were settled when it was parted."""
    return (
        work.status in OPEN - {S.RECEIVED}
        and not work.is_parted
        and len(work.source_ids) < 2  # noqa: PLR2004 - held in several places
        and not any(ln.is_unmapped for ln in work.lines)
        and not work.held_by_code(HoldKind.CHANNEL, "shipped_elsewhere")
    )


def _name_platform_gifts(works: Sequence[Work], rows: Iterable[Strategy]) -> None:
    """Say of each gift the channel sent which strategy stands behind it."""
    for work in works:
        nameless = [ln for ln in work.lines if ln.is_gift and not ln.gift_strategy]
        if not nameless:
            continue
        basket = gift_facts.basket_of(work, work.lines, frozenset())
        for line in nameless:
            sku_id = line.sku_id or 0
            fitting = [
                row
                for row in gifts.matching(rows, sku_id, "")
                if row.kind == "platform"
                and isinstance(judge(row, basket, gift_sku_id=sku_id), Earned)
            ]
            line.gift_strategy = fitting[0].code if fitting else gifts.PLATFORM
            line.dropped_now, work.row_changed = True, True


# --- what it earns --------------------------------------------------------------------------


def _compare(work: Work, basket: Basket, known: dict[str, Strategy]) -> Change:
    """What the order should have against what it has, limits of others left aside."""
    change = Change(work)
    has = {ln.gift_strategy: ln for ln in work.lines if ln.is_gift and not ln.is_dropped}
    from_channel = {ln.sku_id for ln in work.goods if ln.is_gift and ln.gift_strategy not in known}
    for code, row in known.items():
        verdict, line = judge(row, basket), has.get(code)
        if isinstance(verdict, Missed):
            if line is not None:
                change.drop.append((line, verdict.words))
        elif line is not None:
            if not _is_this(line, row, verdict.step):
                change.drop.append((line, f"改为 {verdict.step.gift.name}"))
                change.add.append((row, verdict))
        elif row.is_active and verdict.step.gift.sku_id not in from_channel:
            change.add.append((row, verdict))
    return change


def _is_this(line: Line, row: Strategy, step: Step) -> bool:
    instead = row.substitute.sku_id if row.substitute else None
    return line.sku_id in {step.gift.sku_id, instead} and line.quantity == step.quantity


def _leave_out_declined(changes: Sequence[Change]) -> None:
    """What a person took out of an order does not come back by itself."""
    asked = [
        change.work.id
        for change in changes
        for row, _ in change.add
        if any(ln.is_dropped and ln.gift_strategy == row.code for ln in change.work.lines)
    ]
    if not asked:
        return
    records = AuditRecord.objects.filter(
        object_type="order",
        object_id__in=asked,
        action=Action.GIFTS_GIVEN,
        actor_kind=ActorKind.PERSON,
    ).values_list("object_id", "change")
    declined = {
        (order_id, entry["strategy"])
        for order_id, facts in records
        for entry in facts.get("gifts", ())
        if entry["what"] == "declined"
    }
    for change in changes:
        kept = [(r, e) for r, e in change.add if (change.work.id, r.code) not in declined]
        change.add = kept


def _keep_to_limits(changes: Sequence[Change]) -> None:
    """Leave out what other orders have used up: the first N of all, so many a buyer.

    Counted behind a lock of the strategy, so that two batches cannot both give the last one.
    """
    counted = {row.id: row for change in changes for row, _ in change.add if row.is_counted}
    if not counted:
        return
    limits = gift_facts.lock_limits(list(counted))
    codes = [row.code for row in counted.values()]
    buyers = {c.work.evidence.buyer for c in changes if c.work.evidence.buyer}
    given, by_buyer = gift_facts.given_by(codes), gift_facts.given_to(codes, buyers)
    for change in changes:
        left: list[tuple[Strategy, Earned]] = []
        buyer = change.work.evidence.buyer
        for row, earned in change.add:
            if row.is_counted and not any(ln.gift_strategy == row.code for ln, _ in change.drop):
                first, each = limits[row.id]
                if first is not None and given[row.code] >= first:
                    continue
                if each is not None and buyer and by_buyer[row.code, buyer] >= each:
                    continue
                given[row.code] += 1
                by_buyer[row.code, buyer] += 1
            left.append((row, earned))
        change.add = left


# --- what follows ---------------------------------------------------------------------------


def _apply(
    changes: Sequence[Change],
    batch: Sequence[Work],
    sources: SourceMap,
    *,
    actor: Actor,
    now: datetime,
) -> None:
    inside = _inside([c.work for c in changes if c and c.work.status is S.ROUTED])
    rearranged = []
    for change in changes:
        work = change.work
        if not change:
            work.unhold(HoldKind.CHANGED, "赠品已与订单一致", code=CODE)
        elif work.id in inside:
            words = f"赠品与订单不符：{change.words}；包裹{inside[work.id]}"
            work.hold(HoldDraft(HoldKind.CHANGED, CODE, "2", words, _facts(change)))
        elif work.status is S.MAPPED:
            take_back(work, change.drop)
            add_lines([(work, row, earned) for row, earned in change.add])
        else:
            rearranged.append(change)
    if rearranged:
        _rearrange(rearranged, batch, sources, actor=actor, now=now)


def _inside(works: Sequence[Work]) -> dict[int, str]:
    """What lies in the parcels of orders that are picked already, in words."""
    found: dict[int, str] = {}
    if not works:
        return found
    parcels = Parcel.objects.filter(
        order_id__in=[work.id for work in works], state__in=IN_WAREHOUSE
    ).prefetch_related("parcel_lines__sku")
    for parcel in parcels:
        goods = "、".join(f"{row.sku.name}×{row.quantity}" for row in parcel.parcel_lines.all())
        said = f" {parcel.number} {parcel.get_state_display()}，内有 {goods}"
        found[parcel.order_id] = found.get(parcel.order_id, "") + said
    return found


def _facts(change: Change) -> dict[str, Any]:
    return {
        "owed": [[e.step.gift.code, e.step.quantity, r.code] for r, e in change.add],
        "too_many": [[ln.line_no, ln.quantity, ln.gift_strategy] for ln, _ in change.drop],
    }


def take_back(work: Work, lines: Iterable[tuple[Line, str]]) -> None:
    """Drop gift lines, each with its reason in the record."""
    for line, why in lines:
        work.drop(line)
        work.gifts.append(
            {"what": "dropped", "line": line.line_no, "strategy": line.gift_strategy, "words": why}
        )
    work.must_gift = False


def add_lines(given: Sequence[tuple[Work, Strategy, Earned]]) -> list[Line]:
    """Add a line for each gift, each with its reason in the record."""
    made = []
    for (work, row, earned), pk in zip(given, new_lines(len(given)), strict=True):
        step = earned.step
        made.append(gift_line(work, pk, step.gift, step.quantity, row.code))
        note(work, made[-1], earned.words)
    return made


def gift_line(work: Work, pk: int, gift: Gift, quantity: int, code: str) -> Line:
    """A line of the order for a gift of ours: no money, and nothing the channel knows of."""
    line = Line(
        id=pk,
        line_no=max((other.line_no for other in work.lines), default=0) + 1,
        channel_line_id="",
        platform_sku_id="",
        outer_code="",
        title=gift.name,
        quantity=quantity,
        unit_price=Decimal(0),
        amount=Decimal(0),
        is_gift=True,
        gift_strategy=code,
        sku_id=gift.sku_id,
        fresh=True,
    )
    work.lines.append(line)
    work.has_gift = work.row_changed = True
    return line


def note(work: Work, line: Line, words: str, what: str = "given") -> None:
    work.gifts.append(
        {"what": what, "line": line.line_no, "strategy": line.gift_strategy, "words": words}
    )


def _rearrange(
    changes: Sequence[Change],
    batch: Sequence[Work],
    sources: SourceMap,
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """Change orders that hold their stock: all of it stays held, or nothing changes."""
    tried: list[tuple[Change, list[Line]]] = []
    for change in changes:
        lines = add_lines([(change.work, row, earned) for row, earned in change.add])
        take_back(change.work, change.drop)
        tried.append((change, lines))
    plans = [
        regiving.Plan(change.work, lines, substitutes_of(change.work, lines))
        for change, lines in tried
    ]
    regiving.rearrange(plans, sources, batch=batch, actor=actor, now=now)
    for plan, (change, _) in zip(plans, tried, strict=True):
        work = change.work
        if plan.refused:
            names = "、".join(f"{ln.title}×{ln.quantity}" for ln in plan.refused)
            numbers = {ln.line_no for ln in plan.refused}
            work.gifts = [g for g in work.gifts if g["line"] not in numbers]
            words = f"应加赠 {names}，库存不足，未加入订单"
            work.hold(HoldDraft(HoldKind.CHANGED, CODE, "2", words, _facts(change)))
        else:
            work.unhold(HoldKind.CHANGED, FITS, code=CODE)
        for line in plan.swapped:
            note(work, line, f"原赠品缺货，改送 {line.title}", "swapped")


# --- substitutes ----------------------------------------------------------------------------


def substitutes_of(work: Work, lines: Iterable[Line]) -> dict[int, Gift]:
    """What may go instead, by line; for lines that are not the substitute already."""
    by_code = {row.code: row.substitute for row in gifts.strategies()}
    found = {}
    for line in lines:
        instead = by_code.get(line.gift_strategy)
        if instead and line.is_gift and not line.is_dropped and line.sku_id != instead.sku_id:
            found[line.id] = instead
    return found


def substitute(works: Sequence[Work]) -> list[Work]:
    """Put substitutes into orders that just failed to get their stock; return these orders.

    Of several gifts those are swapped that are short; all that can be where none is alone.
    """
    swapped = []
    for work in works:
        if (
            work.status is not S.MAPPED
            or not work.left
            or not any(ln.is_gift and ln.gift_strategy for ln in work.lines)
        ):
            continue
        instead = substitutes_of(work, work.to_hold)
        lines = [ln for ln in work.to_hold if ln.id in instead]
        short = [ln for ln in lines if work.left.get(ln.sku_id or 0, 0) < ln.quantity]
        for line in short or lines:
            work.swapped.append((line, line.sku_id, line.title))
            swap(line, instead[line.id])
        if lines:
            swapped.append(work)
    return swapped


def swap(line: Line, gift: Gift) -> None:
    line.sku_id, line.title, line.mapped_now = gift.sku_id, gift.name, True


def settle_substitutes(works: Sequence[Work]) -> None:
    """Keep the substitutes of orders that got their stock, and take back the others."""
    for work in works:
        for line, sku_id, title in work.swapped:
            if work.status is S.MAPPED:
                line.sku_id, line.title, line.mapped_now = sku_id, title, False
            else:
                note(work, line, f"{title} 缺货，改送 {line.title}", "swapped")
        work.swapped.clear()


def only_given(work: Work) -> set[int]:
    """SKUs this order wants as gifts only."""
    bought = {ln.sku_id for ln in work.goods if not ln.is_gift}
    return {ln.sku_id for ln in work.goods if ln.is_gift and ln.sku_id} - bought
