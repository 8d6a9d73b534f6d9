"""What stands beside an order on the wall: who it may belong to, and what went before.

Keys match orders, nobody reads them; what is shown of other orders is what their own pages show.
Each part is one question on an index, whatever the number of orders.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import connection

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.catalog.models import Shop
from ordercenter.catalog.selectors import Shelf
from ordercenter.console.selectors import ORDER
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.policy import AnyUser, sees_all
from ordercenter.orders.models import OrderEvidence, OrderHold, OrderLine, SalesOrder
from ordercenter.orders.states import OrderStatus
from risk.models import RiskScore

SPAN: Final = timedelta(days=90)
"""How far before and after an order its cluster reaches."""
MOST_OF_KEY: Final = 100
MOST_SHOWN: Final = 30
MOST_POINTS: Final = 200
MOST_SKUS: Final = 5
MOST_DEALS: Final = 8
MOST_DECISIONS: Final = 12
KEYS: Final[Mapping[str, str]] = {
    "buyer_key": "买家", "phone_key": "手机", "address_key": "地址", "device_key": "设备",
    "ip": "IP",
}  # fmt: skip
OF_PERSON: Final = ("buyer_key", "phone_key", "address_key")
"""Keys that stand for a person; many strangers share an IP."""

_OF_KEY: Final = """
    (SELECT e.order_id, '{key}' AS key FROM orders_orderevidence e
     WHERE e.{key} = %({key})s AND e.{key} <> '' AND e.order_id <> %(order)s
       AND e.placed_at BETWEEN %(low)s AND %(high)s
     ORDER BY e.placed_at DESC LIMIT %(most)s)
"""
_CLUSTER: Final = """
    WITH near AS ({parts})
    SELECT o.id, o.number, s.name, o.shop_id, o.placed_at, o.payable_amount, o.currency, o.status,
           array_agg(DISTINCT near.key),
           EXISTS (SELECT 1 FROM orders_orderhold h
                   WHERE h.order_id = o.id AND h.released_at IS NULL)
    FROM near JOIN orders_salesorder o ON o.id = near.order_id
    JOIN catalog_shop s ON s.id = o.shop_id
    GROUP BY o.id, s.name ORDER BY o.placed_at DESC
"""
_DEALS: Final = """
    SELECT v.sku_id, o.number, o.shop_id, o.placed_at, o.currency, l.amount, l.quantity
    FROM inventory_stocklevel v
    CROSS JOIN LATERAL (
        SELECT m.reservation_id FROM inventory_stockmovement m
        WHERE m.level_id = v.id AND m.target = 'reserved' AND m.reservation_id IS NOT NULL
        ORDER BY m.id DESC LIMIT %(most)s) m
    JOIN inventory_reservation r ON r.id = m.reservation_id
    JOIN orders_orderline l ON l.id = r.line_id AND NOT l.is_gift
    JOIN orders_salesorder o ON o.id = l.order_id AND o.id <> %(order)s
    WHERE v.sku_id = ANY(%(skus)s)
    ORDER BY o.placed_at DESC
"""


@dataclass(frozen=True, slots=True)
class Kin:
    """Another order that shares a key with this one."""

    number: str
    shop: str
    placed_at: datetime
    amount: Decimal
    currency: str
    status: str
    shares: str
    is_held: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    """The other orders of the same buyer, phone, address, device or IP."""

    orders: Sequence[Kin]
    more: int
    """So many more that are not shown."""
    elsewhere: int
    """So many in shops this user may not look into."""
    of_person: Sequence[int]
    """Those that share a key that stands for a person."""


@dataclass(frozen=True, slots=True)
class Point:
    """One order of the address on the day, for the drawing."""

    number: str
    placed_at: datetime
    amount: Decimal
    total: Decimal
    """The money of the day up to it."""
    x: int
    height: int
    is_own: bool
    y: int


@dataclass(frozen=True, slots=True)
class AddressDay:
    """What one address ordered on one calendar day of Shanghai."""

    points: Sequence[Point]
    count: int
    total: Decimal


@dataclass(frozen=True, slots=True)
class Deal:
    number: str
    """Empty where the order is not this user's to know."""
    placed_at: datetime
    unit_price: Decimal
    currency: str
    ratio: int | None
    """Per cent of the base price of that moment, rounded down."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What one SKU went for, last deal first, with this order's own price above them."""

    code: str
    base: Decimal | None
    own: Deal
    deals: Sequence[Deal]


@dataclass(frozen=True, slots=True)
class Past:
    """What somebody decided about an order of this customer."""

    number: str
    at: datetime
    who: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Evidence:
    cluster: Cluster
    day: AddressDay | None
    prices: Sequence[Prices]
    past: Sequence[Past]
    score: RiskScore | None


def evidence_of(user: AnyUser, order: SalesOrder) -> Evidence:
    """Everything beside this order that this user may see."""
    shops = _shops_of(user)
    keys = OrderEvidence.objects.filter(order=order).first()
    cluster = _cluster(order, keys, shops) if keys else Cluster((), 0, 0, ())
    return Evidence(
        cluster=cluster,
        day=_address_day(order, keys, shops) if keys and keys.address_key else None,
        prices=_prices(order, shops),
        past=_past([order.pk, *cluster.of_person]),
        score=RiskScore.objects.filter(order=order).first(),
    )


def _shops_of(user: AnyUser) -> set[int] | None:
    if sees_all(user):
        return None
    return set(Shop.objects.filter(shopassignment__user=user.pk).values_list("pk", flat=True))


def _cluster(order: SalesOrder, keys: OrderEvidence, shops: Collection[int] | None) -> Cluster:
    given = {name: getattr(keys, name) for name in KEYS if getattr(keys, name)}
    if not given:
        return Cluster((), 0, 0, ())
    parts = " UNION ALL ".join(_OF_KEY.format(key=name) for name in given)
    with connection.cursor() as cursor:
        cursor.execute(
            _CLUSTER.format(parts=parts),
            {**given, "order": order.pk, "low": order.placed_at - SPAN,
             "high": order.placed_at + SPAN, "most": MOST_OF_KEY},
        )  # fmt: skip
        rows = cursor.fetchall()
    mine = [row for row in rows if shops is None or row[3] in shops]
    kin = [
        Kin(number, shop, placed_at, amount, currency, str(OrderStatus(status).label),
            "、".join(KEYS[name] for name in KEYS if name in shared), held)
        for _pk, number, shop, _shop, placed_at, amount, currency, status, shared, held
        in mine[:MOST_SHOWN]
    ]  # fmt: skip
    persons = [row[0] for row in mine if set(row[8]) & set(OF_PERSON)]
    return Cluster(kin, max(0, len(mine) - MOST_SHOWN), len(rows) - len(mine), persons)


def _address_day(
    order: SalesOrder, keys: OrderEvidence, shops: Collection[int] | None
) -> AddressDay:
    begins = order.placed_at.astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
    rows = list(
        OrderEvidence.objects.filter(
            address_key=keys.address_key,
            placed_at__gte=begins,
            placed_at__lt=begins + timedelta(days=1),
        )
        .order_by("placed_at", "order_id")
        .values_list("order_id", "order__number", "shop_id", "placed_at", "amount")[:MOST_POINTS]
    )
    biggest = max((amount for *_, amount in rows), default=Decimal(0)) or Decimal(1)
    points, total = [], Decimal(0)
    for pk, number, shop_id, placed_at, amount in rows:
        total += amount
        minute = int((placed_at - begins).total_seconds()) // 60
        height = max(3, int(amount / biggest * 60))
        known = shops is None or shop_id in shops
        points.append(
            Point(number if known else "", placed_at, amount, total, minute, height,
                  pk == order.pk, 70 - height)
        )  # fmt: skip
    return AddressDay(points, len(points), total)


def _prices(order: SalesOrder, shops: Collection[int] | None) -> list[Prices]:
    """The last deals of the goods bought, each beside the base price of its own moment."""
    lines = list(
        OrderLine.objects.filter(order=order, is_gift=False, is_dropped=False)
        .exclude(sku=None)
        .select_related("sku")
        .order_by("line_no")
    )
    by_sku = {line.sku_id: line for line in reversed(lines)}
    wanted = [line for line in lines if by_sku[line.sku_id] is line][:MOST_SKUS]
    if not wanted:
        return []
    ids = [line.sku_id for line in wanted if line.sku_id]
    worth = Shelf.prices(set(ids))
    with connection.cursor() as cursor:
        cursor.execute(_DEALS, {"order": order.pk, "skus": ids, "most": MOST_DEALS * 2})
        rows = cursor.fetchall()

    def deal(row: Sequence[Any]) -> Deal:
        sku_id, number, shop_id, at, currency, amount, quantity = row
        price = worth[sku_id]
        base = price.at(at) if price.currency == currency else None
        ratio = int(amount * 100 / (base * quantity)) if base else None
        known = shops is None or shop_id in shops
        return Deal(number if known else "", at, amount / quantity, currency, ratio)

    found = []
    for line in wanted:
        assert line.sku is not None
        bought = (line.sku.pk, order.number, order.shop_id, order.placed_at, order.currency)
        own = deal((*bought, line.amount, line.quantity))
        deals = {row[1]: deal(row) for row in rows if row[0] == line.sku.pk}
        base = worth[line.sku.pk].at(order.placed_at)
        found.append(Prices(line.sku.code, base, own, list(deals.values())[:MOST_DEALS]))
    return found


def _past(order_ids: Sequence[int]) -> list[Past]:
    """What people released, refused, returned or canceled of these orders, the latest first."""
    holds = list(
        OrderHold.objects.filter(order_id__in=order_ids, released_by__startswith="person:")
        .select_related("order")
        .defer("order__receiver_sealed")
        .order_by("-released_at")[:MOST_DECISIONS]
    )
    ids = {hold.released_by.partition(":")[2] for hold in holds}
    people = {
        str(user.pk): user.get_full_name() or user.get_username()
        for user in User.objects.filter(pk__in=[pk for pk in ids if pk.isdigit()])
    }
    records = AuditRecord.objects.filter(
        object_type=ORDER,
        object_id__in=order_ids,
        action__in=[Action.ORDER_CANCELED, Action.RELEASE_REFUSED, Action.HOLD_RETURNED],
        actor_kind="person",
    ).order_by("-pk")[:MOST_DECISIONS]
    told = list(records)
    numbers: dict[int, Any] = dict(
        SalesOrder.objects.filter(pk__in=[row.object_id for row in told]).values_list(
            "pk", "number"
        )
    )
    past = [
        Past(hold.order.number, hold.released_at,
             people.get(hold.released_by.partition(":")[2], ""),
             f"{Action.HOLD_RELEASED.label}：{hold.words}", hold.release_reason)
        for hold in holds
        if hold.released_at
    ] + [
        Past(numbers.get(row.object_id, ""), row.created_at, row.actor_name,
             row.get_action_display(), row.reason)
        for row in told
    ]  # fmt: skip
    return sorted(past, key=lambda one: one.at, reverse=True)[:MOST_DECISIONS]
