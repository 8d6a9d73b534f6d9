"""What the board shows: figures only, no receiver, read in twelve questions.

Counts go over open orders, over the last day and over open rows, each by its own index, so
they cost the same with a thousand old orders as with a million. Test orders are kept out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import CharField, Count, Exists, F, Max, Min, OuterRef, Q, Subquery, Value
from django.db.models.functions import Cast, Coalesce, Greatest, TruncMinute

from fulfillment.models import ParcelStop, Stage, StageTask
from ordercenter.catalog.models import Channel, Shop
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.replica import reading
from ordercenter.notices import alarms
from ordercenter.orders import models as orders
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import OPEN, Disposition, HoldKind, OrderStatus, Tier
from ordercenter.pipeline.gift_rate import GiftMatch, gift_match
from ordercenter.pipeline.health import MANY_FAILURES, Level, is_silent, level
from ordercenter.pipeline.proof import Badge, badge

# Written as the partial index ``order_open`` writes it, so that the planner takes it.
IS_OPEN: Final = ~Q(status__in=["shipped", "signed", "canceled"])
UNPROCESSED: Final = OPEN - {OrderStatus.ROUTED}
"""Before the warehouse has it. From there on the clocks of the stages count."""
LATE: Final = timedelta(hours=2)
STUCK: Final = timedelta(hours=6)
SPARK_MINUTES: Final = 60
RUSH_ROWS: Final = 10
INTERCEPTION_ROWS: Final = 8
ALARM_ROWS: Final = 3
COMMAND: Final = "command"
"""Marks what stops orders by the province, or the shop: it comes first while it runs."""
HOLD_ROWS: Final = 7
SHOP_ROWS: Final = 8


@dataclass(frozen=True, slots=True)
class StatusRow:
    """Open orders of one status. ``late`` counts the paid ones nobody has processed in time."""

    label: str
    count: int
    held: int
    unpaid: int
    late: int
    stuck: int
    oldest: timedelta | None

    @property
    def level(self) -> Level:
        return level(warn=self.late > 0, bad=self.stuck > 0)


@dataclass(frozen=True, slots=True)
class StageRow:
    """Open tasks of one stage: past their time, and past twice their time."""

    label: str
    count: int
    overdue: int
    far_overdue: int
    oldest: timedelta | None

    @property
    def level(self) -> Level:
        return level(warn=self.overdue > 0, bad=self.far_overdue > 0)


@dataclass(frozen=True, slots=True)
class HoldRow:
    """Open holds of one reason, in words."""

    label: str
    tier: str
    tier_label: str
    count: int
    oldest: timedelta

    @property
    def level(self) -> Level:
        return level(warn=self.oldest > LATE, bad=self.oldest > STUCK or self.tier == Tier.FREEZE)


@dataclass(frozen=True, slots=True)
class ShopRow:
    """How the orders of one shop come in. Ages are None where there is nothing yet."""

    name: str
    channel: str
    today: int
    last_order: timedelta | None
    last_ok: timedelta | None
    polled: bool
    failures: int
    silent: bool

    @property
    def level(self) -> Level:
        return level(warn=self.failures > 0, bad=self.silent or self.failures >= MANY_FAILURES)


@dataclass(frozen=True, slots=True)
class Interception:
    """An order or a parcel that was stopped, a command that stops them while it runs, or an alarm
    nobody has taken note of."""

    number: str
    words: str
    state: str
    at: datetime
    level: Level


@dataclass(frozen=True, slots=True)
class RushRow:
    number: str
    shop: str
    status: str
    held: bool
    waiting: timedelta


@dataclass(frozen=True, slots=True)
class Lines:
    """The two ends of the wire: what waits there, and what was given up."""

    shipped_today: int
    write_back_waiting: int
    write_back_oldest: timedelta | None
    write_back_dead: int
    inbox_waiting: int
    inbox_oldest: timedelta | None
    inbox_dead: int
    rule_names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Board:
    """Everything on the board as of ``drawn_at``."""

    drawn_at: datetime
    placed_today: int
    canceled_today: int
    statuses: Sequence[StatusRow]
    stages: Sequence[StageRow]
    all_holds: Sequence[HoldRow]
    """Every reason there is; the board has room for the first."""
    all_shops: Sequence[ShopRow]
    """The worst first, likewise."""
    interceptions: Sequence[Interception]
    rush: Sequence[RushRow]
    lines: Lines
    minutes: Sequence[int]
    proof: Badge
    """The last full check of the stock."""
    gifts: GiftMatch
    """Of the gifts today's shipped orders owe, how many lie in their parcels."""

    @property
    def open_count(self) -> int:
        return sum(row.count for row in self.statuses)

    @property
    def held_count(self) -> int:
        return sum(row.held for row in self.statuses)

    @property
    def held_level(self) -> Level:
        levels = {row.level for row in self.all_holds}
        return level(warn=Level.WARN in levels, bad=Level.BAD in levels)

    @property
    def more_holds(self) -> int:
        return len(self.all_holds[HOLD_ROWS:])

    @property
    def holds(self) -> Sequence[HoldRow]:
        return self.all_holds[:HOLD_ROWS]

    @property
    def shops(self) -> Sequence[ShopRow]:
        return self.all_shops[:SHOP_ROWS]

    @property
    def more_shops(self) -> int:
        return len(self.all_shops[SHOP_ROWS:])

    @property
    def late_count(self) -> int:
        return sum(row.late for row in self.statuses)

    @property
    def stuck_count(self) -> int:
        return sum(row.stuck for row in self.statuses)

    @property
    def overdue_count(self) -> int:
        return sum(row.overdue for row in self.stages)

    @property
    def far_overdue_count(self) -> int:
        return sum(row.far_overdue for row in self.stages)


@dataclass(frozen=True, slots=True)
class Day:
    """The last 24 hours of orders, and which of them belong to today."""

    placed: Mapping[int, int]
    last_order_at: Mapping[int, datetime]
    canceled: int


def board(now: datetime) -> Board:
    """Read the whole board."""
    day = _day(now)
    lines = _lines(now)
    holds = _holds(now, lines.rule_names)
    return Board(
        drawn_at=now,
        placed_today=sum(day.placed.values()),
        canceled_today=day.canceled,
        statuses=_statuses(now),
        stages=_stages(now),
        all_holds=holds,
        all_shops=_shops(now, day),
        interceptions=[*_alarms(now), *_interceptions()][:INTERCEPTION_ROWS],
        rush=_rush(now),
        lines=lines,
        minutes=_orders_a_minute(now),
        proof=badge(now=now),
        gifts=gift_match(midnight(now), now + timedelta(seconds=1)),
    )


def midnight(now: datetime) -> datetime:
    """When today began for the business."""
    return now.astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)


def _age(now: datetime, moment: datetime | None) -> timedelta | None:
    return None if moment is None else max(now - moment, timedelta())


def _real_orders() -> Any:
    return SalesOrder.objects.filter(is_test=False)


def _is_held() -> Exists:
    return Exists(OrderHold.objects.open().filter(order=OuterRef("pk")))


def _statuses(now: datetime) -> list[StatusRow]:
    # An order waits for us since it was paid, but not from before we knew of it.
    waits = Q(paid_at__isnull=False, status__in=UNPROCESSED)
    rows = (
        _real_orders()
        .filter(IS_OPEN)
        .annotate(since=Greatest("paid_at", "received_at"), is_held=_is_held())
        .values("status")
        .annotate(
            count=Count("pk"),
            held=Count("pk", filter=Q(is_held=True)),
            unpaid=Count("pk", filter=Q(paid_at=None)),
            late=Count("pk", filter=waits & Q(since__lt=now - LATE)),
            stuck=Count("pk", filter=waits & Q(since__lt=now - STUCK)),
            oldest=Min("since"),
        )
    )
    found = {row["status"]: row for row in rows}
    return [_status_row(status, found.get(status), now) for status in OrderStatus if status in OPEN]


def _status_row(status: OrderStatus, row: Mapping[str, Any] | None, now: datetime) -> StatusRow:
    if row is None:
        return StatusRow(str(status.label), 0, 0, 0, 0, 0, None)
    return StatusRow(
        label=str(status.label),
        count=row["count"],
        held=row["held"],
        unpaid=row["unpaid"],
        late=row["late"],
        stuck=row["stuck"],
        oldest=_age(now, row["oldest"]),
    )


def _stages(now: datetime) -> list[StageRow]:
    rows = (
        StageTask.objects.filter(state=StageTask.State.OPEN, order__is_test=False)
        .annotate(far_due_at=F("due_at") + (F("due_at") - F("opened_at")))
        .values("stage")
        .annotate(
            count=Count("pk"),
            overdue=Count("pk", filter=Q(due_at__lt=now)),
            far_overdue=Count("pk", filter=Q(far_due_at__lt=now, due_at__lt=now)),
            oldest=Min("opened_at"),
        )
    )
    found = {row["stage"]: row for row in rows}
    return [_stage_row(stage, found.get(stage), now) for stage in Stage]


def _stage_row(stage: Stage, row: Mapping[str, Any] | None, now: datetime) -> StageRow:
    if row is None:
        return StageRow(str(stage.label), 0, 0, 0, None)
    return StageRow(
        label=str(stage.label),
        count=row["count"],
        overdue=row["overdue"],
        far_overdue=row["far_overdue"],
        oldest=_age(now, row["oldest"]),
    )


def _holds(now: datetime, rule_names: Mapping[str, str]) -> list[HoldRow]:
    rows = (
        OrderHold.objects.open()
        .filter(order__is_test=False)
        .values("kind", "code", "tier")
        .annotate(count=Count("pk"), oldest=Min("opened_at"))
        .order_by("-tier", "-count", "code")
    )
    return [
        HoldRow(
            label=_reason(row["kind"], row["code"], rule_names),
            tier=row["tier"],
            tier_label=str(Tier(row["tier"]).label),
            count=row["count"],
            oldest=max(now - row["oldest"], timedelta()),
        )
        for row in rows
    ]


def _reason(kind: str, code: str, rule_names: Mapping[str, str]) -> str:
    if kind == HoldKind.RULE:
        return rule_names.get(code) or code
    return str(HoldKind(kind).label)


def _day(now: datetime) -> Day:
    rows = (
        _real_orders()
        .filter(placed_at__gte=now - timedelta(days=1))
        .values("shop_id", "status")
        .annotate(
            today=Count("pk", filter=Q(placed_at__gte=midnight(now))), last=Max("received_at")
        )
    )
    placed: dict[int, int] = {}
    last: dict[int, datetime] = {}
    canceled = 0
    for row in rows:
        shop = row["shop_id"]
        placed[shop] = placed.get(shop, 0) + row["today"]
        last[shop] = max(last.get(shop, row["last"]), row["last"])
        canceled += row["today"] if row["status"] == OrderStatus.CANCELED else 0
    return Day(placed, last, canceled)


def _shops(now: datetime, day: Day) -> list[ShopRow]:
    shops = Shop.objects.filter(is_active=True).select_related("cursor")
    rows = [_shop_row(shop, now, day) for shop in shops]
    order = {Level.BAD: 0, Level.WARN: 1, Level.GOOD: 2}
    return sorted(rows, key=lambda row: order[row.level])


def _shop_row(shop: Shop, now: datetime, day: Day) -> ShopRow:
    cursor = getattr(shop, "cursor", None)
    last_ok = _age(now, cursor.last_ok_at) if cursor else None
    return ShopRow(
        name=shop.name,
        channel=str(Channel(shop.channel).label),
        today=day.placed.get(shop.pk, 0),
        last_order=_age(now, day.last_order_at.get(shop.pk)),
        last_ok=last_ok,
        polled=cursor is not None,
        failures=cursor.failures if cursor else 0,
        silent=cursor is not None and is_silent(last_ok, cursor.interval_seconds),
    )


def _alarms(now: datetime) -> list[Interception]:
    return [
        Interception("告警", row.title, f"{row.count} 单", row.last_at,
                     level(warn=True, bad=row.urgency == Tier.FREEZE))
        for row in alarms.standing(now=now, most=ALARM_ROWS)
    ]  # fmt: skip


def _interceptions() -> list[Interception]:
    columns = ["asked_at", "parcel__order__number", "reason", "outcome", "where", "tier"]
    stops = (
        ParcelStop.objects.filter(parcel__order__is_test=False, interception=None)
        .annotate(tier=Value(""))
        .order_by("-asked_at")
        .values_list(*columns)[:INTERCEPTION_ROWS]
    )
    holds = (
        OrderHold.objects.filter(tier__gte=Tier.REVIEW, order__is_test=False, interception=None)
        .order_by("-opened_at")
        .values_list("opened_at", "order__number", "words", "disposition", "released_by", "tier")
    )[:INTERCEPTION_ROWS]
    held = (
        OrderHold.objects.open()
        .filter(interception=OuterRef("pk"))
        .order_by()
        .values("interception")
        .annotate(count=Cast(Count("pk"), CharField()))
        .values("count")
    )
    commands = (
        orders.Interception.objects.filter(state=orders.Interception.State.ACTIVE)
        .annotate(
            number=Value("指令"), held=Coalesce(Subquery(held), Value("0")),
            where=Value(""), tier=Value(COMMAND),
        )
        .order_by("-started_at")
        .values_list("started_at", "number", "words", "held", "where", "tier")
    )[:INTERCEPTION_ROWS]  # fmt: skip
    rows = sorted(
        stops.union(holds, commands, all=True),
        key=lambda row: (row[5] == COMMAND, row[0]),
        reverse=True,
    )
    return [_interception(row) for row in rows[:INTERCEPTION_ROWS]]


def _interception(row: Sequence[Any]) -> Interception:
    at, number, words, state, where, tier = row
    if tier == COMMAND:
        return Interception(number, words, f"拦下 {state} 单", at, level(warn=True, bad=False))
    if not tier:
        outcome = ParcelStop.Outcome(state)
        late = outcome is ParcelStop.Outcome.TOO_LATE
        place = str(ParcelStop.Where(where).label)
        return Interception(
            number, words, f"{place} · {outcome.label}", at, level(warn=not late, bad=late)
        )
    label = "已解除" if where else str(Disposition(state).label)
    frozen = tier == Tier.FREEZE and not where
    return Interception(
        number,
        words,
        f"{Tier(tier).label} · {label}",
        at,
        level(warn=not where, bad=frozen),
    )


def _rush(now: datetime) -> list[RushRow]:
    orders = (
        _real_orders()
        .filter(IS_OPEN, is_rush=True)
        .annotate(is_held=_is_held())
        .order_by("-priority", "placed_at")
        .values_list("number", "shop__name", "status", "is_held", "placed_at")[:RUSH_ROWS]
    )
    return [
        RushRow(number, shop, str(OrderStatus(status).label), held, max(now - at, timedelta()))
        for number, shop, status, held, at in orders
    ]


_LINES: Final = """
SELECT
  (SELECT count(*) FROM fulfillment_parcel p JOIN orders_salesorder o ON o.id = p.order_id
    WHERE p.shipped_at >= %(midnight)s AND NOT o.is_test),
  w.count, w.oldest,
  (SELECT count(*) FROM channels_sync_outboundmessage WHERE state = 'dead'),
  i.count, i.oldest,
  (SELECT count(*) FROM channels_sync_inboxmessage WHERE state = 'dead'),
  (SELECT jsonb_object_agg(rule->>'code', rule->>'name')
    FROM risk_ruleset s, jsonb_array_elements(s.rules) rule WHERE s.is_live)
FROM
  (SELECT count(*), min(created_at) AS oldest
    FROM channels_sync_outboundmessage WHERE state = 'waiting') w,
  (SELECT count(*), min(received_at) AS oldest
    FROM channels_sync_inboxmessage WHERE state IN ('new', 'leased')) i
"""


def _lines(now: datetime) -> Lines:
    with reading().cursor() as cursor:
        cursor.execute(_LINES, {"midnight": midnight(now)})
        row = cursor.fetchone()
    assert row is not None  # a SELECT of aggregates has one row
    return Lines(
        shipped_today=row[0],
        write_back_waiting=row[1],
        write_back_oldest=_age(now, row[2]),
        write_back_dead=row[3],
        inbox_waiting=row[4],
        inbox_oldest=_age(now, row[5]),
        inbox_dead=row[6],
        rule_names=json.loads(row[7] or "{}"),
    )


def _orders_a_minute(now: datetime) -> list[int]:
    """Orders placed in each of the last whole minutes, oldest first."""
    this_minute = now.replace(second=0, microsecond=0)
    first = this_minute - timedelta(minutes=SPARK_MINUTES)
    rows = (
        _real_orders()
        .filter(placed_at__gte=first, placed_at__lt=this_minute)
        .annotate(minute=TruncMinute("placed_at"))
        .values("minute")
        .annotate(count=Count("pk"))
    )
    counts = {row["minute"]: row["count"] for row in rows}
    minutes = [first + timedelta(minutes=offset) for offset in range(SPARK_MINUTES)]
    return [counts.get(minute, 0) for minute in minutes]
