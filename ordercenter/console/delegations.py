"""The CEO lets somebody else approve for a while, and sees who may."""

from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods, require_POST

from ordercenter.console.access import me, page
from ordercenter.console.step_up import LoginTooOld, ask_again, require_fresh
from ordercenter.core.actor import Actor
from ordercenter.core.clock import SHANGHAI, now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can
from ordercenter.orders.models import Delegation
from ordercenter.pipeline import delegation

SHOWN: Final = 50


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.DELEGATE_APPROVAL)
def delegations_page(request: HttpRequest) -> HttpResponse:
    """Who may approve in the CEO's stead and until when; a form to let one more."""
    if request.method != "POST":
        return _draw(request)
    here = reverse("delegations")
    try:
        require_fresh(request)
        taker = _taker(request)
        delegation.delegate(
            taker, starts_at=_moment(request, "starts_at") or now(), ends_at=_end(request),
            reason=request.POST.get("reason", ""), user=me(request), actor=Actor.of(request),
        )  # fmt: skip
    except LoginTooOld as refusal:
        return ask_again(request, refusal, here)
    except delegation.AlreadyDelegated as refusal:
        return _draw(request, error=str(refusal), status=HTTPStatus.CONFLICT)
    except InvalidInput as refusal:
        return _draw(request, error=str(refusal), status=HTTPStatus.UNPROCESSABLE_ENTITY)
    name = taker.get_full_name() or taker.get_username()
    messages.success(request, _("已授权 %(who)s 代为审批") % {"who": name})
    return HttpResponseRedirect(here)


def _taker(request: HttpRequest) -> User:
    text = request.POST.get("taker", "")
    is_key = text.isascii() and text.isdigit() and len(text) < 10  # noqa: PLR2004 - fits a key
    found = delegation.takers().filter(pk=int(text)).first() if is_key else None
    if found is None:
        raise InvalidInput(what=_("请选择代为审批的人"))
    return found


def _end(request: HttpRequest) -> datetime:
    moment = _moment(request, "ends_at")
    if moment is None:
        raise InvalidInput(what=_("请填写结束时间"))
    return moment


def _moment(request: HttpRequest, name: str) -> datetime | None:
    text = request.POST.get(name, "").strip()
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M").replace(tzinfo=SHANGHAI)
    except ValueError:
        raise InvalidInput(what=_("时间格式不对")) from None


def _draw(request: HttpRequest, *, error: str = "", status: int = HTTPStatus.OK) -> HttpResponse:
    moment = now()
    rows = Delegation.objects.select_related("giver", "taker").order_by("-pk")[:SHOWN]
    context: dict[str, Any] = {
        "rows": [(row, _standing(row, moment)) for row in rows],
        "takers": delegation.takers(),
        "error": error,
        "typed": request.POST,
    }
    return render(request, "console/approvals/delegations.html", context, status=int(status))


def _standing(row: Delegation, moment: datetime) -> str:
    """Whether a delegation counts: ``on``, ``coming``, or ``over``."""
    if row.revoked_at is not None or row.ends_at <= moment:
        return "over"
    return "on" if row.starts_at <= moment else "coming"


@require_POST
@page(Can.DELEGATE_APPROVAL)
def end_delegation(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a delegation back; pressed twice it is taken back once."""
    try:
        delegation.take_back(pk, user=me(request), actor=Actor.of(request))
    except OrderCenterError as refusal:
        messages.error(request, str(refusal))
    return HttpResponseRedirect(reverse("delegations"))
