"""What the platforms of the sandbox are told, and what is in their books then."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from channels_sync.models import InboxMessage, OutboundMessage, PublishedStock
from fulfillment.models import AddressRequest, RefundRequest
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import demo, intake, publishing, pulling, sending, telling, wishes
from ordercenter.sandbox.book import ASKED, Refund
from tests.pipeline.lines import SELLER, URL, ask, connected, sandbox
from tests.sandbox.callers import Bench

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
DEAF = {"crm_webhook", "miniprogram"}
"""Lines without a way to be told of notes and figures."""


class World:
    """The demo seller on a sandbox, read as far as the sandbox has sold."""

    def __init__(self, on_commit: Callable[..., Any]) -> None:
        demo.load(SELLER, sandbox_url=URL, password="a-password")
        self.bench: Bench = sandbox()
        self.boss = User.objects.get(username="zhuguan")
        self.actor = Actor.person(self.boss)
        self.on_commit = on_commit
        for code in self.bench.book.shops:
            self.bench.sell_paid(code, 3)

    def read(self, *, minutes: int = 0) -> None:
        with self.on_commit(execute=True):
            for shop in Shop.objects.all():
                pulling.poll_shop(shop.pk, now=clock_now() + minutes * MINUTE)
            while intake.run().messages:
                pass
        assert not InboxMessage.objects.exclude(state="done").exists()

    def later(self) -> None:
        """The platforms' clocks go on past what has been read, as far as they let ours differ."""
        self.bench.clock.now = max(self.bench.clock.now, time.time()) + 60


@pytest.fixture
def world(django_capture_on_commit_callbacks: Callable[..., Any]) -> World:
    return World(django_capture_on_commit_callbacks)


def states(kind: str) -> dict[str, set[str]]:
    """The states of the messages of a kind by channel."""
    found: dict[str, set[str]] = {}
    rows = OutboundMessage.objects.filter(kind=kind).values_list("shop__channel", "state")
    for channel, state in rows:
        found.setdefault(channel, set()).add(state)
    return found


def send_all() -> None:
    for place in range(10):
        sending.send_out(now=clock_now() + place * MINUTE)


def test_a_note_is_in_every_platforms_book(world: World) -> None:
    with connected(ask(world.bench)):
        world.read()
        for order in SalesOrder.objects.select_related("shop"):
            rules = telling.memo_rules(order.shop.channel)
            assert rules is not None
            telling.write_memo(
                order.pk, "送到前台", rules.flags[-1][0] if rules.flags else None,
                user=world.boss, actor=world.actor, seen_version=order.version,
            )  # fmt: skip
        send_all()
    told = states("memo")
    assert {channel for channel, states_ in told.items() if states_ == {"unsupported"}} == DEAF
    assert all(states_ == {"done"} for channel, states_ in told.items() if channel not in DEAF)
    for order in SalesOrder.objects.exclude(shop__channel__in=DEAF).select_related("shop"):
        theirs = world.bench.book.get(order.shop.code, order.channel_number)
        assert theirs is not None
        assert "送到前台" in theirs.memo
        if telling.MEMOS.get(order.shop.channel):
            assert theirs.flag == telling.MEMOS[order.shop.channel].flags[-1][0]


def test_every_figure_that_can_be_addressed_is_taken(world: World) -> None:
    with connected(ask(world.bench)):
        world.read()
        publishing.publish_stock()
        send_all()
        told = {channel: found - {"superseded"} for channel, found in states("stock").items()}
        assert {channel for channel, found in told.items() if "unsupported" in found} == DEAF
        assert all(found == {"done"} for channel, found in told.items() if channel not in DEAF)
        assert {"taobao", "jd", "douyin", "pinduoduo", "shopify", "wechat"} <= set(told)
        before = len(world.bench.book.records["write"])
        publishing.publish_stock(now=clock_now() + MINUTE)
        send_all()
        assert len(world.bench.book.records["write"]) == before
    assert PublishedStock.objects.filter(told__isnull=False).count() >= 100


def test_a_refund_before_shipping_is_answered_where_it_is_asked(world: World) -> None:
    book = world.bench.book
    with connected(ask(world.bench)):
        world.read()
        world.later()
        wanted = {code: book.orders(code)[0] for code in sorted(book.shops)}
        for place, order in enumerate(wanted.values()):
            line, at = order.lines[0], world.bench.clock()
            book.ask_refund(
                order,
                Refund(f"{7_000_000_001 + place}", line.line_id, line.amount_fen, ASKED, at, at),
            )
        world.later()
        world.read(minutes=20)
        asked = RefundRequest.objects.filter(state="in_progress", intercept_shipping=True)
        assert asked.count() >= 4
        sending.send_out(now=clock_now() + 30 * MINUTE)
    told = states("stop")
    assert set(asked.values_list("shop__channel", flat=True)) == set(told)
    assert {"taobao", "pinduoduo"} <= set(told)
    assert all(found <= {"done", "unsupported"} for found in told.values())
    for code in ("TB01", "PD01"):
        (stop,) = wanted[code].stops
        assert stop["stopped"] is True


def test_a_buyer_hears_yes_or_no(world: World) -> None:
    book = world.bench.book
    with connected(ask(world.bench)):
        world.read()
        world.later()
        for order in book.orders("WX01")[:2]:
            moved = order.receiver
            by = world.bench.clock() + 24 * 3600
            book.ask_address(order, moved, answer_by=by)
        world.later()
        world.read(minutes=20)
        first, second = AddressRequest.objects.filter(state="open").order_by("pk")
        assert first.answer_by is not None
        wishes.answer(first.pk, approve=True, reason="", user=world.boss, actor=world.actor)
        wishes.answer(
            second.pk, approve=False, reason="包裹已打包", user=world.boss, actor=world.actor
        )
        sending.send_out(now=clock_now() + 30 * MINUTE)
        assert states("address") == {"wechat": {"done"}}
        assert {row["approve"] for row in book.records["address_answer"]} == {True, False}
        world.later()
        world.read(minutes=40)
    asking = OrderHold.objects.open().filter(kind="address_change", code="asked")
    assert not asking.exists()
