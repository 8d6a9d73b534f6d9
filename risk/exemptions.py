"""Customers whom people trust: one rule, or every rule of tier 2, lets them pass for a while.

An exemption is decided on an order and holds for what that order was recognized by. Tier 3 is
never exempt, and a rule that could not be judged still asks for review. Whoever stands on a list
of trusted customers is exempt from every rule of tier 2.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction
from django.db.models import QuerySet

from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.policy import Can, require
from ordercenter.orders.models import OrderEvidence
from risk.contracts import Subject
from risk.listing import OF_ORDERS
from risk.models import Exemption, RuleList
from risk.set_rows import checked_reason

LONGEST: Final = timedelta(days=180)
EVERY_RULE: Final = ""
"""In place of a rule's code: every rule of tier 2."""
EXEMPTION: Final = "exemption"
KEYS: Final = tuple(OF_ORDERS)
# What an exemption or an entry of a trusted list says of the values of a batch, in one statement.
_OPEN: Final = """
    SELECT key, value, rule_code FROM risk_exemption
    WHERE ended_at IS NULL AND value = ANY(%(values)s)
      AND made_at <= %(at)s AND expires_at > %(at)s
    UNION ALL
    SELECT l.key, e.value, '' FROM risk_rulelistentry e
    JOIN risk_rulelist l ON l.id = e.rule_list_id AND l.kind = 'trusted'
    WHERE e.value = ANY(%(values)s) AND e.added_at <= %(at)s
      AND (e.removed_at IS NULL OR e.removed_at > %(at)s)
      AND (e.expires_at IS NULL OR e.expires_at > %(at)s)
"""
# The same for stored orders, each as of the moment it came.
_THEN: Final = """
    WITH found AS (
        SELECT o.id, o.received_at AS at, k.key, k.value
        FROM orders_salesorder o JOIN orders_orderevidence v ON v.order_id = o.id
        CROSS JOIN LATERAL (VALUES ('buyer', v.buyer_key), ('device', v.device_key),
            ('phone', v.phone_key), ('address', v.address_key), ('ip', v.ip)) AS k(key, value)
        WHERE o.id = ANY(%(orders)s) AND k.value <> ''
    )
    SELECT f.id, e.rule_code FROM found f
    JOIN risk_exemption e ON e.key = f.key AND e.value = f.value
     AND e.made_at <= f.at AND e.expires_at > f.at AND (e.ended_at IS NULL OR e.ended_at > f.at)
    UNION
    SELECT f.id, '' FROM found f
    JOIN risk_rulelistentry e ON e.value = f.value AND e.added_at <= f.at
     AND (e.removed_at IS NULL OR e.removed_at > f.at)
     AND (e.expires_at IS NULL OR e.expires_at > f.at)
    JOIN risk_rulelist l ON l.id = e.rule_list_id AND l.kind = 'trusted' AND l.key = f.key
"""


@transaction.atomic
def exempt(
    order_id: int,
    *,
    key: str,
    until: datetime,
    reason: str,
    user: AbstractBaseUser,
    rule_code: str = EVERY_RULE,
    actor: Actor | None = None,
    now: datetime | None = None,
) -> Exemption:
    """Let the customer behind an order pass until a moment, 180 days from now at most.

    ``key`` says by what he is recognized (buyer, phone, address, device, ip); an order that has
    no such key is refused. The same again moves the end. Callers see to it that the user may
    know of the order. Right: EDIT_LISTS.
    """
    require(user, Can.EDIT_LISTS)
    reason, now = checked_reason(reason), now or clock_now()
    who = actor or Actor.person(user)
    if not now < until <= now + LONGEST:
        raise InvalidInput(what=f"豁免须在 {LONGEST.days} 天内到期")
    value = _value(order_id, key)
    old = Exemption.objects.select_for_update(no_key=True).filter(
        key=key, value=value, rule_code=rule_code, ended_at=None
    )
    for one in old:
        _end(one, who, "改期", now=now)
    made = Exemption.objects.create(
        key=key, value=value, shown=str(RuleList.Key(key).label), rule_code=rule_code,
        reason=reason, order_id=order_id, made_by=who.name[:64], made_at=now, expires_at=until,
    )  # fmt: skip
    record(
        Action.EXEMPTION_MADE, object_type=EXEMPTION, object_id=made.pk, actor=who, reason=reason,
        change={"order": order_id, "key": key, "rule": rule_code or "*",
                "expires_at": [None, until.isoformat()]},
    )  # fmt: skip
    return made


@transaction.atomic
def end_exemption(
    pk: int,
    *,
    user: AbstractBaseUser,
    reason: str,
    actor: Actor | None = None,
    now: datetime | None = None,
) -> Exemption:
    """Trust no longer. A second time changes nothing. Right: EDIT_LISTS."""
    require(user, Can.EDIT_LISTS)
    reason = checked_reason(reason)
    one = Exemption.objects.select_for_update(no_key=True).filter(pk=pk).first()
    if one is None:
        raise NotFound(what=f"豁免 {pk}")
    if one.ended_at is None:
        _end(one, actor or Actor.person(user), reason, now=now or clock_now())
    return one


def exempt_orders(subjects: Sequence[Subject], at: datetime) -> dict[int, frozenset[str]]:
    """What each order of a batch is exempt from at a moment: codes of rules, "" for all.

    Orders that are exempt from nothing are left out. One statement, whatever the batch.
    """
    values: dict[tuple[str, str], list[int]] = defaultdict(list)
    for subject in subjects:
        for key in KEYS:
            if value := subject.key(key.value):
                values[key.value, value].append(subject.order_id)
    if not values:
        return {}
    found: dict[int, set[str]] = defaultdict(set)
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, {"values": list({value for _, value in values}), "at": at})
        for key, value, rule_code in cursor.fetchall():
            for order_id in values.get((key, value), ()):
                found[order_id].add(rule_code)
    return {order_id: frozenset(codes) for order_id, codes in found.items()}


def exempt_then(order_ids: Sequence[int]) -> dict[int, frozenset[str]]:
    """What stored orders were exempt from when each of them came, as ``exempt_orders`` says it."""
    found: dict[int, set[str]] = defaultdict(set)
    with connection.cursor() as cursor:
        cursor.execute(_THEN, {"orders": list(order_ids)})
        for order_id, rule_code in cursor.fetchall():
            found[order_id].add(rule_code)
    return {order_id: frozenset(codes) for order_id, codes in found.items()}


def is_exempt(exempt_from: Mapping[int, frozenset[str]], order_id: int, rule_code: str) -> bool:
    """Whether a hit of tier 2 of this rule stops this order not."""
    return not exempt_from.get(order_id, frozenset()).isdisjoint({EVERY_RULE, rule_code})


def open_exemptions(*, at: datetime | None = None) -> QuerySet[Exemption]:
    """The central list: whom anybody trusts now; those that end first come first."""
    at = at or clock_now()
    standing = Exemption.objects.filter(ended_at=None, expires_at__gt=at, made_at__lte=at)
    return standing.select_related("order").defer("order__receiver_sealed").order_by("expires_at")


def _value(order_id: int, key: str) -> str:
    if key not in {one.value for one in KEYS}:
        raise InvalidInput(what="请选择按什么识别这位买家")
    column = OF_ORDERS[RuleList.Key(key)]
    value: str | None = (
        OrderEvidence.objects.filter(order=order_id).values_list(column, flat=True).first()
    )
    if not value:
        label = RuleList.Key(key).label
        raise InvalidInput(what=f"这张订单没有{label}可用，请换一种识别方式")
    return value


def _end(one: Exemption, who: Actor, reason: str, *, now: datetime) -> None:
    one.ended_at, one.ended_by = now, who.name[:64]
    one.save(update_fields=["ended_at", "ended_by"])
    record(
        Action.EXEMPTION_ENDED, object_type=EXEMPTION, object_id=one.pk, actor=who, reason=reason,
        change={"order": one.order_id, "rule": one.rule_code or "*"},
    )  # fmt: skip
