"""Screen a batch of orders with the live rules and keep what was seen."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from django.db import connection

from ordercenter.catalog.gifts import strategies
from ordercenter.core.bulk import copy_rows, dumps
from risk.contracts import Judgement, Subject
from risk.defaults import DEFAULT_RULES
from risk.facts import compute
from risk.models import RuleSet, Verdict
from risk.rules import CompiledRules, compile_rules, judge

SCREEN_LOCK: Final = 7_205_002
_VERDICT: Final = (
    "order_id", "order_version", "rule_set_version", "tier", "tags", "findings", "facts",
    "created_at",
)  # fmt: skip


@lru_cache(maxsize=4)
def _compiled(version: int, text: str) -> CompiledRules:
    return compile_rules(version, json.loads(text))


def live_rules() -> CompiledRules:
    """The rules that decide now; the shipped ones where none was ever made live.

    Asked once a batch, so an edit counts from the next batch on.
    """
    row = RuleSet.objects.filter(is_live=True).values_list("version", "rules").first()
    if row is None:
        return _compiled(0, DEFAULT_RULES.read_text(encoding="utf-8"))
    return _compiled(row[0], json.dumps(row[1]))


def queue_up() -> None:
    """Wait until no other batch is being judged; held until the caller's transaction ends.

    Two orders of one buyer judged side by side would not see each other. Whoever will judge
    asks for it before he locks any stock: a batch may give stock back after it was judged,
    and with the locks the other way round two such batches would wait for each other.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SCREEN_LOCK])


def screen(subjects: Sequence[Subject]) -> list[Judgement]:
    """Judge a batch by the live rules, in the caller's transaction, one batch at a time."""
    if not subjects:
        return []
    queue_up()
    rules = live_rules()
    facts = compute(subjects, rules.specs, strategies())
    return [judge(s, rules, f) for s, f in zip(subjects, facts, strict=True)]


def keep_verdicts(
    judgements: Iterable[Judgement], *, versions: Mapping[int, int], now: datetime
) -> None:
    """Store every judgement with the order version it was made for."""
    copy_rows(
        Verdict,
        _VERDICT,
        (
            (
                j.order_id,
                versions[j.order_id],
                j.rule_set_version,
                j.tier,
                dumps([f.tag or f.code for f in j.hits]),
                dumps([_plain(f) for f in j.findings]),
                dumps(j.facts),
                now,
            )
            for j in judgements
        ),
    )


def _plain(finding: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"code": finding.code, "hit": finding.hit, "seen": finding.seen,
                           "limit": finding.limits}  # fmt: skip
    if finding.hit:
        row |= {"tier": finding.tier, "words": finding.words, "orders": finding.orders}
    return row
