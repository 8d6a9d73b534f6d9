"""The demo seller of ``seller.json``, read once: what there is to sell, where and for how much."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from ordercenter.sandbox.book import Listed, ShopConfig

SELLER_FILE: Final = Path(__file__).with_name("seller.json")
ALWAYS_IN_STOCK: Final = 1_000  # pieces; only such goods are sold as ordinary orders


@dataclass(frozen=True, slots=True)
class Goods:
    """A SKU, or a bundle of SKUs, as the seller calls it."""

    code: str
    name: str
    price_fen: int
    is_gift: bool = False
    is_bundle: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """The codes under which one shop sells something. At least one of the two is there."""

    goods: Goods
    platform_sku_id: str | None
    outer_code: str | None


@dataclass(frozen=True, slots=True)
class GiftStrategy:
    code: str
    gift_sku: str
    min_fen: int


@dataclass(frozen=True, slots=True)
class Seller:
    """Everything the market needs of ``seller.json``."""

    goods: dict[str, Goods]
    offers: dict[str, dict[str, tuple[Offer, ...]]]
    """By shop, by code of the goods."""
    strategies: tuple[GiftStrategy, ...]
    stock: dict[str, int]
    """Pieces over all warehouses, by SKU."""
    shops: tuple[ShopConfig, ...]
    couriers: tuple[dict[str, str], ...]
    robots: tuple[dict[str, str], ...]
    restricted_regions: tuple[str, ...]


def fen(yuan: str) -> int:
    return int(Decimal(yuan) * 100)


def load_seller(path: Path = SELLER_FILE) -> Seller:
    facts = json.loads(path.read_text(encoding="utf-8"))
    goods = {
        row["code"]: Goods(row["code"], row["name"], fen(row["base_price"]), row["is_gift"])
        for row in facts["skus"]
    }
    for row in facts["bundles"]:
        goods[row["code"]] = Goods(row["code"], row["name"], fen(row["price"]), is_bundle=True)
    stock: defaultdict[str, int] = defaultdict(int)
    for row in facts["stock"]:
        stock[row["sku"]] += row["quantity"]
    for row in facts["bundles"]:
        stock[row["code"]] = min(stock[part["sku"]] // part["quantity"] for part in row["parts"])
    offers = {shop: _offers(rows, goods) for shop, rows in facts["listings"].items()}
    return Seller(
        goods=goods,
        offers=offers,
        strategies=tuple(
            GiftStrategy(row["code"], row["gift_sku"], fen(row["min_amount"]))
            for row in facts["gift_strategies"]
        ),
        stock=dict(stock),
        shops=tuple(
            ShopConfig(**row, listed=_listed(offers[row["code"]])) for row in facts["shops"]
        ),
        couriers=tuple(facts["couriers"]),
        robots=tuple(facts["robots"]),
        restricted_regions=tuple(facts["restricted_regions"]),
    )


def _offers(rows: list[dict[str, Any]], goods: dict[str, Goods]) -> dict[str, tuple[Offer, ...]]:
    """Pair the listings of one shop: the n-th SKU id of a thing goes with its n-th outer code."""
    codes: defaultdict[str, dict[str, list[str]]] = defaultdict(
        lambda: {"sku_id": [], "outer_code": []}
    )
    for row in rows:
        codes[row.get("sku") or row["bundle"]][row["code_type"]].append(row["code"])
    return {
        code: tuple(
            Offer(goods[code], sku_id, outer)
            for sku_id, outer in zip_longest(pairs["sku_id"], pairs["outer_code"])
        )
        for code, pairs in codes.items()
    }


def _listed(offers: dict[str, tuple[Offer, ...]]) -> tuple[Listed, ...]:
    """What one shop sells, as its platform sees it."""
    return tuple(
        Listed(code, offer.platform_sku_id, offer.outer_code)
        for code, pairs in offers.items()
        for offer in pairs
    )
