"""Who is told of what the rules found: one alarm a rule and addressee, however many orders.

A rule tells whom its outcome names; one that freezes tells the supervisors even where it names
nobody. What an earlier judgement of the same order found already is no news.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.db import connection

from ordercenter.notices.alarms import Happening, raise_alarms
from ordercenter.orders.states import Tier
from ordercenter.pipeline.work import Work
from risk.contracts import Finding
from risk.language import TEMPLATES, TOLD, Tell

FREEZES_TELL: Final = (Tell("supervisors", "rule_hit"),)


def tell_hits(works: Sequence[Work], *, now: datetime) -> None:
    """Raise the alarms of what the rules found of these orders for the first time.

    In the caller's transaction, under the screen lock, before the new verdicts are kept.
    """
    news = [
        (work, finding, tell)
        for work in works
        if work.judgement
        for finding in work.judgement.hits
        for tell in _tells(finding)
    ]
    if not news:
        return
    known = _found_before([work.id for work, _, _ in news if not work.fresh])
    topics: dict[str, tuple[Work, Finding, Tell, list[str]]] = {}
    for work, finding, tell in news:
        if (work.id, finding.code) not in known:
            topic = f"rule:{finding.code}:{tell.to}:{tell.template}"
            found = topics.setdefault(topic, (work, finding, tell, []))
            found[3].append(f"{work.number} {finding.words}")
    raise_alarms(
        [
            Happening(
                topic=topic,
                urgency=max(finding.tier, "1"),
                title=_name(work, finding),
                note=f"{TEMPLATES[tell.template]}（{TOLD[tell.to]}）",
                lines=lines,
                addressee=tell.to,
            )
            for topic, (work, finding, tell, lines) in topics.items()
        ],
        now=now,
    )


def _tells(finding: Finding) -> Sequence[Tell]:
    if finding.outcome and finding.outcome.notify:
        return finding.outcome.notify
    return FREEZES_TELL if finding.tier == Tier.FREEZE else ()


def _name(work: Work, finding: Finding) -> str:
    assert work.judgement is not None
    rules = work.judgement.program.rules
    return next((rule.name for rule in rules if rule.code == finding.code), finding.code)


def _found_before(order_ids: Sequence[int]) -> set[tuple[int, str]]:
    """(order, rule) of every hit that counted in an earlier judgement."""
    if not order_ids:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT v.order_id, f ->> 'code' FROM risk_verdict v "
            "CROSS JOIN LATERAL jsonb_array_elements(v.findings) AS f "
            "WHERE v.order_id = ANY(%s) AND (f ->> 'hit')::boolean AND NOT f ? 'skipped'",
            [list(order_ids)],
        )
        return {(pk, code) for pk, code in cursor.fetchall()}
