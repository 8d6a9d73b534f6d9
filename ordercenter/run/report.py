"""What a run tells the person at the terminal."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ordercenter.run.children import Child
from ordercenter.run.config import RunConfig
from ordercenter.run.database import short


class Report:
    def __init__(self, console: Console) -> None:
        self.console = console
        self._details: list[str] = []

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Print one line for what is done inside, with the time it took."""
        began = time.monotonic()
        self._details = []
        with contextlib.ExitStack() as stack:
            if self.console.is_terminal:
                stack.enter_context(self.console.status(f"{name}……"))
            yield
        took = f"{time.monotonic() - began:.1f} 秒"
        self._say("✓", "green", "  ".join([f"{name}就绪", *self._details, took]))

    def detail(self, text: str) -> None:
        self._details.append(text)

    def ready(
        self,
        config: RunConfig,
        logins: Sequence[Mapping[str, Any]],
        folder: Path,
        seconds: float,
    ) -> None:
        self.console.print()
        table = Table(title=f"订单中枢已就绪（{seconds:.0f} 秒）", title_justify="left")
        table.add_column("页面")
        table.add_column("地址", no_wrap=True)
        url = config.center_url
        for name, address in (
            ("后台与审核墙", f"{url}/admin/"),
            ("作战室看板", f"{url}/board/"),
            ("沙箱平台", config.sandbox_url),
            ("健康检查", f"{url}/healthz"),
        ):
            table.add_row(name, address)
        self.console.print(table)
        people = Table(title="演示账号（仅供本机试用）", title_justify="left")
        for heading in ("角色", "用户名", "密码"):
            people.add_column(heading, no_wrap=True)
        for login in logins:
            row = (login.get("role", ""), login.get("username", ""), login.get("password", ""))
            people.add_row(*(Text(str(cell)) for cell in row))
        self.console.print(people)
        self.console.print(f"日志在 {short(folder / 'log')}/，按 Ctrl-C 停止全部。")

    def died(self, child: Child, code: int, wait: float) -> None:
        how = f"代码 {code}" if code >= 0 else f"信号 {-code}"
        text = f"{child.program.label}意外退出（{how}），{wait:.0f} 秒后重启；日志 {child.log}"
        self._say("!", "yellow", text)
        self.lines(child.last_lines(5))

    def restarted(self, child: Child) -> None:
        self._say("✓", "green", f"{child.program.label}已重启")

    def reloading(self) -> None:
        self._say("·", "cyan", "源码有变化，正在重启各进程")

    def stopping(self) -> None:
        self._say("·", "cyan", "正在停止……再按一次 Ctrl-C 立即结束")

    def killed(self, names: Sequence[str]) -> None:
        if names:
            self._say("!", "yellow", f"未按时退出，已强制结束：{'、'.join(names)}")

    def stopped(self) -> None:
        self._say("✓", "green", "已全部停止，数据已保留")

    def lines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.console.print(Text(f"    {line}", style="dim"), soft_wrap=True)

    def _say(self, mark: str, style: str, text: str) -> None:
        self.console.print(Text.assemble((mark, style), " ", text), soft_wrap=True)
