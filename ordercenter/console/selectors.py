"""What the pages show, read in few questions however long the queue is."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, Min, Q

from fulfillment.models import Parcel
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.policy import AnyUser, Can, allows, sees_all
from ordercenter.orders.models import OrderHold, OrderHoldQuerySet, OrderLine, SalesOrder
from ordercenter.orders.states import (
    OPEN,
    SELF_CLEARING,
    Disposition,
    HoldKind,
    OrderStatus,
    Tier,
)
from ordercenter.pipeline.claims import Claim, claims_of
from ordercenter.pipeline.deadlines import promise_of
from risk.defaults import default_rules
from risk.models import RuleSet, Verdict

ORDER: Final = "order"
"""What the audit calls an order."""

MOST_RELATED: Final = 12

RELEASABLE: Final = frozenset(HoldKind) - SELF_CLEARING - {HoldKind.PAYMENT}
"""Kinds a reviewer's word may end (up to tier 2); payment waits for finance."""

ELSEWHERE: Final = (Disposition.RETURNED, Disposition.AFTER_SALES, Disposition.ESCALATED)


def open_holds(user: AnyUser) -> OrderHoldQuerySet:
    """The open holds of the orders this user may know of."""
    holds = OrderHold.objects.open()
    if sees_all(user):
        return holds
    return holds.filter(order__in=SalesOrder.objects.visible_to(user))


@dataclass(frozen=True, slots=True)
class Line:
    pk: int
    title: str
    code: str
    quantity: int
    amount: Any
    is_gift: bool


@dataclass(frozen=True, slots=True)
class Check:
    """What one rule saw of an order, beside its limit."""

    code: str
    name: str
    hit: bool
    tier: str
    words: str
    seen: str
    limit: str


@dataclass(slots=True)
class Card:
    """One order on the wall, with why it is held and what this user may do about it."""

    order: SalesOrder
    holds: list[OrderHold]
    lines: list[Line] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    related: list[str] = field(default_factory=list)
    related_more: int = 0
    offer: "Offer | None" = None
    claim: Claim | None = None
    """Who has it in hand, if anybody."""
    is_mine: bool = False

    @property
    def is_taken(self) -> bool:
        """Whether somebody else has it in hand."""
        return self.claim is not None and not self.is_mine

    @property
    def due_at(self) -> datetime:
        """By when the order is promised to leave."""
        return promise_of(self.order)

    @property
    def tier(self) -> str:
        return max((hold.tier for hold in self.holds), default=Tier.TAG.value)

    @property
    def tier_label(self) -> str:
        return str(Tier(self.tier).label)

    @property
    def held_since(self) -> datetime | None:
        return min((hold.opened_at for hold in self.holds), default=None)


@dataclass(frozen=True, slots=True)
class Offer:
    """What this user may decide about an order as it stands. The services check again."""

    release: tuple[int, ...] = ()
    """The holds a release would end."""
    ask: bool = False
    send_away: bool = False
    cancel: bool = False
    freeze: bool = False
    map_goods: bool = False
    """The codes wait for somebody to tie them to our SKUs; this user may."""
    left_over: tuple[str, ...] = ()
    """Reasons that would stay after a release."""

    @property
    def verbs(self) -> frozenset[str]:
        """The decisions this user may take, as the forms name them."""
        away = ("return", "after_sales") if self.send_away else ()
        named = (("release", self.release), ("ask", self.ask), ("cancel", self.cancel))
        return frozenset((*away, *(verb for verb, may in named if may)))

    @property
    def any(self) -> bool:
        return bool(self.release or self.ask or self.send_away or self.cancel)


def offer(user: AnyUser, order: SalesOrder, holds: Sequence[OrderHold]) -> Offer:
    """Work out which buttons a user gets."""
    release = tuple(hold.pk for hold in holds if _may_release(user, hold))
    judged = [hold for hold in holds if HoldKind(hold.kind) in RELEASABLE]
    return Offer(
        release=release,
        ask=allows(user, Can.ASK_TIER3)
        and any(
            hold.tier == Tier.FREEZE and hold.disposition != Disposition.ESCALATED
            for hold in judged
        ),
        send_away=allows(user, Can.REVIEW) and bool(judged),
        cancel=allows(user, Can.CANCEL)
        and OrderStatus(order.status) in OPEN
        and all(hold.tier != Tier.FREEZE for hold in holds),
        freeze=allows(user, Can.FREEZE) and OrderStatus(order.status) in OPEN,
        map_goods=allows(user, Can.EDIT_MAPPING)
        and any(hold.kind == HoldKind.UNMAPPED for hold in holds),
        left_over=tuple(hold.words for hold in holds if hold.pk not in release),
    )


def _may_release(user: AnyUser, hold: OrderHold) -> bool:
    if hold.kind == HoldKind.PAYMENT:
        return allows(user, Can.RELEASE_PAYMENT)
    return (
        HoldKind(hold.kind) in RELEASABLE and hold.tier <= Tier.REVIEW and allows(user, Can.REVIEW)
    )


def cards(user: AnyUser, order_ids: Sequence[int]) -> list[Card]:
    """The cards of these orders in this order. Seven questions however many there are."""
    orders = {
        order.pk: order
        for order in SalesOrder.objects.filter(pk__in=order_ids)
        .select_related("shop")
        .defer("receiver_sealed")
    }
    holds = _by_order(
        OrderHold.objects.open().filter(order_id__in=order_ids).order_by("-tier", "opened_at")
    )
    lines = lines_by_order(order_ids)
    checks = checks_by_order(order_ids)
    related = {order_id: _cluster(holds[order_id], order_id) for order_id in order_ids}
    numbers = numbers_of(user, {other for ids in related.values() for other in ids})
    claims = claims_of(order_ids)
    found = []
    for order_id in order_ids:
        if order_id not in orders:
            continue
        order, mine = orders[order_id], holds[order_id]
        others = [numbers[other] for other in related[order_id] if other in numbers]
        found.append(
            Card(
                order=order,
                holds=mine,
                lines=lines[order_id],
                checks=[one for one in checks[order_id] if one.hit and one.tier != Tier.FILL],
                related=others[:MOST_RELATED],
                related_more=max(0, len(others) - MOST_RELATED),
                offer=offer(user, order, mine),
                claim=(claim := claims.get(order_id)),
                is_mine=claim is not None and claim.user_id == user.pk,
            )
        )
    return found


def _by_order(holds: Iterable[OrderHold]) -> Mapping[int, list[OrderHold]]:
    found: defaultdict[int, list[OrderHold]] = defaultdict(list)
    for hold in holds:
        found[hold.order_id].append(hold)
    return found


def _cluster(holds: Iterable[OrderHold], own: int) -> list[int]:
    """The other orders a hold was counted from, each once."""
    ids: dict[int, None] = {}
    for hold in holds:
        told = hold.evidence.get("orders", []) if isinstance(hold.evidence, dict) else []
        ids.update(dict.fromkeys(n for n in told if isinstance(n, int) and n != own))
    return list(ids)[:100]


def numbers_of(user: AnyUser, order_ids: Collection[int]) -> dict[int, str]:
    """The numbers of those of the orders that this user may know of."""
    if not order_ids:
        return {}
    rows = SalesOrder.objects.visible_to(user).filter(pk__in=order_ids)
    return dict(rows.values_list("pk", "number"))


def lines_by_order(order_ids: Collection[int]) -> Mapping[int, list[Line]]:
    """What was bought, as the shop sold it: bundles whole, their parts left out."""
    found: defaultdict[int, list[Line]] = defaultdict(list)
    rows = (
        OrderLine.objects.filter(order_id__in=order_ids, bundle_line=None)
        .select_related("sku", "bundle")
        .order_by("order_id", "line_no")
    )
    for row in rows:
        goods = row.sku or row.bundle
        code = goods.code if goods else row.outer_code or row.platform_sku_id
        found[row.order_id].append(
            Line(row.pk, row.title, code, row.quantity, row.amount, row.is_gift)
        )
    return found


def checks_by_order(order_ids: Collection[int]) -> Mapping[int, list[Check]]:
    """The findings of each order's last verdict, with the names its rule set gave them."""
    last = list(
        Verdict.objects.filter(order_id__in=order_ids)
        .order_by("order_id", "-pk")
        .distinct("order_id")
        .values_list("order_id", "rule_set_version", "findings")
    )
    names = _rule_names({version for _, version, _ in last})
    found: defaultdict[int, list[Check]] = defaultdict(list)
    for order_id, version, findings in last:
        found[order_id] = [_check(finding, names.get(version, {})) for finding in findings]
    return found


def _check(finding: Mapping[str, Any], names: Mapping[str, str]) -> Check:
    code = str(finding.get("code", ""))
    return Check(
        code=code,
        name=names.get(code, code),
        hit=bool(finding.get("hit")),
        tier=str(finding.get("tier", "")),
        words=str(finding.get("words", "")),
        seen="；".join(str(part) for part in finding.get("seen", ())),
        limit="；".join(str(part) for part in finding.get("limit", ())),
    )


def _rule_names(versions: set[int]) -> dict[int, dict[str, str]]:
    if not versions:
        return {}
    sets = dict(RuleSet.objects.filter(version__in=versions).values_list("version", "rules"))
    if 0 in versions:
        sets.setdefault(0, default_rules())
    return {
        version: {rule.get("code", ""): rule.get("name", "") for rule in rules}
        for version, rules in sets.items()
    }


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked for a frozen order to be let go, when and why."""

    by_id: str
    by: str
    at: datetime
    reason: str


def asked_for(order_ids: Collection[int]) -> dict[int, Asked]:
    """The last request for each order, from the audit."""
    rows = (
        AuditRecord.objects.filter(
            object_type=ORDER, object_id__in=order_ids, action=Action.RELEASE_ASKED
        )
        .order_by("object_id", "-pk")
        .distinct("object_id")
    )
    return {
        row.object_id: Asked(row.actor_id, row.actor_name, row.created_at, row.reason)
        for row in rows
    }


def frozen(user: AnyUser, *, limit: int = 100) -> list[Card]:
    """Orders with an open tier-3 hold: those asked for first, then the oldest."""
    rows = (
        open_holds(user)
        .filter(tier=Tier.FREEZE)
        .values("order_id")
        .annotate(
            asked=Count("pk", filter=Q(disposition=Disposition.ESCALATED)), first=Min("opened_at")
        )
        .order_by("-asked", "first", "order_id")
        .values_list("order_id", flat=True)
    )
    return cards(user, list(rows[:limit]))


@dataclass(frozen=True, slots=True)
class Decided:
    """What happened to an order after somebody's page was drawn."""

    what: str
    who: str
    at: datetime


def since(order_id: int, version: int) -> list[Decided]:
    """Who changed what after ``version``, the latest first."""
    rows = AuditRecord.objects.filter(
        object_type=ORDER, object_id=order_id, version__gt=version
    ).order_by("-version")[:10]
    return [Decided(row.get_action_display(), row.actor_name, row.created_at) for row in rows]


def parcels_of(order_id: int) -> list[Parcel]:
    """The parcels of an order with their goods, waybills, traces and stops."""
    return list(
        Parcel.objects.filter(order_id=order_id)
        .select_related("warehouse")
        .prefetch_related("parcel_lines__sku", "waybills__traces", "stops")
        .order_by("pk")
    )
