"""What the CEO signs asks for a password that was typed lately (X42)."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from django.contrib.auth import authenticate
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from ordercenter.console.access import back_of, me, page
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import OrderCenterError
from ordercenter.pipeline.delegation import may_approve

TYPED_AT: Final = "password_typed_at"
"""Where a session keeps when its password was typed last, in seconds since 1970."""
FRESH: Final = timedelta(hours=8)


class LoginTooOld(OrderCenterError):
    code = "step_up"
    message = _("距上次输入密码已超过 8 小时，请再次输入密码后继续")
    http_status = HTTPStatus.UNAUTHORIZED


def remember_password(sender: Any, request: HttpRequest | None, **_: Any) -> None:
    """Somebody has logged in with this request."""
    if request is not None and hasattr(request, "session"):
        request.session[TYPED_AT] = clock_now().timestamp()


def require_fresh(request: HttpRequest, *, now: datetime | None = None) -> None:
    """Raise LoginTooOld unless the password was typed within eight hours."""
    typed_at = request.session.get(TYPED_AT)
    age = (now or clock_now()).timestamp() - typed_at if isinstance(typed_at, float) else None
    if age is None or not 0 <= age <= FRESH.total_seconds():
        raise LoginTooOld


def ask_again(request: HttpRequest, refusal: LoginTooOld, back: str) -> HttpResponse:
    """Ask for the password; what was not decided is decided afterwards, on the page as it is."""
    context = {"refusal": refusal, "back": back, "wrong": False}
    return render(request, "console/approvals/password.html", context, status=refusal.http_status)


@require_http_methods(["GET", "HEAD", "POST"])
@page()
def password_page(request: HttpRequest) -> HttpResponse:
    """Type the own password once more; wrong ones count like wrong log-ins."""
    user = me(request)
    if not may_approve(user):
        raise PermissionDenied
    back = back_of(request) or reverse("approvals")
    if request.method != "POST":
        return render(request, "console/approvals/password.html", {"back": back})
    known = authenticate(
        request, username=user.get_username(), password=request.POST.get("password", "")
    )
    if known is None or known.pk != user.pk:
        context = {"back": back, "wrong": True}
        return render(request, "console/approvals/password.html", context, status=422)
    remember_password(type(user), request)
    return HttpResponseRedirect(back)
