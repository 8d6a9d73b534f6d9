"""Call TOP: signed, in turn, with a token that holds; and ask for one trade."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Final
from urllib.parse import unquote, urlencode

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
from channels_sync.connectors.taobao.wire import china_text, classify, response_key, sign
from channels_sync.connectors.values import Node
from channels_sync.contracts import Limit, Tokens, TryLater, Unreadable

AUTH_URL: Final = "https://oauth.taobao.com"
DETAIL: Final = "taobao.trade.fullinfo.get"


class TaobaoCalls(BaseConnector):
    """What reading, telling and asking at Taobao stand on.

    Options: ``sign_method`` (hmac-sha256, the default, hmac or md5), ``auth_url``,
    ``redirect_uri``, ``limit.<method>``.
    """

    limits: ClassVar[Mapping[str, Limit]] = {
        "*": Limit(40, 80),
        "taobao.top.oaid.decrypt": Limit(2, 4),
    }
    """Not stated by the platform for every application: what it refuses slows us down further."""
    stale_token_codes: ClassVar[frozenset[str]] = frozenset({"26", "27", "invalid-sessionkey"})

    def call(self, method: str, business: Mapping[str, str], *, writes: bool = False) -> Node:
        """Call ``method``; return the content of its ``*_response``. Raises ConnectorError."""
        return self.with_token(lambda: self._call_once(method, business, writes=writes))

    def _call_once(self, method: str, business: Mapping[str, str], *, writes: bool) -> Node:
        sign_method = self.access.options.get("sign_method", "hmac-sha256")
        with self.calling(method):
            params = {
                "app_key": self.access.app_key,
                "format": "json",
                "method": method,
                "session": self.access.access_token,
                "sign_method": sign_method,
                "timestamp": china_text(self.now()),
                "v": "2.0",
                **business,
            }
            params = {name: value for name, value in params.items() if value}
            params["sign"] = sign(params, self.access.app_secret, sign_method)
            url = endpoint(self.access.base_url, "/router/rest")
            request = self.client.build_request("POST", url, data=params)
            reply = exchange(self.client, request, writes=writes)
            refuse_client_error(reply)
            payload = unrefused(reply.body, classify, writes=writes)
            key = response_key(method)
            return Node(content_under(payload, key, writes=writes), key)

    def trade(self, channel_number: str, fields: str) -> Node:
        """Ask for one trade. Raises TryLater where the answer is about another."""
        query = {"tid": channel_number, "fields": fields, "include_oaid": "include_oaid"}
        trade = self.call(DETAIL, query).node_or_empty("trade")
        if (trade.text("tid") or trade.text("tid_str")) != channel_number:
            raise TryLater(platform_error("bad_body", "平台没有给出所查的订单"))
        return trade

    # --- authorization (1a) ---

    def refresh(self, refresh_token: str) -> Tokens:
        return self._ask_token({"grant_type": "refresh_token", "refresh_token": refresh_token})

    def exchange_code(self, code: str) -> Tokens:
        redirect_uri = self.access.options.get("redirect_uri", "")
        granted = {"grant_type": "authorization_code", "code": code}
        return self._ask_token(granted | ({"redirect_uri": redirect_uri} if redirect_uri else {}))

    def authorize_url(self, redirect_uri: str, state: str) -> str:
        query = {
            "response_type": "code",
            "client_id": self.access.app_key,
            "redirect_uri": redirect_uri,
            "state": state,
        }
        return f"{self._auth('/authorize')}?{urlencode(query)}"

    def _auth(self, path: str) -> str:
        return endpoint(self.access.options.get("auth_url", AUTH_URL), path)

    def _ask_token(self, granted: Mapping[str, str]) -> Tokens:
        who = {"client_id": self.access.app_key, "client_secret": self.access.app_secret}
        form = {**who, **granted}
        with self.calling("oauth.token"):
            request = self.client.build_request("POST", self._auth("/token"), data=form)
            reply = exchange(self.client, request)
            answer = unrefused_token(reply, classify)
            with reading_reply():
                return self._tokens(Node.of(answer))

    def _tokens(self, answer: Node) -> Tokens:
        """``r2``/``w2`` end before the token: it may then read, but no longer write."""
        if not answer.text("access_token"):
            raise Unreadable("授权答复里没有 access_token")
        return Tokens(
            access_token=answer.text("access_token"),
            expires_at=self._after(answer, "expires_in"),
            refresh_token=answer.text("refresh_token"),
            refresh_expires_at=self._after(answer, "re_expires_in"),
            write_expires_at=self._after(answer, "w1_expires_in", "w2_expires_in"),
            shop_id=answer.optional_id("taobao_user_id") or "",
            shop_name=unquote(answer.text("taobao_user_nick")),
        )

    def _after(self, answer: Node, *keys: str) -> datetime | None:
        """When the shortest of the spans under ``keys`` is over; zero and absence are none."""
        spans = [span for key in keys if (span := answer.optional_whole(key))]
        return self.now() + timedelta(seconds=min(spans)) if spans else None
