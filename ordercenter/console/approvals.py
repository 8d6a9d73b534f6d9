"""Frozen orders before the CEO: who asked, why, on what evidence. Others only look."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ordercenter.console.access import fragment_of, page
from ordercenter.console.selectors import asked_for, frozen
from ordercenter.core.policy import Can, allows
from ordercenter.orders.states import Disposition
from ordercenter.pipeline.delegation import may_approve


@require_safe
@page(Can.ASK_TIER3, Can.APPROVE_TIER3)
def approvals_page(request: HttpRequest) -> HttpResponse:
    """The frozen orders, those asked for first; buttons only for who may and did not ask."""
    found = frozen(request.user)
    asked = asked_for([card.order.pk for card in found])
    may = may_approve(request.user)
    rows = []
    for card in found:
        request_of = asked.get(card.order.pk)
        waits = any(hold.disposition == Disposition.ESCALATED for hold in card.holds)
        own = request_of is not None and request_of.by_id == str(request.user.pk)
        rows.append(
            {"card": card, "asked": request_of if waits else None,
             "may": may and waits and not own, "own": waits and own}
        )  # fmt: skip
    context = {
        "rows": rows, "may": may, "back": request.path, "fragment": fragment_of(request),
        "delegates": allows(request.user, Can.DELEGATE_APPROVAL),
    }  # fmt: skip
    part = "fragment" in request.GET
    name = "console/parts/approvals.html" if part else "console/approvals.html"
    return render(request, name, context)
