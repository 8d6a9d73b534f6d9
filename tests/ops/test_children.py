"""The processes the supervisor keeps, with small programs in their place."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ordercenter.run.children import SLOWEST_RESTART, Child, Program, stop_all

SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
NOTES_ITS_END = """
import pathlib, signal, sys, time
def end(*_):
    with pathlib.Path(sys.argv[1]).open("a") as file:
        file.write(sys.argv[2] + "\\n")
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(60)
"""
IGNORES_TERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""
FORKS = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid, flush=True)
time.sleep(60)
"""
SUPERVISES = """
import sys, time
from pathlib import Path
from ordercenter.run.children import Child, Program
program = Program("x", "x", [sys.executable, "-c", "import time; time.sleep(60)"], rank=1)
child = Child(program, Path(sys.argv[1]), {})
child.start()
print(child.process.pid, flush=True)
time.sleep(60)
"""
Make = Callable[..., Child]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(name: str, source: str, *arguments: str, rank: int = 1, grace: float = 5) -> Child:
        command = [sys.executable, "-c", source, *arguments]
        program = Program(name, name, command, rank, grace)
        return Child(program, tmp_path / f"{name}.log", dict(os.environ))

    return make


def started(*children: Child) -> None:
    for child in children:
        child.start()
    wait_for(lambda: all(child.last_lines(1) for child in children))


def wait_for(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """A zombie that nobody has reaped yet is not alive."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_the_highest_rank_has_ended_before_the_next_is_asked_to(make: Make, tmp_path: Path) -> None:
    notes = str(tmp_path / "notes")
    children = [
        make(name, NOTES_ITS_END, notes, name, rank=rank)
        for rank, name in enumerate(["sandbox", "web", "worker"])
    ]
    started(*children)
    assert stop_all(children, hurry=lambda: False) == []
    assert Path(notes).read_text().split() == ["worker", "web", "sandbox"]


def test_one_that_does_not_listen_is_killed_after_its_grace_and_named(make: Make) -> None:
    child = make("deaf", IGNORES_TERM, grace=0.3)
    started(child)
    assert stop_all([child], hurry=lambda: False) == ["deaf"]
    assert not child.alive


def test_a_second_ctrl_c_does_not_wait_for_the_grace(make: Make) -> None:
    child = make("deaf", IGNORES_TERM, grace=60)
    started(child)
    began = time.monotonic()
    stop_all([child], hurry=lambda: True)
    assert time.monotonic() - began < 5


def test_what_a_child_forked_goes_with_it(make: Make) -> None:
    child = make("forks", FORKS)
    started(child)
    grandchild = int(child.last_lines(1)[0])
    assert lives(grandchild)
    stop_all([child], hurry=lambda: False)
    wait_for(lambda: not lives(grandchild))


def test_one_that_keeps_dying_is_started_again_ever_more_slowly(make: Make) -> None:
    child = make("dies", "raise SystemExit(3)")
    waits = []
    for _ in range(7):
        child.start()
        assert child.process is not None
        assert child.process.wait() == 3
        waits.append(child.plan_restart())
    assert waits == [1, 2, 4, 8, 16, SLOWEST_RESTART, SLOWEST_RESTART]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of that")
def test_children_go_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISES, str(tmp_path / "x.log")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert supervisor.stdout is not None
    child = int(supervisor.stdout.readline())
    assert lives(child)
    supervisor.send_signal(signal.SIGKILL)
    supervisor.communicate()
    wait_for(lambda: not lives(child))
