"""From a webhook's 200 to the card on the wall, through a running center.

Signed pushes of the mini-program shop go in at a steady rate; every order is far too cheap, so
that the live rules freeze it. A reader stands in for the open page: its socket is nudged, it
fetches the wall's fragment as the page's script does (at most twice a second), and an order
counts as shown when its card is in the answer. What a browser adds to draw it is not in it.

The orders stay in the database: measure on a demo installation, never on a shop's own.
"""

import asyncio
import hashlib
import hmac
import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import httpx
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from websockets.asyncio.client import connect

from channels_sync.models import ShopCredential
from ordercenter.catalog.models import Channel, Listing
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role

FRAGMENT: Final = "/wall/?fragment=1&tier=3&pages=20"
GAP_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 20.0


def _session() -> str:
    """Log a supervisor in; the key of the session."""
    user = User.objects.filter(groups__name=Role.WAREHOUSE_SUPERVISOR.value, is_active=True).first()
    if user is None:
        message = "no warehouse supervisor to look at the wall: run load_demo first"
        raise RuntimeError(message)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[-1]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    assert session.session_key is not None
    return session.session_key


def _body(number: str, code: str, price: Decimal) -> bytes:
    now = clock_now().astimezone(SHANGHAI).isoformat(timespec="seconds")
    paid = str((price / 2).quantize(Decimal("0.01")))
    order = {
        "order_no": number, "status": "paid", "currency": "CNY", "created_at": now,
        "updated_at": now, "paid_at": now, "total_amount": paid, "discount_amount": "0.00",
        "freight_amount": "0.00", "paid_amount": paid, "buyer": {"member_no": number},
        "receiver": {
            "name": "测量", "phone": f"199{int(number[-8:]):08d}", "province": "浙江省",
            "city": "杭州市", "district": "余杭区", "address": f"虚构路 {number[-6:]} 号",
        },
        "buyer_remark": "", "seller_memo": "",
        "items": [{"line_no": 1, "sku_code": code, "title": "测量", "qty": 1, "unit_price": paid,
                   "discount_amount": "0.00", "paid_amount": paid, "is_gift": False}],
        "promotions": [], "tags": [],
    }  # fmt: skip
    told = {"event": "order.paid", "event_id": f"evt-{number}", "occurred_at": now,
            "source": "bench", "version": "1", "order": order}  # fmt: skip
    return json.dumps(told, ensure_ascii=False).encode()


def _headers(body: bytes, secret: str, event: str) -> Mapping[str, str]:
    stamp = str(int(time.time()))
    signed = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json", "X-Event-Id": event, "X-Timestamp": stamp,
        "X-Signature": signed,
    }  # fmt: skip


class _Reader:
    """The open wall page: nudged, it looks again; remembers when each card came in sight."""

    def __init__(self, url: str, cookie: str) -> None:
        self._url = url
        self._cookie = f"{settings.SESSION_COOKIE_NAME}={cookie}"
        self.pages: list[tuple[float, str]] = []
        self._nudged = asyncio.Event()

    async def listen(self) -> None:
        address = self._url.replace("http", "ws", 1) + "/ws/live/"
        headers = {"Cookie": self._cookie, "Origin": self._url}
        async with connect(address, additional_headers=headers) as socket:
            async for _ in socket:
                self._nudged.set()

    async def look(self, client: httpx.AsyncClient) -> None:
        while True:
            await self._nudged.wait()
            self._nudged.clear()
            answer = await client.get(self._url + FRAGMENT, headers={"Cookie": self._cookie})
            answer.raise_for_status()
            self.pages.append((time.perf_counter(), answer.text))
            await asyncio.sleep(GAP_SECONDS)


@dataclass(frozen=True, slots=True)
class _Door:
    """Where and how the pushes go in, and who looks at the wall."""

    url: str
    hook: str
    secret: str
    code: str
    price: Decimal
    session: str


async def _measure(
    door: _Door, *, count: int, rate: float
) -> tuple[dict[str, float], list[tuple[float, str]], list[float]]:  # fmt: skip
    answered: dict[str, float] = {}
    acks: list[float] = []
    reader = _Reader(door.url, door.session)
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        tasks = [asyncio.create_task(reader.listen()), asyncio.create_task(reader.look(client))]
        await asyncio.sleep(1)
        start = time.perf_counter()
        mark = int(time.time() * 1000) % 10**10
        for n in range(count):
            await asyncio.sleep(max(0.0, start + n / rate - time.perf_counter()))
            number = f"BENCH{mark:010d}{n:05d}"
            body = _body(number, door.code, door.price)
            began = time.perf_counter()
            answer = await client.post(
                door.url + door.hook,
                content=body,
                headers=_headers(body, door.secret, f"evt-{number}"),
            )
            answer.raise_for_status()
            answered[number] = time.perf_counter()
            acks.append(answered[number] - began)
        await asyncio.sleep(PATIENCE_SECONDS / 4)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return answered, reader.pages, acks


def run(*, url: str, count: int, rate: float) -> dict[str, Any]:
    """Send ``count`` pushes at ``rate`` a second; how long until each was on the wall."""
    credential = ShopCredential.objects.select_related("shop").get(
        shop__channel=Channel.MINIPROGRAM
    )
    code, price = (
        Listing.objects.filter(
            shop=credential.shop, code_type="outer_code", sku__is_gift=False, sku__base_price__gt=20
        )
        .order_by("pk")
        .values_list("code", "sku__base_price")[0]
    )
    session = _session()
    hook = f"/hooks/{credential.shop.channel}/{credential.shop.code}/"
    secret = credential.access().app_secret
    door = _Door(url.rstrip("/"), hook, secret, code, price, session)
    answered, pages, acks = asyncio.run(_measure(door, count=count, rate=rate))
    SessionStore(session).delete()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT channel_number, number FROM orders_salesorder WHERE channel_number = ANY(%s)",
            [list(answered)],
        )
        numbers = dict(cursor.fetchall())
    waits = sorted(
        max(0.0, next(at for at, text in pages if number in text) - answered[told])
        for told, number in numbers.items()
        if any(number in text for _, text in pages)
    )
    if not waits:
        message = "figure void: no card came in sight"
        raise RuntimeError(message)
    return {
        "pushes": count,
        "rate_per_second": rate,
        "shown": len(waits),
        "to_wall_seconds_median": round(statistics.median(waits), 3),
        "to_wall_seconds_p95": round(waits[int(len(waits) * 0.95)], 3),
        "to_wall_seconds_worst": round(waits[-1], 3),
        "ack_ms_p99": round(sorted(acks)[int(len(acks) * 0.99)] * 1000, 1),
        "pages_fetched": len(pages),
    }
