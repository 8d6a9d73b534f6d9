"""Ciphertext made readable, an entry at a time and within a day's quota (channels.md 4c)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.platforms.pinduoduo.bodies import PHONE, ciphers
from ordercenter.sandbox.platforms.pinduoduo.errors import Serve, listed

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, ShopConfig
    from ordercenter.sandbox.platforms.pinduoduo.reading import Answer

AT_A_TIME: Final = 100
DAY: Final = 86_400
A_DAY: Final = 500  # [G] entries; the shop's option ``decrypt_quota`` says otherwise
BAD_CIPHER: Final = (52500, "密文无效")
OVER_QUOTA: Final = (52502, "解密额度不足")  # [G]


class Privacy:
    def __init__(self, book: Book) -> None:
        self.book = book
        self._looks: Counter[tuple[str, int]] = Counter()

    def methods(self) -> dict[str, Serve]:
        return {"pdd.open.decrypt.batch": self.decrypt}

    def decrypt(self, shop: ShopConfig, params: Mapping[str, str]) -> Answer:
        """open.decrypt.batch: at most 100; each entry may fail by itself."""
        asked = listed(params, "data_list", AT_A_TIME)
        rows = [
            self._row(shop, str(row.get("data_tag", "")), str(row.get("encrypted_data", "")))
            for row in asked
        ]
        return "open_decrypt_batch_response", {"data_decrypt_list": rows}

    def _row(self, shop: ShopConfig, tag: str, encrypted: str) -> dict[str, Any]:
        order = self.book.get(shop.code, tag)
        every = {} if order is None else ciphers(order)
        found = next((row for row in every.values() if encrypted and row[2] == encrypted), None)
        if found is None:
            return failed(tag, encrypted, BAD_CIPHER)
        today = (shop.code, int(self.book.now(shop.code) // DAY))
        if self._looks[today] >= int(shop.options.get("decrypt_quota", A_DAY)):
            return failed(tag, encrypted, OVER_QUOTA)
        self._looks[today] += 1
        kind, text, _ = found
        self.book.record("decrypt", {"shop": shop.code, "number": tag, "kind": kind})
        is_virtual = kind == PHONE
        return {
            "data_tag": tag,
            "data_type": kind,
            "encrypted_data": encrypted,
            "decrypted_data": text,
            "error_code": 0,
            "error_msg": "",
            "virtual_number_type": 1 if is_virtual else 0,
            "virtual_identify_number": f"{1_000 + int(tag[-6:]) % 9_000}" if is_virtual else "",
        }


def failed(tag: str, encrypted: str, error: tuple[int, str]) -> dict[str, Any]:
    """An entry that could not be read, beside others that could."""
    return {
        "data_tag": tag,
        "data_type": 5,
        "encrypted_data": encrypted,
        "decrypted_data": None,
        "error_code": error[0],
        "error_msg": error[1],
        "virtual_number_type": None,
        "virtual_identify_number": None,
    }
