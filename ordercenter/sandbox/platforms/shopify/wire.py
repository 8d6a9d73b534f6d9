"""Shopify's wire: its errors, its ids and its cost limit (channels.md 5a)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ordercenter.sandbox.book import ShopConfig
    from ordercenter.sandbox.platforms.graphql import Field

BUCKET: Final = 2_000.0
RESTORE_RATE: Final = 100.0  # points a second


@dataclass(frozen=True, slots=True)
class Call:
    """One field that ``shop`` asks for, in the words of ``version``."""

    shop: ShopConfig
    version: str
    field: Field


Serve = Callable[[Call], Any]


@dataclass(slots=True)
class GraphqlError(Exception):
    """An entry of ``errors``; HTTP stays 200."""

    message: str
    code: str = ""

    def body(self) -> dict[str, Any]:
        said: dict[str, Any] = {"message": self.message}
        return {"errors": [said | ({"extensions": {"code": self.code}} if self.code else {})]}


def webhook_hmac(body: bytes, secret: str) -> str:
    """Base64 of the HMAC-SHA256 over the raw body (5e)."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


class Bucket:
    """The calculated cost of queries leaks out of it (5a).

    The shop's options ``bucket`` and ``restore_rate`` go before the usual size and speed.
    """

    def __init__(self, shop: ShopConfig, now: float) -> None:
        self.size = float(shop.options.get("bucket", BUCKET))
        self.restore_rate = float(shop.options.get("restore_rate", RESTORE_RATE))
        self.left = self.size
        self.at = now

    def draw(self, points: int, now: float) -> bool:
        """Take ``points`` if they are there."""
        self.left = min(self.size, self.left + (now - self.at) * self.restore_rate)
        self.at = now
        if self.left < points:
            return False
        self.left -= points
        return True

    def give_back(self, points: int) -> None:
        self.left = min(self.size, self.left + points)

    def told(self, requested: int, actual: int | None) -> dict[str, Any]:
        status = {
            "maximumAvailable": self.size,
            "currentlyAvailable": int(self.left),
            "restoreRate": self.restore_rate,
        }
        cost = {"requestedQueryCost": requested, "actualQueryCost": actual}
        return {"cost": cost | {"throttleStatus": status}}


def number_of(gid: object, kind: str) -> str:
    """The number at the end of a GID of ``kind``; GraphqlError if it is none."""
    match = re.fullmatch(rf"gid://shopify/{kind}/(\d+)", str(gid))
    if match is None:
        raise GraphqlError(f"Invalid global id '{gid}'", "argumentLiteralsIncompatible")
    return match[1]


def gid(kind: str, number: object) -> str:
    return f"gid://shopify/{kind}/{number}"
