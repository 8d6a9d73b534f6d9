"""From what a channel says to an order in hand: identity by evidence, receivers sealed."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final

from ordercenter.catalog.models import NUMBER_PREFIX, Channel, Shop
from ordercenter.core.addresses import normalize_region
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.masking import mask_name, mask_phone
from ordercenter.core.phones import read_phone
from ordercenter.core.sealing import seal, unseal
from ordercenter.orders.contracts import ChannelStatus, LineDraft, OrderDraft, ReceiverDraft
from ordercenter.orders.identity import buyer_key, device_key, oaid_key, phone_key, place_keys
from ordercenter.orders.models import RECEIVER_PURPOSE
from ordercenter.orders.states import OrderStatus
from ordercenter.pipeline.doubts import is_believable
from ordercenter.pipeline.work import Evidence, Line, Work

RUSH: Final = re.compile(r"今天(必须|务必|一定)?(要)?发|今日(必须)?发|当日达|加急|急用|急需")
VIP_AMOUNT: Final = Decimal(500)
RUSH_PRIORITY: Final = 20
VIP_PRIORITY: Final = 10
LONGEST_ADDRESS: Final = 200
LONGEST_OAID: Final = 128
"""``channels.md`` 1c."""
RESTRICTED: Final = "restricted"
"""The mark of a stored receiver that is opened to nobody any more."""
_SCRAMBLE: Final = (
    387_420_489  # prime to a million: six digits that repeat only after a million orders
)
_CIPHERTEXT: Final = re.compile(r"[!-~]{24,}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


def order_number(channel: str, pk: int, at: datetime) -> str:
    """Channel code, Shanghai time to the second, six digits (Q026); unique by the key in it."""
    prefix = NUMBER_PREFIX.get(Channel(channel), "XX")
    digits = (pk * _SCRAMBLE + 271_828) % 1_000_000
    return f"{prefix}{_to_the_second(at)}{digits:06d}"


@lru_cache(maxsize=4)
def _to_the_second(at: datetime) -> str:
    return f"{at.astimezone(SHANGHAI):%Y%m%d%H%M%S}"


def clean(text: str | None, limit: int) -> str:
    """Typed text as it may be stored and shown: no control or direction characters."""
    return _CONTROL.sub("�", text)[:limit] if text else ""


def receiver_problem(receiver: ReceiverDraft | None, channel: str = "") -> str:
    """What is missing or wrong, in words; empty when a parcel could be sent."""
    if receiver is None:
        return "没有收货人"
    return _missing(receiver) or _misfit(receiver, channel) or _wrong_place(receiver)


def _missing(receiver: ReceiverDraft) -> str:
    missing = [
        label
        for label, value in (
            ("姓名", receiver.name),
            ("电话", receiver.phone),
            ("省份", receiver.province),
            ("详细地址", receiver.address),
        )
        if not value.strip()
    ]
    return "缺少" + "、".join(missing) if missing else ""


def _misfit(receiver: ReceiverDraft, channel: str) -> str:
    """What no carrier or platform would take."""
    if not (receiver.is_masked or read_phone(receiver.phone)):
        return "电话无法识别"
    is_cipher = receiver.is_masked and _CIPHERTEXT.fullmatch(receiver.address)
    if len(receiver.address) > LONGEST_ADDRESS and not is_cipher:
        return f"详细地址过长（{len(receiver.address)} 字），面单放不下，请核对"
    if channel == Channel.TAOBAO and receiver.is_masked and not receiver.oaid:
        return "缺少收件人标识（OAID）"
    if channel == Channel.TAOBAO and len(receiver.oaid) > LONGEST_OAID:
        return f"收件人标识（OAID）过长（{len(receiver.oaid)} 字符）"
    return ""


def _wrong_place(receiver: ReceiverDraft) -> str:
    region = normalize_region(receiver.province, receiver.city, receiver.district)
    if region is None:
        return f"省份不认识：{clean(receiver.province, 20)}"
    if region.conflict:
        return f"省市不符：{clean(receiver.province, 20)} {clean(receiver.city, 20)}"
    return ""


def missing_fields(
    receiver: ReceiverDraft | None, region: tuple[str, str, str], amount: Decimal
) -> frozenset[str]:
    """What was not given of receiver and money, by the names the rules know."""
    told = receiver or ReceiverDraft()
    values = {"name": told.name, "phone": told.phone, "address": told.address,
              **dict(zip(("province", "city", "district"), region, strict=True))}  # fmt: skip
    missing = {name for name, value in values.items() if not value.strip()}
    return frozenset(missing if amount else missing | {"amount"})


def evidence(draft: OrderDraft, shop_id: int) -> Evidence:
    """Keys by what the platform states; its ids hold for one shop."""
    told = draft.evidence
    phone, address, shingles = receiver_keys(draft.receiver, shop_id)
    return Evidence(
        buyer=buyer_key(told.buyer_id, shop_id),
        device=device_key(told.device_id),
        phone=phone,
        address=address,
        ip=told.ip[:45],
        shingles=shingles,
    )


def receiver_keys(
    receiver: ReceiverDraft | None, shop_id: int
) -> tuple[str, str, tuple[int, ...] | None]:
    """(phone, address, shingles of the address) to match by.

    A masked one never becomes a key; "" and None match nothing.

    A clear phone or address is a keyed blind index and holds everywhere; an OAID holds for
    one shop. A number that a platform lends (with an extension) tells nobody apart.
    """
    if receiver is None:
        return "", "", None
    phone = address = ""
    shingles = None
    if not receiver.is_masked:
        phone = phone_key(receiver.phone)
        region = normalize_region(receiver.province, receiver.city, receiver.district)
        if region is not None:
            address, shingles = place_keys(region, receiver.address)
    return phone, address or oaid_key(receiver.oaid, shop_id), shingles


def told_mark(receiver: ReceiverDraft) -> str:
    """What a channel said of the receiver, to see whether it says something else now.

    Ciphertext may change from call to call and counts as one; so does an id that is good for a
    week. The same place in other words (江苏, 江苏省) is the same place.
    """
    said = [receiver.name.strip(), receiver.phone.strip(), *region_of(receiver),
            receiver.address.strip()]  # fmt: skip
    if receiver.is_masked:
        said = [_CIPHERTEXT.sub("***", text) for text in said]
    return hashlib.blake2b("\0".join(said).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class OaidSource:
    """What an OAID holds for: the application that was given it, and the week of that moment.

    The shop is the order's own.
    """

    app_key: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """The receiver of an order as it is stored, and what the channel last said of them."""

    receiver: ReceiverDraft
    told: str
    is_ours: bool = False
    """Somebody here has put it right; the channel's own word is another."""
    oaid_from: OaidSource | None = None
    is_restricted: bool = False
    """The person asked for erasure: kept for the law, opened to nobody."""


def known_receiver(sealed: bytes | memoryview) -> Known:
    """Open a stored receiver."""
    facts = unseal(sealed, purpose=RECEIVER_PURPOSE)
    told, app, at = (facts.pop(name, "") for name in ("told", "oaid_app", "oaid_at"))
    is_restricted = bool(facts.pop(RESTRICTED, False))
    receiver = ReceiverDraft(**facts)
    source = OaidSource(app, datetime.fromisoformat(at)) if at else None
    return Known(receiver, told or told_mark(receiver), bool(told), source, is_restricted)


def sealed_receiver(
    receiver: ReceiverDraft | None, *, told: str = "", oaid_from: OaidSource | None = None
) -> tuple[bytes, str]:
    """(ciphertext, what may be shown). ``told`` is kept where it is not the channel's own word."""
    if receiver is None:
        return seal({}, purpose=RECEIVER_PURPOSE), ""
    facts = {
        "name": receiver.name,
        "phone": receiver.phone,
        "province": receiver.province,
        "city": receiver.city,
        "district": receiver.district,
        "town": receiver.town,
        "address": receiver.address,
        "oaid": receiver.oaid,
        "is_masked": receiver.is_masked,
    } | ({"told": told} if told else {})
    if receiver.oaid and oaid_from:
        facts |= {"oaid_app": oaid_from.app_key, "oaid_at": oaid_from.at.isoformat()}
    if receiver.is_masked:
        shown = f"{shown_hidden(receiver.name)} {shown_hidden(receiver.phone)}"
    else:
        shown = f"{mask_name(receiver.name)} {mask_phone(receiver.phone)}"
    return seal(facts, purpose=RECEIVER_PURPOSE), clean(shown.strip(), 200)


def is_hidden(text: str) -> bool:
    """Whether a part of a receiver is masked, or ciphertext."""
    return "*" in text or bool(_CIPHERTEXT.fullmatch(text))


def shown_hidden(text: str) -> str:
    """A masked text as it is, ciphertext as three stars."""
    return text if "*" in text and len(text) <= 30 else "***"  # noqa: PLR2004 - longer is ciphertext


def region_of(receiver: ReceiverDraft | None) -> tuple[str, str, str]:
    """(province, city, district) with full names where they are known."""
    if receiver is None:
        return "", "", ""
    region = normalize_region(receiver.province, receiver.city, receiver.district)
    if region is None:
        return receiver.province[:32], receiver.city[:32], receiver.district[:32]
    return region.province[:32], region.city[:32], region.district[:32]


def fresh_work(
    draft: OrderDraft,
    shop: Shop,
    *,
    pk: int,
    line_ids: Sequence[int],
    now: datetime,
    app_key: str = "",
) -> Work:
    """Take a new order in hand. ``line_ids`` has one key for each line and outside gift."""
    sealed, shown = sealed_receiver(draft.receiver, oaid_from=OaidSource(app_key, now))
    province, city, district = region_of(draft.receiver)
    rush = bool(RUSH.search(draft.buyer_remark or "") or RUSH.search(draft.seller_memo or ""))
    priority = RUSH_PRIORITY if rush else VIP_PRIORITY if draft.payable_amount > VIP_AMOUNT else 0
    work = Work(
        id=pk,
        shop_id=shop.pk,
        channel_number=draft.channel_number,
        number=order_number(shop.channel, pk, now),
        status=OrderStatus.RECEIVED,
        version=1,
        channel_status=draft.status.value,
        channel_modified_at=draft.modified_at,
        refund_state=draft.refund_state or "none",
        currency=draft.currency,
        payable_amount=draft.payable_amount,
        paid_amount=draft.paid_amount,
        freight=draft.freight,
        placed_at=draft.placed_at if is_believable(draft.placed_at) else now,
        paid_at=paid_at(draft),
        received_at=now,
        province=province,
        city=city,
        district=district,
        receiver_masked=shown,
        receiver_sealed=sealed,
        buyer_remark=clean(draft.buyer_remark, 10_000),
        seller_memo=clean(draft.seller_memo, 10_000),
        has_gift=draft.has_gift,
        is_rush=rush,
        is_test=draft.is_test,
        is_presale=draft.is_presale,
        priority=priority,
        deposit_amount=deposit(draft),
        deposit_paid_at=draft.modified_at if draft.status is ChannelStatus.DEPOSIT_PAID else None,
        fresh=True,
        lines=_lines(draft, line_ids),
        evidence=evidence(draft, shop.pk),
        missing=missing_fields(draft.receiver, (province, city, district), draft.payable_amount),
    )
    if draft.status is not ChannelStatus.ON_HOLD:
        work.receiver_problem = receiver_problem(draft.receiver, draft.channel)
    if draft.currency != shop.currency:
        work.money_problem = f"币种不符：订单为 {draft.currency}，店铺为 {shop.currency}"
    return work


def paid_at(draft: OrderDraft) -> datetime | None:
    """When the goods became free to go as far as money is concerned; None while they are not.

    Cash on delivery has no payment time: the platform's word that it may ship counts.
    """
    if draft.status.is_closed:
        return draft.paid_at
    return (draft.paid_at or draft.modified_at) if draft.is_paid else None


def deposit(draft: OrderDraft) -> Decimal:
    """What was paid ahead of the balance; zero where there is none, or nobody can tell."""
    if draft.status is ChannelStatus.DEPOSIT_PAID:
        return draft.deposit_amount or draft.paid_amount
    return draft.deposit_amount


def line_of(told: LineDraft, pk: int, number: int) -> Line:
    """A line as bought, not mapped yet."""
    return Line(
        id=pk,
        line_no=number,
        channel_line_id=told.channel_line_id[:64],
        platform_sku_id=(told.platform_sku_id or "")[:64],
        outer_code=(told.outer_code or "")[:100],
        title=clean(told.title, 300),
        quantity=told.quantity,
        unit_price=told.unit_price,
        amount=told.amount,
        is_gift=told.is_gift,
        refund_state=told.refund_state or "none",
        fresh=True,
    )


def _lines(draft: OrderDraft, line_ids: Sequence[int]) -> list[Line]:
    ids = iter(line_ids)
    lines = [line_of(line, next(ids), number) for number, line in enumerate(draft.lines, 1)]
    for gift in draft.gifts_outside_lines:
        # A gift without a SKU of its own goes by its item number (Taobao promotion details).
        told = gift.platform_sku_id or gift.platform_item_id or ""
        lines.append(
            Line(
                id=next(ids),
                line_no=len(lines) + 1,
                channel_line_id="",
                platform_sku_id=told[:64],
                outer_code=(gift.outer_code or "")[:100],
                title=clean(gift.name, 300),
                quantity=gift.quantity,
                unit_price=Decimal(0),
                amount=Decimal(0),
                is_gift=True,
                fresh=True,
            )
        )
    return lines
