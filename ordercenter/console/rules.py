"""The rules for those who answer for them: what decides now, what is being prepared, what was."""

import json
from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ordercenter.console import rule_pages as pages
from ordercenter.console import uploads
from ordercenter.console.access import me, page
from ordercenter.console.reasons import LONGEST
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can, allows
from risk import sets
from risk.differences import Difference
from risk.models import RuleSet
from risk.set_rows import MOST_BYTES, rules_of

Pair = tuple[pages.Told | None, pages.Told | None]
SALT: Final = "rules.import"


@require_safe
@page(Can.VIEW_RULES)
def rules_page(request: HttpRequest) -> HttpResponse:
    """What decides now in sentences, and every other set there is."""
    every = pages.versions()
    live = next((one for one in every if one.row.is_live), None)
    rules = live.row.rules if live else rules_of(0)[1]
    told = pages.told_rules(rules, pages.hits_of_late(now=now()))
    context = {
        "live": live,
        "tiers": pages.by_tier(told),
        "count": sum(rule.enabled for rule in told),
        "days": pages.DAYS,
        "drafts": [one for one in every if one.is_draft],
        "closed": [one for one in every if not one.is_draft and not one.row.is_live],
        "shadow": next((one for one in every if one.row.is_shadow), None),
        "may_edit": allows(request.user, Can.EDIT_RULES),
        "may_approve": allows(request.user, Can.APPROVE_RULES),
    }
    return render(request, "console/rules/home.html", context)


@require_safe
@page(Can.VIEW_RULES)
def set_page(request: HttpRequest, version: int) -> HttpResponse:
    """One set as it is or was, and what it changed."""
    return _draw_set(request, pages.set_or_404(version))


def _draw_set(
    request: HttpRequest, row: RuleSet, *, error: str = "", status: int = HTTPStatus.OK
) -> HttpResponse:
    context = {
        "row": row,
        "error": error,
        "tiers": pages.by_tier(pages.told_rules(row.rules)),
        "change": pages.difference_of(row),
        "gate": sets.gate_now(row) if may_return(row) else None,
        "lived": may_return(row) and sets.lived_lately(row, now=now()),
        "longest": LONGEST,
        "may_edit": allows(request.user, Can.EDIT_RULES),
    }
    return render(request, "console/rules/set.html", context, status=int(status))


def may_return(row: RuleSet) -> bool:
    """Whether a set once live might be made live again."""
    return row.state == RuleSet.State.RETIRED


@require_POST
@page(Can.EDIT_RULES)
def new_draft(request: HttpRequest) -> HttpResponse:
    """A draft that begins as the set named, or as the live one."""
    text = request.POST.get("based_on", "")
    based_on = int(text) if text.isdecimal() and len(text) <= len("2147483647") else None
    row = sets.new_draft(based_on, me(request), actor=Actor.of(request))
    return HttpResponseRedirect(reverse("rules_edit", args=[row.version]))


@require_POST
@page(Can.EDIT_RULES)
def roll_back(request: HttpRequest, version: int) -> HttpResponse:
    row = pages.set_or_404(version)
    try:
        done = sets.roll_back(
            version, me(request), reason=request.POST.get("reason", "")[:LONGEST],
            actor=Actor.of(request),
        )  # fmt: skip
    except OrderCenterError as refusal:
        return _draw_set(request, row, error=str(refusal), status=refusal.http_status)
    messages.success(request, after_asking(done))
    return HttpResponseRedirect(reverse("rules"))


def after_asking(row: RuleSet) -> str:
    """What asking for a set to go live came to."""
    if row.is_live:
        return _("v%(version)s 已启用，一秒内对新订单生效") % {"version": row.version}
    return _("v%(version)s 已提交，等第二个人批准") % {"version": row.version}


# --- to and from other installations --------------------------------------------------------------


@require_safe
@page(Can.VIEW_RULES)
def export(request: HttpRequest, version: int) -> HttpResponse:
    """One set as a file another installation can take in."""
    text = json.dumps(sets.export_set(version), ensure_ascii=False, indent=2)
    answer = HttpResponse(text, content_type="application/json; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="rules-v{version}.json"'
    return answer


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.EDIT_RULES)
def import_page(request: HttpRequest) -> HttpResponse:
    """A file of rules: first what it would change, then a draft of it. Never live by itself."""
    if request.method != "POST":
        return render(request, "console/rules/import.html", {})
    try:
        if request.POST.get("verb") == "draft":
            told = uploads.signed_by(request, salt=SALT)
            row = sets.import_set(told["data"], me(request), actor=Actor.of(request))
            messages.success(request, _("已建成草稿 v%(version)s，还没有生效")
                             % {"version": row.version})  # fmt: skip
            return HttpResponseRedirect(reverse("rules_edit", args=[row.version]))
        data = _document(request)
        change = sets.plan_import(data)
        plan = uploads.sign(request, {"data": data}, salt=SALT)
    except InvalidInput as refusal:
        context: dict[str, Any] = {"error": str(refusal)}
        return render(request, "console/rules/import.html", context,
                      status=int(refusal.http_status))  # fmt: skip
    context = {"change": change, "told": told_changes(change), "plan": plan}
    return render(request, "console/rules/import.html", context)


def told_changes(
    change: Difference,
) -> dict[str, list[tuple[pages.Told | None, pages.Told | None]]]:
    """The changed rules in sentences, (before, after), by what happened to them."""
    return {
        name: [
            (pages.told_rule(one.before) if one.before else None,
             pages.told_rule(one.after) if one.after else None)
            for one in getattr(change, name)
        ]
        for name in ("added", "changed", "removed")
    }  # fmt: skip


def _document(request: HttpRequest) -> Any:
    upload = request.FILES.get("file")
    if not isinstance(upload, UploadedFile):
        raise InvalidInput(what=_("请选择导出的规则文件（.json）"))
    if (upload.size or 0) > MOST_BYTES:
        raise TooBig(what=_("文件超过 %(most)d MiB") % {"most": MOST_BYTES // 1024**2})
    try:
        return json.loads(upload.read().decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise InvalidInput(what=_("文件不是 UTF-8 的 JSON")) from None


class TooBig(InvalidInput):
    http_status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
