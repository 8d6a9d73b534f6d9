"""What people decided, read for learning, and the rules proposed from it.

A decision is of one order: its rule holds were released by a person, or it was canceled with
them, kept frozen, frozen by hand, or canceled out of after-sales. Beside it stands the verdict
that the person had before him: nothing that became known later is read. What nobody held, nobody
decided on; so what is learned speaks of orders like those that were held.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, connection, transaction

from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from risk.backtesting import run_backtest
from risk.examples import LEARNED, Example, hits_of, split, values_of
from risk.language import Program, digest_of, read_rules
from risk.mining import (
    STOP,
    Candidate,
    Limits,
    loosened,
    mine_passes,
    mine_stops,
    stop_rule,
)
from risk.models import Backtest, RuleProposal
from risk.sentences import sentence
from risk.set_rows import rules_of
from risk.sets import live_program

logger = logging.getLogger(__name__)
REACH: Final = timedelta(days=365)
MOST: Final = 20_000
"""Decisions looked at, the newest: more are learned from no better and take minutes."""
MOST_PROPOSED: Final = 3
BACKTEST_DAYS: Final = 30
BACKTEST_SECONDS: Final = 25
LOCK: Final = 7_205_061
_DECIDED: Final = """
    WITH decided AS (
        SELECT a.object_id AS order_id, a.created_at AS at, a.version, TRUE AS stopped
        FROM audit_auditrecord a
        WHERE a.object_type = 'order' AND a.actor_kind = 'person' AND a.created_at >= %(since)s
          AND (a.action = 'release_refused' OR (a.action = 'order_canceled' AND EXISTS (
              SELECT 1 FROM orders_orderhold h WHERE h.order_id = a.object_id
              AND h.kind = 'rule' AND h.closed_version = a.version)))
        UNION ALL
        SELECT h.order_id, h.opened_at, h.opened_version, TRUE FROM orders_orderhold h
        WHERE h.kind = 'person' AND h.code = 'person' AND h.opened_at >= %(since)s
        UNION ALL
        SELECT h.order_id, h.released_at, h.closed_version, o.status = 'canceled'
            AND h.closed_version = o.version
        FROM orders_orderhold h JOIN orders_salesorder o ON o.id = h.order_id
        WHERE h.kind = 'rule' AND h.released_at >= %(since)s AND (
            (h.released_by LIKE 'person:%%' AND NOT (o.status = 'canceled'
                AND h.closed_version = o.version))
            OR (h.disposition = 'after_sales' AND o.status = 'canceled'
                AND h.closed_version = o.version))
    ), first AS (
        SELECT DISTINCT ON (order_id) order_id, at, version, stopped FROM decided
        WHERE at < %(until)s
        ORDER BY order_id, stopped DESC, at
    )
"""
_COUNTS: Final = "SELECT count(*), count(*) FILTER (WHERE stopped) FROM first"
_COUNT: Final = f"{_DECIDED} {_COUNTS}"
_VERDICTS: Final = """
    SELECT f.order_id, f.at, f.stopped, v.inputs, v.findings
    FROM (SELECT * FROM first ORDER BY at DESC LIMIT %(most)s) f
    CROSS JOIN LATERAL (
        SELECT inputs, findings FROM risk_verdict v
        WHERE v.order_id = f.order_id AND v.order_version < f.version
        ORDER BY v.id DESC LIMIT 1
    ) v
    ORDER BY f.at, f.order_id
"""
_READ: Final = f"{_DECIDED} {_VERDICTS}"


@dataclass(frozen=True, slots=True)
class Heard:
    """How many decisions there are to learn from."""

    decisions: int
    stopped: int
    needed: int
    """So many it takes before anything can be proposed."""

    @property
    def missing(self) -> int:
        return max(0, self.needed - self.decisions)


def limits_now() -> Limits:
    return Limits(
        support=settings.LEARN_SUPPORT,
        precision=settings.LEARN_PRECISION / 100,
        pass_precision=settings.LEARN_PASS_PRECISION / 100,
        lift=settings.LEARN_LIFT / 100,
    )


def heard(*, now: datetime) -> Heard:
    """How much people have decided within a year."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, {"since": now - REACH, "until": now})
        decisions, stopped = cursor.fetchone()
    needed = -(-limits_now().support * 100 // (100 - LEARNED))
    return Heard(decisions, stopped, needed)


def decisions(program: Program, *, until: datetime) -> list[Example]:
    """What people decided before ``until``, the oldest first, with the facts of then.

    Facts are those of this program; what the rules of then did not ask is missing.
    """
    with connection.cursor() as cursor:
        cursor.execute(_READ, {"since": until - REACH, "until": until, "most": MOST})
        rows = cursor.fetchall()
    found = []
    for order_id, at, stopped, inputs, findings in rows:
        values = values_of(program, json.loads(inputs))
        if values is not None:
            found.append(Example(order_id, at, stopped, values, hits_of(json.loads(findings))))
    return found


# --- proposals ------------------------------------------------------------------------------------


def propose(*, now: datetime | None = None) -> str:
    """Mine what people decided, and put up what holds; nothing of it goes live by itself.

    What was proposed before, whatever became of it, and what the live rules say already is not
    proposed again. One at a time; a second run at once says so.
    """
    now = now or clock_now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return "somebody else is learning"
    try:
        return _propose(now)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def _propose(now: datetime) -> str:
    program = live_program()
    rules = {str(rule["code"]): rule for rule in rules_of(program.version)[1]}
    examples = decisions(program, until=now)
    new = candidates(examples, program)
    known = {digest_of(rule) for rule in RuleProposal.objects.values_list("rule", flat=True)}
    made = 0
    for found in new:
        rule = stop_rule(found) if found.kind == STOP else loosened(rules[found.rule], found)
        if digest_of(rule) in known or (found.kind == STOP and rule["code"] in rules):
            continue
        if made == MOST_PROPOSED:
            break
        _keep(rule, found, now=now)
        made += 1
    return f"{made} rules are proposed from {len(examples)} decisions"


def candidates(examples: Sequence[Example], program: Program) -> list[Candidate]:
    """Every rule that holds on the later decisions, those that cover most of them first."""
    learn, later = split(examples)
    limits = limits_now()
    codes = [rule.code for rule in program.rules if rule.outcome.tier == "2"]
    found = mine_stops(learn, later, limits) + mine_passes(learn, later, codes, limits)
    return sorted(found, key=lambda one: -one.later.covered)


def _keep(rule: Mapping[str, Any], found: Candidate, *, now: datetime) -> None:
    (read,) = read_rules(0, [rule]).rules
    test = _backtest(rule, now=now)
    figures = {
        "kind": found.kind,
        "rule": found.rule,
        "learned": found.learned.as_json(),
        "later": found.later.as_json(),
        "examples": list(found.examples),
        "wrong": list(found.wrong),
    }
    with transaction.atomic():
        test.save()
        RuleProposal.objects.create(
            rule=rule, words=sentence(read)[:500], figures=figures, backtest=test, made_at=now
        )


def _backtest(rule: Mapping[str, Any], *, now: datetime) -> Backtest:
    """What this rule alone would have hit of late; kept with its reason where it fails."""
    since = now - timedelta(days=BACKTEST_DAYS)
    row = Backtest(
        digest=digest_of([rule]), since=since, until=now, asked_by=PIPELINE.name, asked_at=now
    )
    try:
        report = run_backtest([rule], since, now, seconds=BACKTEST_SECONDS)
    except DatabaseError:
        logger.exception("the back-test of a proposal failed")
        row.state, row.error = Backtest.State.FAILED, "计算超过时限，请在草稿里重新回测"
    else:
        row.state, row.progress = Backtest.State.DONE, 100
        row.report = report.as_json(most_numbers=1000)
    row.done_at = clock_now()
    return row


def merged(rules: Iterable[Mapping[str, Any]], proposed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rules with the proposed one among them: in place of the one of its code, or last."""
    found = [dict(rule) for rule in rules]
    for place, rule in enumerate(found):
        if rule["code"] == proposed["code"]:
            found[place] = dict(proposed)
            return found
    return [*found, dict(proposed)]
