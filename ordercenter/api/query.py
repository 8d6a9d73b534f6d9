"""The query string is read strictly: what is not asked for by name is refused, never ignored."""

import re
from collections.abc import Collection
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from django import forms
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext_lazy as _
from django_filters import ChoiceFilter, Filter, FilterSet
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request

from ordercenter.catalog.models import Channel
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import OrderStatus

MAX_QUERY: Final = 12 * 1024
MAX_IDS: Final = 500
ID: Final = re.compile(r"[0-9]{1,18}")


class TooLong(APIException):
    status_code = HTTPStatus.REQUEST_URI_TOO_LONG
    default_code = "query_too_long"
    default_detail = _("查询参数过长")


def check_query(request: Request, known: Collection[str]) -> None:
    """Refuse a query string that is too long, names what we do not know, or repeats itself."""
    if len(request.META.get("QUERY_STRING", "")) > MAX_QUERY:
        raise TooLong
    query: QueryDict = request.query_params
    if unknown := sorted(set(query) - set(known)):
        raise ValidationError(
            _("不认识的参数 %(names)s；可用的参数：%(known)s")
            % {"names": "、".join(unknown)[:200], "known": "、".join(sorted(known))},
            code="unknown_parameter",
        )
    if repeated := sorted(name for name in query if len(query.getlist(name)) > 1):
        raise ValidationError(
            _("参数 %(names)s 只能出现一次") % {"names": "、".join(repeated)},
            code="repeated_parameter",
        )


class TextField(forms.CharField):
    """Text that is there, as long as it may be, and unchanged."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max_length": 64, "strip": False, **kwargs})


class IdsField(forms.CharField):
    """Ids between commas, as many as we answer for in one question."""

    def clean(self, value: Any) -> list[int]:
        text = super().clean(value)
        parts = text.split(",") if text else []
        if len(parts) > MAX_IDS:
            raise forms.ValidationError(
                _("一次最多 %(limit)d 个编号") % {"limit": MAX_IDS}, code="too_many"
            )
        if not all(ID.fullmatch(part) for part in parts):
            raise forms.ValidationError(_("编号只能是数字，以逗号分隔"), code="invalid")
        return [int(part) for part in parts]


class FlagField(forms.Field):
    def clean(self, value: Any) -> bool | None:
        if value in {None, ""}:
            return None
        if value not in {"true", "false"}:
            raise forms.ValidationError(_("只能是 true 或 false"), code="invalid")
        return bool(value == "true")


class MomentField(forms.Field):
    """An instant with its offset, as ISO 8601 writes it."""

    def clean(self, value: Any) -> datetime | None:
        if value in {None, ""}:
            return None
        try:
            moment = parse_datetime(value) if value.isascii() else None
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise forms.ValidationError(
                _("请用带时区的时间，例如 2025-11-11T00:00:00+08:00"), code="invalid"
            )
        return moment


class TextFilter(Filter):  # type: ignore[misc]
    field_class = TextField


class IdsFilter(Filter):  # type: ignore[misc]
    field_class = IdsField


class FlagFilter(Filter):  # type: ignore[misc]
    field_class = FlagField


class MomentFilter(Filter):  # type: ignore[misc]
    field_class = MomentField


class OrderFilter(FilterSet):  # type: ignore[misc]
    """The questions one may ask of orders. Nothing else is a filter, masked or not."""

    id__in = IdsFilter(field_name="pk", lookup_expr="in")
    number = TextFilter()
    channel_number = TextFilter()
    shop = TextFilter(field_name="shop__code")
    channel = ChoiceFilter(field_name="shop__channel", choices=Channel.choices)
    status = ChoiceFilter(choices=OrderStatus.choices)
    held = FlagFilter(field_name="is_held")
    is_rush = FlagFilter()
    is_test = FlagFilter()
    placed_from = MomentFilter(field_name="placed_at", lookup_expr="gte")
    placed_to = MomentFilter(field_name="placed_at", lookup_expr="lte")

    class Meta:
        model = SalesOrder
        fields: list[str] = []

    def filter_queryset(self, queryset: QuerySet[SalesOrder]) -> QuerySet[SalesOrder]:
        given = self.form.cleaned_data
        first, last = given.get("placed_from"), given.get("placed_to")
        if first and last and first > last:
            raise ValidationError(
                {"placed_from": _("起始时间晚于结束时间")}, code="upside_down_range"
            )
        found: QuerySet[SalesOrder] = super().filter_queryset(queryset)
        return found
