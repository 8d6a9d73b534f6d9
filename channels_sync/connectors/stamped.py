"""The signature of our own wire (``channels.md`` 7): HMAC-SHA256 over the time and the bytes."""

import hashlib
import hmac
import logging
import re
from typing import Final

from channels_sync.contracts import BadSignature, ShopAccess, WebhookRequest

logger = logging.getLogger(__name__)
SKEW_SECONDS: Final = 300
_TIMESTAMP: Final = re.compile(r"[0-9]{1,10}")


def stamp_sign(secret: str, timestamp: str, signed: bytes) -> str:
    """``X-Signature``: hex HMAC-SHA256 of ``timestamp.`` and the raw body, or path and query."""
    text = timestamp.encode() + b"." + signed
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def verify_stamped(access: ShopAccess, request: WebhookRequest) -> None:
    """Check ``X-Signature`` over ``X-Timestamp`` and the raw body, and that the time is within
    300 s. The former secret counts within its grace. Raises BadSignature."""
    timestamp = request.headers.get("x-timestamp", "")
    given = request.headers.get("x-signature", "").encode(errors="replace")
    if not access.app_secret or not _TIMESTAMP.fullmatch(timestamp):
        raise BadSignature("x-timestamp")
    matches = [
        bool(secret)
        and hmac.compare_digest(given, stamp_sign(secret, timestamp, request.body).encode())
        for secret in (access.app_secret, access.old_app_secret)
    ]
    if not any(matches):
        raise BadSignature("x-signature")
    if abs(request.received_at.timestamp() - int(timestamp)) > SKEW_SECONDS:
        raise BadSignature("stale")
    if not matches[0]:
        logger.info("shop %s: a push was signed with the old secret", access.shop_code)
