"""What the merchant tells Taobao: parcels, stock, memos, stopped parcels (channels.md 1d)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.book import SHIPPED, WAIT_SHIP, Refused, Shipment
from ordercenter.sandbox.platforms.taobao.bodies import COMPANIES, item_id
from ordercenter.sandbox.platforms.taobao.errors import (
    Serve,
    TopError,
    business,
    fields_of,
    invalid,
    missing,
    number,
    objects,
    required,
)
from ordercenter.sandbox.shelf import Shelf
from ordercenter.sandbox.wire import beijing

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, Listed, Order, Refund, ShopConfig
    from ordercenter.sandbox.platforms.taobao.reading import Reading

LONGEST_MEMO: Final = 1_000  # bytes
SKUS_AT_A_TIME: Final = 20
MOST_PARCELS: Final = 20
SET: Final = "1"
ADD: Final = "2"
# [G] What the platform calls a figure that a promotion forbids to lower.
IN_PROMOTION: Final = "isv.item-quantity-update-service-error:ITEM_IN_PROMOTION"


class Telling:
    def __init__(self, book: Book, reading: Reading) -> None:
        self.book = book
        self.reading = reading
        self.shelf = Shelf(book, "taobao")

    def methods(self) -> dict[str, Serve]:
        return {
            "taobao.logistics.offline.send": self.send,
            "taobao.logistics.dummy.send": self.send_virtual,
            "alibaba.ascp.logistics.offline.send": self.send_parcels,
            "alibaba.ascp.logistics.consign.resend": self.resend,
            "taobao.logistics.companies.get": self.companies,
            "taobao.skus.quantity.update": self.skus_quantity,
            "taobao.item.quantity.update": self.item_quantity,
            "taobao.trade.memo.update": self.memo,
            "taobao.trade.memo.add": self.add_memo,
            "taobao.rp.refund.intercept": self.intercept,
            "taobao.rdc.aligenius.sendgoods.cancel": self.stop,
        }

    # Parcels

    def send(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """logistics.offline.send: a shipped trade is refused, with the same parcel too."""
        required(params, "tid", "out_sid", "company_code")
        order = self.reading.find(shop, params)
        line_ids = part_of(order, params)
        self._ship(order, self._parcel(params["company_code"], params["out_sid"], line_ids))
        return {"shipping": {"is_success": True}}

    def send_virtual(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """logistics.dummy.send: goods that nobody carries."""
        order = self.reading.find(shop, params)
        parcel = Shipment("", "", [], self.book.now(shop.code), is_virtual=True)
        self._ship(order, parcel)
        return {"shipping": {"is_success": True}}

    def send_parcels(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """ascp.logistics.offline.send: one or more parcels, down to pieces of a line; all or
        none."""
        order = self.reading.find(shop, params)
        rows = objects(params, "consign_pkgs", MOST_PARCELS)
        parcels = [self._package(order, row) for row in rows]
        wanted: dict[str, int] = {}
        for parcel in parcels:
            for line_id in parcel.line_ids or [line.line_id for line in order.lines]:
                line = order.line(line_id)
                pieces = parcel.quantities.get(line_id, line.quantity if line else 0)
                wanted[line_id] = wanted.get(line_id, 0) + pieces
        for line in order.lines:
            if wanted.get(line.line_id, 0) > order.left(line):
                raise shipped_already()
        for parcel in parcels:
            self._ship(order, parcel)
        return {"result": {"success": True}}

    def resend(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """ascp.logistics.consign.resend: other numbers for what has been shipped."""
        order = self.reading.find(shop, params)
        rows = objects(params, "consign_pkgs", MOST_PARCELS)
        if not order.shipments:
            raise business("isv.logistics-resend-service-error:B06", "订单尚未发货，不能修改运单")
        lines = [text for text in params.get("sub_tids", "").split(",") if text]
        order.shipments = [
            kept for kept in order.shipments if lines and not set(kept.line_ids) & set(lines)
        ]
        order.state = WAIT_SHIP
        for row in rows:
            self._ship(order, self._package(order, {**row, "goods": row.get("goods") or []}))
        return {"result": {"success": True}}

    def companies(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        fields = fields_of(params)
        rows = [
            {"id": turn, "code": code, "name": name}
            for turn, (code, name) in enumerate(COMPANIES.items(), 100)
        ]
        told = [{k: v for k, v in row.items() if k in fields} for row in rows]
        return {"logistics_companies": {"logistics_company": told}}

    def _package(self, order: Order, row: Mapping[str, Any]) -> Shipment:
        goods = row.get("goods") or []
        quantities: dict[str, int] = {}
        for entry in goods:
            line = order.line(str(entry.get("sub_tid", "")))
            if line is None:
                raise invalid("consign_pkgs", "子订单不属于该交易")
            pieces = int(entry.get("num") or line.quantity)
            if not 1 <= pieces <= line.quantity:
                raise invalid("consign_pkgs", "发货数量不合法")
            quantities[line.line_id] = pieces
        parts = {
            line_id: pieces
            for line_id, pieces in quantities.items()
            if (line := order.line(line_id)) is not None and pieces < line.quantity
        }
        company, number_ = str(row.get("company_code", "")), str(row.get("out_sid", ""))
        if not number_:
            raise missing("out_sid")
        parcel = self._parcel(company, number_, list(quantities))
        parcel.quantities = parts
        return parcel

    def _parcel(self, company: str, tracking_number: str, line_ids: list[str]) -> Shipment:
        if company not in COMPANIES:
            raise business("isv.logistics-offline-service-error:B01", "物流公司不存在")
        return Shipment(company, tracking_number, line_ids, self.book.clock())

    def _ship(self, order: Order, parcel: Shipment) -> None:
        gone = order.state not in {WAIT_SHIP, SHIPPED} or not order.unshipped
        unshipped = {line.line_id for line in order.unshipped}
        if order.shipments and (gone or not unshipped.issuperset(parcel.line_ids)):
            raise shipped_already()
        try:
            self.book.ship(order, parcel)
        except Refused as refusal:
            raise business("isv.logistics-offline-service-error:B05", str(refusal)) from refusal

    # Stock

    def skus_quantity(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """skus.quantity.update: up to 20 SKUs of one item, all or none. A difference that
        would leave less than nothing leaves nothing."""
        required(params, "num_iid")
        by_sku = bool(params.get("skuid_quantities"))
        text = params.get("skuid_quantities") or params.get("outerid_quantities") or ""
        pairs = [pair.rpartition(":") for pair in text.split(";") if pair]
        if not pairs:
            raise missing("skuid_quantities")
        if len(pairs) > SKUS_AT_A_TIME:
            raise invalid("skuid_quantities", "最多支持20个SKU同时修改")
        wishes = []
        for code, _, figure in pairs:
            listed = self._find(shop, params, **{"sku_id" if by_sku else "outer_code": code})
            wishes.append((listed, signed(figure, "skuid_quantities")))
        return self._show(shop, params, wishes)

    def item_quantity(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """item.quantity.update: one SKU, or goods without any; less than nothing is refused."""
        required(params, "num_iid", "quantity")
        if params.get("sku_id"):
            listed = self._find(shop, params, sku_id=params["sku_id"])
        else:
            listed = self._find(shop, params, outer_code=params.get("outer_id") or None)
        figure = signed(params["quantity"], "quantity")
        if params.get("type") == ADD and self.shelf.shown(shop, listed) + figure < 0:
            raise business("isv.invalid-parameter:quantity", "库存不能小于0")
        return self._show(shop, params, [(listed, figure)])

    def _find(
        self,
        shop: ShopConfig,
        params: Mapping[str, str],
        *,
        sku_id: str | None = None,
        outer_code: str | None = None,
    ) -> Listed:
        if sku_id is None and outer_code is None:  # goods without SKU go by their item alone
            rows = [row for row in shop.listed if row.platform_sku_id is None]
            found = next((r for r in rows if str(item_id(r)) == params["num_iid"]), None)
        else:
            found = self.shelf.find(shop, sku_id=sku_id, outer_code=outer_code)
        if found is None:
            raise business("isv.sku-not-exist", "SKU不存在")
        if str(item_id(found)) != params["num_iid"]:
            raise business("isv.item-is-not-exist", "商品不存在，或SKU不属于该商品")
        return found

    def _show(
        self, shop: ShopConfig, params: Mapping[str, str], wishes: list[tuple[Listed, int]]
    ) -> dict[str, Any]:
        way = params.get("type") or SET
        if way not in {SET, ADD}:
            raise invalid("type", "库存更新方式为1或2")
        if way == SET and any(figure < 0 for _, figure in wishes):
            raise invalid("quantity", "全量更新时库存不能为负数")
        for listed, figure in wishes:
            shown = self.shelf.shown(shop, listed)
            lower = figure < (shown if way == SET else 0)
            if lower and self.book.is_promoted(shop.code, self.shelf.name(listed)):
                raise business(IN_PROMOTION, "商品正在参加活动，不能减少库存")
        self.shelf.called()
        rows = []
        for listed, figure in wishes:
            shown = self.shelf.shown(shop, listed)
            if way == SET:
                now = self.shelf.put(shop, listed, figure)
            else:
                now = self.shelf.change(shop, listed, max(figure, -shown))
            rows.append({"sku_id": int(listed.platform_sku_id or 0), "quantity": now})
        item: dict[str, Any] = {
            "num_iid": int(params["num_iid"]),
            "num": sum(row["quantity"] for row in rows),
            "modified": beijing(self.book.now(shop.code)),
        }
        if rows[0]["sku_id"]:
            item["skus"] = {"sku": rows}
        return {"item": item}

    # Memos

    def memo(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """trade.memo.update replaces the text; ``reset`` clears it (1d)."""
        order, text, flag = self._memo(shop, params)
        self.book.write_memo(order, "" if params.get("reset") == "true" else text, flag)
        return {"trade": {"tid": int(order.number), "modified": beijing(order.modified)}}

    def add_memo(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """trade.memo.add: refused where there is one."""
        order, text, flag = self._memo(shop, params)
        if order.memo:
            raise business("isv.trade-memo-exist", "交易备注已存在")
        self.book.write_memo(order, text, flag)
        return {"trade": {"tid": int(order.number), "created": beijing(order.modified)}}

    def _memo(self, shop: ShopConfig, params: Mapping[str, str]) -> tuple[Order, str, int]:
        required(params, "tid")
        text, flag = params.get("memo", ""), params.get("flag", "0")
        if len(text.encode()) > LONGEST_MEMO:
            raise invalid("memo", "备注不能超过1000个字节")
        if flag not in set("012345"):
            raise invalid("flag", "旗帜取值为0到5")
        return self.reading.find(shop, params), text, int(flag)

    # Parcels that must not go

    def intercept(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """rp.refund.intercept: the carrier is asked to bring a parcel on its way back."""
        required(params, "refund_id", "refund_version")
        order, refund = self._refund(shop, params["refund_id"])
        if number(params, "refund_version", 0) != int(refund.modified * 1000):
            raise business("isv.refund-version-error", "退款版本号错误，请重新获取")
        if not order.shipments:
            raise business("isv.refund-intercept-error", "订单未发货，不能发起拦截")
        key = params["refund_version"]
        self.book.wrote(shop.code, "intercept", refund.refund_id, key=key)
        return {}

    def stop(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """rdc.aligenius.sendgoods.cancel [G]: ``param`` says SUCCESS (the parcel was stopped,
        the money may go back) or FAIL with the reason in ``msg``."""
        required(params, "param")
        try:
            said = json.loads(params["param"])
            refund_id, status = str(said["refund_id"]), said["status"]
        except (ValueError, KeyError, TypeError) as error:
            raise invalid("param", "不是合法的JSON") from error
        if status not in {"SUCCESS", "FAIL"}:
            raise invalid("param", "status 取值为 SUCCESS 或 FAIL")
        try:
            order, refund = self._refund(shop, refund_id)
        except TopError as error:
            told = {"error_code": error.sub_code, "error_info": error.sub_msg}
            return {"result": {"success": False, **told}}
        stopped, reason = status == "SUCCESS", str(said.get("msg") or "")
        self.book.answer_stop(order, refund, stopped=stopped, reason=reason)
        return {"result": {"success": True, "result_data": {"refund_id": int(refund_id)}}}

    def _refund(self, shop: ShopConfig, refund_id: str) -> tuple[Order, Refund]:
        found = self.book.refund(shop.code, refund_id)
        if found is None:
            raise business("isv.refund-not-exist", "退款单不存在")
        return found


def shipped_already() -> TopError:
    return business("isv.logistics-offline-service-error:B04", "物流订单状态不合法：该订单已发货")


def signed(text: str, name: str) -> int:
    """A whole number, which may be below nothing."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise invalid(name, "库存应为整数")
    return int(text)


def part_of(order: Order, params: Mapping[str, str]) -> list[str]:
    """The lines of a part shipment; none means all of them."""
    if params.get("is_split", "0") != "1":
        return []
    line_ids = [text for text in params.get("sub_tid", "").split(",") if text]
    if not line_ids:
        raise missing("sub_tid")
    if any(order.line(line_id) is None for line_id in line_ids):
        raise invalid("sub_tid", "子订单不属于该交易")
    return line_ids
