"""What the merchant tells JD: parcels, stock, notes, reviewed refunds (channels.md 2d)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.book import ASKED, REFUSED, Refused, Shipment
from ordercenter.sandbox.platforms.jd.bodies import state_of
from ordercenter.sandbox.platforms.jd.errors import Serve, bad, number, required
from ordercenter.sandbox.platforms.jd.reading import COMPANIES
from ordercenter.sandbox.shelf import Shelf

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, ShopConfig
    from ordercenter.sandbox.platforms.jd.reading import Reading

LONGEST_REMARK: Final = 500
# [R] Reviews of a refund application: passed, not passed; the others are JD's own.
PASSED: Final = frozenset({"1", "6"})
NOT_PASSED: Final = "2"
REJECT_TYPES: Final = frozenset("123456")


class Telling:
    def __init__(self, book: Book, reading: Reading) -> None:
        self.book = book
        self.reading = reading
        self.shelf = Shelf(book, "jd")

    def methods(self) -> dict[str, Serve]:
        return {
            "jingdong.pop.order.shipment": self.shipment,
            "jingdong.pop.order.modifyVenderRemark": self.remark,
            "jingdong.stock.write.updateSkuStock": self.stock,
            "jingdong.pop.afs.soa.refundapply.replyRefund": self.reply,
        }

    def shipment(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        """pop.order.shipment: an order goes whole and once. The company's number is spelt
        ``logiCoprId``; several parcels are ``|`` between companies and ``,`` within one (2d)."""
        required(wish, "orderId", "logiCoprId", "logiNo")
        order = self.reading.find(shop, wish, "orderId")
        companies = str(wish["logiCoprId"]).split("|")
        numbers = [group.split(",") for group in str(wish["logiNo"]).split("|")]
        if order is None:
            return shipped("10400001", "订单不存在", "order not exist")
        if len(companies) != len(numbers) or not COMPANIES.keys() >= set(companies):
            return shipped("10400005", "物流公司不存在", "logistics company not exist")
        if order.shipments:
            return shipped("10400010", "订单已出库，不能重复出库", "order has been shipped")
        if state_of(order)[0] != "WAIT_SELLER_STOCK_OUT":
            return shipped("10400003", "订单已锁定或已取消，不能出库", "order can not be shipped")
        for company, group in zip(companies, numbers, strict=True):
            for text in group:
                self.book.ship(order, Shipment(company, text, [], self.book.clock()))
        return shipped("0", "成功", "success")

    def remark(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        """pop.order.modifyVenderRemark replaces the text; snake case inside (2d)."""
        order = self.reading.find(shop, wish, "order_id")
        flag, text = str(wish.get("flag", "0")), str(wish.get("remark", ""))
        code, said = "0", "成功"
        if order is None:
            code, said = "10100002", "订单号错误"
        elif len(text) > LONGEST_REMARK:
            code, said = "10100039", "备注过长"
        elif flag not in set("012345"):
            code, said = "10100040", "备注等级错误"
        else:
            self.book.write_memo(order, text, int(flag))
        return {
            "modifyvenderremark_result": {
                "success": "true" if code == "0" else "false",
                "chinese_err_code": said,
                "english_err_code": "success" if code == "0" else "fail",
                "error_code": code,
            }
        }

    def stock(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        """stock.write.updateSkuStock: the whole figure of one SKU [R]."""
        required(wish, "skuId", "stockNum")
        pieces = number(wish, "stockNum", 0)
        listed = self.shelf.find(shop, sku_id=str(wish["skuId"]))
        if listed is None:
            return no_stock("10200001", "SKU不存在")
        lower = pieces < self.shelf.shown(shop, listed)
        if lower and self.book.is_promoted(shop.code, self.shelf.name(listed)):
            return no_stock("10200101", "商品正在参加促销，不能减少库存")  # [G] code and words
        self.shelf.called()
        self.shelf.put(shop, listed, pieces)
        return {"success": True}

    def reply(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        """refundapply.replyRefund: the merchant's review is the answer to the buyer [R]."""
        required(wish, "status", "id", "checkUserName", "remark")
        status = str(wish["status"])
        if status not in {*PASSED, NOT_PASSED}:
            raise bad("status")
        if status == NOT_PASSED and str(wish.get("rejectType", "")) not in REJECT_TYPES:
            raise bad("rejectType")
        found = self.book.refund(shop.code, str(wish["id"]))
        if found is None:
            return reviewed("10300001", "退款单不存在")
        order, refund = found
        if refund.state != ASKED:
            return reviewed("10300002", "退款单已审核")
        try:
            stopped, reason = status in PASSED, str(wish["remark"])
            self.book.answer_stop(order, refund, stopped=stopped, reason=reason)
            if not stopped:
                self.book.settle_refund(order, refund, REFUSED, reason)
        except Refused as refusal:
            return reviewed("10300003", str(refusal))
        return reviewed("0", "")


def shipped(code: str, chinese: str, english: str) -> dict[str, Any]:
    return {
        "sopjosshipment_result": {
            "success": code == "0",
            "chineseErrCode": chinese,
            "englishErrCode": english,
            "errorCode": code,
        }
    }


def no_stock(code: str, said: str) -> dict[str, Any]:
    return {"success": False, "errorCode": code, "errorMessage": said}


def reviewed(code: str, said: str) -> dict[str, Any]:
    return {"replyResult": {"success": code == "0", "errorCode": code, "errorDesc": said}}
