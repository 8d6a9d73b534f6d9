"""The steady worker: takes the inbox along the path, sends what is due, watches the clocks.

Loops side by side, each with its own connection: the inbox must not wait for a slow platform,
and what happens now not for what is read again of the past. One process runs them all, or
``--loops`` says which: threads of one process share one core, and an order's mark must not wait
for the telling of stock. Several processes of either kind may run; they share by row locks.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser
from django.db import close_old_connections, connection
from django_q.tasks import async_task

from channels_sync.models import SyncCursor
from ordercenter.core.bulk import collect_seldom
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline import (
    backfills,
    balances,
    couriers,
    holding,
    intake,
    jobs,
    mapping,
    presale,
    pulling,
    sending,
    shortages,
    stock_watch,
    telling,
    waking,
    watch,
    wishes,
)
from ordercenter.pipeline.calling import SideBySide
from ordercenter.pipeline.interception import acts, carriers, filling, planned
from ordercenter.pipeline.stages import settle_intents
from ordercenter.pipeline.tasks import send_notices

logger = logging.getLogger(__name__)
IDLE_SECONDS: Final = 0.1
Step = tuple[float, Callable[[], object]]


def nudge_polls() -> str:
    """Queue a poll of every shop that is due, and set its next one."""
    now = clock_now()
    due = SyncCursor.objects.filter(pk__in=pulling.due_shops(now=now))
    for cursor in due:
        cursor.next_due_at = now + timedelta(seconds=cursor.interval_seconds)
        cursor.save(update_fields=["next_due_at"])
        async_task(
            "ordercenter.pipeline.pulling.poll_shop",
            cursor.shop_id,
            q_options={"save": False, "timeout": pulling.POLL_SECONDS},
        )
    return f"{len(due)} polls queued"


_asking: Final = SideBySide(patience=1.0)
_telling: Final = SideBySide(patience=0.0, on_done=waking.wake)
_stock: Final = stock_watch.StockWatch()


def fetch_hints() -> str:
    """Ask for what pushes hinted at; a slow shop is left to itself."""
    return pulling.fetch_hints(lines=_asking)


def send_out() -> str:
    """Tell the platforms what is due; a shop whose calls take longer is left to itself."""
    return sending.send_out(lines=_telling)


OUTWARD: Final[Sequence[Step]] = (
    (0.3, fetch_hints),
    (2.0, send_notices),
    (5.0, couriers.void_waybills),
    (5.0, carriers.ask_carriers),
    (20.0, settle_intents),
)
STOCK: Final[Sequence[Step]] = ((5.0, _stock.step),)
SEND_SECONDS: Final = 0.1
"""How long the sender sleeps when nothing wakes it."""
BREATH_SECONDS: Final = 0.02
"""What commits within so long is told together."""
GATES: Final[Sequence[Step]] = ((0.5, planned.start_due), (5.0, acts.expire_due))
"""On their own: a time that was told is kept, whatever else there is to do."""
BACKFILL: Final[Sequence[Step]] = ((0.5, backfills.work_backfills),)
HOUSEKEEPING: Final[Sequence[Step]] = (
    (1.0, nudge_polls),
    (1.0, filling.sweep),
    (2.0, jobs.link_audit),
    (3.0, jobs.tell_alarms),
    (2.0, jobs.look_again),
    (5.0, jobs.expire_reservations),
    (5.0, holding.expire_holds),
    (5.0, mapping.map_exact),
    (5.0, jobs.work_unmapped),
    (5.0, shortages.work_shortages),
    (10.0, shortages.promise_waiting),
    (10.0, presale.follow_arrivals),
    (60.0, shortages.remind_shortages),
    (10.0, watch.watch_lines),
    (15.0, jobs.tie_refunds),
    (5.0, balances.follow_balances),
    (15.0, telling.answer_unknown),
    (5.0, wishes.lapse),
    (15.0, jobs.escalate),
)


class Command(BaseCommand):
    help = "持续处理收件箱、发件箱与时限"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="把现有工作做完就退出")
        parser.add_argument(
            "--loops", nargs="+", choices=LOOPS, default=LOOPS, metavar="LOOP",
            help=f"只运行这些循环（默认全部）：{' '.join(LOOPS)}",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        collect_seldom()
        if options["once"]:
            while intake.run().messages:
                pass
            every = (*GATES, *OUTWARD, *STOCK, (0.0, send_out), *BACKFILL, *HOUSEKEEPING)
            for _, step in every:
                step()
            while intake.run().messages:
                pass
            return
        stop = threading.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.set())
        threads = [
            threading.Thread(target=LOOPS[name], args=(stop,), name=name, daemon=True)
            for name in dict.fromkeys(options["loops"])
        ]
        for thread in threads:
            thread.start()
        stop.wait()
        for thread in threads:
            thread.join(timeout=5)


def _take_in(stop: threading.Event) -> None:
    """Work the inbox off as it fills; sleep a moment when it is empty."""
    pace = intake.Pace()
    while not stop.is_set():
        began = time.monotonic()
        try:
            done = intake.run(limit=pace.limit).messages
            pace.took(done, time.monotonic() - began)
            if done:
                continue
        except Exception:
            logger.exception("intake failed, trying again")
            connection.close()
            stop.wait(1)
        stop.wait(IDLE_SECONDS)


def _send(stop: threading.Event) -> None:
    """Tell the platforms what is queued, as soon as it is and their last calls have come back."""
    threading.Thread(target=waking.listen, args=(stop,), name="waking", daemon=True).start()
    while not stop.is_set():
        try:
            send_out()
        except Exception:
            logger.exception("sending failed, trying again")
            connection.close()
            stop.wait(1)
        close_old_connections()
        waking.woken(SEND_SECONDS)
        stop.wait(BREATH_SECONDS)


def _loop(steps: Sequence[Step], stop: threading.Event) -> None:
    """Run each step every so many seconds; a step that fails is logged and comes round again."""
    due = [0.0] * len(steps)
    while not stop.is_set():
        for index, (every, step) in enumerate(steps):
            if time.monotonic() < due[index]:
                continue
            due[index] = time.monotonic() + every
            try:
                step()
            except Exception:
                logger.exception("%s failed, trying again", step.__name__)
                connection.close()
        close_old_connections()
        stop.wait(IDLE_SECONDS)


LOOPS: Final[Mapping[str, Callable[[threading.Event], None]]] = {
    "intake": _take_in,
    "sending": _send,
    "gates": partial(_loop, GATES),
    "outward": partial(_loop, OUTWARD),
    "stock": partial(_loop, STOCK),
    "backfill": partial(_loop, BACKFILL),
    "housekeeping": partial(_loop, HOUSEKEEPING),
}
"""The loops by name; what a process runs of them, it runs side by side."""
