"""Whether the process lives, and whether it can work.

A database fault makes a process not ready, never not live: a supervisor would otherwise kill
healthy processes (``reliability.md`` 7).
"""

import ipaddress
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from django.conf import settings
from django.db import Error as DatabaseTrouble
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from ordercenter.core.sealing import seal, unseal

PROXY_HEADERS: Final = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "Via")


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Say that the process answers. Touches nothing but the process."""
    return _answer({"status": "ok"}, HTTPStatus.OK)


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Say what this process can reach: 200 when all of it, else 503. Inner network only."""
    if not is_inner(request):
        raise Http404
    checks = {name: _passes(check) for name, check in CHECKS.items()}
    ready = all(checks.values())
    words = {name: "ok" if passed else "failed" for name, passed in checks.items()}
    status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    return _answer({"status": "ready" if ready else "not ready", "checks": words}, status)


def _answer(facts: Mapping[str, object], status: HTTPStatus) -> JsonResponse:
    return JsonResponse(facts, status=status, headers={"Cache-Control": "no-store"})


def is_inner(request: HttpRequest) -> bool:
    """Whether the request came straight from a loopback or private address.

    A front server hides the true peer behind a private address of its own, so whatever was
    passed on counts as outer.
    """
    if any(name in request.headers for name in PROXY_HEADERS):
        return False
    try:
        peer = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    mapped = getattr(peer, "ipv4_mapped", None)
    peer = mapped or peer
    return peer.is_loopback or peer.is_private


def _passes(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except (DatabaseTrouble, ValueError, LookupError):
        return False


def database_answers() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone() == (1,))


def migrations_are_applied() -> bool:
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def keys_open_what_they_seal() -> bool:
    """Whether the key of an installation is there and works; a broken one raises ValueError."""
    opened = unseal(seal({"ready": True}, purpose="ready"), purpose="ready")
    return bool(settings.SECRET_KEY and settings.ORDERCENTER_INDEX_KEY and opened["ready"])


CHECKS: Final[Mapping[str, Callable[[], bool]]] = {
    "database": database_answers,
    "migrations": migrations_are_applied,
    "keys": keys_open_what_they_seal,
}
