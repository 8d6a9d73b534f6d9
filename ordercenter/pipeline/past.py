"""Orders of the past that were read in afterwards, judged because somebody asks for it.

What was over before it came is judged at arrival for the record alone, and nothing counts: no
rule fires on back-filled history. Asked to, the live rules judge a stretch of a shop's orders as
if they had come in turn. Of those that are over the findings count in their new verdict, and
nothing else changes; of those still open here holds follow, as ``rule_life`` opens them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser, User
from django.db.models import QuerySet
from django_q.tasks import async_task

from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Shop
from ordercenter.catalog.selectors import Shelf
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Can, require
from ordercenter.core.readonly import read_only
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import HoldKind
from ordercenter.pipeline import rule_life, screening
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.rule_life import JUDGED, Effect, Preview
from ordercenter.pipeline.work import Work, load
from risk import services as risk
from risk.contracts import Judgement
from risk.language import Program
from risk.models import RuleSet
from risk.set_rows import RULE_SET, checked_reason
from risk.sets import live_program

RECORD: Final = "past"
"""What the record of the rule set calls it."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The orders of one shop placed from ``since`` to before ``until``."""

    shop: Shop
    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        if not self.since < self.until:
            raise InvalidInput(what="开始时间要早于结束时间")

    def orders(self) -> QuerySet[SalesOrder]:
        return SalesOrder.objects.filter(
            shop=self.shop, placed_at__gte=self.since, placed_at__lt=self.until
        )


@dataclass
class Past:
    """What judging a stretch comes to, or came to."""

    version: int
    over: int = 0
    """Orders judged for the record."""
    still_open: int = 0
    left_out: int = 0
    """Orders whose goods are not mapped: no rule can see them."""
    hits: dict[str, Effect] = field(default_factory=dict)
    """By rule, of the orders that are over."""
    opened: int = 0
    """Open orders that would get a hold and have none of a rule; applied: holds opened."""


def preview(stretch: Stretch, *, most: int | None = None) -> Past:
    """Judge the stretch (the oldest ``most`` of it) without a lock. Changes nothing."""
    program = live_program()
    found, inside = Past(program.version), Preview(program.version)
    for ids in rule_life.batches(stretch.orders()):
        if most is not None and found.over + found.still_open + found.left_out >= most:
            break
        with read_only():
            over, still_open = _parted(load(ids, lock=False), found)
            _count(over, _judged(over, program), found)
            rule_life.look(still_open, program, inside)
    found.opened = inside.newly_held
    return found


def apply(stretch: Stretch, *, user: AbstractBaseUser, reason: str) -> Past:
    """Judge the stretch, in batches of one transaction each. Right: EDIT_RULES.

    Safe to repeat: an order that is over gets one more verdict, one still open no second hold.
    """
    require(user, Can.EDIT_RULES)
    reason, who = checked_reason(reason), Actor.person(user)
    program = live_program()
    found = Past(program.version)
    row = RuleSet.objects.filter(version=program.version).first()
    told = {"shop": stretch.shop.code, "since": stretch.since.isoformat(),
            "until": stretch.until.isoformat()}  # fmt: skip
    rule_life.put_on_record(row, who, {RECORD: "begun", **told}, reason)
    for ids in rule_life.batches(stretch.orders()):
        with telling_stock():
            over, still_open = _parted(load(ids), found)
            judgements = _judged(over, program)
            _count(over, judgements, found)
            now = clock_now()
            risk.keep_verdicts(judgements, versions={w.id: w.version for w in over}, now=now)
            again = rule_life.judge_again([w.id for w in still_open], program.version, who, now=now)
            found.opened += sum(
                1 for work in again for kind, _ in work.opening if kind == HoldKind.RULE
            )
    done: dict[str, Any] = {"over": found.over, "open": found.still_open, "opened": found.opened}
    rule_life.put_on_record(row, who, {RECORD: "done", **told, **done}, reason)
    return found


def ask(stretch: Stretch, *, user: AbstractBaseUser, reason: str) -> None:
    """Have a worker do what ``apply`` does; refused at once for the same reasons."""
    require(user, Can.EDIT_RULES)
    span = [stretch.since.isoformat(), stretch.until.isoformat()]
    with telling_stock():
        async_task(
            "ordercenter.pipeline.tasks.judge_past", user.pk, stretch.shop.pk, span,
            live_program().version, checked_reason(reason), q_options={"save": False},
        )  # fmt: skip


def apply_asked(user_id: int, shop_id: int, span: Sequence[str], version: int, reason: str) -> str:
    """The worker's part of ``ask``, with the rights the asker has by now.

    By a set that is not live any more nothing is judged.
    """
    if live_program().version != version:
        return f"rule set v{version} is not live any more"
    user = User.objects.get(pk=user_id, is_active=True)
    since, until = map(datetime.fromisoformat, span)
    stretch = Stretch(Shop.objects.get(pk=shop_id), since, until)
    done = apply(stretch, user=user, reason=reason)
    return f"{done.over} past orders judged, {done.opened} holds opened"


def last_run(version: int) -> Mapping[str, Any] | None:
    """What the record says of the last stretch judged by this set; None for never."""
    found = AuditRecord.objects.filter(
        object_type=RULE_SET, change__has_key=RECORD,
        object_id__in=RuleSet.objects.filter(version=version).values("pk"),
    ).order_by("-pk")  # fmt: skip
    return found.values_list("change", flat=True).first()


def _parted(works: Sequence[Work], found: Past) -> tuple[list[Work], list[Work]]:
    """Those that are over, and those still open here; counted, without what no rule can see."""
    over: list[Work] = []
    still_open: list[Work] = []
    for work in works:
        elsewhere = work.held_by_code(HoldKind.CHANNEL, screening.SHIPPED_ELSEWHERE)
        if not work.goods or any(line.sku_id is None for line in work.goods):
            found.left_out += 1
        elif work.status.value in JUDGED and not elsewhere:
            still_open.append(work)
        else:
            over.append(work)
    found.over += len(over)
    found.still_open += len(still_open)
    return over, still_open


def _judged(works: Sequence[Work], program: Program) -> list[Judgement]:
    if not works:
        return []
    subjects = screening.subjects_of(works, program, Shelf.for_codes(set()))
    return risk.judged(subjects, program, now=clock_now(), stored=[work.id for work in works])


def _count(works: Sequence[Work], judgements: Sequence[Judgement], found: Past) -> None:
    for work, judgement in zip(works, judgements, strict=True):
        for hit in judgement.hits:
            effect = found.hits.setdefault(hit.code, Effect(hit.code))
            effect.count(work.number, work.payable_amount)
