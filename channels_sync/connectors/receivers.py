"""Receivers: as they stand in an order, and behind ciphertexts, opened in batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from channels_sync.connectors.field_map import Fields
from channels_sync.connectors.values import is_masked_text
from channels_sync.contracts import (
    Decrypted,
    DecryptRequest,
    ErrorClass,
    PlatformError,
    Unreadable,
)
from ordercenter.orders.contracts import ReceiverDraft

Cipher = tuple[str, str]
"""(order number, ciphertext): a ciphertext opens for its own order only."""
PARTS: Final = ("name", "phone", "address")


def plain_receiver(to: Fields, *, oaid: str = "") -> ReceiverDraft:
    """A receiver whose texts stand under their own names, masked or clear."""
    name, phone, address = to.text("name"), to.text("phone"), to.text("address")
    return ReceiverDraft(
        name=name,
        phone=phone,
        province=to.text("province"),
        city=to.text("city"),
        district=to.text("district"),
        town=to.text("town"),
        address=address,
        is_masked=is_masked_text(name, phone, address),
        oaid=oaid,
    )


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of one ciphertext."""

    text: str = field(default="", repr=False)
    is_virtual: bool = False
    expires_at: datetime | None = None
    error: PlatformError | None = None


Open = Callable[[Sequence[Cipher]], Mapping[Cipher, Opened]]


def open_all(
    requests: Sequence[DecryptRequest],
    ciphers_of: Callable[[bytes], Mapping[str, str]],
    ask: Open,
    *,
    most: int,
) -> list[Decrypted]:
    """Open every receiver of ``requests``, with at most ``most`` ciphertexts a call.

    ``ciphers_of`` finds name, phone and address in an order as it came. An order that has
    none, or of which one part fails, gets an error instead of half an address.
    """
    wanted: list[Cipher] = []
    found: list[Mapping[str, str] | PlatformError] = []
    for request in requests:
        parts = _parts(request, ciphers_of)
        found.append(parts)
        if not isinstance(parts, PlatformError):
            wanted += [(request.channel_number, parts[part]) for part in PARTS if part in parts]
    opened: dict[Cipher, Opened] = {}
    for batch in _batches(list(dict.fromkeys(wanted)), most):
        opened |= ask(batch)
    return [
        Decrypted(request.channel_number, error=parts)
        if isinstance(parts, PlatformError)
        else _put_together(request.channel_number, parts, opened)
        for request, parts in zip(requests, found, strict=True)
    ]


def _parts(
    request: DecryptRequest, ciphers_of: Callable[[bytes], Mapping[str, str]]
) -> Mapping[str, str] | PlatformError:
    try:
        parts = {part: text for part, text in ciphers_of(request.raw).items() if text.strip()}
    except Unreadable:
        return PlatformError(ErrorClass.BUSINESS, "unreadable", "保存的订单原文无法读取")
    if parts:
        return parts
    return PlatformError(
        ErrorClass.BUSINESS, "no_ciphertext", "平台没有给出收件人密文（已发货或审核中的订单不给）"
    )


def _batches(ciphers: Sequence[Cipher], most: int) -> Iterator[Sequence[Cipher]]:
    for start in range(0, len(ciphers), most):
        yield ciphers[start : start + most]


def _put_together(
    number: str, parts: Mapping[str, str], opened: Mapping[Cipher, Opened]
) -> Decrypted:
    nothing = Opened(error=PlatformError(ErrorClass.PLATFORM, "no_entry", "平台漏答了这一条"))
    answers = {part: opened.get((number, text), nothing) for part, text in parts.items()}
    if refused := next((one.error for one in answers.values() if one.error), None):
        return Decrypted(number, error=refused)
    phone = answers.get("phone", Opened())
    return Decrypted(
        number,
        name=answers.get("name", Opened()).text,
        phone=phone.text,
        address=answers.get("address", Opened()).text,
        is_virtual=phone.is_virtual,
        expires_at=phone.expires_at,
    )


def same_receiver(requests: Sequence[DecryptRequest]) -> list[tuple[str, ...]]:
    """Orders with one and the same address id, in the order they came; no order alone.

    For platforms whose id tells same receivers; an order without one joins nobody.
    """
    groups: dict[str, list[str]] = {}
    for request in requests:
        if request.oaid.strip():
            groups.setdefault(request.oaid, []).append(request.channel_number)
    return [tuple(numbers) for numbers in groups.values() if len(numbers) > 1]
