"""Above which size an interception takes two people; the CEO's to say."""

from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.console.access import me, page
from ordercenter.console.reasons import checked_reason
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Can, allows, require
from ordercenter.orders.models import InterceptionPolicy

MOST_ORDERS: Final = 1_000_000
MOST_VALUE: Final = Decimal(1_000_000_000)
MOST_HOURS: Final = 72
FIELDS: Final = ("most_orders", "most_value", "call_back_hours")


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.INTERCEPT)
def policy_page(request: HttpRequest) -> HttpResponse:
    """The limits; a change counts from the next command on and is kept in the audit."""
    error, status = "", HTTPStatus.OK
    if request.method == "POST":
        require(me(request), Can.END_INTERCEPT)
        try:
            _save(request)
        except InvalidInput as refusal:
            error, status = str(refusal), refusal.http_status
        else:
            messages.success(request, _("已保存，下一道指令起生效"))
            return HttpResponseRedirect(reverse("intercept_policy"))
    context = {
        "policy": InterceptionPolicy.current(),
        "typed": request.POST,
        "error": error,
        "may": allows(request.user, Can.END_INTERCEPT),
    }
    return render(request, "console/intercept/policy.html", context, status=int(status))


@transaction.atomic
def _save(request: HttpRequest) -> None:
    reason = checked_reason(request.POST.get("reason", ""))
    told: dict[str, Decimal | int] = {
        "most_orders": int(_figure(request, "most_orders", Decimal(MOST_ORDERS))),
        "most_value": _figure(request, "most_value", MOST_VALUE),
        "call_back_hours": int(_figure(request, "call_back_hours", Decimal(MOST_HOURS))),
    }
    row = InterceptionPolicy.objects.select_for_update().filter(pk=1).first()
    row = row or InterceptionPolicy(pk=1)
    change: dict[str, Any] = {
        name: [str(getattr(row, name)), str(told[name])]
        for name in FIELDS
        if Decimal(getattr(row, name)) != Decimal(told[name])
    }
    for name in FIELDS:
        setattr(row, name, told[name])
    row.save()
    record(
        Action.RULES_CHANGED, object_type="interception_policy", object_id=1,
        actor=Actor.of(request), change=change, reason=reason,
    )  # fmt: skip


def _figure(request: HttpRequest, name: str, most: Decimal) -> Decimal:
    text = request.POST.get(name, "").strip().replace(",", "")
    try:
        figure = Decimal(text)
    except InvalidOperation:
        figure = Decimal(-1)
    if not figure.is_finite() or not 0 <= figure <= most:
        raise InvalidInput(what=_("请填写 0 到 %(most)s 之间的数") % {"most": f"{most:,}"})
    return figure.quantize(Decimal("0.01"))
