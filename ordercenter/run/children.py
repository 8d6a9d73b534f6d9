"""The processes the supervisor keeps: start, watch, start again, stop."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

LOG_LIMIT: Final = 20 * 1024 * 1024
SLOWEST_RESTART: Final = 30.0
STEADY_SECONDS: Final = 60.0
PR_SET_PDEATHSIG: Final = 1

_prctl: Callable[..., int] | None = None
if sys.platform == "linux":
    _prctl = ctypes.CDLL(None, use_errno=True).prctl  # loaded before any fork needs it


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. ``rank`` orders the stopping: the highest goes first."""

    name: str
    label: str
    command: Sequence[str]
    rank: int
    grace: float = 8.0


@dataclass(slots=True)
class Child:
    """One program under our care; at most one process of it lives at a time."""

    program: Program
    log: Path
    environment: Mapping[str, str]
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    wait: float = 1.0
    due_at: float = field(default=0.0)

    def start(self) -> None:
        _turn_over(self.log)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own programs
                self.program.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                # A session of its own: Ctrl-C reaches the supervisor alone, which keeps the order.
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - no threads in the supervisor
            )
        self.started_at = time.monotonic()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def plan_restart(self) -> float:
        """Return after how many seconds to try again: longer each time, until it holds."""
        if time.monotonic() - self.started_at > STEADY_SECONDS:
            self.wait = 1.0
        wait, self.wait = self.wait, min(self.wait * 2, SLOWEST_RESTART)
        self.due_at = time.monotonic() + wait
        self.process = None
        return wait

    def signal(self, number: int) -> None:
        """Send a signal to the whole session of the child."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return

    def last_lines(self, count: int) -> list[str]:
        return last_lines(self.log, count)


def last_lines(log: Path, count: int) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]


def stop_all(children: Iterable[Child], *, hurry: Callable[[], bool]) -> list[str]:
    """Stop all, rank by rank; return the names of those that had to be killed.

    Waits for each rank at most its longest grace, not at all once ``hurry()`` holds.
    """
    living = [child for child in children if child.alive]
    killed = []
    for rank in sorted({child.program.rank for child in living}, reverse=True):
        peers = [child for child in living if child.program.rank == rank]
        for child in peers:
            if child.process is not None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + max(child.program.grace for child in peers)
        while any(child.alive for child in peers) and time.monotonic() < deadline and not hurry():
            time.sleep(0.05)
        for child in peers:
            if child.alive:
                killed.append(child.program.name)
            # Also when it went in order: what it forked may have stayed behind.
            child.signal(signal.SIGKILL)
            if child.process is not None:
                child.process.wait()
    return killed


def _turn_over(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))


def _die_with(parent: int) -> Callable[[], None] | None:
    """Return what lets a child get SIGTERM when ``parent`` dies, even by SIGKILL (Linux)."""
    prctl = _prctl
    if prctl is None:
        return None

    def arrange() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we asked
            os.kill(os.getpid(), signal.SIGTERM)

    return arrange
