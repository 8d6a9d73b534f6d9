"""What WeChat shops are told (``channels.md`` 6d): parcels, stock, notes, refunds, addresses."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from channels_sync.connectors.exchange import platform_error, reading_reply, require_refund_consent
from channels_sync.connectors.values import Node, line_ids, merged_note, optional_id
from channels_sync.connectors.wechat.reading import line_key
from channels_sync.connectors.wechat.wire import WeChatLine, refused
from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    AddressAnswer,
    Memo,
    Rejected,
    ShipNotice,
    StockEcho,
    StockFigure,
    StopAnswer,
    StopOutcome,
    Told,
    TryLater,
    Unsupported,
)

ORDER: Final = "/channels/ec/order/get"
SEND: Final = "/channels/ec/order/delivery/send"
STOCK: Final = "/channels/ec/product/stock/update"
REFUND: Final = "/channels/ec/aftersale/getaftersaleorder"
ACCEPT_REFUND: Final = "/channels/ec/aftersale/acceptapply"
REJECT_REFUND: Final = "/channels/ec/aftersale/rejectapply"
NOTE: Final = "/channels/ec/order/merchantnotes/update"
ACCEPT_ADDRESS: Final = "/channels/ec/order/addressmodify/accept"
REJECT_ADDRESS: Final = "/channels/ec/order/addressmodify/reject"
"""Seen in public clients; the options ``address_accept_path`` and ``address_reject_path`` go
before them."""
_ADD, _TAKE, _SET = 1, 2, 3
_CARRIER, _VIRTUAL = 1, 3
_WAITS_FOR_US: Final = "MERCHANT_PROCESSING"
_NOTE_LIMIT: Final = 200
"""Unverified; the option ``memo_limit`` goes before it."""
_NOT_NOW: Final = "10020115,10020276,108009"
"""Refusals that end by themselves: a wish for another address or another SKU is open, or an
after-sale is. Seen in one public client; the option ``not_now_codes`` goes before it."""


class WeChatTelling(WeChatLine):
    """The shop hears of parcels, figures, notes and answers."""

    repeatable: ClassVar[frozenset[type]] = frozenset({ShipNotice, Memo, AddressAnswer})

    def order(self, channel_number: str) -> Node:
        """One order as the platform knows it now.

        Raises Rejected where it refuses, TryLater where it has no detail of it yet.
        """
        answer = self.post(ORDER, {"order_id": channel_number})
        found = answer.get("order")
        if not isinstance(found, Mapping) or not found:
            raise TryLater(platform_error("no_detail", "平台还没有这张订单的详情"))
        return Node(found, "order")

    # --- parcels ----------------------------------------------------------------------------

    def ship(self, notice: ShipNotice) -> None:
        """Report the parcel with the pieces it holds; for virtual goods, that they were given.

        A parcel the order carries already is done; so is a whole order that is gone.
        """
        with reading_reply():
            order = _Parcels(self.order(notice.channel_number), self.field_map)
        is_virtual = notice.carrier == VIRTUAL_CARRIER
        if not is_virtual and order.carries(notice.tracking_number):
            return
        with reading_reply():
            goods = order.some(notice) if notice.lines else order.rest()
        if not goods:
            if is_virtual:
                return
            raise refused("nothing_open", "这张订单没有可以发货的商品")
        parcel: dict[str, Any] = {"deliver_type": _VIRTUAL, "product_infos": goods}
        if not is_virtual:
            parcel |= {
                "deliver_type": _CARRIER,
                "delivery_id": self.carrier_code(notice.carrier),
                "waybill_id": notice.tracking_number,
            }
        body = {"order_id": notice.channel_number, "delivery_list": [parcel]}
        try:
            self._write(SEND, body)
        except Rejected:
            if not self.knows(notice):
                raise

    # --- stock ------------------------------------------------------------------------------

    @property
    def stock_interface(self) -> str:
        return STOCK

    def publish_stock(self, figure: StockFigure) -> StockEcho:
        """Tell the difference; the figure itself only where nobody knows what is shown (X6)."""
        if not (figure.platform_item_id and figure.platform_sku_id):
            raise refused("no_such_sku", "缺少微信的商品编号或规格编号，请重新同步商品对照")
        mode, number = _SET, figure.quantity
        if figure.believed is not None:
            number = abs(figure.quantity - figure.believed)
            mode = _ADD if figure.quantity > figure.believed else _TAKE
        if number or mode == _SET:
            body = {
                "product_id": figure.platform_item_id,
                "sku_id": figure.platform_sku_id,
                "diff_type": mode,
                "num": number,
            }
            self._tell_stock(body)
        return StockEcho()

    def _tell_stock(self, body: Mapping[str, Any]) -> None:
        try:
            self.post(STOCK, body, writes=True)
        except Rejected as error:
            if error.error.code in self._codes("stock_locked_codes", ""):
                raise refused("stock_locked", error.error.message) from error
            raise

    # --- answers ----------------------------------------------------------------------------

    def answer_stop(self, answer: StopAnswer) -> None:
        """Grant a refund whose parcel was stopped, refuse one whose parcel has gone.

        That gives the money back, or keeps it: only shops whose option ``answer_refunds`` is
        ``on`` leave it to the center. WeChat has no word for an order we do not know yet:
        nothing is refused for that. An application that waits for us no longer was answered or
        withdrawn before.
        """
        require_refund_consent(self.access)
        if answer.outcome is StopOutcome.NOT_SYNCED:
            raise Unsupported("回复“订单尚未同步”")
        if not self._waits_for_us(answer):
            return
        body: dict[str, Any] = {"after_sale_order_id": answer.refund_id}
        if answer.outcome is StopOutcome.STOPPED:
            self._write(ACCEPT_REFUND, body)
            return
        body["reject_reason"] = answer.words
        if kind := self.access.options.get("reject_reason_type"):
            body["reject_reason_type"] = int(kind)
        self._write(REJECT_REFUND, body)

    def answer_address(self, answer: AddressAnswer) -> None:
        """Grant or refuse a wish for another address that is still open."""
        if not self._asks_for_address(answer.channel_number):
            return
        name, path = "address_reject_path", REJECT_ADDRESS
        if answer.approve:
            name, path = "address_accept_path", ACCEPT_ADDRESS
        self._write(self.access.options.get(name, path), {"order_id": answer.channel_number})

    def write_memo(self, memo: Memo) -> None:
        """Add a line to the merchant's note, which the call replaces. There is no flag."""
        limit = int(self.access.options.get("memo_limit", _NOTE_LIMIT))
        merged = merged_note(self._note(memo.channel_number), memo.text, limit=limit)
        if merged is not None:
            self._write(NOTE, {"order_id": memo.channel_number, "merchant_notes": merged})

    def _note(self, channel_number: str) -> str:
        section = self.field_map.section("order")
        return section.over(self.order(channel_number)).text("seller_memo")

    def _waits_for_us(self, answer: StopAnswer) -> bool:
        found = self.post(REFUND, {"after_sale_order_id": answer.refund_id})
        refund = found.node_or_empty("after_sale_order")
        return self.field_map.section("refund").over(refund).text("state_raw") == _WAITS_FOR_US

    def _asks_for_address(self, channel_number: str) -> bool:
        order = self.field_map.section("order").over(self.order(channel_number))
        return order.given("asked_receiver")

    def _write(self, path: str, body: Mapping[str, Any]) -> Node:
        """Write; what the platform refuses for the moment only is TryLater."""
        try:
            return self.post(path, body, writes=True)
        except Rejected as error:
            if error.error.code in self._codes("not_now_codes", _NOT_NOW):
                raise TryLater(platform_error(error.error.code, error.error.message)) from error
            raise

    def _codes(self, option: str, default: str) -> set[str]:
        text = self.access.options.get(option, default)
        return {code.strip() for code in text.split(",") if code.strip()}

    # --- asking first -----------------------------------------------------------------------

    def knows(self, told: Told) -> bool | None:
        """Ask whether ``told`` took effect. A difference of stock leaves no trace; a figure that
        was set may be set again."""
        if isinstance(told, ShipNotice):
            return self._knows_parcel(told)
        if isinstance(told, Memo):
            note = self._note(told.channel_number)
            return merged_note(note, told.text, limit=len(note) + len(told.text) + 1) is None
        if isinstance(told, StopAnswer):
            return not self._waits_for_us(told)
        if isinstance(told, AddressAnswer):
            return not self._asks_for_address(told.channel_number)
        return False if told.believed is None else None

    def _knows_parcel(self, notice: ShipNotice) -> bool:
        with reading_reply():
            order = _Parcels(self.order(notice.channel_number), self.field_map)
            if notice.carrier == VIRTUAL_CARRIER:
                return not order.rest()
            return order.carries(notice.tracking_number)


class _Parcels:
    """What of an order has gone, in which parcels, and what has not."""

    def __init__(self, order: Node, fields: Any) -> None:
        info = order.node_or_empty("order_detail").node_or_empty("delivery_info")
        self.gone = info.nodes("delivery_product_info")
        section = fields.section("line")
        rows = [section.over(row) for row in fields.section("order").over(order).nodes("lines")]
        keys = line_ids(line_key(row, at) for at, row in enumerate(rows, 1))
        self.goods: dict[str, dict[str, str]] = {}
        self.open: dict[str, int] = {}
        sent = self._sent()
        for key, row in zip(keys, rows, strict=True):
            product = row.optional_id("platform_item_id") or ""
            sku = row.optional_id("platform_sku_id") or ""
            back = row.whole("given_back", default=0)
            left = max(0, row.quantity("quantity") - back)
            told = min(left, sent.get((product, sku), 0))
            sent[product, sku] = sent.get((product, sku), 0) - told
            self.goods[key] = {"product_id": product, "sku_id": sku}
            self.open[key] = left - told

    def _sent(self) -> dict[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        for parcel in self.gone:
            for row in parcel.nodes("product_infos"):
                key = (
                    optional_id(row.get("product_id")) or "",
                    optional_id(row.get("sku_id")) or "",
                )
                found[key] = found.get(key, 0) + row.whole("product_cnt", default=0)
        return found

    def carries(self, number: str) -> bool:
        return any(parcel.text("waybill_id") == number for parcel in self.gone)

    def rest(self) -> list[dict[str, Any]]:
        return [self._product(key, left) for key, left in self.open.items() if left]

    def some(self, notice: ShipNotice) -> list[dict[str, Any]]:
        """The pieces of a notice. Raises Rejected where the order has fewer of them open."""
        wanted: dict[str, int] = {}
        for line in notice.lines:
            wanted[line.channel_line_id] = wanted.get(line.channel_line_id, 0) + line.quantity
        if any(number > self.open.get(key, 0) for key, number in wanted.items()):
            raise refused("not_open", "订单里没有足够的待发数量")
        return [self._product(key, number) for key, number in wanted.items() if number]

    def _product(self, key: str, number: int) -> dict[str, Any]:
        return {**self.goods[key], "product_cnt": number}
