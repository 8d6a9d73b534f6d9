"""Where the system of a warehouse of others tells what lies on its shelves."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from django.contrib.auth.models import User
from django.utils.dateparse import parse_datetime
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inventory import figures, papers
from ordercenter.api.permissions import MayTellFigures
from ordercenter.api.query import check_query
from ordercenter.api.tokens import ScopedTokens, actor_of, token_of
from ordercenter.api.views import JsonAlways
from ordercenter.core.errors import InvalidInput
from ordercenter.pipeline.publishing import telling_stock

FIELDS: Final = frozenset({"reference", "warehouse", "as_of", "rows"})
LONGEST: Final = 80


class StockFigures(APIView):
    """``POST /api/stock-figures/``: units by SKU of one virtual warehouse, as of a moment.

    201 with what each row came to; 200 with the same answer for a ``reference`` told before.
    Only a token may come in, and only for the warehouses it names: any other does not exist.
    """

    authentication_classes = (ScopedTokens,)
    permission_classes = (MayTellFigures,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = JsonAlways
    metadata_class = None
    http_method_names = ["post"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_query(request, frozenset())

    def post(self, request: Request) -> Response:
        told, token = _told(request), token_of(request)
        assert token is not None  # there is no other way in
        assert isinstance(request.user, User)
        with telling_stock():
            done = figures.tell(
                told["warehouse"], [figures.read_row(entry) for entry in told["rows"]],
                as_of=told["as_of"], reference=told["reference"], user=request.user,
                warehouses=list(token.warehouses.values_list("pk", flat=True)),
                actor=actor_of(request),
            )  # fmt: skip
        status = HTTPStatus.CREATED if done.is_new else HTTPStatus.OK
        return Response(done.answer, status=status)


def _told(request: Request) -> dict[str, Any]:
    """The body, as far as it is one. What is wrong with single rows is left to each row."""
    body = request.data
    if not isinstance(body, Mapping) or set(body) != FIELDS:
        raise InvalidInput(what=f"报文应是一个对象，字段为 {'、'.join(sorted(FIELDS))}")
    rows = body["rows"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= papers.MOST_LINES:
        raise InvalidInput(what=f"rows 应有 1 到 {papers.MOST_LINES} 行")
    return {
        "reference": _words(body, "reference"), "warehouse": _words(body, "warehouse"),
        "as_of": _moment(body["as_of"]), "rows": rows,
    }  # fmt: skip


def _words(body: Mapping[str, Any], name: str) -> str:
    text = body[name]
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST or not text.isprintable():
        raise InvalidInput(what=f"{name} 应为 1 到 {LONGEST} 个字符")
    return text


def _moment(value: Any) -> datetime:
    try:
        moment = parse_datetime(value) if isinstance(value, str) and value.isascii() else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidInput(what="as_of 应为带时区的时间，例如 2026-11-23T08:00:00+08:00")
    return moment
