"""Nine platforms that are asked for lists, and whose answers a test may spoil on the way.

The sandbox answers for eight of them; the ninth, ``openjson``, is a list by page numbers.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import httpx
import pytest

from channels_sync.line import ShopLine
from channels_sync.models import CallBudget, FeedCursor, InboxMessage, SyncCursor
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline import calling, pulling
from tests.channels_sync.contract_cases import OPEN_ORDER
from tests.factories import ShopCredentialFactory, ShopFactory, SyncCursorFactory
from tests.pipeline.lines import URL, ask, connected, sandbox

HERE: Final = {"taobao": "TB01", "jd": "JD01", "douyin": "DY01", "pinduoduo": "PD01",
               "shopify": "SH01", "miniprogram": "MP01", "wechat": "WX01",
               "crm_webhook": "CR01"}  # fmt: skip
NUMBERS: Final = ("tid", "orderId", "order_sn", "order_id", "legacyResourceId", "order_no")
Spoil = Callable[[Any], Any]


class Polled:
    """One shop whose line can be spoilt."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.spoil: Callable[[httpx.Response], httpx.Response] = lambda answer: answer
        self.calls = 0
        self.open_rows: list[dict[str, Any]] = []
        self._closing = ExitStack()
        self._handler: Callable[[httpx.Request], httpx.Response] = self._answer_list
        options = {
            "orders_url": "/orders",
            "orders_query": '{"from": "{start}", "cursor": "{cursor}"}',
        }
        if channel == "openjson":
            self.shop = self._made("OJ01", URL, "app", {"app_secret": "a-secret"}, options)
        else:
            self.bench = sandbox()
            self.bench.clock.pass_by(60)  # within the skew signatures may have
            self._closing.callback(self.bench.book.close)
            self._handler = ask(self.bench)
            told = self.bench.shop(HERE[channel])
            secrets = {"app_secret": told.app_secret, "access_token": told.access_token}
            options = {key: str(value) for key, value in told.options.items()}
            options |= {name: URL + path for name, path in told.urls.items()}
            base_url = URL + told.base_url
            self.shop = self._made(
                told.code, base_url, told.app_key, {**secrets, **told.secrets}, options
            )
        self._closing.enter_context(connected(self._handle))
        # Nobody waits for his turn here; a wait of half a minute would end the transaction.
        patch = self._closing.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(calling, "ShopLine", partial(ShopLine, sleep=lambda _: None))
        now = clock_now()
        for feed in ("orders", "refunds"):
            FeedCursor.objects.update_or_create(
                shop=self.shop, feed=feed,
                defaults={"position": now - timedelta(minutes=20), "deep_at": now},
            )  # fmt: skip

    def close(self) -> None:
        self._closing.close()

    def sell(self, count: int) -> None:
        """So many orders the platform lists from now on."""
        if self.channel != "openjson":
            for _ in range(count):
                self.bench.sell_paid(HERE[self.channel])
            return
        self.open_rows = [
            {**OPEN_ORDER, "order_no": f"A-{n:04}", "updated_at": int(clock_now().timestamp())}
            for n in range(count)
        ]

    def poll(self) -> str:
        return pulling.poll_shop(self.shop.pk, now=clock_now())

    def recover(self) -> None:
        """The platform answers in order again, and the breaker's time is over."""
        self.spoil = lambda answer: answer
        SyncCursor.objects.update(broken=0, open_until=None)
        CallBudget.objects.all().delete()

    def position(self) -> datetime:
        return FeedCursor.objects.get(shop=self.shop, feed="orders").position

    def trouble(self) -> str:
        return SyncCursor.objects.get(pk=self.shop.pk).error_code

    def kept(self) -> int:
        return InboxMessage.objects.filter(shop=self.shop, kind="order").count()

    def spoil_json(self, how: Spoil) -> None:
        """Have ``how`` change what every answer says."""

        def changed(answer: httpx.Response) -> httpx.Response:
            told = how(json.loads(answer.content))
            return httpx.Response(answer.status_code, content=json.dumps(told).encode())

        self.spoil = changed

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        return self.spoil(self._handler(request))

    def _made(
        self,
        code: str,
        base_url: str,
        app_key: str,
        secrets: dict[str, str],
        options: dict[str, str],
    ) -> Shop:
        currency = "USD" if self.channel == "shopify" else "CNY"
        shop: Shop = ShopFactory.create(code=code, channel=self.channel, currency=currency)
        row = ShopCredentialFactory.build(
            shop=shop, base_url=base_url, app_key=app_key, options=options
        )
        row.set_secrets(**secrets)
        row.save()
        SyncCursorFactory.create(shop=shop)
        return shop

    def _answer_list(self, request: httpx.Request) -> httpx.Response:
        """Fifty a page, by a cursor; refunds are another list that is empty."""
        if request.url.path != "/orders":
            return httpx.Response(200, json={"refunds": []})
        cursor = request.url.params.get("cursor", "")
        start = int(cursor) if cursor.isdigit() else 0
        rows = self.open_rows[start : start + 50]
        more = start + 50 < len(self.open_rows)
        answer = {"orders": rows, "total": len(self.open_rows)}
        answer |= {"has_next": True, "next_cursor": str(start + 50)} if more else {}
        return httpx.Response(200, json=answer)


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a document."""
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from objects(one)


def changed_everywhere(told: Any, names: tuple[str, ...], new: Callable[[Any], Any]) -> Any:
    """The document with other values under these names, wherever they stand."""
    for one in objects(told):
        for name in names:
            if name in one:
                one[name] = new(one[name])
    return told
