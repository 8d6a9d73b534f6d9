"""What WeChat pushes (``channels.md`` 6e): plain or AES, as JSON or as XML.

In secure mode the signature covers the ciphertext; in plain mode it covers the time only, so a
push is never more than a hint to read the order again.
"""

import base64
import binascii
import hashlib
import hmac
import logging
import re
from collections.abc import Mapping
from typing import Any, Final
from xml.etree import ElementTree as ET

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC

from channels_sync.connectors.strict_json import loads_strict
from channels_sync.connectors.values import Node
from channels_sync.contracts import BadSignature, ShopAccess, Unreadable, WebhookRequest

logger = logging.getLogger(__name__)
SKEW_SECONDS: Final = 300
"""How far a push's time may be off; unverified, so the option ``push_skew_seconds`` goes
before it, and 0 asks for none."""
MAX_XML_BYTES: Final = 256 * 1024
MAX_XML_DEPTH: Final = 12
_BLOCK: Final = 32
_HEAD: Final = 20
"""16 random bytes and a length of 4."""
_SECONDS: Final = re.compile(r"[0-9]{1,10}")
_ECHO: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")
_DECLARATION: Final = re.compile(r"<!(?!\[CDATA\[|--)")
_ENCODING: Final = re.compile(r"""<\?xml[^>]*?encoding\s*=\s*["']([^"']*)["']""")


def sha1_sign(*parts: str) -> str:
    """``signature`` of token, timestamp and nonce; ``msg_signature`` with ``Encrypt`` as well."""
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324 - the wire's


def decrypt(encoding_aes_key: str, encrypted: str, app_id: str) -> bytes:
    """Open a push of secure mode. Raises BadSignature for anything that is not ours.

    AES-256-CBC, padded to blocks of 32; inside: 16 random bytes, the length, the message and
    the AppID it is for.
    """
    try:
        key = base64.b64decode(encoding_aes_key + "=", validate=True)
        sealed = base64.b64decode(encrypted, validate=True)
        opener = Cipher(AES256(key), CBC(key[:16])).decryptor()
        plain = opener.update(sealed) + opener.finalize()
    except (ValueError, binascii.Error):
        raise BadSignature("Encrypt") from None
    plain = plain[: -plain[-1]] if plain and 1 <= plain[-1] <= _BLOCK else b""
    length = int.from_bytes(plain[16:_HEAD], "big")
    message, owner = plain[_HEAD : _HEAD + length], plain[_HEAD + length :]
    if len(plain) < _HEAD or not hmac.compare_digest(owner, app_id.encode()):
        raise BadSignature("appid")
    return message


def check(request: WebhookRequest, access: ShopAccess) -> None:
    """Raise BadSignature unless the push proves itself.

    A shop that has an ``encoding_aes_key`` takes secure pushes only.
    """
    if access.secrets.get("encoding_aes_key"):
        open_push(request, access)
    else:
        _check_signature(request, access, "signature")


def check_echo(request: WebhookRequest, access: ShopAccess) -> str:
    """The text to echo when WeChat checks our address; raises BadSignature."""
    _check_signature(request, access, "signature")
    echo = request.query.get("echostr", "")
    if not _ECHO.fullmatch(echo):
        raise BadSignature("echostr")
    return echo


def open_push(request: WebhookRequest, access: ShopAccess) -> bytes:
    """The message of an authentic push, in the clear. Raises BadSignature."""
    key = access.secrets.get("encoding_aes_key", "")
    if not key:
        return request.body
    try:
        encrypted = parse(request.body).text("Encrypt")
    except Unreadable:
        raise BadSignature("Encrypt") from None
    if not encrypted:
        raise BadSignature("Encrypt")
    _check_signature(request, access, "msg_signature", encrypted)
    try:
        return decrypt(key, encrypted, access.app_key)
    except BadSignature:
        former = access.secrets.get("old_encoding_aes_key", "")
        if not former:
            raise
        return decrypt(former, encrypted, access.app_key)


def _check_signature(request: WebhookRequest, access: ShopAccess, name: str, *more: str) -> None:
    tokens = [access.secrets.get(key, "") for key in ("push_token", "old_push_token")]
    stamp, nonce = request.query.get("timestamp", ""), request.query.get("nonce", "")
    if not tokens[0] or not _SECONDS.fullmatch(stamp):
        raise BadSignature("timestamp")
    given = request.query.get(name, "").encode(errors="replace")
    matches = [
        bool(token) and hmac.compare_digest(given, sha1_sign(token, stamp, nonce, *more).encode())
        for token in tokens
    ]
    if not any(matches):
        raise BadSignature(name)
    if not matches[0]:
        logger.info("shop %s: a push was signed with the old secret", access.shop_code)
    skew = int(access.options.get("push_skew_seconds", SKEW_SECONDS))
    if skew and abs(request.received_at.timestamp() - int(stamp)) > skew:
        raise BadSignature("stale")


def parse(body: bytes) -> Node:
    """A push as one object, whether JSON or XML. Raises Unreadable."""
    if body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return Node(_parse_xml(body))
    return Node.of(loads_strict(body))


def _parse_xml(body: bytes) -> Mapping[str, Any]:
    """XML without a document type and without entities: it can fetch and expand nothing."""
    if len(body) > MAX_XML_BYTES:
        raise Unreadable("XML 报文过大")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("报文不是 UTF-8 编码") from None
    declared = _ENCODING.search(text)
    if declared and declared[1].lower() not in {"utf-8", "utf8"}:
        raise Unreadable("XML 声明的编码不是 UTF-8")
    if _DECLARATION.search(_without_cdata(text)):
        raise Unreadable("XML 里有不允许的声明")
    try:
        root = ET.fromstring(text)  # noqa: S314 - declarations were refused above
    except (ET.ParseError, ValueError):
        raise Unreadable("报文不是完整的 XML") from None
    found = _plain(root, 0)
    if not isinstance(found, Mapping):
        raise Unreadable("XML 报文没有字段")
    return found


def _without_cdata(text: str) -> str:
    """What is left when the sections whose content is plain text are cut out."""
    return re.sub(r"<!\[CDATA\[.*?\]\]>", "", text, flags=re.DOTALL)


def _plain(element: ET.Element, depth: int) -> Any:
    """An element as JSON would have it: text, an object, a list where a name comes again."""
    if depth > MAX_XML_DEPTH:
        raise Unreadable("XML 嵌套过深")
    if not len(element):
        return (element.text or "").strip()
    found: dict[str, Any] = {}
    for child in element:
        value = _plain(child, depth + 1)
        if child.tag in found:
            were = found[child.tag]
            found[child.tag] = [*were, value] if isinstance(were, list) else [were, value]
        else:
            found[child.tag] = value
    return found
