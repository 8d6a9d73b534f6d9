"""The lists rules ask: who stands on them and why, putting some on, taking one off."""

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from django.contrib import messages
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from channels_sync.sheets.rows import Dialect
from ordercenter.console import uploads
from ordercenter.console.access import me, page
from ordercenter.console.reasons import LONGEST
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Can, allows, require
from ordercenter.pipeline import tables
from risk import lists
from risk.models import RuleList, RuleListEntry

ON_A_PAGE: Final = 100
MOST_PAGES: Final = 10_000
LONGEST_PASTE: Final = 1_000_000
LONGEST_SEARCH: Final = 60


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.VIEW_RULES)
def lists_page(request: HttpRequest) -> HttpResponse:
    """Every list with how many stand on it; a new one is made below."""
    error, status = "", HTTPStatus.OK
    if request.method == "POST":
        require(request.user, Can.EDIT_LISTS)
        try:
            return _make(request)
        except InvalidInput as refusal:
            error, status = str(refusal), HTTPStatus(refusal.http_status)
    standing = RuleListEntry.objects.filter(lists.standing(now())).order_by()
    counts = dict(standing.values_list("rule_list").annotate(count=Count("pk")))
    context = {
        "lists": [(one, counts.get(one.pk, 0)) for one in RuleList.objects.all()],
        "kinds": RuleList.Kind.choices,
        "keys": RuleList.Key.choices,
        "typed": request.POST,
        "error": error,
        "may_edit": allows(request.user, Can.EDIT_LISTS),
    }
    return render(request, "console/rules/lists.html", context, status=int(status))


def _make(request: HttpRequest) -> HttpResponse:
    made = lists.make_list(
        request.POST.get("code", "").strip(), request.POST.get("name", ""),
        kind=request.POST.get("kind", ""), key=request.POST.get("key", ""),
        note=request.POST.get("note", ""), user=me(request), actor=Actor.of(request),
    )  # fmt: skip
    messages.success(request, _("已建名单“%(name)s”") % {"name": made.name})
    return HttpResponseRedirect(reverse("list", args=[made.code]))


# --- one list -------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.VIEW_RULES)
def list_page(request: HttpRequest, code: str) -> HttpResponse:
    """Who stands on a list; rows pasted or handed in as a table are put on it.

    Rows that could not be read come back with their numbers, ready to be put right.
    """
    rule_list = get_object_or_404(RuleList, code=code)
    if request.method != "POST":
        return _draw(request, rule_list)
    require(request.user, Can.EDIT_LISTS)
    try:
        told = _told(request)
        added = lists.add_entries(
            code, told, user=me(request), reason=request.POST.get("reason", "")[:LONGEST],
            expires_at=_end(request.POST.get("expires", "")), actor=Actor.of(request),
        )  # fmt: skip
    except InvalidInput as refusal:
        return _draw(request, rule_list, error=str(refusal), status=refusal.http_status)
    said = _("加入 %(added)d 条，已在名单上 %(known)d 条") % {
        "added": added.added, "known": added.known,
    }  # fmt: skip
    if not added.bad:
        messages.success(request, said)
        return HttpResponseRedirect(reverse("list", args=[code]))
    wrong = {row.number for row in added.bad}
    again = "\n".join(_line(row) for row in told if row.number in wrong)
    return _draw(request, rule_list, said=said, bad=added.bad, again=again,
                 status=HTTPStatus.UNPROCESSABLE_ENTITY)  # fmt: skip


def _told(request: HttpRequest) -> list[lists.Told]:
    if request.FILES.get("file") is not None:
        return uploads.read_upload(request, _rows)
    text = request.POST.get("text", "")
    if len(text) > LONGEST_PASTE:
        raise InvalidInput(what=_("粘贴的内容太长，请改用表格"))
    return lists.pasted(text)


def _rows(path: Path, dialect: Dialect) -> list[lists.Told]:
    header, body = tables.table_of(path, dialect, most=lists.MOST_ROWS)
    return list(lists.from_table(header, body))


def _line(row: lists.Told) -> str:
    """A row as it would be pasted; an end that could not be read is to be typed again."""
    ends = row.expires_at
    day = ends.date().isoformat() if ends and ends != lists.NO_DATE else ""
    return ",".join((row.value, row.reason, day)).rstrip(",")


def _end(text: str) -> datetime | None:
    if not text.strip():
        return None
    found = lists.read_end(text)
    if found == lists.NO_DATE:
        raise InvalidInput(what=_("到期日看不懂，请写成 2026-12-31"))
    return found


@require_POST
@page(Can.EDIT_LISTS)
def remove(request: HttpRequest, code: str, pk: int) -> HttpResponse:
    """Take one off; pressed twice, it is off once."""
    if not RuleListEntry.objects.filter(pk=pk, rule_list__code=code).exists():
        raise Http404
    try:
        entry = lists.remove_entry(
            pk, user=me(request), reason=request.POST.get("reason", ""), actor=Actor.of(request)
        )
    except InvalidInput as refusal:
        rule_list = get_object_or_404(RuleList, code=code)
        return _draw(request, rule_list, error=str(refusal), status=refusal.http_status)
    messages.success(request, _("“%(shown)s”已移出名单") % {"shown": entry.shown})
    return HttpResponseRedirect(reverse("list", args=[code]))


def _draw(
    request: HttpRequest,
    rule_list: RuleList,
    *,
    error: str = "",
    said: str = "",
    bad: Sequence[lists.BadRow] = (),
    again: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    search = request.GET.get("q", "").replace("\0", "").strip()[:LONGEST_SEARCH]
    text = request.GET.get("page", "1")
    number = int(text) if text.isdecimal() and 1 <= int(text[:9]) <= MOST_PAGES else 1
    ended = request.GET.get("ended") == "1"
    found = RuleListEntry.objects.filter(rule_list=rule_list).order_by("-added_at", "-pk")
    found = found.exclude(lists.standing(now())) if ended else found.filter(lists.standing(now()))
    if search:
        found = found.filter(Q(shown__icontains=search) | Q(reason__icontains=search))
    first = (number - 1) * ON_A_PAGE
    rows = list(found[first : first + ON_A_PAGE + 1])
    context: dict[str, Any] = {
        "list": rule_list,
        "rows": rows[:ON_A_PAGE],
        "next": number + 1 if len(rows) > ON_A_PAGE else 0,
        "before": number - 1,
        "search": search,
        "ended": ended,
        "error": error,
        "said": said,
        "bad": bad,
        "again": again or request.POST.get("text", "")[:LONGEST_PASTE],
        "typed": request.POST,
        "longest": LONGEST,
        "most_rows": lists.MOST_ROWS,
        "columns": "、".join(lists.COLUMNS),
        "may_edit": allows(request.user, Can.EDIT_LISTS),
    }
    return render(request, "console/rules/list.html", context, status=int(status))
