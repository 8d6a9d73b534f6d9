"""The path of an order: map, give, reserve, screen, clear, route. Every step takes a batch.

An order moves on, gets a hold, or waits for its payment; nothing a step refuses touches the
other orders of the batch. ``take`` runs every step that may follow, then writes once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from fulfillment import services as fulfillment
from fulfillment.models import Stage
from inventory import services as inventory
from inventory.contracts import Buyer, Cap, Demand, Grant, StockRequest
from inventory.selectors import SourceMap
from ordercenter.catalog.selectors import Shelf
from ordercenter.core.actor import Actor
from ordercenter.core.live import announce
from ordercenter.core.money import share_out
from ordercenter.orders.states import OPEN, HoldKind, Leaves, OrderStatus
from ordercenter.pipeline import giving, promises, screening
from ordercenter.pipeline.interception import gates, holding
from ordercenter.pipeline.movable import immovable
from ordercenter.pipeline.work import HoldDraft, Line, TaskDraft, Work, new_lines, write
from risk import services as risk
from risk.sets import live_program

S = OrderStatus
MONEY: Final = frozenset({"paid_at", "paid_amount", "payable_amount", "freight"})
DEPOSIT: Final = "deposit"
"""The code of the hold for the money of another order: it is not tied yet, or it is lost."""
BALANCE: Final = "balance"
"""The code of the hold of an order that only took the deposit, until its balance is tied."""
IS_LOST: Final = """(d.status = 'canceled' OR EXISTS (SELECT 1 FROM orders_orderhold h
    WHERE h.order_id = d.id AND h.kind = 'refund' AND h.released_at IS NULL))"""
"""Of an order ``d`` that took a deposit: it is canceled, or its money is asked back."""
BLOCKS_CLEARING: Final = (
    HoldKind.RULE,
    HoldKind.PERSON,
    HoldKind.INCOMPLETE,
    HoldKind.ADDRESS_CHANGE,
    HoldKind.CHANGED,
    HoldKind.INTERCEPT,
    HoldKind.FAULT,
)


def take(works: Sequence[Work], *, actor: Actor, now: datetime) -> dict[int, int]:
    """Take every order as far as it can go, and write the batch. Return the new versions.

    In the caller's transaction, with stored orders locked. One nudge for the whole batch.
    """
    running = gates.enter()
    shelf = Shelf.for_codes(_codes(works))
    map_lines(works, shelf)
    program = None
    if any(work.must_judge or work.must_gift or work.status is S.MAPPED for work in works):
        risk.queue_up()
        program = live_program()
    sources = SourceMap()
    giving.give(works, sources, actor=actor, now=now)
    give_back(works, sources, actor=actor, now=now)
    if program:
        screening.prefer(works, program, shelf, sources)
    reserve(works, sources, actor=actor, now=now)
    if swapped := giving.substitute(works):
        reserve(swapped, sources, actor=actor, now=now)
        giving.settle_substitutes(swapped)
    promises.settle(works, sources, now=now)
    check(works)
    if program:
        screening.screen(works, program, shelf, now=now)
    holding.stop(works, running)
    clear(works)
    plans = route(works, sources)
    versions = write(works, actor=actor, now=now)
    judged = [work.judgement for work in works if work.judgement]
    risk.keep_verdicts(judged, versions=versions, now=now)
    fulfillment.plan_parcels(plans, now=now)
    holding.stop_parcels(works, running, by=actor.name, now=now)
    fulfillment.open_tasks(
        [
            fulfillment.TaskRequest(work.id, t.stage, t.note, work.priority, t.warehouse_id,
                                    t.parcel_id)
            for work in works
            for t in work.tasks
        ],
        now=now,
    )  # fmt: skip
    if versions:
        announce("orders", count=len(versions))
    return versions


def _codes(works: Sequence[Work]) -> set[tuple[int, str]]:
    """(shop, code) of every line that may still have to be mapped, and SKUs to price."""
    return {
        (work.shop_id, code)
        for work in works
        if _has_unmapped(work)
        for line in work.lines
        for code in (line.platform_sku_id, line.outer_code)
        if code
    }


def map_lines(works: Sequence[Work], shelf: Shelf) -> None:
    """RECEIVED → MAPPED: tie each line to what we stock, or hold the order naming the codes."""
    for work in works:
        if not _has_unmapped(work) or (work.held_by(HoldKind.CHANNEL) and work.is_test):
            continue
        if not work.lines:
            work.hold(_hold(HoldKind.INCOMPLETE, "no_lines", "2", "订单没有商品行"))
            continue
        problems = [p for line in list(work.lines) if (p := tie_line(work, line, shelf))]
        if problems:
            words = "商品未匹配：" + "、".join(problems)
            work.hold(_hold(HoldKind.UNMAPPED, "unmapped", "2", words, codes=problems))
            continue
        work.unhold(HoldKind.UNMAPPED, "商品已匹配")
        work.must_judge = work.must_gift = True
        if work.status is S.RECEIVED:
            work.move(S.MAPPED)


def _has_unmapped(work: Work) -> bool:
    """Nothing is mapped of what has just come, and of a stored order what was added to it."""
    return work.status is S.RECEIVED or (
        work.status is S.MAPPED and any(ln.is_unmapped for ln in work.lines)
    )


def tie_line(work: Work, line: Line, shelf: Shelf) -> str:
    """Tie one line, a bundle with its parts; return what is wrong in words, empty when tied."""
    if not line.is_unmapped:
        return ""
    found = shelf.find(work.shop_id, line.platform_sku_id, line.outer_code)
    if found is None:
        code = line.outer_code or line.platform_sku_id or line.title[:30]
        return f"{code}"
    if found.conflict:
        return f"{line.outer_code}（平台 SKU 与商家编码指向不同货品）"
    if problem := shelf.problem(found.bundle_id):
        return f"{line.outer_code or line.platform_sku_id}（{problem}）"
    line.sku_id, line.bundle_id = found.sku_id, found.bundle_id
    line.listing_version, line.mapped_now = found.version, True
    if found.bundle_id:
        _explode(work, line, shelf)
    return ""


def _explode(work: Work, line: Line, shelf: Shelf) -> None:
    """Add the parts of a bundle line, its money shared out over them exactly to the fen."""
    parts = shelf.parts(line.bundle_id)
    amounts = share_over_parts(line.amount, [part.weight(work.placed_at) for part in parts])
    ids = new_lines(len(parts))
    next_no = max(other.line_no for other in work.lines) + 1
    for index, part in enumerate(parts):
        quantity = part.pieces * line.quantity
        work.lines.append(
            Line(
                id=ids[index],
                line_no=next_no + index,
                channel_line_id=line.channel_line_id,
                platform_sku_id="",
                outer_code="",
                title=line.title,
                quantity=quantity,
                unit_price=(amounts[index] / quantity).quantize(Decimal("0.01")),
                amount=amounts[index],
                is_gift=line.is_gift,
                bundle_line_id=line.id,
                sku_id=part.sku_id,
                listing_version=line.listing_version,
                fresh=True,
            )
        )


def share_over_parts(amount: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """Split a line's money over its parts, exactly; parts without any price share it evenly."""
    return share_out(amount, weights if any(weights) else [Decimal(1)] * len(weights))


def give_back(works: Sequence[Work], sources: SourceMap, *, actor: Actor, now: datetime) -> None:
    """Release what orders hold whose goods are others now, and take their parcels apart.

    All levels the batch may come to are locked first, in one pass: what is given back here and
    what is reserved after it must not be locked the wrong way round.
    """
    changed = [work for work in works if work.gives_back]
    if not changed:
        return
    skus = {line.sku_id for work in works for line in work.lines if line.sku_id}
    inventory.lock_ahead([work.id for work in changed], sources.all, skus)
    reasons = {work.id: work.reason for work in changed}
    fulfillment.take_apart(reasons, by=actor.name, now=now)
    for work in changed:
        work.source_ids = ()
    inventory.release([work.id for work in changed], reason="changed", actor=actor, now=now)


def reserve(works: Sequence[Work], sources: SourceMap, *, actor: Actor, now: datetime) -> None:
    """MAPPED → RESERVED: hold stock in the nearest warehouse that has everything, or say what
    is short. An unpaid order is tried when it arrives, and again once it is paid.

    Of an order that leaves in parts what is to come (``fills_rest``) is tried beside it."""
    wanting = [w for w in works if (w.status is S.MAPPED and _wants_stock(w)) or w.fills_rest]
    minutes = unpaid_minutes() if any(_may_run_out(w) for w in wanting) else {}
    requests = [_request(w, sources, minutes, now) for w in wanting]
    if not requests:
        return
    all_new = all(w.fresh for w in wanting)
    grants = inventory.reserve_many(
        requests, actor=actor, now=now, new_orders=all_new, immovable=immovable
    )
    grants = _divide(requests, grants, actor=actor, now=now)
    codes = _sku_codes(grants)
    for work, grant in zip(wanting, grants, strict=True):
        if work.fills_rest:
            _fill_rest(work, grant)
            continue
        if grant.granted:
            work.source_ids = grant.places
            work.unhold(HoldKind.SHORTAGE, "库存已占用")
            work.must_judge = True
            work.move(S.RESERVED)
            if grant.clawed:
                work.flags.append("clawed_back")
            continue
        if grant.capped:
            work.hold(_capped(grant.capped, codes))
            continue
        work.unhold(HoldKind.SHORTAGE, "已付款，改按缺货处理", code="capped")
        work.left = dict(grant.seen or {})
        gifts = giving.only_given(work)
        said = "、".join(
            f"{'赠品 ' if s.sku_id in gifts else ''}{codes[s.sku_id]} 需 {s.wanted} 件，"
            f"可用 {s.available} 件"
            for s in grant.shortages
        )
        if work.short_because:
            said = f"{said}（{work.short_because}）"
        short = [[codes[s.sku_id], s.wanted, s.available] for s in grant.shortages]
        work.hold(_hold(HoldKind.SHORTAGE, "shortage", "2", f"缺货：{said}", short=short))


def _divide(
    requests: Sequence[StockRequest], grants: list[Grant], *, actor: Actor, now: datetime
) -> list[Grant]:
    """Try over several warehouses what no single one could fill, where the shop lets it."""
    short = [r for r, grant in zip(requests, grants, strict=True) if grant.shortages]
    most = most_parcels() if any(len(r.demands) > 1 for r in short) else {}
    again = [
        replace(r, most_places=most[r.shop_id or 0]) for r in short if r.shop_id in most
    ]  # fmt: skip
    if not again:
        return grants
    tried = inventory.reserve_many(again, actor=actor, now=now)
    divided = {grant.order_id: grant for grant in tried}
    return [divided.get(grant.order_id, grant) for grant in grants]


def most_parcels() -> dict[int, int]:
    """The shops whose orders may be divided over warehouses, and over how many."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, most_parcels FROM catalog_shop WHERE most_parcels > 1")
        return dict(cursor.fetchall())


def _request(
    work: Work, sources: SourceMap, minutes: Mapping[int, int], now: datetime
) -> StockRequest:
    lines = work.rest if work.fills_rest else work.to_hold
    return StockRequest(
        order_id=work.id,
        demands=tuple(
            Demand(ln.id, ln.sku_id, ln.quantity, ln.amount, ln.bundle_line_id)
            for ln in lines
            if ln.sku_id
        ),
        sources=sources.for_order(work.shop_id, work.province, first=work.prefers),
        expires_at=_expiry(work, minutes, now) if _may_run_out(work) else None,
        shop_id=work.shop_id,
        is_paid=work.is_paid,
        currency=work.currency,
        buyer=Buyer(work.evidence.buyer, work.evidence.address, work.evidence.ip),
        beside=work.fills_rest,
    )


def _fill_rest(work: Work, grant: Grant) -> None:
    """What was to come has its stock: a parcel of its own is planned for it."""
    work.fills_rest = False
    if not grant.granted:
        return
    work.source_ids = tuple(dict.fromkeys((*work.source_ids, *grant.places)))
    work.part(work.rest, Leaves.FIRST)
    work.reason = work.reason or "待补发的货品已占到库存"
    if grant.clawed:
        work.flags.append("clawed_back")
    if work.status is S.ROUTED:
        work.move(S.CLEARED)


CAPPED_BY: Final = {"buyer": "同一买家", "address": "同一收货地址", "ip": "同一 IP"}


def _capped(cap: Cap, codes: Mapping[int, str]) -> HoldDraft:
    words = (
        f"未付款，暂不占用：{CAPPED_BY[cap.kind]}未付款已占 {codes[cap.sku_id]} {cap.held} 件，"
        f"本单 {cap.wanted} 件，上限 {cap.limit} 件；付款后再占"
    )
    return _hold(HoldKind.SHORTAGE, "capped", "1", words, by=cap.kind, sku=codes[cap.sku_id])


def _wants_stock(work: Work) -> bool:
    """Not what somebody else has shipped; what is unpaid only when it arrives."""
    if work.held_by_code(HoldKind.CHANNEL, "shipped_elsewhere"):
        return False
    if work.held_by(HoldKind.UNMAPPED) or work.held_by_code(*promises.GOES_WITH):
        return False
    return work.fresh or work.has_money or bool(work.passed)


def _may_run_out(work: Work) -> bool:
    """Whether the promise is for a time only: nothing has been paid, not even a deposit."""
    return not work.has_money


def _expiry(work: Work, minutes: Mapping[int, int], now: datetime) -> datetime:
    return now + timedelta(minutes=minutes.get(work.shop_id, 30))


def unpaid_minutes() -> dict[int, int]:
    """How long each shop keeps stock for a buyer who has not paid; read once a batch."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, unpaid_hold_minutes FROM catalog_shop")
        return dict(cursor.fetchall())


def _sku_codes(grants: Sequence[Grant]) -> dict[int, str]:
    wanted = {s.sku_id for grant in grants for s in grant.shortages}
    wanted |= {grant.capped.sku_id for grant in grants if grant.capped}
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, code FROM catalog_sku WHERE id = ANY(%s)", [list(wanted)])
        return dict(cursor.fetchall())


def check(works: Sequence[Work]) -> None:
    """First review and finance, as far as a machine can: who, where, and is the money right."""
    for work in works:
        if work.status not in OPEN or work.is_test:
            continue
        if work.receiver_problem and not work.held_by(HoldKind.CHANNEL):
            words = f"收货信息不完整：{work.receiver_problem}"
            work.hold(_hold(HoldKind.INCOMPLETE, "receiver", "2", words))
            work.tasks.append(TaskDraft(Stage.FIRST_REVIEW, words))
        if (
            work.fresh
            or work.must_recount
            or work.changes.keys() & MONEY
            or any(ln.priced_now for ln in work.lines)
        ):
            _check_money(work)


def _check_money(work: Work) -> None:
    """Asked when the money changes, and not again: finance may have accepted what was paid.

    Of two orders for one purchase the balance's has to add up, with the deposit or without.
    """
    if work.held_by_code(*promises.GOES_WITH):
        return
    if problem := work.money_problem or money_problem(work):
        work.hold(_hold(HoldKind.PAYMENT, "amount", "2", problem))
        work.tasks.append(TaskDraft(Stage.FINANCE_CHECK, problem))
        return
    work.unhold(HoldKind.PAYMENT, "金额已一致", code="amount")
    if work.is_paid and 0 < work.paid_amount < work.payable_amount:
        words = f"已付 {work.paid_amount}，应付 {work.payable_amount}"
        work.hold(_hold(HoldKind.PAYMENT, "underpaid", "2", f"付款不足：{words}"))
        work.tasks.append(TaskDraft(Stage.FINANCE_CHECK, words))
    else:
        work.unhold(HoldKind.PAYMENT, "买家已补足款项", code="underpaid")


def money_problem(work: Work) -> str:
    """What does not add up to the fen, in words; empty when all does."""
    goods = sum((ln.amount for ln in work.lines if ln.bundle_line_id is None), Decimal(0))
    due = goods + work.freight
    if work.balance_of_id and due == work.payable_amount + work.deposit_amount:
        return ""
    if due != work.payable_amount:
        return f"金额不符：商品 {goods} + 运费 {work.freight} ≠ 应付 {work.payable_amount}"
    return ""


def clear(works: Sequence[Work]) -> None:
    """RESERVED → CLEARED: nothing a person has to look at stands open, and no gate before it."""
    for work in works:
        if work.status is S.RESERVED and not work.held_by(*BLOCKS_CLEARING):
            work.move(S.CLEARED)


def route(works: Sequence[Work], sources: SourceMap) -> list[fulfillment.ParcelPlan]:
    """CLEARED → ROUTED: paid and free of holds; its parcels leave where its stock is held."""
    ready = [w for w in works if w.status is S.CLEARED and w.is_paid and not w.held_by()]
    hold_lost_deposits(ready)
    ready = [w for w in ready if not w.held_by()]
    parted = [w.id for w in ready if w.is_parted]
    unplanned = fulfillment.unplanned(parted) if parted else {}
    plans = []
    for work in ready:
        houses = sorted({sources.warehouse_of[place] for place in work.source_ids})
        if work.is_parted:
            houses = unplanned.get(work.id, [])
        is_part = work.is_parted or len(houses) > 1
        plans += [
            fulfillment.ParcelPlan(work.id, work.number, house, work.priority, is_part)
            for house in houses
        ]
        work.move(S.ROUTED)
    return plans


def hold_lost_deposits(works: Sequence[Work]) -> None:
    """Hold those orders whose deposit was paid by another that is canceled, or asked back.

    Asks nothing where no order of the batch has one.
    """
    tied = {work.balance_of_id: work for work in works if work.balance_of_id}
    if not tied:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT d.id, d.number FROM orders_salesorder d WHERE d.id = ANY(%s) AND {IS_LOST}",  # noqa: S608 - own constant text
            [list(tied)],
        )
        for pk, number in cursor.fetchall():
            tied[pk].hold(lost_deposit(number))
            tied[pk].tasks.append(finance_task(number))


def lost_deposit(number: str) -> HoldDraft:
    """The deposit's order is no more, or will not be: nothing leaves before finance has looked."""
    words = f"定金单 {number} 已取消或正在退款，请核对"
    return _hold(HoldKind.PAYMENT, DEPOSIT, "2", words, lost=number)


def awaited_deposit(channel_number: str) -> HoldDraft:
    """The channel names the deposit's order, and the two are not tied yet."""
    words = f"尾款单：等待与定金单 {channel_number} 关联"
    return _hold(HoldKind.PAYMENT, DEPOSIT, "1", words, deposit=channel_number)


def awaited_balance() -> HoldDraft:
    """The channel says that this order took the deposit only: it keeps the goods, and waits."""
    return _hold(HoldKind.PAYMENT, BALANCE, "1", "定金单：留着货，等待与尾款单关联后发货")


def finance_task(number: str) -> TaskDraft:
    return TaskDraft(Stage.FINANCE_CHECK, f"定金单 {number} 已取消或正在退款，请核对尾款单")


def _hold(kind: HoldKind, code: str, tier: str, words: str, **evidence: Any) -> HoldDraft:
    return HoldDraft(kind, code, tier, words, evidence)
