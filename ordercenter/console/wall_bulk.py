"""Many cards at once: tick, say why and how many, read what became of each."""

import re
from collections.abc import Sequence
from typing import Final

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from ordercenter.console.access import back_of, me, page
from ordercenter.console.reasons import QUICK
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Can
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline.bulk_deciding import MOST_AT_ONCE, VERBS, Answer, Ticked, decide_each

LABELS: Final = {"release": _("放行"), "return": _("退回修改")}
NUMBER: Final = re.compile(r"[0-9A-Za-z_-]{1,32}")
MOST_DIGITS: Final = 6


@require_POST
@page(Can.REVIEW)
def bulk_page(request: HttpRequest) -> HttpResponse:
    """First the ticked rows with the question how many and why, then each with its answer.

    422 with nothing decided: none or more than 200 ticked, another number typed, no reason, or
    more releases than one person may give in a minute.
    """
    verb = request.POST.get("verb", "")
    if verb and verb not in VERBS:
        raise Http404
    rows = _ticked(request)
    try:
        if not verb:
            _must_fit(rows)
            return _draw(request, rows)
        answers = decide_each(
            rows, verb, count=_count(request), reason=request.POST.get("reason", ""),
            user=me(request), actor=Actor.of(request),
        )  # fmt: skip
    except InvalidInput as refusal:
        return _draw(request, rows, error=str(refusal), status=int(refusal.http_status))
    return _draw(request, (), answers=answers)


def _must_fit(rows: Sequence[Ticked]) -> None:
    if not rows or len(rows) > MOST_AT_ONCE:
        raise InvalidInput(
            what=_("一次可处理 1 到 %(most)d 单，请重新勾选") % {"most": MOST_AT_ONCE}
        )


def _ticked(request: HttpRequest) -> list[Ticked]:
    """The ticked rows as they were shown, each order once: ``pick`` holds number and version."""
    found: dict[str, Ticked] = {}
    for pick in request.POST.getlist("pick")[: MOST_AT_ONCE + 1]:
        number, _sep, version = pick.replace("\0", "").rpartition(":")
        is_version = version.isascii() and version.isdigit() and len(version) <= MOST_DIGITS
        if is_version and NUMBER.fullmatch(number):
            found[number] = Ticked(number, int(version))
    return list(found.values())


def _count(request: HttpRequest) -> int | None:
    text = request.POST.get("count", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None


def _draw(
    request: HttpRequest,
    rows: Sequence[Ticked],
    *,
    answers: list[Answer] | None = None,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    seen = SalesOrder.objects.visible_to(request.user).defer("receiver_sealed")
    orders = {
        order.number: order
        for order in seen.filter(number__in=[row.number for row in rows]).select_related("shop")
    }
    context = {
        "rows": [(row, orders.get(row.number)) for row in rows],
        "answers": answers,
        "done": sum(1 for one in answers or () if one.is_done),
        "error": error,
        "verbs": LABELS,
        "quick": [(verb, words) for verb, words in QUICK if verb in VERBS],
        "most": MOST_AT_ONCE,
        "reason": request.POST.get("reason", ""),
        "back": back_of(request) or reverse("wall"),
    }
    return render(request, "console/wall/bulk.html", context, status=status)
