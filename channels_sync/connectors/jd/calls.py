"""Call JOS: signed, in turn, with a token that holds; and ask for one order."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from channels_sync.connectors.base import BaseConnector
from channels_sync.connectors.exchange import (
    content_under,
    endpoint,
    exchange,
    platform_error,
    reading_reply,
    refuse_client_error,
    unrefused,
    unrefused_token,
)
from channels_sync.connectors.jd.wire import classify, response_key, sign
from channels_sync.connectors.values import CHINA, Node
from channels_sync.contracts import Limit, Tokens, TryLater, Unreadable

AUTH_URL: Final = "https://open-oauth.jd.com"
DETAIL: Final = "jingdong.pop.order.get"


class JdCalls(BaseConnector):
    """What reading, telling and asking at JD stand on.

    Options: ``auth_url``, ``oauth_scope``, ``limit.<method>``.
    """

    limits: ClassVar[Mapping[str, Limit]] = {"*": Limit(40, 80)}
    """Not stated by the platform: what it refuses slows us down further."""
    stale_token_codes: ClassVar[frozenset[str]] = frozenset({"18", "19"})

    def call(self, method: str, business: Mapping[str, Any], *, writes: bool = False) -> Node:
        """Call ``method``; return the content of its ``*_responce``. Raises ConnectorError."""
        return self.with_token(lambda: self._call_once(method, business, writes=writes))

    def _call_once(self, method: str, business: Mapping[str, Any], *, writes: bool) -> Node:
        with self.calling(method):
            now = self.now().astimezone(CHINA)
            params = {
                "360buy_param_json": json.dumps(
                    business, ensure_ascii=False, separators=(",", ":")
                ),
                "access_token": self.access.access_token,
                "app_key": self.access.app_key,
                "format": "json",
                "method": method,
                "timestamp": f"{now:%Y-%m-%d %H:%M:%S}.{now.microsecond // 1000:03d}+0800",
                "v": "2.0",
            }
            params["sign"] = sign(params, self.access.app_secret)
            url = endpoint(self.access.base_url, "/routerjson")
            request = self.client.build_request("POST", url, data=params)
            reply = exchange(self.client, request, writes=writes)
            refuse_client_error(reply)
            payload = unrefused(reply.body, classify, writes=writes)
            key = response_key(method)
            return Node(content_under(payload, key, writes=writes), key)

    def order(self, channel_number: str, fields: str) -> Node:
        """Ask for one order. Raises TryLater where the answer is about another."""
        query = {"order_id": channel_number, "optional_fields": fields}
        detail = self.call(DETAIL, query).node_or_empty("orderDetailInfo")
        order = detail.node_or_empty("orderInfo")
        if order.text("orderId") != channel_number:
            raise TryLater(platform_error("bad_body", "平台没有给出所查的订单"))
        return order

    # --- authorization (2a) ---

    def refresh(self, refresh_token: str) -> Tokens:
        asked = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return self._ask_token("/oauth2/refresh_token", asked)

    def exchange_code(self, code: str) -> Tokens:
        asked = {"grant_type": "authorization_code", "code": code}
        return self._ask_token("/oauth2/access_token", asked)

    def authorize_url(self, redirect_uri: str, state: str) -> str:
        query = {
            "app_key": self.access.app_key,
            "response_type": "code",
            "redirect_uri": redirect_uri,
            "state": state,
            "scope": self.access.options.get("oauth_scope", "snsapi_base"),
        }
        return f"{self._auth('/oauth2/to_login')}?{urlencode(query)}"

    def _auth(self, path: str) -> str:
        return endpoint(self.access.options.get("auth_url", AUTH_URL), path)

    def _ask_token(self, path: str, asked: Mapping[str, str]) -> Tokens:
        """JD takes the secret in the query: whoever logs addresses must not log this one."""
        who = {"app_key": self.access.app_key, "app_secret": self.access.app_secret}
        query = {**who, **asked}
        with self.calling("oauth.token"):
            request = self.client.build_request("GET", self._auth(path), params=query)
            reply = exchange(self.client, request)
            payload = unrefused_token(reply, classify)
            with reading_reply():
                return self._tokens(Node.of(payload))

    def _tokens(self, answer: Node) -> Tokens:
        if not answer.text("access_token"):
            raise Unreadable("授权答复里没有 access_token")
        seconds = answer.optional_whole("expires_in")
        return Tokens(
            access_token=answer.text("access_token"),
            expires_at=self.now() + timedelta(seconds=seconds) if seconds else None,
            refresh_token=answer.text("refresh_token"),
        )
