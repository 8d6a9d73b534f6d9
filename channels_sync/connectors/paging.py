"""Walking a list from its last page to its first, so that a row that moves is not missed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from channels_sync.connectors.exchange import platform_error
from channels_sync.contracts import (
    MessageKind,
    Page,
    RawMessage,
    TryLater,
    Window,
)


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page as a platform gave it. ``has_next`` is None where it does not say."""

    messages: tuple[RawMessage, ...]
    has_next: bool | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """How to ask one of a platform's lists: how many rows a window has, and one page of them."""

    count: Callable[[Window], int]
    page: Callable[[Window, int], ListPage]
    page_size: int
    max_pages: int = 100


def slices(window: Window, seconds: int) -> Iterator[Window]:
    """Cut ``window`` into spans of at most ``seconds``, oldest first, sharing their edges."""
    start = window.start
    span = timedelta(seconds=seconds)
    while window.end - start > span:
        yield Window(start, start + span)
        start += span
    yield Window(start, window.end)


def pull_backwards(window: Window, listing: Listing) -> Iterator[Page]:
    """Yield a list that is sorted by modification, newest first, from its last page to page 1.

    A row that changes meanwhile leaves the frozen window and draws later rows one place up,
    onto pages still to be read: it is seen twice, never missed. A window with more pages than
    the platform lists is halved. Raises TryLater if the pages do not add up to the total.
    """
    total = listing.count(window)
    last = -(-total // listing.page_size)
    if last > listing.max_pages:
        for half in _halves(window):
            yield from pull_backwards(half, listing)
        return
    seen: set[str | bytes] = set()
    for number, page in _pages_backwards(window, listing, last):
        seen.update(_identity(message) for message in page.messages)
        yield Page(page.messages, number, last)
    if len(seen) < total and len(seen) < listing.count(window):
        raise TryLater(
            platform_error("incomplete", f"平台称有 {total} 条，分页只给出 {len(seen)} 条")
        )


def _identity(message: RawMessage) -> str | bytes:
    # An order may be seen twice with different contents; one order can have many refunds.
    is_order = message.kind is MessageKind.ORDER and message.channel_number
    return message.channel_number if is_order else message.body


def _pages_backwards(window: Window, listing: Listing, last: int) -> Iterator[tuple[int, ListPage]]:
    if not last:
        return
    page = listing.page(window, last)
    number = last
    while page.has_next:  # rows came in since the count: start even further back
        yield number, page
        number += 1
        if number > listing.max_pages:
            raise TryLater(platform_error("page_cap", "平台一直称还有下一页，已停止翻页"))
        page = listing.page(window, number)
    yield number, page
    for earlier in range(number - 1, 0, -1):
        yield earlier, listing.page(window, earlier)


def _halves(window: Window) -> tuple[Window, Window]:
    span = int((window.end - window.start).total_seconds())
    if span < 2:  # noqa: PLR2004 - platforms count in seconds
        raise TryLater(platform_error("page_cap", "同一秒内的订单超过平台的翻页上限"))
    middle = window.start + timedelta(seconds=span // 2)
    return Window(window.start, middle), Window(middle, window.end)
