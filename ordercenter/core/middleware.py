"""A request id for every request, and hints the browser is to obey."""

import uuid
from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# No inline script and no foreign origin: what a buyer typed cannot run. Styles stay inline
# because the admin theme computes some.
POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'"
)
# The admin theme runs on Alpine, which evaluates its attributes.
ADMIN_POLICY: Final = POLICY.replace(
    "script-src 'self'", "script-src 'self' 'unsafe-eval' 'unsafe-inline'"
)


class RequestMiddleware:
    """Give each request an id for the audit trail and each answer its content policy.

    TRACE and methods of other protocols reach no view: a plain view would take them for GET.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.request_id = uuid.uuid4().hex  # type: ignore[attr-defined]
        if request.method in METHODS:
            response = self.get_response(request)
        else:
            response = HttpResponseNotAllowed(METHODS)
        response.setdefault("X-Request-Id", request.request_id)  # type: ignore[attr-defined]
        is_admin = request.path.startswith("/admin/")
        response.setdefault("Content-Security-Policy", ADMIN_POLICY if is_admin else POLICY)
        return response
