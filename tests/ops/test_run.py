"""``python -m ordercenter.run`` as an operator meets it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ordercenter.run.config import read_config
from ordercenter.run.database import NotReady
from ordercenter.run.supervisor import only_run, read_demo

NOT_OURS = {"DJANGO_SETTINGS_MODULE", "DATABASE_URL", "HOST", "WORKERS", "WEB_WORKERS"}
COMMAND = [sys.executable, "-m", "ordercenter.run"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def environment(open_folder: Path) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if k not in NOT_OURS}
    return {
        **inherited,
        "ORDERCENTER_DATA": str(open_folder / "v"),
        "PORT": str(free_port()),
        "SANDBOX_PORT": str(free_port()),
        "SANDBOX_RATE": "0",
    }


def run(environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        COMMAND, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_port_in_use_gets_one_line_that_names_it_and_the_way_out(
    environment: dict[str, str],
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environment["PORT"])))
        taken.listen()
        done = run(environment)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"端口 {environment['PORT']} 已被占用" in done.stderr
    assert "PORT=" in done.stderr


def test_a_second_run_on_the_same_data_gets_one_line(environment: dict[str, str]) -> None:
    with only_run(Path(environment["ORDERCENTER_DATA"])):
        done = run(environment)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"订单中枢已在运行（进程 {os.getpid()}" in done.stderr


def test_the_lock_of_a_killed_run_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text("12345\n")
    with only_run(tmp_path):
        assert (tmp_path / "run.lock").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "http"), ("PORT", "70000"), ("WORKERS", "0"), ("PORT", "8100")]
)
def test_nonsense_in_the_environment_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(NotReady, match=name):
        read_config({name: value}, reload=False)


def test_demo_log_ins_that_cannot_be_read_are_not_passed_over() -> None:
    with pytest.raises(NotReady, match="load_demo"):
        read_demo("Loaded.")


def test_a_wrong_setting_gets_one_line_from_every_command(environment: dict[str, str]) -> None:
    manage = Path(__file__).parents[2] / "manage.py"
    done = subprocess.run(
        [sys.executable, str(manage), "migrate"],
        env={**environment, "DATABASE_URL": "mysql://somewhere/x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "DATABASE_URL" in done.stderr


def test_a_database_elsewhere_that_does_not_answer_gets_one_line_without_its_password(
    environment: dict[str, str],
) -> None:
    url = f"postgres://someone:geheim@127.0.0.1:{free_port()}/orders"
    done = run({**environment, "DATABASE_URL": url})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "DATABASE_URL" in done.stderr
    assert "geheim" not in done.stderr + done.stdout


@pytest.fixture
def running(environment: dict[str, str], tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(COMMAND, env=environment, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 60
        while "Ctrl-C" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.1)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def of_this_run(folder: Path) -> list[int]:
    """Return the processes that have the run's data folder in their environment or command."""
    found = []
    for proc in Path("/proc").iterdir():
        if not proc.name.isdigit() or int(proc.name) == os.getpid():
            continue
        try:
            told = (proc / "environ").read_bytes() + (proc / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in told:
            found.append(int(proc.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_ctrl_c_stops_everything_and_the_data_stays(
    running: "subprocess.Popen[bytes]", environment: dict[str, str], tmp_path: Path
) -> None:
    folder = Path(environment["ORDERCENTER_DATA"])
    url = f"http://127.0.0.1:{environment['PORT']}/healthz"
    with urllib.request.urlopen(url) as answer:
        assert answer.status == 200
    assert len(of_this_run(folder)) >= 5
    running.send_signal(signal.SIGINT)
    assert running.wait(25) == 0
    assert of_this_run(folder) == []
    assert (folder / "pg/cluster/PG_VERSION").exists()
    assert "已全部停止" in (tmp_path / "output").read_text()
