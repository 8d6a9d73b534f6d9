"""Reading the platforms: every list by its own cursor, hints by asking for their orders.

Nothing here holds a transaction over a call. Each function finds its own work, may run twice
or on two workers at once, and one shop's trouble never holds up another's.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db import transaction

from channels_sync import services as channels
from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import (
    Connector,
    ConnectorError,
    ErrorClass,
    Feed,
    MessageKind,
    Page,
    RawMessage,
    Rejected,
    TryLater,
    Unreadable,
    Unsupported,
    Window,
)
from channels_sync.models import FeedCursor, InboxMessage, SyncCursor, SyncWindow
from channels_sync.services import Claimed
from ordercenter.core.clock import now as clock_now
from ordercenter.core.live import announce
from ordercenter.pipeline import wishes
from ordercenter.pipeline.calling import (
    LIST_PATIENCE,
    SideBySide,
    connector_for,
    in_parallel,
    own_fault,
)
from ordercenter.pipeline.doubts import AGAIN
from ordercenter.pipeline.intake import reader

logger = logging.getLogger(__name__)
POLL_LEASE: Final = timedelta(seconds=110)
POLL_SECONDS: Final = 900
"""How long a queue lets one poll go on: a platform's limit may make a window of thousands of
orders take minutes, and one that is cut off is read again from its first page."""
LOOK_BACK: Final = timedelta(minutes=30)
"""How far back a newly connected shop is read; what is older is back-filled on request."""
LONGEST_STEP: Final = timedelta(hours=1)
"""A shop that was away for long catches up by such windows, so that each leaves its mark."""
DEEP_EVERY: Final = timedelta(minutes=5)
DEEP: Final = timedelta(minutes=20)
"""So much behind the cursor is read again now and then: a platform's clock may go wrong by ten
minutes and come back, and its order would hide behind the cursor."""
AT_ONCE: Final = 200
FURTHER_BACK: Final = timedelta(seconds=60)
"""How much more than its settling a window ends behind now where rows would not stand still."""
A_POLL_LASTS: Final = timedelta(seconds=40)
"""An order stored so long after a hint was read from the platform after the hint, too."""
LINES_A_SHOP: Final = 4
FEW: Final = 10
"""Orders one line asks for before it is worth opening another."""
TURN_SECONDS: Final = 2.0
"""How long one shop's waiting hints are worked before newer ones may go ahead of the rest: a
day that is told again is hundreds of them, and the platform answers twenty a second."""
LOG_KEPT: Final = timedelta(days=3)
GIVE_UP: Final = timedelta(hours=72)
"""A hint whose platform has not answered for so long is parked."""


@dataclass(slots=True)
class Stored:
    """What one window came to."""

    pages: int = 0
    messages: int = 0
    new: int = 0


# --- polls ----------------------------------------------------------------------------------


def poll_shop(shop_id: int, *, now: datetime | None = None) -> str:
    """Read what changed since the cursors into the inbox, feed by feed, window by window.

    One poll a shop at a time: the cursor row is leased. A feed's position moves in the
    transaction that stores the last page of a window; any failure leaves it where it was, is
    shown on the shop's line, and does not keep the other feeds from being read.
    """
    now = now or clock_now()
    if not _lease(shop_id, now=now):
        return "another worker reads this shop"
    total = Stored()
    failure: ConnectorError | None = None
    try:
        with make_client() as client:
            connector = connector_for(shop_id, client, LIST_PATIENCE)
            for feed in connector.feeds:
                trouble = _read_feed(shop_id, connector, feed, total, now=now)
                failure = failure or trouble
                if failure is not None and failure.error.klass is ErrorClass.AUTH:
                    break
    except Exception as error:
        logger.exception("polling shop %s failed", shop_id)
        failure = TryLater(own_fault(error))
    if failure is not None:
        return _failed(shop_id, failure, now=now)
    _succeeded(shop_id, now=now)
    return f"{total.new} new of {total.messages} messages"


def _read_feed(
    shop_id: int, connector: Connector, feed: Feed, total: Stored, *, now: datetime
) -> ConnectorError | None:
    """Read one feed up to now; return what went wrong."""
    try:
        for window in _windows(shop_id, feed, now=now):
            stored = _read_settled(shop_id, connector, feed, window, now=now)
            total.pages += stored.pages
            total.messages += stored.messages
            total.new += stored.new
    except ConnectorError as error:
        return error
    FeedCursor.objects.filter(shop_id=shop_id, feed=feed.code).update(last_ok_at=clock_now())
    return None


def _read_settled(
    shop_id: int, connector: Connector, feed: Feed, window: Window, *, now: datetime
) -> Stored:
    """Read a window; one whose rows kept moving while it was read ends further in the past.

    Up to now a changed row may stay in the window and push others onto pages already read, all
    the more where the platform's clock is behind ours; behind a frozen end it leaves.
    """
    try:
        return _read_window(shop_id, connector, feed, window, now=now)
    except TryLater as error:
        end = min(window.end, now - timedelta(seconds=feed.settle_seconds) - FURTHER_BACK)
        if error.error.code != "incomplete" or end <= window.start or end >= window.end:
            raise
        return _read_window(shop_id, connector, feed, Window(window.start, end), now=now)


def _lease(shop_id: int, *, now: datetime) -> bool:
    with transaction.atomic():
        row = SyncCursor.objects.select_for_update().filter(pk=shop_id).first()
        if row is None or (row.leased_until and row.leased_until > now):
            return False
        row.leased_until = now + POLL_LEASE
        row.save(update_fields=["leased_until"])
    return True


def _windows(shop_id: int, feed: Feed, *, now: datetime) -> Iterator[Window]:
    """The windows between the cursor and now, each overlapping the last.

    The last one reaches up to now so that an order is seen at once; what is not yet settled is
    read again, because the cursor stays behind it.
    """
    cursor, _ = FeedCursor.objects.get_or_create(
        shop_id=shop_id, feed=feed.code, defaults={"position": now - LOOK_BACK, "deep_at": now}
    )
    overlap = timedelta(seconds=max(feed.overlap_seconds, 60))
    longest = min(timedelta(seconds=feed.max_window_seconds), LONGEST_STEP)
    is_deep = cursor.deep_at is None or now - cursor.deep_at >= DEEP_EVERY
    start = cursor.position - (max(overlap, DEEP) if is_deep else overlap)
    while start < now:
        stop = min(start + longest, now)
        yield Window(start, stop)
        if stop >= now:
            break
        # Not only from the last window's end: the cursor stays behind what is settled.
        start = min(stop, now - timedelta(seconds=feed.settle_seconds)) - overlap
    if is_deep:
        FeedCursor.objects.filter(pk=cursor.pk).update(deep_at=now)


def _read_window(
    shop_id: int, connector: Connector, feed: Feed, window: Window, *, now: datetime
) -> Stored:
    """Store a window page by page; the last page and the new position are one commit."""
    lane = channels.lane_of(window.end, now=now)
    stored = Stored()
    last: Page | None = None
    for page in connector.pull(feed.code, window):
        if last is not None:
            _keep(shop_id, last, lane, stored)
            SyncCursor.objects.filter(pk=shop_id).update(leased_until=clock_now() + POLL_LEASE)
        last = page
    with transaction.atomic():
        if last is not None:
            _keep(shop_id, last, lane, stored)
        _move(shop_id, feed, window, stored)
    return stored


def _keep(shop_id: int, page: Page, lane: InboxMessage.Lane, stored: Stored) -> None:
    stored.pages += 1
    stored.messages += len(page.messages)
    stored.new += channels.store(
        page.messages, source=InboxMessage.Source.POLL, shop_id=shop_id, lane=lane
    )


def _move(shop_id: int, feed: Feed, window: Window, stored: Stored) -> None:
    """Move the feed's cursor forward, and log the window that moved it."""
    cursor = FeedCursor.objects.select_for_update().get(shop_id=shop_id, feed=feed.code)
    settled = min(window.end, clock_now() - timedelta(seconds=feed.settle_seconds))
    was = cursor.position
    if settled > was:
        cursor.position = settled
        cursor.save(update_fields=["position"])
        SyncWindow.objects.create(
            shop_id=shop_id, feed=feed.code, start=window.start, end=window.end,
            pages=stored.pages, messages=stored.messages, was=was, position=settled,
            at=clock_now(),
        )  # fmt: skip


def _failed(shop_id: int, error: ConnectorError, *, now: datetime) -> str:
    channels.cursor_failed(shop_id, error, now=now)
    with transaction.atomic():
        announce("shops")
    return f"{type(error).__name__} {error.error.code}"


def _succeeded(shop_id: int, *, now: datetime) -> None:
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
        with transaction.atomic():
            announce("shops")


def due_shops(*, now: datetime) -> list[int]:
    """Shops whose next poll is due and that nobody reads just now."""
    return list(
        SyncCursor.objects.filter(shop__is_active=True, next_due_at__lte=now, paused_at=None)
        .exclude(mode=SyncCursor.Mode.MANUAL)
        .exclude(leased_until__gt=now)
        .filter(shop__channel__in=POLLED)
        .values_list("shop_id", flat=True)
    )


POLLED: Final = [channel for channel, connector in CONNECTORS.items() if connector.feeds]


def is_stale(shop_id: int, *, now: datetime) -> bool:
    """Whether the shop's poll is due, or the nudge that should have run it came to nothing."""
    row = SyncCursor.objects.get(pk=shop_id)
    if not row.is_polled or (row.failures and row.next_due_at > now):
        return False
    since = row.last_ok_at
    return (
        row.next_due_at <= now
        or since is None
        or now - since > timedelta(seconds=2 * row.interval_seconds)
    )


def forget_windows(*, now: datetime | None = None) -> str:
    """Drop what the window log has of more than three days ago."""
    gone, _ = SyncWindow.objects.filter(at__lt=(now or clock_now()) - LOG_KEPT).delete()
    return f"{gone} windows forgotten"


# --- hints ----------------------------------------------------------------------------------


def fetch_hints(*, now: datetime | None = None, lines: SideBySide | None = None) -> str:
    """Ask the platforms for the orders their pushes hinted at; one question an order.

    The shops one after the other without ``lines``.
    """
    now = now or clock_now()
    with transaction.atomic():
        busy = lines.busy() if lines else ()
        claimed = channels.claim([MessageKind.EVENT], limit=AT_ONCE, busy=busy, now=now)
        channels.lease([m.id for m in claimed], now=now)
    by_shop: dict[int, list[Claimed]] = defaultdict(list)
    for message in claimed:
        if message.shop_id is not None:
            by_shop[message.shop_id].append(message)
    jobs = {shop: partial(_fetch, shop, messages) for shop, messages in by_shop.items()}
    fetched = lines.run(jobs) if lines else sum(job() for job in jobs.values())
    return f"{fetched} orders fetched for {len(claimed)} hints"


def _fetch(shop_id: int, hints: Sequence[Claimed]) -> int:
    """Fetch the orders one shop's hints name, several at a time where many wait."""
    orders = _still_to_ask(shop_id, _numbers(hints))
    lines = min(LINES_A_SHOP, 1 + len(orders) // FEW)
    return in_parallel([partial(_fetch_some, shop_id, orders[n::lines]) for n in range(lines)])


def _still_to_ask(
    shop_id: int, by_number: dict[str, list[Claimed]]
) -> list[tuple[str, list[Claimed]]]:
    """Leave out what a poll has brought since: an order told whole well after its last hint
    came says what the hint announced. Matters where hints pile up."""
    told = channels.told_since(shop_id, by_number)
    known = {
        number
        for number, hints in by_number.items()
        if number in told and told[number] > max(h.received_at for h in hints) + A_POLL_LASTS
    }
    channels.done(_ids(h for number in known for h in by_number[number]), now=clock_now())
    return [pair for pair in by_number.items() if pair[0] not in known]


def _fetch_some(shop_id: int, waiting: list[tuple[str, list[Claimed]]]) -> int:
    """Fetch one order after the other; a platform that is away keeps the rest waiting.

    What a turn does not come to is given back, for live hints to go before it.
    """
    fetched = 0
    with make_client() as client:
        try:
            connector = connector_for(shop_id, client)
        except Exception as error:
            logger.exception("shop %s cannot be spoken for", shop_id)
            for _, asked in waiting:
                channels.try_again(_ids(asked), own_fault(error).message, now=clock_now())
            return 0
        over = time.monotonic() + TURN_SECONDS
        while waiting and time.monotonic() < over:
            number, asked = waiting.pop(0)
            try:
                message = connector.fetch(number)
            except TryLater as error:
                _postpone(asked, error)
                if error.wait:  # the platform named a time: nobody else need ask before it
                    for _, others in waiting:
                        _postpone(others, error)
                    waiting.clear()
            except Rejected as error:
                _refused(asked, error)
            except Exception as error:
                logger.exception("fetching for shop %s failed", shop_id)
                channels.try_again(_ids(asked), own_fault(error).message, now=clock_now())
            else:
                _answered(shop_id, message, asked)
                fetched += 1
    channels.give_back([pk for _, asked in waiting for pk in _ids(asked)])
    return fetched


def _refused(hints: Sequence[Claimed], error: Rejected) -> None:
    """Ask again another time; where nobody can be asked, the last word counts."""
    ours = [hint.id for hint in hints if is_own(hint)] if isinstance(error, Unsupported) else []
    channels.done(ours, now=clock_now())
    channels.try_again([h.id for h in hints if h.id not in ours], str(error), now=clock_now())


def _answered(shop_id: int, message: RawMessage, hints: Sequence[Claimed]) -> None:
    """Keep the order. A wish that only its hint tells waits until the order has been taken in."""
    lane = InboxMessage.Lane(min(hint.lane for hint in hints))
    if any(is_own(hint) for hint in hints):  # it counts though its bytes may have come before
        message = replace(message, event_id=f"answer:{min(_ids(hints))}")
    with transaction.atomic():
        channels.store([message], source=InboxMessage.Source.FETCH, shop_id=shop_id, lane=lane)
        early = {hint.id for hint in hints if not _heard(shop_id, hint)}
        channels.done([pk for pk in _ids(hints) if pk not in early], now=clock_now())
        channels.try_again(early, "等待订单入库后再登记改地址申请", now=clock_now())


def _heard(shop_id: int, hint: Claimed) -> bool:
    """Take the wish of a hint that has one; False while its order is not known."""
    try:
        event = reader(hint.channel, hint.shop_id).read_event(hint.body)
    except Unreadable:
        return True  # its number was told without a full read
    number = event.channel_number or hint.channel_number
    if event.address_change is None or not number:
        return True
    return wishes.hear(shop_id, number, event.address_change, now=clock_now())


def _postpone(hints: Sequence[Claimed], error: TryLater) -> None:
    """The platform is away: that is no failure of the hint, until it has waited for days."""
    now = clock_now()
    words = f"{error.error.klass}: {error.error.code} {error.error.message}"
    old = [hint.id for hint in hints if now - hint.received_at > GIVE_UP]
    channels.park(dict.fromkeys(old, words), now=now)
    channels.postpone(
        [hint.id for hint in hints if hint.id not in old],
        words,
        until=now + timedelta(seconds=error.wait or 3),
    )


def is_own(hint: Claimed) -> bool:
    """Whether a hint is our own question about words that contradict each other."""
    return hint.body.startswith(AGAIN.encode())


def _ids(hints: Iterable[Claimed]) -> list[int]:
    return [hint.id for hint in hints]


def _numbers(hints: Sequence[Claimed]) -> dict[str, list[Claimed]]:
    """Which hints name which order. A hint that cannot be read is parked, one without an order
    is done."""
    by_number: dict[str, list[Claimed]] = defaultdict(list)
    unreadable: dict[int, str] = {}
    for hint in hints:
        try:
            number = hint.channel_number or _named_by(hint)
        except Unreadable as reason:
            unreadable[hint.id] = str(reason)
        except Exception as error:
            logger.exception("hint %s cannot be read", hint.id)
            unreadable[hint.id] = f"处理失败：{type(error).__name__}"
        else:
            by_number[number or ""].append(hint)
    channels.park(unreadable, now=clock_now())
    channels.done(_ids(by_number.pop("", [])), now=clock_now())
    return by_number


def _named_by(hint: Claimed) -> str:
    return reader(hint.channel, hint.shop_id).read_event(hint.body).channel_number or ""


def pull_one(shop_id: int, channel_number: str) -> bool:
    """Ask the platform for one order by its number, now; True where it said something new.

    Raises ConnectorError in the platform's own words.
    """
    with make_client() as client:
        message = connector_for(shop_id, client).fetch(channel_number)
    return bool(channels.store([message], source=InboxMessage.Source.FETCH, shop_id=shop_id))
