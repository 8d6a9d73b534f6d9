"""Read JD orders and refund applications (``channels.md`` 2c, 2d).

Everything is text; orders are in yuan, refund applications count fen. JD gives neither a
refund state nor a line's share of the discounts.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from channels_sync.connectors.field_map import FieldMap, Fields
from channels_sync.connectors.values import Node, is_masked_text, line_ids, order_refund_state
from channels_sync.contracts import Unreadable
from ordercenter.core.money import share_out
from ordercenter.orders.contracts import (
    ChannelStatus,
    EvidenceDraft,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
    RefundDraft,
)

CHANNEL: Final = "jd"
ZERO: Final = Decimal("0.00")
S = ChannelStatus
ON_DELIVERY: Final = "1"
CIPHERTEXT: Final = re.compile(r"AAS/.*|[A-Za-z0-9+/_-]{24,}={0,2}")


def read_order(node: Node, fields: FieldMap) -> OrderDraft:
    """Normalise one order. Raises Unreadable."""
    order = fields.section("order").over(node)
    status = S(order.word("status") or S.UNKNOWN)
    payable = _payable(order)
    freight = order.amount("freight", default=ZERO)
    lines = _lines(order, fields, payable - freight)
    paid_at = order.time("paid_at")
    return OrderDraft(
        channel=CHANNEL,
        channel_number=order.id("channel_number"),
        status=status,
        status_raw=order.id("status_raw"),
        currency="CNY",
        payable_amount=payable,
        paid_amount=ZERO if _is_open_cash(order, status) else payable,
        freight=freight,
        placed_at=order.claimed_time("placed_at"),
        # Year 1 stands for "none" here too: then the order is as it was made.
        modified_at=order.time("modified_at") or paid_at or order.required_time("placed_at"),
        lines=lines,
        paid_at=paid_at,
        receiver=_receiver(fields.section("receiver").over(node)),
        evidence=EvidenceDraft(buyer_id=fields.section("evidence").over(node).text("buyer_id")),
        buyer_remark=order.given_text("buyer_remark"),
        seller_memo=order.given_text("seller_memo"),
        seller_flag=order.optional_whole("seller_flag"),
        refund_state=order_refund_state(lines),
    )


# --- money ------------------------------------------------------------------------------------


def _is_cash(order: Fields) -> bool:
    return order.text("pay_type").partition("-")[0].strip() == ON_DELIVERY


def _is_open_cash(order: Fields, status: ChannelStatus) -> bool:
    """Cash on delivery is unpaid until collected; every other order is listed paid."""
    return _is_cash(order) and status is not S.FINISHED


def _payable(order: Fields) -> Decimal:
    actual = order.optional_amount("actual_pay")
    if actual is not None and not (_is_cash(order) and not actual):
        return actual
    due = order.optional_amount("should_pay")
    if _is_cash(order) and due:
        return due  # nothing was paid yet, so actualPay says zero
    if due is not None and not order.given("order_payment"):
        return due
    return order.amount("order_payment") + order.amount("balance_used", default=ZERO)


def _amounts(
    order: Fields, rows: Sequence[Fields], fields: FieldMap, goods: Decimal
) -> list[Decimal]:
    """Take the discounts off the lines; JD gives no shares of its own.

    A single-item discount (type 30, the only one that names its SKU) comes off its own line,
    everything else is shared by what is left. Gifts have nothing to share. Without any list of
    discounts they are what the lines cost beyond ``goods``.
    """
    amounts = [row.amount("unit_price") * row.quantity("quantity") for row in rows]
    shared = ZERO
    if order.raw("coupons") is None:
        shared = max(sum(amounts, ZERO) - max(goods, ZERO), ZERO)
    elif coupons := order.nodes("coupons"):
        section = fields.section("coupon")
        for coupon in coupons:
            shared += _off_its_line(section.over(coupon), rows, amounts)
    else:
        shared = order.amount("seller_discount", default=ZERO)
    # A discount beyond the goods cannot come off them: the sum will not fit, and finance sees it.
    shares = share_out(min(shared, sum(amounts, ZERO)), amounts)
    return [amount - share for amount, share in zip(amounts, shares, strict=True)]


def _off_its_line(coupon: Fields, rows: Sequence[Fields], amounts: list[Decimal]) -> Decimal:
    """Take a single-item discount off its line; return what all lines have to share."""
    price = coupon.amount("amount", default=ZERO)
    sku = coupon.optional_id("platform_sku_id")
    for index, row in enumerate(rows):
        if sku is not None and row.text("platform_sku_id") == sku and amounts[index] >= price:
            amounts[index] -= price
            return ZERO
    return price


# --- lines and receiver -----------------------------------------------------------------------


def _lines(order: Fields, fields: FieldMap, goods: Decimal) -> tuple[LineDraft, ...]:
    section = fields.section("line")
    rows = [section.over(row) for row in order.nodes("lines")]
    if not rows:
        raise Unreadable("订单没有商品行")
    ids = line_ids(row.id("platform_sku_id") for row in rows)
    amounts = _amounts(order, rows, fields, goods)
    return tuple(
        LineDraft(
            channel_line_id=line_id,
            platform_sku_id=row.optional_id("platform_sku_id"),
            outer_code=row.some_text("outer_code"),
            title=row.text("title"),
            quantity=row.quantity("quantity"),
            unit_price=row.amount("unit_price"),
            amount=amount,
            is_gift=row.amount("unit_price") == 0,
            refund_state=None,
            platform_item_id=row.optional_id("platform_item_id"),
        )
        for line_id, row, amount in zip(ids, rows, amounts, strict=True)
    )


def _receiver(receiver: Fields) -> ReceiverDraft | None:
    """The receiver as given: clear, masked, or (older shops) as ciphertext."""
    texts = []
    is_hidden = False
    for name in ("name", "phone", "address"):
        plain = receiver.text(name)
        ciphered = "" if plain.strip() else receiver.text(f"encrypted_{name}")
        is_hidden = is_hidden or bool(ciphered) or bool(CIPHERTEXT.fullmatch(plain))
        texts.append(plain or ciphered)
    draft = ReceiverDraft(
        name=texts[0],
        phone=texts[1],
        province=receiver.text("province"),
        city=receiver.text("city"),
        district=receiver.text("district"),
        town=receiver.text("town"),
        address=texts[2],
        is_masked=is_hidden or is_masked_text(*texts),
        oaid=receiver.text("oaid"),
    )
    return None if draft == ReceiverDraft() else draft


# --- refunds ----------------------------------------------------------------------------------


def read_refund(node: Node, fields: FieldMap) -> RefundDraft:
    """Normalise an application to cancel before shipping. Raises Unreadable."""
    refund = fields.section("refund").over(node)
    state = refund.word("refund_state") or "in_progress"
    return RefundDraft(
        channel=CHANNEL,
        refund_id=refund.id("refund_id"),
        channel_number=refund.id("channel_number"),
        channel_line_id=None,
        amount=refund.amount("amount"),
        state_raw=refund.id("state_raw"),
        refund_state=state,
        return_goods=False,
        intercept_shipping=state in {"in_progress", "refunded"},
        modified_at=refund.time("checked_at") or refund.time("applied_at"),
    )
