"""Bring everything up in order, keep it up, and take it down in reverse order."""

import contextlib
import fcntl
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from ordercenter.core.embedded import make_folder
from ordercenter.run.children import Child, last_lines, stop_all
from ordercenter.run.config import (
    BASE_DIR,
    MANAGE,
    RunConfig,
    child_environment,
    newest_change,
    programs,
    require_free_ports,
)
from ordercenter.run.database import NotReady, data_dir, ensure_database, leave_database, where
from ordercenter.run.report import Report

READY_SECONDS: Final = 90.0
SOURCES: Final = ("ordercenter", "channels_sync", "inventory", "risk", "fulfillment", "templates")


class Stopped(Exception):
    """Somebody asked us to stop; not a failure."""


class Supervisor:
    """One run of the order center on one data folder."""

    def __init__(self, config: RunConfig, report: Report, environment: Mapping[str, str]) -> None:
        self.config = config
        self.report = report
        self.environment = child_environment(config, environment)
        self.children: list[Child] = []
        self.asked_to_stop = 0

    def run(self) -> None:
        """Run until asked to stop. Raises NotReady when it cannot come up."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        with only_run(data_dir()):
            try:
                self._bring_up()
                self._keep_up()
            except Stopped:
                self.report.stopping()
            finally:
                self._take_down()
        self.report.stopped()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.asked_to_stop += 1

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.asked_to_stop and time.monotonic() < deadline:
            time.sleep(0.05)
        if self.asked_to_stop:
            raise Stopped

    def _bring_up(self) -> None:
        began = time.monotonic()
        folder = data_dir()
        make_folder(folder / "log")
        require_free_ports(self.config)
        with self.report.step("数据库"):
            ensure_database()
            self.report.detail(where())
        with self.report.step("数据表"):
            self._once("migrate", "migrate", "--noinput")
        with self.report.step("演示商家"):
            demo = read_demo(self._once("load_demo", "load_demo", "--json"))
        self.children = [
            Child(program, folder / "log" / f"{program.name}.log", self.environment)
            for program in programs(self.config, folder)
        ]
        for child in self.children:
            child.start()
        with self.report.step("沙箱平台"):
            self._await("sandbox", self._sandbox_answers)
        with self.report.step("网页服务"):
            self._await("web", self._web_answers)
        self.report.ready(self.config, demo, folder, time.monotonic() - began)

    def _once(self, name: str, *command: str) -> str:
        """Run a management command to its end and return what it printed."""
        log = data_dir() / "log" / f"{name}.log"
        output = log.with_suffix(".out")
        with log.open("wb") as errors, output.open("wb") as printed:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [*MANAGE, *command],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=errors,
                env=self.environment,
                start_new_session=True,
            )
        try:
            while process.poll() is None:
                self._pause(0.1)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
            text = output.read_text(encoding="utf-8", errors="replace")
            output.unlink()  # demo passwords are shown, not kept
        if process.returncode:
            self.report.lines(last_lines(log, 15))
            raise NotReady(f"manage.py {' '.join(command)} 失败；完整输出在 {log}")
        return text

    def _await(self, name: str, answers: Callable[[], bool]) -> None:
        child = next(child for child in self.children if child.program.name == name)
        deadline = time.monotonic() + READY_SECONDS
        while not answers():
            if not child.alive or time.monotonic() > deadline:
                what = "没有在限时内就绪" if child.alive else "启动后退出"
                self.report.lines(child.last_lines(15))
                raise NotReady(f"{child.program.label}{what}；完整输出在 {child.log}")
            self._pause(0.1)

    def _web_answers(self) -> bool:
        connection = http.client.HTTPConnection(
            self.config.reachable_host, self.config.port, timeout=5
        )
        try:
            connection.request("GET", "/healthz")
            # A redirect to https or a refused Host is an answer too.
            return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _sandbox_answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.config.sandbox_port), timeout=2):
                return True
        except OSError:
            return False

    def _keep_up(self) -> None:
        folders = [BASE_DIR / name for name in SOURCES] if self.config.reload else []
        seen = newest_change(folders)
        while True:
            self._pause(0.5)
            for child in self.children:
                self._look_after(child)
            if folders and (now := newest_change(folders)) != seen:
                seen = now
                self.report.reloading()
                mine = [child for child in self.children if child.program.name != "sandbox"]
                stop_all(mine, hurry=lambda: self.asked_to_stop > 1)
                for child in mine:
                    child.start()

    def _look_after(self, child: Child) -> None:
        if child.process is None:
            if time.monotonic() >= child.due_at:
                child.start()
                self.report.restarted(child)
        elif not child.alive:
            code = child.process.returncode
            child.signal(signal.SIGKILL)  # what it forked must not stay behind
            self.report.died(child, code, child.plan_restart())

    def _take_down(self) -> None:
        killed = stop_all(self.children, hurry=lambda: self.asked_to_stop > 1)
        leave_database()
        self.report.killed(killed)


@contextlib.contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Hold the run lock of ``folder``. A killed run has lost it, so it is never stale."""
    make_folder(folder)
    handle = os.open(folder / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(handle, 20, 0).decode().strip() or "未知"
            raise NotReady(
                f"订单中枢已在运行（进程 {pid}，数据目录 {folder}）；"
                f"请先按 Ctrl-C 停止它，或用 ORDERCENTER_DATA 指定另一个数据目录"
            ) from error
        os.truncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
        os.truncate(handle, 0)
    finally:
        os.close(handle)


def read_demo(text: str) -> Sequence[Mapping[str, Any]]:
    """Return the log-ins out of what ``load_demo --json`` printed."""
    try:
        found = json.loads(text)["logins"]
    except (ValueError, KeyError, TypeError) as error:
        raise NotReady("manage.py load_demo --json 没有给出演示账号；请查看它的输出") from error
    return list(found)
