"""The sandbox's own book: what every stand-in platform knows about its orders.

The book is the ground truth of a drill: what was sold, what was planted in it, and
what the center did with it. It lives in memory and is written through to one SQLite
file, so that a sandbox started again goes on where it was stopped. One thread only.
"""

from __future__ import annotations

import json
import sqlite3
import time
from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from ordercenter.sandbox.weather import Weather
from ordercenter.sandbox.wire import digest

if TYPE_CHECKING:
    from pathlib import Path

    from ordercenter.sandbox.shelf import Shelf

Clock = Callable[[], float]

WAIT_PAY: Final = "wait_pay"
WAIT_SHIP: Final = "wait_ship"
SHIPPED: Final = "shipped"
FINISHED: Final = "finished"
CLOSED_UNPAID: Final = "closed_unpaid"
CLOSED_REFUNDED: Final = "closed_refunded"
ON_HOLD: Final = "on_hold"

ASKED: Final = "asked"
AGREED: Final = "agreed"
REFUSED: Final = "refused"
WITHDRAWN: Final = "withdrawn"
DONE: Final = "done"
OPEN_REFUNDS: Final = frozenset({ASKED, AGREED})
CODE_LIVES: Final = 600  # seconds


class Refused(Exception):
    """What was asked cannot be done to this order now; the text says why, in Chinese."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One thing a shop sells, by the codes of its platform; ``goods`` is the seller's own."""

    goods: str
    platform_sku_id: str | None
    outer_code: str | None


@dataclass(slots=True)
class ShopConfig:
    """One shop of the demo seller, as its platform knows it."""

    code: str
    name: str
    channel: str
    base_url: str
    app_key: str
    app_secret: str
    access_token: str
    """What the platform takes now: it changes when it dies and is refreshed."""
    options: dict[str, Any] = field(default_factory=dict)
    poll_interval_seconds: int = 30
    currency: str = "CNY"
    refresh_token: str = ""
    urls: dict[str, str] = field(default_factory=dict)
    """Doors beside ``base_url``, as paths: ``auth_url``, ``message_url``."""
    token_until: float | None = None
    """Unix seconds at which ``access_token`` dies by itself; None: not by itself."""
    secrets: dict[str, str] = field(default_factory=dict)
    """What the platform and the shop share besides: tokens and keys of pushes."""
    listed: tuple[Listed, ...] = ()


@dataclass(slots=True)
class Line:
    """One line of an order. ``sku_code`` is the seller's own SKU or bundle: the truth."""

    line_id: str
    sku_code: str
    platform_sku_id: str | None
    outer_code: str | None
    title: str
    quantity: int
    unit_fen: int
    amount_fen: int  # after all discounts, without freight
    is_gift: bool = False
    refund_state: str = "none"  # none | in_progress | refunded


@dataclass(slots=True)
class Buyer:
    buyer_id: str
    nick: str
    name: str
    phone: str
    ip: str = ""
    device_id: str = ""


@dataclass(slots=True)
class Receiver:
    name: str
    phone: str
    province: str
    city: str
    district: str
    town: str
    address: str
    zip: str = ""


@dataclass(slots=True)
class Shipment:
    """One parcel the center told the platform of. No ``line_ids`` means the whole order."""

    carrier_code: str
    tracking_number: str
    line_ids: list[str]
    at: float
    quantities: dict[str, int] = field(default_factory=dict)
    """Pieces by line where the parcel holds fewer than all of it."""
    is_virtual: bool = False


@dataclass(slots=True)
class Refund:
    refund_id: str
    line_id: str | None  # None: the whole order
    amount_fen: int
    state: str
    created: float
    modified: float
    answer: str = ""
    reason: str = "不想要了"


@dataclass(slots=True)
class Order:
    """One order on one platform. Money is integer fen, times are Unix seconds."""

    shop: str
    number: str
    state: str
    created: float
    paid: float | None
    modified: float
    lines: list[Line]
    freight_fen: int
    discount_fen: int
    payable_fen: int
    paid_fen: int
    buyer: Buyer
    receiver: Receiver
    remark: str = ""
    memo: str = ""
    flag: int = 0
    gifts_outside: list[Line] = field(default_factory=list)
    truth: list[str] = field(default_factory=list)
    cluster: str = ""
    shipments: list[Shipment] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)
    closed: float | None = None
    finished: float | None = None
    address_version: int = 1  # changes with every new address, as the platforms' address ids do
    extra: dict[str, Any] = field(default_factory=dict)
    stops: list[dict[str, Any]] = field(default_factory=list)
    """What the center answered to wishes to stop the parcel (X2)."""
    version: int = 0
    """One more with every change that was kept."""

    @property
    def goods_fen(self) -> int:
        """What the lines cost before discounts and freight."""
        return sum(line.unit_fen * line.quantity for line in self.lines)

    def line(self, line_id: str) -> Line | None:
        return next((line for line in self.lines if line.line_id == line_id), None)

    def left(self, line: Line) -> int:
        """How many pieces of ``line`` no parcel holds yet."""
        gone = 0
        for shipment in self.shipments:
            if not shipment.line_ids:
                return 0
            if line.line_id in shipment.line_ids:
                gone += shipment.quantities.get(line.line_id, line.quantity)
        return max(0, line.quantity - gone)

    @property
    def unshipped(self) -> list[Line]:
        """The lines of which pieces are in no parcel yet."""
        return [line for line in self.lines if self.left(line)]

    @property
    def is_part_shipped(self) -> bool:
        return self.state == WAIT_SHIP and bool(self.shipments)

    def open_refunds(self) -> list[Refund]:
        return [refund for refund in self.refunds if refund.state in OPEN_REFUNDS]

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Order:
        facts = dict(facts)
        facts["lines"] = [Line(**line) for line in facts["lines"]]
        facts["gifts_outside"] = [Line(**line) for line in facts["gifts_outside"]]
        facts["buyer"] = Buyer(**facts["buyer"])
        facts["receiver"] = Receiver(**facts["receiver"])
        facts["shipments"] = [Shipment(**shipment) for shipment in facts["shipments"]]
        facts["refunds"] = [Refund(**refund) for refund in facts["refunds"]]
        return cls(**facts)


# created | paid | shipped | finished | closed | refund_asked | refund_changed |
# address_asked | address_refused | address_changed | memo_changed | waybill_changed | changed
Listener = Callable[[Order, str], None]


def is_same(one: Shipment, other: Shipment) -> bool:
    """Whether the same parcel with the same goods has been told twice."""
    names = ("carrier_code", "tracking_number", "line_ids", "quantities")
    same = all(getattr(one, name) == getattr(other, name) for name in names)
    return same and bool(one.tracking_number)


class Outlet(Protocol):
    """What tells the center of changes, and can tell it all again."""

    def replay(
        self, shop: str | None, since: float, until: float, *, rate: float, as_is: bool
    ) -> dict[str, int]: ...


class Index:
    """Keys by a moment, kept sorted; a key stands at one moment at most."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, str]] = []
        self._at: dict[str, float] = {}

    def put(self, key: str, at: float | None) -> None:
        """Let ``key`` stand at ``at``, and nowhere else."""
        was = self._at.get(key)
        if was == at:
            return
        if was is not None:
            del self._rows[bisect_left(self._rows, (was, key))]
            del self._at[key]
        if at is not None:
            insort(self._rows, (at, key))
            self._at[key] = at

    def between(self, start: float, end: float) -> list[str]:
        """Keys in [start, end], the oldest first.

        Whole seconds, as the wires speak: what happened at 10.7 counts as happened at 10.
        """
        first = bisect_left(self._rows, (float(int(start)), ""))
        last = bisect_right(self._rows, (float(int(end)) + 1, ""))
        return [key for _, key in self._rows[first:last]]

    def __iter__(self) -> Iterator[str]:
        return (key for _, key in self._rows)


class Book:
    """All orders of all shops, and every write the center made.

    ``data_dir`` None keeps the book in memory only, for tests.
    """

    def __init__(
        self,
        shops: Iterable[ShopConfig],
        data_dir: Path | None = None,
        clock: Clock = time.time,
    ) -> None:
        self.shops: dict[str, ShopConfig] = {shop.code: shop for shop in shops}
        self.clock = clock
        self.weather = Weather(clock)
        self.outlets: list[Outlet] = []
        self.records: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.shelves: dict[str, Shelf] = {}
        """By channel, what its shops show for sale."""
        self.changes: Counter[str] = Counter()
        """By shop, how often any of its orders has changed."""
        self.effects = 0
        """Writes of the center that took effect."""
        self.tally: defaultdict[tuple[str, str, str, str], Counter[str]] = defaultdict(Counter)
        """By shop, kind, subject and key: how often a write was asked for, and took effect."""
        self._orders: dict[str, dict[str, Order]] = {code: {} for code in self.shops}
        self._modified = {code: Index() for code in self.shops}
        self._created = {code: Index() for code in self.shops}
        self._paid = {code: Index() for code in self.shops}
        self._refunds = {code: Index() for code in self.shops}
        self._refund_of: dict[str, dict[str, str]] = {code: {} for code in self.shops}
        self._promoted: set[tuple[str, str]] = set()
        self._parcels: dict[str, tuple[str, str]] = {}
        self._codes: dict[str, tuple[str, float]] = {}
        self._listed: list[Order] = []
        self._listeners: list[Listener] = []
        if data_dir is not None:
            data_dir.mkdir(parents=True, exist_ok=True)
        place = ":memory:" if data_dir is None else str(data_dir / "book.sqlite3")
        # Handlers may run on a thread of the test client: never two at once.
        self._store = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
        self._store.execute("PRAGMA journal_mode=WAL")
        self._store.execute("PRAGMA synchronous=OFF")  # a killed process loses nothing by it
        self._store.execute(
            "CREATE TABLE IF NOT EXISTS entry"
            " (kind TEXT, key TEXT, json TEXT NOT NULL, PRIMARY KEY (kind, key))"
        )
        self._load()

    # Reading

    def orders(self, shop: str) -> list[Order]:
        """Every order of ``shop``, the one changed longest ago first."""
        return [self._orders[shop][number] for number in self._modified[shop]]

    def changed(self, shop: str, start: float, end: float) -> list[Order]:
        """Orders of ``shop`` last modified in [start, end], oldest change first.

        Under ``moving_rows`` some of them really change once this call has been answered.
        """
        found = [self._orders[shop][n] for n in self._modified[shop].between(start, end)]
        if found and (spell := self.weather.spell(self.shops[shop].channel, "moving_rows")):
            dice = self.weather.dice(self.shops[shop].channel, "moving_rows")
            wanted = sum(dice.random() < spell.share for _ in found)
            self._listed += dice.sample(found, min(wanted, int(spell.number("most"))))
        return found

    def created(self, shop: str, start: float, end: float) -> list[Order]:
        """Orders of ``shop`` placed in [start, end], the oldest first."""
        return [self._orders[shop][n] for n in self._created[shop].between(start, end)]

    def paid(self, shop: str, start: float, end: float) -> list[Order]:
        """Orders of ``shop`` paid in [start, end], the oldest first."""
        return [self._orders[shop][n] for n in self._paid[shop].between(start, end)]

    def refunds(self, shop: str, start: float, end: float) -> list[tuple[Order, Refund]]:
        """Refunds of ``shop`` last modified in [start, end], oldest change first."""
        found = (self.refund(shop, key) for key in self._refunds[shop].between(start, end))
        return [pair for pair in found if pair is not None]

    def refund(self, shop: str, refund_id: str) -> tuple[Order, Refund] | None:
        order = self.get(shop, self._refund_of[shop].get(refund_id, ""))
        if order is None:
            return None
        return next(((order, r) for r in order.refunds if r.refund_id == refund_id), None)

    def get(self, shop: str, number: str) -> Order | None:
        return self._orders.get(shop, {}).get(number)

    def all_orders(self) -> list[Order]:
        """Every order of every shop, in the order they were placed."""
        every = (order for orders in self._orders.values() for order in orders.values())
        return sorted(every, key=lambda o: (o.created, o.number))

    def of_parcel(self, tracking_number: str) -> Order | None:
        """The order that was shipped under ``tracking_number``."""
        return self.get(*self._parcels.get(tracking_number, ("", "")))

    def count(self, shop: str | None = None) -> int:
        """How many orders there are, of ``shop`` or of all."""
        if shop is not None:
            return len(self._orders[shop])
        return sum(len(orders) for orders in self._orders.values())

    def shop_by_key(self, channel: str, app_key: str) -> ShopConfig | None:
        """The shop of ``channel`` that calls itself ``app_key``."""
        for shop in self.shops.values():
            if shop.channel == channel and shop.app_key == app_key:
                return shop
        return None

    def now(self, shop: str) -> float:
        """What the clock of the platform of ``shop`` says."""
        return self.clock() + self.weather.skew(self.shops[shop].channel)

    def is_late(self, order: Order) -> bool:
        """Whether the detail of ``order`` is held back (``late_detail``)."""
        since = order.paid if order.paid is not None else order.created
        channel = self.shops[order.shop].channel
        since -= self.weather.skew(channel)
        return self.weather.is_late(channel, order.number, since)

    # Writing

    def on_change(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def add(self, order: Order) -> None:
        """Enter a new order and tell the listeners, of its payment too when it came paid."""
        if order.number in self._orders[order.shop]:
            message = f"order {order.number} is in the book already"
            raise ValueError(message)
        if skew := self.weather.skew(self.shops[order.shop].channel):
            order.created += skew
            order.modified += skew
            order.paid = None if order.paid is None else order.paid + skew
        self._orders[order.shop][order.number] = order
        self.keep(order)
        self._tell(order, "created")
        if order.paid is not None:
            self._tell(order, "paid")

    def keep(self, order: Order) -> None:
        """Write ``order`` through without a word to anyone: what changed is the sandbox's own."""
        order.version += 1
        self.changes[order.shop] += 1
        self._index(order)
        self._put("order", f"{order.shop}/{order.number}", asdict(order))

    def touch(self, order: Order, event: str = "changed") -> None:
        """Stamp ``order`` as modified now, keep it, and tell the listeners of ``event``."""
        now = self.now(order.shop)
        # A clock set back must not hide a change behind a stamp of the future.
        order.modified = max(now, order.modified + (order.modified > now + 1))
        self.keep(order)
        self._tell(order, event)

    def move_rows(self) -> None:
        """Change what ``moving_rows`` picked from the lists read since the last time."""
        listed, self._listed = self._listed, []
        for order in listed:
            self.weather.count(self.shops[order.shop].channel, "moving_rows")
            self.touch(order)

    def record(self, kind: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a write the center made (``shipment``, ``robot``, ``waybill``, ``memo``...)."""
        row = {"at": self.clock(), **facts}
        self.records[kind].append(row)
        self._put(f"record:{kind}", f"{len(self.records[kind]):09d}", row)
        return row

    def wrote(
        self,
        shop: str,
        kind: str,
        subject: str,
        *,
        key: str = "",
        effect: bool = True,
        **facts: Any,
    ) -> None:
        """Note that the center wrote: ``kind`` of thing, to which ``subject``, if it took effect.

        ``key`` is the idempotency key where the wire has one, else what makes two writes the
        same (a tracking number); empty where every write counts by itself (a difference).
        """
        self.effects += effect
        self._count_write(shop, kind, subject, key, effect=effect)
        told = {"shop": shop, "kind": kind, "subject": subject, "key": key, "effect": effect}
        self.record("write", told | facts)

    def rerecord(self, kind: str, index: int, facts: Mapping[str, Any]) -> None:
        """Replace the ``index``-th record of ``kind`` (from 0): a waybill that moved on."""
        self.records[kind][index] = dict(facts)
        self._put(f"record:{kind}", f"{index + 1:09d}", self.records[kind][index])

    # What happens to an order: one verb each

    def pay(self, order: Order) -> None:
        if order.state != WAIT_PAY:
            raise Refused("订单不是待付款状态")
        order.state, order.paid, order.paid_fen = WAIT_SHIP, self.now(order.shop), order.payable_fen
        self.touch(order, "paid")

    def ship(self, order: Order, shipment: Shipment) -> None:
        """Enter a parcel; the order is shipped once no line is left.

        Repeating the same parcel changes nothing.
        """
        key = f"{shipment.carrier_code}/{shipment.tracking_number}/{','.join(shipment.line_ids)}"
        if any(is_same(shipment, other) for other in order.shipments):
            self.wrote(order.shop, "ship", order.number, key=key, effect=False)
            return
        if order.state not in {WAIT_SHIP, SHIPPED}:
            raise Refused("订单状态不允许发货")
        order.shipments.append(shipment)
        if not order.unshipped:
            order.state = SHIPPED
        self.record(
            "shipment",
            {
                "shop": order.shop,
                "number": order.number,
                "carrier_code": shipment.carrier_code,
                "tracking_number": shipment.tracking_number,
                "line_ids": shipment.line_ids,
                "quantities": shipment.quantities,
                "truth": order.truth,
                "refund_open": bool(order.open_refunds()),
            },
        )
        self._parcels[shipment.tracking_number] = (order.shop, order.number)
        self.wrote(order.shop, "ship", order.number, key=key)
        self.touch(order, "shipped")

    def finish(self, order: Order) -> None:
        if order.state != SHIPPED:
            raise Refused("订单不是已发货状态")
        order.state, order.finished = FINISHED, self.now(order.shop)
        self.touch(order, "finished")

    def ask_refund(self, order: Order, refund: Refund) -> None:
        """The buyer asks for the money of one line, or of the whole order, back."""
        if order.state not in {WAIT_SHIP, SHIPPED, ON_HOLD}:
            raise Refused("订单状态不允许申请退款")
        for other in order.open_refunds():
            if None in {refund.line_id, other.line_id} or refund.line_id == other.line_id:
                raise Refused("已有处理中的退款")
        skew = self.weather.skew(self.shops[order.shop].channel)
        refund.created, refund.modified = refund.created + skew, refund.modified + skew
        order.refunds.append(refund)
        self._mark_refund(order, refund, "in_progress")
        self.touch(order, "refund_asked")

    def settle_refund(self, order: Order, refund: Refund, state: str, answer: str = "") -> None:
        """Bring ``refund`` to ``state``; a whole order paid back is closed."""
        if refund.state not in OPEN_REFUNDS:
            raise Refused("退款已结束")
        refund.state, refund.answer, refund.modified = state, answer, self.now(order.shop)
        lines = {DONE: "refunded", REFUSED: "none", WITHDRAWN: "none"}
        self._mark_refund(order, refund, lines.get(state, "in_progress"))
        money = [line for line in order.lines if not line.is_gift]
        if state == DONE and all(line.refund_state == "refunded" for line in money):
            order.state, order.closed = CLOSED_REFUNDED, self.now(order.shop)
            self.touch(order, "closed")
        else:
            self.touch(order, "refund_changed")

    def close_unpaid(self, order: Order) -> None:
        if order.state != WAIT_PAY:
            raise Refused("订单不是待付款状态")
        order.state, order.closed = CLOSED_UNPAID, self.now(order.shop)
        self.touch(order, "closed")

    def answer_stop(
        self, order: Order, refund: Refund, *, stopped: bool, reason: str = "", key: str = ""
    ) -> None:
        """The center says whether it could still stop the parcel; if so, the money goes back.

        The same answer again changes nothing.
        """
        said = {"refund_id": refund.refund_id, "stopped": stopped, "reason": reason}
        key = key or f"{'stopped' if stopped else 'failed'}/{reason}"
        new = not any(said.items() <= stop.items() for stop in order.stops)
        self.wrote(order.shop, "stop", refund.refund_id, key=key, effect=new, number=order.number)
        if not new:
            return
        order.stops.append(said | {"at": self.clock()})
        if stopped and refund.state in OPEN_REFUNDS and not order.shipments:
            self.settle_refund(order, refund, DONE, "取消发货成功，平台退款")
        else:
            self.keep(order)

    # Stock that may not be lowered

    def is_promoted(self, shop: str, code: str) -> bool:
        """Whether the stock on show of ``code`` (SKU id, else outer code) must not fall now."""
        channel = self.shops[shop].channel
        return (shop, code) in self._promoted or self.weather.is_promoted(channel, shop, code)

    def promote(self, shop: str, code: str, *, on: bool) -> None:
        (self._promoted.add if on else self._promoted.discard)((shop, code))

    # Tokens

    def kill_token(self, shop: str) -> None:
        """The access token of ``shop`` is dead from now on."""
        self._grant(self.shops[shop], f"dead-{digest(shop, self.clock(), length=12)}", 0.0)

    def renew_token(self, shop: str, *, lives: float | None = None) -> str:
        """A new access token for ``shop``; the former one is dead. Every asking is counted."""
        config = self.shops[shop]
        self.record("refresh", {"shop": shop})
        token = digest("token", shop, self.clock(), len(self.records["refresh"]), length=24)
        until = None if lives is None else self.clock() + lives
        self._grant(config, f"sandbox-{config.channel}-{token}", until)
        return config.access_token

    def give_code(self, shop: str) -> str:
        """An authorization code: the seller said yes. Good once, for ten minutes."""
        code = f"code-{digest('code', shop, self.clock(), len(self._codes), length=20)}"
        self._codes[code] = (shop, self.clock() + CODE_LIVES)
        return code

    def take_code(self, shop: str, code: str) -> bool:
        whose, until = self._codes.pop(code, ("", 0.0))
        return whose == shop and self.clock() <= until

    def takes_token(self, shop: ShopConfig, token: str | None) -> bool:
        until = shop.token_until
        return token == shop.access_token and (until is None or self.clock() < until)

    def _grant(self, shop: ShopConfig, token: str, until: float | None) -> None:
        shop.access_token, shop.token_until = token, until
        self._put("grant", shop.code, {"access_token": token, "token_until": until})

    def change_address(self, order: Order, receiver: Receiver) -> None:
        if order.state not in {WAIT_PAY, WAIT_SHIP, ON_HOLD}:
            raise Refused("订单状态不允许修改地址")
        order.receiver = receiver
        order.address_version += 1
        self.touch(order, "address_changed")

    def ask_address(self, order: Order, receiver: Receiver, *, answer_by: float) -> None:
        """The buyer wishes for another address, which the merchant has to answer."""
        if order.state not in {WAIT_SHIP, ON_HOLD}:
            raise Refused("订单状态不允许申请修改地址")
        if "address_wish" in order.extra:
            raise Refused("已有待处理的修改地址申请")
        wish = {"receiver": asdict(receiver), "asked": self.clock(), "answer_by": answer_by}
        order.extra["address_wish"] = wish
        self.touch(order, "address_asked")

    def answer_address(
        self, order: Order, *, approve: bool, words: str = "", by: str = "merchant"
    ) -> None:
        """Settle the open wish; ``by`` is ``merchant``, or ``platform`` for his silence."""
        wish = order.extra.get("address_wish")
        if wish is None:
            raise Refused("没有待处理的修改地址申请")
        if approve and order.state not in {WAIT_SHIP, ON_HOLD}:
            raise Refused("订单状态不允许修改地址")
        del order.extra["address_wish"]
        facts = {"shop": order.shop, "number": order.number, "approve": approve}
        self.record("address_answer", facts | {"words": words, "by": by})
        if by == "merchant":
            said = "approved" if approve else "refused"
            self.wrote(order.shop, "address", order.number, key=f"{wish['asked']}/{said}")
        if approve:
            self.change_address(order, Receiver(**wish["receiver"]))
        else:
            self.touch(order, "address_refused")

    def write_memo(
        self, order: Order, text: str, flag: int | None = None, *, moves: bool = True
    ) -> None:
        """Replace the merchant's note; ``flag`` None leaves the flag.

        Not every platform counts that as a change: ``moves`` says whether this one does.
        """
        order.memo = text
        order.flag = order.flag if flag is None else flag
        facts = {"shop": order.shop, "number": order.number, "memo": text, "flag": order.flag}
        self.record("memo", facts)
        key = digest(text, order.flag, length=16)
        self.wrote(order.shop, "memo", order.number, key=key)
        if moves:
            self.touch(order, "memo_changed")
        else:
            self.keep(order)
            self._tell(order, "memo_changed")

    # Keeping

    def _index(self, order: Order) -> None:
        self._modified[order.shop].put(order.number, order.modified)
        self._created[order.shop].put(order.number, order.created)
        self._paid[order.shop].put(order.number, order.paid)
        for refund in order.refunds:
            self._refunds[order.shop].put(refund.refund_id, refund.modified)
            self._refund_of[order.shop][refund.refund_id] = order.number

    def _count_write(self, shop: str, kind: str, subject: str, key: str, *, effect: bool) -> None:
        counted = self.tally[shop, kind, subject, key]
        counted["asked"] += 1
        counted["effects"] += effect

    def _mark_refund(self, order: Order, refund: Refund, state: str) -> None:
        for line in order.lines:
            if refund.line_id in {None, line.line_id}:
                line.refund_state = state

    def _tell(self, order: Order, event: str) -> None:
        for listener in self._listeners:
            listener(order, event)

    def _put(self, kind: str, key: str, facts: Mapping[str, Any]) -> None:
        text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
        self._store.execute("INSERT OR REPLACE INTO entry VALUES (?, ?, ?)", (kind, key, text))

    def _load(self) -> None:
        rows = self._store.execute("SELECT kind, key, json FROM entry ORDER BY kind, key")
        for kind, key, text in rows:
            facts = json.loads(text)
            if kind.startswith("record:"):
                self._load_record(kind.removeprefix("record:"), facts)
            elif kind == "grant" and key in self.shops:
                shop = self.shops[key]
                shop.access_token, shop.token_until = facts["access_token"], facts["token_until"]
            elif kind == "order" and facts["shop"] in self._orders:
                order = Order.from_json(facts)
                self._orders[order.shop][order.number] = order
                self._index(order)

    def _load_record(self, kind: str, facts: dict[str, Any]) -> None:
        self.records[kind].append(facts)
        if kind == "shipment":
            self._parcels[facts["tracking_number"]] = (facts["shop"], facts["number"])
        elif kind == "write":
            names = ("shop", "kind", "subject", "key")
            shop, what, subject, key = (str(facts[name]) for name in names)
            self._count_write(shop, what, subject, key, effect=facts["effect"])

    def close(self) -> None:
        self._store.close()
