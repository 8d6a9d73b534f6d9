"""A web process as ``make run`` starts it, and bytes sent to it by hand."""

import contextlib
import select
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPResponse
from pathlib import Path
from typing import Final

from ordercenter.run.config import RunConfig, programs
from tests.doors.doors import Door, Pushed
from tests.warroom.conftest import ROOT, await_port, environment

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Center:
    """The process, and the doors it keeps."""

    port: int
    pid: int
    doors: dict[str, Door] = field(default_factory=dict)

    @contextlib.contextmanager
    def line(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=40) as made:
            yield made

    def send(self, data: bytes) -> Answer:
        """Send these bytes on a line of their own and read the answer."""
        with self.line() as line:
            with contextlib.suppress(OSError):  # it may have hung up on us in the middle
                line.sendall(data)
            return read_answer(line)

    def ask(
        self,
        pushed: Pushed,
        method: str = "POST",
        *,
        target: str = "",
        more: Headers = (),
        content_type: str | None = "application/json",
        host: str = "127.0.0.1",
    ) -> Answer:
        """One whole request."""
        start = head(pushed, method, target=target, more=more, content_type=content_type, host=host)
        return self.send(start + pushed.body)

    def resident(self) -> int:
        """Bytes of memory the process holds."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def seconds_of_a_request(self, count: int = 100) -> list[float]:
        """How long a small answer takes, sorted."""
        took = []
        for _ in range(count):
            began = time.monotonic()
            assert self.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").status == 200
            took.append(time.monotonic() - began)
        return sorted(took)


def head(
    pushed: Pushed,
    method: str = "POST",
    *,
    target: str = "",
    more: Headers = (),
    content_type: str | None = "application/json",
    host: str = "127.0.0.1",
    length: int | None = None,
) -> bytes:
    """The request line and headers; ``length`` -1 leaves the length out."""
    size = len(pushed.body) if length is None else length
    lines = [f"{method} {target or pushed.target} HTTP/1.1", f"Host: {host}"]
    lines += [] if size < 0 else [f"Content-Length: {size}"]
    lines += [] if content_type is None else [f"Content-Type: {content_type}"]
    lines += [f"{name}: {text}" for name, text in (*pushed.headers.items(), *more)]
    return "\r\n".join([*lines, "", ""]).encode()


def read_answer(line: socket.socket) -> Answer:
    answer = HTTPResponse(line)
    answer.begin()
    names = {name.lower(): text for name, text in answer.getheaders()}
    return Answer(answer.status, names, answer.read())


def is_answering(line: socket.socket) -> bool:
    return bool(select.select([line], [], [], 0)[0])


@contextlib.contextmanager
def started(folder: Path, workers: int = 1) -> Iterator[Center]:
    """Run the web process of ``make run`` on the database of the test."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = RunConfig("127.0.0.1", port, 1, workers, 1, reload=False)
    web = next(one for one in programs(config, folder) if one.name == "web")
    log = folder / f"{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            web.command, env=environment(), cwd=ROOT, stdout=output, stderr=output
        )
    try:
        await_port(process, port, log)
        yield Center(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Drips:
    """Lines that send a byte a second until the other end hangs up, each timed."""

    LONGEST: Final = 45.0

    def __init__(self, center: Center) -> None:
        self.center = center
        self.took: dict[str, list[float]] = {}
        self._open: dict[socket.socket, tuple[str, float]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def add(self, name: str, start: bytes, count: int = 1) -> None:
        for _ in range(count):
            made = socket.create_connection(("127.0.0.1", self.center.port), timeout=5)
            made.sendall(start)
            self._open[made] = (name, time.monotonic())

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        until = time.monotonic() + self.LONGEST
        while self._open and time.monotonic() < until and not self._stopped.is_set():
            for line in select.select(list(self._open), [], [], 0)[0]:
                self._end(line)
            for line in list(self._open):
                try:
                    line.sendall(b"x")
                except OSError:
                    self._end(line)
            self._stopped.wait(1)

    def _end(self, line: socket.socket) -> None:
        name, began = self._open.pop(line)
        self.took.setdefault(name, []).append(time.monotonic() - began)
        line.close()

    def wait(self) -> None:
        self._thread.join(self.LONGEST + 5)

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()
        for line in list(self._open):
            line.close()
