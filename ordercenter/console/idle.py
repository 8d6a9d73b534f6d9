"""A session left open on a shared computer ends by itself (X19)."""

from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse

from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role, roles_of

ACTED_AT: Final = "acted_at"
"""Where a session keeps when its person last did something, in seconds since 1970."""
SHARED: Final = frozenset({Role.PICKER, Role.PACKER})
"""Roles that work at computers others walk up to."""
NOTED_EVERY: Final = 60.0


class IdleMiddleware:
    """Log out who has done nothing for ``IDLE_MINUTES``, 0 for never; the page then asks for a
    log-in. A page that renews itself does nothing for anybody."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.IDLE_MINUTES and roles_of(request.user) & SHARED:
            self._look(request)
        return self.get_response(request)

    def _look(self, request: HttpRequest) -> None:
        now = clock_now().timestamp()
        acted_at = request.session.get(ACTED_AT)
        if not isinstance(acted_at, float):
            request.session[ACTED_AT] = now
        elif now - acted_at > settings.IDLE_MINUTES * 60:
            logout(request)
        elif "fragment" not in request.GET and now - acted_at > NOTED_EVERY:
            request.session[ACTED_AT] = now
