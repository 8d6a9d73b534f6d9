"""How Shopify is asked (``channels.md`` 5a): one GraphQL door, refusals inside HTTP 200, and
the authorization by OAuth."""

import base64
import hashlib
import hmac
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import urlencode, urlsplit

from channels_sync.connectors.base import BaseConnector
from channels_sync.connectors.exchange import (
    Reply,
    endpoint,
    exchange,
    parse_reply,
    platform_error,
    raise_refusal,
    reading_reply,
    refuse_client_error,
)
from channels_sync.connectors.strict_json import dump_compact
from channels_sync.connectors.values import Node, optional_id, text_of
from channels_sync.contracts import (
    BadSignature,
    Budget,
    ErrorClass,
    Limit,
    PlatformError,
    Rejected,
    Tokens,
    TryLater,
    WebhookRequest,
)

logger = logging.getLogger(__name__)
DEFAULT_VERSION: Final = "2026-04"
IDEMPOTENT_FROM: Final = "2026-04"
"""From here on a stock figure names what it changes from, and a key (``channels.md`` 5d)."""
GRAPHQL: Final = "graphql"
SMALL: Final = 10.0
"""Points of a query or mutation of one object; the platform's own word corrects the account."""
USER_ERRORS: Final = "userErrors"
MAX_COST: Final = "MAX_COST_EXCEEDED"
DEFAULT_SCOPES: Final = (
    "read_orders,read_all_orders,write_orders,read_inventory,write_inventory,read_locations,"
    "read_products,write_merchant_managed_fulfillment_orders"
)
MAX_PAGES: Final = 20_000
CALLBACK_SECONDS: Final = 90
_SECONDS: Final = re.compile(r"[0-9]{1,10}")
_TOKEN_PATH: Final = "/admin/oauth/access_token"  # noqa: S105 - a path

_ERRORS: Final[Mapping[str, ErrorClass]] = {
    "THROTTLED": ErrorClass.RATE_LIMITED,
    "ACCESS_DENIED": ErrorClass.AUTH,
    "INTERNAL_SERVER_ERROR": ErrorClass.PLATFORM,
}
_SHOP_IS_SHUT: Final = frozenset(
    {HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.LOCKED, HTTPStatus.NOT_FOUND}
)
_NO_ACCESS: Final = "[API] Invalid API key or access token"
"""How a refused token reads where the answer's status is not at hand."""
_TOO_MANY: Final = 430
"""Shopify's own status for a client that asks too fast."""


def webhook_sign(secret: str, body: bytes) -> str:
    """``X-Shopify-Hmac-SHA256`` over the raw body (``channels.md`` 5e)."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def oauth_sign(secret: str, query: Mapping[str, str]) -> str:
    """The ``hmac`` of an OAuth callback over its other items, sorted and form-encoded (5a)."""
    items = sorted((k, v) for k, v in query.items() if k not in {"hmac", "signature"})
    return hmac.new(secret.encode(), urlencode(items).encode(), hashlib.sha256).hexdigest()


def gid(kind: str, number: str) -> str:
    return f"gid://shopify/{kind}/{number}"


def number_of(value: Any) -> str | None:
    """The number of a GID or of a REST id; None where there is none."""
    text = optional_id(value)
    return text.split("?", 1)[0].rsplit("/", 1)[-1] or None if text else None


def rows_of(connection: Any) -> list[Any]:
    """The rows of a connection, as ``nodes`` or ``edges``, or of a plain list."""
    if isinstance(connection, Mapping):
        edges = connection.get("edges")
        if "nodes" not in connection and isinstance(edges, list):
            return [edge.get("node") for edge in edges if isinstance(edge, Mapping)]
        connection = connection.get("nodes")
    return connection if isinstance(connection, list) else []


def next_cursor(connection: Node, after: str | None) -> str | None:
    """Where the next page of a connection starts; None at its end.

    Raises TryLater where the platform says there is more but not where.
    """
    info = connection.node_or_empty("pageInfo")
    if not info.boolean("hasNextPage"):
        return None
    cursor = info.text("endCursor")
    if not cursor or cursor == after:
        raise TryLater(platform_error("cursor", "平台称还有下一页，却没有给出新的游标"))
    return cursor


def all_rows(first: Node, more: Callable[[str], Node]) -> Iterator[Any]:
    """Every row of an inner connection, page by page; ``more`` asks for what follows a cursor."""
    connection, after = first, None
    for _page in range(MAX_PAGES):
        yield from rows_of(connection.data)
        after = next_cursor(connection, after)
        if after is None:
            return
        connection = more(after)
    raise endless()


def endless() -> TryLater:
    return TryLater(platform_error("page_cap", "平台一直称还有下一页，已停止翻页"))


class ShopifyLine(BaseConnector):
    """One store's GraphQL door and its authorization."""

    channel: ClassVar[str] = "shopify"
    limits: ClassVar[Mapping[str, Limit]] = {GRAPHQL: Limit(per_second=100, burst=2000)}
    """In points of calculated cost, until the platform's ``throttleStatus`` says otherwise."""
    stale_token_codes: ClassVar[frozenset[str]] = frozenset({"http_401"})

    @property
    def version(self) -> str:
        return self.access.options.get("api_version", DEFAULT_VERSION)

    @property
    def shop_domain(self) -> str:
        """The store's own name, ``*.myshopify.com``; empty where it is not known."""
        host = urlsplit(self.access.base_url).hostname or ""
        known = host if host.endswith(".myshopify.com") else ""
        return self.access.options.get("shop_domain", known).lower()

    def ask(
        self,
        query: str,
        variables: Mapping[str, Any],
        *,
        cost: float = SMALL,
        writes: bool = False,
        judged: bool = True,
    ) -> Node:
        """Ask GraphQL and return ``data``; raises TryLater or Rejected.

        ``data`` and ``errors`` together is half an answer and counts as none. The
        ``userErrors`` of an answer that is not ``judged`` are left to the caller.
        """
        data = self.with_token(lambda: self._ask(query, variables, cost=cost, writes=writes))
        if not judged:
            return data
        with reading_reply(writes=writes):
            error = user_error(data)
        if error is not None:
            raise Rejected(error)
        return data

    def _ask(self, query: str, variables: Mapping[str, Any], *, cost: float, writes: bool) -> Node:
        request = self.client.build_request(
            "POST",
            endpoint(self.access.base_url, f"/admin/api/{self.version}/graphql.json"),
            content=dump_compact({"query": query, "variables": variables}),
            headers={
                "Content-Type": "application/json",
                "X-Shopify-Access-Token": self.access.access_token,
            },
        )
        with self.calling(GRAPHQL, cost=cost) as turn:
            reply = exchange(self.client, request, writes=writes)
            _refuse_status(reply)
            with reading_reply(writes=writes):
                answer = Node.of(parse_reply(reply.body, writes=writes))
                error = graphql_error(answer)
                if error is not None:
                    raise_refusal(error, writes=writes)
                turn.budget = _budget(answer)
                return answer.node("data")

    # --- authorization ----------------------------------------------------------------------

    def authorize_url(self, redirect_uri: str, state: str) -> str:
        """Where the merchant lets the app in; the option ``scopes`` names what it asks for.

        The path and the token exchange are Shopify's published OAuth; ``channels.md`` 5a holds
        the check of the callback only.
        """
        query = {
            "client_id": self.access.app_key,
            "scope": self.access.options.get("scopes", DEFAULT_SCOPES),
            "redirect_uri": redirect_uri,
            "state": state,
        }
        return endpoint(self.access.base_url, "/admin/oauth/authorize") + "?" + urlencode(query)

    def check_callback(self, query: Mapping[str, str]) -> None:
        """Raise BadSignature unless an OAuth callback is Shopify's, this store's and fresh."""
        expected = oauth_sign(self.access.app_secret, query)
        given = query.get("hmac", "")
        if not self.access.app_secret or not _same(given, expected):
            raise BadSignature("hmac")
        stamp = query.get("timestamp", "")
        age = abs(self.now().timestamp() - int(stamp)) if _SECONDS.fullmatch(stamp) else math.inf
        if age > CALLBACK_SECONDS:
            raise BadSignature("timestamp")
        if self.shop_domain and query.get("shop", "").lower() != self.shop_domain:
            raise BadSignature("shop")

    def exchange_code(self, code: str) -> Tokens:
        """Trade the callback's code for the store's token, which ends only if Shopify says so."""
        return self._tokens({"code": code})

    def refresh(self, refresh_token: str) -> Tokens:
        """Renew a token that ends; one that does not end has no refresh token.

        Raises Rejected (``auth``) where only the merchant can authorize again.
        """
        if not refresh_token:
            words = "店铺的访问令牌已失效，请重新授权"
            raise Rejected(PlatformError(ErrorClass.AUTH, "no_refresh_token", words))
        return self._tokens({"grant_type": "refresh_token", "refresh_token": refresh_token})

    def _tokens(self, more: Mapping[str, str]) -> Tokens:
        keys = {"client_id": self.access.app_key, "client_secret": self.access.app_secret}
        request = self.client.build_request(
            "POST",
            endpoint(self.access.base_url, _TOKEN_PATH),
            content=dump_compact({**keys, **more}),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        with self.calling("oauth"):
            reply = exchange(self.client, request)
            if reply.status == HTTPStatus.BAD_REQUEST:
                words = "平台没有接受授权码或续期令牌，请重新授权"
                raise Rejected(PlatformError(ErrorClass.AUTH, "invalid_request", words))
            _refuse_status(reply)
            with reading_reply():
                return self._read_tokens(Node.of(parse_reply(reply.body)))

    def _read_tokens(self, answer: Node) -> Tokens:
        return Tokens(
            access_token=answer.id("access_token"),
            expires_at=self._after(answer, "expires_in"),
            refresh_token=answer.text("refresh_token"),
            refresh_expires_at=self._after(answer, "refresh_token_expires_in"),
            shop_id=self.shop_domain,
        )

    def _after(self, answer: Node, key: str) -> datetime | None:
        seconds = answer.optional_whole(key)
        return None if seconds is None else self.now() + timedelta(seconds=seconds)

    # --- pushes -----------------------------------------------------------------------------

    def verify(self, request: WebhookRequest) -> None:
        """Check the HMAC over the raw body, the topic, and that the push is of this store."""
        given = request.headers.get("x-shopify-hmac-sha256", "")
        access = self.access
        matches = [
            bool(secret) and _same(given, webhook_sign(secret, request.body))
            for secret in (access.app_secret, access.old_app_secret)
        ]
        if not any(matches):
            raise BadSignature("x-shopify-hmac-sha256")
        if not matches[0]:
            logger.info("shop %s: a push was signed with the old secret", access.shop_code)
        shop = request.headers.get("x-shopify-shop-domain", "")
        if self.shop_domain and shop.lower() != self.shop_domain:
            raise BadSignature("x-shopify-shop-domain")
        if not request.headers.get("x-shopify-topic", ""):
            raise BadSignature("x-shopify-topic")


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def no_such_order() -> Rejected:
    return Rejected(PlatformError(ErrorClass.BUSINESS, "no_such_order", "平台没有返回这张订单"))


def not_there_now() -> TryLater:
    """An order it gave us itself does not come: it will, or the tries run out."""
    return TryLater(platform_error("no_such_order", "平台暂时没有返回这张订单"))


def refused(code: str, words: str) -> Rejected:
    return Rejected(PlatformError(ErrorClass.BUSINESS, code, words))


def _refuse_status(reply: Reply) -> None:
    if reply.status in _SHOP_IS_SHUT:
        words = f"店铺已冻结、锁定或地址不对（HTTP {reply.status}）"
        raise refused(f"http_{reply.status}", words)
    if reply.status == _TOO_MANY:
        words = "平台限流（HTTP 430）"
        raise TryLater(PlatformError(ErrorClass.RATE_LIMITED, "http_430", words))
    refuse_client_error(reply)


def error_of(answer: Node) -> PlatformError | None:
    """The refusal in an answer, if any: GraphQL ``errors`` or a mutation's ``userErrors``."""
    error = graphql_error(answer)
    data = answer.get("data")
    if error is None and isinstance(data, Mapping):
        error = user_error(Node(data, "data"))
    return error


def user_error(data: Node) -> PlatformError | None:
    """What a mutation says of the caller's mistake; its code, where it has one, as sub-code."""
    for result in data.data.values():
        rows = Node(result).nodes(USER_ERRORS) if isinstance(result, Mapping) else []
        if rows:
            words = "；".join(row.text("message") for row in rows)
            code = next((row.text("code") for row in rows if row.text("code")), None)
            return PlatformError(ErrorClass.BUSINESS, USER_ERRORS, words, sub_code=code)
    return None


def graphql_error(answer: Node) -> PlatformError | None:
    errors = answer.get("errors")
    if not errors:
        return None
    rows: Sequence[Any] = errors if isinstance(errors, list) else [errors]
    found = [Node(one) for one in rows if isinstance(one, Mapping)]
    codes = [one.node_or_empty("extensions").text("code") for one in found]
    words = "；".join(one.text("message") for one in found) or text_of(rows[0])
    code = next((one for one in codes if one in _ERRORS), next(filter(None, codes), "errors"))
    klass = _ERRORS.get(code, ErrorClass.BUSINESS)
    if words.startswith(_NO_ACCESS):
        klass = ErrorClass.AUTH
    if klass is ErrorClass.BUSINESS and _has_data(answer):
        return PlatformError(ErrorClass.PLATFORM, "partial", words)
    wait = _wait(answer) if klass is ErrorClass.RATE_LIMITED else None
    return PlatformError(klass, code, words, retry_after_seconds=wait)


def _has_data(answer: Node) -> bool:
    data = answer.get("data")
    return isinstance(data, Mapping) and any(value is not None for value in data.values())


def _numbers(answer: Node) -> tuple[Any, Any, Any, Any]:
    """What was asked, what is left, what comes back a second, and the most there can be."""
    cost = answer.node_or_empty("extensions").node_or_empty("cost")
    bucket = cost.node_or_empty("throttleStatus")
    left, rate, most = map(bucket.get, ("currentlyAvailable", "restoreRate", "maximumAvailable"))
    return cost.get("requestedQueryCost"), left, rate, most


def _wait(answer: Node) -> int | None:
    """Seconds until the bucket holds what the query asked for."""
    asked, left, rate, _most = _numbers(answer)
    if not all(isinstance(one, int | Decimal) for one in (asked, left, rate)) or not rate:
        return None
    return max(1, math.ceil(Decimal(asked - left) / Decimal(rate)))


def _budget(answer: Node) -> Budget | None:
    _asked, left, rate, most = _numbers(answer)
    if not all(isinstance(one, int | Decimal) for one in (left, rate, most)):
        return None
    return Budget(available=float(left), restore_per_second=float(rate), maximum=float(most))
