"""Douyin opens ciphers, within a quota, or masks them (channels.md 3c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.platforms.douyin.bodies import ciphers
from ordercenter.sandbox.platforms.douyin.wire import Serve, Wish, bad
from ordercenter.sandbox.wire import mask_address, mask_name

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, ShopConfig

MOST_CIPHERS: Final = 50
QUOTA_A_DAY: Final = 2_000
"""Texts a shop may open in 24 hours: quotas exist, this size is ours. The shop's option
``decrypt_quota`` goes first."""
NAME, PHONE = 2, 3
WRONG_CIPHER, QUOTA_SPENT = 300008, 300021  # the second is ours


class Receivers:
    def __init__(self, book: Book) -> None:
        self.book = book

    def methods(self) -> dict[str, Serve]:
        return {
            "order.batchDecrypt": self.batch_decrypt,
            "order.batchSensitive": self.batch_sensitive,
        }

    def batch_decrypt(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """Each entry may fail by itself; a cipher opens for its own order only."""
        left = self._quota_left(shop)
        infos: list[dict[str, Any]] = []
        opened: list[dict[str, Any]] = []
        for entry in entries(wish):
            info = self._open(shop, entry)
            if info["err_no"] == 0 and left <= len(opened):
                info |= {"decrypt_text": "", "err_no": QUOTA_SPENT, "err_msg": "解密额度已用完"}
            elif info["err_no"] == 0:
                opened.append({"number": info["auth_id"], "data_type": info["data_type"]})
            infos.append(info)
        if opened:
            self.book.record("decrypt", {"shop": shop.code, "opened": opened})
        return {"decrypt_infos": infos, "custom_err": {"err_code": 0, "err_msg": ""}}

    def batch_sensitive(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """Masked texts for screens; they cost no quota."""
        infos = []
        for entry in entries(wish):
            info = self._open(shop, entry)
            kept = ("auth_id", "cipher_text", "err_no", "err_msg")
            masked = masked_text(info["data_type"], info["decrypt_text"])
            infos.append({name: info[name] for name in kept} | {"decrypt_text": masked})
        return {"decrypt_infos": infos, "custom_err": {"err_code": 0, "err_msg": ""}}

    def _quota_left(self, shop: ShopConfig) -> int:
        since = self.book.clock() - 86_400
        spent = 0
        for row in reversed(self.book.records["decrypt"]):
            if row["at"] <= since:
                break
            spent += len(row["opened"]) if row["shop"] == shop.code else 0
        return int(shop.options.get("decrypt_quota", QUOTA_A_DAY)) - spent

    def _open(self, shop: ShopConfig, entry: Wish) -> dict[str, Any]:
        auth_id, cipher = str(entry.get("auth_id", "")), str(entry.get("cipher_text", ""))
        order = self.book.get(shop.code, auth_id)
        known = {} if order is None else ciphers(order)
        kind, clear = known.get(cipher, (1, ""))
        fits = cipher in known
        return {
            "auth_id": auth_id,
            "cipher_text": cipher,
            "decrypt_text": clear,
            "err_no": 0 if fits else WRONG_CIPHER,
            "err_msg": "" if fits else "密文与订单不匹配",
            "data_type": kind,
            "is_virtual_tel": False,
            "expire_time": 0,
            "phone_no_a": "",
            "phone_no_b": "",
        }


def entries(wish: Wish) -> list[dict[str, Any]]:
    rows = wish.get("cipher_infos")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_CIPHERS:
        raise bad("cipher_infos")
    if not all(isinstance(row, dict) for row in rows):
        raise bad("cipher_infos")
    return rows


def masked_text(kind: int, clear: str) -> str:
    if kind == NAME:
        return mask_name(clear)
    if kind == PHONE:
        return f"{clear[:2]}*******{clear[-2:]}" if clear else ""
    return mask_address(clear)
