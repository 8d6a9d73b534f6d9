"""Orders in hand: a batch is loaded once, decided in memory, written once.

A fresh order (a draft nobody has seen) and a stored one are the same thing to the steps. All
writing is set-wise; each touched order gets one new version and one audit record that names
every status it passed through.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from fulfillment.models import Stage
from ordercenter.audit.models import Action
from ordercenter.audit.services import Entry, record_many
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import array_text, copy_rows, dumps, next_ids, update_rows
from ordercenter.orders.contracts import ChannelStatus, OrderDraft
from ordercenter.orders.models import OrderEvidence, OrderHold, OrderLine, SalesOrder
from ordercenter.orders.states import NEXT, Disposition, HoldKind, Leaves, OrderStatus
from ordercenter.pipeline.interception import gates
from risk.contracts import Judgement

HoldKey = tuple[str, str]
S = OrderStatus


@dataclass(slots=True)
class Line:
    """One order line in hand."""

    id: int
    line_no: int
    channel_line_id: str
    platform_sku_id: str
    outer_code: str
    title: str
    quantity: int
    unit_price: Decimal
    amount: Decimal
    is_gift: bool
    gift_strategy: str = ""
    is_dropped: bool = False
    leaves: str = Leaves.WHOLE.value
    refund_state: str = "none"
    bundle_line_id: int | None = None
    sku_id: int | None = None
    bundle_id: int | None = None
    listing_version: int | None = None
    fresh: bool = False
    mapped_now: bool = False
    priced_now: bool = False
    dropped_now: bool = False
    """Whether ``is_dropped``, ``gift_strategy`` or ``leaves`` is to be written."""
    retold_now: bool = False
    """Whether quantity, money and the channel's id of the line are to be written."""

    @property
    def is_unmapped(self) -> bool:
        """Whether nobody knows yet what it stands for, and somebody has to."""
        return self.sku_id is None and self.bundle_id is None and not self.is_dropped


@dataclass(slots=True)
class Evidence:
    """Keys to match an order by; empty where nothing was given."""

    buyer: str = ""
    device: str = ""
    phone: str = ""
    address: str = ""
    ip: str = ""
    shingles: tuple[int, ...] | None = None
    """Of a clear address, to see how like another it is; None where none is known."""


@dataclass(frozen=True, slots=True)
class HoldDraft:
    """A hold to be opened."""

    kind: HoldKind
    code: str
    tier: str
    words: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    interception_id: int | None = None
    disposition: Disposition = Disposition.WAITING

    @property
    def key(self) -> HoldKey:
        return (self.kind.value, self.code)


@dataclass(frozen=True, slots=True)
class TaskDraft:
    """Work for people that this order needs."""

    stage: Stage
    note: str = ""
    warehouse_id: int | None = None
    parcel_id: int | None = None


@dataclass(slots=True)
class Work:
    """One order in hand, and what is to become of it."""

    id: int
    shop_id: int
    channel_number: str
    number: str
    status: OrderStatus
    version: int
    channel_status: str
    channel_modified_at: datetime
    refund_state: str
    currency: str
    payable_amount: Decimal
    paid_amount: Decimal
    freight: Decimal
    placed_at: datetime
    paid_at: datetime | None
    received_at: datetime
    province: str
    city: str
    district: str
    receiver_masked: str
    receiver_sealed: bytes
    buyer_remark: str
    seller_memo: str
    has_gift: bool
    is_rush: bool
    is_test: bool
    is_presale: bool
    priority: int
    deposit_amount: Decimal = Decimal(0)
    deposit_paid_at: datetime | None = None
    promised_at: datetime | None = None
    balance_of_id: int | None = None
    fresh: bool = False
    lines: list[Line] = field(default_factory=list)
    evidence: Evidence = field(default_factory=Evidence)
    missing: frozenset[str] | None = None
    """What of receiver and money was not given, where somebody has looked."""
    receiver_problem: str = ""
    money_problem: str = ""
    open_holds: dict[HoldKey, int] = field(default_factory=dict)
    opening: dict[HoldKey, HoldDraft] = field(default_factory=dict)
    closing: dict[HoldKey, str] = field(default_factory=dict)
    passed: list[str] = field(default_factory=list)
    changes: dict[str, Any] = field(default_factory=dict)
    tasks: list[TaskDraft] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    """What is odd and stops nobody; kept in the record."""
    judgement: Judgement | None = None
    must_judge: bool = False
    must_recount: bool = False
    """The money has to be added up again."""
    retold: OrderDraft | None = None
    """Its channel names other goods than it has."""
    gives_back: bool = False
    """What it holds is for other goods: it is released before anything is reserved."""
    must_gift: bool = False
    """What it earns in gifts has to be counted, or counted again."""
    gifts: list[dict[str, Any]] = field(default_factory=list)
    """What became of its gifts in this pass and why, for the record."""
    swapped: list[tuple[Line, int | None, str]] = field(default_factory=list)
    """(line, SKU and title before) of gifts for which something else is tried."""
    refunded: list[tuple[str, Decimal]] = field(default_factory=list)
    """(the channel's line or "", money) given back of an order that comes in."""
    prefers: int | None = None
    """The virtual warehouse a rule wants tried first."""
    source_ids: tuple[int, ...] = ()
    """The virtual warehouses that hold its stock; several where it leaves in parts."""
    fills_rest: bool = False
    """What it sends later is tried again, beside what it holds."""
    ends: bool = False
    """It is over: canceled, or what had not left of it is."""
    may_wait: bool = False
    """Somebody decided that it waits for goods to come, whatever its shop's rule says."""
    left: dict[int, int] = field(default_factory=dict)
    """Units of each SKU to be had where the reservation failed."""
    short_because: str = ""
    """Why it is short, where there is more to say than how much."""
    action: Action = Action.ORDER_MOVED
    reason: str = ""
    row_changed: bool = False
    rekeyed: bool = False

    def move(self, to: OrderStatus) -> None:
        """Take one edge of the published graph; anything else is a bug."""
        if to not in NEXT[self.status]:
            message = f"{self.number}: {self.status} does not lead to {to}"
            raise RuntimeError(message)
        if not self.passed:
            self.passed.append(self.status.value)
        self.passed.append(to.value)
        self.status = to
        self.row_changed = True

    def send_back(self) -> None:
        """Back to where its stock is reserved; ``path.take`` gives back what it holds."""
        self.gives_back = self.status in {S.RESERVED, S.CLEARED, S.ROUTED}
        if self.status is S.ROUTED:
            self.move(S.CLEARED)
        if self.status in {S.CLEARED, S.RESERVED}:
            self.move(S.MAPPED)
        self.part(self.to_send, Leaves.WHOLE)

    def part(self, lines: Iterable[Line], leaves: Leaves) -> None:
        """Say when these lines leave."""
        for line in lines:
            if line.leaves != leaves:
                self.changes[f"leaves {line.line_no}"] = [line.leaves, leaves.value]
                line.leaves, line.dropped_now = leaves.value, True
                self.row_changed = True

    def hold(self, draft: HoldDraft) -> None:
        """Open a hold unless the same reason stands already."""
        self.closing.pop(draft.key, None)
        if draft.key not in self.open_holds:
            self.opening.setdefault(draft.key, draft)

    def unhold(self, kind: HoldKind, reason: str, *, code: str | None = None) -> None:
        """Close the open holds of a kind (or one code of it), and drop those not yet opened."""
        for key in [k for k in self.opening if k[0] == kind and code in {None, k[1]}]:
            del self.opening[key]
        for key in self.open_holds:
            if key[0] == kind and code in {None, key[1]}:
                self.closing[key] = reason

    def held_by(self, *kinds: HoldKind) -> bool:
        """Whether a hold of one of these kinds (any, if none is named) will be open."""
        keys = set(self.opening) | (set(self.open_holds) - set(self.closing))
        return any(not kinds or key[0] in kinds for key in keys)

    def held_by_code(self, kind: HoldKind, code: str) -> bool:
        """Whether this one hold will be open."""
        key = (kind.value, code)
        return key in self.opening or (key in self.open_holds and key not in self.closing)

    def change(self, name: str, value: Any) -> None:
        """Set a field and remember what it was."""
        before = getattr(self, name)
        if before != value:
            setattr(self, name, value)
            self.changes[name] = [before, value]
            self.row_changed = True

    def drop(self, line: Line) -> None:
        """Ship this line, with its parts, no more. What it holds of the stock is the caller's.

        What the order still earns in gifts is counted again.
        """
        for one in self.lines:
            if line.id in {one.id, one.bundle_line_id} and not one.is_dropped:
                one.is_dropped, one.dropped_now = True, True
                self.row_changed = self.must_gift = True

    def goes_to(self, phone: str, address: str, shingles: tuple[int, ...] | None) -> None:
        """The receiver changed: rules match by the new keys, as far as there are any."""
        self.evidence.phone = phone or self.evidence.phone
        if address:
            self.evidence.address, self.evidence.shingles = address, shingles
        self.rekeyed, self.missing = True, None

    @property
    def is_paid(self) -> bool:
        return self.paid_at is not None

    @property
    def has_money(self) -> bool:
        """Whether the buyer has paid, be it a deposit only, or in an order of its own: what is
        promised does not run out."""
        return (
            self.is_paid
            or self.channel_status == ChannelStatus.DEPOSIT_PAID
            or self.balance_of_id is not None
        )

    @property
    def rank(self) -> tuple[int, datetime, int]:
        """Who is served first of those that wait: priority, then the first money, then age."""
        return (-self.priority, self.deposit_paid_at or self.paid_at or self.placed_at, self.id)

    @property
    def touched(self) -> bool:
        return bool(
            self.fresh or self.passed or self.opening or self.closing or self.changes
            or self.judgement or self.row_changed or self.tasks
        )  # fmt: skip

    @property
    def goods(self) -> list[Line]:
        """The lines that are things to be shipped: SKUs and parts of bundles, none dropped."""
        return [ln for ln in self.lines if ln.sku_id is not None and not ln.is_dropped]

    @property
    def to_send(self) -> list[Line]:
        """Of its goods, what has not left."""
        return [ln for ln in self.goods if ln.leaves != Leaves.GONE]

    @property
    def to_hold(self) -> list[Line]:
        """Of its goods, what goes with the next parcel."""
        return [ln for ln in self.to_send if ln.leaves != Leaves.LATER]

    @property
    def rest(self) -> list[Line]:
        """Of its goods, what is sent later, once there is stock for it."""
        return [ln for ln in self.goods if ln.leaves == Leaves.LATER]

    @property
    def is_parted(self) -> bool:
        """Whether it leaves, or has begun to leave, in parts."""
        return any(ln.leaves for ln in self.goods)

    @property
    def has_left(self) -> bool:
        """Whether a part of it is on its way."""
        return any(ln.leaves == Leaves.GONE for ln in self.lines)

    @property
    def source_id(self) -> int | None:
        """The virtual warehouse that holds its stock; the first of several."""
        return self.source_ids[0] if self.source_ids else None


_ORDER_FIELDS: Final = (
    "id", "shop_id", "channel_number", "number", "status", "version", "channel_status",
    "channel_modified_at", "refund_state", "currency", "payable_amount", "paid_amount", "freight",
    "placed_at", "paid_at", "received_at", "province", "city", "district", "receiver_masked",
    "receiver_sealed", "buyer_remark", "seller_memo", "has_gift", "is_rush", "is_test",
    "is_presale", "priority", "deposit_amount", "deposit_paid_at", "promised_at", "balance_of_id",
)  # fmt: skip
_LINE_FIELDS: Final = (
    "id", "order_id", "line_no", "bundle_line_id", "channel_line_id", "platform_sku_id",
    "outer_code", "title", "sku_id", "bundle_id", "listing_version", "quantity", "unit_price",
    "amount", "is_gift", "gift_strategy", "is_dropped", "leaves", "refund_state",
)  # fmt: skip
_UPDATED: Final = (
    ("id", "bigint"), ("status", "text"), ("version", "int"), ("channel_status", "text"),
    ("channel_modified_at", "timestamptz"), ("refund_state", "text"), ("paid_amount", "numeric"),
    ("payable_amount", "numeric"), ("paid_at", "timestamptz"), ("province", "text"),
    ("city", "text"), ("district", "text"), ("receiver_masked", "text"),
    ("receiver_sealed", "bytea"), ("buyer_remark", "text"), ("seller_memo", "text"),
    ("priority", "smallint"),
    ("freight", "numeric"), ("deposit_amount", "numeric"), ("deposit_paid_at", "timestamptz"),
    ("promised_at", "timestamptz"), ("balance_of_id", "bigint"), ("has_gift", "boolean"),
    ("is_rush", "boolean"),
)  # fmt: skip


def load(order_ids: Collection[int], *, lock: bool = True) -> list[Work]:
    """Lock these orders in primary-key order and take them in hand with lines and open holds.

    Behind the shared lock of the gates, which comes before any other. Without ``lock`` they are
    for looking at only, and nobody is waited for.
    """
    if lock:
        gates.share()
    columns = ", ".join(_ORDER_FIELDS)
    locking = "FOR NO KEY UPDATE" if lock else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {columns} FROM orders_salesorder WHERE id = ANY(%s) "  # noqa: S608 - own columns
            f"ORDER BY id {locking}",
            [list(order_ids)],
        )
        works = [_from_row(row) for row in cursor.fetchall()]
        by_id = {work.id: work for work in works}
        _load_lines(cursor, by_id)
        cursor.execute(
            "SELECT order_id, kind, code, id FROM orders_orderhold "
            "WHERE order_id = ANY(%s) AND released_at IS NULL",
            [list(by_id)],
        )
        for order_id, kind, code, pk in cursor.fetchall():
            by_id[order_id].open_holds[kind, code] = pk
        cursor.execute(
            "SELECT order_id, buyer_key, device_key, phone_key, address_key, ip, address_shingles "
            "FROM orders_orderevidence WHERE order_id = ANY(%s)",
            [list(by_id)],
        )
        for order_id, buyer, device, phone, address, ip, told in cursor.fetchall():
            shingles = tuple(told) if told else None
            by_id[order_id].evidence = Evidence(buyer, device, phone, address, ip, shingles)
        cursor.execute(
            "SELECT r.order_id, array_agg(DISTINCT l.virtual_warehouse_id) "
            "FROM inventory_reservation r "
            "JOIN inventory_stocklevel l ON l.id = r.level_id "
            "WHERE r.order_id = ANY(%s) AND r.state = 'active' GROUP BY r.order_id",
            [list(by_id)],
        )
        for order_id, sources in cursor.fetchall():
            by_id[order_id].source_ids = tuple(sources)
    return works


def _from_row(row: Sequence[Any]) -> Work:
    values = dict(zip(_ORDER_FIELDS, row, strict=True))
    values["status"] = OrderStatus(values["status"])
    values["receiver_sealed"] = bytes(values["receiver_sealed"])
    return Work(**values)


def _load_lines(cursor: Any, by_id: Mapping[int, Work]) -> None:
    columns = ", ".join(_LINE_FIELDS)
    cursor.execute(
        f"SELECT {columns} FROM orders_orderline WHERE order_id = ANY(%s) "  # noqa: S608 - own columns
        "ORDER BY order_id, line_no",
        [list(by_id)],
    )
    for row in cursor.fetchall():
        values = dict(zip(_LINE_FIELDS, row, strict=True))
        by_id[values.pop("order_id")].lines.append(Line(**values))


def write(works: Sequence[Work], *, actor: Actor, now: datetime) -> dict[int, int]:
    """Write every touched order, its lines, holds and audit record; return the new versions.

    Reservations, verdicts, parcels and tasks are written by the apps that own them.
    """
    touched = [work for work in works if work.touched]
    for work in touched:
        work.version = 1 if work.fresh else work.version + 1
    _insert([work for work in touched if work.fresh])
    _update([work for work in touched if not work.fresh])
    _write_lines(touched)
    _close_holds(touched, actor=actor, now=now)
    _open_holds(touched, actor=actor, now=now)
    record_many((_entry(work) for work in touched), actor=actor, at=now)
    return {work.id: work.version for work in touched}


def _insert(works: Sequence[Work]) -> None:
    if not works:
        return
    copy_rows(
        SalesOrder, _ORDER_FIELDS, ([getattr(w, name) for name in _ORDER_FIELDS] for w in works)
    )
    copy_rows(
        OrderEvidence,
        ("order_id", "shop_id", "placed_at", "amount", "buyer_key", "device_key", "phone_key",
         "address_key", "ip", "address_shingles"),
        (
            (w.id, w.shop_id, w.placed_at, w.payable_amount, w.evidence.buyer, w.evidence.device,
             w.evidence.phone, w.evidence.address, w.evidence.ip,
             w.evidence.shingles and array_text(w.evidence.shingles))
            for w in works
        ),
    )  # fmt: skip


def _update(works: Sequence[Work]) -> None:
    matched = [w for w in works if w.rekeyed or "payable_amount" in w.changes]
    update_rows(
        "orders_orderevidence",
        [("order_id", "bigint"), ("amount", "numeric"), ("phone_key", "text"),
         ("address_key", "text")],
        [(w.id, w.payable_amount, w.evidence.phone, w.evidence.address) for w in matched],
    )  # fmt: skip
    _update_shingles([w for w in works if w.rekeyed])
    update_rows(
        "orders_salesorder",
        _UPDATED,
        [[getattr(work, name) for name, _ in _UPDATED] for work in works],
    )


def _update_shingles(works: Sequence[Work]) -> None:
    if not works:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE orders_orderevidence t SET address_shingles = v.told::bigint[] "
            "FROM unnest(%s::bigint[], %s::text[]) AS v(id, told) WHERE t.order_id = v.id",
            [
                [w.id for w in works],
                [w.evidence.shingles and array_text(w.evidence.shingles) for w in works],
            ],
        )


def _write_lines(works: Sequence[Work]) -> None:
    fresh = [(w.id, ln) for w in works for ln in w.lines if ln.fresh]
    if fresh:
        rest = [name for name in _LINE_FIELDS if name not in {"id", "order_id"}]
        copy_rows(
            OrderLine,
            _LINE_FIELDS,
            ([ln.id, order_id, *(getattr(ln, name) for name in rest)] for order_id, ln in fresh),
        )
    mapped = [ln for w in works for ln in w.lines if ln.mapped_now and not ln.fresh]
    update_rows(
        "orders_orderline",
        [("id", "bigint"), ("sku_id", "bigint"), ("bundle_id", "bigint"),
         ("listing_version", "int")],
        [(ln.id, ln.sku_id, ln.bundle_id, ln.listing_version) for ln in mapped],
    )  # fmt: skip
    priced = [ln for w in works for ln in w.lines if ln.priced_now and not ln.fresh]
    update_rows(
        "orders_orderline",
        [("id", "bigint"), ("unit_price", "numeric"), ("amount", "numeric")],
        [(ln.id, ln.unit_price, ln.amount) for ln in priced],
    )
    retold = [ln for w in works for ln in w.lines if ln.retold_now and not ln.fresh]
    update_rows(
        "orders_orderline",
        [("id", "bigint"), ("channel_line_id", "text"), ("quantity", "int"),
         ("unit_price", "numeric"), ("amount", "numeric")],
        [(ln.id, ln.channel_line_id, ln.quantity, ln.unit_price, ln.amount) for ln in retold],
    )  # fmt: skip
    dropped = [ln for w in works for ln in w.lines if ln.dropped_now and not ln.fresh]
    update_rows(
        "orders_orderline",
        [("id", "bigint"), ("is_dropped", "boolean"), ("gift_strategy", "text"),
         ("leaves", "text")],
        [(ln.id, ln.is_dropped, ln.gift_strategy, ln.leaves) for ln in dropped],
    )  # fmt: skip


def _open_holds(works: Iterable[Work], *, actor: Actor, now: datetime) -> None:
    placed_by = dumps(actor.facts())
    copy_rows(
        OrderHold,
        ("order_id", "kind", "code", "tier", "words", "evidence", "disposition", "placed_by",
         "opened_at", "opened_version", "asked_by", "released_by", "release_reason",
         "interception_id"),
        (
            (w.id, d.kind.value, d.code, d.tier, d.words[:500], dumps(d.evidence),
             d.disposition.value, placed_by, now, w.version, "", "", "", d.interception_id)
            for w in works
            for d in w.opening.values()
        ),
    )  # fmt: skip


def _close_holds(works: Iterable[Work], *, actor: Actor, now: datetime) -> None:
    closing = [(w, key, reason) for w in works for key, reason in w.closing.items()]
    update_rows(
        "orders_orderhold",
        [("id", "bigint"), ("released_at", "timestamptz"), ("released_by", "text"),
         ("release_reason", "text"), ("closed_version", "int")],
        [
            (w.open_holds[key], now, f"{actor.kind}:{actor.id}"[:64], reason[:500], w.version)
            for w, key, reason in closing
        ],
        where="t.released_at IS NULL",
    )  # fmt: skip


def _entry(work: Work) -> Entry:
    """The record of this pass: statuses passed, fields changed, holds opened and closed.

    Receiver fields are named, never shown.
    """
    change: dict[str, Any] = {"status": work.passed or [work.status.value]}
    if work.fresh:
        change["status"] = [None, *(work.passed or [work.status.value])]
    for name, pair in work.changes.items():
        change[name] = "***" if name.startswith("receiver") else pair
    if work.gifts:
        change["gifts"] = work.gifts
    if work.flags:
        change["flags"] = work.flags
    if work.opening:
        change["held"] = [f"{kind}:{code}" for kind, code in work.opening]
    if work.closing:
        change["released"] = [f"{kind}:{code}" for kind, code in work.closing]
    if work.judgement:
        change["tier"] = work.judgement.tier
        change["rules"] = work.judgement.rule_set_version
    if OrderStatus.ROUTED in work.passed:
        change["auto"] = ["first_review", "finance_check"]
    action = Action.ORDER_TAKEN if work.fresh else work.action
    return Entry(action, "order", work.id, change, work.reason, work.version)


def new_lines(count: int) -> list[int]:
    return next_ids(OrderLine, count)


def by_shop(works: Iterable[Work]) -> dict[int, list[Work]]:
    found: dict[int, list[Work]] = defaultdict(list)
    for work in works:
        found[work.shop_id].append(work)
    return found
