"""Trouble on the line: calls that go wrong, as a drill ordered or as the weather has it.

Ordered faults (``/control/fault`` with a ``count``) hit the next calls of one platform, one
each (``half_write`` the next writes); the weather hits by chance. Both are counted. What is
served before the platform sees the call changes nothing there; ``half_body``, ``half_write``
and ``slow_drip`` spoil the true answer, so that a write has taken effect and its caller does
not know.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import httpx

from ordercenter.sandbox.weather import HOWS, LINE_KINDS, NUMBERS, Spell
from ordercenter.sandbox.words import HTML, PLATFORM_ERRORS, THROTTLES

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ordercenter.sandbox.book import Book

PLATFORMS: Final = frozenset(PLATFORM_ERRORS)
PREFIXES: Final = {"crm": "crm_webhook"}
"""Where the first part of a path is not the platform's code."""
BROKEN: Final = (500, 502, 503, 504)
JSON: Final = "application/json;charset=UTF-8"
CUT_SHORT: Final = frozenset({"half_body", "half_write", "slow_drip"})


class Faults:
    """The faults that are due, by platform, in the order they were asked for."""

    def __init__(self) -> None:
        self._due: defaultdict[str, deque[str]] = defaultdict(deque)

    def order(self, platform: str, kind: str, count: int) -> None:
        """Let the next ``count`` calls of ``platform`` go wrong; ValueError if unknown."""
        if platform not in PLATFORMS or kind not in LINE_KINDS:
            message = f"no fault {kind!r} for {platform!r}"
            raise ValueError(message)
        self._due[platform].extend([kind] * count)

    def put_back(self, platform: str, kind: str) -> None:
        """Let the next call have the fault that did not fit this one."""
        self._due[platform].appendleft(kind)

    def clear(self) -> None:
        self._due.clear()

    def due(self) -> dict[str, list[str]]:
        return {platform: list(kinds) for platform, kinds in self._due.items() if kinds}

    def take(self, platform: str) -> str | None:
        """The fault of this call, if one is due."""
        due = self._due.get(platform)
        return due.popleft() if due else None


class FaultyLine:
    """ASGI middleware that serves what ``faults`` has due and what the weather brings."""

    def __init__(self, app: ASGIApp, faults: Faults, book: Book) -> None:
        self.app = app
        self.faults = faults
        self.book = book

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = scope.get("path", "").strip("/").split("/", 1)[0]
        platform = PREFIXES.get(prefix, prefix)
        if scope["type"] != "http" or platform not in PLATFORMS:
            await self.app(scope, receive, send)
            return
        if self.book.weather.expires_token(platform):
            self.kill_tokens(platform)
        try:
            await self._serve(platform, scope, receive, self._dated(platform, send))
        finally:
            self.book.move_rows()

    def kill_tokens(self, platform: str) -> None:
        for shop in self.book.shops.values():
            if shop.channel == platform:
                self.book.kill_token(shop.code)

    async def _serve(self, platform: str, scope: Scope, receive: Receive, send: Send) -> None:
        spell: Spell | None = None
        kind = self.faults.take(platform)
        if kind is not None:
            self.book.weather.count(platform, kind, kind != "half_write")
        elif (spell := self.book.weather.on_the_line(platform)) is not None:
            kind = spell.kind
        if kind is None:
            await self.app(scope, receive, send)
        elif kind in CUT_SHORT:
            await self._cut_short(platform, kind, spell, (scope, receive, send))
        elif kind == "silence":
            await _keep_silent(receive, _number(spell, "hold"))
        elif kind == "reset":
            await _hang_up(receive)
        elif kind == "throttle":
            await self._throttle(platform, spell, send)
        elif kind == "error5xx":
            dice = self.book.weather.dice(platform, "status")
            status = 503 if spell is None else dice.choice(BROKEN)
            await _say(send, status, HTML, "text/html; charset=utf-8")
        elif kind == "html_200":
            await _say(send, 200, HTML, "text/html; charset=utf-8")
        else:
            await _say(send, 200, _text(PLATFORM_ERRORS[platform]), JSON)

    async def _throttle(self, platform: str, spell: Spell | None, send: Send) -> None:
        """The platform's own code, or HTTP 429 as an edge says it, with or without Retry-After."""
        how = "own" if spell is None else spell.how
        if how == "mix":
            how = self.book.weather.dice(platform, "how").choice(HOWS)
        if how == "own":
            await _say(send, 200, _text(THROTTLES[platform]), JSON)
            return
        wait = str(int(_number(spell, "retry_after")))
        more = [(b"retry-after", wait.encode())] if how == "429_retry" else []
        await _say(send, 429, "Too Many Requests", "text/plain", more)

    async def _cut_short(
        self,
        platform: str,
        kind: str,
        spell: Spell | None,
        call: tuple[Scope, Receive, Send],
    ) -> None:
        """Let the platform answer (a write takes effect), and spoil the answer."""
        scope, receive, send = call
        started: list[Message] = []
        body = bytearray()

        async def swallow(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.append(message)
            else:
                body.extend(message.get("body", b""))

        effects = self.book.effects
        await self.app(scope, receive, swallow)
        headers = [pair for pair in started[0]["headers"] if pair[0] != b"content-length"]
        if kind == "half_write":
            if self.book.effects > effects:
                self.book.weather.count(platform, kind)
                await _hang_up(receive)
                return
            if spell is None:  # only writes are cut: the fault waits for the next one
                self.faults.put_back(platform, kind)
            await _send_whole(send, started[0], headers, bytes(body))
        elif kind == "half_body":
            half = bytes(body[: len(body) // 2])
            await _send_whole(send, started[0], headers, half)
        else:
            await _drip(receive, send, started[0], bytes(body), _number(spell, "drip"))

    def _dated(self, platform: str, send: Send) -> Send:
        """``send`` with the Date of the platform's own clock."""
        at = self.book.clock() + self.book.weather.skew(platform)
        stamp = (b"date", formatdate(at, usegmt=True).encode())

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], stamp]}
            await send(message)

        return dated


def _number(spell: Spell | None, name: str) -> float:
    return NUMBERS[name] if spell is None else spell.number(name)


def _text(said: object) -> str:
    return json.dumps(said, ensure_ascii=False)


async def _say(
    send: Send, status: int, text: str, kind: str, more: list[tuple[bytes, bytes]] | None = None
) -> None:
    start: Message = {"type": "http.response.start", "status": status}
    headers = [(b"content-type", kind.encode()), *(more or [])]
    await _send_whole(send, start, headers, text.encode())


async def _send_whole(
    send: Send, start: Message, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({**start, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def _keep_silent(receive: Receive, seconds: float) -> None:
    """Say nothing until the caller gives up; after ``seconds`` hang up."""
    try:
        async with asyncio.timeout(seconds):
            await _until_gone(receive)
    except TimeoutError:
        await _hang_up(receive)


async def _hang_up(receive: Receive) -> None:
    """Close the connection without a word.

    The server's transport hangs at the ``receive`` it handed us; a caller in our own process
    has no connection, so he is told as his client would tell him.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        message = "connection reset by the sandbox"
        raise httpx.ReadError(message)
    transport.abort()
    await _until_gone(receive)


async def _drip(receive: Receive, send: Send, start: Message, body: bytes, seconds: float) -> None:
    """Send one byte every ``seconds``, until all is sent or the caller has gone."""
    gone = asyncio.create_task(_until_gone(receive))
    await send(start)
    for byte in body:
        await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
        await asyncio.wait({gone}, timeout=seconds)
        if gone.done():
            return
    gone.cancel()
    await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
