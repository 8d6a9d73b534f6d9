"""How the generic JSON interface signs, proves a push, and fills a template."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any, Final

from channels_sync.contracts import BadSignature, ShopAccess, WebhookRequest

SKEW_SECONDS: Final = 300
_TIMESTAMP: Final = re.compile(r"[0-9]{1,10}")
_PLACE: Final = re.compile(r"\{([a-z_]+)\}")


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Sign as ``channels.md`` 7: lower hex HMAC-SHA256 over ``timestamp + "." + raw body``."""
    signed = timestamp.encode() + b"." + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def filled(template: Any, facts: Mapping[str, Any]) -> Any:
    """Put ``facts`` where a template says ``{name}``; a text that is one place takes the value
    as it is, lists included. Other braces stay."""
    if isinstance(template, str):
        whole = _PLACE.fullmatch(template)
        if whole and whole[1] in facts:
            return facts[whole[1]]
        return _PLACE.sub(lambda found: str(facts.get(found[1], found[0])), template)
    if isinstance(template, Mapping):
        return {key: filled(value, facts) for key, value in template.items()}
    return [filled(one, facts) for one in template] if isinstance(template, list) else template


def verify(access: ShopAccess, request: WebhookRequest) -> None:
    """Check the signature over time and raw body, and that the time is within 300 s.

    The former secret counts within its grace. Raises BadSignature.
    """
    timestamp = request.headers.get("x-timestamp", "")
    given = request.headers.get("x-signature", "").encode()
    if not access.app_secret or not _TIMESTAMP.fullmatch(timestamp):
        raise BadSignature("x-timestamp")
    secrets = [secret for secret in (access.app_secret, access.old_app_secret) if secret]
    expected = [sign(secret, timestamp, request.body).encode() for secret in secrets]
    matches = [hmac.compare_digest(given, one) for one in expected]
    if not any(matches):
        raise BadSignature("x-signature")
    if abs(request.received_at.timestamp() - int(timestamp)) > SKEW_SECONDS:
        raise BadSignature("stale")
