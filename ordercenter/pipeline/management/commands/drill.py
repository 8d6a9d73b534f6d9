"""Rehearse: the whole center against the sandbox, with every trouble there is.

Runs on a data folder and ports of its own; the installation it is started from is not touched.
"""

import json
import os
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from ordercenter.pipeline.drill import doubles, hot, labels, nasty, scarce, truth
from ordercenter.pipeline.drill.center import BASE_DIR, Center
from ordercenter.pipeline.drill.desk import Say

FOLDER: Final = "drill"
Options = Mapping[str, Any]


class Command(BaseCommand):
    help = _("演练：在独立的数据目录里，让沙箱平台百般刁难，再逐单对账")
    requires_system_checks = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--scenario", choices=list(SCENARIOS), default="books",
            help=_("books 逐单对账；n01 37 件库存 1000 个买家；n03 六成八的订单抢一个货品；"
                   "n04 快递系统打印一万张面单；n08 五分钟内 176 对重复下单；"
                   "truth 埋下的异常抓住几成、误拦几单"),
        )  # fmt: skip
        parser.add_argument("--buyers", type=int, default=1_000, help=_("n01：多少买家"))
        parser.add_argument("--orders", type=int, default=1_200, help=_("n03：共多少单"))
        parser.add_argument("--labels", type=int, default=10_000, help=_("n04：打印多少次面单"))
        parser.add_argument("--pairs", type=int, default=176, help=_("n08：多少对"))
        parser.add_argument("--profile", choices=["nasty", "calm"], default="nasty")
        parser.add_argument("--minutes", type=float, default=10.0, help=_("持续几分钟"))
        parser.add_argument("--rate", type=float, default=20.0, help=_("每秒卖出几单"))
        parser.add_argument("--kills", type=int, default=3, help=_("中途 SIGKILL 几次"))
        parser.add_argument("--pack", type=float, default=2.0, help=_("每秒打包几件"))
        parser.add_argument("--keep", action="store_true", help=_("结束后保留数据目录"))
        parser.add_argument("--json", action="store_true", help=_("只输出一个 JSON 文档"))

    def handle(self, *args: Any, **options: Any) -> None:
        folder = Path(settings.DATA_DIR)
        if folder.name != FOLDER:
            _start_again(folder / FOLDER)
        center = Center(folder, environment={"DATABASE_URL": "", "REDIS_URL": ""})
        try:
            center.start()
            self._say(f"{center.sandbox} {folder}")
            told, is_good = SCENARIOS[options["scenario"]](center, options, self._say)
        finally:
            center.stop()
        told = {"scenario": options["scenario"], **told, "good": is_good}
        self.stdout.write(json.dumps(told, ensure_ascii=False, indent=1, default=str))
        if not options["keep"] and is_good:
            shutil.rmtree(folder, ignore_errors=True)
        if not is_good:
            raise CommandError(_("演练没有达到要求；数据留在 %s") % folder)

    def _say(self, words: str) -> None:
        self.stderr.write(words)


Told = tuple[dict[str, Any], bool]


def _books(center: Center, options: Options, say: Say) -> Told:
    wish = nasty.Wish(
        minutes=options["minutes"], rate=options["rate"], kills=options["kills"],
        pack=options["pack"], level="all" if options["profile"] == "nasty" else "off",
    )  # fmt: skip
    result = nasty.rehearse(center, wish, say=say)
    return {"profile": options["profile"], **asdict(wish), **asdict(result)}, result.is_good


def _scarce(center: Center, options: Options, say: Say) -> Told:
    result = scarce.rehearse(center, buyers=options["buyers"], say=say)
    return asdict(result), result.is_good


def _hot(center: Center, options: Options, say: Say) -> Told:
    result = hot.rehearse(center, orders=options["orders"], rate=options["rate"], say=say)
    return {**asdict(result), "times": result.times}, result.is_good


def _labels(center: Center, options: Options, say: Say) -> Told:
    result = labels.rehearse(center, prints=options["labels"], say=say)
    return asdict(result), result.is_good


def _doubles(center: Center, options: Options, say: Say) -> Told:
    result = doubles.rehearse(center, pairs=options["pairs"], say=say)
    return asdict(result), result.is_good


def _truth(center: Center, options: Options, say: Say) -> Told:
    minutes, rate = options["minutes"], options["rate"]
    result = truth.rehearse(center, minutes=minutes, rate=rate, say=say)
    return asdict(result), result.is_good


SCENARIOS: Final[Mapping[str, Callable[[Center, Options, Say], Told]]] = {
    "books": _books,
    "n01": _scarce,
    "n03": _hot,
    "n04": _labels,
    "n08": _doubles,
    "truth": _truth,
}


def _start_again(folder: Path) -> None:
    """Start this very command again on a fresh folder: the settings are bound to theirs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = {**os.environ, "ORDERCENTER_DATA": str(folder), "DATABASE_URL": ""}
    command = [sys.executable, str(BASE_DIR / "manage.py"), *sys.argv[1:]]
    os.execve(sys.executable, command, environment)  # noqa: S606 - ourselves
