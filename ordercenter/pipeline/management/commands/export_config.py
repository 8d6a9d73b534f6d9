"""Write rules, lists, mappings, stages and policies as one JSON document."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from ordercenter.core.errors import InvalidInput
from ordercenter.pipeline import config


class Command(BaseCommand):
    """Print the configuration, or write it to ``--out``.

    ``--json`` is accepted and changes nothing: the document is JSON anyway. Entries of lists
    that name persons go along as keyed indexes only ``--with-persons``.
    """

    help = _("导出规则、名单、映射、时限与策略为一个 JSON 文件")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--out", type=Path, metavar="FILE.json")
        parser.add_argument("--only", action="append", metavar="SECTION", help=_("只导出这些项"))
        persons = _("连同买家、电话、地址名单的索引（仅同一索引密钥下有效）")
        parser.add_argument("--with-persons", action="store_true", help=persons)
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            document = config.collect(
                with_persons=options["with_persons"], sections=options["only"] or config.SECTIONS
            )
        except InvalidInput as refusal:
            raise CommandError(str(refusal)) from refusal
        text = json.dumps(document, ensure_ascii=False, indent=2)
        if options["out"] is None:
            self.stdout.write(text)
            return
        try:
            options["out"].write_text(f"{text}\n", encoding="utf-8")
        except OSError as error:
            raise CommandError(_("写不了 %s") % options["out"]) from error
        self.stderr.write(_("已写入 %s") % options["out"])
