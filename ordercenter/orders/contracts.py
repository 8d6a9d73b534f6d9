"""What a channel's order looks like once a connector has read it.

Plain dataclasses: connectors, which never meet a model, hand them to the pipeline.
The vocabulary is that of ``channels.md`` 0.2. Money is in the order's currency, times are
aware, ids are text exactly as the platform spells them.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class ChannelStatus(StrEnum):
    """How the platform sees the order."""

    WAIT_PAY = "wait_pay"
    DEPOSIT_PAID = "deposit_paid"
    WAIT_SHIP = "wait_ship"
    PART_SHIPPED = "part_shipped"
    SHIPPED = "shipped"
    FINISHED = "finished"
    CLOSED_UNPAID = "closed_unpaid"
    CLOSED_REFUNDED = "closed_refunded"
    CLOSED = "closed"
    ON_HOLD = "on_hold"
    """Must not ship now: locked, risk review, group not complete, receiver not yet given."""
    UNKNOWN = "unknown"
    """A status word this version does not know; held, never guessed."""

    @property
    def is_closed(self) -> bool:
        return self in {self.CLOSED_UNPAID, self.CLOSED_REFUNDED, self.CLOSED}


@dataclass(frozen=True, slots=True)
class LineDraft:
    """One line as the platform lists it."""

    channel_line_id: str
    platform_sku_id: str | None
    """The platform's own SKU id; None where it has none."""
    outer_code: str | None
    """The merchant's code on the listing; None where empty."""
    title: str
    quantity: int
    unit_price: Decimal
    """The price shown for one piece before order discounts."""
    amount: Decimal
    """What the buyer pays for the line after every discount, without freight."""
    is_gift: bool = False
    refund_state: str | None = "none"
    """none, in_progress, refunded, partial, closed; None where the payload cannot say."""
    platform_item_id: str | None = None
    """The listing the SKU belongs to: Taobao ``num_iid``, Douyin ``product_id``..."""


@dataclass(frozen=True, slots=True)
class GiftDraft:
    """A gift named outside the lines (Taobao promotion details, Pinduoduo ``gift_list``)."""

    name: str
    quantity: int
    platform_item_id: str | None = None
    platform_sku_id: str | None = None
    outer_code: str | None = None


@dataclass(frozen=True, slots=True)
class ReceiverDraft:
    """Where the parcel goes, as the platform gives it. Empty text is "not given"."""

    name: str = ""
    phone: str = ""
    province: str = ""
    city: str = ""
    district: str = ""
    town: str = ""
    address: str = ""
    is_masked: bool = False
    """Name, phone or address are masked or ciphertext: no key may be made of them."""
    oaid: str = ""
    """Taobao/JD ``oaid``, Douyin and Pinduoduo ``open_address_id``, WeChat ``hash_code``."""


@dataclass(frozen=True, slots=True)
class AddressChangeDraft:
    """A buyer asks for another address, and the seller has to answer."""

    asked_at: datetime | None
    answer_by: datetime | None
    """When silence becomes consent; None where the platform names no time."""
    receiver: ReceiverDraft | None = None


@dataclass(frozen=True, slots=True)
class EvidenceDraft:
    """Who may be behind the order. Only what the platform states; nothing is inferred."""

    buyer_id: str = ""
    device_id: str = ""
    ip: str = ""


@dataclass(frozen=True, slots=True)
class OrderDraft:
    """One order as its channel tells it, normalised."""

    channel: str
    channel_number: str
    status: ChannelStatus
    status_raw: str
    currency: str
    payable_amount: Decimal
    """What the whole order costs the buyer, freight included."""
    paid_amount: Decimal
    """What the buyer has paid so far, gross of refunds."""
    freight: Decimal
    placed_at: datetime
    modified_at: datetime
    """The platform's own version of the order."""
    lines: tuple[LineDraft, ...]
    paid_at: datetime | None = None
    receiver: ReceiverDraft | None = None
    evidence: EvidenceDraft = field(default_factory=EvidenceDraft)
    gifts_outside_lines: tuple[GiftDraft, ...] = ()
    buyer_remark: str | None = None
    seller_memo: str | None = None
    seller_flag: int | None = None
    refund_state: str | None = "none"
    """in_progress, full, partial, none; None where the payload cannot say."""
    is_test: bool = False
    is_presale: bool = False
    deposit_amount: Decimal = Decimal(0)
    """What the buyer paid ahead of the balance, where the channel tells the two apart."""
    is_deposit: bool = False
    """It takes the deposit only; the goods are sent for another order, of the balance."""
    deposit_number: str = ""
    """The channel's number of the order that took the deposit, where it makes two of one
    purchase and this one is for the balance."""
    address_change: "AddressChangeDraft | None" = None
    """A buyer's open wish for another address; None where there is none, or none is told."""

    @property
    def has_gift(self) -> bool:
        return bool(self.gifts_outside_lines) or any(line.is_gift for line in self.lines)

    @property
    def is_paid(self) -> bool:
        """Whether the buyer has paid in full, so that goods may go."""
        return self.status in {
            ChannelStatus.WAIT_SHIP,
            ChannelStatus.PART_SHIPPED,
            ChannelStatus.SHIPPED,
            ChannelStatus.FINISHED,
        } or (self.status is ChannelStatus.ON_HOLD and self.paid_at is not None)


@dataclass(frozen=True, slots=True)
class RefundDraft:
    """One refund request as its channel tells it."""

    channel: str
    refund_id: str
    channel_number: str
    channel_line_id: str | None
    amount: Decimal
    state_raw: str
    refund_state: str
    """in_progress, refunded, partial, closed, none, or done (exchange finished)."""
    return_goods: bool
    intercept_shipping: bool
    """Money is asked for or given back without goods coming back: stop the parcel."""
    modified_at: datetime | None = None
    phase: str | None = None
    version: str = ""
    """The platform's version of the refund, wanted back with an answer."""


@dataclass(frozen=True, slots=True)
class EventDraft:
    """A hint from a push: something happened to this order; read it again."""

    channel: str
    event_id: str
    topic: str
    channel_number: str | None
    occurred_at: datetime | None = None
    address_change: AddressChangeDraft | None = None
    """A buyer's wish for another address, where only the message tells it (Douyin 111)."""
