"""The far end of the path: what the network is asked for.

Nothing here holds a transaction over a call. Each function finds its own work, may run twice
or on two workers at once, and one shop's trouble never holds up another's.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Q

from channels_sync import services as channels
from channels_sync.connectors.base import make_client
from channels_sync.contracts import (
    Connector,
    ConnectorError,
    MessageKind,
    TryLater,
    Unreadable,
    Window,
)
from channels_sync.models import InboxMessage, SyncCursor
from channels_sync.services import Claimed
from fulfillment import traces
from fulfillment.carriers.account import speaking
from fulfillment.contracts import Carrier, CarrierError, CarrierRejected
from fulfillment.models import CarrierAccount, Parcel, Waybill
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce
from ordercenter.pipeline.calling import connector_for, in_parallel, own_fault
from ordercenter.pipeline.intake import reader

logger = logging.getLogger(__name__)
OVERLAP: Final = timedelta(minutes=2)
FIRST_LOOK_BACK: Final = timedelta(minutes=30)
POLL_LEASE: Final = timedelta(seconds=110)
LINES: Final = 8
AT_ONCE: Final = 200
CALL_OVER: Final = timedelta(minutes=2)
"""After that no call for a number is still on its way."""


def poll_shop(shop_id: int, *, now: datetime | None = None) -> str:
    """Read what changed since the cursor into the inbox, window by window.

    One poll a shop at a time: the cursor row is leased. The position moves once every page of
    a window is stored; any failure leaves the cursor where it was and is shown there.
    """
    now = now or clock_now()
    if not _lease(shop_id, now=now):
        return "another worker reads this shop"
    stored = 0
    try:
        with make_client() as client:
            connector = connector_for(shop_id, client)
            for window in _windows(shop_id, connector, now=now):
                stored += _read_window(shop_id, connector, window)
    except ConnectorError as error:
        return _poll_failed(shop_id, error, now=now)
    except Exception as error:
        logger.exception("polling shop %s failed", shop_id)
        return _poll_failed(shop_id, TryLater(own_fault(error)), now=now)
    row = SyncCursor.objects.get(pk=shop_id)
    SyncCursor.objects.filter(pk=shop_id).update(
        leased_until=None,
        failures=0,
        error_class="",
        error_code="",
        error_message="",
        last_ok_at=clock_now(),
        next_due_at=now + timedelta(seconds=row.interval_seconds),
    )
    if row.failures:
        announce_outside("shops")
    return f"{stored} new messages"


def _poll_failed(shop_id: int, error: ConnectorError, *, now: datetime) -> str:
    channels.cursor_failed(shop_id, error, now=now)
    announce_outside("shops")
    return f"{type(error).__name__} {error.error.code}"


def announce_outside(topic: str) -> None:
    with transaction.atomic():
        announce(topic)


def _lease(shop_id: int, *, now: datetime) -> bool:
    with transaction.atomic():
        row = SyncCursor.objects.select_for_update().filter(pk=shop_id).first()
        if row is None or (row.leased_until and row.leased_until > now):
            return False
        row.leased_until = now + POLL_LEASE
        row.save(update_fields=["leased_until"])
    return True


def _windows(shop_id: int, connector: Connector, *, now: datetime) -> Iterable[Window]:
    """The windows between the cursor and now, each overlapping the last.

    The last one reaches up to now so that an order is seen at once; what is not yet settled is
    read again, because the cursor stays behind it.
    """
    position = SyncCursor.objects.values_list("position", flat=True).get(pk=shop_id)
    end = now
    longest = timedelta(seconds=connector.max_window_seconds)
    start = position - OVERLAP
    while start < end:
        stop = min(start + longest, end)
        yield Window(start, stop)
        if stop >= end:
            return
        start = stop - OVERLAP


def _read_window(shop_id: int, connector: Connector, window: Window) -> int:
    stored = 0
    for page in connector.pull(window):
        stored += channels.store(page.messages, source=InboxMessage.Source.POLL, shop_id=shop_id)
    settled = min(window.end, clock_now() - timedelta(seconds=connector.settle_seconds))
    with transaction.atomic():
        row = SyncCursor.objects.select_for_update().get(pk=shop_id)
        if settled > row.position:
            row.position = settled
            row.leased_until = clock_now() + POLL_LEASE
            row.save(update_fields=["position", "leased_until"])
    return stored


def due_shops(*, now: datetime) -> list[int]:
    """Shops whose next poll is due and that nobody reads just now."""
    return list(
        SyncCursor.objects.filter(shop__is_active=True, next_due_at__lte=now)
        .exclude(leased_until__gt=now)
        .values_list("shop_id", flat=True)
    )


def is_stale(shop_id: int, *, now: datetime) -> bool:
    """Whether the shop's poll is due, or the nudge that should have run it came to nothing."""
    row = SyncCursor.objects.get(pk=shop_id)
    if row.failures and row.next_due_at > now:
        return False
    since = row.last_ok_at or row.position
    return row.next_due_at <= now or now - since > timedelta(seconds=2 * row.interval_seconds)


def fetch_hints(*, now: datetime | None = None) -> str:
    """Ask the platforms for the orders their pushes hinted at; one question an order."""
    now = now or clock_now()
    with transaction.atomic():
        claimed = channels.claim([MessageKind.EVENT], limit=AT_ONCE, now=now)
        InboxMessage.objects.filter(pk__in=[m.id for m in claimed]).update(
            state=InboxMessage.State.LEASED, leased_until=now + channels.LEASE
        )
    by_shop: dict[int, list[Claimed]] = defaultdict(list)
    for message in claimed:
        if message.shop_id is not None:
            by_shop[message.shop_id].append(message)
    fetched = in_parallel(
        [lambda s=shop, m=messages: _fetch(s, m) for shop, messages in by_shop.items()]  # type: ignore[misc]
    )
    return f"{fetched} orders fetched for {len(claimed)} hints"


def _fetch(shop_id: int, hints: Sequence[Claimed]) -> int:
    by_number = _numbers(hints)
    fetched = 0
    with make_client() as client:
        for number, ids in by_number.items():
            try:
                message = connector_for(shop_id, client).fetch(number)
            except ConnectorError as error:
                words = f"{error.error.klass}: {error.error.code} {error.error.message}"
                channels.try_again(ids, words, now=clock_now())
                continue
            except Exception as error:
                logger.exception("fetching for shop %s failed", shop_id)
                channels.try_again(ids, own_fault(error).message, now=clock_now())
                continue
            with transaction.atomic():
                channels.store([message], source=InboxMessage.Source.FETCH, shop_id=shop_id)
                channels.done(ids, now=clock_now())
            fetched += 1
    return fetched


def _numbers(hints: Sequence[Claimed]) -> dict[str, list[int]]:
    """Which hints name which order. A hint that cannot be read is parked, one without an order
    is done."""
    by_number: dict[str, list[int]] = defaultdict(list)
    unreadable: dict[int, str] = {}
    for hint in hints:
        try:
            number = (
                hint.channel_number or reader(hint.channel).read_event(hint.body).channel_number
            )
        except Unreadable as reason:
            unreadable[hint.id] = str(reason)
        except Exception as error:
            logger.exception("hint %s cannot be read", hint.id)
            unreadable[hint.id] = f"处理失败：{type(error).__name__}"
        else:
            by_number[number or ""].append(hint.id)
    channels.park(unreadable, now=clock_now())
    channels.done(by_number.pop("", []), now=clock_now())
    return by_number


def void_waybills(*, now: datetime | None = None) -> str:
    """Give the numbers of void labels back to their carriers, so that nobody bills them."""
    now = now or clock_now()
    waiting = Waybill.objects.filter(
        Q(voided_at__lte=now) & ~Q(number="") | Q(voided_at__lte=now - CALL_OVER),
        state=Waybill.State.VOID,
        void_done_at=None,
    ).order_by("voided_at")[:AT_ONCE]
    done = 0
    for waybill in waiting:
        account = CarrierAccount.objects.filter(code=waybill.carrier, is_active=True).first()
        if account is None:
            continue
        try:
            with make_client() as client:
                done += _give_back(waybill, speaking(account, client))
        except CarrierError as error:
            # What the carrier has refused for good is not asked again; the words stay.
            final = clock_now() if isinstance(error, CarrierRejected) else None
            words = channels.storable(error.fault.message, 300)
            Waybill.objects.filter(pk=waybill.pk).update(error=words, void_done_at=final)
            continue
        Waybill.objects.filter(pk=waybill.pk).update(void_done_at=clock_now(), error="")
    return f"{done} waybills given back"


def _give_back(waybill: Waybill, carrier: Carrier) -> bool:
    """Return a void number. Where none came back from the call, the carrier may know of one."""
    number = waybill.number
    if not number:
        found = carrier.find(waybill.client_reference)
        if found is None:
            return False
        number = found.number
        Waybill.objects.filter(pk=waybill.pk, number="").update(number=number)
    carrier.cancel(waybill.client_reference, number)
    return True


def ask_traces(*, now: datetime | None = None, quiet: timedelta = timedelta(minutes=10)) -> str:
    """Ask the carriers about parcels they have not told us anything of for a while."""
    now = now or clock_now()
    quiet_since = now - quiet
    silent = (
        Waybill.objects.filter(
            state=Waybill.State.LIVE,
            parcel__state=Parcel.State.SHIPPED,
            parcel__shipped_at__lte=quiet_since,
        )
        .exclude(traces__occurred_at__gte=quiet_since)
        .order_by("parcel__shipped_at")
        .values_list("carrier", "number")[:100]
    )
    by_carrier: dict[str, list[str]] = defaultdict(list)
    for carrier, number in silent:
        by_carrier[carrier].append(number)
    new = 0
    for carrier, numbers in by_carrier.items():
        account = CarrierAccount.objects.filter(code=carrier, is_active=True).first()
        if account is None:
            continue
        for start in range(0, len(numbers), 10):
            try:
                with make_client() as client:
                    events = speaking(account, client).traces(numbers[start : start + 10])
            except CarrierError as error:
                logger.warning("carrier %s does not answer: %s", carrier, error.fault.code)
                break
            with transaction.atomic():
                new += traces.take_events(carrier, events, actor=Actor.job("ask_traces"), now=now)
    return f"{new} new scans"
