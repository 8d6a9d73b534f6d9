"""A bare baseline for doors, and a lean client that sends what was made before at a given pace."""

import asyncio
import statistics
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

HEAD_END: Final = b"\r\n\r\n"
PATIENCE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Shot:
    """One request, made before the clock starts."""

    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def wire(self, path: str = "") -> bytes:
        head = [f"POST {path or self.path} HTTP/1.1", "Host: 127.0.0.1"]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        head += [f"Content-Length: {len(self.body)}"]
        return "\r\n".join(head).encode() + HEAD_END + self.body


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one shot. ``status`` 0: nothing did. ``waited`` in milliseconds, from the
    moment it was due, so that a caller who comes late for want of a line counts too."""

    shot: int
    status: int
    waited: float


class _Lines:
    """Kept-alive connections to one server; as many as are needed at once."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()

    async def ask(self, wire: bytes) -> int:
        """Send a request and read the answer whole; its status, 0 where there is none."""
        try:
            async with asyncio.timeout(PATIENCE):
                line = self._idle.pop() if self._idle else await self._open()
                line[1].write(wire)
                status = await _read(line[0])
        except (OSError, EOFError, ValueError, TimeoutError):
            return 0
        self._idle.append(line)
        return status

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(HEAD_END)).decode("latin-1").lower()
    length = head.partition("content-length:")[2].partition("\r\n")[0]
    await reader.readexactly(int(length))
    return int(head.split(" ", 2)[1])


async def at_pace(port: int, wires: Sequence[bytes], *, rate: float) -> list[Answer]:
    """Send each when it is due, ``rate`` a second, whether or not the ones before are answered."""
    lines = _Lines(port)
    start = time.perf_counter() + 0.1

    async def one(turn: int) -> Answer:
        due = start + turn / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        status = await lines.ask(wires[turn])
        return Answer(turn, status, (time.perf_counter() - due) * 1000)

    try:
        return list(await asyncio.gather(*(one(turn) for turn in range(len(wires)))))
    finally:
        lines.close()


async def flat_out(
    port: int, wires: Sequence[bytes], *, seconds: float, callers: int
) -> tuple[list[Answer], float]:
    """As fast as ``callers`` get their answers, for so long or until all are sent."""
    lines = _Lines(port)
    answers: list[Answer] = []
    turns = iter(range(len(wires)))
    start = time.perf_counter()

    async def caller() -> None:
        for turn in turns:
            began = time.perf_counter()
            if began - start >= seconds:
                return
            status = await lines.ask(wires[turn])
            answers.append(Answer(turn, status, (time.perf_counter() - began) * 1000))

    try:
        await asyncio.gather(*(caller() for _ in range(callers)))
        return answers, time.perf_counter() - start
    finally:
        lines.close()


def spread(values: Iterable[float]) -> dict[str, float]:
    """p50, p95, p99 and the worst; of nothing, nothing."""
    ordered = sorted(values)
    if not ordered:
        return {}
    found = {"p50": statistics.median(ordered), "max": ordered[-1]}
    found |= {f"p{n}": ordered[min(len(ordered) - 1, len(ordered) * n // 100)] for n in (95, 99)}
    return {name: round(found[name], 2) for name in ("p50", "p95", "p99", "max")}


class Gatherer:
    """A door that keeps every push as it came and says yes to it, the way its sender wants."""

    def __init__(self, answers: Mapping[str, tuple[bytes, str]]) -> None:
        self.answers = answers
        """By channel: body and content type."""
        self.shots: list[Shot] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            told = await receive()
            body += told.get("body", b"")
            if not told.get("more_body"):
                break
        query = scope["query_string"].decode()
        path = scope["path"] + (f"?{query}" if query else "")
        channel = scope["path"].split("/")[2]
        said, kind = self.answers.get(channel, (b"", "text/plain"))
        if scope["method"] == "POST" and channel in self.answers:
            self.shots.append(Shot(path, _kept(scope["headers"]), body))
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", kind.encode())],
            }
        )
        await send({"type": "http.response.body", "body": said})


def _kept(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """What the sender said of the body and of itself; not what it said of its connection."""
    own = {"host", "content-length", "connection", "accept-encoding", "accept", "user-agent"}
    told = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
    return {name: value for name, value in told if name not in own}
