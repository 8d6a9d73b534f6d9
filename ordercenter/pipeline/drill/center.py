"""A whole order center of its own for a rehearsal: started, killed at will, taken down."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

BASE_DIR: Final = Path(__file__).resolve().parents[3]
UP_SECONDS: Final = 400.0
DOWN_SECONDS: Final = 40.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Center:
    """``python -m ordercenter.run`` on a data folder and ports of its own.

    Its supervisor starts again whatever dies, as it would on a seller's machine.
    """

    def __init__(self, folder: Path, *, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.port, self.sandbox_port = free_port(), free_port()
        self.environment = {
            **environment,
            "PORT": str(self.port),
            "SANDBOX_PORT": str(self.sandbox_port),
            "SANDBOX_RATE": "0",
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def sandbox(self) -> str:
        return f"http://127.0.0.1:{self.sandbox_port}"

    def start(self) -> None:
        """Start and wait until the web answers. Raises TimeoutError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "run.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ordercenter.run"],
                cwd=BASE_DIR, env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + UP_SECONDS
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > until:
                raise TimeoutError(f"the center did not come up, see {self.folder / 'run.log'}")
            time.sleep(0.5)

    def _is_ready(self) -> bool:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            line.request("GET", "/readyz", headers={"Host": "127.0.0.1"})
            return line.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            line.close()

    def kill(self, what: str) -> int:
        """SIGKILL every process of the run whose command line holds ``what``; return how many."""
        assert self.process is not None
        victims = [pid for pid in _below(self.process.pid) if what in _command(pid)]
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return len(victims)

    def stop(self) -> None:
        """Take everything down in order; what will not go is killed."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=DOWN_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in [*_below(self.process.pid), self.process.pid]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self.process.wait()


def _below(pid: int) -> list[int]:
    """Every process that came of ``pid``, its own not among them."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                told = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(told.rpartition(")")[2].split()[1])
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [one for child in found for one in _below(child)]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
