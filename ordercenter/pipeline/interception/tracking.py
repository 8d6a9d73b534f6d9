"""What became of every order of an interception: held, stopped at the bench, or too late."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection
from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from fulfillment.models import ParcelStop
from ordercenter.audit.models import AuditRecord
from ordercenter.core.errors import NotFound
from ordercenter.core.policy import AnyUser, sees_all
from ordercenter.orders.models import Interception, OrderHold, SalesOrder
from ordercenter.orders.states import OrderStatus
from ordercenter.pipeline.interception.filling import OBJECT

A_PAGE: Final = 50
MOST_MET: Final = 50


class Place(TextChoices):
    """Where an interception met an order."""

    HELD = "held", _("已挂起")
    BENCH = "bench", _("打包台拦下")
    LATE = "late", _("已交快递")
    FREE = "free", _("已恢复")


@dataclass(frozen=True, slots=True)
class Figures:
    """How an interception stands. Orders, and parcels where it says so."""

    held: int = 0
    """Held now, those stopped at the bench among them."""
    at_bench: int = 0
    """Of these, parcels that were picked or packed already."""
    free: int = 0
    """Let go of again, by the end or because they were not inside any more."""
    late: int = 0
    """Parcels that had left."""
    asked: int = 0
    """Of these, the carrier has taken the request."""
    refused: int = 0
    waiting: int = 0
    """Of these, the carrier has still to be asked."""


def figures(interception_ids: Collection[int]) -> dict[int, Figures]:
    """The figures of each of these interceptions, in two questions."""
    ids = list(interception_ids)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT interception_id, count(*) FILTER (WHERE released_at IS NULL), "
            "count(*) FILTER (WHERE released_at IS NOT NULL) FROM orders_orderhold "
            "WHERE interception_id = ANY(%s) GROUP BY interception_id",
            [ids],
        )
        holds = {pk: (held, free) for pk, held, free in cursor.fetchall()}
        cursor.execute(
            "SELECT interception_id, count(*) FILTER (WHERE \"where\" = 'bench'), "
            "count(*) FILTER (WHERE \"where\" = 'carrier'), "
            "count(*) FILTER (WHERE call_back = 'asked'), "
            "count(*) FILTER (WHERE call_back = 'refused'), "
            "count(*) FILTER (WHERE call_back = 'waiting') FROM fulfillment_parcelstop "
            "WHERE interception_id = ANY(%s) GROUP BY interception_id",
            [ids],
        )
        stopped = {pk: rest for pk, *rest in cursor.fetchall()}
    found = {}
    for pk in ids:
        held, free = holds.get(pk, (0, 0))
        at_bench, late, asked, refused, waiting = stopped.get(pk, (0, 0, 0, 0, 0))
        found[pk] = Figures(held, at_bench, free, late, asked, refused, waiting)
    return found


def running() -> list[Interception]:
    """What stops orders now, the newest first. For everybody: it says nothing of any order."""
    return list(Interception.objects.filter(state=Interception.State.ACTIVE).order_by("-pk"))


@dataclass(frozen=True, slots=True)
class Tracked:
    """One order of an interception, or one parcel of it that had left."""

    order_id: int
    number: str
    shop: str
    status: str
    place: Place
    parcel: str
    since: datetime
    until: datetime | None
    words: str
    """The carrier's answer, where one was asked; else why it was let go."""
    call_back: str
    """A ``ParcelStop.CallBack``; empty where no carrier is concerned."""

    @property
    def status_label(self) -> str:
        return str(OrderStatus(self.status).label)

    @property
    def call_back_label(self) -> str:
        return str(ParcelStop.CallBack(self.call_back).label) if self.call_back else ""


_TRACKED: Final = """
    SELECT * FROM (
        SELECT o.id, o.number, s.name, o.status,
               CASE WHEN h.released_at IS NOT NULL THEN 'free'
                    WHEN b.number IS NOT NULL THEN 'bench' ELSE 'held' END AS place,
               coalesce(b.number, ''), h.opened_at, h.released_at, h.release_reason, '', h.id AS seq
        FROM orders_orderhold h
        JOIN orders_salesorder o ON o.id = h.order_id
        JOIN catalog_shop s ON s.id = o.shop_id
        LEFT JOIN LATERAL (
            SELECT p.number FROM fulfillment_parcel p JOIN fulfillment_parcelstop t
                ON t.parcel_id = p.id AND t.interception_id = h.interception_id
                AND t."where" = 'bench'
            WHERE p.order_id = o.id ORDER BY p.id LIMIT 1) b ON true
        WHERE h.interception_id = %(pk)s
        UNION ALL
        SELECT o.id, o.number, s.name, o.status, 'late', p.number, t.asked_at, t.done_at,
               t.call_back_words, t.call_back, t.id
        FROM fulfillment_parcelstop t
        JOIN fulfillment_parcel p ON p.id = t.parcel_id
        JOIN orders_salesorder o ON o.id = p.order_id
        JOIN catalog_shop s ON s.id = o.shop_id
        WHERE t.interception_id = %(pk)s AND t."where" = 'carrier'
    ) tracked WHERE (%(place)s = '' OR place = %(place)s)
      AND (%(all)s OR EXISTS (SELECT 1 FROM orders_salesorder v JOIN catalog_shopassignment a
                              ON a.shop_id = v.shop_id AND a.user_id = %(user)s
                              WHERE v.id = tracked.id))
    ORDER BY place = 'late' DESC, place = 'bench' DESC, seq LIMIT %(limit)s OFFSET %(offset)s
"""


def tracked(
    interception_id: int, *, user: AnyUser, place: str = "", page: int = 1, size: int = A_PAGE
) -> Sequence[Tracked]:
    """A page of its orders as far as the user may know of them: too late first, then the bench."""
    with connection.cursor() as cursor:
        cursor.execute(
            _TRACKED,
            {"pk": interception_id, "place": place, "all": sees_all(user), "user": user.pk,
             "limit": size, "offset": max(0, page - 1) * size},
        )  # fmt: skip
        return [
            Tracked(pk, number, shop, status, Place(where), parcel, since, until, words, call)
            for pk, number, shop, status, where, parcel, since, until, words, call, _
            in cursor.fetchall()
        ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened, and who did it."""

    at: datetime
    what: str
    who: str


def trail(interception_id: int, order_id: int, *, user: AnyUser) -> list[Step]:
    """What happened between an interception and one order, the oldest first.

    Raises NotFound for an order the user may not know of.
    """
    if not SalesOrder.objects.visible_to(user).filter(pk=order_id).exists():
        raise NotFound(what=f"订单 {order_id}")
    steps = [
        Step(row.created_at, str(row.get_action_display()), row.actor_name)
        for row in AuditRecord.objects.filter(object_type=OBJECT, object_id=interception_id)
    ]
    for hold in OrderHold.objects.filter(interception=interception_id, order=order_id):
        steps.append(Step(hold.opened_at, str(_("挂起")), str(hold.placed_by.get("name", ""))))
        if hold.released_at:
            words = str(_("恢复：%(why)s") % {"why": hold.release_reason})
            steps.append(Step(hold.released_at, words, hold.released_by))
    stops = ParcelStop.objects.filter(interception=interception_id, parcel__order=order_id)
    for stop in stops.select_related("parcel"):
        steps += _of_stop(stop)
    return sorted(steps, key=lambda step: step.at)


@dataclass(frozen=True, slots=True)
class Met:
    """One thing that an interception did to one order."""

    step: Step
    interception_id: int
    is_parcel: bool = False
    version: int | None = None
    """The version of the order that opened or closed a hold."""
    is_end: bool = False


def met_by(order_id: int) -> list[Met]:
    """What interceptions did to an order, out of their own rows: an order stopped among a hundred
    thousand has no record of its own of it. The latest ``MOST_MET`` of holds and of parcels.
    """
    found = []
    holds = OrderHold.objects.filter(order=order_id, interception__isnull=False)
    for hold in holds.order_by("-pk")[:MOST_MET]:
        assert hold.interception_id is not None
        who = str(hold.placed_by.get("name", ""))
        step = Step(hold.opened_at, hold.words, who)
        found.append(Met(step, hold.interception_id, version=hold.opened_version))
        if hold.released_at:
            step = Step(hold.released_at, hold.release_reason, hold.released_by)
            found.append(Met(step, hold.interception_id, version=hold.closed_version, is_end=True))
    stops = ParcelStop.objects.filter(parcel__order=order_id, interception__isnull=False)
    for stop in stops.select_related("parcel").order_by("-pk")[:MOST_MET]:
        assert stop.interception_id is not None
        found += [Met(step, stop.interception_id, is_parcel=True) for step in _of_stop(stop)]
    return found


def _of_stop(stop: ParcelStop) -> list[Step]:
    facts: dict[str, Any] = {
        "parcel": stop.parcel.number, "where": stop.get_where_display(),
        "outcome": stop.get_outcome_display(),
    }  # fmt: skip
    steps = [
        Step(stop.asked_at, str(_("包裹 %(parcel)s：%(where)s · %(outcome)s") % facts),
             stop.asked_by)
    ]  # fmt: skip
    if stop.call_back and stop.done_at:
        facts["answer"] = f"{stop.get_call_back_display()} {stop.call_back_words}".strip()
        steps.append(
            Step(stop.done_at, str(_("包裹 %(parcel)s：%(answer)s") % facts), str(_("快递")))
        )
    return steps
