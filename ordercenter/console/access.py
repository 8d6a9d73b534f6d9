"""Roles as groups, and the guard at the door of every page of our own."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from django.contrib.auth.models import Group, User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import AnyUser, Can, Role, allows, roles_of

View = Callable[..., HttpResponse]

GRANTS_ROLES: Final = frozenset({Role.CEO})
"""Who keeps accounts and roles (``reliability.md`` section 10); nobody his own."""


def ensure_groups() -> None:
    """See to it that every role is a group. May be repeated; takes no group away."""
    have = set(Group.objects.filter(name__in=Role.values).values_list("name", flat=True))
    Group.objects.bulk_create(
        [Group(name=role) for role in Role.values if role not in have], ignore_conflicts=True
    )


def ensure_groups_after_migrate(**_: Any) -> None:
    ensure_groups()


def may_any(user: AnyUser, rights: tuple[Can, ...]) -> bool:
    return any(allows(user, right) for right in rights)


def grants_roles(user: AnyUser) -> bool:
    return bool(roles_of(user) & GRANTS_ROLES)


def _place_to_return(request: HttpRequest) -> str:
    """Where somebody who has to log in again goes on: on a fresh page, never with an old post."""
    if request.method in {"GET", "HEAD"}:
        return request.get_full_path()
    return back_of(request) or reverse("home")


def back_of(request: HttpRequest) -> str:
    """The page a form was on, as long as that is here."""
    back = request.POST.get("back", "")
    here = back.startswith("/") and url_has_allowed_host_and_scheme(back, {request.get_host()})
    return back if here else ""


def me(request: HttpRequest) -> User:
    """Who is logged in, behind the guard of ``page``."""
    assert isinstance(request.user, User)
    return request.user


def page(*rights: Can) -> Callable[[View], View]:
    """Let in who is logged in and has one of ``rights``; the others get the log-in page or 403.

    A refusal of a service that the view did not handle becomes a page with its own status.
    """

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return redirect_to_login(_place_to_return(request))
            if rights and not may_any(request.user, rights):
                raise PermissionDenied
            try:
                response = view(request, *args, **kwargs)
            except OrderCenterError as refusal:
                response = refused(request, refusal)
            response.setdefault("Cache-Control", "no-store")
            return response

        return guarded

    return guard


def fragment_of(request: HttpRequest) -> str:
    """The address of the changing part of the page that is being drawn."""
    query = request.GET.copy()
    query["fragment"] = "1"
    return f"{request.path}?{query.urlencode()}"


def refused(request: HttpRequest, refusal: OrderCenterError) -> HttpResponse:
    """Say in words what was refused, with the refusal's own status."""
    context = {"refusal": refusal, "back": request.path}
    return render(request, "console/refused.html", context, status=int(refusal.http_status))
