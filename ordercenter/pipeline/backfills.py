"""Reading a stretch of the past again, slice by slice, behind what happens now."""

import logging
from datetime import datetime, timedelta
from typing import Final

import httpx
from django.db import transaction
from django.db.models import F, Q

from channels_sync import services as channels
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import ConnectorError, Rejected, TryLater, Window
from channels_sync.models import Backfill, InboxMessage
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce
from ordercenter.pipeline.calling import LIST_PATIENCE, connector_for, own_fault

logger = logging.getLogger(__name__)
SLICE: Final = timedelta(minutes=30)
LEASE: Final = timedelta(minutes=3)
MOST_FAILURES: Final = 50
MOST_WAITING: Final = 2_000
"""With more told-again messages waiting in the inbox, the next slice waits too."""


def work_backfills(*, now: datetime | None = None) -> str:
    """Read the next slice of one back-fill; each commit leaves its progress behind.

    A worker that dies loses its lease and the slice is read again: the inbox knows it already.
    """
    now = now or clock_now()
    if _is_full():
        return "the inbox has enough to work on"
    row = _take(now)
    if row is None:
        return "nothing to read again"
    try:
        with make_client() as client:
            done = _read_slice(row, client)
    except ConnectorError as error:
        return _failed(row, error)
    except Exception as error:
        logger.exception("back-fill %s failed", row.pk)
        return _failed(row, TryLater(own_fault(error)))
    with transaction.atomic():
        announce("shops", backfill=row.pk)
    return f"back-fill {row.pk} has come to {done:%F %T}"


def _is_full() -> bool:
    waiting = InboxMessage.objects.filter(
        state__in=["new", "leased"], lane=InboxMessage.Lane.BULK
    ).order_by()
    return waiting[:MOST_WAITING].count() >= MOST_WAITING


@transaction.atomic
def _take(now: datetime) -> Backfill | None:
    due = Backfill.objects.filter(state__in=["waiting", "running"]).filter(
        Q(leased_until=None) | Q(leased_until__lte=now)
    )
    row = due.order_by("pk").select_for_update(skip_locked=True).first()
    if row is not None:
        row.state, row.leased_until = Backfill.State.RUNNING, now + LEASE
        row.save(update_fields=["state", "leased_until"])
    return row


def _read_slice(row: Backfill, client: httpx.Client) -> datetime:
    connector = connector_for(row.shop_id, client, LIST_PATIENCE)
    longest = min([SLICE, *(timedelta(seconds=f.max_window_seconds) for f in connector.feeds)])
    window = Window(row.position, min(row.position + longest, row.end))
    for feed in connector.feeds:
        for page in connector.pull(feed.code, window):
            new = channels.store(
                page.messages,
                source=InboxMessage.Source.BACKFILL,
                shop_id=row.shop_id,
                lane=InboxMessage.Lane.BULK,
            )
            Backfill.objects.filter(pk=row.pk).update(
                pages=F("pages") + 1, messages=F("messages") + len(page.messages),
                new=F("new") + new, leased_until=clock_now() + LEASE,
            )  # fmt: skip
    is_last = window.end >= row.end
    # Canceled meanwhile stays canceled.
    Backfill.objects.filter(pk=row.pk, state=Backfill.State.RUNNING).update(
        position=window.end,
        failures=0,
        error="",
        leased_until=None,
        state=Backfill.State.DONE if is_last else Backfill.State.RUNNING,
        done_at=clock_now() if is_last else None,
    )
    return window.end


def _failed(row: Backfill, error: ConnectorError) -> str:
    """Wait and go on from the same place; what the platform refuses for good ends it."""
    now = clock_now()
    wait = error.error.retry_after_seconds or min(300, 5 * 2 ** min(row.failures, 6))
    over = isinstance(error, Rejected) or row.failures + 1 >= MOST_FAILURES
    Backfill.objects.filter(pk=row.pk, state=Backfill.State.RUNNING).update(
        failures=F("failures") + 1,
        error=channels.storable(error.error.message, 300),
        leased_until=now + timedelta(seconds=wait),
        state=Backfill.State.FAILED if over else Backfill.State.RUNNING,
        done_at=now if over else None,
    )
    with transaction.atomic():
        announce("shops", backfill=row.pk)
    return f"back-fill {row.pk}: {error.error.code}"
