"""Goods by spreadsheet: take SKUs or bundles away, bring them back, look, then apply."""

from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from channels_sync.sheets.rows import Dialect
from channels_sync.sheets.xlsx_writing import workbook
from ordercenter.console import uploads
from ordercenter.console.access import me, page
from ordercenter.console.listings import recoded_words
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can
from ordercenter.pipeline import bundle_sheet, goods_sheet, tables
from ordercenter.pipeline.goods_fields import CODE
from ordercenter.pipeline.goods_sheet import MOST_ROWS, Plan, Planned
from ordercenter.pipeline.mapping_sheet import Outcome
from ordercenter.pipeline.rereading import look

SALT: Final = "goods.sheet"
SHOWN: Final = 100
"""Rows of one outcome a page shows."""
SHEETS: Final = {"skus": goods_sheet, "bundles": bundle_sheet}
NAMES: Final = {"skus": "货品", "bundles": "组合装"}


@require_safe
@page(Can.EDIT_MAPPING)
def download(request: HttpRequest, what: str, kind: str) -> HttpResponse:
    """All SKUs or bundles as a table that can be handed in again."""
    if what not in SHEETS or kind not in uploads.CONTENT_TYPES:
        raise Http404
    sheet = SHEETS[what]
    rows = sheet.export(user=me(request), actor=Actor.of(request))
    made = (
        workbook(NAMES[what], sheet.COLUMNS, rows) if kind == "xlsx"
        else tables.as_csv(sheet.COLUMNS, rows)
    )  # fmt: skip
    return uploads.handed_out(made, what, kind)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.EDIT_MAPPING)
def sheet_page(request: HttpRequest) -> HttpResponse:
    """Where a table is handed in, and what it would change."""
    if request.method != "POST":
        return _draw(request)
    try:
        what, found = uploads.read_upload(request, _plan)
        told = {"what": what, "told": found.told, "refused": len(found.having(Outcome.REFUSED))}
        signed = uploads.sign(request, told, salt=SALT)
    except InvalidInput as refusal:
        return _draw(request, status=refusal.http_status, error=str(refusal))
    return render(request, "console/goods/plan.html", _facts(what, found, signed))


def _plan(path: Path, dialect: Dialect) -> tuple[str, Plan]:
    """(what kind of table it is, what it would do); told by its columns."""
    header, body = tables.table_of(path, dialect, most=MOST_ROWS)
    if bundle_sheet.BUNDLE in header:
        tables.need(header, bundle_sheet.NEEDED)
        return "bundles", bundle_sheet.plan(header, body)
    tables.need(header, [CODE])
    return "skus", goods_sheet.plan(header, body)


def _draw(request: HttpRequest, *, status: int = HTTPStatus.OK, error: str = "") -> HttpResponse:
    context = {
        "error": error,
        "typed": request.POST,
        "most_rows": MOST_ROWS,
        "most_mib": tables.MAX_BYTES // 1024**2,
    }
    return render(request, "console/goods/sheet.html", context, status=int(status))


def _facts(what: str, found: Plan, signed: str) -> dict[str, Any]:
    order = (Outcome.REFUSED, Outcome.CHANGED, Outcome.NEW, Outcome.SAME)
    parts: list[tuple[Outcome, int, list[Planned]]] = [
        (outcome, len(rows), rows[:SHOWN]) for outcome in order if (rows := found.having(outcome))
    ]
    blast = look(bundle_sheet.concerned(found.told)) if what == "bundles" else None
    return {
        "what": what,
        "parts": parts,
        "signed": signed,
        "changes": len(found.told),
        "refused": len(found.having(Outcome.REFUSED)),
        "blast": blast,
    }


@require_POST
@page(Can.EDIT_MAPPING)
def apply(request: HttpRequest) -> HttpResponse:
    """Do what was shown: all of it, or by its own button all that was good. Never half."""
    try:
        told = uploads.signed_by(request, salt=SALT)
        if told["refused"] and request.POST.get("verb") != "good":
            raise InvalidInput(what=_("有不能应用的行，请改好表格后重新上传，或选择只应用其余各行"))
        said = _apply(request, told["what"], told["told"])
    except OrderCenterError as refusal:
        return _draw(request, status=refusal.http_status, error=str(refusal))
    messages.success(request, said)
    return HttpResponseRedirect(reverse("goods" if told["what"] == "skus" else "goods_bundles"))


def _apply(request: HttpRequest, what: str, told: list[Any]) -> str:
    user, actor = me(request), Actor.of(request)
    if what == "skus":
        made, changed = goods_sheet.apply(told, user=user, actor=actor)
        return _("新建 %(made)d 个，修改 %(changed)d 个") % {"made": made, "changed": changed}
    recode = request.POST.get("scope") == "open"
    made, done = bundle_sheet.apply(told, user=user, actor=actor, recode=recode)
    said = _("新建 %(made)d 个，修改 %(changed)d 个") % {"made": made, "changed": done.changed}
    again = recoded_words(done.recoded)
    return f"{said}；{again}" if again else said
