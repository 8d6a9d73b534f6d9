"""JD's lists and details (channels.md 2b, 2d)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.book import ASKED
from ordercenter.sandbox.platforms.jd.bodies import (
    REFUND_STATUS,
    order_body,
    refund_body,
    state_of,
)
from ordercenter.sandbox.platforms.jd.errors import Serve, bad, bound, names, number, window
from ordercenter.sandbox.rendered import LastList, Rendered
from ordercenter.sandbox.wire import beijing

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, Order, Refund, ShopConfig

LONGEST_WINDOW: Final = 31 * 86_400  # 2b: one month
CHANGED_REACHES_BACK: Final = 93 * 86_400
CREATED_REACHES_BACK: Final = 731 * 86_400
LARGEST_PAGE: Final = 100
MOST_PAGES: Final = 100
LARGEST_REFUND_PAGE: Final = 50
COMPANIES: Final = {
    "467": "顺丰快递",
    "463": "圆通快递",
    "1499": "中通速递",
    "1327": "韵达快递",
    "470": "申通快递",
    "465": "邮政EMS",
    "2087": "京东快递",
}
SUCCESS: Final = {
    "success": True,
    "englishErrCode": "success",
    "chineseErrCode": "成功",
    "numberCode": 10100000,
}


class Reading:
    def __init__(self, book: Book) -> None:
        self.book = book
        self.bodies = Rendered(order_body)
        self.lists = LastList(book)

    def methods(self) -> dict[str, Serve]:
        return {
            "jingdong.pop.order.search": self.search,
            "jingdong.pop.order.get": self.get,
            "jingdong.order.venderRemark.queryByOrderId": self.remark,
            "jingdong.pop.afs.soa.refundapply.queryPageList": self.refunds,
            "360buy.get.vender.all.delivery.company": self.companies,
        }

    def search(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        """pop.order.search: at most a month; every field must be asked for; paid orders (2b)."""
        fields, states = names(wish, "optional_fields"), names(wish, "order_state")
        start, end = window(wish, "start_date", "end_date")
        by_creation = str(wish.get("dateType", "")) == "1"
        reach = CREATED_REACHES_BACK if by_creation else CHANGED_REACHES_BACK
        if end - start > LONGEST_WINDOW:
            raise bad("end_date")
        if start < self.book.now(shop.code) - reach:
            raise bad("start_date")
        page, size = number(wish, "page", 1), number(wish, "page_size", 10)
        if not 1 <= page <= MOST_PAGES or not 1 <= size <= LARGEST_PAGE:
            raise bad("page_size")
        downwards = str(wish.get("sortType", "1")) == "1"

        def make() -> list[Order]:
            within = self.book.created if by_creation else self.book.changed
            rows = within(shop.code, start, end)
            shown = [o for o in rows if o.paid is not None and state_of(o)[0] in states]
            return shown[::-1] if downwards else shown

        found = self.lists.of(shop, (by_creation, downwards, start, end, states), make)
        rows = found[(page - 1) * size : page * size]
        return {
            "searchorderinfo_result": {
                "apiResult": SUCCESS,
                "orderTotal": len(found),
                "orderInfoList": [only(self.bodies.of(shop, order), fields) for order in rows],
            }
        }

    def get(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        fields = names(wish, "optional_fields")
        order = self.find(shop, wish, "order_id")
        if order is None or self.book.is_late(order):
            refusal = {
                "success": False,
                "englishErrCode": "order not exist",
                "chineseErrCode": "订单不存在",
                "numberCode": 10100002,
            }
            return {"orderDetailInfo": {"apiResult": refusal}}
        info = only(self.bodies.of(shop, order), fields)
        return {"orderDetailInfo": {"apiResult": SUCCESS, "orderInfo": info}}

    def remark(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        """order.venderRemark.queryByOrderId: the merchant's note and its flag."""
        order = self.find(shop, wish, "order_id")
        code, said = ("10100002", "订单号错误") if order is None else ("0", "成功")
        result: dict[str, Any] = {
            "api_jos_result": {
                "success": order is not None,
                "result_code": code,
                "result_describe": said,
            }
        }
        if order is not None:
            result["vender_remark"] = {
                "order_id": order.number,
                "remark": order.memo,
                "flag": order.flag,
                "created": beijing(order.created),
                "modified": beijing(order.modified),
            }
        return {"venderRemarkQueryResult": result}

    def refunds(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        """afs.soa.refundapply.queryPageList: asked to cancel before shipping; fen (2d)."""
        page, size = number(wish, "pageIndex", 1), number(wish, "pageSize", 10)
        if not 1 <= page <= 100 or not 1 <= size <= LARGEST_REFUND_PAGE:
            raise bad("pageSize")
        # Whatever was applied for or checked since then has changed since then.
        since = bound(wish, "applyTimeStart", 0.0)
        found = [
            pair
            for pair in self.book.refunds(shop.code, since, self.book.now(shop.code) + 1)
            if asked_for(*pair, wish)
        ]
        found.sort(key=lambda pair: (pair[1].created, pair[1].refund_id), reverse=True)
        rows = found[(page - 1) * size : page * size]
        result = [refund_body(*pair) for pair in rows]
        return {"queryResult": {"success": True, "totalCount": len(found), "result": result}}

    def companies(self, shop: ShopConfig, wish: Mapping[str, Any]) -> dict[str, Any]:
        fields = names(wish, "fields")
        rows = [
            {"id": int(company), "name": name, "description": "", "sort": turn}
            for turn, (company, name) in enumerate(COMPANIES.items(), 1)
        ]
        return {"delivery_companies": [{k: v for k, v in r.items() if k in fields} for r in rows]}

    def find(self, shop: ShopConfig, wish: Mapping[str, Any], name: str) -> Order | None:
        """The order, if it has got so far as to be shown to the merchant (2b)."""
        order = self.book.get(shop.code, str(wish.get(name, "")))
        return order if order is not None and order.paid is not None else None


def only(body: dict[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name in fields or name == "orderId"}


def asked_for(order: Order, refund: Refund, wish: Mapping[str, Any]) -> bool:
    checked = None if refund.state == ASKED else refund.modified
    times = [("applyTimeStart", "applyTimeEnd", refund.created)]
    if wish.get("checkTimeStart") or wish.get("checkTimeEnd"):
        times.append(("checkTimeStart", "checkTimeEnd", -1.0 if checked is None else checked))
    for first, last, at in times:
        start = bound(wish, first, float("-inf"))
        end = bound(wish, last, float("inf"))
        if not start <= int(at) <= end:
            return False
    status = wish.get("status")
    if status not in {None, ""} and str(status) != str(REFUND_STATUS[refund.state]):
        return False
    return wish.get("orderId") in {None, "", order.number}
