"""Rehearse: the whole center against the sandbox, with every trouble there is.

Runs on a data folder and ports of its own; the installation it is started from is not touched.
"""

import json
import os
import shutil
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from ordercenter.pipeline.drill.center import BASE_DIR, Center
from ordercenter.pipeline.drill.nasty import Wish, rehearse

FOLDER: Final = "drill"


class Command(BaseCommand):
    help = _("演练：在独立的数据目录里，让沙箱平台百般刁难，再逐单对账")
    requires_system_checks = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
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
        wish = Wish(
            minutes=options["minutes"], rate=options["rate"], kills=options["kills"],
            pack=options["pack"], level="all" if options["profile"] == "nasty" else "off",
        )  # fmt: skip
        try:
            center.start()
            self._say(f"{center.sandbox} {folder}")
            result = rehearse(center, wish, say=self._say)
        finally:
            center.stop()
        told = {"profile": options["profile"], **asdict(wish), **asdict(result),
                "good": result.is_good}  # fmt: skip
        self.stdout.write(json.dumps(told, ensure_ascii=False, indent=1, default=str))
        if not options["keep"] and result.is_good:
            shutil.rmtree(folder, ignore_errors=True)
        if not result.is_good:
            raise CommandError(_("账不平，或有消息没有处理完；数据留在 %s") % folder)

    def _say(self, words: str) -> None:
        self.stderr.write(words)


def _start_again(folder: Path) -> None:
    """Start this very command again on a fresh folder: the settings are bound to theirs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = {**os.environ, "ORDERCENTER_DATA": str(folder), "DATABASE_URL": ""}
    command = [sys.executable, str(BASE_DIR / "manage.py"), *sys.argv[1:]]
    os.execve(sys.executable, command, environment)  # noqa: S606 - ourselves
