"""How TOP speaks: signatures, envelopes, refusals and texts of time (``channels.md`` 1a)."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from channels_sync.connectors.values import CHINA, Node
from channels_sync.contracts import ErrorClass, PlatformError

AUTH_CODES: Final = frozenset({"22", "23", "24", "25", "26", "27", "28", "29", "30", "31"})
"""24, 30 and 31 (signature or timestamp missing or wrong) are general knowledge."""
PLATFORM_CODES: Final = frozenset({"10", "530"})
"""10 (service unavailable) is general knowledge."""
PLATFORM_SUB_CODES: Final = ("isp.", "ism.")
REMOTE: Final = "15"
LIMITED: Final = "7"
BAN: Final = re.compile(r"last for ([0-9]{1,6}) more seconds")
DIGESTS: Final = {"hmac": "md5", "hmac-sha256": "sha256"}


def sign(params: Mapping[str, str], secret: str, method: str) -> str:
    """Sign as TOP articleId=101617: sorted ``name + value``, empty ones left out, UTF-8.

    ``md5`` wraps the text in the secret; ``hmac`` (HMAC-MD5) and ``hmac-sha256`` do not.
    """
    joined = "".join(f"{k}{v}" for k, v in sorted(params.items()) if k != "sign" and k and v)
    if method == "md5":
        wrapped = f"{secret}{joined}{secret}".encode()
        return hashlib.md5(wrapped, usedforsecurity=False).hexdigest().upper()
    return hmac.new(secret.encode(), joined.encode(), DIGESTS[method]).hexdigest().upper()


def tmc_connect_sign(app_key: str, group_name: str, timestamp: str, secret: str) -> str:
    """Sign the connect headers of the message WebSocket (``channels.md`` 1e); time in ms."""
    headers = {"app_key": app_key, "group_name": group_name, "timestamp": timestamp}
    return sign(headers, secret, "md5")


def china_text(moment: datetime) -> str:
    """Spell a moment as TOP does: Beijing time without a zone."""
    return moment.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")


def response_key(method: str) -> str:
    return method.removeprefix("taobao.").replace(".", "_") + "_response"


def classify(payload: Any) -> PlatformError | None:
    """Tell whether an answer is a refusal and of which class.

    Knows ``error_response``, the same without its root (``simplify``), and the OAuth form.
    """
    if not isinstance(payload, Mapping):
        return None
    if "error_response" in payload:
        return _refusal(Node.of(payload["error_response"], "error_response"))
    flat = Node(payload)
    told = {"code", "msg"} <= payload.keys() and {"sub_code", "request_id"} & payload.keys()
    if told and flat.text("code") != "0":
        return _refusal(flat)
    if "error" in payload and "access_token" not in payload and flat.text("error"):
        words = flat.first_text("error_description", "error")
        return PlatformError(ErrorClass.AUTH, flat.text("error"), words or "")
    return None


def _refusal(error: Node) -> PlatformError:
    code = error.text("code")
    sub_code = error.first_text("sub_code")
    ban = BAN.search(error.text("sub_msg"))
    return PlatformError(
        _klass(code, sub_code or ""),
        code,
        error.first_text("sub_msg", "msg") or "",
        sub_code=sub_code,
        retry_after_seconds=int(ban.group(1)) if ban else None,
    )


def _klass(code: str, sub_code: str) -> ErrorClass:
    if code == LIMITED or sub_code.startswith("accesscontrol.limited"):
        return ErrorClass.RATE_LIMITED
    if code in AUTH_CODES:
        return ErrorClass.AUTH
    transient = sub_code.startswith(PLATFORM_SUB_CODES) or code in PLATFORM_CODES
    if transient or (code == REMOTE and not sub_code):
        return ErrorClass.PLATFORM
    return ErrorClass.BUSINESS
