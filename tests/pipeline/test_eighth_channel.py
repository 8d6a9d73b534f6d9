"""A shop system nobody wrote a connector for sells here: set up by data, pushed and pulled."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.test import Client

from channels_sync import field_maps
from channels_sync.connectors.stamped import stamp_sign
from channels_sync.models import FeedCursor, FieldMap, InboxMessage, SyncCursor
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import intake, pulling
from tests.factories import ShopCredentialFactory, ShopFactory, SyncCursorFactory
from tests.pipeline.lines import connected

pytestmark = pytest.mark.django_db
TABLE: dict[str, Any] = {
    "page": {"orders": {"from": ["result.list"]}},
    "push": {"order": {"from": ["trade"]}},
    "order": {
        "channel_number": {"from": ["sn"]},
        "status": {"from": ["state"], "values": {"20": "wait_ship"}},
        "payable_amount": {"from": ["pay_fen"], "as": "fen"},
        "placed_at": {"from": ["ctime"], "as": "unix_seconds"},
        "modified_at": {"from": ["mtime"], "as": "unix_seconds"},
        "lines": {"from": ["goods"]},
    },
    "line": {"unit_price": {"from": ["fen"], "as": "fen"}, "quantity": {"from": ["num"]}},
    "receiver": {"name": {"from": ["receiver_name", "customer.first_name"]}},
}
AT = int(time.time()) - 600
TRADE = {
    "sn": "W-7", "state": 20, "pay_fen": 1990, "ctime": AT, "mtime": AT,
    "goods": [{"sku_code": "CUP-1", "title": "杯子", "num": 1, "fen": 1990}],
    "customer": {"first_name": "欧阳娜"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _ask_each_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(field_maps, "CACHED_SECONDS", 0.0)
    field_maps._LIVE.forget()
    yield
    field_maps._LIVE.forget()


@pytest.fixture
def shop(db: None) -> Shop:
    made: Shop = ShopFactory.create(code="own-1", channel="openjson")
    credential = ShopCredentialFactory.build(
        shop=made,
        base_url="https://shop.example",
        options={"orders_url": "/orders", "orders_query": '{"since":"{start}"}'},
    )
    credential.set_secrets(app_secret="a-secret")
    credential.save()
    SyncCursorFactory.create(shop=made)
    return made


def use(shop: Shop, mapping: Any) -> None:
    FieldMap.objects.create(
        channel="openjson", shop=shop, version=1, mapping=mapping, is_live=True,
        created_at=clock_now(),
    )  # fmt: skip


def pushed(shop: Shop, body: Any) -> Any:
    raw = json.dumps(body).encode()
    stamp = str(int(time.time()))
    headers = {
        "x-timestamp": stamp,
        "x-signature": stamp_sign("a-secret", stamp, raw),
        "x-event-id": "e",
    }
    return Client(headers=headers).generic(
        "POST", f"/hooks/openjson/{shop.code}/", raw, content_type="application/json"
    )


def test_an_order_pushed_in_a_strange_tongue_is_taken(shop: Shop) -> None:
    use(shop, TABLE)
    assert pushed(shop, {"trade": TRADE}).status_code == 200
    assert pushed(shop, {"trade": TRADE}).json()["duplicate"] is True
    intake.run()
    order = SalesOrder.objects.get()
    assert (order.channel_number, str(order.payable_amount)) == ("W-7", "19.90")
    assert order.number.startswith("OJ")


def test_an_order_pulled_in_a_strange_tongue_is_taken(shop: Shop) -> None:
    use(shop, TABLE)

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"result": {"list": [TRADE]}})

    with connected(answer):
        assert pulling.poll_shop(shop.pk) == "1 new of 1 messages"
    intake.run()
    assert SalesOrder.objects.get().channel_number == "W-7"


def test_a_map_that_no_longer_fits_stops_the_reading_and_loses_nothing(shop: Shop) -> None:
    use(shop, {"order": {"gone": {"from": ["x"]}}})
    with connected(lambda request: httpx.Response(200, json={"orders": []})):
        assert "field_map" in pulling.poll_shop(shop.pk)
    assert not FeedCursor.objects.filter(last_ok_at__isnull=False).exists()
    assert "order.gone" in SyncCursor.objects.get(pk=shop.pk).error_message
    assert pushed(shop, {"trade": TRADE}).status_code == 200
    assert InboxMessage.objects.get().state == InboxMessage.State.DEAD
