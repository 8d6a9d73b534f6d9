"""A refusal becomes ``{"code", "message"}``; a bug stays a bug."""

from typing import Any

from rest_framework.response import Response
from rest_framework.views import exception_handler

from ordercenter.core.errors import OrderCenterError


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    if isinstance(error, OrderCenterError):
        return Response({"code": error.code, "message": str(error)}, status=error.http_status)
    response = exception_handler(error, context)
    if response is not None and "detail" in getattr(response, "data", {}):
        detail = response.data["detail"]
        response.data = {"code": getattr(detail, "code", "invalid"), "message": str(detail)}
    return response
