"""A connector with the sandbox at the other end of its line."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import httpx

from channels_sync.connectors.base import BaseConnector
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import MessageKind, ShopAccess, Window
from ordercenter.orders.contracts import OrderDraft
from tests.channels_sync.gateway import Turns
from tests.pipeline.lines import ask
from tests.sandbox.callers import Bench, Clock

URL = "http://127.0.0.1:1"
C = TypeVar("C", bound=BaseConnector)


class Renewing(Turns):
    """A shop's line that renews by the connector's own ``refresh``, as the house's does."""

    connector: BaseConnector

    def renew(self, stale_token: str) -> str:
        self.renewed.append(stale_token)
        return self.connector.refresh("").access_token


def a_bench() -> Iterator[Bench]:
    bench = Bench(clock=Clock(time.time() - 300))
    yield bench
    bench.book.close()


def connect(bench: Bench, shop_code: str, make: type[C]) -> C:
    """The shop's connector as it would be made from what the sandbox says of its shop now."""
    told = bench.shop(shop_code)
    access = ShopAccess(
        shop_code=told.code,
        base_url=URL + told.base_url,
        app_key=told.app_key,
        app_secret=told.app_secret,
        access_token=told.access_token,
        secrets=told.secrets,
        options={"answer_refunds": "on"}
        | {key: str(value) for key, value in told.options.items()}
        | {name: URL + path for name, path in told.urls.items()},
    )
    client = make_client(transport=httpx.MockTransport(ask(bench)))
    line = Renewing()
    line.connector = make(access, client, lambda: at(bench), line=line)
    return line.connector


def at(bench: Bench) -> datetime:
    return datetime.fromtimestamp(bench.clock.now, UTC)


def lately(bench: Bench) -> Window:
    return Window(at(bench) - timedelta(minutes=20), at(bench))


def draft(shop: BaseConnector, number: str) -> OrderDraft:
    message = shop.fetch(number)
    assert message.kind is MessageKind.ORDER
    return shop.read(message.body)  # type: ignore[attr-defined, no-any-return]
