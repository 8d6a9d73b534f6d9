"""The contract every connector keeps.

A connector speaks HTTP and dataclasses and never meets a model. Fen become yuan and Beijing
time becomes aware time in ``read``, nowhere else. It fails in two ways: ``TryLater`` and
``Rejected``; what a platform has no way to hear is the ``Rejected`` named ``Unsupported``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Final, Protocol

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


class Unsupported(Rejected):
    """This platform has no way to be told or asked such a thing."""

    def __init__(self, what: str) -> None:
        super().__init__(PlatformError(ErrorClass.BUSINESS, "unsupported", f"该平台不支持{what}"))


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
    occurred_at: datetime | None = None
    """When the platform says it happened; what is old yields to what is new."""


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
class Feed:
    """One list a platform offers; each is read by a cursor of its own."""

    code: str
    """``orders`` or ``refunds``."""
    max_window_seconds: int
    """The longest span one call takes."""
    settle_seconds: int
    """How far behind now the cursor stays: what is younger may still change its place."""
    overlap_seconds: int = 120
    """How much of the last window is read again."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How often an interface may be called by one shop, as the platform says."""

    per_second: float
    burst: float


@dataclass(frozen=True, slots=True)
class Budget:
    """What the platform itself says is left (Shopify's ``throttleStatus``)."""

    available: float
    restore_per_second: float
    maximum: float


class Line(Protocol):
    """What the house gives a connector for its calls: its turn, and a token that holds."""

    def enter(self, interface: str, limit: Limit | None, *, cost: float = 1.0) -> None:
        """Wait for the turn of one call; raises TryLater where the wait would be long."""

    def ahead(self, interface: str, limit: Limit | None, wanted: int) -> int:
        """Take the turns of up to ``wanted`` calls together; return how many, one at least.

        Those calls find their turn taken at ``enter``. Waits for the first turn, or raises
        TryLater where that would be long.
        """

    def passed(self, interface: str, budget: Budget | None = None) -> None:
        """The platform answered the call in full."""

    def failed(self, interface: str, error: ConnectorError) -> None:
        """The call failed: a stated wait is kept to, silence opens the breaker."""

    def again(self, attempt: int, error: TryLater) -> bool:
        """Whether to repeat a call that had no effect right now; waits as long as is fit."""

    def renew(self, stale_token: str) -> str:
        """Return a token that is not ``stale_token``; one worker refreshes, the others wait.

        Raises Rejected (``auth``) where only the seller can authorize again.
        """


class OpenLine:
    """No turns and no tokens: for reading, and for tests of a connector alone."""

    def enter(self, interface: str, limit: Limit | None, *, cost: float = 1.0) -> None:
        return None

    def ahead(self, interface: str, limit: Limit | None, wanted: int) -> int:
        return wanted

    def passed(self, interface: str, budget: Budget | None = None) -> None:
        return None

    def failed(self, interface: str, error: ConnectorError) -> None:
        return None

    def again(self, attempt: int, error: TryLater) -> bool:
        return False

    def renew(self, stale_token: str) -> str:
        raise Rejected(PlatformError(ErrorClass.AUTH, "no_refresh", "授权已失效，请重新授权"))


OPEN_LINE: Final[Line] = OpenLine()


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an authorization server gave. ``None`` expiries are unknown or never."""

    access_token: str = field(repr=False)
    expires_at: datetime | None = None
    refresh_token: str = field(default="", repr=False)
    refresh_expires_at: datetime | None = None
    write_expires_at: datetime | None = None
    """When the right to write ends, where that is earlier (Taobao ``w2``)."""
    shop_id: str = ""
    shop_name: str = ""


@dataclass(frozen=True, slots=True)
class Census:
    """The orders *created* within a window, by the platform's own list of them."""

    numbers: frozenset[str]
    counted: int | None = None
    """The platform's total, where it gives one."""


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
    others: tuple[str, ...] = ()
    """Tracking numbers of the order's parcels that left before this one."""
    is_last: bool = False
    """No parcel of the order is to follow. An order told whole says nothing of it."""


VIRTUAL_CARRIER: Final = "virtual"
"""The ``carrier`` of a notice for goods that need no parcel; no tracking number."""


@dataclass(frozen=True, slots=True)
class StockFigure:
    """Tell the channel how many pieces of one listing it may sell."""

    key: str
    platform_sku_id: str
    platform_item_id: str
    """Taobao ``num_iid``, Douyin and WeChat ``product_id``, Pinduoduo ``goods_id``; may be
    empty."""
    outer_code: str
    quantity: int
    """The figure to show from now on."""
    believed: int | None
    """What the channel shows by our books: the last figure it took less what it sold since.
    None: unknown, so the figure has to be set."""


@dataclass(frozen=True, slots=True)
class StockEcho:
    """What the platform says it shows now; None where it does not say."""

    quantity: int | None = None


@dataclass(frozen=True, slots=True)
class StockCall:
    """Figures that go to the platform in one call, and the interface whose turn that takes.

    An empty ``interface``: the call takes its turns itself when it is made.
    """

    interface: str
    figures: tuple[StockFigure, ...]


StockAnswer = StockEcho | ConnectorError
"""What came of one figure of a call."""


class StopOutcome(StrEnum):
    """What became of a refund's wish to stop the parcel (``field.md`` X2)."""

    STOPPED = "stopped"
    NOT_SYNCED = "not_synced"
    LABEL_PRINTED = "label_printed"
    SHIPPED = "shipped"


@dataclass(frozen=True, slots=True)
class StopAnswer:
    """Answer a refund asked for before shipping: stopped, or not and why."""

    key: str
    channel_number: str
    refund_id: str
    outcome: StopOutcome
    words: str
    amount: Decimal
    channel_line_id: str = ""
    version: str = ""
    """The platform's version of the refund (Taobao ``refund_version``, Douyin
    ``update_time``)."""
    tracking_number: str = ""
    carrier: str = ""


@dataclass(frozen=True, slots=True)
class Memo:
    """What the merchant notes on an order. The connector reads, merges and writes."""

    key: str
    channel_number: str
    text: str
    """The line to add; a note that has it already stays as it is."""
    flag: int | None = None
    """The platform's own number of a flag; None leaves it."""


@dataclass(frozen=True, slots=True)
class AddressAnswer:
    """Answer a buyer who asks for another address."""

    key: str
    channel_number: str
    approve: bool
    words: str = ""


@dataclass(frozen=True, slots=True)
class DecryptRequest:
    """One order whose receiver somebody needs to see, with what the platform gave for it."""

    channel_number: str
    oaid: str
    scene: str
    raw: bytes = field(repr=False)
    """The order as it came: some platforms want its ciphertexts."""


@dataclass(frozen=True, slots=True)
class Decrypted:
    """One receiver in the clear, never to be stored; or why not."""

    channel_number: str
    name: str = field(default="", repr=False)
    phone: str = field(default="", repr=False)
    address: str = field(default="", repr=False)
    is_virtual: bool = False
    expires_at: datetime | None = None
    error: PlatformError | None = None


Told = ShipNotice | StockFigure | StopAnswer | Memo | AddressAnswer


@dataclass(frozen=True, slots=True)
class ShopAccess:
    """What a connector needs to speak for one shop. Never logged: ``repr`` hides secrets."""

    shop_code: str
    base_url: str
    app_key: str
    app_secret: str = field(repr=False)
    access_token: str = field(default="", repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """More of them: WeChat ``push_token`` and ``encoding_aes_key`` (and ``old_...`` of each within
    its day of grace), a database's address."""
    old_app_secret: str = field(default="", repr=False)
    """The one before, within its day of grace; for checking pushes only."""
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
    """One shop's line to its platform. Made from ``ShopAccess`` for one use, or a few seconds'.

    ``connectors.base.BaseConnector`` answers Unsupported for whatever a platform lacks.
    """

    channel: ClassVar[str]
    feeds: ClassVar[tuple[Feed, ...]]
    """The lists to pull; none for platforms that only push."""
    limits: ClassVar[Mapping[str, Limit]]
    """By interface; ``"*"`` for every other one."""
    listens: ClassVar[bool]
    """Whether ``listen`` brings messages in."""
    repeatable: ClassVar[frozenset[type]]
    """The kinds of ``Told`` that may be sent again when an outcome is unknown."""
    push_types: ClassVar[frozenset[str]]
    """The Content-Types of its pushes; ``""`` where one may be missing."""

    # Reading

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

    # Pulling

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        """Yield what changed within ``window``, page by page, in the order that loses none.

        May repeat itself. A page is whole or raises: nothing is cut off in silence.
        """

    def fetch(self, channel_number: str) -> RawMessage:
        """Ask for one order by the platform's number.

        Raises TryLater while a listed order has no detail yet, Rejected where there is none.
        """

    def census(self, window: Window) -> Census:
        """Ask for the numbers of the orders created within ``window``."""

    def listen(
        self, take: Callable[[Sequence[RawMessage]], None], stop: Callable[[], bool]
    ) -> None:
        """Receive messages until ``stop()``; each is confirmed only once ``take`` has stored it.

        Returns when the platform closes the line; raises ConnectorError.
        """

    def test(self) -> None:
        """Prove that the shop can be reached with these credentials; raises ConnectorError."""

    def refresh(self, refresh_token: str) -> Tokens:
        """Trade a refresh token for new ones. Raises ConnectorError."""

    def authorize_url(self, redirect_uri: str, state: str) -> str:
        """Where the seller authorizes us. Raises Unsupported."""

    def check_callback(self, query: Mapping[str, str]) -> None:
        """Raise BadSignature where the platform signs the owner's way back and this is not it."""

    def exchange_code(self, code: str) -> Tokens:
        """Trade an authorization code, or the shop's own secret, for tokens."""

    # Being pushed to

    def verify(self, request: WebhookRequest) -> None:
        """Raise BadSignature unless the push proves itself over its raw bytes."""

    def challenge(self, request: WebhookRequest) -> WebhookReply | None:
        """Answer the platform's check of our address; None where the request is none.

        Raises BadSignature.
        """

    def split(self, request: WebhookRequest) -> tuple[RawMessage, ...]:
        """Cut an authentic push into inbox rows. Never raises: what cannot be read is a row
        of kind UNREADABLE with all its bytes."""

    def acknowledge(self, request: WebhookRequest, *, duplicate: bool) -> WebhookReply:
        """The answer that stops the platform from repeating. ``duplicate``: nothing was new."""

    # Telling

    def ship(self, notice: ShipNotice) -> None:
        """Tell the channel. Must accept the same notice twice."""

    def publish_stock(self, figure: StockFigure) -> StockEcho:
        """Tell the channel how many it may sell, by difference or as a figure, as it advises.

        Raises Rejected with code ``stock_locked`` where goods on promotion cannot be lowered.
        """

    def stock_calls(self, figures: Sequence[StockFigure]) -> list[StockCall]:
        """Sort figures into as few calls as the platform takes them in; no I/O.

        Raises Unsupported where the platform is told no figures.
        """

    def stock_turns(self, calls: Sequence[StockCall]) -> int:
        """Take the turns of the first calls; return how many may be made now, one at least.

        Raises TryLater.
        """

    def publish_figures(self, figures: Sequence[StockFigure]) -> list[StockAnswer]:
        """Make one of ``stock_calls``; return one answer a figure, in their order.

        A figure the platform refuses does not hold up the others of its call. Raises
        ConnectorError where the call failed as a whole.
        """

    def answer_stop(self, answer: StopAnswer) -> None:
        """Tell the channel whether a parcel was stopped."""

    def write_memo(self, memo: Memo) -> None:
        """Add to the merchant's note; what others wrote stays."""

    def answer_address(self, answer: AddressAnswer) -> None:
        """Approve or refuse a buyer's wish for another address."""

    def knows(self, told: Told) -> bool | None:
        """Whether ``told`` has had its effect already; None where nobody can tell."""

    # Privacy

    def decrypt(self, requests: Sequence[DecryptRequest]) -> list[Decrypted]:
        """Ask for receivers in the clear, each with an answer of its own."""

    def merge_groups(self, requests: Sequence[DecryptRequest]) -> list[tuple[str, ...]]:
        """Ask which orders may share a parcel; groups of order numbers."""
