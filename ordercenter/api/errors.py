"""A refusal becomes ``{"code", "message"}``; a bug stays a bug."""

from collections.abc import Iterator
from typing import Any

from rest_framework.exceptions import ErrorDetail, PermissionDenied, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler

from channels_sync.models import ApiToken
from ordercenter.api.alarms import token_refused
from ordercenter.core.errors import OrderCenterError


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    if isinstance(error, OrderCenterError):
        return Response({"code": error.code, "message": str(error)}, status=error.http_status)
    response = exception_handler(error, context)
    if response is None:
        return None
    if isinstance(error, PermissionDenied) and isinstance(context["request"].auth, ApiToken):
        token_refused(context["request"], context["request"].auth)
    if isinstance(error, ValidationError):
        found = list(_flat(error.detail))
        words = "；".join(f"{name}：{detail}" if name else str(detail) for name, detail in found)
        response.data = {"code": found[0][1].code or "invalid", "message": words}
    else:
        detail = response.data["detail"]
        response.data = {"code": getattr(detail, "code", "invalid"), "message": str(detail)}
    return response


def _flat(detail: Any, name: str = "") -> Iterator[tuple[str, ErrorDetail]]:
    """Every refused field with its words, however deep they lie."""
    if isinstance(detail, dict):
        for key, inner in detail.items():
            yield from _flat(inner, "" if key == "non_field_errors" else str(key))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _flat(inner, name)
    else:
        yield name, detail
