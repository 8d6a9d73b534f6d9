"""Check the stock's invariants now and put the result on the badge."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from ordercenter.pipeline import proof


class Command(BaseCommand):
    """Ends with 0 when all hold, with 1 and one line on stderr otherwise.

    With ``--json`` one document on stdout: ``{"green", "ran_at", "seconds", "levels",
    "movements", "checks", "broken"}``; ``broken`` maps a code to how many rows break it.
    """

    help = _("立即核对全部库存不变量，结果显示在库存页和看板的核对徽章上")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help=_("只输出一个 JSON 文档"))

    def handle(self, *args: Any, **options: Any) -> None:
        found = proof.prove_stock()
        if options["json"]:
            told = {
                "green": not found.broken,
                "ran_at": found.ran_at.isoformat(),
                "seconds": found.seconds,
                "levels": found.levels,
                "movements": found.movements,
                "checks": [one.code for one in proof.stock_invariants()],
                "broken": found.broken,
            }
            self.stdout.write(json.dumps(told, ensure_ascii=False, indent=1))
        else:
            words = _("%(levels)d 行库存、%(movements)d 笔流水，%(seconds).1f 秒") % {
                "levels": found.levels,
                "movements": found.movements,
                "seconds": found.seconds,
            }
            self.stdout.write(words)
        if found.broken:
            raise CommandError(_("不符：%(codes)s") % {"codes": "、".join(found.broken)})
