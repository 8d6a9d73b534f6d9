"""Default deny: a view that names no right is closed."""

from typing import TYPE_CHECKING

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from ordercenter.core.policy import Can, allows

if TYPE_CHECKING:  # the views read the settings, and the settings name this module
    from rest_framework.views import APIView


class DenyAll(BasePermission):
    def has_permission(self, request: Request, view: "APIView") -> bool:
        return False


class MayViewOrders(BasePermission):
    def has_permission(self, request: Request, view: "APIView") -> bool:
        return allows(request.user, Can.VIEW_ORDERS)
