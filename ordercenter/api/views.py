"""Orders, read only. What you may not see does not exist."""

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from django.db.models import Exists, OuterRef, Prefetch, QuerySet
from django.http import Http404
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.generics import GenericAPIView, ListAPIView, RetrieveAPIView
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from ordercenter.api.pagination import PARAMETERS, Pages
from ordercenter.api.permissions import MayViewOrders
from ordercenter.api.query import OrderFilter, check_query
from ordercenter.api.serializers import OrderDetailSerializer, OrderSerializer
from ordercenter.api.tokens import TOKEN_OR_SESSION, in_its_shops
from ordercenter.orders.models import OrderHold, OrderLine, SalesOrder

LIST_PARAMETERS: Final = PARAMETERS | set(OrderFilter.base_filters)


class JsonAlways(BaseContentNegotiation):
    """Answer with the view's first renderer, whatever is accepted; there is nothing else."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        return next(iter(parsers), None)

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class NoSuchDoor(APIView):
    """Everything else under ``/api/``: not there for those who may be here, closed for others.

    So a token that guesses at doors (a stock door, a simulated order) is refused and told of.
    """

    authentication_classes = TOKEN_OR_SESSION
    permission_classes = (MayViewOrders,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = JsonAlways
    metadata_class = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        raise Http404


class OrdersDoor(GenericAPIView[SalesOrder]):
    """What every view of orders has in common."""

    authentication_classes = TOKEN_OR_SESSION
    permission_classes = (MayViewOrders,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = JsonAlways
    metadata_class = None
    http_method_names = ["get", "head"]
    known_parameters: ClassVar[frozenset[str]] = frozenset()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_query(request, self.known_parameters)

    def get_queryset(self) -> QuerySet[SalesOrder]:
        held = Exists(OrderHold.objects.open().filter(order=OuterRef("pk")))
        visible = in_its_shops(self.request, SalesOrder.objects.visible_to(self.request.user))
        return visible.select_related("shop").annotate(is_held=held).defer("receiver_sealed")


class OrderList(OrdersDoor, ListAPIView[SalesOrder]):
    """``GET /api/orders/``: the newest first, by key."""

    serializer_class = OrderSerializer
    pagination_class = Pages
    filter_backends = (DjangoFilterBackend,)
    filterset_class = OrderFilter
    known_parameters = LIST_PARAMETERS
    orderings: Final = {
        "-placed_at": "-placed_at",
        "placed_at": "placed_at",
        "-id": "-pk",
        "id": "pk",
    }


class OrderDetail(OrdersDoor, RetrieveAPIView[SalesOrder]):
    """``GET /api/orders/{number}/``: one order with its lines, open holds and parcels."""

    serializer_class = OrderDetailSerializer
    lookup_field = "number"

    def get_queryset(self) -> QuerySet[SalesOrder]:
        lines = OrderLine.objects.select_related("sku", "bundle").order_by("line_no")
        return (
            super()
            .get_queryset()
            .prefetch_related(
                Prefetch("lines", lines),
                Prefetch("holds", OrderHold.objects.open().order_by("pk"), to_attr="open_holds"),
                "parcels__warehouse",
                "parcels__waybills",
            )
        )
