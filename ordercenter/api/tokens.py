"""Who another system is by its token, and which shops and scopes it is bound to."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.contrib.auth.models import User
from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext_lazy as _
from rest_framework.authentication import SessionAuthentication, TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from channels_sync.models import ApiToken
from ordercenter.core.actor import Actor, ActorKind
from ordercenter.core.clock import now as clock_now

if TYPE_CHECKING:
    from rest_framework.authentication import BaseAuthentication

_M = TypeVar("_M", bound=Model)
NOTED: Final = timedelta(minutes=10)
"""How often the last use of a token is written down."""


class ScopedTokens(TokenAuthentication):
    """``Authorization: Token …``; a key that is revoked or past its time is nobody's."""

    def authenticate_credentials(self, key: str) -> tuple[User, ApiToken]:
        now = clock_now()
        token = (
            ApiToken.objects.filter(digest=ApiToken.digest_of(key)).select_related("user").first()
        )
        if token is None or not token.is_active or not token.user.is_active:
            raise AuthenticationFailed(_("令牌无效或已停用"))
        if not token.is_good(now):
            raise AuthenticationFailed(_("令牌已到期"), code="token_expired")
        if token.used_at is None or token.used_at < now - NOTED:
            unnoted = Q(used_at=None) | Q(used_at__lt=now - NOTED)
            ApiToken.objects.filter(unnoted, pk=token.pk).update(used_at=now)
        assert isinstance(token.user, User)
        return token.user, token


# The token first: its challenge is what makes the answer to a stranger 401 and not 403.
TOKEN_OR_SESSION: Final[tuple[type["BaseAuthentication"], ...]] = (
    ScopedTokens,
    SessionAuthentication,
)


def token_of(request: Request) -> ApiToken | None:
    """The token this request came with; None for a person who is logged in."""
    return request.auth if isinstance(request.auth, ApiToken) else None


def in_its_shops(request: Request, rows: QuerySet[_M], path: str = "shop") -> QuerySet[_M]:
    """Those of ``rows`` that belong to a shop the request's token may speak for."""
    token = token_of(request)
    if token is None or token.all_shops:
        return rows
    shops = list(token.shops.values_list("pk", flat=True))
    return rows.filter(**{f"{path}__in": shops})


def actor_of(request: Request) -> Actor:
    """Whoever calls: a token speaks for its account, and the record says that it was the token."""
    assert isinstance(request.user, User)  # behind the guard
    facts: dict[str, Any] = {"request_id": getattr(request, "request_id", "")}
    person = Actor.person(request.user, **facts)
    if token_of(request) is None:
        return person
    return Actor(ActorKind.TOKEN, person.id, person.name, person.role, person.request_id)
