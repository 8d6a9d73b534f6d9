"""Mapping by spreadsheet: take the queue away, bring it back filled in, look, then apply.

What was looked at travels in the form, signed for its reader: nothing of a file is kept here, and
what is applied is what was shown.
"""

import json
import tempfile
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from django.contrib import messages
from django.core import signing
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from channels_sync.sheets.mapping import DELIMITERS
from channels_sync.sheets.rows import Dialect
from ordercenter.console import listing_facts as facts
from ordercenter.console.access import me, page
from ordercenter.console.listings import to_queue, told_of
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can
from ordercenter.pipeline import mapping_sheet, unmapped
from ordercenter.pipeline.mapping import MOST_AT_ONCE, map_codes
from ordercenter.pipeline.mapping_sheet import FileTooBig, Outcome, Plan, Planned
from ordercenter.pipeline.unmapped import Wish

SALT: Final = "listings.sheet"
GOOD_FOR: Final = 3600
"""Seconds for which a look may still be applied."""
MOST_SIGNED: Final = 1_500_000
"""Letters a form can carry, below what one request may have."""
SHOWN: Final = 100
"""Rows of one outcome a page shows."""
KINDS: Final = {
    "xlsx": (
        mapping_sheet.as_workbook,
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    "csv": (mapping_sheet.as_csv, "text/csv; charset=utf-8"),
}
ENCODINGS: Final = ("utf-8", "gbk")
REASON: Final = "表格批量匹配"


@require_safe
@page(Can.EDIT_MAPPING)
def download(request: HttpRequest, kind: str) -> HttpResponse:
    """The queue as a table to fill in. What the bytes are is said, and the name is ours."""
    if kind not in KINDS:
        raise Http404
    make, content_type = KINDS[kind]
    shop_id = facts.number_of(request.GET.get("shop", ""), most=2**62)
    answer = HttpResponse(make(shop_id=shop_id), content_type=content_type)
    answer["Content-Disposition"] = f'attachment; filename="unmapped-codes.{kind}"'
    return answer


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.EDIT_MAPPING)
def sheet_page(request: HttpRequest) -> HttpResponse:
    """Where a filled table is handed in, and what it would do."""
    if request.method != "POST":
        return _draw(request)
    try:
        found = mapping_sheet.plan(_read(request))
        signed = _sign(request, found)
    except InvalidInput as refusal:
        return _draw(request, status=refusal.http_status, error=str(refusal))
    return render(request, "console/listings/plan.html", _facts(found, signed))


def _draw(request: HttpRequest, *, status: int = HTTPStatus.OK, error: str = "") -> HttpResponse:
    context = {
        "error": error,
        "typed": request.POST,
        "most_rows": MOST_AT_ONCE,
        "most_mib": mapping_sheet.MAX_BYTES // 1024**2,
    }
    return render(request, "console/listings/sheet.html", context, status=int(status))


def _read(request: HttpRequest) -> list[mapping_sheet.Row]:
    upload = request.FILES.get("file")
    if not isinstance(upload, UploadedFile):
        raise InvalidInput(what=_("请选择填好的表格"))
    if (upload.size or 0) > mapping_sheet.MAX_BYTES:
        raise FileTooBig(
            what=_("文件超过 %(most)d MiB") % {"most": mapping_sheet.MAX_BYTES // 1024**2}
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload"
        with path.open("wb") as kept:
            for chunk in upload.chunks():
                kept.write(chunk)
        return mapping_sheet.read(path, _dialect(request))


def _dialect(request: HttpRequest) -> Dialect:
    encoding = request.POST.get("encoding", "utf-8")
    delimiter = {"comma": ",", "semicolon": ";", "tab": "\t"}.get(
        request.POST.get("delimiter", "comma"), ""
    )
    if encoding not in ENCODINGS or delimiter not in DELIMITERS:
        raise InvalidInput(what=_("请选择编码与分隔符"))
    return Dialect(encoding, delimiter, mapping_sheet.MAX_BYTES)


def _sign(request: HttpRequest, found: Plan) -> str:
    told = {
        "user": me(request).pk,
        "refused": len(found.having(Outcome.REFUSED)),
        "wishes": [
            [w.shop_id, w.code_type, w.code, w.sku_id, w.bundle_id, w.seen_version, w.title]
            for w in found.wishes
        ],
    }
    signed = signing.dumps(told, salt=SALT, compress=True)
    if len(signed) > MOST_SIGNED:
        raise InvalidInput(what=_("表格内容太多，请拆成几个文件"))
    return signed


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
    }


@require_POST
@page(Can.EDIT_MAPPING)
def apply(request: HttpRequest) -> HttpResponse:
    """Do what was shown: all of it, or by its own button all that was good. Never half."""
    try:
        told = _told(request)
        if told["refused"] and request.POST.get("verb") != "good":
            raise InvalidInput(what=_("有不能应用的行，请改好表格后重新上传，或选择只应用其余各行"))
        done = map_codes(
            [Wish(*row) for row in told["wishes"]],
            user=me(request),
            actor=Actor.of(request),
            reason=REASON,
        )
    except OrderCenterError as refusal:
        return _draw(request, status=refusal.http_status, error=str(refusal))
    messages.success(request, told_of(done))
    return to_queue(done)


def _told(request: HttpRequest) -> dict[str, Any]:
    """What the form carries, as long as it was made for this person and not long ago."""
    try:
        told: dict[str, Any] = signing.loads(
            request.POST.get("plan", ""), salt=SALT, max_age=GOOD_FOR
        )
    except (signing.BadSignature, json.JSONDecodeError):
        told = {}
    if told.get("user") != me(request).pk:
        raise InvalidInput(what=_("预览已过期，请重新上传表格"))
    return told
