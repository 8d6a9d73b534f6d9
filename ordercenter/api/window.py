"""What our own shops are to tell their buyers about stock that is nearly gone."""

from dataclasses import asdict
from typing import Any

from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inventory.window import few_left
from ordercenter.api.permissions import MayViewStock
from ordercenter.api.query import check_query
from ordercenter.api.tokens import TOKEN_OR_SESSION, in_its_shops
from ordercenter.api.views import JsonAlways
from ordercenter.catalog.models import Shop
from ordercenter.core.errors import NotFound


class ShopWindow(APIView):
    """``GET /api/window/{shop}/``: listings with few units left, their words, the limit an order.

    What is not in the answer has neither words nor a limit.
    """

    authentication_classes = TOKEN_OR_SESSION
    permission_classes = (MayViewStock,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = JsonAlways
    metadata_class = None
    http_method_names = ["get", "head"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_query(request, frozenset())

    def get(self, request: Request, code: str) -> Response:
        shops = in_its_shops(request, Shop.objects.filter(code=code, is_active=True), "pk")
        shop_id = shops.values_list("pk", flat=True).first()
        if shop_id is None:
            raise NotFound(what=f"店铺 {code}")
        return Response({"results": [asdict(one) for one in few_left(shop_id)]})
