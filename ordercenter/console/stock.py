"""The stock on one page: how much there is of everything, how long it lasts, what shops show."""

import csv
import io
from collections.abc import Iterator
from typing import Final

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from channels_sync.sheets.cells import quoted
from channels_sync.sheets.xlsx_writing import Column, workbook
from inventory import health
from inventory.models import StockPolicy
from ordercenter.console import stock_facts as facts
from ordercenter.console.access import fragment_of, page
from ordercenter.core.clock import SHANGHAI, now
from ordercenter.core.policy import Can, allows
from ordercenter.pipeline import proof

COLUMNS: Final = (
    Column("货品编码", 20), Column("名称", 36), Column("类目", 14), Column("仓库", 16),
    Column("虚拟仓", 16), Column("现有", 9), Column("占用", 9), Column("可用", 9),
    Column("店铺锁定", 9), Column("在途到货", 9), Column("下次到货", 17), Column("调拨在途", 9),
    Column("残次", 9), Column("日均销量", 9), Column("可售天数", 9), Column("货品状态", 12),
)  # fmt: skip
FILES: Final = {
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
}


@require_safe
@page(Can.VIEW_STOCK)
def stock_page(request: HttpRequest) -> HttpResponse:
    """Every SKU with what there is of it, the most urgent first."""
    found = facts.choices()
    wanted = facts.wanted_of(request.GET, found)
    at = now()
    drawn = health.health(wanted, now=at)
    shown = facts.shown_by_sku([row.sku_id for row in drawn.rows], now=at)
    context = {
        "drawn": drawn,
        "rows": [(row, shown.get(row.sku_id, [])) for row in drawn.rows],
        "wanted": wanted,
        "choices": found,
        "chips": facts.alarm_chips(drawn),
        "policy": StockPolicy.current(),
        "periods": health.PERIODS,
        "sorts": health.Sort.choices,
        "modes": facts.modes(found.shops),
        "badge": proof.badge(now=at),
        "now": at,
        "before": facts.query_of(wanted, page=wanted.page - 1) if wanted.page > 1 else "",
        "next": facts.query_of(wanted, page=wanted.page + 1) if wanted.page < drawn.pages else "",
        "query": facts.query_of(wanted, page=1),
        "is_narrowed": facts.query_of(wanted, page=1, sort="alarm", days=health.DAYS) != "?",
        "fragment": fragment_of(request),
        "may_edit": allows(request.user, Can.EDIT_STOCK_POLICY),
    }
    part = "fragment" in request.GET
    return render(request, "console/stock/parts/health.html" if part else
                  "console/stock/health.html", context)  # fmt: skip


@require_safe
@page(Can.VIEW_STOCK)
def export(request: HttpRequest, kind: str) -> HttpResponse:
    """What the page is filtered to, a row a SKU and place. A cell is text and never a formula."""
    if kind not in FILES:
        raise Http404
    wanted = facts.wanted_of(request.GET, facts.choices())
    rows = _cells(health.everything(wanted, now=now()))
    body = workbook(_("库存"), COLUMNS, rows) if kind == "xlsx" else _csv(rows)
    answer = HttpResponse(body, content_type=FILES[kind])
    answer["Content-Disposition"] = f'attachment; filename="stock.{kind}"'
    return answer


def _csv(rows: Iterator[list[str]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([column.name for column in COLUMNS])
    writer.writerows([quoted(cell) for cell in row] for row in rows)
    return out.getvalue().encode("utf-8-sig")


def _cells(drawn: health.HealthPage) -> Iterator[list[str]]:
    for row in drawn.rows:
        head = [row.code, row.name, row.category]
        if not row.places:
            yield [*head, "", "", *["0"] * 5, "", "0", "0", "0.0", "", str(row.alarm.label)]
        for place in row.places:
            u = place.units
            next_at = place.next_at.astimezone(SHANGHAI) if place.next_at else None
            yield [
                *head, place.warehouse, place.place, str(u.on_hand), str(u.reserved),
                str(u.available), str(u.locked), str(u.inbound),
                f"{next_at:%Y-%m-%d %H:%M}" if next_at else "", str(u.in_transit), str(u.defect),
                str(place.daily), "" if place.cover is None else str(place.cover),
                str(row.alarm.label),
            ]  # fmt: skip
