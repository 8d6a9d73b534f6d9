"""The market: buyers who order, pay or do not, write remarks, ask their money back, and cheat.

What is planted is written to ``Order.truth``. Of a pattern over several orders (a cluster)
only the order that completes it carries the kind: the ones before it are beyond reproach,
as they are to any rule that looks back from an order. Clean orders are clean: another buyer,
phone, IP and door each, at least 90 % of the base price, goods in stock under 2,500 yuan.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, Final

from ordercenter.sandbox import cheats
from ordercenter.sandbox.book import (
    CLOSED_REFUNDED,
    DONE,
    ON_HOLD,
    SHIPPED,
    WAIT_PAY,
    WAIT_SHIP,
    WITHDRAWN,
    Book,
    Buyer,
    Line,
    Order,
    Receiver,
    Refund,
    Refused,
)
from ordercenter.sandbox.people import new_person
from ordercenter.sandbox.seller import ALWAYS_IN_STOCK, Goods, Offer, Seller
from ordercenter.sandbox.wire import digest, utc

MIX: Final = {
    "taobao": 38,
    "jd": 17,
    "douyin": 17,
    "pinduoduo": 11,
    "shopify": 6,
    "miniprogram": 5,
    "wechat": 4,
    "crm_webhook": 2,
}
EVERYWHERE: Final = tuple(MIX)
CLEAR: Final = ("shopify", "miniprogram", "crm_webhook")
"""The channels that tell phone and IP."""
ONE_DOOR: Final = ("douyin", "pinduoduo", "wechat", *CLEAR)
"""The channels on which two orders to one door can be told."""
BY_LINE: Final = frozenset({"taobao", "douyin", "wechat"})
"""The channels on which money is asked back line by line."""
BUYER_TOLD: Final = tuple(channel for channel in MIX if channel != "pinduoduo")
"""Pinduoduo says nothing of who bought."""
ONE_LINE: Final = frozenset({"pinduoduo"})
GIFTS_OUTSIDE: Final = frozenset({"pinduoduo"})

BUNDLES: Final = 0.08
GIFTS: Final = 0.45
"""Of the orders whose amount earns one; about 15 % of all."""
UNPAID: Final = 0.10
NEVER_PAID: Final = 0.3
UNPAID_CLOSES: Final = (1_200, 2_100)  # seconds
REFUND_ASKED: Final = (20, 120)
REFUND_SETTLES: Final = (90, 180)
CLEAN_LIMIT_FEN: Final = 250_000
DAY: Final = 86_400
LOOK: Final = 0.1  # seconds between two looks at the clock

REMARKS: Final = (
    "请发顺丰，谢谢",
    "工作日送货",
    "放门口就行",
    "送人的，请勿放价格单 🎁",
    "麻烦包装严实一点",
    "周末在家，周末送",
    "颜色别发错哦",
)
RUSH: Final = ("今天必须发", "急用！今天必须发，谢谢", "明天就要，今天必须发出")
HOSTILE: Final = (
    "<script>alert('remark')</script>",
    '"><img src=x onerror=alert(1)>',
    "^XA^FO50,50^A0N,50,50^FDFREE^FS^XZ",
    "'; DROP TABLE orders; --",
    '=HYPERLINK("http://example.com","点我")',
    "{{7*7}} ${7*7} %(number)s",
    "\u202e反着写的备注\u202c\u0007",
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One kind of planted trouble: how often among the troubles, and where it can be seen."""

    weight: int
    channels: tuple[str, ...] = EVERYWHERE
    orders: int = 1
    hits: int = 1


TROUBLES: Final[dict[str, Trouble]] = {
    "duplicate": Trouble(14, BUYER_TOLD, orders=2),
    "same_ip": Trouble(8, CLEAR, orders=2),
    "phone_burst": Trouble(4, CLEAR, orders=4),
    "gift_without_main": Trouble(10),
    "gift_short": Trouble(6),
    "address_day": Trouble(4, ONE_DOOR, orders=3),
    "stock_short": Trouble(10),
    "low_price": Trouble(12),
    "half_price": Trouble(6),
    "unmapped": Trouble(8),
    "refund_before_ship": Trouble(12),
    "invalid_receiver": Trouble(6),
    # Only on demand: no rule of every seller's.
    "restricted_region": Trouble(0),
    "platform_hold": Trouble(0, ("taobao", "jd", "pinduoduo", "wechat")),
    "presale": Trouble(0, ("taobao",)),
    "accounts_on_ip": Trouble(0, CLEAR, orders=3),
    "buyer_burst": Trouble(0, BUYER_TOLD, orders=3),
    "two_shops": Trouble(0, CLEAR, orders=2),
    "blacklisted": Trouble(0, CLEAR),
    "blacklist_frozen": Trouble(0, CLEAR),
    "regional_limit": Trouble(0),
    "no_carrier": Trouble(0),
    "cross_border": Trouble(0),
    "high_value": Trouble(0),
    "triple": Trouble(0, ("douyin", "wechat", *CLEAR), orders=2),
    "rush": Trouble(0),
}
KINDS: Final = frozenset(TROUBLES)


@dataclass(frozen=True, slots=True)
class Wish:
    """What one order is to be like; the market fills in the rest."""

    shop: str
    buyer: Buyer
    receiver: Receiver
    goods: tuple[tuple[Offer, int], ...]
    ratio: float = 1.0
    gift: str | None = None
    gift_quantity: int = 1
    truth: tuple[str, ...] = ()
    cluster: str = ""
    remark: str = ""
    paid: bool = True
    deposit: float = 0.0
    """The share paid at once of an order whose balance is still to be paid."""
    state: str = WAIT_SHIP
    after: float = 0.0  # seconds from the first order of its cluster
    plans: tuple[tuple[float, str], ...] = ()  # seconds after its creation, what happens


class Market:
    """Sells at ``rate`` orders a second, ``trouble`` of them troubled, until stopped.

    What is to happen later stands in the orders themselves (``extra["plans"]``), so a
    restarted sandbox keeps its appointments.
    """

    def __init__(
        self, book: Book, seller: Seller, *, rate: float, trouble: float, seed: int
    ) -> None:
        self.book = book
        self.seller = seller
        self.rate = rate
        self.trouble = trouble
        self.still = False
        self.weights = {kind: trouble.weight for kind, trouble in TROUBLES.items()}
        every = book.all_orders()
        self.turn = max((order.extra.get("turn", 0) for order in every), default=0)
        self.random = Random(f"{seed}/{self.turn}")
        self._plans: list[tuple[float, int, str, str, str]] = []
        self._planned = 0
        self._next_sale = 0.0
        self._shops = {shop.channel: code for code, shop in book.shops.items()}
        self._goods = {shop: self._always(shop) for shop in book.shops}
        for order in every:
            self._remember(order)

    # The clock

    async def run(self) -> None:
        while True:
            self.tick()
            await asyncio.sleep(LOOK)

    def tick(self) -> None:
        """Let everything happen that is due by now; nothing while the market is still."""
        if self.still:
            self._next_sale = 0.0
            return
        now = self.book.clock()
        while self._plans and self._plans[0][0] <= now:
            at, _, shop, number, what = heapq.heappop(self._plans)
            order = self.book.get(shop, number)
            if order is not None and [at, what] in order.extra["plans"]:
                order.extra["plans"].remove([at, what])
                self._happen(order, what)
                self.book.keep(order)
        if not self.rate:
            self._next_sale = 0.0
            return
        if not self._next_sale:
            self._next_sale = now + self.random.expovariate(self.rate)
        while self._next_sale <= now:
            self.sell("mix")
            self._next_sale += self.random.expovariate(self.rate)

    # Selling

    def sell(
        self, kind: str = "", *, shop: str | None = None, at_once: bool = False
    ) -> list[Order]:
        """Sell once: a clean order (""), the market's ``mix``, or the orders of one trouble.

        Unless ``at_once`` the later orders of a cluster come when their time has; they are
        returned all the same, with the numbers they will have.
        """
        if kind == "mix":
            kind = self._some_kind()
        if not kind:
            wishes = [self.clean(shop or self._some_shop(EVERYWHERE))]
        else:
            channels = TROUBLES[kind].channels
            if shop is not None and self.book.shops[shop].channel not in channels:
                raise Refused(f"平台看不出这种异常：{kind}")
            wishes = PLANTERS[kind](self, shop or self._some_shop(channels), kind)
        now = self.book.clock()
        # All at once: the last of them now, the ones before it as long ago as they should be.
        start = now - wishes[-1].after if at_once else now
        orders = [self._order(wish, start + wish.after) for wish in wishes]
        first, rest = orders[0], list(zip(orders[1:], wishes[1:], strict=True))
        for order, wish in rest:
            if not at_once:
                first.extra.setdefault("coming", {})[order.number] = asdict(order)
                first.extra["plans"].append([now + wish.after, f"sell {order.number}"])
        self._place(first)
        if at_once:
            for order, _ in rest:
                self._place(order)
        return orders

    def sell_one(self, shop: str, code: str, pieces: int) -> Order:
        """A clean paid order for so many pieces of one thing, as rare as it may be.

        Refused where the shop does not offer it.
        """
        if code not in self.seller.offers[shop] or pieces < 1:
            raise Refused(f"店铺 {shop} 没有在卖 {code}")
        wish = self.clean(shop, goods=((self.seller.offers[shop][code][0], pieces),))
        order = self._order(wish, self.book.clock())
        self._place(order)
        return order

    def _some_kind(self) -> str:
        """A kind of trouble, or none, such that ``trouble`` of all orders carry one."""
        kinds, weights = list(self.weights), list(self.weights.values())
        whole = sum(weights)
        orders = sum(self.weights[kind] * TROUBLES[kind].orders for kind in kinds) / whole
        share = self.trouble / (1 - self.trouble * (orders - 1))
        if self.random.random() >= share:
            return ""
        return self.random.choices(kinds, weights=weights)[0]

    def _some_shop(self, channels: Iterable[str]) -> str:
        open_here = [channel for channel in channels if channel in self._shops]
        weights = [MIX[channel] for channel in open_here]
        return self._shops[self.random.choices(open_here, weights=weights)[0]]

    def _place(self, order: Order) -> None:
        order.modified = self.book.clock()
        self.book.add(order)
        self._remember(order)

    def _remember(self, order: Order) -> None:
        for at, what in order.extra.get("plans", []):
            self._planned += 1
            heapq.heappush(self._plans, (at, self._planned, order.shop, order.number, what))

    def _plan(self, order: Order, seconds: float, what: str) -> None:
        at = self.book.clock() + seconds
        order.extra.setdefault("plans", []).append([at, what])
        self._planned += 1
        heapq.heappush(self._plans, (at, self._planned, order.shop, order.number, what))

    # What happens later

    def _happen(self, order: Order, what: str) -> None:
        verb, _, number = what.partition(" ")
        if verb == "sell":
            self._place(Order.from_json(order.extra["coming"].pop(number)))
        elif verb == "pay" and order.state == WAIT_PAY:
            self.book.pay(order)
        elif verb == "close" and order.state == WAIT_PAY:
            self.book.close_unpaid(order)
        elif verb == "refund" and order.state in {WAIT_SHIP, SHIPPED}:
            if not order.open_refunds():
                self.ask_refund(order)
        elif verb == "settle":
            self._settle(order)
        elif verb == "unhold" and order.state == ON_HOLD:
            order.state = WAIT_SHIP
            self.book.touch(order)
        elif verb == "lapse":
            self._lapse(order)

    def _settle(self, order: Order) -> None:
        """An unanswered refund: paid back by the platform while nothing has been shipped."""
        for refund in order.open_refunds():
            if order.shipments:
                self.book.settle_refund(order, refund, WITHDRAWN, "买家撤销")
            else:
                self.book.settle_refund(order, refund, DONE, "平台自动退款")

    def ask_refund(self, order: Order) -> None:
        """The buyer asks all the money back, line by line where the platform wants it so."""
        by_line = self.book.shops[order.shop].channel in BY_LINE
        now = self.book.clock()
        asked = [line for line in order.lines if not line.is_gift and line.refund_state == "none"]
        if not asked:
            raise Refused("没有可退款的明细")
        parts = [(line.line_id, line.amount_fen) for line in asked] if by_line else [(None, 0)]
        for line_id, amount in parts:
            refund = Refund(
                refund_id=self._digits(15, "26"),
                line_id=line_id,
                amount_fen=amount or order.paid_fen,
                state="asked",
                created=now,
                modified=now,
                reason=self.random.choice(("不想要了", "拍错了", "地址填错", "多拍了")),
            )
            self.book.ask_refund(order, refund)
        self._plan(order, self.random.uniform(*REFUND_SETTLES), "settle")
        self.book.keep(order)

    def ask_address(self, order: Order, *, silence: float) -> None:
        """The buyer wishes for another address; ``silence`` seconds of it are a yes."""
        answer_by = self.book.clock() + silence
        self.book.ask_address(order, self.another_receiver(order), answer_by=answer_by)
        self._plan(order, silence, "lapse")
        self.book.keep(order)

    def _lapse(self, order: Order) -> None:
        """What the merchant did not answer in time is granted by the platform."""
        wish = order.extra.get("address_wish")
        if wish is None or wish["answer_by"] > self.book.clock():
            return
        approve = order.state in {WAIT_SHIP, ON_HOLD}
        self.book.answer_address(order, approve=approve, words="超时未处理", by="platform")

    def pay_back(self, order: Order) -> None:
        """The order is given up and paid back in one go."""
        if order.state == CLOSED_REFUNDED:
            raise Refused("订单已关闭")
        if not order.open_refunds():
            self.ask_refund(order)
        for refund in order.open_refunds():
            self.book.settle_refund(order, refund, DONE, "卖家同意退款")

    def another_receiver(self, order: Order) -> Receiver:
        """A new address of the same buyer."""
        self.turn += 1
        _, receiver = new_person(self.random, self.turn)
        receiver.name, receiver.phone = order.receiver.name, order.receiver.phone
        return receiver

    # Choosing

    def _always(self, shop: str) -> tuple[list[Offer], list[Offer]]:
        """What ``shop`` offers of goods, and of bundles, that are always in stock."""
        every = [
            offer
            for code, offers in self.seller.offers[shop].items()
            if self.seller.stock[code] >= ALWAYS_IN_STOCK
            for offer in offers
        ]
        goods = [o for o in every if not o.goods.is_bundle and not o.goods.is_gift]
        return goods, [o for o in every if o.goods.is_bundle]

    def wares(
        self, shop: str, count: int, *, over_fen: int = 0, under_fen: int = CLEAN_LIMIT_FEN
    ) -> list[Offer]:
        """Different things of ``shop`` that are always in stock, in a range of prices."""
        prices = range(over_fen, under_fen)
        fitting = [o for o in self._goods[shop][0] if o.goods.price_fen in prices]
        return self.random.sample(fitting, count)

    def other_shop(self, shop: str, kind: str) -> str:
        """Another shop on whose platform this kind can be seen."""
        channels = TROUBLES[kind].channels
        return self._some_shop(c for c in channels if self._shops.get(c) != shop)

    def _scarce(self, shop: str) -> list[Offer]:
        return [
            offers[0]
            for code, offers in self.seller.offers[shop].items()
            if self.seller.stock[code] < 3 and not offers[0].goods.is_gift
        ]

    def _basket(self, shop: str) -> tuple[tuple[Offer, int], ...]:
        """1.6 lines on average of different things, under the clean limit."""
        goods, bundles = self._goods[shop]
        wanted = self.random.choices((1, 2, 3, 4), weights=(58, 28, 10, 4))[0]
        lines = 1 if self.book.shops[shop].channel in ONE_LINE else wanted
        while True:
            picked = self.random.sample(goods, lines)
            if self.random.random() < BUNDLES:
                picked[0] = self.random.choice(bundles)
            basket = tuple((offer, self._pieces(offer.goods)) for offer in picked)
            one_of_each = len({offer.goods.code for offer in picked}) == lines
            if one_of_each and worth(basket) < CLEAN_LIMIT_FEN:
                return basket

    def _pieces(self, goods: Goods) -> int:
        cheap = goods.price_fen < 10_000 and not goods.is_bundle
        return self.random.choices((1, 2, 3), weights=(80, 15, 5))[0] if cheap else 1

    def person(self, *, restricted: bool = False) -> tuple[Buyer, Receiver]:
        self.turn += 1
        return new_person(self.random, self.turn, restricted=restricted)

    def _remark(self) -> str:
        dice = self.random.random()
        if dice < 0.015:
            return self.random.choice(HOSTILE)
        if dice < 0.035:
            return self.random.choice(RUSH)
        return self.random.choice(REMARKS) if dice < 0.15 else ""

    def _ratio(self, basket: tuple[tuple[Offer, int], ...]) -> float:
        """The share of the base price a clean order is sold at. A bundle is cheap already."""
        if self.random.random() < 0.45:
            return 1.0
        bundled = any(offer.goods.is_bundle for offer, _ in basket)
        return self.random.uniform(0.96 if bundled else 0.90, 0.99)

    def clean(self, shop: str, **changes: Any) -> Wish:
        """A wish for an order without any trouble, but for ``changes``."""
        buyer, receiver = self.person()
        facts: dict[str, Any] = {"buyer": buyer, "receiver": receiver, "remark": self._remark()}
        if "goods" not in changes:
            facts["goods"] = self._basket(shop)
            facts["ratio"] = self._ratio(facts["goods"])
            paid_fen = worth(facts["goods"], facts["ratio"])
            facts["gift"] = self._earned(paid_fen) if self.random.random() < GIFTS else None
        if not changes and self.random.random() < UNPAID:
            closes = self.random.random() < NEVER_PAID
            seconds = self.random.uniform(*(UNPAID_CLOSES if closes else (20, 240)))
            facts |= {"paid": False, "plans": ((seconds, "close" if closes else "pay"),)}
        return Wish(shop, **(facts | changes))

    def _earned(self, paid_fen: int) -> str | None:
        """The best gift that is always in stock and that ``paid_fen`` earns."""
        earned = [
            strategy.gift_sku
            for strategy in self.seller.strategies
            if strategy.min_fen <= paid_fen
            and self.seller.stock[strategy.gift_sku] >= ALWAYS_IN_STOCK
        ]
        return earned[-1] if earned else None

    # Planting: one function for each kind, all of one shape

    def _duplicate(self, shop: str, kind: str) -> list[Wish]:
        buyer, receiver = self.person()
        again = self.random.choice(self._goods[shop][0])
        cluster = self.cluster(kind)
        first = self.clean(
            shop, buyer=buyer, receiver=receiver, goods=((again, 1),), cluster=cluster
        )
        gap = self.random.uniform(15, 200)
        second = self.clean(
            shop, buyer=buyer, receiver=receiver, goods=((again, 1),), cluster=cluster,
            truth=(kind,), after=gap,
        )  # fmt: skip
        return [first, second]

    def _same_ip(self, shop: str, kind: str) -> list[Wish]:
        cluster, (buyer, _) = self.cluster(kind), self.person()
        wares = self.random.sample(self._goods[shop][0], 2)
        wishes = []
        for turn in range(2):
            other, receiver = self.person()
            other.ip = buyer.ip
            wishes.append(
                self.clean(
                    shop, buyer=other, receiver=receiver, cluster=cluster,
                    goods=((wares[turn], 1),),
                    truth=(kind,) * turn, after=turn * self.random.uniform(2, 7),
                )
            )  # fmt: skip
        return wishes

    def _phone_burst(self, shop: str, kind: str) -> list[Wish]:
        cluster, (_, owner) = self.cluster(kind), self.person()
        wares = self.random.sample(self._goods[shop][0], 4)
        wishes, after = [], 0.0
        for turn in range(4):
            buyer, receiver = self.person()
            buyer.phone = receiver.phone = owner.phone
            wishes.append(
                self.clean(
                    shop, buyer=buyer, receiver=receiver, cluster=cluster,
                    goods=((wares[turn], 1),), truth=(kind,) if turn == 3 else (), after=after,
                )
            )  # fmt: skip
            after += self.random.uniform(20, 150)
        return wishes

    def _address_day(self, shop: str, kind: str) -> list[Wish]:
        """Three buyers, one door, each order under 3,000 yuan, together over 5,000."""
        cluster, (_, door) = self.cluster(kind), self.person()
        dear = [o for o in self._goods[shop][0] if 17_000 <= o.goods.price_fen < 35_000]
        late = DAY - (self.book.clock() + 8 * 3600) % DAY
        wishes, after = [], 0.0
        for turn, offer in enumerate(self.random.sample(dear, 3)):
            buyer, own = self.person()
            receiver = door
            if self.book.shops[shop].channel in CLEAR:
                receiver = Receiver(**(asdict(door) | {"name": own.name, "phone": own.phone}))
            # 1,700 to 2,450 yuan each: two stay below 5,000, three do not.
            pieces = -(-170_000 // offer.goods.price_fen)
            pieces = min(pieces + 1, 245_000 // offer.goods.price_fen)
            wishes.append(
                self.clean(
                    shop, buyer=buyer, receiver=receiver, cluster=cluster,
                    goods=((offer, pieces),), truth=(kind,) if turn == 2 else (), after=after,
                )
            )  # fmt: skip
            # Near midnight in quick succession: it is the calendar day that counts.
            after += self.random.uniform(30, 240) if late > 600 else 0.5
        return wishes

    def _gift_without_main(self, shop: str, kind: str) -> list[Wish]:
        best = self.seller.strategies[1]
        poor = [o for o in self._goods[shop][0] if o.goods.price_fen < best.min_fen // 2]
        goods = ((self.random.choice(poor), 1),)
        return [self.clean(shop, goods=goods, gift=best.gift_sku, truth=(kind,))]

    def _gift_short(self, shop: str, kind: str) -> list[Wish]:
        """The main goods earn the gift, but there are fewer than the two it comes with."""
        short = next(s for s in self.seller.strategies if self.seller.stock[s.gift_sku] < 2)
        offer = self.random.choice(
            [o for o in self._goods[shop][0] if 15_000 <= o.goods.price_fen < 60_000]
        )
        pieces = -(-short.min_fen // offer.goods.price_fen)
        return [
            self.clean(
                shop, goods=((offer, pieces),), gift=short.gift_sku, gift_quantity=2, truth=(kind,)
            )
        ]

    def _stock_short(self, shop: str, kind: str) -> list[Wish]:
        goods = ((self.random.choice(self._scarce(shop)), 3),)
        return [self.clean(shop, goods=goods, truth=(kind,))]

    def _cheap(self, shop: str, kind: str) -> list[Wish]:
        low, high = (0.62, 0.84) if kind == "low_price" else (0.35, 0.58)
        goods = ((self.random.choice(self._goods[shop][0]), 1),)
        return [self.clean(shop, goods=goods, ratio=self.random.uniform(low, high), truth=(kind,))]

    def _unmapped(self, shop: str, kind: str) -> list[Wish]:
        known = self.random.choice(self._goods[shop][0])
        new = Goods("", f"新品上架 {known.goods.name}", known.goods.price_fen)
        sku_id = f"99{known.platform_sku_id[2:]}" if known.platform_sku_id else None
        unknown = Offer(new, sku_id, f"XP-{self.turn:06d}")
        return [self.clean(shop, goods=((unknown, 1),), truth=(kind,))]

    def _refund_before_ship(self, shop: str, kind: str) -> list[Wish]:
        plan = (self.random.uniform(*REFUND_ASKED), "refund")
        return [self.clean(shop, truth=(kind,), plans=(plan,))]

    def _invalid_receiver(self, shop: str, kind: str) -> list[Wish]:
        buyer, receiver = self.person()
        if self.random.random() < 0.5:
            receiver.phone = buyer.phone = ""
        else:
            receiver.province = ""
        return [self.clean(shop, buyer=buyer, receiver=receiver, truth=(kind,))]

    def _restricted_region(self, shop: str, kind: str) -> list[Wish]:
        buyer, receiver = self.person(restricted=True)
        return [self.clean(shop, buyer=buyer, receiver=receiver, truth=(kind,))]

    def _platform_hold(self, shop: str, kind: str) -> list[Wish]:
        plan = (self.random.uniform(60, 180), "unhold")
        return [self.clean(shop, state=ON_HOLD, plans=(plan,), truth=(kind,))]

    def _presale(self, shop: str, kind: str) -> list[Wish]:
        """The deposit is in, the balance follows: money, and nothing to ship yet."""
        plan = (self.random.uniform(60, 180), "pay")
        return [self.clean(shop, paid=False, deposit=0.2, plans=(plan,), truth=(kind,))]

    def cluster(self, kind: str) -> str:
        return f"{kind}-{digest(kind, self.turn, self.book.clock(), length=10)}"

    # Writing the order down

    def _order(self, wish: Wish, at: float) -> Order:
        channel = self.book.shops[wish.shop].channel
        number = NUMBERS[channel](self, at)
        while self.book.get(wish.shop, number) is not None:  # hundreds of one second do meet
            number = NUMBERS[channel](self, at)
        lines = [self._line(wish, offer, pieces) for offer, pieces in wish.goods]
        gifts = self._gifts(wish)
        outside = channel in GIFTS_OUTSIDE or (channel == "taobao" and self.random.random() < 0.5)
        lines += [] if outside else gifts
        number_lines(lines, number, channel, self.random)
        goods_fen = sum(line.unit_fen * line.quantity for line in lines)
        amount = sum(line.amount_fen for line in lines)
        freight = 0 if amount >= 9_900 else self.random.choice((0, 0, 600, 800))
        payable = amount + freight
        return Order(
            shop=wish.shop,
            number=number,
            state=wish.state if wish.paid else WAIT_PAY,
            created=at,
            paid=at if wish.paid else None,
            modified=at,
            lines=lines,
            freight_fen=freight,
            discount_fen=goods_fen - amount,
            payable_fen=payable,
            paid_fen=payable if wish.paid else round(payable * wish.deposit),
            buyer=wish.buyer,
            receiver=Receiver(**asdict(wish.receiver)),
            remark=wish.remark,
            gifts_outside=gifts if outside else [],
            truth=list(wish.truth),
            cluster=wish.cluster,
            extra={
                "turn": self.turn,
                "plans": [[at + seconds, what] for seconds, what in wish.plans],
                **({"deposit_fen": round(payable * wish.deposit)} if wish.deposit else {}),
            },
        )

    def _line(self, wish: Wish, offer: Offer, pieces: int) -> Line:
        whole = offer.goods.price_fen * pieces
        return Line(
            line_id="",
            sku_code=offer.goods.code,
            platform_sku_id=offer.platform_sku_id,
            outer_code=offer.outer_code,
            title=offer.goods.name,
            quantity=pieces,
            unit_fen=offer.goods.price_fen,
            amount_fen=round(whole * wish.ratio),
        )

    def _gifts(self, wish: Wish) -> list[Line]:
        if wish.gift is None:
            return []
        offer = self.seller.offers[wish.shop][wish.gift][0]
        sku_id, outer = offer.platform_sku_id, offer.outer_code
        name = offer.goods.name
        return [Line("", wish.gift, sku_id, outer, name, wish.gift_quantity, 0, 0, is_gift=True)]

    def _digits(self, length: int, prefix: str) -> str:
        rest = length - len(prefix)
        return prefix + "".join(self.random.choices("0123456789", k=rest))

    def _pinduoduo_number(self, at: float) -> str:
        return f"{utc(at + 8 * 3600):%y%m%d}-{self._digits(15, '')}"

    def _own_number(self, at: float, prefix: str) -> str:
        return f"{prefix}{utc(at + 8 * 3600):%Y%m%d%H%M%S}{self._digits(6, '')}"


def number_lines(lines: list[Line], number: str, channel: str, random: Random) -> None:
    """Give every line the id its platform gives it: a lone Taobao or Douyin line is the order."""
    if channel in {"taobao", "douyin"} and len(lines) == 1:
        lines[0].line_id = number
        return
    for turn, line in enumerate(lines, 1):
        if channel in {"taobao", "douyin"}:
            line.line_id = str(int(number) + turn)
        elif channel == "shopify":
            line.line_id = f"14{random.randrange(10**11, 10**12)}"
        elif channel in {"miniprogram", "crm_webhook"}:
            line.line_id = f"{number}-{turn}"
        else:  # JD, Pinduoduo and WeChat do not number their lines: the SKU is the line
            line.line_id = line.platform_sku_id or str(turn)


def worth(basket: tuple[tuple[Offer, int], ...], ratio: float = 1.0) -> int:
    return sum(round(offer.goods.price_fen * pieces * ratio) for offer, pieces in basket)


Planter = Callable[[Market, str, str], list[Wish]]
PLANTERS: Final[dict[str, Planter]] = {
    "duplicate": Market._duplicate,
    "same_ip": Market._same_ip,
    "phone_burst": Market._phone_burst,
    "gift_without_main": Market._gift_without_main,
    "gift_short": Market._gift_short,
    "address_day": Market._address_day,
    "stock_short": Market._stock_short,
    "low_price": Market._cheap,
    "half_price": Market._cheap,
    "unmapped": Market._unmapped,
    "refund_before_ship": Market._refund_before_ship,
    "invalid_receiver": Market._invalid_receiver,
    "restricted_region": Market._restricted_region,
    "platform_hold": Market._platform_hold,
    "presale": Market._presale,
    **cheats.PLANTERS,
}
NUMBERS: Final[dict[str, Callable[[Market, float], str]]] = {
    "taobao": lambda market, _: market._digits(18, "26") + "0",
    "jd": lambda market, _: market._digits(12, "3"),
    "douyin": lambda market, _: market._digits(18, "69") + "0",
    "pinduoduo": Market._pinduoduo_number,
    "shopify": lambda market, _: market._digits(13, "6"),
    "miniprogram": lambda market, at: market._own_number(at, "MP"),
    "wechat": lambda market, _: market._digits(19, "37"),
    "crm_webhook": lambda market, at: market._own_number(at, "SY"),
}
