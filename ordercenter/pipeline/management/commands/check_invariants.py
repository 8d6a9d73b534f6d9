"""Check everything that must always hold, in one snapshot of the database."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from rich.console import Console
from rich.table import Table
from rich.text import Text

from channels_sync.models import SyncCursor
from ordercenter.core.bulk import dumps
from ordercenter.core.errors import OrderCenterError
from ordercenter.pipeline.invariants import Outcome, Row, read_book, run_all
from ordercenter.pipeline.invariants.run import LIMIT


class Command(BaseCommand):
    """Print one line an invariant, and the rows that break it.

    Ends with 0 when all hold, with 1 and one line on stderr otherwise. With ``--json`` one
    document on stdout: ``{"green", "seconds", "invariants": [{"code", "words", "holds",
    "seconds", "broken"}]}``.
    """

    help = _("在一个快照里检查全部不变量，列出违反的行；只读，不改任何数据")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--only", default=None, metavar="S1,R1", help=_("只查这些"))
        parser.add_argument("--limit", type=_positive, default=LIMIT, help=_("每项最多列出的行数"))
        parser.add_argument(
            "--book", default="", metavar="URL", help=_("外部账本（沙箱）的地址，逐单比对")
        )
        parser.add_argument("--json", action="store_true", help=_("只输出一个 JSON 文档"))

    def handle(self, *args: Any, **options: Any) -> None:
        only = None if options["only"] is None else options["only"].split(",")
        try:
            book = None
            if options["book"]:
                shops = SyncCursor.objects.values_list("shop__code", flat=True)
                book = read_book(options["book"], list(shops))
            outcomes = run_all(only, options["limit"], book=book)
        except OrderCenterError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(document(outcomes), ensure_ascii=False, indent=1))
        else:
            self._show(outcomes)
        red = [one.code for one in outcomes if not one.holds]
        if red:
            words = _("有 %(n)d 项不变量被违反：%(codes)s") % {
                "n": len(red),
                "codes": "、".join(red),
            }
            raise CommandError(words)

    def _show(self, outcomes: Sequence[Outcome]) -> None:
        console = Console(file=self.stdout)  # type: ignore[arg-type]
        table = Table()
        for heading in ("", _("编号"), _("始终成立"), _("违反"), _("秒")):
            table.add_column(heading, overflow="fold")
        for one in outcomes:
            mark = Text("✓", "green") if one.holds else Text("✗", "bold red")
            count = str(len(one.broken)) if one.broken else ""
            table.add_row(mark, one.code, Text(one.words), count, f"{one.seconds:.2f}")
        console.print(table)
        for one in outcomes:
            for row in one.broken:
                console.print(Text(f"{one.code} {words(row)}"), soft_wrap=True)
        took = sum(one.seconds for one in outcomes)
        console.print(Text(_("共 %(n)d 项，%(s).1f 秒") % {"n": len(outcomes), "s": took}))


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise ArgumentTypeError(_("须为正整数"))
    return int(text)


def words(row: Row) -> str:
    """One row in one line; values a buyer could have typed are quoted."""
    facts = {key: value for key, value in row.items() if key not in {"why", "kind", "id"}}
    return f"{row['why']}：{row['kind']} {row['id']} {dumps(facts)}"


def document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The JSON document; money and times are text."""
    return {
        "green": all(one.holds for one in outcomes),
        "seconds": round(sum(one.seconds for one in outcomes), 3),
        "invariants": [
            {
                "code": one.code,
                "words": one.words,
                "holds": one.holds,
                "seconds": one.seconds,
                "broken": json.loads(dumps(one.broken)),
            }
            for one in outcomes
        ],
    }
