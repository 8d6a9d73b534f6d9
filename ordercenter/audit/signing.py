"""Signatures on seals and proofs: whoever has the public key can check them, nobody else make them.

Ed25519. The key is made from the installation's data key, so that it is neither in the database
nor one more secret to keep; who holds a copy of the database alone cannot sign.
"""

import base64
import hmac
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from django.conf import settings

_PURPOSE: Final = b"ordercenter audit seal"


def _private(text: str) -> Ed25519PrivateKey:
    seed = hmac.digest(base64.urlsafe_b64decode(text), _PURPOSE, "sha256")
    return Ed25519PrivateKey.from_private_bytes(seed)


def _newest() -> Ed25519PrivateKey:
    keys: Mapping[int, str] = settings.ORDERCENTER_DATA_KEYS
    return _private(keys[max(keys)])


def public_key() -> str:
    """The public half of the key in use, in hex."""
    return _newest().public_key().public_bytes_raw().hex()


def own_keys() -> frozenset[str]:
    """The public keys of this installation, those rotated out included, in hex."""
    keys: Mapping[int, str] = settings.ORDERCENTER_DATA_KEYS
    return frozenset(_private(text).public_key().public_bytes_raw().hex() for text in keys.values())


def sign(message: bytes) -> str:
    """The signature under the key in use, in hex."""
    return _newest().sign(message).hex()


def is_signed(message: bytes, *, key: str, signature: str) -> bool:
    """Whether ``signature`` over ``message`` was made by the private half of ``key``."""
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        public.verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True
