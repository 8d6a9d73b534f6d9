"""A web process of its own on the database of the test."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Center:
    """A running web process."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/live/"


def database_url() -> str:
    """Name the database of this test for another process."""
    chosen = connection.settings_dict
    user = quote(str(chosen["USER"]), safe="")
    password = quote(str(chosen["PASSWORD"] or ""), safe="")
    port = f"&port={chosen['PORT']}" if chosen["PORT"] else ""
    host = quote(str(chosen["HOST"]), safe="")
    return f"postgres://{user}:{password}@/{chosen['NAME']}?host={host}{port}"


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "DATABASE_URL": database_url(),
        "DJANGO_SETTINGS_MODULE": "ordercenter.settings.test",
        "ORDERCENTER_DATA": str(settings.DATA_DIR),
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture(scope="session")
def start_center(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Center]]:
    """Return what starts a web process with further uvicorn options; all end with the run."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> Center:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "ordercenter.asgi:application"]
        command += ["--http", "ordercenter.serve:GuardedProtocol"]
        command += ["--port", str(port), "--lifespan", "off", "--log-level", "warning", *options]
        log = tmp_path_factory.mktemp("web") / f"{port}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=environment(), cwd=ROOT, stdout=output, stderr=output
            )
        running.append(process)
        await_port(process, port, log)
        return Center(port)

    yield start
    for process in running:
        process.terminate()
    for process in running:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"the web process did not come up: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def center(start_center: Callable[..., Center]) -> Center:
    return start_center()


def session_cookie(user: User) -> str:
    """Log ``user`` in; return the header a browser would send."""
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
