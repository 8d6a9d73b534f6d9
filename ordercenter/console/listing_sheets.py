"""Mapping by spreadsheet: take the queue away, bring it back filled in, look, then apply.

What was looked at travels in the form, signed for its reader: nothing of a file is kept here, and
what is applied is what was shown.
"""

from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ordercenter.console import listing_facts as facts
from ordercenter.console import uploads
from ordercenter.console.access import me, page
from ordercenter.console.listings import to_queue, told_of
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can
from ordercenter.pipeline import mapping_sheet, unmapped
from ordercenter.pipeline.mapping import MOST_AT_ONCE, map_codes
from ordercenter.pipeline.mapping_sheet import Outcome, Plan, Planned
from ordercenter.pipeline.tables import MAX_BYTES
from ordercenter.pipeline.unmapped import Wish

SALT: Final = "listings.sheet"
SHOWN: Final = 100
"""Rows of one outcome a page shows."""
KINDS: Final = {"xlsx": mapping_sheet.as_workbook, "csv": mapping_sheet.as_csv}
REASON: Final = "表格批量匹配"


@require_safe
@page(Can.EDIT_MAPPING)
def download(request: HttpRequest, kind: str) -> HttpResponse:
    """The queue as a table to fill in. What the bytes are is said, and the name is ours."""
    if kind not in KINDS:
        raise Http404
    shop_id = facts.number_of(request.GET.get("shop", ""), most=2**62)
    return uploads.handed_out(KINDS[kind](shop_id=shop_id), "unmapped-codes", kind)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.EDIT_MAPPING)
def sheet_page(request: HttpRequest) -> HttpResponse:
    """Where a filled table is handed in, and what it would do."""
    if request.method != "POST":
        return _draw(request)
    try:
        found = mapping_sheet.plan(uploads.read_upload(request, mapping_sheet.read))
        signed = _sign(request, found)
    except InvalidInput as refusal:
        return _draw(request, status=refusal.http_status, error=str(refusal))
    return render(request, "console/listings/plan.html", _facts(found, signed))


def _draw(request: HttpRequest, *, status: int = HTTPStatus.OK, error: str = "") -> HttpResponse:
    context = {
        "error": error,
        "typed": request.POST,
        "most_rows": MOST_AT_ONCE,
        "most_mib": MAX_BYTES // 1024**2,
    }
    return render(request, "console/listings/sheet.html", context, status=int(status))


def _sign(request: HttpRequest, found: Plan) -> str:
    told = {
        "refused": len(found.having(Outcome.REFUSED)),
        "wishes": [
            [w.shop_id, w.code_type, w.code, w.sku_id, w.bundle_id, w.seen_version, w.title]
            for w in found.wishes
        ],
    }
    return uploads.sign(request, told, salt=SALT)


def _facts(found: Plan, signed: str) -> dict[str, Any]:
    order = (Outcome.REFUSED, Outcome.CHANGED, Outcome.NEW, Outcome.SAME, Outcome.SKIPPED)
    parts: list[tuple[Outcome, int, list[Planned]]] = [
        (outcome, len(rows), rows[:SHOWN]) for outcome in order if (rows := found.having(outcome))
    ]
    wishes = found.wishes
    return {
        "parts": parts,
        "signed": signed,
        "changes": len(wishes),
        "refused": len(found.having(Outcome.REFUSED)),
        "effects": unmapped.effects(wishes) if wishes else None,
        "blast": facts.blast_of([w for w in wishes if w.seen_version]),
    }


@require_POST
@page(Can.EDIT_MAPPING)
def apply(request: HttpRequest) -> HttpResponse:
    """Do what was shown: all of it, or by its own button all that was good. Never half."""
    try:
        told = uploads.signed_by(request, salt=SALT)
        if told["refused"] and request.POST.get("verb") != "good":
            raise InvalidInput(what=_("有不能应用的行，请改好表格后重新上传，或选择只应用其余各行"))
        done = map_codes(
            [Wish(*row) for row in told["wishes"]],
            user=me(request),
            actor=Actor.of(request),
            reason=REASON,
            recode=request.POST.get("scope") == "open",
        )
    except OrderCenterError as refusal:
        return _draw(request, status=refusal.http_status, error=str(refusal))
    messages.success(request, told_of(done))
    return to_queue(done)
