"""Run a rule set over the stored orders as they were; changes nothing."""

import json
from argparse import ArgumentParser
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError
from django.utils.translation import gettext as _
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ordercenter.core.clock import SHANGHAI
from ordercenter.core.errors import InvalidInput
from risk.backtesting import run_backtest
from risk.reports import Report

LARGEST_FILE: Final = 4 * 1024 * 1024
SHOWN: Final = 10


class _Bar(AbstractContextManager["_Bar"]):
    """Progress on stderr, where that is a terminal."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(_("回测"), total=None)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def show(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)


class Command(BaseCommand):
    """Back-test FILE: a list of rules, or an object that holds one under ``rules``.

    With ``--json`` one document on stdout. Rules or moments that cannot be read end it with one
    line on stderr. A moment without a zone is Beijing time; the stretch is [since, until), and a
    date alone its midnight.
    """

    help = _("用一份规则文件回测已有订单：命中哪些、每小时多少张卡片；不改动任何数据")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rules", type=Path, required=True, metavar="FILE.json")
        parser.add_argument("--since", metavar="TIME", help=_("自（含），缺省为第一张订单"))
        parser.add_argument("--until", metavar="TIME", help=_("至（不含），缺省到最后一张订单"))
        parser.add_argument("--workers", type=int, default=2, help=_("同时用几个数据库连接"))
        parser.add_argument("--seconds", type=int, default=600, help=_("最多计算多少秒"))
        parser.add_argument("--json", action="store_true", help=_("只输出一个 JSON 文档"))

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            since, until = _stretch(options["since"], options["until"])
            rules = _read(options["rules"])
            with _Bar() as bar:
                report = run_backtest(
                    rules,
                    since,
                    until,
                    workers=options["workers"],
                    seconds=options["seconds"],
                    progress=bar.show,
                )
        except InvalidInput as error:
            raise CommandError(str(error)) from error
        except OperationalError as error:
            words = _("没有在 %(s)d 秒内算完，请缩短时间范围，或用 --seconds 放宽")
            raise CommandError(words % {"s": options["seconds"]}) from error
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json(), ensure_ascii=False, indent=1))
            return
        for line in _summary(report):
            self.stdout.write(line)


def _stretch(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    first, last = _moment(since, "since"), _moment(until, "until")
    if first and last and first >= last:
        raise InvalidInput(what=_("--since 应早于 --until"))
    return first, last


def _moment(text: str | None, name: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        words = _("--%(name)s 不是时间：%(text)s（如 2026-11-11 或 2026-11-11T08:00）")
        raise InvalidInput(what=words % {"name": name, "text": text[:40]}) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=SHANGHAI)


def _read(path: Path) -> Any:
    """What is in the file: a list of rules, or an object with one. Raises InvalidInput."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InvalidInput(what=_("规则文件太大：%(path)s") % {"path": path})
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        words = _("读不到规则文件 %(path)s：%(why)s")
        raise InvalidInput(what=words % {"path": path, "why": error.strerror}) from error
    except (ValueError, RecursionError) as error:
        words = _("规则文件 %(path)s 不是 JSON")
        raise InvalidInput(what=words % {"path": path}) from error
    if not isinstance(data, list | dict):
        raise InvalidInput(what=_("规则文件应为规则的列表，或带 rules 的对象"))
    return data


def _summary(report: Report) -> list[str]:
    """The report as lines for people."""
    told = report.as_json(most_numbers=SHOWN)
    head = _("%(orders)d 单，命中 %(hit)d 单，其中拦下 %(stopped)d 单；%(s).1f 秒") % {
        "orders": told["orders"],
        "hit": told["hit_orders"],
        "stopped": told["stopped_orders"],
        "s": report.seconds,
    }
    cards = told["cards_per_hour"]
    work = _("卡片每小时平均 %(mean)s，最多 %(peak)d；人手每小时 %(capacity)d") % cards
    lines = [head, work]
    for rule in told["rules"]:
        numbers = " ".join(rule["orders"])
        more = " …" if rule["hits"] > len(rule["orders"]) else ""
        unknown = _("，无法判断 %(n)d") % {"n": rule["unknown"]} if rule["unknown"] else ""
        exempt = _("，其中豁免 %(n)d") % {"n": rule["exempt"]} if rule["exempt"] else ""
        figures = f"{rule['hits']}{exempt}{unknown}"
        lines.append(f"{rule['code']}  {rule['name']}  {figures}  {numbers}{more}")
    return lines
