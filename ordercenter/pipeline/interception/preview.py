"""What an interception would stop, before it does: counts, money, stages, promises. Reads only."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import connection, transaction

from fulfillment.models import Parcel, Stage
from ordercenter.orders.states import OPEN, OrderStatus
from ordercenter.pipeline.interception.commands import Condition
from ordercenter.pipeline.interception.gates import where

SAMPLES: Final = 8
ON_ITS_WAY: Final = timedelta(days=3)
"""How long ago a parcel may have been handed over for its carrier to be asked."""
CURRENCY: Final = "CNY"

_COUNTS: Final = """
    WITH m AS MATERIALIZED (
        SELECT o.id, o.number, o.shop_id, o.status, o.payable_amount, o.currency, o.promised_at,
               o.province, o.city
        FROM orders_salesorder o WHERE o.status = ANY(%s) AND {where}
    ), sums AS (
        SELECT grouping(status) AS g1, grouping(currency) AS g2, grouping(shop_id) AS g3,
               status, currency, shop_id, count(*) AS n, sum(payable_amount) AS amount,
               count(*) FILTER (WHERE promised_at < coalesce(%s::timestamptz, 'infinity')) AS late
        FROM m GROUP BY GROUPING SETS ((status), (currency), (shop_id), ())
    ), boxes AS (
        SELECT p.state, count(*) AS n, count(w.id) AS labels
        FROM m JOIN fulfillment_parcel p ON p.order_id = m.id AND p.state = ANY(%s)
        LEFT JOIN fulfillment_waybill w ON w.parcel_id = p.id AND w.state = 'live'
        WHERE m.status = 'routed' GROUP BY p.state
    )
    SELECT 'status', status, n, amount, '' FROM sums WHERE g1 = 0
    UNION ALL SELECT 'money', currency, n, amount, '' FROM sums WHERE g2 = 0
    UNION ALL
    SELECT 'shop', s.name, n, amount, s.code
    FROM sums JOIN catalog_shop s ON s.id = sums.shop_id WHERE g3 = 0
    UNION ALL SELECT 'promise', '', late, 0, '' FROM sums WHERE g1 + g2 + g3 = 3
    UNION ALL SELECT 'parcel', state, n, 0, '' FROM boxes
    UNION ALL SELECT 'label', '', labels, 0, '' FROM boxes
    UNION ALL
    SELECT 'stage', t.stage, count(*), 0, ''
    FROM m JOIN fulfillment_stagetask t ON t.order_id = m.id AND t.state = 'open' GROUP BY t.stage
    UNION ALL
    SELECT 'held', '', count(*), 0, '' FROM m WHERE id IN (
        SELECT h.order_id FROM orders_orderhold h WHERE h.released_at IS NULL)
    UNION ALL
    (SELECT 'sample', m.number, 0, m.payable_amount,
            s.name || chr(31) || m.status || chr(31) || m.currency || chr(31) ||
            m.province || m.city
     FROM m JOIN catalog_shop s ON s.id = m.shop_id ORDER BY m.payable_amount DESC, m.id LIMIT %s)
"""
_ROOM: Final = "SET LOCAL jit = off; SET LOCAL work_mem = '64MB'"
"""Compiling takes longer than counting, and 100,000 orders are to be joined in memory."""
_WHOLE: Final = "SET LOCAL enable_nestloop = off"
"""Lines have no index by SKU and are read whole; looking each of their orders up, which is what
the planner would do, takes five times as long."""
_GONE: Final = """
    SELECT count(DISTINCT o.id), count(*) FROM fulfillment_parcel p
    JOIN orders_salesorder o ON o.id = p.order_id
    WHERE p.shipped_at >= %s AND p.state = 'shipped' AND {where}
"""


@dataclass(frozen=True, slots=True)
class Part:
    """So many orders of one kind."""

    label: str
    count: int
    value: Decimal = Decimal(0)
    code: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One of the orders, of those worth most."""

    number: str
    shop: str
    status: str
    amount: Decimal
    currency: str
    place: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be stopped if it started now."""

    count: int
    money: tuple[Part, ...]
    """By currency."""
    statuses: tuple[Part, ...]
    stages: tuple[Part, ...]
    """By stage: open tasks, of which an order of two parcels has two."""
    shops: tuple[Part, ...]
    parcels: tuple[Part, ...]
    """By state: planned, picked, packed."""
    labels: int
    """Parcels whose waybill has its number."""
    packed: int
    gone_orders: int
    """Orders whose parcels were handed over lately: too late, the carrier can only be asked."""
    gone_parcels: int
    broken: int
    """Orders promised to leave before the end; without an end, all that are promised a time."""
    held_already: int
    samples: tuple[Sample, ...]

    @property
    def value(self) -> Decimal:
        """In yuan; other currencies stand beside it in ``money``."""
        return sum((part.value for part in self.money if part.label == CURRENCY), Decimal(0))

    def stored(self) -> dict[str, Any]:
        """As JSON: money as text."""
        plain: dict[str, Any] = _plain(asdict(self))
        return {**plain, "value": str(self.value)}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def preview(condition: Condition, *, ends_at: datetime | None, now: datetime) -> Preview:
    """Count what ``condition`` stops. Two questions, however many orders."""
    sql, params = where(condition)
    open_ones = sorted(status.value for status in OPEN)
    waiting = [Parcel.State.PLANNED.value, Parcel.State.PICKED.value, Parcel.State.PACKED.value]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_ROOM)
        if condition["skus"] or condition["not_skus"]:
            cursor.execute(_WHOLE)
        asked = [open_ones, *params, ends_at, waiting, SAMPLES]
        cursor.execute(_COUNTS.format(where=sql), asked)
        rows = cursor.fetchall()
        cursor.execute(_GONE.format(where=sql), [now - ON_ITS_WAY, *params])
        gone_orders, gone_parcels = cursor.fetchone()
    return _read(rows, gone_orders, gone_parcels)


def _read(rows: Sequence[tuple[Any, ...]], gone_orders: int, gone_parcels: int) -> Preview:
    found: dict[str, list[Part]] = {}
    for what, label, count, value, code in rows:
        found.setdefault(what, []).append(Part(label, count, Decimal(value or 0), code))

    def parts(what: str, labels: Mapping[str, str] | None = None) -> tuple[Part, ...]:
        some = sorted(found.get(what, ()), key=lambda part: (-part.count, part.label))
        return tuple(
            Part(labels.get(part.label, part.label), part.count, part.value, part.label)
            if labels else part
            for part in some
        )  # fmt: skip

    def one(what: str) -> int:
        return sum(part.count for part in found.get(what, ()))

    return Preview(
        count=one("status"),
        money=parts("money"),
        statuses=parts("status", _labels(OrderStatus)),
        stages=parts("stage", _labels(Stage)),
        shops=parts("shop"),
        parcels=parts("parcel", _labels(Parcel.State)),
        labels=one("label"),
        packed=sum(part.count for part in found.get("parcel", ()) if part.label == "packed"),
        gone_orders=gone_orders,
        gone_parcels=gone_parcels,
        broken=one("promise"),
        held_already=one("held"),
        samples=tuple(_sample(part) for part in found.get("sample", ())),
    )


def _labels(words: Any) -> dict[str, str]:
    return {value: str(label) for value, label in words.choices}


def _sample(part: Part) -> Sample:
    shop, status, currency, place = part.code.split(chr(31))
    label = str(OrderStatus(status).label)
    return Sample(part.label, shop, label, part.value, currency, place)
