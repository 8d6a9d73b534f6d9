"""Rules proposed from what people decided: read, taken as a draft, or put away."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from ordercenter.console.access import me, page
from ordercenter.console.reasons import LONGEST
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Can, allows
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import learning, proposals
from risk.mining import STOP
from risk.models import RuleProposal

MOST: Final = 30


@dataclass(frozen=True, slots=True)
class Shown:
    """One proposal as people read it; of its orders those this user may see."""

    row: RuleProposal
    is_stop: bool
    figures: Sequence[tuple[str, Any]]
    right: Sequence[str]
    wrong: Sequence[str]


@require_safe
@page(Can.VIEW_RULES)
def proposals_page(request: HttpRequest) -> HttpResponse:
    """The open proposals, and what became of the others."""
    return _draw(request)


def _draw(request: HttpRequest, *, error: str = "", status: int = HTTPStatus.OK) -> HttpResponse:
    rows = RuleProposal.objects.select_related("backtest").order_by("-made_at", "-pk")
    found = list(rows.filter(state=RuleProposal.State.OPEN)[:MOST])
    context = {
        "rows": _shown(request, found),
        "done": rows.exclude(state=RuleProposal.State.OPEN)[:MOST],
        "heard": learning.heard(now=now()),
        "limits": learning.limits_now(),
        "error": error,
        "longest": LONGEST,
        "may_edit": allows(request.user, Can.EDIT_RULES),
        "may_open": allows(request.user, Can.VIEW_ORDERS),
    }
    return render(request, "console/rules/proposals.html", context, status=int(status))


def _shown(request: HttpRequest, rows: Sequence[RuleProposal]) -> list[Shown]:
    told = [row.figures for row in rows]
    ids = {pk for one in told for pk in (*one.get("examples", ()), *one.get("wrong", ()))}
    numbers = dict(
        SalesOrder.objects.visible_to(request.user).filter(pk__in=ids).values_list("pk", "number")
    )
    parts = (("learned", _("学习时")), ("later", _("之后验证")))
    return [
        Shown(
            row,
            one.get("kind") == STOP,
            [(label, one[name]) for name, label in parts if name in one],
            [numbers[pk] for pk in one.get("examples", ()) if pk in numbers],
            [numbers[pk] for pk in one.get("wrong", ()) if pk in numbers],
        )
        for row, one in zip(rows, told, strict=True)
    ]  # fmt: skip


@require_POST
@page(Can.EDIT_RULES)
def decide(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a proposal as a draft, or refuse it; a second click changes nothing."""
    verb = request.POST.get("verb")
    try:
        if verb == "take":
            draft = proposals.take(pk, user=me(request), actor=Actor.of(request))
            messages.success(
                request, _("已建成草稿 v%(v)s 并开始回测，还没有生效") % {"v": draft.version}
            )
            return HttpResponseRedirect(reverse("rules_report", args=[draft.version]))
        if verb == "refuse":
            proposals.refuse(
                pk, user=me(request), actor=Actor.of(request),
                reason=request.POST.get("reason", "")[:LONGEST],
            )  # fmt: skip
            messages.success(request, _("已放弃这条建议"))
            return HttpResponseRedirect(reverse("rule_proposals"))
    except OrderCenterError as refusal:
        return _draw(request, error=str(refusal), status=refusal.http_status)
    raise Http404
