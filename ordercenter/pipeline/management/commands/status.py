"""How the center is doing, in one look: orders, lag, inbox, outbox, overdue work, workers."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import connection
from django.db.models import Count, F, Max, Q
from django_q.models import OrmQ

from channels_sync.models import InboxMessage, OutboundMessage, SyncCursor
from fulfillment.models import StageTask
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import OrderHold, SalesOrder


def _counts(rows: Any) -> dict[str, int]:
    return {" · ".join(str(part) for part in row[:-1]): row[-1] for row in rows}


def collect() -> dict[str, Any]:
    """Everything ``status`` prints, as plain data."""
    now = clock_now()
    tasks = StageTask.objects.filter(state=StageTask.State.OPEN)
    newest = SalesOrder.objects.values("shop").annotate(at=Max("received_at")).values_list(
        "shop__code", "at"
    )  # fmt: skip
    return {
        "orders": _counts(
            SalesOrder.objects.values_list("shop__code", "status").annotate(n=Count("id")).order_by(
                "shop__code", "status"
            )
        ),
        "open_holds": _counts(
            OrderHold.objects.open().values_list("kind", "code").annotate(n=Count("id")).order_by()
        ),
        "stages": _counts(tasks.values_list("stage").annotate(n=Count("id")).order_by()),
        "overdue": _counts(
            tasks.filter(due_at__lt=now).values_list("stage").annotate(n=Count("id")).order_by()
        ),
        "last_order_seconds_ago": {code: round((now - at).total_seconds()) for code, at in newest},
        "shops_failing": list(
            SyncCursor.objects.filter(failures__gt=0).values(
                "failures", "error_class", "error_code", "error_message", code=F("shop__code")
            )
        ),
        "inbox": InboxMessage.objects.aggregate(
            waiting=Count("id", filter=Q(state__in=["new", "leased"])),
            dead=Count("id", filter=Q(state="dead")),
        ),
        "outbox": OutboundMessage.objects.aggregate(
            waiting=Count("id", filter=Q(state="waiting")),
            dead=Count("id", filter=Q(state="dead")),
        ),
        "queue": {"waiting": OrmQ.objects.count()},
        "connections": _processes(),
    }  # fmt: skip


def _processes() -> dict[str, int]:
    """Connected processes by what they are (web, worker, queue), as the database sees them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT application_name, count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name LIKE 'ordercenter %%' "
            "AND pid <> pg_backend_pid() GROUP BY 1 ORDER BY 1"
        )
        return {name.removeprefix("ordercenter "): count for name, count in cursor.fetchall()}


class Command(BaseCommand):
    help = "一眼看清：订单、延迟、收发件箱、超时与进程"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *args: Any, **options: Any) -> None:
        found = collect()
        if options["as_json"]:
            self.stdout.write(json.dumps(found, ensure_ascii=False, default=str))
            return
        for name, value in found.items():
            self.stdout.write(name)
            rows = value.items() if isinstance(value, dict) else enumerate(value, 1)
            for key, figure in rows:
                self.stdout.write(f"  {key:32} {figure}")
