"""Default deny: a view that names no right is closed, and so is a scope no token was given."""

from typing import TYPE_CHECKING, ClassVar, Final

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from channels_sync.models import ApiToken
from ordercenter.core.policy import OF_ALL_SHOPS, PASSED_ON, Scope, allows

if TYPE_CHECKING:  # the views read the settings, and the settings name this module
    from rest_framework.views import APIView

_READS: Final = frozenset({"GET", "HEAD"})


class DenyAll(BasePermission):
    def has_permission(self, request: Request, view: "APIView") -> bool:
        return False


class Scoped(BasePermission):
    """Lets in who has the right; of tokens those that have its scope, too.

    Reading asks for ``reads``, everything else for ``writes``.
    """

    reads: ClassVar[Scope]
    writes: ClassVar[Scope]

    def has_permission(self, request: Request, view: "APIView") -> bool:
        scope = self.reads if request.method in _READS else self.writes
        return allows(request.user, PASSED_ON[scope]) and _reaches(request.auth, scope)


def _reaches(auth: object, scope: Scope) -> bool:
    """Whether what the request was proven by has this scope; a person's session has all."""
    if not isinstance(auth, ApiToken):
        return True
    return auth.has(scope) and (auth.all_shops or scope not in OF_ALL_SHOPS)


class MayViewOrders(Scoped):
    reads = writes = Scope.ORDERS_READ


class MayViewStock(Scoped):
    reads = writes = Scope.STOCK_READ


class MayTellFigures(Scoped):
    reads = writes = Scope.STOCK_FIGURES


class MayKeepRules(Scoped):
    reads, writes = Scope.RULES_READ, Scope.RULES_WRITE


class MayIntercept(Scoped):
    """Reading is for whoever sees orders, acting for whoever may intercept."""

    reads, writes = Scope.INTERCEPTIONS_READ, Scope.INTERCEPTIONS_WRITE
