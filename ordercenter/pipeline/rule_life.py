"""What the rules that are live now mean for the orders that are inside already.

``preview`` says which open orders would be held and which held ones would not be any more, and
changes nothing. ``apply_inside`` judges every open order again, batch by batch on the path: new
findings open holds like any others. A hold whose rule does not hit any more is not lifted
silently: it stands in ``no_longer_hit`` for a person to release, except those of the rules that
were ticked; these are released in the name of whoever ticked them. Tier 3 never is.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser, User
from django.db import connection
from django.db.models import QuerySet
from django_q.tasks import async_task

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.catalog.selectors import Shelf
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Can, require
from ordercenter.core.readonly import read_only
from ordercenter.orders.errors import RuleAuthor
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import OPEN, HoldKind, OrderStatus, Tier
from ordercenter.pipeline import screening, updates
from ordercenter.pipeline.path import take
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.work import Work, load
from risk.language import Program
from risk.models import RuleSet
from risk.separation import author_of_live_change_today
from risk.services import judged
from risk.set_rows import checked_reason, keep
from risk.sets import live_program

BATCH: Final = 200
JUDGED: Final = tuple(sorted(status.value for status in OPEN - {OrderStatus.RECEIVED}))
"""Statuses in which an order is judged."""
EXAMPLES: Final = 20
TOLD_EVERY: Final = 10
"""Batches between two records of how far it has come."""
Progress = Callable[[int, int], None]
"""Called after each batch with (done, of all)."""


@dataclass
class Effect:
    """What would become of one rule's holds."""

    code: str
    orders: int = 0
    value: Decimal = Decimal(0)
    """Payable of these orders."""
    examples: list[str] = field(default_factory=list)
    """Numbers of the first of them."""

    def count(self, number: str, amount: Decimal) -> None:
        self.orders += 1
        self.value += amount
        if len(self.examples) < EXAMPLES:
            self.examples.append(number)


@dataclass
class Preview:
    """What judging every open order by the live rules would come to."""

    version: int
    orders: int = 0
    """Open orders looked at."""
    newly_held: int = 0
    """Orders that would get a hold and have none of a rule now."""
    held_value: Decimal = Decimal(0)
    gains: dict[str, Effect] = field(default_factory=dict)
    losses: dict[str, Effect] = field(default_factory=dict)


@dataclass
class Applied:
    """What judging every open order again came to."""

    version: int
    orders: int = 0
    opened: int = 0
    released: int = 0
    proposed: int = 0
    """Holds whose rule does not hit any more and that wait for a person."""


def open_count() -> int:
    """How many orders the live rules would be applied to."""
    return _open_orders().count()


def preview(*, most: int | None = None, progress: Progress | None = None) -> Preview:
    """Judge the open orders (the oldest ``most`` of them) by the live rules without a lock.

    Changes nothing.
    """
    program = live_program()
    found = Preview(program.version)
    total = open_count()
    for ids in batches(_open_orders()):
        if most is not None and found.orders >= most:
            break
        with read_only():
            works = load(ids, lock=False)
            look(works, program, found)
        found.orders += len(works)
        if progress:
            progress(found.orders, total)
    return found


def look(works: Sequence[Work], program: Program, found: Preview) -> None:
    """Count in ``found`` what judging these orders would come to. Changes nothing."""
    if not works:
        return
    subjects = screening.subjects_of(works, program, Shelf.for_codes(set()))
    stored = [work.id for work in works]
    judgements = judged(subjects, program, now=clock_now(), stored=stored)
    for work, judgement in zip(works, judgements, strict=True):
        work.judgement = judgement
    opening = screening.stops_of(works)
    for work in works:
        held = {code for kind, code in work.open_holds if kind == HoldKind.RULE}
        fresh = {draft.code for draft in opening.get(work.id, ())} - held
        for code in fresh:
            found.gains.setdefault(code, Effect(code)).count(work.number, work.payable_amount)
        for code in held - _hit(work):
            found.losses.setdefault(code, Effect(code)).count(work.number, work.payable_amount)
        if fresh and not held:
            found.newly_held += 1
            found.held_value += work.payable_amount


def apply_inside(
    *,
    user: AbstractBaseUser,
    reason: str,
    release: Collection[str] = (),
    actor: Actor | None = None,
    progress: Progress | None = None,
    now: datetime | None = None,
) -> Applied:
    """Judge every open order again by the live rules, in batches of one transaction each.

    Holds of the rules in ``release`` that do not hit any more are released by ``user``; raises
    RuleAuthor where he changed one of them today. Safe to repeat, and to stop and begin again.
    """
    require(user, Can.EDIT_RULES)
    reason, who = _may_apply(user, reason, release), actor or Actor.person(user)
    program = live_program()
    done = Applied(program.version)
    total = open_count()
    row = RuleSet.objects.filter(version=program.version).first()
    put_on_record(row, who, {"inside": "begun", "of": total, "release": sorted(release)}, reason)
    for number, ids in enumerate(batches(_open_orders()), 1):
        with telling_stock():
            at = now or clock_now()
            works = judge_again(ids, program.version, who, now=at)
            done.opened += sum(1 for work in works for key in work.opening if _is_rule(key))
            done.released += _release(works, frozenset(release), who, reason, now=at)
        done.orders += len(ids)
        if progress:
            progress(done.orders, total)
        if number % TOLD_EVERY == 0:
            put_on_record(row, who, {"inside": "going", "done": done.orders, "of": total}, reason)
    done.proposed = no_longer_hit().count()
    came = {"orders": done.orders, "opened": done.opened, "released": done.released}
    put_on_record(row, who, {"inside": "done", **came, "proposed": done.proposed}, reason)
    return done


def ask_inside(
    *,
    user: AbstractBaseUser,
    reason: str,
    release: Collection[str] = (),
    actor: Actor | None = None,
) -> None:
    """Have a worker do what ``apply_inside`` does; refused at once for the same reasons."""
    reason = _may_apply(user, reason, release)
    version = live_program().version
    row = RuleSet.objects.filter(version=version).first()
    with telling_stock():
        asked = {"inside": "asked", "of": open_count(), "release": sorted(release)}
        put_on_record(row, actor or Actor.person(user), asked, reason)
        async_task(
            "ordercenter.pipeline.tasks.apply_rules", user.pk, version, reason, sorted(release),
            q_options={"save": False},
        )  # fmt: skip


def apply_asked(user_id: int, version: int, reason: str, release: Collection[str]) -> str:
    """The worker's part of ``ask_inside``, with the rights the asker has by now.

    A set that is not live any more is not applied.
    """
    user = User.objects.get(pk=user_id, is_active=True)
    if live_program().version != version:
        return f"rule set v{version} is not live any more"
    done = apply_inside(user=user, reason=reason, release=release)
    return f"{done.orders} orders judged again, {done.opened} holds opened"


def _may_apply(user: AbstractBaseUser, reason: str, release: Collection[str]) -> str:
    """The reason, checked; raises where this person may not."""
    require(user, Can.EDIT_RULES)
    if release:
        require(user, Can.REVIEW)
        if own := author_of_live_change_today(user, release):
            raise RuleAuthor(rules="、".join(sorted(own)))
    return checked_reason(reason)


def judge_again(ids: Collection[int], version: int, who: Actor, *, now: datetime) -> Sequence[Work]:
    """Take these orders along the path once more, judged by the live rules."""
    works = [work for work in load(ids) if work.status.value in JUDGED]
    for work in works:
        work.must_judge, work.reason = True, f"按规则集 v{version} 重新判定"
    take(works, actor=who, now=now)
    updates.follow_up([work for work in works if work.touched], actor=who, now=now)
    return works


def _release(
    judged: Sequence[Work], codes: Collection[str], who: Actor, reason: str, *, now: datetime
) -> int:
    """Lift the holds of ticked rules that do not hit any more; not one of tier 3."""
    lost = {
        work.id: {code for kind, code in work.open_holds if kind == HoldKind.RULE and code in codes}
        - _hit(work)
        for work in judged
    }
    wanted = [order_id for order_id, found in lost.items() if found]
    if not wanted:
        return 0
    frozen = set(
        OrderHold.objects.open()
        .filter(order__in=wanted, kind=HoldKind.RULE, tier=Tier.FREEZE)
        .values_list("order_id", "code")
    )
    works = load(wanted)
    released = 0
    for work in works:
        for key in work.open_holds:
            if _is_rule(key) and key[1] in lost[work.id] and (work.id, key[1]) not in frozen:
                work.closing[key] = reason
                released += 1
        work.action, work.reason = Action.HOLD_RELEASED, reason
    take([work for work in works if work.closing], actor=who, now=now)
    return released


def no_longer_hit(*, codes: Collection[str] = ()) -> QuerySet[OrderHold]:
    """Open holds of rules that the order's last verdict, by the live rules, does not hit.

    What a person may release in bulk from the wall; the oldest first.
    """
    version = live_program().version
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT h.id FROM orders_orderhold h CROSS JOIN LATERAL ("
            "SELECT v.rule_set_version, v.findings FROM risk_verdict v "
            "WHERE v.order_id = h.order_id ORDER BY v.id DESC LIMIT 1) v "
            "WHERE h.kind = 'rule' AND h.released_at IS NULL AND v.rule_set_version = %s "
            "AND NOT v.findings @> jsonb_build_array(jsonb_build_object("
            "'code', h.code, 'hit', true))",
            [version],
        )
        ids = [row[0] for row in cursor.fetchall()]
    found = OrderHold.objects.open().filter(pk__in=ids)
    if codes:
        found = found.filter(code__in=codes)
    return found.select_related("order").defer("order__receiver_sealed").order_by("opened_at")


def last_run(row: RuleSet) -> Mapping[str, Any] | None:
    """What the record says of the last time this set was applied inside; None for never."""
    found = AuditRecord.objects.filter(
        object_type="rule_set", object_id=row.pk, change__has_key="inside"
    ).order_by("-pk")
    return found.values_list("change", flat=True).first()


def _hit(work: Work) -> set[str]:
    assert work.judgement is not None
    return {one.code for one in work.judgement.hits}


def _is_rule(key: tuple[str, str]) -> bool:
    return key[0] == HoldKind.RULE


def _open_orders() -> QuerySet[SalesOrder]:
    return SalesOrder.objects.filter(status__in=JUDGED)


def batches(orders: QuerySet[SalesOrder]) -> Iterator[list[int]]:
    """Keys of these orders, by key; of the open ones, what comes in meanwhile is judged then."""
    last = 0
    while True:
        rows = orders.filter(pk__gt=last).order_by("pk")
        ids = list(rows.values_list("pk", flat=True)[:BATCH])
        if not ids:
            return
        yield ids
        last = ids[-1]


def put_on_record(row: RuleSet | None, who: Actor, change: Mapping[str, Any], reason: str) -> None:
    """On the record of the set; the shipped set has no row to hang it on."""
    if row is None:
        return
    with telling_stock():
        keep(row, who, change, reason=reason)
