"""The contract every connector keeps.

A connector speaks HTTP and dataclasses and never meets a model. Fen become yuan and Beijing
time becomes aware time in ``read``, nowhere else. It fails in two ways: ``TryLater`` and
``Rejected``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Protocol

from ordercenter.orders.contracts import EventDraft, OrderDraft, RefundDraft


class ErrorClass(StrEnum):
    """How a platform's refusal is treated (``channels.md`` 0.2)."""

    AUTH = "auth"
    RATE_LIMITED = "rate_limited"
    PLATFORM = "platform"
    BUSINESS = "business"


@dataclass(frozen=True, slots=True)
class PlatformError:
    """A refusal in the platform's own words."""

    klass: ErrorClass
    code: str
    message: str
    sub_code: str | None = None
    retry_after_seconds: int | None = None


class ConnectorError(Exception):
    """Base of the two ways a connector fails."""

    def __init__(self, error: PlatformError) -> None:
        super().__init__(f"{error.klass}: {error.code} {error.message}")
        self.error = error


class TryLater(ConnectorError):
    """The platform did not answer as it should; the same call may go through later.

    ``wait`` is in seconds where the platform said so, else None. ``outcome_unknown`` is true
    when a write may have taken effect: ask first, never repeat blindly.
    """

    def __init__(self, error: PlatformError, *, outcome_unknown: bool = False) -> None:
        super().__init__(error)
        self.wait = error.retry_after_seconds
        self.outcome_unknown = outcome_unknown


class Rejected(ConnectorError):
    """The platform understood and said no: repeating changes nothing."""


class BadSignature(Exception):
    """A push that does not prove where it comes from. Nothing of it is stored."""


class Unreadable(Exception):
    """Authentic but broken: the bytes are kept and quarantined; the words say why."""


class MessageKind(StrEnum):
    """What an inbox row holds."""

    ORDER = "order"
    REFUND = "refund"
    EVENT = "event"
    """A hint: the order must be fetched."""
    TRACE = "trace"
    """A carrier's push of scans."""
    UNREADABLE = "unreadable"
    """Authentic, but not even its kind could be told."""
    NOTE = "note"
    """Kept for the record: rows of a file that are no order. Nothing is to be done."""


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One order, refund or hint as it came: the row of the inbox."""

    kind: MessageKind
    body: bytes
    channel_number: str = ""
    """The platform's order number where it can be told without a full read, else empty."""
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a window. ``complete`` is false when the platform left something out."""

    messages: tuple[RawMessage, ...]
    number: int
    of: int | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """The closed span of modification times a poll asks for; both ends aware."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A push as it arrived, before anything was parsed."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class WebhookReply:
    """What the platform wants to hear."""

    status: int
    body: bytes
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class ShipLine:
    """One line of a ship notice."""

    channel_line_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class ShipNotice:
    """Tell the channel that a parcel has gone. ``key`` is the same for every repeat."""

    key: str
    channel_number: str
    carrier: str
    """Our carrier code, e.g. ``sf``; the connector knows the platform's name for it."""
    tracking_number: str
    shipped_at: datetime
    lines: tuple[ShipLine, ...] = ()
    """Empty: the whole order."""


@dataclass(frozen=True, slots=True)
class ShopAccess:
    """What a connector needs to speak for one shop. Never logged: ``repr`` hides secrets."""

    shop_code: str
    base_url: str
    app_key: str
    app_secret: str = field(repr=False)
    access_token: str = field(default="", repr=False)
    options: Mapping[str, str] = field(default_factory=dict)
    """Channel specifics that are not secret, such as ``sign_method`` or ``api_version``."""


@dataclass(frozen=True, slots=True)
class Document:
    """Everything one platform document says, whatever its kind; what ``read_payload`` prints."""

    kind: str
    """order, order_list, refund_list, event_list, event, ack, token, error, decrypt, ..."""
    orders: tuple[OrderDraft, ...] = ()
    refunds: tuple[RefundDraft, ...] = ()
    events: tuple[EventDraft, ...] = ()
    error: PlatformError | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    """Page facts and other values in the vocabulary of ``EXPECTED.json``."""


class Connector(Protocol):
    """One shop's line to its platform. Made per use from ``ShopAccess``; keeps no state."""

    channel: ClassVar[str]
    max_window_seconds: ClassVar[int]
    """The longest span the platform's list takes."""
    settle_seconds: ClassVar[int]
    """How far behind now a frozen window must end."""

    def pull(self, window: Window) -> Iterator[Page]:
        """Yield the orders changed within ``window``, page by page, in the order that loses none.

        May repeat itself. A page is whole or raises: nothing is cut off in silence.
        """

    def fetch(self, channel_number: str) -> RawMessage:
        """Ask for one order by the platform's number."""

    def read(self, body: bytes) -> OrderDraft:
        """Normalise one raw order. No I/O, so an old inbox row reads the same today.

        Raises Unreadable with the reason.
        """

    def read_refund(self, body: bytes) -> RefundDraft:
        """Normalise one raw refund. Raises Unreadable."""

    def read_event(self, body: bytes) -> EventDraft:
        """Normalise one raw hint. Raises Unreadable."""

    def read_document(self, body: bytes) -> Document:
        """Tell what any document of this platform says. Raises Unreadable."""

    def ship(self, notice: ShipNotice) -> None:
        """Tell the channel. Must accept the same notice twice."""

    def verify(self, request: WebhookRequest) -> None:
        """Raise BadSignature unless the push proves itself over its raw bytes."""

    def split(self, request: WebhookRequest) -> tuple[RawMessage, ...]:
        """Cut an authentic push into inbox rows. Never raises: what cannot be read is a row
        of kind UNREADABLE with all its bytes."""

    def acknowledge(self, request: WebhookRequest) -> WebhookReply:
        """The answer that stops the platform from repeating."""

    def test(self) -> None:
        """Prove that the shop can be reached with these credentials; raises ConnectorError."""
