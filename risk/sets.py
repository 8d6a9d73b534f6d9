"""The life of a set of rules: draft, committed, live, retired; one is live at a time.

A draft is saved by those who saw its last save. What is committed never changes (a trigger of
the database sees to it), so a verdict's version says for good by what it was judged. What going
live takes is ``risk.gate``. A rule that is switched off leaves the cards it has opened.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction

from ordercenter.audit.models import Action
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.policy import Can, require
from risk.defaults import default_rules
from risk.differences import Difference, difference
from risk.errors import NoFreshReport, SelfActivation, StaleRules
from risk.gate import Gate, gate_of, live_rules
from risk.language import Program, digest_of, read_rules
from risk.models import RuleSet
from risk.set_rows import (
    FORMAT,
    Rules,
    checked_note,
    checked_reason,
    checked_rules,
    imported_rules,
    keep,
    last_editor,
    last_told,
    lock_sets,
    next_version,
    row_in,
    rules_of,
)

logger = logging.getLogger(__name__)
LIVED_LATELY: Final = timedelta(days=7)
"""A set that was live within this time goes live again without a new report."""
State = RuleSet.State
CLOSED: Final[Collection[RuleSet.State]] = (State.COMMITTED, State.RETIRED)


@dataclass(frozen=True, slots=True)
class Programs:
    """What judges now: the live set, and the one on trial beside it."""

    live: Program
    shadow: Program | None


@lru_cache(maxsize=8)
def _program(version: int, digest: str) -> Program:
    """A set ready to judge with. ``digest`` is of the stored text, so that no edit is missed."""
    if not digest:
        return read_rules(0, default_rules())
    return read_rules(version, RuleSet.objects.values_list("rules", flat=True).get(version=version))


def programs() -> Programs:
    """The sets that judge now. Asked once a batch: an edit counts from the next one on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT is_live, version, md5(rules::text) FROM risk_ruleset WHERE is_live OR is_shadow"
        )
        found = {is_live: (version, digest) for is_live, version, digest in cursor.fetchall()}
    live = _program(*found.get(True, (0, "")))
    return Programs(live, _trial(*found[False]) if False in found else None)


def _trial(version: int, digest: str) -> Program | None:
    """The set on trial; None where it cannot be read, which is no business of the live one."""
    try:
        return _program(version, digest)
    except InvalidInput as error:
        logger.warning("rule set v%s is on trial and cannot be read: %s", version, error)
        return None


def live_program() -> Program:
    """The rules that decide now; the shipped ones where none was ever made live."""
    return programs().live


def program_of(version: int) -> Program:
    """The rules of one version, as they were; 0 is the shipped set."""
    if version == 0:
        return _program(0, "")
    row = RuleSet.objects.filter(version=version).first()
    if row is None:
        raise NotFound(what=f"规则集 v{version}")
    return read_rules(version, row.rules)


# --- drafts ---------------------------------------------------------------------------------------


@transaction.atomic
def new_draft(
    based_on: int | None, user: AbstractBaseUser, *, note: str = "", actor: Actor | None = None
) -> RuleSet:
    """A draft that begins as version ``based_on`` (0: the shipped set; None: the live one)."""
    require(user, Can.EDIT_RULES)
    lock_sets()
    version, rules = live_rules() if based_on is None else rules_of(based_on)
    return _insert(rules, user, based_on=version, note=note, actor=actor)


@transaction.atomic
def save_draft(
    pk: int,
    rules: Rules,
    seen_edits: int,
    user: AbstractBaseUser,
    *,
    note: str | None = None,
    actor: Actor | None = None,
) -> RuleSet:
    """Write a draft anew. Raises InvalidInput naming the rule and its fault, StaleRules when
    somebody has saved it since ``seen_edits``."""
    require(user, Can.EDIT_RULES)
    lock_sets()
    row = row_in(pk, State.DRAFT, what="修改")
    if row.edits != seen_edits:
        raise StaleRules(version=row.version, who=last_editor(row))
    plain = checked_rules(rules, row.version)
    told = difference(row.rules, plain)
    row.rules, row.edits = plain, row.edits + 1
    if note is not None:
        row.note = checked_note(note)
    row.save(update_fields=["rules", "edits", "note"])
    change = {"edits": [seen_edits, row.edits], **told.summary()}
    keep(row, actor or Actor.person(user), change)
    return row


@transaction.atomic
def commit_draft(
    pk: int, user: AbstractBaseUser, *, seen_edits: int | None = None, actor: Actor | None = None
) -> RuleSet:
    """Close a draft for good. It decides nothing yet."""
    require(user, Can.EDIT_RULES)
    lock_sets()
    row = row_in(pk, State.DRAFT, what="定稿")
    if seen_edits is not None and row.edits != seen_edits:
        raise StaleRules(version=row.version, who=last_editor(row))
    read_rules(row.version, row.rules)
    row.committed_at = clock_now()
    row.save(update_fields=["committed_at"])
    change = {"state": ["draft", "committed"], "digest": [None, digest_of(row.rules)]}
    keep(row, actor or Actor.person(user), change)
    return row


# --- going live -----------------------------------------------------------------------------------


@transaction.atomic
def ask_activation(
    pk: int,
    user: AbstractBaseUser,
    *,
    reason: str = "",
    actor: Actor | None = None,
    now: datetime | None = None,
) -> RuleSet:
    """Make a committed set live, or ask a second person where the gate wants one.

    The answer's ``state`` says which of the two happened. Raises NoFreshReport.
    """
    require(user, Can.EDIT_RULES)
    who, now = actor or Actor.person(user), now or clock_now()
    lock_sets()
    row = row_in(pk, *CLOSED, what="启用")
    gate = _passed_gate(row, now=now)
    mark = Actor.person(user).mark
    if not gate.needs_second:
        row.asked_by = mark
        return _go_live(row, mark, who, reason=reason, now=now)
    row.asked_by, row.asked_at = mark, now
    row.save(update_fields=["asked_by", "asked_at"])
    change = {"asked_by": ["", row.asked_by], "because": [str(why) for why in gate.reasons],
              "open_orders": gate.open_orders, "would_hold": gate.would_hold}  # fmt: skip
    keep(row, who, change, reason=reason)
    return row


@transaction.atomic
def approve_activation(
    pk: int,
    user: AbstractBaseUser,
    *,
    reason: str = "",
    actor: Actor | None = None,
    now: datetime | None = None,
) -> RuleSet:
    """Make live what somebody else asked for. Whoever wrote it, or asked, is refused."""
    require(user, Can.APPROVE_RULES)
    now = now or clock_now()
    lock_sets()
    row = row_in(pk, State.ASKED, what="批准")
    mark = Actor.person(user).mark
    if mark in {row.asked_by, row.author}:
        raise SelfActivation
    _passed_gate(row, now=now)
    return _go_live(row, mark, actor or Actor.person(user), reason=reason, now=now)


@transaction.atomic
def refuse_activation(
    pk: int, user: AbstractBaseUser, *, reason: str, actor: Actor | None = None
) -> RuleSet:
    """Send an asked-for set back; who asked may take it back himself."""
    require(user, Can.EDIT_RULES if _asked_by(pk, user) else Can.APPROVE_RULES)
    lock_sets()
    row = row_in(pk, State.ASKED, what="驳回")
    reason = checked_reason(reason)
    asker, row.asked_at, row.asked_by = row.asked_by, None, ""
    row.save(update_fields=["asked_at", "asked_by"])
    keep(row, actor or Actor.person(user), {"asked_by": [asker, ""]}, reason=reason)
    return row


def roll_back(
    version: int,
    user: AbstractBaseUser,
    *,
    reason: str = "",
    actor: Actor | None = None,
    now: datetime | None = None,
) -> RuleSet:
    """Go back to a committed set. What was live within 7 days needs no report; else as any other.

    It asks for a second person for the reasons ``risk.gate`` names: going back to a set without
    a rule that holds orders now is switching that rule off.
    """
    pk = _pk_of(version)
    return ask_activation(pk, user, reason=reason, actor=actor, now=now)


def lived_lately(row: RuleSet, *, now: datetime) -> bool:
    """Whether the set was live within the last 7 days."""
    ended = last_told(row, Action.RULES_ACTIVATED, is_live=[True, False])
    return ended is not None and ended > now - LIVED_LATELY


def gate_now(row: RuleSet, *, now: datetime | None = None) -> Gate:
    """What it would take to make this set live now, as ``ask_activation`` will see it."""
    now = now or clock_now()
    return gate_of(row, now=now, needs_report=not lived_lately(row, now=now))


def _passed_gate(row: RuleSet, *, now: datetime) -> Gate:
    gate = gate_now(row, now=now)
    if gate.needs_report and gate.report is None:
        raise NoFreshReport(version=row.version)
    return gate


def _go_live(row: RuleSet, mark: str, who: Actor, *, reason: str, now: datetime) -> RuleSet:
    before, rules = live_rules()
    told = difference(rules, row.rules)
    for old in RuleSet.objects.filter(is_live=True):
        old.is_live, old.activated_at = False, old.activated_at or now
        old.save(update_fields=["is_live", "activated_at"])
        change = {"is_live": [True, False]}
        keep(old, who, change, action=Action.RULES_ACTIVATED, reason=reason)
    row.is_live, row.is_shadow, row.asked_at = True, False, None
    row.activated_by, row.activated_at = mark, now
    row.save(
        update_fields=["is_live", "is_shadow", "asked_at", "asked_by", "activated_by",
                       "activated_at"]
    )  # fmt: skip
    people = sorted({row.author, row.asked_by} - {""})
    told_live = {"live": [before, row.version], "is_live": [False, True], "people": people,
                 **told.summary()}  # fmt: skip
    keep(row, who, told_live, action=Action.RULES_ACTIVATED, reason=reason)
    return row


# --- on trial -------------------------------------------------------------------------------------


@transaction.atomic
def set_shadow(
    version: int | None, user: AbstractBaseUser, *, actor: Actor | None = None
) -> RuleSet | None:
    """Put a committed set on trial beside the live one, in place of any other; None ends it."""
    require(user, Can.EDIT_RULES)
    who = actor or Actor.person(user)
    lock_sets()
    for old in RuleSet.objects.filter(is_shadow=True).exclude(version=version or 0):
        old.is_shadow = False
        old.save(update_fields=["is_shadow"])
        keep(old, who, {"is_shadow": [True, False]})
    if version is None:
        return None
    row = row_in(_pk_of(version), *CLOSED, State.ASKED, what="试运行")
    if not row.is_shadow:
        row.is_shadow = True
        row.save(update_fields=["is_shadow"])
        keep(row, who, {"is_shadow": [False, True]})
    return row


def shadow_since(row: RuleSet) -> datetime | None:
    """When the set's last trial began; None where it never had one."""
    return last_told(row, Action.RULES_CHANGED, is_shadow=[False, True])


# --- to and from other installations --------------------------------------------------------------


def export_set(version: int) -> dict[str, Any]:
    """One set as a document another installation can import."""
    _, rules = rules_of(version)
    return {"format": FORMAT, "format_version": 1, "version": version,
            "digest": digest_of(rules), "rules": rules}  # fmt: skip


def plan_import(data: Any) -> Difference:
    """What the rules of a document say otherwise than the live ones. Changes nothing."""
    return difference(live_rules()[1], imported_rules(data))


@transaction.atomic
def import_set(
    data: Any, user: AbstractBaseUser, *, note: str = "", actor: Actor | None = None
) -> RuleSet:
    """Make a draft of a document. It goes live like any other, and never by itself."""
    require(user, Can.EDIT_RULES)
    rules = imported_rules(data)
    lock_sets()
    return _insert(rules, user, based_on=live_rules()[0], note=note or "导入", actor=actor)


# --- the first one --------------------------------------------------------------------------------


@transaction.atomic
def ensure_default(who: Actor) -> RuleSet | None:
    """Make the shipped set live as a version of its own where none is; None where one was."""
    lock_sets()
    if RuleSet.objects.filter(is_live=True).exists():
        return None
    now = clock_now()
    row = RuleSet.objects.create(
        version=next_version(), rules=default_rules(), note="默认规则", author=who.mark,
        committed_at=now,
    )  # fmt: skip
    return _go_live(row, who.mark, who, reason="", now=now)


def _insert(
    rules: Rules, user: AbstractBaseUser, *, based_on: int, note: str, actor: Actor | None
) -> RuleSet:
    row = RuleSet.objects.create(
        version=next_version(), rules=list(rules), based_on=based_on, note=checked_note(note),
        author=Actor.person(user).mark,
    )  # fmt: skip
    told = difference(rules_of(based_on)[1], row.rules)
    change = {"version": [None, row.version], "based_on": based_on, **told.summary()}
    keep(row, actor or Actor.person(user), change)
    return row


def _pk_of(version: int) -> int:
    pk = RuleSet.objects.filter(version=version).values_list("pk", flat=True).first()
    if pk is None:
        raise NotFound(what=f"规则集 v{version}")
    return pk


def _asked_by(pk: int, user: AbstractBaseUser) -> bool:
    return RuleSet.objects.filter(pk=pk, asked_by=Actor.person(user).mark).exists()
