"""Nudges through a layer outside the database: nobody's work waits for a hint."""

import asyncio
import time
from typing import Any

import pytest
from django.db import transaction

from ordercenter.core import live

pytestmark = pytest.mark.django_db(transaction=True)


class Layer:
    """Stands for Redis: notes what it was sent, after the trouble it was told to make."""

    def __init__(self, trouble: str = "") -> None:
        self.trouble = trouble
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.tries = 0

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.tries += 1
        if self.trouble == "down":
            raise ConnectionError
        if self.trouble == "deaf":
            await asyncio.sleep(30)
        self.sent.append((group, message))


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what makes a layer the one in use, with nothing remembered of others."""

    def layer_in_use(layer: Layer) -> Layer:
        monkeypatch.setattr(live, "get_channel_layer", lambda: layer)
        monkeypatch.setattr(live, "_pusher", live.Pusher())
        return layer

    return layer_in_use


def test_a_nudge_goes_out_after_the_commit_and_not_after_a_rollback(use: Any) -> None:
    layer = use(Layer())
    with transaction.atomic():
        live.announce("orders", order_id=7)
        assert layer.sent == []
    assert layer.sent == [("orders", {"type": "live.nudge", "topic": "orders", "order_id": 7})]
    with transaction.atomic():
        live.announce("orders", order_id=8)
        transaction.set_rollback(True)
    assert len(layer.sent) == 1


@pytest.mark.parametrize("trouble", ["down", "deaf"])
def test_a_layer_in_trouble_costs_a_commit_next_to_nothing_and_is_left_alone(
    use: Any, trouble: str
) -> None:
    layer = use(Layer(trouble))
    began = time.monotonic()
    for order_id in range(50):
        with transaction.atomic():
            live.announce("orders", order_id=order_id)
    assert time.monotonic() - began < 5 * live.PUSH_SECONDS
    assert layer.tries == 1


def test_a_layer_that_recovers_is_used_again(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = use(Layer("down"))
    monkeypatch.setattr(live, "PUSH_PAUSE_SECONDS", 0.05)
    live.announce("orders")
    layer.trouble = ""
    time.sleep(0.1)
    live.announce("orders")
    assert [group for group, _message in layer.sent] == ["orders"]


def test_a_screen_that_hangs_on_the_wall_for_a_week_stays_in_its_groups() -> None:
    layer = live.PostgresChannelLayer()
    layer.groups = {"orders": {"specific.screen": time.time() - 7 * 86_400}}
    layer._clean_expired()
    assert "specific.screen" in layer.groups["orders"]
