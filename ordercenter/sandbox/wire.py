"""Small things every wire needs: times, money, masks, and ids made of what they stand for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

BEIJING: Final = timezone(timedelta(hours=8))


def beijing(at: float) -> str:
    """``yyyy-MM-dd HH:mm:ss`` in UTC+8, as the Chinese platforms write it."""
    return datetime.fromtimestamp(at, BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def read_beijing(text: str) -> float:
    """Unix seconds of a text in UTC+8; ValueError when it is none."""
    naive = datetime.strptime(text, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - the zone comes next
    return naive.replace(tzinfo=BEIJING).timestamp()


def utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def yuan(fen: int) -> str:
    """Two-decimal text of whole fen."""
    sign = "-" if fen < 0 else ""
    return f"{sign}{abs(fen) // 100}.{abs(fen) % 100:02d}"


def digest(*parts: object, length: int = 32) -> str:
    """A stable id made of ``parts``; tells nothing of them."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def mask_name(name: str) -> str:
    return f"{name[0]}**" if name else ""


def mask_middle(phone: str) -> str:
    return f"{phone[:3]}****{phone[-4:]}" if phone else ""


def mask_address(address: str) -> str:
    """Every other character of what was written, as the platforms show it."""
    return "".join(c if i % 3 == 0 else "*" for i, c in enumerate(address))


def answer(body: Mapping[str, Any], status: int = 200) -> Response:
    """JSON with CJK as it is."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Response(text, status_code=status, media_type="application/json;charset=UTF-8")


def whole(text: str) -> int:
    """A whole number as the wires write it; ValueError for anything else, ``+1`` too."""
    if not (text.isascii() and text.isdigit()):
        message = f"not a whole number: {text!r}"
        raise ValueError(message)
    return int(text)


async def form(request: Request) -> dict[str, str]:
    """The parameters of the query and of a form body, decoded; a later one wins."""
    pairs = parse_qsl(request.url.query, keep_blank_values=True)
    body = (await request.body()).decode("utf-8", errors="replace")
    return dict(pairs + parse_qsl(body, keep_blank_values=True))
