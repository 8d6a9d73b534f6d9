"""Lists lose nothing: from the last page to the first, all of it or TryLater."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from channels_sync.contracts import MessageKind, Page, TryLater, Unreadable, Window
from tests.channels_sync.platforms import PLATFORMS, WINDOW, Pinduoduo, Platform, Taobao

every_platform = pytest.mark.parametrize("platform", PLATFORMS, ids=[p.channel for p in PLATFORMS])
PlatformType = type[Any]


def numbers(pages: Iterable[Page]) -> list[str]:
    return [message.channel_number for page in pages for message in page.messages]


@every_platform
def test_pages_come_from_the_last_to_the_first(platform: PlatformType) -> None:
    shop: Platform = platform(orders=250)
    pages = list(shop.connector().pull("orders", WINDOW))
    assert [page.number for page in pages] == [3, 2, 1]
    assert {page.of for page in pages} == {3}
    assert shop.pages(platform.list_method) == [1, 3, 2, 1]  # the first one counts
    assert len(numbers(pages)) == 250
    assert set(numbers(pages)) == shop.numbers()


@every_platform
def test_each_feed_brings_its_own_kind(platform: PlatformType) -> None:
    shop: Platform = platform(orders=2, refunds=3)
    orders, refunds = (
        [message for page in shop.connector().pull(feed, WINDOW) for message in page.messages]
        for feed in ("orders", "refunds")
    )
    assert [message.kind for message in orders] == [MessageKind.ORDER] * 2
    assert {message.kind for message in refunds} == {MessageKind.REFUND}
    assert len({message.body for message in refunds}) == 3
    for message in refunds:
        draft = shop.connector().read_refund(message.body)
        assert draft.intercept_shipping
        assert draft.channel_number == message.channel_number


@every_platform
def test_an_empty_window_is_read_to_its_end(platform: PlatformType) -> None:
    for feed in ("orders", "refunds"):
        assert numbers(platform().connector().pull(feed, WINDOW)) == []


@every_platform
def test_every_pulled_order_can_be_read(platform: PlatformType) -> None:
    shop: Platform = platform(orders=3)
    for page in shop.connector().pull("orders", WINDOW):
        for message in page.messages:
            assert shop.connector().read(message.body).channel_number == message.channel_number


@every_platform
def test_an_order_that_changes_while_paging_is_not_missed(platform: PlatformType) -> None:
    """An order modified after the window's end leaves the list; the rest move up a place."""
    shop: Platform = platform(orders=250)
    everyone = shop.numbers()
    gone: set[str] = set()

    def leave(method: str, query: dict[str, str]) -> None:
        if method == platform.list_method and len(shop.pages(method)) in {3, 4}:
            gone.add(shop.number(shop.orders.pop(10)))

    shop.before = leave
    seen = set(numbers(shop.connector().pull("orders", WINDOW)))
    assert len(gone) == 2
    assert seen >= everyone - gone


@every_platform
def test_pages_that_do_not_add_up_are_asked_again_later(platform: PlatformType) -> None:
    shop: Platform = platform(orders=250)
    ordinary = shop.answer

    def short(method: str, query: dict[str, str]) -> dict[str, Any]:
        kept = shop.orders
        if method == platform.list_method and shop.page_of(query) == "2":
            shop.orders = kept[:100] + kept[160:]
            answer = ordinary(method, {**query})
            shop.orders = kept
            return answer
        return ordinary(method, query)

    shop.answer = short  # type: ignore[method-assign, assignment]
    # Page 2 repeats what page 3 gave and hides 60 orders.
    with pytest.raises(TryLater, match="incomplete"):
        list(shop.connector().pull("orders", WINDOW))


def test_a_last_page_that_promises_another_is_followed_forward() -> None:
    shop = Taobao(orders=99)
    late = [shop.order(1000 + n) for n in range(150)]

    def arrive(method: str, query: dict[str, str]) -> None:
        if len(shop.pages(Taobao.list_method)) == 2:
            shop.orders.extend(late)
            late.clear()

    shop.before = arrive
    pages = list(shop.connector().pull("orders", WINDOW))
    assert set(numbers(pages)) == shop.numbers()
    assert len(shop.numbers()) == 249


def test_a_list_that_never_ends_is_stopped() -> None:
    shop = Taobao(orders=1)
    answer = shop.answer("taobao.trades.sold.increment.get", _first_page())
    content = answer["trades_sold_increment_get_response"] | {"has_next": True, "total_results": 1}
    shop.answers[Taobao.list_method] = {"trades_sold_increment_get_response": content}
    with pytest.raises(TryLater, match="page_cap"):
        list(shop.connector().pull("orders", WINDOW))
    assert len(shop.calls) <= 102


def _first_page() -> dict[str, str]:
    return {"page_no": "1", "page_size": "100", "use_has_next": "true"}


def test_a_window_with_too_many_pages_is_halved() -> None:
    shop = Pinduoduo(orders=10_001)
    asked: list[tuple[int, int]] = []

    def thin_out(method: str, query: dict[str, str]) -> None:
        if method == Pinduoduo.list_method:
            span = (int(query["start_updated_at"]), int(query["end_updated_at"]))
            if span not in asked:
                asked.append(span)
            if len(asked) > 1:
                shop.orders = shop.orders[:5]

    shop.before = thin_out
    assert len(numbers(shop.connector().pull("orders", WINDOW))) == 10
    whole, first, second = asked
    assert (first[0], second[1]) == whole
    assert first[1] == second[0]


@every_platform
def test_one_broken_order_on_a_page_leaves_the_others_readable(platform: PlatformType) -> None:
    shop: Platform = platform(orders=100)
    shop.orders[40] = {"nothing": "of use"}
    messages = [m for page in shop.connector().pull("orders", WINDOW) for m in page.messages]
    assert len(messages) == 100
    broken = [m for m in messages if not m.channel_number]
    assert len(broken) == 1
    with pytest.raises(Unreadable):
        shop.connector().read(broken[0].body)


def test_a_long_window_is_cut_into_spans_the_platform_takes() -> None:
    shop = Pinduoduo()
    list(shop.connector().pull("orders", Window(WINDOW.end - timedelta(minutes=70), WINDOW.end)))
    spans = [
        (int(query["start_updated_at"]), int(query["end_updated_at"]))
        for method, query in shop.calls
        if method == Pinduoduo.list_method
    ]
    assert [end - start for start, end in spans] == [1800, 1800, 600]
    assert spans[0][1] == spans[1][0]
    assert spans[1][1] == spans[2][0]


@every_platform
def test_one_order_is_fetched_by_its_number(platform: PlatformType) -> None:
    shop: Platform = platform()
    shop.answers[platform.detail_method] = shop.shipped("YT1")
    number = shop.number(shop.order(0))
    message = shop.connector().fetch(number)
    assert message.channel_number == number
    assert shop.connector().read(message.body).channel_number == number


@every_platform
def test_an_answer_about_another_order_is_not_taken(platform: PlatformType) -> None:
    shop: Platform = platform()
    shop.answers[platform.detail_method] = shop.shipped("YT1")
    with pytest.raises(TryLater, match="bad_body"):
        shop.connector().fetch("404")


def test_a_total_that_is_missing_is_no_empty_window() -> None:
    shop = Taobao()
    shop.answers[Taobao.list_method] = httpx.Response(
        200, json={"trades_sold_increment_get_response": {"request_id": "1"}}
    )
    with pytest.raises(TryLater, match="bad_body"):
        list(shop.connector().pull("orders", WINDOW))
