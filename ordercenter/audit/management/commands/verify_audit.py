"""Prove the audit trail whole, or list what was done to it."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from ordercenter.audit.seals import seals_folder
from ordercenter.audit.verify import verify


class Command(BaseCommand):
    """Print what was looked at and every finding; end with 1 and one line on stderr if any.

    With ``--json`` one document on stdout: ``{"ok", "links", "seals", "published", "since",
    "role", "one_role", "seconds", "findings": [{"kind", "where", "words"}]}``.
    """

    help = _("核对审计链：记录、链、封签与库外留存是否一致；只读")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--seals",
            default="",
            metavar="DIR",
            help=_("库外封签目录，默认为数据目录下 seals/"),
        )
        parser.add_argument("--recent", action="store_true", help=_("只查最近一次封签以来"))
        parser.add_argument("--json", action="store_true", help=_("只输出一个 JSON 文档"))

    def handle(self, *args: Any, **options: Any) -> None:
        folder = Path(options["seals"]) if options["seals"] else seals_folder()
        report = verify(folder, recent=options["recent"])
        if options["json"]:
            self.stdout.write(json.dumps(report.document(), ensure_ascii=False, indent=1))
        else:
            for finding in report.findings:
                self.stdout.write(f"✗ {finding.words}")
            if report.one_role:
                told = _("提示：应用与数据表所有者是同一数据库角色 %(role)s，见 docs/audit.md")
                self.stdout.write(told % {"role": report.role})
            self.stdout.write(
                _("核对 %(links)d 环、库内封签 %(seals)d、库外封签 %(published)d，%(s).1f 秒")
                % {**report.document(), "s": report.seconds}
            )
        if not report.ok:
            raise CommandError(_("审计链有 %(n)d 处不符") % {"n": len(report.findings)})
