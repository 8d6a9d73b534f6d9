"""Gates: which orders an interception stops, asked by every transition behind one shared lock.

A transition takes the lock shared before any other and keeps it to its commit; whoever starts or
ends an interception takes it exclusively. So no transition that has read the gates as they were
commits after they have changed, however many orders a gate stops: the commit of its row is enough.

A condition is said twice, as SQL over stored orders (``where``) and in Python over orders in hand
(``Gate.matches``); a test holds them equal.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Protocol

from django.db import connection

from fulfillment.services import CARRIER
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import OPEN

GATE_LOCK: Final = 7_205_031
GATEKEEPER: Final = Actor.job("interception")
MOST_VALUES: Final = 500
LONGEST_VALUE: Final = 64
PLACE_PARTS: Final = 3
OPEN_VALUES: Final = sorted(status.value for status in OPEN)

Place = tuple[str, str, str]
"""(province, city, district); an empty part is any."""


# --- the lock -------------------------------------------------------------------------------


def share() -> None:
    """Hold every gate as it is until the caller's transaction ends.

    The first lock of a transaction, before any order row. May be asked for again.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [GATE_LOCK])


def locked_order(order_id: int) -> SalesOrder:
    """Share the lock, then lock the order's row; both in one statement, for a packer's step.

    The gates are still to be read: this statement saw the database as it was before the lock.
    """
    (order,) = SalesOrder.objects.raw(
        "WITH gate AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(%s)) "
        "SELECT o.* FROM gate, orders_salesorder o WHERE o.id = %s FOR NO KEY UPDATE OF o",
        [GATE_LOCK, order_id],
    )
    return order


def stand_alone() -> None:
    """Wait until no transition is under way; those that come wait for the caller's commit."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [GATE_LOCK])


# --- what a condition says ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Condition:
    """Or inside a field, and between them; the ``not_`` fields take out again.

    Codes are those of the catalog. An order has a SKU when a line that is to be shipped has it,
    and a carrier by its labels: the usual one while it has none. One carrier of several is enough
    for ``carriers``; orders all of whose carriers are named in ``not_carriers`` are left alone.
    """

    places: tuple[Place, ...] = ()
    skus: tuple[str, ...] = ()
    shops: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()
    not_places: tuple[Place, ...] = ()
    not_skus: tuple[str, ...] = ()
    not_shops: tuple[str, ...] = ()
    not_channels: tuple[str, ...] = ()
    not_carriers: tuple[str, ...] = ()
    all: bool = False

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> "Condition":
        """Read the stored form. Raises InvalidInput for what says nothing, or cannot be meant."""
        names = {one.name for one in fields(cls)}
        if strange := sorted(set(data) - names):
            raise InvalidInput(what=f"拦截条件里有不认识的内容：{'、'.join(map(str, strange))}")
        every = data.get("all", False)
        if not isinstance(every, bool):
            raise InvalidInput(what="拦截条件 all 只能是 true 或 false")
        values: dict[str, Any] = {
            name: _places(name, data.get(name, ())) if name.endswith("places")
            else _codes(name, data.get(name, ()))
            for name in names - {"all"}
        }  # fmt: skip
        read = cls(**values, all=every)
        named = (read.places, read.skus, read.shops, read.channels, read.carriers)
        if not (every or any(named)):
            raise InvalidInput(what="拦截条件没有说明拦哪些订单")
        return read

    def stored(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            one.name: value if isinstance(value, bool) else [
                list(part) if isinstance(part, tuple) else part for part in value
            ]
            for one in fields(self)
            for value in [getattr(self, one.name)]
        }  # fmt: skip


def _codes(name: str, told: Any) -> tuple[str, ...]:
    values = _listed(name, told)
    for value in values:
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST_VALUE or "\0" in value:
            raise InvalidInput(what=f"拦截条件 {name} 里有无效的编码")
    return tuple(dict.fromkeys(values))


def _places(name: str, told: Any) -> tuple[Place, ...]:
    found: dict[Place, None] = {}
    for value in _listed(name, told):
        parts = [*value] if isinstance(value, list | tuple) else []
        is_text = all(isinstance(part, str) and "\0" not in part for part in parts)
        if len(parts) != PLACE_PARTS or not is_text or not any(parts):
            raise InvalidInput(what=f"拦截条件 {name} 里有无效的地区")
        found[parts[0], parts[1], parts[2]] = None
    return tuple(found)


def _listed(name: str, told: Any) -> Sequence[Any]:
    if not isinstance(told, list | tuple) or len(told) > MOST_VALUES:
        raise InvalidInput(what=f"拦截条件 {name} 应是不超过 {MOST_VALUES} 项的列表")
    return told


_WITH_SKU: Final = (
    "EXISTS (SELECT 1 FROM orders_orderline n WHERE n.order_id = o.id AND NOT n.is_dropped "
    "AND n.sku_id IN (SELECT k.id FROM catalog_sku k WHERE k.code = ANY(%s)))"
)

_BY_CARRIER: Final = (
    "coalesce((SELECT {}(w.carrier = ANY(%s)) FROM fulfillment_parcel p "
    "JOIN fulfillment_waybill w ON w.parcel_id = p.id AND w.state IN ('intent', 'live') "
    "WHERE p.order_id = o.id AND p.state NOT IN ('canceled', 'stopped')), %s = ANY(%s))"
)


def where(condition: Mapping[str, Any] | Condition) -> tuple[str, list[Any]]:
    """The condition as SQL over ``orders_salesorder o``, and its parameters in their order.

    Says nothing of an order's status: only open ones (``OPEN_VALUES``) are ever stopped.
    """
    told = condition if isinstance(condition, Condition) else Condition.read(condition)
    parts: list[str] = []
    params: list[Any] = []

    def add(sql: str, *values: Any) -> None:
        parts.append(sql)
        params.extend(values)

    for places, wrap in ((told.places, "({})"), (told.not_places, "NOT ({})")):
        if places:
            sql, values = _in_places(places)
            add(wrap.format(sql), *values)
    for codes, column, verb in (
        (told.shops, "code", "IN"), (told.channels, "channel", "IN"),
        (told.not_shops, "code", "NOT IN"), (told.not_channels, "channel", "NOT IN"),
    ):  # fmt: skip
        if codes:
            add(f"o.shop_id {verb} (SELECT s.id FROM catalog_shop s WHERE s.{column} = ANY(%s))",  # noqa: S608 - own names
                list(codes))  # fmt: skip
    for codes, verb in ((told.skus, ""), (told.not_skus, "NOT ")):
        if codes:
            add(verb + _WITH_SKU, list(codes))
    for codes, sql in ((told.carriers, _BY_CARRIER.format("bool_or")),
                       (told.not_carriers, "NOT " + _BY_CARRIER.format("bool_and"))):  # fmt: skip
        if codes:
            add(sql, list(codes), CARRIER, list(codes))
    return " AND ".join(parts) or "true", params


def _in_places(places: Sequence[Place]) -> tuple[str, list[str]]:
    found, params = [], list[str]()
    for place in places:
        named = [(name, part) for name, part in zip(("province", "city", "district"), place,
                                                    strict=True) if part]  # fmt: skip
        found.append("(" + " AND ".join(f"o.{name} = %s" for name, _ in named) + ")")
        params += [part for _, part in named]
    return " OR ".join(found), params


# --- gates over orders in hand --------------------------------------------------------------


class Goods(Protocol):
    """A line that is to be shipped."""

    sku_id: int | None


class Standing(Protocol):
    """What a gate asks of an order in hand."""

    @property
    def shop_id(self) -> int: ...
    @property
    def province(self) -> str: ...
    @property
    def city(self) -> str: ...
    @property
    def district(self) -> str: ...
    @property
    def goods(self) -> Sequence[Goods]: ...


@dataclass(frozen=True, slots=True)
class Gate:
    """One running interception, its codes looked up: None is any."""

    pk: int
    words: str
    condition: Condition
    shops: frozenset[int] | None
    skus: frozenset[int] | None
    not_shops: frozenset[int]
    not_skus: frozenset[int]

    @property
    def code(self) -> str:
        """What its holds are called."""
        return code_of(self.pk)

    def matches(self, order: Standing, carriers: Collection[str] = (CARRIER,)) -> bool:
        """Whether it stops this order, the carriers of whose labels are given."""
        told = self.condition
        place = (order.province, order.city, order.district)
        skus = {line.sku_id for line in order.goods}
        return (
            (not told.places or _is_in(place, told.places))
            and not _is_in(place, told.not_places)
            and (self.shops is None or order.shop_id in self.shops)
            and order.shop_id not in self.not_shops
            and (self.skus is None or not skus.isdisjoint(self.skus))
            and skus.isdisjoint(self.not_skus)
            and not (told.carriers and set(carriers).isdisjoint(told.carriers))
            and not (told.not_carriers and set(carriers) <= set(told.not_carriers))
        )


def code_of(interception_id: int) -> str:
    return f"i{interception_id}"


def _is_in(place: Place, places: Collection[Place]) -> bool:
    return any(
        all(not part or part == mine for part, mine in zip(one, place, strict=True))
        for one in places
    )


def active_gates() -> tuple[Gate, ...]:
    """The interceptions that run now. To be believed, read it after ``share``."""
    with (
        connection.cursor() as cursor
    ):  # in every transition: the ORM would cost more than the look
        cursor.execute(
            "SELECT id, words, condition::text FROM orders_interception WHERE state = 'active' "
            "ORDER BY id"
        )
        found = cursor.fetchall()
    if not found:
        return ()
    rows = [(pk, words, Condition.read(json.loads(data))) for pk, words, data in found]
    known = _ids([told for _, _, told in rows])
    return tuple(_gate(pk, words, told, known) for pk, words, told in rows)


def enter() -> tuple[Gate, ...]:
    """Share the lock, and return the gates that count until the caller's transaction ends."""
    share()
    return active_gates()


Known = Mapping[tuple[str, str], frozenset[int]]


def _ids(conditions: Sequence[Condition]) -> Known:
    """The keys of every SKU, shop and channel these conditions name, by (kind, code)."""
    asked: dict[str, set[str]] = {"sku": set(), "shop": set(), "channel": set()}
    for told in conditions:
        asked["sku"].update(told.skus, told.not_skus)
        asked["shop"].update(told.shops, told.not_shops)
        asked["channel"].update(told.channels, told.not_channels)
    if not any(asked.values()):
        return {}
    found: dict[tuple[str, str], set[int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 'sku', code, id FROM catalog_sku WHERE code = ANY(%s) UNION ALL "
            "SELECT 'shop', code, id FROM catalog_shop WHERE code = ANY(%s) UNION ALL "
            "SELECT 'channel', channel, id FROM catalog_shop WHERE channel = ANY(%s)",
            [sorted(codes) for codes in asked.values()],
        )
        for kind, code, pk in cursor.fetchall():
            found.setdefault((kind, code), set()).add(pk)
    return {key: frozenset(ids) for key, ids in found.items()}


def _gate(pk: int, words: str, told: Condition, known: Known) -> Gate:
    def ids(kind: str, codes: Sequence[str]) -> frozenset[int]:
        return frozenset[int]().union(*(known.get((kind, code), frozenset()) for code in codes))

    shops = ids("shop", told.shops) if told.shops else None
    if told.channels:
        of_channels = ids("channel", told.channels)
        shops = of_channels if shops is None else shops & of_channels
    return Gate(
        pk, words, told,
        shops=shops,
        skus=ids("sku", told.skus) if told.skus else None,
        not_shops=ids("shop", told.not_shops) | ids("channel", told.not_channels),
        not_skus=ids("sku", told.not_skus),
    )  # fmt: skip


def carriers_of(order_ids: Collection[int], gates: Sequence[Gate]) -> dict[int, frozenset[str]]:
    """The carriers of these orders' labels, where a gate asks; an order without one is left out."""
    if not any(gate.condition.carriers or gate.condition.not_carriers for gate in gates):
        return {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT p.order_id, array_agg(DISTINCT w.carrier) FROM fulfillment_parcel p "
            "JOIN fulfillment_waybill w ON w.parcel_id = p.id AND w.state IN ('intent', 'live') "
            "WHERE p.order_id = ANY(%s) AND p.state NOT IN ('canceled', 'stopped') "
            "GROUP BY p.order_id",
            [list(order_ids)],
        )
        return {order: frozenset(carriers) for order, carriers in cursor.fetchall()}


def words_for(order_id: int) -> tuple[str, ...]:
    """What the running gates say to one stored order, each in its words; empty lets it pass."""
    gates = active_gates()
    if not gates:
        return ()
    asked = [where(gate.condition) for gate in gates]
    columns = ", ".join(f"({sql})" for sql, _ in asked)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns} FROM orders_salesorder o "  # noqa: S608 - own constant text
            "WHERE o.id = %s AND o.status = ANY(%s)",
            [*(value for _, params in asked for value in params), order_id, OPEN_VALUES],
        )
        hits = cursor.fetchone() or ()
    return tuple(gate.words for gate, hit in zip(gates, hits, strict=False) if hit)
