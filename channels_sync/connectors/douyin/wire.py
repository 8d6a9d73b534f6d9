"""How Douyin is called and how it refuses (``channels.md`` 3a, 3e): signatures and envelope."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from channels_sync.connectors.base import BaseConnector
from channels_sync.connectors.exchange import (
    endpoint,
    exchange,
    parse_reply,
    raise_refusal,
    reading_reply,
    refuse_client_error,
)
from channels_sync.connectors.values import Node
from channels_sync.contracts import ErrorClass, Limit, PlatformError

OK: Final = 10000
PARTLY_FAILED: Final = 10001
IDEMPOTENT: Final = "isv.idempotent-id-existed"
"""The sub-code that says: the earlier call with this id took effect."""

_CLASSES: Final[Mapping[int, ErrorClass]] = {
    PARTLY_FAILED: ErrorClass.PLATFORM,  # a page with holes is not a page
    20000: ErrorClass.PLATFORM,
    20001: ErrorClass.PLATFORM,
    30001: ErrorClass.AUTH,
    30002: ErrorClass.AUTH,
    40001: ErrorClass.AUTH,
    40003: ErrorClass.AUTH,
    50001: ErrorClass.AUTH,
    60000: ErrorClass.RATE_LIMITED,
    90000: ErrorClass.PLATFORM,
}
"""Everything not named is a business refusal (``channels.md`` 3a)."""


def canonical(params: Mapping[str, Any]) -> str:
    """``param_json``: keys sorted at every level, compact, CJK and ``& < >`` raw."""
    return json.dumps(params, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def sign(
    secret: str,
    app_key: str,
    method: str,
    body: str,
    timestamp: str,
    *,
    sign_method: str = "hmac-sha256",
) -> str:
    """Sign one call: the secret is the key *and* wrapped round the text (``channels.md`` 3a).

    ``md5`` is what old applications were given (3a; unverified against an official page).
    """
    text = f"{secret}app_key{app_key}method{method}param_json{body}timestamp{timestamp}v2{secret}"
    if sign_method == "md5":
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def push_sign(app_key: str, body: bytes, secret: str) -> str:
    """``event-sign`` of a push, over the raw body (``channels.md`` 3e)."""
    text = app_key.encode() + body + secret.encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def spi_sign(
    secret: str, app_key: str, param_json: str, timestamp: str, sign_method: str = "hmac-sha256"
) -> str:
    """Sign what the platform asks of us by SPI: no method, no ``v`` (``channels.md`` 3e)."""
    text = f"{secret}app_key{app_key}param_json{param_json}timestamp{timestamp}{secret}".encode()
    if sign_method == "md5":
        return hashlib.md5(text, usedforsecurity=False).hexdigest()
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def number_or_text(text: str) -> int | str:
    """An id as the interfaces want it that take int64; an id that is no number stays text."""
    return int(text) if text.isascii() and text.isdigit() else text


def error_of(answer: Node) -> PlatformError | None:
    """What the envelope refuses; None for success, and for a repeat that found its first."""
    code = answer.whole("code")
    sub_code = answer.first_text("sub_code")
    if code == OK or sub_code == IDEMPOTENT:
        return None
    message = answer.first_text("sub_msg", "msg") or ""
    klass = _CLASSES.get(code, ErrorClass.BUSINESS)
    return PlatformError(klass, str(code), message, sub_code=sub_code)


class DouyinWire(BaseConnector):
    """One shop's calls: signed, in turn, with a token that holds."""

    channel: ClassVar[str] = "douyin"
    # No figure is published; 60000 tells when it was too much, and the house slows down.
    limits: ClassVar[Mapping[str, Limit]] = {"*": Limit(40, 80), "/order/batchDecrypt": Limit(2, 5)}
    stale_token_codes: ClassVar[frozenset[str]] = frozenset(
        {"isv.access-token-expired", "isv.access-token-no-existed"}
    )

    def call(
        self,
        path: str,
        params: Mapping[str, Any],
        *,
        writes: bool = False,
        partly: bool = False,
    ) -> Node:
        """Ask one interface and return its ``data``; raises TryLater or Rejected.

        ``partly`` takes the data of an answer that failed in part: the entries tell which.
        """
        return self.with_token(lambda: self._ask(path, params, writes=writes, partly=partly))

    def call_for_token(self, path: str, params: Mapping[str, Any]) -> Node:
        """Ask the token interface, which needs no token."""
        return self._ask(path, params, anonymous=True)

    def _ask(
        self,
        path: str,
        params: Mapping[str, Any],
        *,
        writes: bool = False,
        partly: bool = False,
        anonymous: bool = False,
    ) -> Node:
        body = canonical(params)
        with self.calling(path):
            request = self.client.build_request(
                "POST",
                endpoint(self.access.base_url, path),
                params=self._query(path, body, anonymous=anonymous),
                content=body.encode(),
                headers={
                    "Content-Type": "application/json;charset=UTF-8",
                    "x-open-no-old-err-code": "1",
                },
            )
            reply = exchange(self.client, request, writes=writes)
            refuse_client_error(reply)
            with reading_reply(writes=writes):
                answer = Node.of(parse_reply(reply.body, writes=writes))
                error = error_of(answer)
            if error is not None and not (partly and error.code == str(PARTLY_FAILED)):
                raise_refusal(error, writes=writes)
            return answer.node_or_empty("data")

    def _query(self, path: str, body: str, *, anonymous: bool) -> dict[str, str]:
        access = self.access
        method = path.strip("/").replace("/", ".")
        timestamp = str(int(self.now().timestamp()))
        by = access.options.get("sign_method", "hmac-sha256")
        signature = sign(access.app_secret, access.app_key, method, body, timestamp, sign_method=by)
        query = {
            "app_key": access.app_key,
            "method": method,
            "timestamp": timestamp,
            "v": "2",
            "sign_method": by,
            "sign": signature,
        }
        return query if anonymous else {**query, "access_token": access.access_token}
