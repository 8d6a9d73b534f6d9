"""The live rules and the orders that are inside already: look, then have them judged again."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from ordercenter.console.access import me, page
from ordercenter.console.reasons import checked_reason
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can, allows, require
from ordercenter.pipeline import rule_life
from ordercenter.pipeline.rule_life import Effect
from risk.models import RuleSet
from risk.sets import live_program

LOOKED_AT: Final = 2_000
"""Open orders a page looks at; ``manage.py apply_rules`` looks at all."""
MOST_CODES: Final = 200


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.VIEW_RULES)
def inside_page(request: HttpRequest) -> HttpResponse:
    """What the live rules would do to the open orders; a POST has them judged by a worker."""
    if request.method != "POST":
        return _draw(request)
    try:
        require(me(request), Can.EDIT_RULES)
        reason = checked_reason(request.POST.get("reason", ""))
        if request.POST.get("count", "").strip() != str(rule_life.open_count()):
            raise InvalidInput(what=_("请填写页面上的在途订单数，以示看过预览"))
        rule_life.ask_inside(
            user=me(request), reason=reason, release=request.POST.getlist("release")[:MOST_CODES]
        )
    except OrderCenterError as refusal:
        return _draw(request, error=str(refusal), status=int(refusal.http_status))
    messages.success(request, _("已交给后台重新判定，进度见本页"))
    return HttpResponseRedirect(reverse("rules_inside"))


def _draw(request: HttpRequest, *, error: str = "", status: int = HTTPStatus.OK) -> HttpResponse:
    found = rule_life.preview(most=LOOKED_AT)
    row = RuleSet.objects.filter(version=found.version).first()
    names = {rule.code: rule.name for rule in live_program().rules}
    context: dict[str, Any] = {
        "found": found,
        "total": rule_life.open_count(),
        "gains": most_first(found.gains, names),
        "losses": most_first(found.losses, names),
        "last": rule_life.last_run(row) if row else None,
        "may_apply": allows(request.user, Can.EDIT_RULES),
        "may_release": allows(request.user, Can.REVIEW),
        "reason": request.POST.get("reason", ""),
        "ticked": request.POST.getlist("release"),
        "error": error,
    }
    return render(request, "console/rules_inside.html", context, status=int(status))


def most_first(effects: Mapping[str, Effect], names: Mapping[str, str]) -> list[tuple[Effect, str]]:
    """What becomes of each rule's holds, with its name; a rule that is gone has its code."""
    rows = sorted(effects.values(), key=lambda one: (-one.orders, one.code))
    return [(one, names.get(one.code, one.code)) for one in rows]
