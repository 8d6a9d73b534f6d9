"""The rival for a hot SKU: a Lua script in a Redis that survives a crash, where there is one."""

import asyncio
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SCRIPT: Final = (
    "if tonumber(redis.call('GET', KEYS[1])) < 1 then return 0 end "
    "redis.call('DECR', KEYS[1]) redis.call('SET', KEYS[2], 1) return 1"
)
"""Takes a unit and keeps a row for it."""
STARTS_IN: Final = 10.0


@dataclass(frozen=True, slots=True)
class Redis:
    """A Redis that writes every grant to disk before it answers."""

    port: int

    def grants_per_second(self, callers: int, seconds: float) -> float:
        """Grants/s of so many callers, each awaiting its own answer on a connection of its own."""
        return asyncio.run(self._grant(callers, seconds))

    async def _grant(self, callers: int, seconds: float) -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        await _ask(reader, writer, "SET", "units", "1000000000")
        script = await _ask(reader, writer, "SCRIPT", "LOAD", SCRIPT)
        writer.close()
        granted = 0
        until = time.perf_counter() + seconds

        async def caller(number: int) -> None:
            nonlocal granted
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            count = 0
            while time.perf_counter() < until:
                ref = f"{number}:{count}"
                answer = await _ask(reader, writer, "EVALSHA", script, "2", "units", ref)
                if answer != "1":
                    raise RuntimeError(f"figure void: {answer}")
                count += 1
            granted += count
            writer.close()

        await asyncio.gather(*(caller(number) for number in range(callers)))
        return granted / seconds


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *words: str) -> str:
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    writer.write(f"*{len(words)}\r\n{''.join(parts)}".encode())
    head = (await reader.readuntil(b"\r\n")).decode().strip()
    if head.startswith("$"):
        return (await reader.readexactly(int(head[1:]) + 2)).decode().strip()
    if head.startswith("-"):
        raise RuntimeError(head)
    return head[1:]


@contextmanager
def durable() -> Iterator[Redis | None]:
    """A Redis of our own on a free port of this machine; None where there is no redis-server."""
    binary = shutil.which("redis-server")
    if binary is None:
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(  # noqa: S603 - the redis-server of this machine
            [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "",
             "--appendonly", "yes", "--appendfsync", "always"],
            cwd=Path(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _wait_for(port)
            yield Redis(port)
        finally:
            server.terminate()
            server.wait(10)


def _wait_for(port: int) -> None:
    until = time.monotonic() + STARTS_IN
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return
