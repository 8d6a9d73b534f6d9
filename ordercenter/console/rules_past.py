"""The live rules and a shop's past: look, then have a stretch of it judged."""

from datetime import datetime, time, timedelta
from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.dateparse import parse_date
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from ordercenter.catalog.models import Shop
from ordercenter.console.access import me, page
from ordercenter.console.reasons import checked_reason
from ordercenter.console.rules_inside import most_first
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can, allows, require
from ordercenter.pipeline import past
from risk.sets import live_program

LOOKED_AT: Final = 1_000
"""Orders a page looks at; ``manage.py judge_past`` looks at all."""


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.VIEW_RULES)
def past_page(request: HttpRequest) -> HttpResponse:
    """What the live rules find in a stretch; a POST has a worker judge it."""
    asked = request.POST if request.method == "POST" else request.GET
    try:
        stretch = _stretch(asked)
        if request.method == "POST":
            require(me(request), Can.EDIT_RULES)
            if stretch is None:
                raise InvalidInput(what=_("请选择店铺和起止日期"))
            reason = checked_reason(request.POST.get("reason", ""))
            if request.POST.get("count", "").strip() != str(stretch.orders().count()):
                raise InvalidInput(what=_("请填写页面上的订单数，以示看过预览"))
            past.ask(stretch, user=me(request), reason=reason)
            messages.success(request, _("已交给后台判定，进度见本页"))
            query = {name: asked.get(name, "") for name in ("shop", "since", "until")}
            return HttpResponseRedirect(f"{reverse('rules_past')}?{urlencode(query)}")
    except OrderCenterError as refusal:
        return _draw(request, asked, error=str(refusal), status=int(refusal.http_status))
    return _draw(request, asked, stretch)


def _stretch(asked: QueryDict) -> past.Stretch | None:
    """The stretch that is asked for, its last day included; None where nothing is."""
    code = asked.get("shop", "")
    if not code:
        return None
    shop = Shop.objects.filter(code=str(code).replace("\0", "")).first()
    try:
        days = [parse_date(str(asked.get(name, ""))) for name in ("since", "until")]
    except ValueError:
        days = []
    found = [datetime.combine(day, time(), SHANGHAI) for day in days if day]
    if shop is None or len(found) != 2:  # noqa: PLR2004 - from and to
        raise InvalidInput(what=_("请选择店铺和起止日期"))
    since, until = found
    return past.Stretch(shop, since, until + timedelta(days=1))


def _draw(
    request: HttpRequest,
    asked: QueryDict,
    stretch: past.Stretch | None = None,
    *,
    error: str = "",
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    program = live_program()
    found = past.preview(stretch, most=LOOKED_AT) if stretch else None
    names = {rule.code: rule.name for rule in program.rules}
    context: dict[str, Any] = {
        "shops": Shop.objects.order_by("code"),
        "asked": {name: asked.get(name, "") for name in ("shop", "since", "until", "reason")},
        "found": found, "total": stretch.orders().count() if stretch else 0,
        "looked_at": found.over + found.still_open + found.left_out if found else 0,
        "hits": most_first(found.hits, names) if found else [],
        "last": past.last_run(program.version), "version": program.version,
        "may_apply": allows(request.user, Can.EDIT_RULES), "error": error,
    }  # fmt: skip
    return render(request, "console/rules_past.html", context, status=int(status))
