"""How Pinduoduo is called and how it refuses (``channels.md`` 4a): flat text, md5, odd keys."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import quote

from channels_sync.connectors.base import BaseConnector
from channels_sync.connectors.exchange import (
    content_under,
    endpoint,
    exchange,
    refuse_client_error,
    unrefused,
)
from channels_sync.connectors.values import Node
from channels_sync.contracts import ErrorClass, Limit, PlatformError

ORDERS: Final = "pdd.order.number.list.increment.get"
CONFIRMED: Final = "pdd.order.list.get"
ORDER: Final = "pdd.order.information.get"
REFUNDS: Final = "pdd.refund.list.increment.get"
REFUND: Final = "pdd.refund.information.get"
OPEN_REFUNDS: Final = "pdd.refund.status.check"
SEND: Final = "pdd.logistics.online.send"
EXTRA: Final = "pdd.order.upload.extra.logistics"
STOCK: Final = "pdd.goods.quantity.update"
NOTE: Final = "pdd.order.note.update"
DECRYPT: Final = "pdd.open.decrypt.batch"
STOPPED: Final = "pdd.rdc.pddgenius.sendgoods.cancel"
AUTHORIZE: Final = "pdd.pop.auth.token.create"
REFRESH: Final = "pdd.pop.auth.token.refresh"

METHODS: Final[Mapping[str, str]] = {
    "order_sn_increment_get_response": ORDERS,
    "order_info_get_response": ORDER,
    "order_list_get_response": CONFIRMED,
    "order_basic_list_get_response": "pdd.order.basic.list.get",
    "order_status_get_response": "pdd.order.status.get",
    "refund_increment_get_response": REFUNDS,
    "refund_information_get_response": REFUND,
    "refund_status_check_response": OPEN_REFUNDS,
    "logistics_online_send_response": SEND,
    "upload_extra_logistics_response": EXTRA,
    "goods_quantity_update_response": STOCK,
    "open_decrypt_batch_response": DECRYPT,
    "rdc_pddgenius_sendgoods_cancel_response": STOPPED,
    "pop_auth_token_create_response": AUTHORIZE,
    "pop_auth_token_refresh_response": REFRESH,
    "response": NOTE,
}
"""By the outer key of the answer, which cannot be derived from the method."""
ANSWERS: Final[Mapping[str, str]] = {method: key for key, method in METHODS.items()}

AUTH_CODES: Final = frozenset({"10019", "20004", "20005", "20031"})
RATE_CODES: Final = frozenset({"52101", "70031"})
PLATFORM_CODES: Final = frozenset({"50000", "50001", "50002", "52001", "52002"})
DEGRADED_CODES: Final = frozenset({"52102", "52103", "70033"})
DEGRADED_WAIT: Final = 300
"""Seconds; the platform states none and asks for patience."""


def sign(params: Mapping[str, str], secret: str) -> str:
    """Sign as open.pinduoduo.com 8EC06C399636041E: md5 over sorted ``name + value``, wrapped.

    Nested values are JSON text and booleans lower-case text before they come here.
    """
    joined = "".join(f"{k}{v}" for k, v in sorted(params.items()) if k != "sign")
    wrapped = f"{secret}{joined}{secret}".encode()
    return hashlib.md5(wrapped, usedforsecurity=False).hexdigest().upper()


def message_path(client_id: str, milliseconds: str, secret: str) -> str:
    """The WebSocket's path: base64 over the 32 hex characters of the md5, not its 16 bytes."""
    joined = f"{client_id}{milliseconds}{secret}".encode()
    digest = hashlib.md5(joined, usedforsecurity=False).hexdigest()
    token = quote(base64.b64encode(digest.encode()).decode(), safe="")
    return f"/message/{client_id}/{milliseconds}/{token}"


def wire_text(value: Any) -> str:
    """Spell a parameter as it is signed and sent: text, lower-case booleans, compact JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def classify(payload: Any) -> PlatformError | None:
    """Tell whether an answer is a refusal and of which class (``channels.md`` 4a).

    The error stands under ``error_response``, or bare, or inside an answer whose flag is false.
    """
    if not isinstance(payload, Mapping):
        return None
    if "error_response" in payload:
        return _error_of(Node.of(payload["error_response"], "error_response"))
    for key, answer in payload.items():
        if key.endswith("response") and isinstance(answer, Mapping):
            return _inner_refusal(Node(answer))
    bare = Node(payload)
    return _error_of(bare) if bare.first_text("error_code") not in (None, "0") else None


def _error_of(error: Node) -> PlatformError:
    code = error.text("error_code")
    return PlatformError(
        _klass(code),
        code,
        error.first_text("sub_msg", "error_msg") or "",
        sub_code=error.first_text("sub_code"),
        retry_after_seconds=DEGRADED_WAIT if code in DEGRADED_CODES else None,
    )


def _inner_refusal(answer: Node) -> PlatformError | None:
    flag = answer.get("is_success" if "is_success" in answer.data else "success")
    if flag not in (False, "false"):
        return None
    code = answer.first_text("error_code") or "is_success"
    return PlatformError(_klass(code), code, answer.first_text("error_msg") or "平台没有确认成功")


def _klass(code: str) -> ErrorClass:
    if code in AUTH_CODES:
        return ErrorClass.AUTH
    if code in RATE_CODES:
        return ErrorClass.RATE_LIMITED
    if code in PLATFORM_CODES or code in DEGRADED_CODES:
        return ErrorClass.PLATFORM
    return ErrorClass.BUSINESS


class PinduoduoWire(BaseConnector):
    """One shop's calls: signed, in turn, with a token that holds."""

    channel: ClassVar[str] = "pinduoduo"
    # 3000 in 60 s for the increment list is public (``channels.md`` 4b), the rest is caution.
    limits: ClassVar[Mapping[str, Limit]] = {
        ORDERS: Limit(50, 50),
        DECRYPT: Limit(2, 5),
        "*": Limit(40, 80),
    }
    stale_token_codes: ClassVar[frozenset[str]] = frozenset({"10019"})

    def call(self, method: str, business: Mapping[str, Any], *, writes: bool = False) -> Node:
        """Call ``method``; return the content of its answer. Raises ConnectorError."""
        return self.with_token(lambda: self._ask(method, business, writes=writes))

    def call_for_token(self, method: str, business: Mapping[str, Any]) -> Node:
        """Call a method of the token interface, which needs no token."""
        return self._ask(method, business, anonymous=True)

    def _ask(
        self,
        method: str,
        business: Mapping[str, Any],
        *,
        writes: bool = False,
        anonymous: bool = False,
    ) -> Node:
        with self.calling(method):
            params = self._signed(method, business, anonymous=anonymous)
            url = endpoint(self.access.base_url, "/api/router")
            request = self.client.build_request("POST", url, json=params)
            reply = exchange(self.client, request, writes=writes)
            refuse_client_error(reply)
            payload = unrefused(reply.body, classify, writes=writes)
            return _content(payload, method, writes=writes)

    def _signed(
        self, method: str, business: Mapping[str, Any], *, anonymous: bool
    ) -> dict[str, str]:
        params = {
            "type": method,
            "client_id": self.access.app_key,
            "timestamp": str(int(self.now().timestamp())),
            "data_type": "JSON",
            "version": "V1",
            **{name: wire_text(value) for name, value in business.items()},
        }
        if not anonymous:
            params["access_token"] = self.access.access_token
        params["sign"] = sign(params, self.access.app_secret)
        return params


def _content(payload: Any, method: str, *, writes: bool) -> Node:
    """What stands under the outer key of ``method``; of a method of an option, under any."""
    found = payload if isinstance(payload, Mapping) else {}
    key = ANSWERS.get(method) or next((key for key in found if key.endswith("response")), "")
    return Node(content_under(found, key, writes=writes), key)
