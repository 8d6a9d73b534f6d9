"""Douyin is told of parcels (channels.md 3d)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ordercenter.sandbox.book import REFUSED, Refused, Shipment
from ordercenter.sandbox.platforms.douyin.bodies import COMPANIES
from ordercenter.sandbox.platforms.douyin.finding import find_order
from ordercenter.sandbox.platforms.douyin.wire import (
    Serve,
    Wish,
    bad,
    failed,
    flag,
    missing,
)
from ordercenter.sandbox.wire import digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ordercenter.sandbox.book import Book, Order, ShopConfig

Pieces = dict[str, int]
"""Pieces by line."""


class Shipping:
    def __init__(self, book: Book) -> None:
        self.book = book
        self._packs: dict[tuple[str, str], list[str]] = {
            (row["shop"], row["request_id"]): row["pack_ids"] for row in book.records["douyin_pack"]
        }

    def methods(self) -> dict[str, Serve]:
        return {
            "order.logisticsAdd": self.add,
            "order.logisticsAddSinglePack": self.add_single_pack,
            "order.logisticsAddMultiPack": self.add_multi_pack,
            "order.logisticsEdit": self.edit,
            "order.logisticsCompanyList": self.companies,
        }

    def companies(self, shop: ShopConfig, wish: Wish) -> list[dict[str, Any]]:
        rows = enumerate(COMPANIES.items(), 7)
        return [{"id": turn, "name": name, "code": code} for turn, (code, name) in rows]

    def add(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """/order/logisticsAdd: the whole order in one parcel."""
        order = find_order(self.book, shop, wish.get("order_id"), "order_id")
        company, number = parcel(wish)
        if order.shipments:
            raise failed("订单已发货，请勿重复发货")
        self._settle_or_refuse(order, reject=flag(wish, "is_reject_refund"))
        self._ship(order, Shipment(company, number, [], self.book.clock()))
        return {}

    def add_single_pack(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """One parcel with pieces of named lines, of one order or several.

        The same ``request_id`` is answered as before and ships nothing.
        """
        company, number = parcel(wish)
        request_id = request_of(wish)
        if packs := self._packs.get((shop.code, request_id)):
            return {"pack_id": packs[0]}
        numbers = wish.get("order_id_list")
        if not isinstance(numbers, list) or not numbers:
            raise missing("order_id_list")
        orders = [find_order(self.book, shop, each, "order_id_list") for each in numbers]
        groups = pieces_of(orders, wish.get("shipped_order_info"))
        self._check_left(orders, [groups])
        for order in orders:
            if order.number in groups:
                self._settle_or_refuse(order, reject=flag(wish, "is_reject_refund"))
        for order in orders:
            if pieces := groups.get(order.number):
                at = self.book.clock()
                self._ship(order, Shipment(company, number, list(pieces), at, pieces))
        return {"pack_id": self._packed(shop, request_id, [number])[0]}

    def add_multi_pack(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """Several parcels of one order at once, all or none."""
        order = find_order(self.book, shop, wish.get("order_id"), "order_id")
        request_id, rows = request_of(wish), wish.get("pack_list")
        if not isinstance(rows, list) or not rows or not all(isinstance(r, dict) for r in rows):
            raise missing("pack_list")
        parcels = [parcel(row) for row in rows]
        packs = self._packs.get((shop.code, request_id))
        if packs is None:
            groups = [pieces_of([order], row.get("shipped_order_info")) for row in rows]
            self._check_left([order], groups)
            self._settle_or_refuse(order, reject=flag(wish, "is_reject_refund"))
            for (company, number), group in zip(parcels, groups, strict=True):
                pieces, at = group[order.number], self.book.clock()
                self._ship(order, Shipment(company, number, list(pieces), at, pieces))
            packs = self._packed(shop, request_id, [number for _, number in parcels])
        told = [
            {
                "shipped_order_info": row["shipped_order_info"],
                "logistics_code": number,
                "pack_id": pack,
            }
            for row, (_, number), pack in zip(rows, parcels, packs, strict=True)
        ]
        return {"pack_list": told}

    def edit(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """/order/logisticsEdit: another waybill for an order of one parcel."""
        order = find_order(self.book, shop, wish.get("order_id"), "order_id")
        company, number = parcel(wish)
        if len(order.shipments) != 1:
            raise failed("订单未发货或有多个包裹，不能修改物流")
        before = order.shipments[0].tracking_number
        order.shipments[0].carrier_code = company
        order.shipments[0].tracking_number = number
        self.book.wrote(shop.code, "reship", order.number, key=number, before=before)
        self.book.touch(order, "waybill_changed")
        return {}

    def _packed(self, shop: ShopConfig, request_id: str, numbers: Sequence[str]) -> list[str]:
        """Give the parcels of one request their ids, and remember them."""
        packs = [
            f"71{int(digest(shop.code, request_id, number, length=14), 16) % 10**17:017d}"
            for number in numbers
        ]
        self._packs[shop.code, request_id] = packs
        facts = {"shop": shop.code, "request_id": request_id, "pack_ids": packs}
        self.book.record("douyin_pack", facts)
        return packs

    def _check_left(self, orders: Sequence[Order], groups: Sequence[dict[str, Pieces]]) -> None:
        """Refuse to ship more than is left."""
        wanted: Counter[tuple[str, str]] = Counter()
        for group in groups:
            for number, pieces in group.items():
                wanted.update({(number, line_id): n for line_id, n in pieces.items()})
        for order in orders:
            for line in order.lines:
                if wanted[order.number, line.line_id] > order.left(line):
                    raise failed("子订单已发货或发货数量超过待发货数量")

    def _settle_or_refuse(self, order: Order, *, reject: bool) -> None:
        """An open refund stops shipping, unless the caller turns it down with it."""
        if order.open_refunds() and not reject:
            raise failed("订单存在售后申请，请处理后再发货")
        for refund in order.open_refunds():
            self.book.settle_refund(order, refund, REFUSED, "商家已发货")

    def _ship(self, order: Order, shipment: Shipment) -> None:
        try:
            self.book.ship(order, shipment)
        except Refused as refusal:
            raise failed(str(refusal)) from refusal


def request_of(wish: Wish) -> str:
    request_id = str(wish.get("request_id", ""))
    if not request_id:
        raise missing("request_id")
    return request_id


def pieces_of(orders: Sequence[Order], rows: Any) -> dict[str, Pieces]:
    """``shipped_order_info``: how many pieces of which line, by order."""
    if not isinstance(rows, list) or not rows:
        raise missing("shipped_order_info")
    groups: dict[str, Pieces] = {}
    for row in rows:
        line_id = str(row.get("shipped_order_id", "")) if isinstance(row, dict) else ""
        order = next((o for o in orders if o.line(line_id) is not None), None)
        if order is None:
            raise bad("shipped_order_id")
        count = row.get("shipped_num")
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise bad("shipped_num")
        pieces = groups.setdefault(order.number, {})
        pieces[line_id] = pieces.get(line_id, 0) + count
    return groups


def parcel(wish: Wish) -> tuple[str, str]:
    company, tracking = wish.get("company_code"), wish.get("logistics_code")
    if not company or not tracking:
        raise missing("company_code" if not company else "logistics_code")
    if company not in COMPANIES:
        raise failed("物流公司编码不存在")
    return str(company), str(tracking)
