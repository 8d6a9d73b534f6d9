"""How soon a push is acknowledged, against a bare view with one INSERT in the same database.

The pushes are the sandbox's own, signed by it as its platforms do (Douyin, Shopify, WeChat with
AES, the CRM): a door of ours gathers them first, then they are sent over real sockets to a web
server that runs as ``make run`` starts it, with ``manage.py work`` busy beside it.

* ``acknowledged_ms``: at a steady rate, from the moment a push is due.
* ``flat_out_per_second``: as many callers as fit, each with the next once it has its answer.

A push that is answered 2xx and not in the inbox voids the figure.
"""

import asyncio
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

import uvicorn
from django.db import connection

from channels_sync import services as channels
from channels_sync.connectors import CONNECTORS
from channels_sync.contracts import Connector, WebhookRequest
from channels_sync.field_maps import map_at_the_door
from channels_sync.models import ShopCredential
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline.bench import bare
from ordercenter.pipeline.bench.crew import Crew, Desk, crew
from ordercenter.pipeline.bench.lean import Answer, Gatherer, Shot, at_pace, flat_out, spread
from ordercenter.pipeline.bench.scratch import durability
from ordercenter.pipeline.drill.center import free_port
from ordercenter.run.children import Program

CHANNELS: Final = ("douyin", "shopify", "wechat", "crm_webhook")
CALLERS: Final = 16
MOST_A_SECOND: Final = 400
"""Pushes made ready for each second flat out; with fewer the time is what they took."""
GATHER_SECONDS: Final = 120.0
PUSHES_AN_ORDER: Final = 2
ASK_AT_ONCE: Final = 2000
WARM: Final = 20
"""Pushes before the first that counts: a server that has just started reads its code."""


@dataclass(slots=True)
class _Shop:
    """One shop's door, and the connector that reads what is sent to it."""

    id: int
    code: str
    connector: Connector


@dataclass(slots=True)
class _Figures:
    paced: list[Answer] = field(default_factory=list)
    paced_bare: list[Answer] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    acked: int = 0


def run(*, seconds: float, rate: float, flat_seconds: float, rounds: int) -> dict[str, Any]:
    """Measure both doors in turns, ``rounds`` times; then each flat out."""
    with crew() as hands:
        shops = _shops()
        gatherer = Gatherer(_yes(shops))
        with _listening(gatherer) as center:
            hands.start("sandbox", "web", "intake", "work", center=center)
            bare_port = _start_bare(hands)
            desk = Desk(hands.sandbox)
            try:
                gather = _Gathering(desk, shops, gatherer)
                warm = gather.take(WARM)
                _pace(hands, bare_port, warm, shops, _Figures(), rate=rate)
                figures = _Figures()
                for _ in range(rounds):
                    shots = gather.take(round(seconds * rate / rounds))
                    _pace(hands, bare_port, shots, shops, figures, rate=rate)
                shots = gather.take(round(flat_seconds * MOST_A_SECOND))
                flat = _flat(hands, bare_port, shots, shops, figures, seconds=flat_seconds)
                hands.check()
            finally:
                desk.close()
        settings = durability()
    return {
        "pushes": len(figures.paced),
        "by_channel": dict(figures.sent),
        "rate_per_second": rate,
        "acknowledged_ms": spread(a.waited for a in figures.paced),
        "bare_insert_ms": spread(a.waited for a in figures.paced_bare),
        **flat,
        "acknowledged": figures.acked,
        "all_in_the_inbox": True,
        "not_acknowledged": {str(status): n for status, n in figures.refused.items()},
        "callers_flat_out": CALLERS,
        "settings": settings,
    }


def _pace(
    hands: Crew, bare_port: int, shots: Sequence[Shot], shops: dict[str, _Shop],
    figures: _Figures, *, rate: float,
) -> None:  # fmt: skip
    figures.paced_bare += asyncio.run(at_pace(bare_port, [s.wire("/") for s in shots], rate=rate))
    answers = asyncio.run(at_pace(hands.config.port, [s.wire() for s in shots], rate=rate))
    figures.paced += answers
    figures.sent.update(_channel(shot) for shot in shots)
    _count(shots, answers, shops, figures)


def _flat(
    hands: Crew, bare_port: int, shots: Sequence[Shot], shops: dict[str, _Shop],
    figures: _Figures, *, seconds: float,
) -> dict[str, Any]:  # fmt: skip
    limits = {"seconds": seconds, "callers": CALLERS}
    plain, took = asyncio.run(flat_out(bare_port, [s.wire("/") for s in shots], **limits))  # type: ignore[arg-type]
    base = len(plain) / took
    answers, took = asyncio.run(flat_out(hands.config.port, [s.wire() for s in shots], **limits))  # type: ignore[arg-type]
    _count(shots, answers, shops, figures)
    done = sum(a.status == 200 for a in answers) / took  # noqa: PLR2004 - HTTP
    return {
        "flat_out_per_second": round(done),
        "flat_out_ms": spread(a.waited for a in answers),
        "bare_insert_per_second": round(base),
        "against_bare_insert": round(done / base, 2),
    }


def _count(
    shots: Sequence[Shot], answers: Sequence[Answer], shops: dict[str, _Shop], figures: _Figures
) -> None:
    """Count the answers; raise RuntimeError where one that was acknowledged is not kept."""
    good = [shots[a.shot] for a in answers if 200 <= a.status < 300]  # noqa: PLR2004 - HTTP
    figures.refused.update(a.status for a in answers if not 200 <= a.status < 300)  # noqa: PLR2004
    figures.acked += len(good)
    lost = sum(
        lost_of(good[at : at + ASK_AT_ONCE], shops) for at in range(0, len(good), ASK_AT_ONCE)
    )
    if lost:
        message = f"figure void: {lost} acknowledged messages are not in the inbox"
        raise RuntimeError(message)


def lost_of(shots: Sequence[Shot], shops: dict[str, _Shop]) -> int:
    """How many messages of these pushes the inbox does not hold."""
    wanted = set()
    for shot in shots:
        shop = shops[_channel(shot)]
        for message in shop.connector.split(_request(shot)):
            wanted.add((shop.id, channels.digest(message)))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM unnest(%s::bigint[], %s::bytea[]) AS v(shop_id, digest) "
            "WHERE NOT EXISTS (SELECT 1 FROM channels_sync_inboxmessage m "
            "WHERE m.shop_id = v.shop_id AND m.digest = v.digest)",
            [[shop for shop, _ in wanted], [told for _, told in wanted]],
        )
        return int(cursor.fetchone()[0])


def _channel(shot: Shot) -> str:
    return shot.path.split("/")[2]


def _request(shot: Shot) -> WebhookRequest:
    path, _, query = shot.path.partition("?")
    return WebhookRequest(
        "POST", path, dict(parse_qsl(query)), shot.headers, shot.body, clock_now()
    )


def _shops() -> dict[str, _Shop]:
    found = {}
    for credential in ShopCredential.objects.select_related("shop").filter(
        shop__channel__in=CHANNELS
    ):
        shop = credential.shop
        made = CONNECTORS[shop.channel](
            credential.access(), field_map=map_at_the_door(shop.channel, shop.pk)
        )
        found[shop.channel] = _Shop(shop.pk, shop.code, made)
    return found


def _yes(shops: dict[str, _Shop]) -> dict[str, tuple[bytes, str]]:
    """What each platform wants to hear."""
    asked = WebhookRequest("POST", "", {}, {}, b"", clock_now())
    said = {
        name: shop.connector.acknowledge(asked, duplicate=False) for name, shop in shops.items()
    }
    return {name: (reply.body, reply.content_type) for name, reply in said.items()}


class _Gathering:
    """Has the sandbox sell, and hands out what it pushes: each push once."""

    def __init__(self, desk: Desk, shops: dict[str, _Shop], gatherer: Gatherer) -> None:
        self.desk = desk
        self.shops = shops
        self.gatherer = gatherer
        self._seen: set[tuple[str, bytes]] = set()

    def take(self, count: int) -> list[Shot]:
        """``count`` pushes, fresh from their platforms, the channels in turn."""
        each = -(-count // len(self.shops))
        self.gatherer.shots.clear()
        orders = each // PUSHES_AN_ORDER + 1
        for shop in self.shops.values():
            self.desk.sell(orders, shop=shop.code)
        found: dict[str, list[Shot]] = {name: [] for name in self.shops}
        until = time.monotonic() + GATHER_SECONDS
        while any(len(shots) < each for shots in found.values()):
            if time.monotonic() > until:
                told = {name: len(shots) for name, shots in found.items()}
                message = f"figure void: the sandbox pushed {told} of {each}"
                raise RuntimeError(message)
            quiet = not self.gatherer.shots
            while self.gatherer.shots:
                self._sort(self.gatherer.shots.pop(0), found)
            if quiet:
                self._sell_more(found, each)
                time.sleep(0.5)
        turns = zip(*(shots[:each] for shots in found.values()), strict=True)
        return [shot for turn in turns for shot in turn][:count]

    def _sort(self, shot: Shot, found: dict[str, list[Shot]]) -> None:
        name = _channel(shot)
        messages = self.shops[name].connector.split(_request(shot))
        key = (name, b"".join(channels.digest(message) for message in messages))
        if key not in self._seen:
            self._seen.add(key)
            found[name].append(shot)

    def _sell_more(self, found: dict[str, list[Shot]], each: int) -> None:
        for name, shots in found.items():
            if len(shots) < each:
                self.desk.sell(
                    (each - len(shots)) // PUSHES_AN_ORDER + 1, shop=self.shops[name].code
                )


def _start_bare(hands: Crew) -> int:
    """Start the bare view as the web server is started; return its port."""
    with connection.cursor() as cursor:
        cursor.execute(bare.TABLE)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "ordercenter.pipeline.bench.bare:application"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--no-access-log", "--no-server-header", "--lifespan", "off"]
    hands.launch(Program("bare", "bare", command, rank=2), port=port)
    return port


@contextmanager
def _listening(gatherer: Gatherer) -> Iterator[str]:
    """Let the gatherer be reached while within."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(
            gatherer, host="127.0.0.1", port=port, log_level="warning", lifespan="off",
            interface="asgi3",
        )
    )  # fmt: skip
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
