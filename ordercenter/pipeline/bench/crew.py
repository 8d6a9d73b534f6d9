"""The processes of an installation beside a measurement, as ``make run`` starts them.

They work on the scratch database, with ports and a sandbox of their own.
"""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx
from django.db import connection

from ordercenter.pipeline.bench.scratch import scratch_database
from ordercenter.pipeline.drill.center import free_port
from ordercenter.run.children import Child, Program, stop_all
from ordercenter.run.config import RunConfig, child_environment, programs

UP_SECONDS: Final = 120.0
SETTLE_SECONDS: Final = 1800.0
QUIET_SECONDS: Final = 3.0
LOOK: Final = 0.1
SELL_AT_ONCE: Final = 500
"""Orders of one request to the sandbox, so that it answers others in between."""
OWN_OPTIONS: Final = frozenset({"pool", "application_name", "options", "prepare_threshold"})
"""What every process chooses for itself."""


def settle(hands: "Crew", waiting: Callable[[], int]) -> None:
    """Wait until nothing waits and it stays so. Raises RuntimeError if it does not."""
    until = time.monotonic() + SETTLE_SECONDS
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < QUIET_SECONDS:
        hands.check()
        left = waiting()
        if left:
            quiet_since = time.monotonic()
        if time.monotonic() > until:
            message = f"figure void: {left} messages still wait"
            raise RuntimeError(message)
        time.sleep(LOOK * 5)


def database_url() -> str:
    """Where the database in use now is, as ``DATABASE_URL`` says it."""
    chosen = connection.settings_dict
    who = quote(chosen["USER"], safe="")
    if chosen["PASSWORD"]:
        who += ":" + quote(chosen["PASSWORD"], safe="")
    port = f":{chosen['PORT']}" if chosen["PORT"] else ""
    options = {k: v for k, v in chosen["OPTIONS"].items() if k not in OWN_OPTIONS}
    query = urlencode({"host": chosen["HOST"], **options})
    return f"postgres://{who}@{port}/{quote(chosen['NAME'], safe='')}?{query}"


@dataclass(slots=True)
class Crew:
    """Processes of ``make run``, started and stopped by their names there."""

    folder: Path
    config: RunConfig
    children: list[Child] = field(default_factory=list)

    @property
    def sandbox(self) -> str:
        return self.config.sandbox_url

    @property
    def center(self) -> str:
        return self.config.center_url

    def start(self, *names: str, center: str = "") -> None:
        """Start these programs on the database in use; return once web and sandbox answer.

        ``center``: where the sandbox pushes to, if not to the web server of the crew.
        """
        ports = {"sandbox": self.config.sandbox_port, "web": self.config.port}
        for program in programs(self.config, self.folder):
            command = list(program.command)
            if center and program.name == "sandbox":
                command[command.index("--center") + 1] = center
            if program.name in names:
                port = ports.get(program.name)
                self.launch(replace(program, command=command), port=port)

    def launch(self, program: Program, *, port: int | None = None) -> None:
        """Start one program; with a ``port``, return once it listens there."""
        environment = {
            **child_environment(self.config, os.environ),
            "DATABASE_URL": database_url(),
            "HTTPS_ONLY": "false",
            "SANDBOX_RATE": "0",
        }
        child = Child(program, self.folder / f"{program.name}.log", environment)
        child.start()
        self.children.append(child)
        until = time.monotonic() + UP_SECONDS
        while port is not None and not _listens(port):
            self.check()
            if time.monotonic() > until:
                message = f"{program.name} did not come up"
                raise TimeoutError(message)
            time.sleep(LOOK)

    def stop(self) -> None:
        stop_all(self.children, hurry=lambda: False)
        self.children.clear()

    def check(self) -> None:
        """Raise RuntimeError where a process has died: its figure would be void."""
        for child in self.children:
            if not child.alive:
                told = "\n".join(child.last_lines(10))
                message = f"figure void: {child.program.name} died\n{told}"
                raise RuntimeError(message)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            return True
    except OSError:
        return False


@contextmanager
def crew() -> Iterator[Crew]:
    """A scratch database whose shops lie in a sandbox of their own, and the crew to work it."""
    config = RunConfig(
        host="127.0.0.1", port=free_port(), sandbox_port=free_port(), web_workers=1, workers=1,
        reload=False,
    )  # fmt: skip
    folder = Path(tempfile.mkdtemp(prefix="ordercenter-bench-"))
    try:
        with scratch_database(sandbox_url=config.sandbox_url):
            found = Crew(folder, config)
            try:
                yield found
            finally:
                found.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Desk:
    """The desk of the sandbox, and its books."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=120, trust_env=False)

    def post(self, path: str, **wish: Any) -> Any:
        return self._client.post(path, json=wish).raise_for_status().json()

    def get(self, path: str, **query: str) -> Any:
        return self._client.get(path, params=query).raise_for_status().json()

    def sell(self, count: int, **wish: Any) -> None:
        """Sell ``count`` clean orders now; of one ``shop``, or of all as the market goes."""
        for done in range(0, count, SELL_AT_ONCE):
            self.post("/control/sell", count=min(SELL_AT_ONCE, count - done), **wish)

    def sold(self, shop: str) -> int:
        """How many orders the book of ``shop`` holds."""
        found: int = self.get("/book/summary")["by_shop"].get(shop, 0)
        return found

    def close(self) -> None:
        self._client.close()
