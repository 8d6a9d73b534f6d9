"""What people type into a list, turned into the keys orders are matched by.

Phones, addresses, buyers and devices become the very keys an order's evidence has; what may be
read of them is ``shown``. A buyer's account holds for one shop and is typed with it:
``店铺编码:买家账号``. For the kinds that are keys, an order's number stands for that order's own.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ordercenter.catalog.models import Shop, Sku
from ordercenter.core.addresses import ProblemCode, parse_address
from ordercenter.core.masking import mask_name, mask_phone
from ordercenter.orders.identity import buyer_key, device_key, phone_key, place_key
from ordercenter.orders.models import OrderEvidence
from risk.models import RuleList
from risk.words import normal

Key = RuleList.Key
OF_ORDERS: Final = {Key.BUYER: "buyer_key", Key.DEVICE: "device_key", Key.PHONE: "phone_key",
                    Key.ADDRESS: "address_key", Key.IP: "ip"}  # fmt: skip
"""Kinds that an order has one of, and where."""
LONGEST: Final = 200
LONGEST_VALUE: Final = 100
_LESS: Final = frozenset({ProblemCode.NO_CITY, ProblemCode.NO_DETAIL})
"""What a region need not say."""
_NUMBER: Final = re.compile(r"[A-Z]{2}\d{20}")


class Unreadable(ValueError):
    """What was typed is no value of this list; its words say why."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One value as it is stored, and what people may read of it."""

    value: str
    shown: str


def region_values(province: str, city: str, district: str) -> tuple[str, ...]:
    """The values by which a place may stand on a list: its province, its city, itself."""
    parts = [part for part in (province, city, district) if part]
    names = ["".join(dict.fromkeys(parts[:depth])) for depth in range(1, len(parts) + 1)]
    return tuple(dict.fromkeys(names))


class Reader:
    """Reads values for one kind of list; asks the database once for all of them."""

    def __init__(self, key: str, told: Iterable[str]) -> None:
        self._key = Key(key)
        texts = {text.strip() for text in told}
        self._shops = self._read_shops(texts) if self._key == Key.BUYER else {}
        self._orders = self._read_orders(texts)
        self._skus: frozenset[str] = frozenset()
        if self._key == Key.SKU:
            self._skus = frozenset(
                Sku.objects.filter(code__in=texts).values_list("code", flat=True)
            )

    def read(self, text: str) -> Listed:
        """Raises Unreadable."""
        text = text.strip()
        if not text:
            raise Unreadable("没有填值")
        if len(text) > LONGEST or "\0" in text:
            raise Unreadable(f"太长（最多 {LONGEST} 个字）或含有无法保存的字符")
        if self._key in OF_ORDERS and _NUMBER.fullmatch(text):
            return self._of_order(text)
        return getattr(self, f"_{self._key.value}")(text)  # type: ignore[no-any-return]

    def _of_order(self, number: str) -> Listed:
        if number not in self._orders:
            raise Unreadable(f"没有订单 {number}")
        value = self._orders[number]
        if not value:
            raise Unreadable(f"订单 {number} 没有{self._key.label}可用")
        return Listed(value, f"订单 {number} 的{self._key.label}")

    def _read_orders(self, texts: Iterable[str]) -> Mapping[str, str]:
        numbers = [text for text in texts if _NUMBER.fullmatch(text)]
        if self._key not in OF_ORDERS or not numbers:
            return {}
        rows = OrderEvidence.objects.filter(order__number__in=numbers)
        return dict(rows.values_list("order__number", OF_ORDERS[self._key]))

    @staticmethod
    def _read_shops(texts: Iterable[str]) -> Mapping[str, int]:
        codes = {text.partition(":")[0] for text in texts if ":" in text}
        return dict(Shop.objects.filter(code__in=codes).values_list("code", "pk"))

    def _buyer(self, text: str) -> Listed:
        code, colon, buyer = (part.strip() for part in text.partition(":"))
        if not colon or not buyer:
            raise Unreadable("买家账号要写成“店铺编码:买家账号”，或写系统单号")
        if code not in self._shops:
            raise Unreadable(f"没有店铺 {code}")
        return Listed(buyer_key(buyer, self._shops[code]), f"{code}:{mask_name(buyer)}")

    def _device(self, text: str) -> Listed:
        return Listed(device_key(text), f"{text[:4]}***")

    def _phone(self, text: str) -> Listed:
        key = phone_key(text)
        if not key:
            raise Unreadable("不是可以认人的电话号码（隐私号、脱敏号不能入名单）")
        return Listed(key, mask_phone(re.sub(r"\D", "", unicodedata.normalize("NFKC", text))))

    def _address(self, text: str) -> Listed:
        if "*" in text:
            raise Unreadable("脱敏的地址不能入名单，请写系统单号")
        parsed = parse_address(text)
        region = parsed.region
        if region is None or not parsed.is_clear or not parsed.detail:
            why = "；".join(problem.message for problem in parsed.problems) or "没有写到门牌"
            raise Unreadable(f"地址不清楚：{why}")
        return Listed(place_key(region, parsed.detail), f"{region.full_name}***")

    def _ip(self, text: str) -> Listed:
        try:
            ipaddress.ip_address(text)
        except ValueError as error:
            raise Unreadable("不是 IP 地址") from error
        return Listed(text, text)

    def _sku(self, text: str) -> Listed:
        if text not in self._skus:
            raise Unreadable(f"没有货品 {text}")
        return Listed(text, text)

    def _region(self, text: str) -> Listed:
        parsed = parse_address(text)
        region = parsed.region
        wrong = [one for one in parsed.problems if one.code not in _LESS]
        if region is None or parsed.detail or wrong:
            why = wrong[0].message if wrong else "请写到省、市或区县，例如：江苏省苏州市"
            raise Unreadable(f"不认识的地区：{why}")
        return Listed(region.full_name, region.full_name)

    def _word(self, text: str) -> Listed:
        value = normal(text)
        if not value or len(value) > LONGEST_VALUE:
            raise Unreadable(f"词语最多 {LONGEST_VALUE} 个字")
        return Listed(value, text[:LONGEST_VALUE])
