"""What the shortage pages show: who waits for what, what is free, what is to come."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import connection
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.db.models.lookups import IsNull

from inventory import arrivals
from inventory.models import InboundLine, StockLevel
from ordercenter.catalog.models import Shop, Sku
from ordercenter.console.parting_facts import rests
from ordercenter.console.selectors import open_holds
from ordercenter.core.policy import AnyUser, sees_all
from ordercenter.orders.models import OrderHold, OrderLine, SalesOrder
from ordercenter.orders.states import OPEN, HoldKind
from ordercenter.pipeline import promises
from ordercenter.pipeline.promises import GOES_WITH, Outlook

A_PAGE: Final = 50
MOST_GROUPS: Final = 60
MOST_PAGES: Final = 400
FREE: Final = F("on_hand") - F("reserved") - F("locked")

# What the open holds say is short (``short``) or was promised out of arrivals (``promise``), and
# what waits of orders that leave in parts.
_GROUPS: Final = """
    WITH lack AS (
        SELECT h.order_id, h.code, e ->> 0 AS sku, (e ->> 1)::int AS units
        FROM orders_orderhold h
        JOIN orders_salesorder o ON o.id = h.order_id AND o.status = 'mapped'
        CROSS JOIN LATERAL jsonb_array_elements(
            coalesce(h.evidence -> 'short', h.evidence -> 'promise')) e
        WHERE h.kind = 'shortage' AND h.released_at IS NULL
          AND (%(shops)s::bigint[] IS NULL OR o.shop_id = ANY(%(shops)s))
          AND (%(shop)s = 0 OR o.shop_id = %(shop)s)
        UNION ALL
        SELECT l.order_id, 'rest', k.code, l.quantity
        FROM orders_orderline l JOIN catalog_sku k ON k.id = l.sku_id
        JOIN orders_salesorder o ON o.id = l.order_id
            AND o.status IN ('reserved', 'cleared', 'routed')
        WHERE l.leaves = 'later' AND NOT l.is_dropped
          AND (%(shops)s::bigint[] IS NULL OR o.shop_id = ANY(%(shops)s))
          AND (%(shop)s = 0 OR o.shop_id = %(shop)s)
    )
    SELECT k.id, k.code, k.name, count(DISTINCT lack.order_id),
           coalesce(sum(units) FILTER (WHERE lack.code <> 'presale'), 0),
           coalesce(sum(units) FILTER (WHERE lack.code = 'presale'), 0)
    FROM lack JOIN catalog_sku k ON k.code = lack.sku
    GROUP BY k.id ORDER BY 5 DESC, 6 DESC, k.code LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Goods that are announced, and how many of them nobody has been promised."""

    number: str
    at: datetime
    units: int
    open_units: int
    place: str

    @classmethod
    def of(cls, line: InboundLine) -> "Arrival":
        rest = arrivals.rest_of(line)
        paper = line.inbound
        return cls(paper.number, paper.expected_at, rest, max(0, rest - line.promised),
                   str(paper.virtual_warehouse))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """One SKU that orders wait for."""

    code: str
    name: str
    orders: int
    units: int
    """Units wanted by orders that are promised nothing."""
    promised: int
    free: int
    coming: Sequence[Arrival]

    @property
    def missing(self) -> int:
        """Units that neither lie free nor are to come for those who are promised nothing."""
        return max(0, self.units - self.free)


@dataclass(frozen=True, slots=True)
class Row:
    """One order that waits."""

    order: SalesOrder
    words: str
    is_promised: bool
    is_late: bool


@dataclass(frozen=True, slots=True)
class Queue:
    """One view of the queue."""

    groups: Sequence[Group]
    rows: Sequence[Row]
    total: int
    promised: int
    balances: int
    rests: int
    number: int
    has_next: bool
    shops: Sequence[Shop] = field(default_factory=tuple)


def waiting(user: AnyUser, *, sku: str = "", shop: int = 0) -> QuerySet[OrderHold]:
    """The open shortages of the user's orders, who is served first on top; the unpaid last."""
    holds = open_holds(user).filter(kind=HoldKind.SHORTAGE, order__status="mapped")
    holds = holds.exclude(code=GOES_WITH[1])
    if shop:
        holds = holds.filter(order__shop=shop)
    if sku:
        lines = OrderLine.objects.filter(order=OuterRef("order"), sku__code=sku, is_dropped=False)
        holds = holds.filter(Exists(lines))
    since = Coalesce("order__deposit_paid_at", "order__paid_at")
    return (
        holds.alias(since=since, is_unpaid=IsNull(since, True))
        .select_related("order__shop")
        .defer("order__receiver_sealed")
        .order_by("is_unpaid", "-order__priority", "since", "order_id")
    )


def queue(user: AnyUser, *, sku: str, shop: int, number: int, state: str, now: datetime) -> Queue:
    """A page of the queue with what its goods look like. A fixed number of questions."""
    every = waiting(user, sku=sku, shop=shop)
    chosen = every.filter(code="presale") if state == "promised" else every
    if state == "open":
        chosen = every.exclude(code="presale")
    start = (number - 1) * A_PAGE
    holds = list(chosen[start : start + A_PAGE + 1])
    return Queue(
        groups=_groups(user, shop),
        rows=[_row(hold, now) for hold in holds[:A_PAGE]],
        total=every.count(),
        promised=every.filter(code="presale").count(),
        balances=balances(user).count(),
        rests=rests(user, sku=sku, shop=shop).count(),
        number=number,
        has_next=len(holds) > A_PAGE,
        shops=_shops(user),
    )


def _row(hold: OrderHold, now: datetime) -> Row:
    promised_at = hold.order.promised_at
    return Row(
        order=hold.order,
        words=hold.words,
        is_promised=hold.code == "presale",
        is_late=promised_at is not None and promised_at < now,
    )


def _shops(user: AnyUser) -> list[Shop]:
    shops = Shop.objects.filter(is_active=True)
    return list(shops if sees_all(user) else shops.filter(shopassignment__user=user.pk))


def _groups(user: AnyUser, shop: int) -> list[Group]:
    mine = None if sees_all(user) else [one.pk for one in _shops(user)]
    with connection.cursor() as cursor:
        cursor.execute(_GROUPS, {"shops": mine, "shop": shop, "limit": MOST_GROUPS})
        rows = cursor.fetchall()
    ids = [row[0] for row in rows]
    free, coming = _free(ids), arrivals.announced(ids)
    return [
        Group(code, name, orders, units, promised, free.get(pk, 0),
              [Arrival.of(line) for line in coming.get(pk, ())])
        for pk, code, name, orders, units, promised in rows
    ]  # fmt: skip


def _free(sku_ids: Collection[int]) -> dict[int, int]:
    levels = StockLevel.objects.filter(sku_id__in=sku_ids).order_by()
    return dict(levels.values_list("sku_id").annotate(n=Sum(FREE)))


def balances(user: AnyUser) -> QuerySet[SalesOrder]:
    """Orders whose deposit is paid and whose balance is not, the oldest first."""
    return (
        SalesOrder.objects.visible_to(user)
        .filter(Q(deposit_paid_at__isnull=False, paid_at=None), status__in=OPEN)
        .select_related("shop")
        .defer("receiver_sealed")
        .order_by("deposit_paid_at", "pk")
    )


@dataclass(frozen=True, slots=True)
class Balance:
    """What is still to be paid, and whether it has been for too long."""

    order: SalesOrder
    due: Decimal
    is_late: bool


def balance_of(order: SalesOrder, now: datetime) -> Balance:
    assert order.deposit_paid_at is not None
    late = order.deposit_paid_at + timedelta(days=order.shop.balance_days) < now
    return Balance(order, order.payable_amount - order.paid_amount, late)


# --- one order ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LineFacts:
    """One line that is to be sent, and where its goods are."""

    line: OrderLine
    free: int
    coming: Sequence[Arrival]

    @property
    def is_short(self) -> bool:
        return self.free < self.line.quantity


def lines_of(order: SalesOrder) -> list[LineFacts]:
    """The order's goods, none dropped, with what is free in the best single place."""
    lines = list(
        order.lines.filter(sku__isnull=False, is_dropped=False).select_related("sku", "bundle_line")
    )
    ids = {line.sku_id for line in lines if line.sku_id}
    best: dict[int, int] = {}
    levels = StockLevel.objects.filter(sku_id__in=ids).values_list("sku_id", FREE)
    for sku, free in levels:
        best[sku] = max(best.get(sku, 0), free)
    coming = arrivals.announced(sorted(ids))
    return [
        LineFacts(
            line, best.get(line.sku_id or 0, 0),
            [Arrival.of(one) for one in coming.get(line.sku_id or 0, ())],
        )
        for line in lines
    ]  # fmt: skip


def outlook(order: SalesOrder, lines: Sequence[LineFacts], now: datetime) -> Outlook | None:
    """What waiting for arrivals would come to."""
    wanted: dict[int, int] = {}
    for one in lines:
        if one.line.sku_id:
            wanted[one.line.sku_id] = wanted.get(one.line.sku_id, 0) + one.line.quantity
    return promises.outlook(wanted, shop_id=order.shop_id, province=order.province, now=now)


@dataclass(frozen=True, slots=True)
class SwapFacts:
    """What sending other goods for a line would mean."""

    line: OrderLine
    sku: Sku
    free: int
    worth: Decimal
    """Base price of the new goods less what the buyer gave for the line."""

    @property
    def is_enough(self) -> bool:
        return self.free >= self.line.quantity


def swap_facts(lines: Sequence[LineFacts], line_id: int, code: str) -> SwapFacts | None:
    """None where there is no such line or no such goods in sale."""
    line = next((one.line for one in lines if one.line.pk == line_id), None)
    sku = Sku.objects.filter(code=code.strip(), is_active=True).first() if line else None
    if line is None or sku is None:
        return None
    free = StockLevel.objects.filter(sku=sku).order_by(-FREE).values_list(FREE, flat=True).first()
    return SwapFacts(line, sku, free or 0, sku.base_price * line.quantity - line.amount)


@dataclass(frozen=True, slots=True)
class DropFacts:
    """What sending the order without some lines would mean."""

    lines: Sequence[OrderLine]
    back: Decimal
    """What the buyer is to get back."""
    cancels: bool
    """Nothing that was bought would be left."""


def drop_facts(order: SalesOrder, line_ids: Collection[int]) -> DropFacts | None:
    """None where no line of the order was chosen. A part stands for its whole bundle."""
    every = list(order.lines.all())
    wanted = {one.bundle_line_id or one.pk for one in every if one.pk in line_ids}
    chosen = [one for one in every if one.pk in wanted and not one.is_dropped]
    if not chosen:
        return None
    left = [
        one
        for one in every
        if one.sku_id and not one.is_dropped and not {one.pk, one.bundle_line_id} & wanted
    ]
    back = sum((one.amount for one in chosen), Decimal(0)) if has_money(order) else Decimal(0)
    return DropFacts(chosen, back, all(one.is_gift for one in left))


def has_money(order: SalesOrder) -> bool:
    return (
        order.paid_at is not None
        or order.channel_status == "deposit_paid"
        or order.balance_of_id is not None
    )


def promised_to(order_ids: Collection[int]) -> Mapping[int, list[dict[str, Any]]]:
    """What each order is promised of which arrival."""
    found: dict[int, list[dict[str, Any]]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT p.order_id, k.code, p.quantity, i.number, i.expected_at "
            "FROM inventory_presalepromise p "
            "JOIN inventory_inboundline l ON l.id = p.inbound_line_id "
            "JOIN inventory_inbound i ON i.id = l.inbound_id JOIN catalog_sku k ON k.id = l.sku_id "
            "WHERE p.order_id = ANY(%s) AND p.state = 'active' ORDER BY i.expected_at, p.id",
            [list(order_ids)],
        )
        for order_id, code, units, number, at in cursor.fetchall():
            row = {"code": code, "units": units, "number": number, "at": at}
            found.setdefault(order_id, []).append(row)
    return found
