"""The contract every carrier keeps.

A carrier speaks HTTP and dataclasses and never meets a model. Its local times become aware
times and its codes become ``TraceStatus`` here, nowhere else. It fails in three ways:
``CarrierTryLater`` (nothing happened, ask again), ``CarrierUnknown`` (a write may have taken
effect, ask by reference first) and ``CarrierRejected`` (repeating changes nothing).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Final, Protocol

import httpx


class CarrierErrorClass(StrEnum):
    """How a carrier's refusal is treated (``carriers.md`` 2.1)."""

    AUTH = "auth"
    RATE_LIMITED = "rate_limited"
    PLATFORM = "platform"
    BUSINESS = "business"


@dataclass(frozen=True, slots=True)
class CarrierFault:
    """A refusal in the carrier's own words."""

    klass: CarrierErrorClass
    code: str
    message: str
    retry_after_seconds: int | None = None


class CarrierError(Exception):
    """Base of the three ways a carrier fails."""

    def __init__(self, fault: CarrierFault) -> None:
        super().__init__(f"{fault.klass}: {fault.code} {fault.message}")
        self.fault = fault


class CarrierTryLater(CarrierError):
    """The carrier did not do it; the same call may go through later.

    ``wait`` is in seconds where the carrier said so, else None.
    """

    def __init__(self, fault: CarrierFault) -> None:
        super().__init__(fault)
        self.wait = fault.retry_after_seconds


class CarrierUnknown(CarrierError):
    """Nobody can tell whether the write took effect: ``find`` by reference before anything else.

    Never a reason for another reference or another carrier: that is how one parcel gets two
    numbers and two bills.
    """


class CarrierRejected(CarrierError):
    """The carrier understood and said no: repeating changes nothing."""


class BadPush(Exception):
    """A push that does not prove where it comes from. Nothing of it is stored."""


class UnreadablePush(Exception):
    """Broken bytes, of a push or of an answer: kept and quarantined; the words say why."""


class TraceStatus(StrEnum):
    """Where a parcel is, in the vocabulary of ``carriers.md`` 1.4."""

    NO_TRACE = "no_trace"
    PENDING_PICKUP = "pending_pickup"
    PICKED_UP = "picked_up"
    IN_TRANSIT = "in_transit"
    CUSTOMS = "customs"
    OUT_FOR_DELIVERY = "out_for_delivery"
    READY_FOR_COLLECTION = "ready_for_collection"
    DELIVERED = "delivered"
    EXCEPTION = "exception"
    RETURNING = "returning"
    RETURNED = "returned"
    FORWARDED = "forwarded"
    LOST = "lost"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Contact:
    """One end of a parcel's way. Never logged: ``repr`` says nothing of it."""

    name: str = field(repr=False)
    phone: str = field(repr=False)
    province: str = field(repr=False)
    city: str = field(repr=False)
    district: str = field(repr=False)
    address: str = field(repr=False)
    """Everything below the district."""
    company: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Goods:
    """What is in the parcel, as the carrier wants it declared."""

    name: str
    quantity: int
    unit: str = "件"
    weight_grams: int | None = None
    """Of one piece."""
    amount: Decimal | None = None
    """Declared value of one piece, in CNY."""


@dataclass(frozen=True, slots=True)
class WaybillRequest:
    """Ask for one number for one parcel. ``client_reference`` is the same for every repeat.

    The reference is stored before the first call and never used again once canceled.
    """

    client_reference: str
    sender: Contact
    receiver: Contact
    goods: tuple[Goods, ...]
    weight_grams: int
    remark: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Issued:
    """A number the carrier gave, with the raw facts its label needs."""

    number: str
    client_reference: str
    facts: Mapping[str, str] = field(default_factory=dict)
    """The carrier's own names, e.g. ``destRouteLabel``, ``twoDimensionCode``. May be empty
    after ``find``: a carrier need not give label data twice."""
    needs_check: bool = False
    """The carrier still looks at the address by hand: no label, no write-back yet."""


@dataclass(frozen=True, slots=True)
class TraceEventDraft:
    """One scan, normalised."""

    number: str
    code: str
    """The carrier's own code, with its reason after a plus sign where one is given: ``99+2``."""
    status: TraceStatus | None
    """None: the scan says nothing about where the parcel is, or its code is not known."""
    text: str = field(repr=False)
    occurred_at: datetime
    place: str = ""
    event_id: str = ""
    """Ours: the same scan has the same id however often and on whatever way it comes."""
    known: bool = True
    """False: no table names this code. Shown, counted, and it moves nothing."""
    alert: bool = False
    """A person must look even though the status alone does not say so."""
    linked_number: str = ""
    """The parcel travels on under this number."""


@dataclass(frozen=True, slots=True)
class CarrierAccess:
    """What a carrier needs to speak for one account. Never logged: ``repr`` hides secrets."""

    account: str
    base_url: str
    partner_id: str
    secret: str = field(repr=False)
    push_token: str = field(default="", repr=False)
    """The unguessable part of our push address, for carriers that do not sign."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What is not secret: ``monthly_card``, ``phone_tail``, ``express_type``, ``push_ips``."""


@dataclass(frozen=True, slots=True)
class CarrierPush:
    """A push as it arrived, before anything was parsed."""

    token: str = field(repr=False)
    """The part of the path that is ours to keep secret, as it was called."""
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes = field(repr=False)
    peer: str = ""
    """The address the call came from."""


@dataclass(frozen=True, slots=True)
class CarrierReply:
    """What the carrier wants to hear."""

    status: int
    body: bytes
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class CarrierDocument:
    """Everything one carrier document says, whatever its kind; what ``read_trace`` prints."""

    kind: str
    """traces, trace_push, waybill, ack, token, error."""
    events: tuple[TraceEventDraft, ...] = ()
    numbers: tuple[str, ...] = ()
    """Every number the document speaks of, also those without a scan."""
    issued: Issued | None = None
    fault: CarrierFault | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


class Carrier(Protocol):
    """One account's line to its carrier. Made per use from ``CarrierAccess``; keeps no state."""

    code: ClassVar[str]

    def create(self, request: WaybillRequest) -> Issued:
        """Get the parcel's number. The same reference twice gives the first number again.

        Raises CarrierUnknown after a timeout or when the carrier took the order and gave no
        number: ``find`` first, then repeat with the same reference.
        """

    def find(self, client_reference: str) -> Issued | None:
        """The number the carrier holds for this reference, or None when it knows none."""

    def cancel(self, client_reference: str, number: str) -> None:
        """Give the number back. The reference may not be used again afterwards.

        May be repeated after CarrierUnknown.
        """

    def intercept(self, number: str) -> None:
        """Ask for the parcel to be turned round. Success means asked, not yet turned.

        May be repeated after CarrierUnknown.
        """

    def traces(self, numbers: Sequence[str]) -> tuple[TraceEventDraft, ...]:
        """Every scan of these numbers, oldest first. A number without a scan gives none."""

    def verify_push(self, push: CarrierPush) -> None:
        """Raise BadPush unless the push proves where it comes from."""

    def read_push(self, push: CarrierPush) -> tuple[TraceEventDraft, ...]:
        """The scans of a push. The caller checks that each number is ours and this carrier's.

        Raises UnreadablePush.
        """

    def acknowledge_push(self, push: CarrierPush, *, stored: bool = True) -> CarrierReply:
        """The answer that stops the carrier from repeating, or asks it to repeat."""

    def read_document(self, body: bytes) -> CarrierDocument:
        """Tell what any answer or push of this carrier says. Raises UnreadablePush."""


class CarrierFactory(Protocol):
    """Makes a carrier for one account; reading alone needs no client."""

    def __call__(
        self,
        access: CarrierAccess,
        client: httpx.Client | None = None,
        now: Callable[[], datetime] = ...,
    ) -> Carrier: ...


_TURNED_BACK: Final = frozenset({TraceStatus.RETURNING, TraceStatus.RETURNED})
_AFTER_DELIVERY: Final = frozenset({TraceStatus.RETURNING, TraceStatus.RETURNED, TraceStatus.LOST})


def journey(events: Iterable[TraceEventDraft]) -> tuple[TraceEventDraft, ...]:
    """The scans of one number in the order they happened, each once, told apart after a return.

    A push and a query name one scan differently: equal second and status are one event. After a
    return scan, further scans are ``returning`` and a signature is the sender's own:
    ``returned``. A scan that says nothing sorts after one of the same second that does. Times
    decide, not the order of arrival (``carriers.md`` 1.4).
    """
    once: dict[object, TraceEventDraft] = {}
    for event in events:
        same_scan = (event.occurred_at, event.status or (event.code, event.text))
        once.setdefault(same_scan, event)
    in_order = sorted(once.values(), key=lambda event: (event.occurred_at, event.status is None))
    turned_back = False
    told: list[TraceEventDraft] = []
    for event in in_order:
        status = event.status
        if turned_back and status is not None and status not in _AFTER_DELIVERY:
            status = (
                TraceStatus.RETURNED if status is TraceStatus.DELIVERED else TraceStatus.RETURNING
            )
        turned_back = turned_back or status in _TURNED_BACK
        told.append(event if status is event.status else replace(event, status=status))
    return tuple(told)


def status_of(events: Iterable[TraceEventDraft]) -> TraceStatus:
    """Where the parcel is now: the last scan that says so.

    Never back after ``delivered``, except to returning, returned or lost.
    """
    status = TraceStatus.NO_TRACE
    for event in journey(events):
        if event.status is None:
            continue
        if status is TraceStatus.DELIVERED and event.status not in _AFTER_DELIVERY:
            continue
        status = event.status
    return status
