"""An order's lines follow its channel for as long as its goods lie on the shelf.

What the platform takes out of an order is shipped no more and its stock is free at once; what it
adds is mapped, reserved and judged like anything new. From the picking on a person decides: the
order is held, and what lies in the parcel stays.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from fulfillment import services as fulfillment
from ordercenter.core.actor import ActorKind
from ordercenter.orders.contracts import LineDraft, OrderDraft
from ordercenter.orders.models import OrderHold
from ordercenter.orders.states import HoldKind, OrderStatus
from ordercenter.pipeline import promises
from ordercenter.pipeline.drafts import line_of
from ordercenter.pipeline.path import share_over_parts
from ordercenter.pipeline.work import HoldDraft, Line, Work, new_lines

S = OrderStatus
CODE: Final = "lines"
WORDS: Final = "平台修改了订单商品，而包裹已开始拣货，请与买家确认后处理"
Goods = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class _Pair:
    """A line as we have it beside what the channel says of it now; one of them may be missing."""

    ours: Line | None
    told: LineDraft | None


def differs(work: Work, draft: OrderDraft) -> bool:
    """Whether the channel names other goods, or other quantities, than we have."""
    return sorted(_goods_of(line) for line in _bought(work)) != _told(draft)


def follow(works: Sequence[Work]) -> None:
    """Give the orders the lines their channel told (``Work.retold``), or hold them.

    One question for the batch, and none when nothing was changed. In the caller's transaction,
    before ``path.take``, which gives back what they held.
    """
    retold = [(work, work.retold) for work in works if work.retold is not None]
    if not retold:
        return
    begun = fulfillment.begun(
        [work.id for work, _ in retold if work.status is S.ROUTED or work.is_parted]
    )
    let_go = _let_go([work.id for work, _ in retold if work.id in begun])
    for work, draft in retold:
        if work.id not in begun:
            _rewrite(work, draft)
        elif (work.id, _evidence(draft)) not in let_go:
            evidence = {"told": _told(draft)}
            work.hold(HoldDraft(HoldKind.CHANGED, CODE, "2", WORDS, evidence))


def _bought(work: Work) -> list[Line]:
    return [ln for ln in work.lines if ln.bundle_line_id is None and ln.channel_line_id]


def _goods_of(line: Line) -> Goods:
    return line.platform_sku_id, line.outer_code, line.quantity


def _told(draft: OrderDraft) -> list[Goods]:
    return sorted(_goods_told(line) for line in draft.lines)


def _goods_told(line: LineDraft) -> Goods:
    return (line.platform_sku_id or "")[:64], (line.outer_code or "")[:100], line.quantity


def _evidence(draft: OrderDraft) -> str:
    return repr([list(goods) for goods in _told(draft)])


def _let_go(order_ids: Collection[int]) -> set[tuple[int, str]]:
    """(order, lines) that somebody has let pass: the very same words stop nobody twice."""
    if not order_ids:
        return set()
    rows = OrderHold.objects.filter(
        order_id__in=order_ids, kind=HoldKind.CHANGED, code=CODE,
        released_by__startswith=f"{ActorKind.PERSON}:",
    ).values_list("order_id", "evidence")  # fmt: skip
    return {(pk, repr(evidence.get("told"))) for pk, evidence in rows}


def _rewrite(work: Work, draft: OrderDraft) -> None:
    """Make the lines say what the channel says, and send the order back to be reserved."""
    for pair in _pairs(work, draft):
        if pair.told is None:
            assert pair.ours is not None
            _take_out(work, pair.ours)
        elif pair.ours is None:
            _put_in(work, pair.told)
        else:
            _resize(work, pair.ours, pair.told)
    work.change("payable_amount", draft.payable_amount)
    work.change("freight", draft.freight)
    work.unhold(HoldKind.CHANGED, "已按平台修改后的商品更新", code=CODE)
    work.unhold(HoldKind.SHORTAGE, "平台修改了订单商品", code=promises.WAITS[1])
    work.must_judge = work.must_gift = True
    work.must_recount = work.row_changed = True
    if work.status is S.RECEIVED:
        return
    work.reason = work.reason or "平台修改了订单商品，重新占用库存"
    work.send_back()


def _pairs(work: Work, draft: OrderDraft) -> list[_Pair]:
    """Lines by their id as long as the goods agree, then by the goods alone.

    A platform that numbers its lines by their place gives a line another id when one before it
    is taken out.
    """
    ours, told = _bought(work), list(draft.lines)
    pairs = []
    for same in (_same_line, _same_goods):
        for line in list(told):
            match = next((one for one in ours if same(one, line)), None)
            if match is not None:
                ours.remove(match)
                told.remove(line)
                pairs.append(_Pair(match, line))
    pairs += [_Pair(one, None) for one in ours]
    pairs += [_Pair(None, line) for line in told]
    return pairs


def _same_goods(ours: Line, told: LineDraft) -> bool:
    return _goods_of(ours)[:2] == _goods_told(told)[:2]


def _same_line(ours: Line, told: LineDraft) -> bool:
    return ours.channel_line_id == told.channel_line_id[:64] and _same_goods(ours, told)


def _take_out(work: Work, line: Line) -> None:
    """The channel knows the line no more: its money and its name there go with it."""
    _note(work, line, [line.quantity, 0])
    work.drop(line)
    for one in _with_parts(work, line):
        one.amount = one.unit_price = Decimal(0)
        one.channel_line_id, one.retold_now = "", True


def _put_in(work: Work, told: LineDraft) -> None:
    (pk,) = new_lines(1)
    line = line_of(told, pk, max((ln.line_no for ln in work.lines), default=0) + 1)
    work.lines.append(line)
    _note(work, line, [0, line.quantity])


def _resize(work: Work, line: Line, told: LineDraft) -> None:
    """Another quantity or price of the same goods; a bundle's parts go with it."""
    if line.quantity != told.quantity:
        _note(work, line, [line.quantity, told.quantity])
    parts = [part for part in work.lines if part.bundle_line_id == line.id]
    shares = share_over_parts(told.amount, [part.amount for part in parts]) if parts else []
    for part, amount in zip(parts, shares, strict=True):
        part.quantity = part.quantity // line.quantity * told.quantity
        part.amount, part.retold_now = amount, True
        part.unit_price = (amount / part.quantity).quantize(Decimal("0.01"))
        part.channel_line_id = told.channel_line_id[:64]
    line.channel_line_id = told.channel_line_id[:64]
    line.quantity, line.amount, line.unit_price = told.quantity, told.amount, told.unit_price
    line.retold_now = True


def _with_parts(work: Work, line: Line) -> list[Line]:
    return [one for one in work.lines if line.id in {one.id, one.bundle_line_id}]


def _note(work: Work, line: Line, quantities: list[Any]) -> None:
    work.changes[f"quantity {line.line_no}"] = quantities
