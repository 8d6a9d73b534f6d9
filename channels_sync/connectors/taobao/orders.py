"""Read Taobao trades and refunds (``channels.md`` 1c, 1d).

All money read here is yuan text; the fields in fen (``coupon_fee`` and others) repeat what is
already inside ``payment`` and are left alone.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from channels_sync.connectors.field_map import FieldMap, Fields
from channels_sync.connectors.receivers import plain_receiver
from channels_sync.connectors.values import Node, order_refund_state
from channels_sync.contracts import Unreadable
from ordercenter.core.money import share_out
from ordercenter.orders.contracts import (
    ChannelStatus,
    EvidenceDraft,
    GiftDraft,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
    RefundDraft,
)

CHANNEL: Final = "taobao"
ZERO: Final = Decimal("0.00")
S = ChannelStatus

STEP: Final = "step"
ON_DELIVERY: Final = "cod"
DEPOSIT_PAID: Final = "FRONT_PAID_FINAL_NOPAID"
DEPOSIT_ONLY: Final = frozenset({DEPOSIT_PAID, "FRONT_PAID_FRONT_FORFEITED"})
ALL_PAID: Final = "FRONT_PAID_FINAL_PAID"
COLLECTED: Final = frozenset({"TRADE_BUYER_SIGNED", "TRADE_FINISHED"})

RETURNED: Final = "REFUND_AND_RETURN"
GOODS_ON_THEIR_WAY: Final = frozenset({"WAIT_BUYER_RETURN_GOODS", "WAIT_SELLER_CONFIRM_GOODS"})
NO_MONEY: Final = frozenset({"TMALL_EXCHANGE", "TAOBAO_EXCHANGE", "REPAIR", "RESHIPPING"})


def read_trade(node: Node, fields: FieldMap) -> OrderDraft:
    """Normalise one trade. Raises Unreadable."""
    trade = fields.section("order").over(node)
    payable = trade.amount("payable_amount")
    freight = trade.amount("freight", default=ZERO)
    status = _status(trade)
    lines = _lines(trade, fields, payable - freight)
    evidence = fields.section("evidence").over(node)
    return OrderDraft(
        channel=CHANNEL,
        channel_number=trade.id("channel_number"),
        status=status,
        status_raw=trade.id("status_raw"),
        currency="CNY",
        payable_amount=payable,
        paid_amount=_paid(trade, status, payable),
        freight=freight,
        placed_at=trade.claimed_time("placed_at"),
        modified_at=trade.required_time("modified_at"),
        lines=lines,
        paid_at=trade.time("paid_at"),
        receiver=_receiver(fields.section("receiver").over(node)),
        evidence=EvidenceDraft(buyer_id=evidence.text("buyer_id")),
        gifts_outside_lines=_gifts(trade, fields, lines),
        buyer_remark=trade.given_text("buyer_remark"),
        seller_memo=trade.given_text("seller_memo"),
        seller_flag=trade.optional_whole("seller_flag"),
        refund_state=order_refund_state(lines),
        is_presale=trade.text("trade_type") == STEP,
        deposit_amount=_deposit(trade),
    )


def _status(trade: Fields) -> ChannelStatus:
    status = S(trade.word("status") or S.UNKNOWN)
    if status is S.WAIT_PAY and trade.text("step_status") == DEPOSIT_PAID:
        return S.DEPOSIT_PAID
    if status in {S.WAIT_SHIP, S.PART_SHIPPED} and trade.boolean("is_held"):
        return S.ON_HOLD
    return status


def _paid(trade: Fields, status: ChannelStatus, payable: Decimal) -> Decimal:
    step = trade.text("step_status")
    if step in DEPOSIT_ONLY:
        return trade.amount("deposit")
    if step == ALL_PAID:
        return payable
    if trade.text("trade_type") == ON_DELIVERY:
        # The pay time of such a trade is when its parcel was ordered: no money came with it.
        return payable if trade.text("status_raw") in COLLECTED else ZERO
    unpaid = status in {S.WAIT_PAY, S.CLOSED_UNPAID}
    unsure = status is S.UNKNOWN and trade.time("paid_at") is None
    return ZERO if unpaid or unsure else payable


def _deposit(trade: Fields) -> Decimal:
    """What a step trade shows as paid while the balance is open; later it shows all."""
    return trade.amount("deposit") if trade.text("step_status") in DEPOSIT_ONLY else ZERO


# --- lines ------------------------------------------------------------------------------------


def _lines(trade: Fields, fields: FieldMap, goods: Decimal) -> tuple[LineDraft, ...]:
    section = fields.section("line")
    rows = [section.over(row) for row in trade.nodes("lines")]
    if not rows:
        raise Unreadable("订单没有商品行")
    amounts = _amounts(rows, goods)
    return tuple(_line(row, amount) for row, amount in zip(rows, amounts, strict=True))


def _line(row: Fields, amount: Decimal) -> LineDraft:
    return LineDraft(
        channel_line_id=row.id("channel_line_id"),
        platform_sku_id=row.optional_id("platform_sku_id"),
        outer_code=row.some_text("outer_code"),
        title=row.text("title"),
        quantity=row.quantity("quantity"),
        unit_price=row.amount("unit_price"),
        amount=amount,
        is_gift=row.boolean("is_gift"),
        refund_state=row.word("refund_state") or "none",
        platform_item_id=row.optional_id("platform_item_id"),
    )


def _amounts(rows: Sequence[Fields], goods: Decimal) -> list[Decimal]:
    """The lines' money: the platform's own shares where given, else worked out.

    ``goods`` is what all lines cost together. Lines whose discount shares are missing share
    what the others leave of it; figures that are given are never bent until they add up.
    """
    given = [row.optional_amount("amount") for row in rows]
    if len(rows) == 1:
        # A single line's payment equals the trade's and so holds the freight.
        return [max(goods, ZERO) if given[0] is None else given[0]]
    amounts = [
        max(_before_share(row) - row.amount("share", default=ZERO), ZERO) if own is None else own
        for row, own in zip(rows, given, strict=True)
    ]
    unshared = [at for at, own in enumerate(given) if own is None and not rows[at].given("share")]
    rest = goods - sum(amounts, ZERO) + sum((amounts[at] for at in unshared), ZERO)
    if unshared and rest >= 0:
        for at, share in zip(
            unshared, share_out(rest, [amounts[at] for at in unshared]), strict=True
        ):
            amounts[at] = share
    return amounts


def _before_share(row: Fields) -> Decimal:
    before = row.optional_amount("before_share")
    if before is not None:
        return before
    return row.amount("unit_price") * row.quantity("quantity")


# --- around the lines -------------------------------------------------------------------------


def _receiver(receiver: Fields) -> ReceiverDraft | None:
    draft = plain_receiver(receiver, oaid=receiver.text("oaid"))
    return None if draft == ReceiverDraft() else draft


def _gifts(trade: Fields, fields: FieldMap, lines: Iterable[LineDraft]) -> tuple[GiftDraft, ...]:
    """Gifts only a promotion names; one that stands among the lines too is there already."""
    section = fields.section("gift")
    among_lines = {line.platform_item_id for line in lines if line.is_gift}
    found = []
    for promotion in map(section.over, trade.nodes("promotions")):
        item = promotion.optional_id("platform_item_id")
        name = promotion.text("name")
        count = promotion.whole("quantity", default=1)
        if (item is None and not name.strip()) or count < 1:
            continue
        if item is None or item not in among_lines:
            found.append(GiftDraft(name=name, quantity=count, platform_item_id=item))
    return tuple(found)


# --- refunds ----------------------------------------------------------------------------------


def read_refund(node: Node, fields: FieldMap) -> RefundDraft:
    """Normalise one refund. Raises Unreadable."""
    refund = fields.section("refund").over(node)
    raw, kind = refund.id("state_raw"), refund.text("kind")
    state = refund.word("refund_state") or "in_progress"
    no_money = kind in NO_MONEY
    returns = refund.boolean("return_goods") or kind == RETURNED or raw in GOODS_ON_THEIR_WAY
    stands = state in {"in_progress", "refunded"}
    if state == "refunded" and no_money:
        state = "done"
    return RefundDraft(
        channel=CHANNEL,
        refund_id=refund.id("refund_id"),
        channel_number=refund.id("channel_number"),
        channel_line_id=refund.optional_id("channel_line_id"),
        amount=refund.amount("amount", default=ZERO if no_money else None),
        state_raw=raw,
        refund_state=state,
        return_goods=returns,
        intercept_shipping=stands and not returns and not no_money,
        modified_at=refund.time("modified_at"),
        phase=refund.some_text("phase"),
        version=refund.text("version"),
    )
