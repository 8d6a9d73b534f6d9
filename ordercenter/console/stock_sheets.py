"""Stock of warehouses of others by spreadsheet: take the list, hand in figures, look, apply."""

from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from channels_sync.sheets.rows import Dialect
from channels_sync.sheets.xlsx_writing import workbook
from inventory import papers, statements
from inventory.models import StockFile, VirtualWarehouse
from ordercenter.console import paper_forms as forms
from ordercenter.console import uploads
from ordercenter.console.access import me, page
from ordercenter.core.actor import Actor
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can
from ordercenter.pipeline import stock_sheet, tables
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.stock_sheet import Outcome, Plan, Planned

SALT: Final = "stock.sheet"
SHOWN: Final = 100
"""Rows of one outcome a page shows."""
RECENT: Final = 10


@require_safe
@page(Can.MOVE_STOCK)
def download(request: HttpRequest, kind: str) -> HttpResponse:
    """What a virtual warehouse has, as a table whose figures are to be filled in."""
    if kind not in uploads.CONTENT_TYPES:
        raise Http404
    room = papers.room_for(forms.id_of(request.GET, "room"), me(request))
    rows = stock_sheet.template(room.pk)
    made = (
        workbook("库存", stock_sheet.COLUMNS, rows)
        if kind == "xlsx"
        else tables.as_csv(stock_sheet.COLUMNS, rows)
    )
    return uploads.handed_out(made, "stock", kind)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.MOVE_STOCK)
def sheet_page(request: HttpRequest) -> HttpResponse:
    """Where a table is handed in, and what it would change."""
    if request.method != "POST":
        return _draw(request)
    try:
        room = papers.room_for(forms.id_of(request.POST, "room"), me(request))
        as_of = _moment(request.POST.get("as_of", ""))
        found = uploads.read_upload(request, lambda path, form: _plan(path, form, room, as_of))
        told = {
            "room": room.pk, "as_of": as_of.isoformat(), "digest": found.digest,
            "told": list(found.told.items()), "refused": len(found.having(Outcome.REFUSED)),
        }  # fmt: skip
        signed = uploads.sign(request, told, salt=SALT)
    except OrderCenterError as refusal:
        if not (forms.told_here(refusal) or isinstance(refusal, InvalidInput)):
            raise
        return _draw(request, status=refusal.http_status, error=str(refusal))
    return render(
        request, "console/papers/stock_plan.html", _facts(request, found, room, as_of, signed)
    )


def _plan(path: Path, dialect: Dialect, room: VirtualWarehouse, as_of: datetime) -> Plan:
    rows, digest = stock_sheet.read(path, dialect)
    statements.check_new(room.pk, as_of=as_of, digest=digest, now=clock_now())
    return stock_sheet.plan(rows, digest, room_id=room.pk, as_of=as_of)


def _moment(text: str) -> datetime:
    """A moment as the form's field types it, in Shanghai. Raises InvalidInput."""
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise InvalidInput(what=_("请填写数据时间"))
    return moment.replace(tzinfo=SHANGHAI) if moment.tzinfo is None else moment


def _draw(request: HttpRequest, *, status: int = HTTPStatus.OK, error: str = "") -> HttpResponse:
    rooms = forms.rooms(request)
    files = StockFile.objects.filter(virtual_warehouse__in=rooms).select_related(
        "virtual_warehouse"
    )
    context = {
        **forms.frame(request, "stock_sheet"),
        "rooms": rooms,
        "files": files.order_by("-pk")[:RECENT],
        "error": error,
        "typed": request.POST,
        "as_of": request.POST.get("as_of") or f"{clock_now().astimezone(SHANGHAI):%Y-%m-%dT%H:%M}",
        "most_rows": stock_sheet.MOST_ROWS,
        "most_mib": tables.MAX_BYTES // 1024**2,
    }
    return render(request, "console/papers/stock_sheet.html", context, status=int(status))


def _facts(
    request: HttpRequest, found: Plan, room: VirtualWarehouse, as_of: datetime, signed: str
) -> dict[str, Any]:
    parts: list[tuple[Outcome, int, list[Planned]]] = [
        (outcome, len(rows), rows[:SHOWN]) for outcome in Outcome if (rows := found.having(outcome))
    ]
    return {
        **forms.frame(request, "stock_sheet"),
        "room": room,
        "as_of": as_of,
        "parts": parts,
        "signed": signed,
        "good": len(found.told),
        "refused": len(found.having(Outcome.REFUSED)),
    }


@require_POST
@page(Can.MOVE_STOCK)
def apply(request: HttpRequest) -> HttpResponse:
    """Do what was shown: all of it, or by its own button all that was good. Never half."""
    try:
        told = uploads.signed_by(request, salt=SALT)
        if told["refused"] and request.POST.get("verb") != "good":
            raise InvalidInput(what=_("有不能应用的行，请改好表格后重新上传，或选择只应用其余各行"))
        with telling_stock():
            done = statements.apply(
                told["room"], dict(told["told"]), as_of=datetime.fromisoformat(told["as_of"]),
                digest=told["digest"], user=me(request), actor=Actor.of(request),
            )  # fmt: skip
    except OrderCenterError as refusal:
        if not forms.told_here(refusal):
            raise
        return _draw(request, status=refusal.http_status, error=str(refusal))
    messages.success(
        request,
        _("已调整 %(made)d 种，%(waiting)d 种待第二人复核")
        % {"made": done.made, "waiting": done.waiting},
    )
    return HttpResponseRedirect(reverse("stock_sheet"))
