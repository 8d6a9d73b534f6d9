"""What Pinduoduo is told and asked about one order: parcels, stock, refunds, notes, receivers.

``channels.md`` 4c and 4d; the fields of the answer to a refund asked for before shipping are
read in a public SDK (lywzx/pdd-node-sdk). A buyer's wish for another address is no call here.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

from channels_sync.connectors.exchange import platform_error, reading_reply, require_success
from channels_sync.connectors.pinduoduo.wire import (
    DECRYPT,
    EXTRA,
    NOTE,
    OPEN_REFUNDS,
    ORDER,
    SEND,
    STOCK,
    STOPPED,
    PinduoduoWire,
    wire_text,
)
from channels_sync.connectors.receivers import Cipher, Opened, open_all, same_receiver
from channels_sync.connectors.strict_json import loads_strict
from channels_sync.connectors.values import Node, merged_note, optional_id
from channels_sync.contracts import (
    Decrypted,
    DecryptRequest,
    ErrorClass,
    Memo,
    PlatformError,
    Rejected,
    ShipNotice,
    StockEcho,
    StockFigure,
    StopAnswer,
    StopOutcome,
    Told,
    TryLater,
)

CIPHERS_A_CALL: Final = 100
MEMO_LENGTH: Final = 300
"""No source states it; the option ``memo_length`` goes before."""
SET, ADD = 1, 2
FIRST_DELIVERY: Final = 1
SPLIT_PARCEL: Final = 1
VIRTUAL_NUMBER: Final = 1
TAG_NAMES: Final = {1: "红色", 2: "黄色", 3: "绿色", 4: "蓝色", 5: "紫色"}
LOCKED_WORDS: Final = "资源位,减少库存"
"""Codes or words, by commas, of a refusal about goods on a promotion slot: no source tells the
code. Option ``stock_locked`` goes before."""
FAIL_REASONS: Final = {
    StopOutcome.NOT_SYNCED: 1001,
    StopOutcome.SHIPPED: 1002,
    StopOutcome.LABEL_PRINTED: 1003,
}


class PinduoduoTelling(PinduoduoWire):
    """The writing half of a Pinduoduo shop."""

    # A parcel told twice is found on the order, a note is read first, a refund's answer says
    # the same again. A difference of stock would count twice.
    repeatable: ClassVar[frozenset[type]] = frozenset({ShipNotice, Memo, StopAnswer})

    def order(self, channel_number: str) -> Node:
        """Ask for one order. Raises TryLater where the answer is of no order or another's."""
        order = self.call(ORDER, {"order_sn": channel_number}).node_or_empty("order_info")
        if optional_id(order.get("order_sn")) != channel_number:
            raise TryLater(platform_error("bad_body", "平台没有给出所查的订单"))
        return order

    # --- parcels ----------------------------------------------------------------------------

    def ship(self, notice: ShipNotice) -> None:
        """Tell Pinduoduo; a repeat finds the parcel and is done.

        The platform ships an order whole: of several parcels the first ships it, the others
        are added. Goods without a parcel go by the number of their order, under the company
        the shop has named for ``virtual``. With the option ``check_refunds`` "on" an order
        with an open after-sale is not told (Rejected ``open_refund``).
        """
        carrier = self.carrier_code(notice.carrier)
        if self.access.options.get("check_refunds") == "on":
            self._refuse_open_refund(notice.channel_number)
        if notice.others and self._add_to_shipped(notice, carrier):
            return
        business = {
            "order_sn": notice.channel_number,
            "logistics_id": carrier,
            "tracking_number": _tracking_number(notice),
            "redelivery_type": FIRST_DELIVERY,  # 2 would overwrite another parcel's number
        }
        try:
            answer = self.call(SEND, business, writes=True)
            require_success(answer.get("is_success"))
        except Rejected as refusal:
            further = bool(notice.lines or notice.others)
            if refusal.error.klass is not ErrorClass.BUSINESS:
                raise
            if not self._add_to_shipped(notice, carrier, further=further):
                raise

    def _refuse_open_refund(self, number: str) -> None:
        answer = self.call(OPEN_REFUNDS, {"order_sns": number})
        with reading_reply():
            rows = answer.nodes("order_sns_exists_refund")
            found = any(row.text("order_sn") == number for row in rows)
        if found:
            words = "订单有未了结的售后，没有回传发货"
            raise Rejected(PlatformError(ErrorClass.BUSINESS, "open_refund", words))

    def _add_to_shipped(self, notice: ShipNotice, carrier: str, *, further: bool = True) -> bool:
        """Whether the order has the parcel now: it had it, or ``further`` was added to others."""
        order = self.order(notice.channel_number)
        with reading_reply():
            parcels = _parcels(order)
        number = _tracking_number(notice)
        if number in parcels:
            return True
        if not further or not order.text("tracking_number").strip():
            return False
        company = int(carrier) if carrier.isdigit() else carrier
        parcel = {"shipping_id": company, "tracking_number": number}
        business = {
            "order_sn": notice.channel_number,
            "extra_track_list": [parcel],
            "extra_track_type": SPLIT_PARCEL,
        }
        self.call(EXTRA, business, writes=True)
        return True

    # --- stock ------------------------------------------------------------------------------

    @property
    def stock_interface(self) -> str:
        return STOCK

    def publish_stock(self, figure: StockFigure) -> StockEcho:
        """Tell the difference where it is known, else set the figure.

        Goods on a promotion slot cannot be lowered: Rejected ``stock_locked``.
        """
        change = None if figure.believed is None else figure.quantity - figure.believed
        if change == 0:
            return StockEcho()
        business = {
            **_goods(figure),
            "quantity": figure.quantity if change is None else change,
            "update_type": SET if change is None else ADD,
        }
        try:
            answer = self.call(STOCK, business, writes=True)
            require_success(answer.get("is_success"))
        except Rejected as refusal:
            if self._is_locked(refusal.error):
                raise Rejected(replace(refusal.error, code="stock_locked")) from refusal
            raise
        return StockEcho()

    def _is_locked(self, error: PlatformError) -> bool:
        listed = self.access.options.get("stock_locked", LOCKED_WORDS).split(",")
        codes = {error.code, error.sub_code}
        return any(one in codes or one in error.message for one in listed if one)

    # --- refunds and notes --------------------------------------------------------------------

    def answer_stop(self, answer: StopAnswer) -> None:
        """Say whether the parcel was stopped, or by which of three reasons not.

        The option ``stop_method`` names another method with the same fields.
        """
        told: dict[str, Any] = {
            "tid": answer.channel_number,
            "refund_id": int(answer.refund_id) if answer.refund_id.isdigit() else answer.refund_id,
            "status": "SUCCESS" if answer.outcome is StopOutcome.STOPPED else "FAIL",
            "refund_fee": int(answer.amount * 100),
            "operate_time": int(self.now().timestamp() * 1000),
            "msg": answer.words,
        }
        if reason := FAIL_REASONS.get(answer.outcome):
            told["fail_reason_code"] = reason
        method = self.access.options.get("stop_method", STOPPED)
        self.call(method, {"param": told}, writes=True)

    def write_memo(self, memo: Memo) -> None:
        """Add to the merchant's note: the call replaces the whole of it, so it is read first."""
        order = self.order(memo.channel_number)
        note, tag = _note(order)
        limit = self.access.options.get("memo_length", "")
        most = int(limit) if limit.isdigit() else MEMO_LENGTH
        merged = merged_note(note, memo.text, limit=most)
        flag = tag if memo.flag is None else memo.flag
        if merged is None and flag == tag:
            return
        told: dict[str, Any] = {
            "order_sn": memo.channel_number,
            "note": note if merged is None else merged,
        }
        if flag is not None:  # tag and name go together or not at all
            name = order.first_text("remark_tag_name") if flag == tag else None
            told |= {"tag": flag, "tag_name": name or TAG_NAMES.get(flag, str(flag))}
        answer = self.call(NOTE, told, writes=True)
        require_success(answer.get("success"))

    def knows(self, told: Told) -> bool | None:
        if isinstance(told, ShipNotice):
            order = self.order(told.channel_number)
            with reading_reply():
                return _tracking_number(told) in _parcels(order)
        if isinstance(told, Memo):
            note, tag = _note(self.order(told.channel_number))
            noted = merged_note(note, told.text, limit=sys.maxsize) is None
            return noted and told.flag in (None, tag)
        return None

    # --- privacy ----------------------------------------------------------------------------

    def decrypt(self, requests: Sequence[DecryptRequest]) -> list[Decrypted]:
        """Open receivers by ``pdd.open.decrypt.batch``; each entry may fail by itself."""
        return open_all(requests, ciphers_of, self._open, most=CIPHERS_A_CALL)

    def _open(self, ciphers: Sequence[Cipher]) -> Mapping[Cipher, Opened]:
        wanted = [{"data_tag": number, "encrypted_data": text} for number, text in ciphers]
        answer = self.call(DECRYPT, {"data_list": wire_text(wanted)})
        with reading_reply():
            return {
                (one.text("data_tag"), one.text("encrypted_data")): _opened(one)
                for one in answer.nodes("data_decrypt_list")
            }

    def merge_groups(self, requests: Sequence[DecryptRequest]) -> list[tuple[str, ...]]:
        """By ``open_address_id``, the platform's sign of one receiver."""
        return same_receiver(requests)


def _tracking_number(notice: ShipNotice) -> str:
    return notice.tracking_number or notice.channel_number


def _parcels(order: Node) -> set[str]:
    """Every tracking number the order has already."""
    numbers = {order.text("tracking_number").strip()}
    for key in ("extra_delivery_list", "resend_delivery_list", "gift_delivery_list"):
        numbers |= {parcel.text("tracking_number").strip() for parcel in order.nodes(key)}
    return numbers - {""}


def _goods(figure: StockFigure) -> dict[str, str]:
    """Name one SKU: the goods, and in them the platform's id or the merchant's code."""
    sku = {"sku_id": figure.platform_sku_id} if figure.platform_sku_id else {}
    if not sku and figure.outer_code:
        sku = {"outer_id": figure.outer_code}
    if not sku or not figure.platform_item_id:
        words = "缺少平台商品编号，或规格编号与商家编码都没有"
        raise Rejected(PlatformError(ErrorClass.BUSINESS, "no_listing", words))
    return {"goods_id": figure.platform_item_id, **sku}


def _note(order: Node) -> tuple[str, int | None]:
    with reading_reply():
        return order.text("remark"), order.optional_whole("remark_tag")


def ciphers_of(raw: bytes) -> Mapping[str, str]:
    """The ciphertexts of an order as it came (``channels.md`` 4c). Raises Unreadable."""
    order = Node.of(loads_strict(raw))
    return {
        "name": order.text("receiver_name"),
        "phone": order.first_text("receiver_phone", "contact_mobile") or "",
        "address": order.text("receiver_address"),
    }


def _opened(entry: Node) -> Opened:
    code = entry.whole("error_code", default=0)
    if code:
        words = entry.first_text("error_msg") or "平台拒绝解密"
        return Opened(error=PlatformError(ErrorClass.BUSINESS, str(code), words))
    is_virtual = entry.whole("virtual_number_type", default=0) == VIRTUAL_NUMBER
    extension = entry.first_text("virtual_identify_number")
    text = entry.text("decrypted_data")
    return Opened(
        text=f"{text}-{extension}" if is_virtual and extension else text, is_virtual=is_virtual
    )
