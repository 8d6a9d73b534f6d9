"""Every nastiness at once, with processes killed on the way: do the books agree?"""

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import close_old_connections, connection

from channels_sync.models import FeedCursor, InboxMessage, OutboundMessage, SyncCursor
from fulfillment.models import Stage, StageTask
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import OrderCenterError
from ordercenter.pipeline import stages
from ordercenter.pipeline.drill import books
from ordercenter.pipeline.drill.center import Center
from ordercenter.pipeline.drill.desk import Desk, Say
from ordercenter.pipeline.invariants.run import run_all

logger = logging.getLogger(__name__)
VICTIMS: Final = ("ordercenter.asgi:application", "manage.py work", "manage.py qcluster")
SETTLE: Final = timedelta(minutes=15)
LOOK: Final = 2.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What the rehearsal is to be like."""

    minutes: float = 10.0
    rate: float = 20.0
    kills: int = 3
    pack: float = 2.0
    """Parcels a second that robots pack and ship."""
    level: str = "all"


@dataclass(slots=True)
class Result:
    """What came of it."""

    seconds: float = 0.0
    sold: int = 0
    killed: dict[str, int] = field(default_factory=dict)
    packed: int = 0
    lag: dict[str, float] = field(default_factory=dict)
    drained_seconds: float = 0.0
    open_inbox: int = 0
    dead_inbox: int = 0
    dead_outbox: int = 0
    broken: list[str] = field(default_factory=list)
    comparison: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, Any] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        return bool(self.comparison.get("equal")) and not self.broken and not self.open_inbox


def rehearse(center: Center, wish: Wish, *, say: Say) -> Result:
    """Run the rehearsal on a center that is up. Takes ``wish.minutes`` and the time to settle."""
    result = Result()
    control = Desk(center.sandbox)
    stop = threading.Event()
    packer = threading.Thread(target=_pack, args=(wish.pack, stop, result), daemon=True)
    began = time.monotonic()
    control.post("/control/nasty", {"level": wish.level})
    control.post("/control/rate", {"rate": wish.rate})
    packer.start()
    _storm(center, wish, result, say=say)
    control.post("/control/rate", {"rate": 0, "still": True})
    control.post("/control/nasty", {"level": "off"})
    result.seconds = round(time.monotonic() - began, 1)
    stop.set()
    packer.join(timeout=60)
    over = clock_now()
    say(f"风暴结束（{result.seconds:.0f} 秒），等待收尾")
    result.drained_seconds = _settle(over, say=say)
    _measure(center, result)
    return result


def _storm(center: Center, wish: Wish, result: Result, *, say: Say) -> None:
    """Let it blow; kill the web server and a worker ``wish.kills`` times, evenly apart."""
    until = time.monotonic() + wish.minutes * 60
    pause = wish.minutes * 60 / (wish.kills + 1)
    for turn in range(wish.kills):
        time.sleep(pause)
        for what in VICTIMS:
            count = center.kill(what)
            result.killed[what] = result.killed.get(what, 0) + bool(count)
        say(f"第 {turn + 1} 次 SIGKILL：{result.killed}")
    time.sleep(max(0.0, until - time.monotonic()))


def _pack(rate: float, stop: threading.Event, result: Result) -> None:
    """Pick, label and ship what is to be picked, as people with scanners do."""
    if rate <= 0:
        return
    user = User.objects.get(username="zhuguan")
    actor = Actor.person(user)
    while not stop.wait(1 / rate):
        try:
            result.packed += _pack_one(user, actor)
        except OrderCenterError:
            continue  # held, canceled, or a carrier that does not answer: the next one
        except Exception:
            logger.exception("packing failed")
            close_old_connections()
            connection.close()


def _pack_one(user: User, actor: Actor) -> int:
    open_ones = StageTask.objects.filter(state=StageTask.State.OPEN)
    pack = open_ones.filter(stage=Stage.PACK).order_by("?").first()
    if pack is None:
        pick = open_ones.filter(stage=Stage.PICK).order_by("?").first()
        if pick is None:
            return 0
        stages.finish_task(pick.pk, user=user, actor=actor)
        pack = open_ones.filter(stage=Stage.PACK, parcel=pick.parcel_id).first()
        if pack is None:
            return 0
    assert pack.parcel_id is not None
    waybill = stages.request_label(pack.parcel_id, user=user, actor=actor)
    stages.ship_parcel(pack.parcel_id, user=user, actor=actor, tracking_number=waybill.number)
    return 1


def _settle(over: datetime, *, say: Say) -> float:
    """Wait until everything is worked, read deep once more, and told; at most SETTLE."""
    began = time.monotonic()
    said = 0.0
    while time.monotonic() - began < SETTLE.total_seconds():
        waiting = InboxMessage.objects.filter(state__in=["new", "leased"]).count()
        untold = OutboundMessage.objects.filter(state="waiting").exclude(kind="stock").count()
        polled = SyncCursor.objects.filter(shop__is_active=True, shop__credential__isnull=False)
        unread = FeedCursor.objects.filter(shop__in=polled.values("shop_id")).exclude(
            deep_at__gt=over
        )
        if not waiting and not untold and not unread.exists():
            break
        if time.monotonic() - said > 30:  # noqa: PLR2004 - seconds between two words
            said = time.monotonic()
            say(f"待处理 {waiting}，待告知 {untold}，待补读 {unread.count()}")
        time.sleep(LOOK)
        close_old_connections()
    return round(time.monotonic() - began, 1)


def _measure(center: Center, result: Result) -> None:
    result.open_inbox = InboxMessage.objects.filter(state__in=["new", "leased"]).count()
    result.dead_inbox = InboxMessage.objects.filter(state="dead").count()
    result.dead_outbox = OutboundMessage.objects.filter(state="dead").count()
    result.lag = _lag()
    compared = books.compare(center.sandbox)
    result.sold = compared.orders
    result.comparison = compared.as_json()
    result.faults = books.faults(center.sandbox)
    result.broken = [
        f"{outcome.code}: {outcome.broken[0]}" for outcome in run_all() if outcome.broken
    ]


def _lag() -> dict[str, float]:
    """Seconds from placed (or paid, where the platform shows no sooner) to taken in."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY "
            "extract(epoch FROM received_at - greatest(placed_at, CASE WHEN s.channel IN "
            "('jd', 'pinduoduo') THEN paid_at END))) "
            "FROM orders_salesorder o JOIN catalog_shop s ON s.id = o.shop_id"
        )
        found = cursor.fetchone()[0] or [0, 0, 0]
    return {name: round(float(value), 2) for name, value in zip(("p50", "p95", "p99"), found,
                                                                strict=True)}  # fmt: skip
