"""Douyin's lists and details (channels.md 3b, 3d)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.platforms.douyin.bodies import (
    REFUNDS,
    aftersale_body,
    aftersale_detail,
    order_body,
    status_of,
)
from ordercenter.sandbox.platforms.douyin.finding import find_order, find_refund
from ordercenter.sandbox.platforms.douyin.wire import (
    Serve,
    Wish,
    bad,
    failed,
    flag,
    missing,
    number,
    one_of,
    only_known,
    paging,
    window,
    within,
)
from ordercenter.sandbox.rendered import Rendered
from ordercenter.sandbox.wire import whole

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, Order, Refund, ShopConfig

SEARCH_KEYS: Final = frozenset(
    {
        "page", "size", "order_by", "order_asc", "combine_status",
        "create_time_start", "create_time_end", "update_time_start", "update_time_end",
    }
)  # fmt: skip
AFTERSALE_KEYS: Final = frozenset(
    {
        "page", "size", "order_by", "order_id", "standard_aftersale_status",
        "start_time", "end_time", "update_start_time", "update_end_time",
    }
)  # fmt: skip


class Reading:
    def __init__(self, book: Book) -> None:
        self.book = book
        self.rendered = Rendered(order_body)

    def methods(self) -> dict[str, Serve]:
        return {
            "order.searchList": self.search_list,
            "order.orderDetail": self.order_detail,
            "afterSale.List": self.aftersale_list,
            "afterSale.Detail": self.aftersale_detail,
        }

    def search_list(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """/order/searchList: pages from 0, newest first unless ``order_asc`` (3b)."""
        only_known(wish, SEARCH_KEYS)
        page, size = paging(wish)
        now = self.book.now(shop.code)
        created = window(wish, "create_time_start", "create_time_end", now)
        updated = window(wish, "update_time_start", "update_time_end", now)
        if updated is not None:
            found = self.book.changed(shop.code, *updated)
        elif created is not None:
            found = self.book.created(shop.code, *created)
        else:
            raise missing("update_time_start")
        if created is not None:
            found = [o for o in found if created[0] <= int(o.created) <= created[1]]
        wanted = statuses(wish)
        if wanted:
            found = [o for o in found if status_of(o)[0] in wanted]
        by = one_of(wish, "order_by", ("create_time", "update_time"))
        found.sort(key=lambda o: (int(o.created if by == "create_time" else o.modified), o.number))
        if not flag(wish, "order_asc"):
            found.reverse()
        rows = found[page * size : (page + 1) * size]
        listed = [self.rendered.of(shop, order) for order in rows]
        return {"page": page, "size": size, "total": len(found), "shop_order_list": listed}

    def order_detail(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        order = find_order(self.book, shop, wish.get("shop_order_id"), "shop_order_id")
        if self.book.is_late(order):
            raise failed("订单不存在")
        return {"shop_order_detail": self.rendered.of(shop, order)}

    def aftersale_list(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """/afterSale/List: refunds by application or change, from page 0 (3d)."""
        only_known(wish, AFTERSALE_KEYS)
        page, size = paging(wish)
        now = self.book.now(shop.code)
        asked = window(wish, "start_time", "end_time", now)
        updated = window(wish, "update_start_time", "update_end_time", now)
        if asked is None and updated is None:
            raise missing("update_start_time")
        if updated is not None:
            found = self.book.refunds(shop.code, *updated)
        else:  # whatever was asked for in time has changed since then, if it has changed at all
            found = self.book.refunds(shop.code, asked[0] if asked else 0, now)
        found = [
            (order, refund)
            for order, refund in found
            if within(asked, refund.created) and within(updated, refund.modified)
        ]
        found = [pair for pair in found if wanted_refund(wish, *pair)]
        field, _, way = aftersale_order(wish).partition(" ")
        found.sort(
            key=lambda p: (
                int(p[1].modified if field == "update_time" else p[1].created),
                p[1].refund_id,
            ),
            reverse=way == "desc",
        )
        rows = found[page * size : (page + 1) * size]
        return {
            "items": [aftersale_body(*pair) for pair in rows],
            "has_more": (page + 1) * size < len(found),
            "total": len(found),
            "page": page,
            "size": size,
        }

    def aftersale_detail(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """/afterSale/Detail: ids are int64 here (3d)."""
        order, refund = find_refund(self.book, shop, str(number(wish, "after_sale_id")))
        return aftersale_detail(order, refund)


def statuses(wish: Wish) -> frozenset[int]:
    """``combine_status``: one element with comma-separated codes (3b)."""
    rows = wish.get("combine_status")
    if rows is None:
        return frozenset()
    if not isinstance(rows, list) or len(rows) != 1:
        raise bad("combine_status")
    try:
        return frozenset(whole(part) for part in rows[0]["order_status"].split(","))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise bad("combine_status") from error


def aftersale_order(wish: Wish) -> str:
    """``order_by``: a list of one text such as ``update_time asc`` (3d)."""
    rows = wish.get("order_by", ["create_time desc"])
    known = {f"{name} {way}" for name in ("create_time", "update_time") for way in ("asc", "desc")}
    if not isinstance(rows, list) or len(rows) != 1 or rows[0] not in known:
        raise bad("order_by")
    return str(rows[0])


def wanted_refund(wish: Wish, order: Order, refund: Refund) -> bool:
    status = wish.get("standard_aftersale_status")
    if status is not None and not isinstance(status, list):
        raise bad("standard_aftersale_status")
    if status is not None and REFUNDS[refund.state][0] not in status:
        return False
    return wish.get("order_id") in {None, order.number}
