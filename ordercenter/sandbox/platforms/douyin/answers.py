"""Douyin hears the merchant's notes and answers (channels.md 3d)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.book import DONE, OPEN_REFUNDS, REFUSED, SHIPPED, Refused
from ordercenter.sandbox.platforms.douyin.bodies import COMPANIES
from ordercenter.sandbox.platforms.douyin.finding import find_order, find_refund
from ordercenter.sandbox.platforms.douyin.wire import (
    DoudianError,
    PartlyFailed,
    Serve,
    Wish,
    bad,
    failed,
    missing,
    number,
)

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, Order, ShopConfig

LONGEST_REMARK: Final = 60  # characters
APPROVED: Final = 0
REFUSALS: Final = {
    1001: "订单已进入拣货环节",
    1002: "订单已进入配货环节",
    1003: "订单已进入仓库环节",
    1004: "订单已进入出库环节",
    1005: "订单已进入发货环节",
}
# Which type agrees to a refund and which refuses it is not verified: the shop's options
# ``operate_agree`` and ``operate_refuse`` go first.
AGREE, REFUSE = 201, 202
BAD_ITEM: Final = 1


class Answers:
    def __init__(self, book: Book) -> None:
        self.book = book

    def methods(self) -> dict[str, Serve]:
        return {
            "order.addOrderRemark": self.add_remark,
            "order.addressConfirm": self.confirm_address,
            "afterSale.operate": self.operate,
            "afterSale.CancelSendGoodsSuccess": self.stopped,
            "afterSale.applyLogisticsIntercept": self.intercept,
        }

    def add_remark(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """The note is replaced; flags come as text. It does not move ``update_time`` (3b)."""
        order = find_order(self.book, shop, wish.get("order_id"), "order_id")
        remark = wish.get("remark")
        if not isinstance(remark, str):
            raise missing("remark")
        if len(remark) > LONGEST_REMARK:
            raise failed("备注不能超过60个字符")
        with_star, star = wish.get("is_add_star", "false"), wish.get("star", "0")
        if with_star not in {"true", "false"}:
            raise bad("is_add_star")
        if star not in {"0", "1", "2", "3", "4", "5"}:
            raise bad("star")
        flag = int(star) if with_star == "true" else None
        self.book.write_memo(order, remark, flag, moves=False)
        return {}

    def confirm_address(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """0 agrees to the buyer's wish, 1001 to 1005 say why not."""
        order = find_order(self.book, shop, wish.get("order_id"), "order_id")
        said = number(wish, "is_approved")
        if said != APPROVED and said not in REFUSALS:
            raise bad("is_approved")
        try:
            words = REFUSALS.get(said, "")
            self.book.answer_address(order, approve=said == APPROVED, words=words)
        except Refused as refusal:
            raise failed(str(refusal)) from refusal
        return {}

    def stopped(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """The parcel of a refund asked for before shipping was stopped (the public SDK's)."""
        number(wish, "op_time")
        order, refund = find_refund(self.book, shop, str(wish.get("aftersale_id", "")))
        self.book.answer_stop(order, refund, stopped=True)
        return {}

    def operate(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """Agree to or refuse after-sales; each is answered by itself."""
        kind, rows = number(wish, "type"), wish.get("items")
        states = {
            int(shop.options.get("operate_agree", AGREE)): DONE,
            int(shop.options.get("operate_refuse", REFUSE)): REFUSED,
        }
        if kind not in states:
            raise bad("type")
        if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
            raise missing("items")
        items = [self._operate_one(shop, row, states[kind]) for row in rows]
        if any(item["status_code"] for item in items):
            return PartlyFailed(items=items)
        return {"items": items}

    def _operate_one(self, shop: ShopConfig, row: Wish, state: str) -> dict[str, Any]:
        refund_id = str(row.get("aftersale_id", ""))
        said: dict[str, Any] = {"aftersale_id": int(refund_id) if refund_id.isdigit() else 0}
        try:
            self._settle(shop, refund_id, row, state)
        except DoudianError as error:
            return said | {"status_code": BAD_ITEM, "status_msg": error.sub_msg}
        return said | {"status_code": 0, "status_msg": "成功"}

    def _settle(self, shop: ShopConfig, refund_id: str, row: Wish, state: str) -> None:
        order, refund = find_refund(self.book, shop, refund_id)
        version = row.get("update_time")
        if version is not None and version != int(refund.modified):
            raise failed("售后单已变更，请刷新后重试")
        if refund.state not in OPEN_REFUNDS:
            raise failed("售后单状态不允许此操作")
        if state == REFUSED and not (row.get("reason") and row.get("remark")):
            raise missing("reason")
        words = str(row.get("remark") or row.get("reason") or "")
        self.book.answer_stop(order, refund, stopped=state == DONE, reason=words)
        if refund.state in OPEN_REFUNDS:
            self.book.settle_refund(order, refund, state, words)

    def intercept(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """Have parcels on their way stopped; each is answered by itself."""
        order, refund = find_refund(self.book, shop, str(number(wish, "after_sale_id")))
        number(wish, "op_from")
        targets = wish.get("intercept_targets")
        if not isinstance(targets, list) or not targets:
            raise missing("intercept_targets")
        results = [self._intercept_one(order, target) for target in targets]
        good = sum(1 for result in results if result["is_success"])
        for result in results:
            key, effect = result["tracking_no"], result["is_success"]
            self.book.wrote(shop.code, "intercept", refund.refund_id, key=key, effect=effect)
        return {
            "intercept_results": results,
            "success_count": good,
            "failed_count": len(results) - good,
            "unavailable_reason_code": 0 if good == len(results) else BAD_ITEM,
            "unavailable_reason": "" if good == len(results) else "包裹不可拦截",
            "refund_amount": refund.amount_fen,
        }

    def _intercept_one(self, order: Order, target: Any) -> dict[str, Any]:
        wanted = target if isinstance(target, dict) else {}
        company, tracking = wanted.get("company_code"), wanted.get("tracking_no")
        known = {(s.carrier_code, s.tracking_number) for s in order.shipments}
        can = (company, tracking) in known and order.state == SHIPPED
        return {
            "company_code": str(company),
            "company_name": COMPANIES.get(str(company), ""),
            "tracking_no": str(tracking),
            "value_amount": order.payable_fen,
            "can_intercept": can,
            "is_success": can,
            "unavailable_reason_code": 0 if can else BAD_ITEM,
            "unavailable_reason": "" if can else "包裹不属于该售后单或已签收",
            "intercept_cost": 0,
            "other_product_amount": 0,
            "settlement_mode": 0,
        }
