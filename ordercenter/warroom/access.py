"""The guard at the door of each live page."""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from http import HTTPStatus
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from ordercenter.core.clock import now
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Can, allows

View = Callable[..., HttpResponse]
logger = logging.getLogger(__name__)


class Outage:
    """Since when this process has not reached the database."""

    def __init__(self) -> None:
        self.since: datetime | None = None

    def begin(self) -> datetime:
        self.since = self.since or now()
        return self.since

    def end(self) -> None:
        self.since = None


outage: Final = Outage()


def page(right: Can) -> Callable[[View], View]:
    """Let in who is logged in and has ``right``; the others get the log-in page or 403.

    While the database is away the page says so, with 503, instead of showing old figures.
    """

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                response = _answer(view, right, request, *args, **kwargs)
            except OrderCenterError as refusal:
                context = {"refusal": refusal, "back": request.path}
                response = render(
                    request, "console/refused.html", context, status=int(refusal.http_status)
                )
            except (OperationalError, InterfaceError) as error:
                logger.warning("a live page has no database: %s", type(error).__name__)
                response = no_data(request)
            else:
                outage.end()
            response.headers["Cache-Control"] = "no-store"
            return response

        return guarded

    return guard


def _answer(
    view: View, right: Can, request: HttpRequest, *args: Any, **kwargs: Any
) -> HttpResponse:
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if not allows(request.user, right):
        raise PermissionDenied
    return view(request, *args, **kwargs)


def person(request: HttpRequest) -> AbstractBaseUser:
    """The logged-in user of a guarded page."""
    assert isinstance(request.user, AbstractBaseUser)
    return request.user


def is_fragment(request: HttpRequest) -> bool:
    """Whether the page's script asks for the part that changes only."""
    return request.GET.get("fragment") == "1"


def no_data(request: HttpRequest) -> HttpResponse:
    name = "warroom/parts/no_data.html" if is_fragment(request) else "warroom/no_data.html"
    context = {"since": outage.begin()}
    return render(request, name, context, status=HTTPStatus.SERVICE_UNAVAILABLE)
