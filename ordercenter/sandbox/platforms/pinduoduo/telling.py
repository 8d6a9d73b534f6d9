"""What the merchant tells Pinduoduo: parcels, stock, notes, stopped parcels (channels.md 4d)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ordercenter.sandbox.book import ON_HOLD, Refused, Shipment
from ordercenter.sandbox.platforms.pinduoduo.bodies import (
    GIFT_PARCEL,
    RESENT_PARCEL,
    SPLIT_PARCEL,
    goods_of,
)
from ordercenter.sandbox.platforms.pinduoduo.errors import (
    PopError,
    Serve,
    invalid,
    listed,
    number,
    signed,
)
from ordercenter.sandbox.shelf import Shelf

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, Listed, ShopConfig
    from ordercenter.sandbox.platforms.pinduoduo.reading import Answer, Reading

LONGEST_TAG_NAME: Final = 3
MOST_EXTRA_PARCELS: Final = 10
# The platform's company numbers [G for all but 85]: the list method tells them.
COMPANIES: Final = {
    1: ("申通快递", "STO"),
    44: ("顺丰快递", "SF"),
    85: ("圆通快递", "YTO"),
    115: ("中通快递", "ZTO"),
    118: ("邮政EMS", "EMS"),
    120: ("京东快递", "JD"),
    121: ("韵达快递", "YUNDA"),
}
SET: Final = "1"
ADD: Final = "2"
IN_PROMOTION: Final = 20101  # [G] what the platform says to a lower figure of promoted goods
FAILED_BECAUSE: Final = frozenset({1001, 1002, 1003})
"""Not synchronized yet, shipped already, label printed already."""


class Telling:
    def __init__(self, book: Book, reading: Reading) -> None:
        self.book = book
        self.reading = reading
        self.shelf = Shelf(book, "pinduoduo")

    def methods(self) -> dict[str, Serve]:
        return {
            "pdd.logistics.online.send": self.send,
            "pdd.order.upload.extra.logistics": self.send_more,
            "pdd.logistics.companies.get": self.companies,
            "pdd.goods.quantity.update": self.quantity,
            "pdd.order.note.update": self.note,
            "pdd.rdc.pddgenius.sendgoods.cancel": self.stop,
        }

    def send(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        """logistics.online.send: the whole order in one parcel; 2 overwrites it (4d)."""
        order = self.reading.find(shop, params)
        parcel = self._parcel(number(params, "logistics_id"), params.get("tracking_number", ""))
        if order.state == ON_HOLD:
            raise invalid("订单风控审核中，不能发货")
        if params.get("redelivery_type", "1") == "2" and order.shipments:
            order.shipments = []
        elif order.shipments and order.shipments[0].tracking_number != parcel.tracking_number:
            raise invalid("订单已发货，不能重复发货")
        try:
            self.book.ship(order, parcel)
        except Refused as refusal:
            raise invalid(str(refusal)) from refusal
        return "logistics_online_send_response", {"is_success": True}

    def send_more(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        """order.upload.extra.logistics: further parcels of an order that has been shipped."""
        order = self.reading.find(shop, params)
        rows = listed(params, "extra_track_list", MOST_EXTRA_PARCELS)
        kind = number(params, "extra_track_type") if "extra_track_type" in params else SPLIT_PARCEL
        if kind not in {SPLIT_PARCEL, RESENT_PARCEL, GIFT_PARCEL}:
            raise invalid("extra_track_type取值为1到3")
        if not order.shipments:
            raise invalid("订单未发货，不能上传额外运单")
        parcels = [
            self._parcel(int(row.get("shipping_id") or 0), str(row.get("tracking_number") or ""))
            for row in rows
        ]
        for parcel in parcels:
            order.extra.setdefault("parcels", {})[parcel.tracking_number] = kind
            self.book.ship(order, parcel)
        return "upload_extra_logistics_response", {"success": True}

    def companies(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        rows = [
            {"id": number, "logistics_company": name, "code": code, "available": 1}
            for number, (name, code) in COMPANIES.items()
        ]
        return "logistics_companies_get_response", {"logistics_companies": rows}

    def quantity(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        """goods.quantity.update: the figure, or a difference; never lower while promoted (X5)."""
        way = params.get("update_type") or SET
        if way not in {SET, ADD}:
            raise invalid("update_type取值为1或2")
        found = self._listed(shop, params)
        figure = signed(params, "quantity")
        shown = self.shelf.shown(shop, found)
        after = figure if way == SET else shown + figure
        if after < 0:
            raise invalid("库存不能小于0")
        if after < shown and self.book.is_promoted(shop.code, self.shelf.name(found)):
            raise PopError(IN_PROMOTION, "活动商品不支持减少库存", str(IN_PROMOTION))
        self.shelf.called()
        if way == SET:
            self.shelf.put(shop, found, figure)
        else:
            self.shelf.change(shop, found, figure)
        return "goods_quantity_update_response", {"is_success": True}

    def note(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        """order.note.update replaces the note; tag and its name come together (4d)."""
        order = self.reading.find(shop, params)
        tag, name = params.get("tag"), params.get("tag_name")
        if (tag is None) != (name is None) or len(name or "") > LONGEST_TAG_NAME:
            raise invalid("tag与tag_name须同时填写，tag_name最多3个字")
        flag = None if tag is None else number(params, "tag")
        self.book.write_memo(order, params.get("note", ""), flag)
        return "response", {"success": True, "error_code": 0, "error_msg": None}

    def stop(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        """rdc.pddgenius.sendgoods.cancel [G]: SUCCESS, or FAIL with the reason's code (X2)."""
        try:
            said = json.loads(params.get("param", ""))
            refund_id, tid, status = str(said["refund_id"]), str(said["tid"]), said["status"]
        except (ValueError, KeyError, TypeError) as error:
            raise invalid("参数param不合法") from error
        reason = said.get("fail_reason_code")
        if status not in {"SUCCESS", "FAIL"} or (status == "FAIL" and reason not in FAILED_BECAUSE):
            raise invalid("status或fail_reason_code不合法")
        found = self.book.refund(shop.code, refund_id)
        if found is None or found[0].number != tid:
            raise invalid("售后单不存在")
        why = "" if status == "SUCCESS" else f"{reason} {said.get('msg') or ''}".strip()
        self.book.answer_stop(*found, stopped=status == "SUCCESS", reason=why)
        result = {"result_data": {"refund_id": int(refund_id)}}
        return "rdc_pddgenius_sendgoods_cancel_response", {"result": result}

    def _parcel(self, company: int, tracking_number: str) -> Shipment:
        if company not in COMPANIES or not tracking_number:
            raise invalid("快递公司或运单号不合法")
        return Shipment(str(company), tracking_number, [], self.book.clock())

    def _listed(self, shop: ShopConfig, params: Mapping[str, str]) -> Listed:
        sku_id, outer_id = params.get("sku_id"), params.get("outer_id")
        if not sku_id and not outer_id:
            raise invalid("sku_id与outer_id不能同时为空")
        found = self.shelf.find(shop, sku_id=sku_id or None, outer_code=outer_id)
        if found is None or goods_of(found) != number(params, "goods_id"):
            raise invalid("商品或SKU不存在")
        return found
