"""More of what a market may plant: the troubles that lists, regions and second looks are for.

None of them comes by itself: a seller has no black list before somebody writes it. Whoever wants
them says so with a mix (``/control/rate``) and puts ``LISTS`` where the center asks them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ordercenter.sandbox.book import Buyer, Receiver

if TYPE_CHECKING:
    from ordercenter.sandbox.market import Market, Wish
    from ordercenter.sandbox.seller import Offer

BLACK: Final = tuple(f"1991000{n:04d}" for n in range(1_000))
FROZEN: Final = tuple(f"1992000{n:04d}" for n in range(1_000))
"""Phones nobody else has; each buys once before the first one buys again."""
LIMITED: Final = ("青海省", "西宁市", "城西区")
UNREACHED: Final = ("内蒙古自治区", "阿拉善盟", "阿拉善右旗")
ABROAD: Final = ("澳门特别行政区", "澳门半岛", "花地玛堂区")
LISTS: Final = {
    "blacklist": BLACK,
    "blacklist_freeze": FROZEN,
    "regional_limit_regions": (LIMITED[0],),
    "no_service": ("".join(UNREACHED[:2]),),
}
"""By the list that has to name them."""
URGENT: Final = "家里老人等着用，今天必须发，拜托"
SPELLINGS: Final[tuple[Callable[[str], str], ...]] = (
    lambda door: door.removesuffix("室"),
    lambda door: door.replace("号", "号 ").replace("栋", "栋 ").replace("单元", "单元 "),
    lambda door: door.translate({ord("0") + n: ord("\uff10") + n for n in range(10)}),
    lambda door: f"{door}（放门卫处）",
)
"""One door as another shop's buyer writes it."""


def accounts_on_ip(market: Market, shop: str, kind: str) -> list[Wish]:
    """Three buyers behind one IP within ten minutes, no two of them within ten seconds."""
    cluster, (first, _) = market.cluster(kind), market.person()
    wishes, after = [], 0.0
    for turn, ware in enumerate(market.wares(shop, 3)):
        buyer, receiver = market.person()
        buyer.ip = first.ip
        wishes.append(
            market.clean(
                shop, buyer=buyer, receiver=receiver, cluster=cluster, goods=((ware, 1),),
                truth=(kind,) if turn == 2 else (), after=after,
            )
        )  # fmt: skip
        after += market.random.uniform(15, 120)
    return wishes


def buyer_burst(market: Market, shop: str, kind: str) -> list[Wish]:
    """One buyer, three orders for three things, too cheap to be conspicuous otherwise."""
    cluster, (buyer, receiver) = market.cluster(kind), market.person()
    wishes, after = [], 0.0
    for turn, ware in enumerate(market.wares(shop, 3, under_fen=100_000)):
        wishes.append(
            market.clean(
                shop, buyer=buyer, receiver=receiver, cluster=cluster, goods=((ware, 1),),
                truth=(kind,) if turn == 2 else (), after=after,
            )
        )  # fmt: skip
        after += market.random.uniform(20, 150)
    return wishes


def two_shops(market: Market, shop: str, kind: str) -> list[Wish]:
    """One person at two shops under two accounts, the door written a little differently."""
    cluster, (buyer, receiver) = market.cluster(kind), market.person()
    again, _ = market.person()
    again.phone = receiver.phone
    spelled = replace(receiver, address=market.random.choice(SPELLINGS)(receiver.address))
    other = market.other_shop(shop, kind)
    first, second = market.wares(shop, 1), market.wares(other, 1)
    return [
        market.clean(
            shop, buyer=buyer, receiver=receiver, cluster=cluster, goods=((first[0], 1),)
        ),
        market.clean(
            other, buyer=again, receiver=spelled, cluster=cluster, goods=((second[0], 1),),
            truth=(kind,), after=market.random.uniform(20, 200),
        ),
    ]  # fmt: skip


def blacklisted(market: Market, shop: str, kind: str) -> list[Wish]:
    return [_with_phone(market, shop, kind, BLACK[market.turn % len(BLACK)])]


def blacklist_frozen(market: Market, shop: str, kind: str) -> list[Wish]:
    return [_with_phone(market, shop, kind, FROZEN[market.turn % len(FROZEN)])]


def _with_phone(market: Market, shop: str, kind: str, phone: str) -> Wish:
    buyer, receiver = market.person()
    buyer.phone = receiver.phone = phone
    goods = ((market.wares(shop, 1)[0], 1),)
    return market.clean(shop, buyer=buyer, receiver=receiver, goods=goods, truth=(kind,))


def regional_limit(market: Market, shop: str, kind: str) -> list[Wish]:
    """Six pieces of a cheap thing to where five a day are allowed."""
    buyer, receiver = _at(market, LIMITED)
    goods = ((market.wares(shop, 1, under_fen=30_000)[0], 6),)
    return [market.clean(shop, buyer=buyer, receiver=receiver, goods=goods, truth=(kind,))]


def no_carrier(market: Market, shop: str, kind: str) -> list[Wish]:
    buyer, receiver = _at(market, UNREACHED)
    goods = ((market.wares(shop, 1)[0], 1),)
    return [market.clean(shop, buyer=buyer, receiver=receiver, goods=goods, truth=(kind,))]


def cross_border(market: Market, shop: str, kind: str) -> list[Wish]:
    buyer, receiver = _at(market, ABROAD)
    goods = ((market.wares(shop, 1)[0], 1),)
    return [market.clean(shop, buyer=buyer, receiver=receiver, goods=goods, truth=(kind,))]


def _at(market: Market, place: tuple[str, str, str]) -> tuple[Buyer, Receiver]:
    buyer, receiver = market.person()
    receiver.province, receiver.city, receiver.district = place
    return buyer, receiver


def high_value(market: Market, shop: str, kind: str) -> list[Wish]:
    """One order of a little over 10,000 yuan."""
    (ware,) = market.wares(shop, 1, over_fen=15_000)
    pieces = 1_010_000 // ware.goods.price_fen + 1
    return [market.clean(shop, goods=((ware, pieces),), truth=(kind,))]


def triple(market: Market, shop: str, kind: str) -> list[Wish]:
    """The same thing twice within five minutes to one door, together over 5,000 yuan; the second
    one far below its price."""
    cluster, (buyer, receiver) = market.cluster(kind), market.person()
    (ware,) = market.wares(shop, 1, over_fen=15_000)
    goods: tuple[tuple[Offer, int], ...] = ((ware, 400_000 // ware.goods.price_fen),)
    first = market.clean(shop, buyer=buyer, receiver=receiver, cluster=cluster, goods=goods)
    return [
        first,
        market.clean(
            shop, buyer=buyer, receiver=receiver, cluster=cluster, goods=goods, truth=(kind,),
            ratio=market.random.uniform(0.65, 0.8), after=market.random.uniform(15, 200),
        ),
    ]  # fmt: skip


def rush(market: Market, shop: str, kind: str) -> list[Wish]:
    """Nothing wrong with it: it has to be marked, and to go on."""
    return [market.clean(shop, remark=URGENT, goods=((market.wares(shop, 1)[0], 1),),
                         truth=(kind,))]  # fmt: skip


PLANTERS: Final[dict[str, Callable[[Market, str, str], list[Wish]]]] = {
    "accounts_on_ip": accounts_on_ip,
    "buyer_burst": buyer_burst,
    "two_shops": two_shops,
    "blacklisted": blacklisted,
    "blacklist_frozen": blacklist_frozen,
    "regional_limit": regional_limit,
    "no_carrier": no_carrier,
    "cross_border": cross_border,
    "high_value": high_value,
    "triple": triple,
    "rush": rush,
}
