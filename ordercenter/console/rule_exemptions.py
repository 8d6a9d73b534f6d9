"""Customers whom people trust for a while: the central list, adding one, ending one."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from ordercenter.console.access import me, page
from ordercenter.console.reasons import LONGEST
from ordercenter.console.rule_boxes import Choices
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.policy import Can, allows, require
from ordercenter.orders.models import SalesOrder
from risk import exemptions, lists
from risk.gate import live_rules
from risk.models import RuleList

MOST: Final = 500
NUMBER: Final = 32
TIER: Final = "2"
"""Only rules of this tier let anybody pass."""


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.VIEW_RULES)
def exemptions_page(request: HttpRequest) -> HttpResponse:
    """Everybody exempt now, those that end first on top; a new one is decided on an order."""
    if request.method != "POST":
        return _draw(request)
    require(request.user, Can.EDIT_LISTS)
    try:
        return _exempt(request)
    except (InvalidInput, NotFound) as refusal:
        return _draw(request, error=str(refusal), status=refusal.http_status)


def _draw(request: HttpRequest, *, error: str = "", status: int = HTTPStatus.OK) -> HttpResponse:
    rules = _rules()
    names = dict(rules)
    rows = list(exemptions.open_exemptions()[: MOST + 1])
    context = {
        "rows": [(one, names.get(one.rule_code, one.rule_code)) for one in rows[:MOST]],
        "has_more": len(rows) > MOST,
        "most": MOST,
        "rules": rules,
        "keys": [(key.value, RuleList.Key(key).label) for key in exemptions.KEYS],
        "typed": request.POST or request.GET,
        "error": error,
        "days": exemptions.LONGEST.days,
        "longest": LONGEST,
        "may_edit": allows(request.user, Can.EDIT_LISTS),
        "may_open": allows(request.user, Can.VIEW_ORDERS),
    }
    return render(request, "console/rules/exemptions.html", context, status=int(status))


def _rules() -> Choices:
    """Rules somebody can be exempt from: all that hold for review, or one of them."""
    found = [
        (str(rule["code"]), str(rule.get("name") or rule["code"]))
        for rule in live_rules()[1]
        if rule.get("outcome", {}).get("tier") == TIER
    ]
    return [(exemptions.EVERY_RULE, _("所有二级规则")), *found]


def _exempt(request: HttpRequest) -> HttpResponse:
    number = request.POST.get("order", "").replace("\0", "").strip()[:NUMBER]
    order = SalesOrder.objects.visible_to(request.user).filter(number=number).first()
    if order is None:
        raise NotFound(what=_("订单 %(number)s") % {"number": number or "—"})
    rule = request.POST.get("rule", "")
    if rule not in dict(_rules()):
        raise InvalidInput(what=_("请选择对哪条规则豁免"))
    made = exemptions.exempt(
        order.pk, key=request.POST.get("key", ""), until=_until(request.POST.get("until", "")),
        reason=request.POST.get("reason", ""), rule_code=rule, user=me(request),
        actor=Actor.of(request),
    )  # fmt: skip
    last = made.expires_at - timedelta(microseconds=1)
    messages.success(request, _("已豁免，%(day)s 当天仍有效") % {"day": f"{last:%Y-%m-%d}"})
    return HttpResponseRedirect(reverse("exemptions"))


def _until(text: str) -> datetime:
    found = lists.read_end(text)
    if found == lists.NO_DATE:
        raise InvalidInput(what=_("请填写到期日，例如 2026-12-31"))
    return found


@require_POST
@page(Can.EDIT_LISTS)
def end(request: HttpRequest, pk: int) -> HttpResponse:
    """Trust no longer; pressed twice, it has ended once."""
    try:
        exemptions.end_exemption(
            pk, user=me(request), reason=request.POST.get("reason", ""), actor=Actor.of(request)
        )
    except InvalidInput as refusal:
        return _draw(request, error=str(refusal), status=refusal.http_status)
    messages.success(request, _("豁免已结束，之后的订单照常审核"))
    return HttpResponseRedirect(reverse("exemptions"))
