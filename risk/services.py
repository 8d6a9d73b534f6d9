"""Screen a batch of orders with the live rules and keep what was seen."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.db import connection

from ordercenter.catalog.gifts import strategies
from ordercenter.core.bulk import copy_rows, dumps
from risk.contracts import Around, Judgement, Subject
from risk.exemptions import exempt_orders
from risk.facts import compute
from risk.judging import judge_many
from risk.language import Program
from risk.models import Verdict
from risk.rows import tags_of, texts_of

SCREEN_LOCK: Final = 7_205_002
_VERDICT: Final = (
    "order_id", "order_version", "rule_set_version", "tier", "tags", "findings", "facts",
    "inputs", "created_at",
)  # fmt: skip


def queue_up() -> None:
    """Wait until no other batch is being judged; held until the caller's transaction ends.

    Two orders of one buyer judged side by side would not see each other. Whoever will judge
    asks for it before he locks any stock: a batch may give stock back after it was judged,
    and with the locks the other way round two such batches would wait for each other.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SCREEN_LOCK])


def screen(
    subjects: Sequence[Subject],
    program: Program,
    *,
    now: datetime,
    stored: Collection[int] = (),
    history: Collection[int] = (),
) -> list[Judgement]:
    """Judge a batch by these rules, in the caller's transaction, one batch at a time.

    ``stored`` are orders that had been taken in before, ``history`` those that were over when
    they came: of them every finding is kept, and none counts.
    """
    if not subjects:
        return []
    queue_up()
    return judged(subjects, program, now=now, stored=stored, history=history)


def judged(
    subjects: Sequence[Subject],
    program: Program,
    *,
    now: datetime,
    stored: Collection[int] = (),
    history: Collection[int] = (),
) -> list[Judgement]:
    """What ``screen`` would say, without waiting for anybody: for looking only."""
    facts = compute(subjects, program.specs, strategies(), late=True)
    around = _around(subjects, program, now=now, stored=stored, history=history)
    return judge_many(subjects, program, facts, around)


def _around(
    subjects: Sequence[Subject],
    program: Program,
    *,
    now: datetime,
    stored: Collection[int],
    history: Collection[int],
) -> dict[int, Around]:
    exempt = exempt_orders(subjects, now)
    spent = _spent(program, stored)
    return {
        pk: Around(spent.get(pk, frozenset()), exempt.get(pk, frozenset()), pk in history)
        for pk in {*exempt, *spent, *history}
    }


def _spent(program: Program, stored: Collection[int]) -> dict[int, frozenset[str]]:
    """Rules that have held an order as often as their budget lets them."""
    budgets = {rule.code: rule.budget for rule in program.rules if rule.budget}
    if not budgets or not stored:
        return {}
    found: dict[int, set[str]] = defaultdict(set)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT order_id, code, count(*) FROM orders_orderhold WHERE order_id = ANY(%s) "
            "AND kind = 'rule' AND code = ANY(%s) GROUP BY order_id, code",
            [list(stored), list(budgets)],
        )
        for order_id, code, count in cursor.fetchall():
            if count >= budgets[code]:
                found[order_id].add(code)
    return {order_id: frozenset(codes) for order_id, codes in found.items()}


def keep_verdicts(
    judgements: Iterable[Judgement], *, versions: Mapping[int, int], now: datetime
) -> None:
    """Store every judgement with the order version it was made for."""
    copy_rows(Verdict, _VERDICT, (_row(one, versions[one.order_id], now) for one in judgements))


def _row(one: Judgement, version: int, now: datetime) -> tuple[Any, ...]:
    texts = texts_of(one)
    return (
        one.order_id,
        version,
        one.rule_set_version,
        one.tier,
        dumps(tags_of(one)),
        texts.findings,
        texts.facts,
        texts.inputs,
        now,
    )
