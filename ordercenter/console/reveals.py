"""Receivers in the clear, once and on record: the look, the log of looks, the search by phone."""

from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from channels_sync.models import Reveal
from ordercenter.console.access import me, page
from ordercenter.console.orders import order_in_scope
from ordercenter.console.reveal_forms import reveal_form
from ordercenter.core.actor import Actor
from ordercenter.core.clock import SHANGHAI, now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import erasure, finding, privacy

PER_PAGE: Final = 100
LONGEST_KEY: Final = 18


@require_POST
@page(Can.REVEAL_RECEIVER)
def reveal(request: HttpRequest, number: str) -> HttpResponse:
    """Show one receiver, in this answer alone: no address leads to it and nothing keeps it."""
    order = order_in_scope(request, number)
    context: dict[str, Any] = {"order": order}
    status = HTTPStatus.OK
    try:
        context["receiver"] = privacy.reveal(
            order.pk,
            scene=request.POST.get("scene", ""),
            reason=request.POST.get("reason", ""),
            user=me(request),
            actor=Actor.of(request),
        )
    except OrderCenterError as refusal:
        context |= {
            "refusal": refusal,
            "scenes": reveal_form(request.user),
            "scene": request.POST.get("scene", ""),
            "reason": request.POST.get("reason", ""),
        }
        status = HTTPStatus(int(refusal.http_status))
    answer = render(request, "console/revealed.html", context, status=status)
    answer.headers["Cache-Control"] = "no-store, private"
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


@require_POST
@page(Can.RESTRICT_RECEIVER)
def restrict(request: HttpRequest, number: str) -> HttpResponse:
    """Open an ended order's receiver to nobody any more."""
    order = order_in_scope(request, number)
    erasure.restrict_receiver(
        order.pk,
        user=me(request),
        actor=Actor.of(request),
        reason=request.POST.get("reason", ""),
    )
    messages.success(request, _("%(number)s 的收件人信息已限制处理") % {"number": order.number})
    return HttpResponseRedirect(reverse("order", args=[order.number]))


@require_safe
@page(Can.READ_REVEALS)
def reveals_page(request: HttpRequest) -> HttpResponse:
    """Who looked at whom, for what, and what came of it; the newest first."""
    before = request.GET.get("before", "")
    known = before.isascii() and before.isdigit() and len(before) <= LONGEST_KEY
    older = Q(pk__lt=int(before)) if known else Q()
    rows = list(Reveal.objects.filter(older).select_related("shop").order_by("-pk")[: PER_PAGE + 1])
    shown = rows[:PER_PAGE]
    numbers = dict(
        SalesOrder.objects.filter(pk__in={row.order_id for row in shown}).values_list(
            "pk", "number"
        )
    )
    context = {
        "rows": [(row, numbers.get(row.order_id, "")) for row in shown],
        "before": shown[-1].pk if len(rows) > PER_PAGE else None,
        "today": _of_today(),
    }
    return render(request, "console/reveals.html", context)


def _of_today() -> list[dict[str, Any]]:
    """How often each person has looked today; labels, which nobody reads, apart."""
    today = now().astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
    label = Q(scene=Reveal.Scene.LABEL)
    found = Reveal.objects.filter(at__gte=today).values("seen_by_id", "seen_by")
    counted = found.annotate(looks=Count("pk", filter=~label), labels=Count("pk", filter=label))
    return [dict(row) for row in counted.order_by("-looks", "seen_by")[:50]]


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.REVEAL_RECEIVER)
def find_page(request: HttpRequest) -> HttpResponse:
    """Find orders by the whole phone. It is posted, so that it is in no address."""
    context: dict[str, Any] = {"found": None}
    status = HTTPStatus.OK
    if request.method == "POST":
        context["reason"] = request.POST.get("reason", "")
        try:
            context["found"] = finding.orders_by_phone(
                request.POST.get("phone", ""),
                reason=request.POST.get("reason", ""),
                user=me(request),
                actor=Actor.of(request),
            )
        except (InvalidInput, finding.SearchesSpent) as refusal:
            context["refusal"] = refusal
            status = HTTPStatus(int(refusal.http_status))
    return render(request, "console/find.html", context, status=status)
