"""Safety stock: how many units of each SKU are kept back from all shops, and how that came out.

A rule of the SKU goes before the default rule. While a promotion runs (``hot_until``) a share of
what is on hand is kept back, whatever the method. By volatility, ``Z`` standard deviations of
the daily sales are, so that a usual day's surprise still finds stock; of goods that hardly sell
a small share is. Floor and cap of the rule bound all of it.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from statistics import fmean, pstdev
from typing import Any, Final

from django.db import connection, transaction
from django.utils.translation import gettext as _

from inventory.models import SafetyStock, StockBuffer, StockPolicy
from inventory.moves import note_moved
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now

DAYS: Final = 28
"""Whole days of sales that are looked at, today's not among them."""
Z: Final = 1.65
"""Of a hundred days' sales, so many deviations above the mean cover 95."""
SLOW_DAYS: Final = 4
"""Sold on fewer days than these, a SKU has no deviation to speak of."""
Method = SafetyStock.Method


@dataclass(frozen=True, slots=True)
class Sales:
    """What was sold of a SKU a day, over the ``DAYS`` before ``as_of``."""

    as_of: str
    mean: float = 0.0
    sigma: float = 0.0
    sold_days: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """The safety stock's rule for one SKU, and what it is applied to."""

    sku_id: int
    method: str
    value: Decimal
    floor: int
    cap: int | None
    hot_until: datetime | None
    on_hand: int


def units_of(
    rule: Rule, sales: Sales, policy: StockPolicy, *, now: datetime
) -> tuple[int, dict[str, Any]]:
    """(units to keep back, the basis they came out of)."""
    basis: dict[str, Any] = {"on_hand": rule.on_hand}
    if rule.method == Method.VOLATILITY:
        basis |= _told(sales)
    if rule.hot_until is not None and rule.hot_until > now:
        basis |= {"way": "hot", "percent": str(policy.hot_percent),
                  "until": rule.hot_until.isoformat()}  # fmt: skip
        wanted = _share(rule.on_hand, policy.hot_percent)
    elif rule.method == Method.UNITS:
        basis |= {"way": "units"}
        wanted = math.ceil(rule.value)
    elif rule.method == Method.PERCENT:
        basis |= {"way": "percent", "percent": str(rule.value)}
        wanted = _share(rule.on_hand, rule.value)
    elif sales.sold_days < SLOW_DAYS:
        basis |= {"way": "slow", "percent": str(policy.slow_percent)}
        wanted = _share(rule.on_hand, policy.slow_percent)
    else:
        basis |= {"way": "volatility", "z": Z}
        wanted = math.ceil(round(Z * sales.sigma, 6))
    units = max(wanted, rule.floor)
    if rule.cap is not None:
        units = min(units, rule.cap)
    if units != wanted:
        basis |= {"wanted": wanted, "bound": "floor" if units > wanted else "cap"}
    return units, basis


def _share(units: int, percent: Decimal) -> int:
    return math.ceil(units * percent / 100)


def _told(sales: Sales) -> dict[str, Any]:
    return {"as_of": sales.as_of, "days": DAYS, "mean": round(sales.mean, 2),
            "sigma": round(sales.sigma, 2), "sold_days": sales.sold_days}  # fmt: skip


@transaction.atomic
def compute_buffers(sku_ids: Collection[int] | None = None, *, now: datetime | None = None) -> int:
    """Bring the safety stock of these SKUs (None: all) up to date; return how many changed.

    What changed is noted as moved, so that the shops' figures follow. Repeatable. Sales are
    counted once a day and SKU; the basis keeps them.
    """
    now = now or clock_now()
    policy = StockPolicy.current()
    rules = _rules(sku_ids)
    known = {row.sku_id: row for row in _stored(sku_ids)}
    sales = _sales(
        [rule.sku_id for rule in rules if rule.method == Method.VOLATILITY], known, now=now
    )
    nothing = Sales(as_of="")
    changed = []
    for rule in rules:
        units, basis = units_of(rule, sales.get(rule.sku_id, nothing), policy, now=now)
        was = known.pop(rule.sku_id, None)
        if was is None or (was.units, was.basis) != (units, basis):
            changed.append(
                StockBuffer(sku_id=rule.sku_id, units=units, basis=basis, computed_at=now)
            )
    StockBuffer.objects.bulk_create(
        changed,
        update_conflicts=True,
        unique_fields=["sku"],
        update_fields=["units", "basis", "computed_at"],
        batch_size=1000,
    )
    StockBuffer.objects.filter(pk__in=known).delete()  # no rule says anything of them any more
    touched = [row.sku_id for row in changed] + list(known)
    note_moved_skus(touched)
    return len(touched)


def note_moved_skus(sku_ids: Collection[int] | None) -> None:
    """What shops may show of these SKUs (None: of all) has changed without any unit moving."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM inventory_stocklevel WHERE %s OR sku_id = ANY(%s)",
            [sku_ids is None, list(sku_ids or ())],
        )
        note_moved(row[0] for row in cursor.fetchall())


def _rules(sku_ids: Collection[int] | None) -> list[Rule]:
    """The rule of each SKU that has one, by itself or by default; in the order of the SKUs."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT s.id, r.method, r.value, r.floor, r.cap, r.hot_until, "
            "coalesce((SELECT sum(l.on_hand) FROM inventory_stocklevel l "
            "JOIN inventory_virtualwarehouse v ON v.id = l.virtual_warehouse_id "
            "JOIN inventory_warehouse w ON w.id = v.warehouse_id AND w.is_active "
            "WHERE l.sku_id = s.id), 0)::int "
            "FROM catalog_sku s CROSS JOIN LATERAL (SELECT * FROM inventory_safetystock c "
            "WHERE c.is_active AND (c.sku_id = s.id OR c.sku_id IS NULL) "
            "ORDER BY c.sku_id NULLS LAST LIMIT 1) r "
            "WHERE s.is_active AND (%s OR s.id = ANY(%s)) ORDER BY s.id",
            [sku_ids is None, list(sku_ids or ())],
        )
        return [Rule(*row) for row in cursor.fetchall()]


def _stored(sku_ids: Collection[int] | None) -> list[StockBuffer]:
    rows = StockBuffer.objects.order_by("pk").select_for_update(no_key=True)
    return list(rows if sku_ids is None else rows.filter(pk__in=sku_ids))


def _sales(
    sku_ids: Collection[int], known: Mapping[int, StockBuffer], *, now: datetime
) -> dict[int, Sales]:
    """Daily sales of each SKU: out of its last basis where that is of today, else counted."""
    today = now.astimezone(SHANGHAI).date()
    found: dict[int, Sales] = {}
    for pk in sku_ids:
        basis = known[pk].basis if pk in known else {}
        if basis.get("as_of") == today.isoformat():
            found[pk] = Sales(basis["as_of"], basis["mean"], basis["sigma"], basis["sold_days"])
    missing = [pk for pk in sku_ids if pk not in found]
    sold = _sold_by_day(missing, today) if missing else {}
    for pk in missing:
        days = [sold.get((pk, today - timedelta(days=n)), 0) for n in range(1, DAYS + 1)]
        found[pk] = Sales(
            today.isoformat(), fmean(days), round(pstdev(days), 2), sum(map(bool, days))
        )
    return found


def _sold_by_day(sku_ids: Collection[int], today: date) -> dict[tuple[int, date], int]:
    end = datetime(today.year, today.month, today.day, tzinfo=SHANGHAI)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT l.sku_id, (o.placed_at AT TIME ZONE 'Asia/Shanghai')::date, "
            "sum(l.quantity)::int FROM orders_salesorder o "
            "JOIN orders_orderline l ON l.order_id = o.id AND l.sku_id = ANY(%s) "
            "WHERE o.placed_at >= %s AND o.placed_at < %s AND o.status <> 'canceled' "
            "AND NOT l.is_dropped GROUP BY 1, 2",
            [list(sku_ids), end - timedelta(days=DAYS), end],
        )
        return {(sku, day): units for sku, day, units in cursor.fetchall()}


def in_words(buffer: StockBuffer) -> str:
    """How the safety stock of a SKU came out, for people."""
    told = buffer.basis
    words: str = _WORDS[told["way"]]() % told
    if told.get("bound") == "floor":
        words += _("，不足下限，按下限 %(units)d 件") % {"units": buffer.units}
    elif told.get("bound") == "cap":
        words += _("，超过上限，按上限 %(units)d 件") % {"units": buffer.units}
    else:
        words += _("，保留 %(units)d 件") % {"units": buffer.units}
    return words


_WORDS: Final[Mapping[str, Callable[[], str]]] = {
    "hot": lambda: _("大促热销，现有 %(on_hand)d 件的 %(percent)s%%"),
    "units": lambda: _("固定件数"),
    "percent": lambda: _("现有 %(on_hand)d 件的 %(percent)s%%"),
    "slow": lambda: _(
        "近 %(days)d 天只有 %(sold_days)d 天有销量，按慢销：现有 %(on_hand)d 件的 %(percent)s%%"
    ),
    "volatility": lambda: _(
        "近 %(days)d 天日均售 %(mean)s 件，标准差 %(sigma)s，取 %(z)s 倍标准差"
    ),
}
