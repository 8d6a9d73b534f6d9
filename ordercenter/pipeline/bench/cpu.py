"""What a measurement costs in CPU: on a shared machine it says more than the clock."""

import contextlib
import os
import time
from pathlib import Path
from typing import Final

from django.db import connection

TICKS: Final = os.sysconf("SC_CLK_TCK")
PARENT, SPENT, SPENT_BY_ENDED = 0, slice(10, 12), slice(12, 14)
"""Where ``/proc/PID/stat`` tells them, behind the state."""


def cpu_seconds() -> float:
    """Of this process and the whole database server, and of their processes that have ended.

    The server must run on this machine; whoever else uses it is counted, too.
    """
    connection.ensure_connection()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        server = _stat(cursor.fetchone()[0])[PARENT]
    ticks = sum(_stat(server)[SPENT]) + sum(_stat(server)[SPENT_BY_ENDED])
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                told = _stat(int(folder.name))
                ticks += sum(told[SPENT]) if told[PARENT] == server else 0
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system + ticks / TICKS


def _stat(pid: int) -> list[int]:
    """The numbers of ``/proc/PID/stat`` behind the state."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return [int(one) for one in text.rpartition(")")[2].split()[1:]]
