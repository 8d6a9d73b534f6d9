"""What our own shops are to tell their buyers about stock that is nearly gone."""

from dataclasses import asdict
from typing import Any

from rest_framework.authentication import SessionAuthentication, TokenAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inventory.window import few_left
from ordercenter.api.query import check_query
from ordercenter.api.views import JsonAlways
from ordercenter.catalog.models import Shop
from ordercenter.core.errors import NotFound
from ordercenter.core.policy import Can, allows


class MayViewStock(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        return allows(request.user, Can.VIEW_STOCK)


class ShopWindow(APIView):
    """``GET /api/window/{shop}/``: listings with few units left, their words, the limit an order.

    What is not in the answer has neither words nor a limit.
    """

    authentication_classes = (TokenAuthentication, SessionAuthentication)
    permission_classes = (MayViewStock,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = JsonAlways
    metadata_class = None
    http_method_names = ["get", "head"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_query(request, frozenset())

    def get(self, _request: Request, code: str) -> Response:
        shop_id = (
            Shop.objects.filter(code=code, is_active=True).values_list("pk", flat=True).first()
        )
        if shop_id is None:
            raise NotFound(what=f"店铺 {code}")
        return Response({"results": [asdict(one) for one in few_left(shop_id)]})
