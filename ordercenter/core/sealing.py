"""Ciphertext for what must not be read from a dump, and blind keys for what must be matched.

AES-256-GCM under ``ORDERCENTER_DATA_KEY``; the first byte names the key, so that keys can be
rotated. The blind index is HMAC-SHA256 under a key of its own: equal clear text gives equal
keys, and nothing can be read back. Masked text must never reach ``blind_key``.
"""

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

_NONCE: Final = 12


@lru_cache(maxsize=8)
def _cipher(key: str) -> AESGCM:
    return AESGCM(base64.urlsafe_b64decode(key))


@lru_cache(maxsize=2)
def _index_key(text: str) -> bytes:
    return base64.urlsafe_b64decode(text)


def _keys() -> Mapping[int, str]:
    keys: Mapping[int, str] = settings.ORDERCENTER_DATA_KEYS
    return keys


def seal(facts: Mapping[str, Any], *, purpose: str) -> bytes:
    """Encrypt a small JSON object; ``purpose`` is bound in, so a receiver opens as nothing else."""
    key_id = max(_keys())
    nonce = os.urandom(_NONCE)
    clear = json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()
    return (
        bytes([key_id]) + nonce + _cipher(_keys()[key_id]).encrypt(nonce, clear, purpose.encode())
    )


def unseal(sealed: bytes | memoryview, *, purpose: str) -> dict[str, Any]:
    """Decrypt what ``seal`` made. Raises InvalidTag when it is altered, empty, or of a lost key."""
    sealed = bytes(sealed)
    key, nonce = _keys().get(sealed[0] if sealed else -1), sealed[1 : 1 + _NONCE]
    if key is None or len(sealed) <= 1 + _NONCE:
        raise InvalidTag
    facts: dict[str, Any] = json.loads(
        _cipher(key).decrypt(nonce, sealed[1 + _NONCE :], purpose.encode())
    )
    return facts


def blind_key(kind: str, clear: str) -> str:
    """A keyed, irreversible key for matching; empty for empty, so that blanks never match."""
    if not clear:
        return ""
    key = _index_key(settings.ORDERCENTER_INDEX_KEY)
    return hmac.digest(key, f"{kind}\0{clear}".encode(), "sha256").hex()[:32]


def blind_pairs(clear: str) -> tuple[int, ...]:
    """Keyed 32-bit hashes of every two neighboring signs, sorted, each once.

    Texts that are alike share many, which is the point: they say more than one key of the whole
    text does, and belong where such keys are kept.
    """
    key = settings.ORDERCENTER_INDEX_KEY
    pairs = {one + other for one, other in pairwise(clear)}
    return tuple(sorted({_blind_pair(key, pair) for pair in pairs}))


@lru_cache(maxsize=65_536)
def _blind_pair(key: str, pair: str) -> int:
    mac = hashlib.blake2b(pair.encode(), digest_size=4, key=_index_key(key)[:64])
    return int.from_bytes(mac.digest())
