"""Pages of lists by key, so that page 10,000 costs what page 1 costs.

A cursor is signed: whoever alters it gets 400, not another place in the list.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.core import signing
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

if TYPE_CHECKING:  # the views read the settings, and the settings name this module
    from rest_framework.views import APIView

PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 200
SALT: Final = "ordercenter.api.cursor"
SIZE: Final = re.compile(r"[1-9][0-9]{0,17}")
PARAMETERS: Final = frozenset({"cursor", "page_size", "ordering"})


class Pages(BasePagination):
    """Walk a list in one of the view's ``orderings``, made unambiguous by the key.

    ``orderings`` maps what one may ask for to the columns it stands for; the first is the
    default. Never more than 200 rows however politely one asks.
    """

    def paginate_queryset(
        self, queryset: Any, request: Request, view: "APIView | None" = None
    ) -> list[Any]:
        orderings: Mapping[str, str] = getattr(view, "orderings", {"id": "pk"})
        self.request = request
        self.ordering = _ordering(request, orderings)
        self.column = orderings[self.ordering]
        size = _size(request)
        rows = list(self._after(queryset, orderings)[: size + 1])
        self.last = rows[size - 1] if len(rows) > size else None
        return rows[:size]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"next": self._next(), "results": data})

    def _after(self, queryset: QuerySet[Any], orderings: Mapping[str, str]) -> QuerySet[Any]:
        column, down = self.column.removeprefix("-"), self.column.startswith("-")
        ordered = queryset.order_by(self.column, "-pk" if down else "pk")
        if "cursor" not in self.request.query_params:
            return ordered
        value, key = _open(self.request.query_params["cursor"], self.ordering)
        beyond = "lt" if down else "gt"
        if column == "pk":
            return ordered.filter(**{f"pk__{beyond}": key})
        tie = Q(**{column: value, f"pk__{beyond}": key})
        # The plain bound lets the planner begin at the right place of the column's index.
        bound = Q(**{f"{column}__{beyond}e": value})
        return ordered.filter(bound & (Q(**{f"{column}__{beyond}": value}) | tie))

    def _next(self) -> str | None:
        if self.last is None:
            return None
        column = self.column.removeprefix("-")
        value = None if column == "pk" else getattr(self.last, column).isoformat()
        cursor = signing.dumps([self.ordering, value, self.last.pk], salt=SALT)
        return replace_query_param(self.request.build_absolute_uri(), "cursor", cursor)


def _ordering(request: Request, orderings: Mapping[str, str]) -> str:
    asked: str = request.query_params.get("ordering", next(iter(orderings)))
    if asked not in orderings:
        raise ValidationError(
            {"ordering": _("只能是 %(known)s") % {"known": "、".join(orderings)}}, code="invalid"
        )
    return asked


def _size(request: Request) -> int:
    text = request.query_params.get("page_size", str(PAGE_SIZE))
    if not SIZE.fullmatch(text):
        raise ValidationError({"page_size": _("应为正整数")}, code="invalid")
    return min(int(text), MAX_PAGE_SIZE)


def _open(cursor: str, ordering: str) -> tuple[datetime | None, int]:
    try:
        made_for, value, key = signing.loads(cursor, salt=SALT)
    except signing.BadSignature as error:
        raise ValidationError({"cursor": _("游标无效")}, code="invalid") from error
    if made_for != ordering:
        raise ValidationError({"cursor": _("游标属于另一种排序")}, code="invalid")
    return datetime.fromisoformat(value) if value else None, key
