"""What Douyin is told and asked about one order: parcels, stock, refunds, notes, receivers.

``channels.md`` 3c and 3d. ``/afterSale/CancelSendGoodsSuccess``, the numbers of
``/order/addressConfirm`` and the fields of ``/order/logisticsAddMultiPack`` are read in the
same public SDK (zsmhub/doudian-sdk); what no source tells is an option of the shop.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

from channels_sync.connectors.base import key_of_all, lots
from channels_sync.connectors.douyin.wire import DouyinWire, number_or_text
from channels_sync.connectors.exchange import platform_error, reading_reply
from channels_sync.connectors.receivers import Cipher, Opened, open_all, same_receiver
from channels_sync.connectors.strict_json import loads_strict
from channels_sync.connectors.values import Node, merged_note, optional_id
from channels_sync.contracts import (
    AddressAnswer,
    Decrypted,
    DecryptRequest,
    ErrorClass,
    Memo,
    PlatformError,
    Rejected,
    ShipNotice,
    StockAnswer,
    StockCall,
    StockEcho,
    StockFigure,
    StopAnswer,
    StopOutcome,
    Told,
    TryLater,
    Unsupported,
)

MEMO_LENGTH: Final = 60
CIPHERS_A_CALL: Final = 50
STOCK: Final = "/sku/syncStock"
BATCH: Final = "/sku/syncStockBatch"
SKUS_A_CALL: Final = 100
"""No source states how many a batch may hold."""
IN_WAREHOUSE: Final = "1003"
"""``is_approved`` of a refusal: the order is being worked in the warehouse."""
APPROVED: Final = 0
BY_MERCHANT: Final = 1


class DouyinTelling(DouyinWire):
    """The writing half of a Douyin shop."""

    # Ship and stock carry an id the platform knows repeats by; a note is read first; a second
    # word about a refund or an address says the same or is refused.
    repeatable: ClassVar[frozenset[type]] = frozenset(
        {ShipNotice, StockFigure, StopAnswer, Memo, AddressAnswer}
    )

    def order(self, channel_number: str) -> Node:
        """Ask for one order. Raises TryLater while there is no detail, Rejected if no order."""
        answer = self.call("/order/orderDetail", {"shop_order_id": channel_number})
        detail = answer.node_or_empty("shop_order_detail")
        if not detail.data:
            raise TryLater(platform_error("no_detail_yet", "平台还没有给出这张订单的详情"))
        if optional_id(detail.get("order_id")) != channel_number:
            raise TryLater(platform_error("bad_body", "平台没有给出所查的订单"))
        return detail

    # --- parcels ----------------------------------------------------------------------------

    def ship(self, notice: ShipNotice) -> None:
        """Report the parcel; a refund that is open makes Douyin refuse, and so it should.

        A repeat is recognized by ``request_id``, or by the parcel already on the order. Goods
        without a parcel go by the number of their order, under the company the shop has named
        for ``virtual``.
        """
        path, params = _parcel(notice, self.carrier_code(notice.carrier))
        try:
            self.call(path, params, writes=True)
        except Rejected as error:
            if error.error.klass is not ErrorClass.BUSINESS or not self._carries(notice):
                raise

    def _carries(self, notice: ShipNotice) -> bool:
        """Whether the order already shows this parcel with these lines in it."""
        lines = {line.channel_line_id for line in notice.lines}
        number = _tracking_number(notice)
        with reading_reply():
            for parcel in self.order(notice.channel_number).nodes("logistics_info"):
                if parcel.text("tracking_no") != number:
                    continue
                inside = {one.text("sku_order_id") for one in parcel.nodes("product_info")}
                if not lines or not inside or lines <= inside:
                    return True
        return False

    # --- stock ------------------------------------------------------------------------------

    def stock_calls(self, figures: Sequence[StockFigure]) -> list[StockCall]:
        """SKUs of one product go together, told the same way."""
        alike: dict[tuple[str, bool], list[StockFigure]] = {}
        for figure in figures:
            alike.setdefault((figure.platform_item_id, figure.believed is None), []).append(figure)
        one_by_one: list[StockCall] = []
        together: list[StockCall] = []
        for (product, _is_set), rows in alike.items():
            for lot in lots(rows, SKUS_A_CALL if product else 1):
                calls, interface = (together, BATCH) if len(lot) > 1 else (one_by_one, STOCK)
                calls.append(StockCall(interface, lot))
        return together + one_by_one

    def publish_stock(self, figure: StockFigure) -> StockEcho:
        """Tell the difference where it is known, else set the figure."""
        change = _change(figure)
        if change == 0:
            return StockEcho()
        self._sync(STOCK, {**_goods(figure), **_number(figure), "idempotent_id": figure.key,
                           "incremental": change is not None})  # fmt: skip
        return StockEcho()

    def publish_figures(self, figures: Sequence[StockFigure]) -> list[StockAnswer]:
        if len(figures) == 1:
            return [self.publish_stock(figures[0])]
        return self.all_or_each(figures, lambda: self._sync_all(figures))

    def _sync_all(self, figures: Sequence[StockFigure]) -> list[StockEcho]:
        """``syncStockBatch``: SKUs of one product, all or none."""
        told = [figure for figure in figures if _change(figure) != 0]
        if told:
            rows = [{**_sku(figure), **_number(figure)} for figure in told]
            params = {
                "product_id": number_or_text(told[0].platform_item_id),
                "incremental": told[0].believed is not None,
                "idempotent_id": key_of_all(told),
                "sku_sync_list": rows,
            }
            self._sync(BATCH, params)
        return [StockEcho() for _ in figures]

    def _sync(self, path: str, params: Mapping[str, Any]) -> None:
        try:
            self.call(path, params, writes=True)
        except Rejected as refusal:
            if self._is_locked(refusal.error):
                raise Rejected(replace(refusal.error, code="stock_locked")) from refusal
            raise

    def _is_locked(self, error: PlatformError) -> bool:
        """Whether goods on promotion are the reason: by codes of option ``stock_locked``.

        No source names Douyin's; the option lists codes and sub-codes, joined by commas.
        """
        listed = set(self.access.options.get("stock_locked", "").split(",")) - {""}
        return bool(listed & {error.code, error.sub_code})

    # --- refunds ----------------------------------------------------------------------------

    def answer_stop(self, answer: StopAnswer) -> None:
        """Say that a parcel was stopped, or have the platform stop the one that has gone.

        What lies between (not synced, label printed) Douyin has no way to hear. Option
        ``agree_refund_type`` names the ``/afterSale/operate`` type that also agrees the
        refund; no source lists the types.
        """
        if answer.outcome is StopOutcome.STOPPED:
            self._tell_stopped(answer)
        elif answer.outcome is StopOutcome.SHIPPED:
            self._intercept(answer)
        else:
            raise Unsupported("未同步或已打单的答复")

    def _tell_stopped(self, answer: StopAnswer) -> None:
        now = int(self.now().timestamp())
        told = {"aftersale_id": answer.refund_id, "op_time": now}
        self.call("/afterSale/CancelSendGoodsSuccess", told, writes=True)
        agree = self.access.options.get("agree_refund_type", "")
        if agree:
            item: dict[str, Any] = {"aftersale_id": answer.refund_id}
            if answer.version.isdigit():  # an application changed meanwhile is not agreed
                item["update_time"] = int(answer.version)
            wish = {"type": number_or_text(agree), "items": [item]}
            self.call("/afterSale/operate", wish, writes=True)

    def _intercept(self, answer: StopAnswer) -> None:
        if not answer.tracking_number:
            raise Unsupported("没有运单号的拦截")
        parcel = {
            "company_code": self.carrier_code(answer.carrier),
            "tracking_no": answer.tracking_number,
        }
        wish = {
            "after_sale_id": number_or_text(answer.refund_id),
            "op_from": BY_MERCHANT,
            "intercept_targets": [parcel],
        }
        told = self.call("/afterSale/applyLogisticsIntercept", wish, writes=True)
        with reading_reply(writes=True):
            results = told.nodes("intercept_results")
            refused = [one for one in results if not one.boolean("is_success")]
        if refused:
            words = refused[0].first_text("unavailable_reason") or "平台称这个包裹无法拦截"
            raise Rejected(PlatformError(ErrorClass.BUSINESS, "not_intercepted", words))

    # --- notes and addresses ----------------------------------------------------------------

    def write_memo(self, memo: Memo) -> None:
        """Add to the merchant's note and set the flag; both stay where they are right."""
        order = self.order(memo.channel_number)
        note, star = _note(order)
        merged = merged_note(note, memo.text, limit=MEMO_LENGTH)
        flag = star if memo.flag is None else memo.flag
        if merged is None and flag == star:
            return
        told = {
            "order_id": memo.channel_number,
            "remark": note if merged is None else merged,
            "is_add_star": "false" if flag is None else "true",
        }
        if flag is not None:
            told["star"] = str(flag)
        self.call("/order/addOrderRemark", told, writes=True)

    def answer_address(self, answer: AddressAnswer) -> None:
        """Approve or refuse; the reason of a refusal is option ``address_refusal``."""
        refusal = self.access.options.get("address_refusal", IN_WAREHOUSE)
        told = {
            "order_id": answer.channel_number,
            "is_approved": APPROVED if answer.approve else number_or_text(refusal),
        }
        self.call("/order/addressConfirm", told, writes=True)

    def knows(self, told: Told) -> bool | None:
        if isinstance(told, ShipNotice):
            return self._carries(told)
        if isinstance(told, Memo):
            note, star = _note(self.order(told.channel_number))
            noted = merged_note(note, told.text, limit=sys.maxsize) is None
            return noted and told.flag in (None, star)
        return None

    # --- privacy ----------------------------------------------------------------------------

    def decrypt(self, requests: Sequence[DecryptRequest]) -> list[Decrypted]:
        """Open receivers by ``/order/batchDecrypt``; each entry may fail by itself."""
        return open_all(requests, ciphers_of, self._open, most=CIPHERS_A_CALL)

    def _open(self, ciphers: Sequence[Cipher]) -> Mapping[Cipher, Opened]:
        infos = [{"auth_id": number, "cipher_text": text} for number, text in ciphers]
        answer = self.call("/order/batchDecrypt", {"cipher_infos": infos}, partly=True)
        with reading_reply():
            whole = answer.node_or_empty("custom_err")
            if code := whole.whole("err_code", default=0):
                words = whole.first_text("err_msg") or "平台拒绝解密"
                raise Rejected(PlatformError(ErrorClass.BUSINESS, str(code), words))
            return {
                (one.text("auth_id"), one.text("cipher_text")): _opened(one)
                for one in answer.nodes("decrypt_infos")
            }

    def merge_groups(self, requests: Sequence[DecryptRequest]) -> list[tuple[str, ...]]:
        """By ``open_address_id``, the platform's sign of one receiver; there is no call."""
        return same_receiver(requests)


def _parcel(notice: ShipNotice, company: str) -> tuple[str, dict[str, Any]]:
    """The interface for a whole order, a part of one, and a further part.

    ``is_reject_refund`` true would turn down the buyer's open refund on the way. Never.
    """
    parcel = {"company_code": company, "logistics_code": _tracking_number(notice)}
    if not notice.lines:
        whole = {"order_id": notice.channel_number, "is_reject_refund": False}
        return "/order/logisticsAdd", {**parcel, **whole}
    inside = [
        {"shipped_order_id": line.channel_line_id, "shipped_num": line.quantity}
        for line in notice.lines
    ]
    if notice.others:
        pack = {**parcel, "shipped_order_info": inside}
        further = {"order_id": notice.channel_number, "pack_list": [pack]}
        return "/order/logisticsAddMultiPack", {**further, "request_id": notice.key}
    part = {"order_id_list": [notice.channel_number], "shipped_order_info": inside}
    return "/order/logisticsAddSinglePack", {**parcel, **part, "request_id": notice.key}


def _tracking_number(notice: ShipNotice) -> str:
    return notice.tracking_number or notice.channel_number


def _change(figure: StockFigure) -> int | None:
    """The difference to tell; None where the figure itself is set."""
    return None if figure.believed is None else figure.quantity - figure.believed


def _number(figure: StockFigure) -> dict[str, int]:
    change = _change(figure)
    return {"stock_num": figure.quantity if change is None else change}


def _goods(figure: StockFigure) -> dict[str, Any]:
    """Name one SKU of a product, where the product is known."""
    product = figure.platform_item_id
    named: dict[str, Any] = {"product_id": number_or_text(product)} if product else {}
    return {**named, **_sku(figure)}


def _sku(figure: StockFigure) -> dict[str, Any]:
    """Name one SKU: by the platform's id, else by the merchant's code."""
    if figure.platform_sku_id:
        return {"sku_id": number_or_text(figure.platform_sku_id)}
    if figure.outer_code:
        return {"code": figure.outer_code}
    raise Rejected(
        PlatformError(ErrorClass.BUSINESS, "no_listing", "没有平台规格编号，也没有商家编码")
    )


def _note(order: Node) -> tuple[str, int | None]:
    with reading_reply():
        return order.text("seller_words"), order.optional_whole("seller_remark_stars")


def ciphers_of(raw: bytes) -> Mapping[str, str]:
    """The ciphertexts of an order as it came (``channels.md`` 3c). Raises Unreadable."""
    order = Node.of(loads_strict(raw))
    return {
        "name": order.text("encrypt_post_receiver"),
        "phone": order.text("encrypt_post_tel"),
        "address": order.node_or_empty("post_addr").text("encrypt_detail"),
    }


def _opened(entry: Node) -> Opened:
    code = entry.whole("err_no", default=0)
    if code:
        words = entry.first_text("err_msg") or "平台拒绝解密"
        return Opened(error=PlatformError(ErrorClass.BUSINESS, str(code), words))
    return Opened(
        text=entry.text("decrypt_text"),
        is_virtual=entry.boolean("is_virtual_tel"),
        expires_at=entry.unix_seconds("expire_time"),
    )
