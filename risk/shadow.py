"""A set of rules on trial: it judges what the live one judges, and only that is written where
the two disagree.

A trial must never hurt: it runs in a savepoint of its own, and whatever goes wrong with it is
logged and left out.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction
from django.db.models import Count, QuerySet

from ordercenter.audit.models import Action
from ordercenter.catalog.gifts import strategies
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import dumps
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.logs import plain_words
from ordercenter.core.policy import Can, require
from risk.contracts import Judgement, Subject
from risk.facts import compute
from risk.judging import judge
from risk.language import Program
from risk.models import RuleSet, ShadowVerdict, Verdict
from risk.set_rows import keep
from risk.sets import programs, shadow_since

logger = logging.getLogger(__name__)
LABELS: Final = ("right", "wrong")
MOST_LABELS: Final = 500
# A judgement made anew replaces what the trial said before; a person's label stays with the very
# difference it was given for.
_WRITE: Final = """
    INSERT INTO risk_shadowverdict
        (order_id, rule_set_version, live_version, tier, live_tier, hits, live_hits, label,
         labeled_by, created_at)
    SELECT v.order_id, %(version)s, v.live_version, v.tier, v.live_tier, v.hits, v.live_hits, '',
           '', %(now)s
    FROM unnest(%(orders)s::bigint[], %(lives)s::int[], %(tiers)s::text[], %(live_tiers)s::text[],
                %(hits)s::jsonb[], %(live_hits)s::jsonb[])
         AS v(order_id, live_version, tier, live_tier, hits, live_hits)
    ON CONFLICT (rule_set_version, order_id) DO UPDATE SET
        live_version = excluded.live_version, tier = excluded.tier,
        live_tier = excluded.live_tier, hits = excluded.hits, live_hits = excluded.live_hits,
        label = CASE WHEN risk_shadowverdict.hits = excluded.hits
                      AND risk_shadowverdict.live_hits = excluded.live_hits
                     THEN risk_shadowverdict.label ELSE '' END,
        labeled_by = CASE WHEN risk_shadowverdict.hits = excluded.hits
                           AND risk_shadowverdict.live_hits = excluded.live_hits
                          THEN risk_shadowverdict.labeled_by ELSE '' END,
        created_at = excluded.created_at
"""


def judge_beside(
    subjects: Sequence[Subject], judgements: Sequence[Judgement], *, now: datetime
) -> int:
    """Let the set on trial judge what the live one has just judged; return how many differ.

    In the caller's transaction, behind its screen lock. Writes ``ShadowVerdict`` and nothing
    else; an error is logged and costs the trial this batch.
    """
    try:
        program = programs().shadow
        if program is None or not subjects:
            return 0
        with transaction.atomic():
            return _judge_beside(program, subjects, judgements, now=now)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a trial is the trial's
        logger.error("the trial left a batch out: %s", plain_words(error))  # noqa: TRY400
        return 0


def _judge_beside(
    program: Program,
    subjects: Sequence[Subject],
    judgements: Sequence[Judgement],
    *,
    now: datetime,
) -> int:
    missing = [spec for spec in program.specs if spec not in judgements[0].facts]
    more = compute(subjects, missing, strategies(), late=True)
    tried = [
        judge(subject, program, {**live.facts, **seen}, live.around)
        for subject, live, seen in zip(subjects, judgements, more, strict=True)
    ]
    pairs = zip(tried, judgements, strict=True)
    differ = [(mine, live) for mine, live in pairs if _hits(mine) != _hits(live)]
    _forget(program.version, {one.order_id for one in subjects} - {m.order_id for m, _ in differ})
    if differ:
        _write(program.version, differ, now=now)
    return len(differ)


def _hits(found: Judgement) -> set[tuple[str, str]]:
    """What matters of a judgement: which rules hit, and with what outcome."""
    return {(one.code, one.tier) for one in found.hits}


def _write(version: int, differ: Sequence[tuple[Judgement, Judgement]], *, now: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            _WRITE,
            {
                "version": version, "now": now,
                "orders": [mine.order_id for mine, _ in differ],
                "lives": [live.rule_set_version for _, live in differ],
                "tiers": [mine.tier for mine, _ in differ],
                "live_tiers": [live.tier for _, live in differ],
                "hits": [dumps(_told(mine)) for mine, _ in differ],
                "live_hits": [dumps(_told(live)) for _, live in differ],
            },
        )  # fmt: skip


def _told(found: Judgement) -> list[dict[str, Any]]:
    rows = [{"code": one.code, "tier": one.tier, "words": one.words} for one in found.hits]
    return sorted(rows, key=lambda row: row["code"])


def _forget(version: int, order_ids: Collection[int]) -> None:
    """Both sets agree on these by now. What a person has labeled is kept."""
    ShadowVerdict.objects.filter(
        rule_set_version=version, order_id__in=order_ids, label=""
    ).delete()


# --- what a trial came to -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trial:
    """What a set did beside the live one since its trial began."""

    version: int
    since: datetime | None
    judged: int
    differ: int
    stricter: int
    """It would have stopped what went through."""
    looser: int
    """It would have let through what was stopped."""
    right: int
    wrong: int
    by_rule: tuple[tuple[str, int], ...]
    """(code, orders) of what only the trial found, most first."""

    @property
    def unlabeled(self) -> int:
        return self.differ - self.right - self.wrong

    @property
    def precision(self) -> float | None:
        """Of the labeled differences, the share in which the trial was right; None for none."""
        labeled = self.right + self.wrong
        return self.right / labeled if labeled else None


def divergences(version: int, *, label: str | None = None) -> QuerySet[ShadowVerdict]:
    """Where the trial of this version disagrees, strictest first; ``label`` "": nobody's yet."""
    found = ShadowVerdict.objects.filter(rule_set_version=version)
    if label is not None:
        found = found.filter(label=label)
    return (
        found.select_related("order", "order__shop")
        .defer("order__receiver_sealed")
        .order_by("-tier", "-created_at", "-pk")
    )


def trial_of(row: RuleSet) -> Trial:
    """The figures a promotion is decided by."""
    since = shadow_since(row)
    judged = Verdict.objects.filter(created_at__gte=since).count() if since else 0
    rows = ShadowVerdict.objects.filter(rule_set_version=row.version)
    labels = dict(rows.values_list("label").annotate(n=Count("pk")).order_by())
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE tier >= '2' AND live_tier < '2'), "
            "count(*) FILTER (WHERE tier < '2' AND live_tier >= '2') "
            "FROM risk_shadowverdict WHERE rule_set_version = %s",
            [row.version],
        )
        stricter, looser = cursor.fetchone()
        cursor.execute(
            "SELECT h ->> 'code', count(*) FROM risk_shadowverdict s "
            "CROSS JOIN LATERAL jsonb_array_elements(s.hits) AS h "
            "WHERE s.rule_set_version = %s AND NOT EXISTS (SELECT 1 "
            "FROM jsonb_array_elements(s.live_hits) AS l WHERE l ->> 'code' = h ->> 'code') "
            "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 50",
            [row.version],
        )
        by_rule = tuple((code, count) for code, count in cursor.fetchall())
    return Trial(
        row.version, since, judged, sum(labels.values()), stricter, looser,
        labels.get("right", 0), labels.get("wrong", 0), by_rule,
    )  # fmt: skip


@transaction.atomic
def label(
    pks: Collection[int],
    verdict: str,
    user: AbstractBaseUser,
    *,
    version: int,
    actor: Actor | None = None,
) -> int:
    """Say of these differences whether the trial was right; "" takes it back. Return how many."""
    require(user, Can.EDIT_RULES)
    if verdict not in {*LABELS, ""} or not 1 <= len(pks) <= MOST_LABELS:
        raise InvalidInput(what=f"请选择 1 到 {MOST_LABELS} 条差异，判为对或错")
    row = RuleSet.objects.filter(version=version).first()
    if row is None:
        raise NotFound(what=f"规则集 v{version}")
    who = actor or Actor.person(user)
    count = ShadowVerdict.objects.filter(pk__in=pks, rule_set_version=version).update(
        label=verdict, labeled_by=who.name[:64] if verdict else ""
    )
    if count:
        keep(row, who, {"labeled": sorted(pks)[:100], "label": verdict, "count": count},
             action=Action.RULES_CHANGED)  # fmt: skip
    return count
