"""Receivers behind an oaid: decrypting with a day's quota, and who may share a parcel (1c)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.platforms.taobao.bodies import oaid
from ordercenter.sandbox.platforms.taobao.errors import Serve, business, invalid, objects
from ordercenter.sandbox.wire import beijing

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, Order, ShopConfig

DECRYPTED_AT_A_TIME: Final = 20
MERGED_AT_A_TIME: Final = 100
DAY: Final = 86_400
A_DAY: Final = 1_000  # [G] decryptions; the shop's option ``decrypt_quota`` says otherwise
NUMBER_LIVES: Final = 30 * DAY


class Privacy:
    def __init__(self, book: Book) -> None:
        self.book = book
        self._looks: Counter[tuple[str, int]] = Counter()

    def methods(self) -> dict[str, Serve]:
        return {"taobao.top.oaid.decrypt": self.decrypt, "taobao.top.oaid.merge": self.merge}

    def decrypt(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """top.oaid.decrypt: at most 20; an oaid that is not the trade's own is not matched."""
        asked = objects(params, "query_list", DECRYPTED_AT_A_TIME)
        if any(not row.get("scene") for row in asked):
            raise invalid("query_list", "scene 不能为空")
        today = (shop.code, int(self.book.now(shop.code) // DAY))
        quota = int(shop.options.get("decrypt_quota", A_DAY))
        if self._looks[today] + len(asked) > quota:
            raise business("isv.decrypt-quota-exceeded", "今日解密次数已达上限")
        self._looks[today] += len(asked)
        rows = [self._row(shop, str(row.get("tid", "")), str(row.get("oaid", ""))) for row in asked]
        for row, wish in zip(rows, asked, strict=True):
            facts = {"shop": shop.code, "number": row["tid"], "scene": str(wish["scene"])}
            self.book.record("decrypt", facts | {"matched": row["matched"]})
        return {"receiver_list": {"receiver": rows}}

    def merge(self, shop: ShopConfig, params: Mapping[str, str]) -> dict[str, Any]:
        """top.oaid.merge: trades of one true receiver, each group as ``tid1,tid2``."""
        groups: dict[tuple[str, ...], list[str]] = {}
        for row in objects(params, "merge_list", MERGED_AT_A_TIME):
            order = self.book.get(shop.code, str(row.get("tid", "")))
            if order is None or row.get("oaid") != oaid(shop, order):
                raise invalid("merge_list", "tid与oaid不匹配")
            groups.setdefault(receiver_of(order), []).append(order.number)
        return {"tid_list": {"string": [",".join(tids) for tids in groups.values()]}}

    def _row(self, shop: ShopConfig, tid: str, given: str) -> dict[str, Any]:
        order = self.book.get(shop.code, tid)
        row: dict[str, Any] = {"tid": tid, "oaid": given, "matched": False}
        if order is None or given != oaid(shop, order):
            return row
        r = order.receiver
        extension = 1_000 + int(order.number[-6:]) % 9_000
        return row | {
            "matched": True,
            "privacy_protection": True,
            "name": r.name,
            "mobile": f"{r.phone}-{extension}" if r.phone else "",
            "phone": "",
            "country": "中国",
            "state": r.province,
            "city": r.city,
            "district": r.district,
            "town": r.town,
            "address_detail": r.address,
            "secret_no_expire_time": beijing(self.book.now(shop.code) + NUMBER_LIVES),
        }


def receiver_of(order: Order) -> tuple[str, ...]:
    r = order.receiver
    return (r.name, r.phone, r.province, r.city, r.district, r.town, r.address)
