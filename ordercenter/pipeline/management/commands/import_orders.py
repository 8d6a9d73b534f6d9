"""Take the orders of a spreadsheet in, through the same inbox and path as everything else."""

import json
import time
from argparse import ArgumentParser
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from channels_sync.sheets.orders import Sheet, Survey
from channels_sync.sheets.rows import SheetError
from ordercenter.catalog.models import Shop
from ordercenter.core.bulk import collect_seldom
from ordercenter.core.errors import InvalidInput
from ordercenter.orders.states import HoldKind, OrderStatus
from ordercenter.pipeline import imports
from ordercenter.pipeline.imports import Report

SHOWN: Final = 20


class _Bar(AbstractContextManager["_Bar"]):
    """Progress on stderr: how much of the file is read, and what came of it."""

    def __init__(self, sheet: Sheet) -> None:
        self._sheet = sheet
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,  # a log wants the one line of a refusal, no bars
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def begin(self, words: str) -> None:
        self._task = self._progress.add_task(words, total=None, told="")

    def _show(self, told: str) -> None:
        assert self._task is not None
        meter = self._sheet.meter
        self._progress.update(self._task, completed=meter.done, total=meter.total, told=told)

    def surveyed(self, found: Survey) -> None:
        told = _("%(rows)d 行，%(orders)d 单") % {
            "rows": found.rows,
            "orders": len(found.rows_of),
        }
        self._show(told)

    def taken(self, report: Report) -> None:
        told = _("接收 %(orders)d，挂起 %(held)d，隔离 %(bad)d") % {
            "orders": report.orders,
            "held": report.held,
            "bad": len(report.quarantined),
        }
        self._show(told)


class Command(BaseCommand):
    """Import FILE into ``--shop``. The same file twice changes nothing.

    With ``--json`` one document on stdout (``Report``). A fault of the whole file (encoding,
    header, an unclosed quote) ends it with one line on stderr and nothing stored; a bad row
    costs its own order only and is quarantined with its row number and reason.
    """

    help = _("导入表格订单（CSV，可 gzip），与平台订单走同一收件箱与流程")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.csv[.gz]")
        parser.add_argument("--shop", required=True, metavar="CODE", help=_("店铺编码"))
        parser.add_argument(
            "--create-shop", default="", metavar="NAME", help=_("店铺不存在时以此名称新建")
        )
        parser.add_argument("--mapping", type=Path, metavar="FILE.json", help=_("列映射文件"))
        parser.add_argument("--json", action="store_true", help=_("只输出一个 JSON 文档"))
        parser.add_argument("--dry-run", action="store_true", help=_("只检查，不写入任何数据"))

    def handle(self, *args: Any, **options: Any) -> None:
        collect_seldom()
        try:
            report = self._run(options)
        except (InvalidInput, SheetError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            told = {"dry_run": options["dry_run"], **report.as_json()}
            self.stdout.write(json.dumps(told, ensure_ascii=False, indent=1))
            return
        for line in _summary(report, dry=options["dry_run"]):
            self.stdout.write(line)

    def _run(self, options: dict[str, Any]) -> Report:
        mapping = imports.load_mapping(
            options["mapping"], max_bytes=settings.IMPORT_MAX_UNPACKED_BYTES
        )
        started = time.monotonic()
        sheet = Sheet(options["file"], mapping)
        code, dry = options["shop"], options["dry_run"]
        if not options["create_shop"] or Shop.objects.filter(code=code).exists():
            imports.shop_for(code, create="", currency=mapping.rules.currency)
        with _Bar(sheet) as bar:
            bar.begin(_("检查文件"))
            found = imports.survey(sheet, bar.surveyed)
            bar.begin(_("试读订单") if dry else _("导入订单"))
            if dry:
                known = Shop.objects.filter(code=code).first()
                report = imports.rehearse(sheet, found, known, bar.taken)
            else:
                shop = imports.shop_for(
                    code, create=options["create_shop"], currency=mapping.rules.currency
                )
                report = imports.take_in(sheet, found, shop, bar.taken)
        report.seconds = round(time.monotonic() - started, 3)
        return report


def _summary(report: Report, *, dry: bool) -> list[str]:
    """The report as lines for people."""
    head = _("试读（未写入）：") if dry else _("导入完成：")
    lines = [
        head
        + _("%(rows)d 行，%(orders)d 单（新 %(new)d，未变 %(same)d，更新 %(updated)d），%(s).1f 秒")
        % {
            "rows": report.rows, "orders": report.orders, "new": report.new,
            "same": report.unchanged, "updated": report.updated, "s": report.seconds,
        }
    ]  # fmt: skip
    for title, counts in (
        (_("状态"), {str(OrderStatus(k).label): n for k, n in report.by_status.items()}),
        (_("挂起"), {str(HoldKind(k).label): n for k, n in report.held_by_kind.items()}),
        (_("不是订单的行"), report.lines_not_orders),
    ):
        if counts:
            lines.append(title + "：" + "，".join(f"{k} {n}" for k, n in sorted(counts.items())))
    if report.skus_created or report.listings_created:
        lines.append(
            _("新建货品 %(skus)d，商品映射 %(listings)d")
            % {"skus": report.skus_created, "listings": report.listings_created}
        )
    if report.pending:
        lines.append(_("%(n)d 单稍后重试，见收件箱") % {"n": report.pending})
    if report.quarantined:
        lines.append(_("隔离 %(n)d 单：") % {"n": len(report.quarantined)})
        shown = report.quarantined[:SHOWN]
        lines += [f"  {one['order'] or '-'}  {one['reason']}" for one in shown]
    if len(report.quarantined) > SHOWN:
        lines.append(_("  ……其余见 --json 或隔离页面"))
    return lines
