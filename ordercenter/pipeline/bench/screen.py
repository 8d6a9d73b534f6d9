"""How fast orders are judged, over a database that holds a great many of them.

* ``stateless``: the shipped rules that need the order alone, in one process: facts and judgement
  in Python, beside a plain walk over the same conditions; and the same in SQL on one connection.
* ``windows``: all shipped rules with their window facts, by worker processes that screen batches
  as the path does, beside batches of one order.
* ``path``: CPU of the whole path with the rules and without any, the database's included.
* ``edit``: from the commit of a changed rule to the first order judged by it.
* ``rejudged``: every stored order judged again in SQL, beside the Python form on some of them;
  both forms must hit the same orders, or the figure is void.
"""

import multiprocessing
import operator
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from django.db import connection, transaction

from ordercenter.catalog.models import Shop
from ordercenter.catalog.selectors import Shelf
from ordercenter.core.bulk import collect_seldom
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline.bench import ingest, million
from ordercenter.pipeline.bench.cpu import cpu_seconds
from ordercenter.pipeline.screening import subjects_of
from ordercenter.pipeline.work import load
from risk import services as risk
from risk.backtesting import run_backtest
from risk.contracts import NOT_APPLICABLE, Facts, Subject
from risk.defaults import default_rules
from risk.facts import compute
from risk.judging import judge_many
from risk.language import All, AnyOf, Compare, Node, Not, Program, compares, read_rules
from risk.models import RuleSet
from risk.sets import live_program
from risk.setwise.recorded import RECORDED
from risk.setwise.running import Judged, judge_stored

Say = Callable[[str], object]
BATCH: Final = 500
MOST_SECONDS: Final = 900


def run(*, orders: int, workers: int, rounds: int, say: Say) -> dict[str, Any]:
    """Fill the database with ``orders`` and measure each in turn; medians of ``rounds``."""
    collect_seldom()
    shop_id = Shop.objects.filter(channel="taobao").values_list("pk", flat=True)[0]
    since, until = million.fill(orders, shop_id=shop_id, say=say)
    sample = min(20_000, orders // 5)
    found: dict[str, Any] = {"orders": orders, "rules": len(_program().rules)}
    measures: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        ("stateless", lambda: _stateless(sample, since, until, rounds=rounds)),
        ("windows", lambda: _windows(sample, workers=workers, rounds=rounds)),
        ("path", lambda: _path(min(2_000, orders // 10), rounds=rounds)),
        ("edit", _edit),
        ("rejudged", lambda: _rejudged(since, until, sample // 4, workers=workers)),
    ]
    for name, measure in measures:
        found[name] = measure()
        say(f"{name}: {found[name]}")
    return found


def _program() -> Program:
    return read_rules(0, default_rules())


def _newest(count: int) -> list[int]:
    return list(SalesOrder.objects.order_by("-pk").values_list("pk", flat=True)[:count])


@transaction.atomic
def _subjects(pks: Sequence[int], program: Program) -> list[Subject]:
    return subjects_of(load(pks), program, Shelf.for_codes([]))


def _batches(subjects: Sequence[Subject], size: int = BATCH) -> Iterator[Sequence[Subject]]:
    for low in range(0, len(subjects), size):
        yield subjects[low : low + size]


@dataclass(slots=True)
class Rates:
    """Orders a second, and a second of this process's own CPU: the machine may be shared."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, count: int, work: Callable[[], object]) -> None:
        began, spent = time.perf_counter(), time.process_time()
        work()
        self.wall.append(count / (time.perf_counter() - began))
        self.cpu.append(count / (time.process_time() - spent))

    @property
    def median(self) -> float:
        return statistics.median(self.wall)

    @property
    def median_cpu(self) -> float:
        return statistics.median(self.cpu)


# --- rules that need the order alone --------------------------------------------------------------


def _stateless(count: int, since: datetime, until: datetime, *, rounds: int) -> dict[str, Any]:
    whole = default_rules()
    kept = {
        rule.code for rule in _program().rules
        if all(one.spec.is_stateless for one in compares(rule.when))
    }  # fmt: skip
    program = read_rules(0, [rule for rule in whole if rule["code"] in kept])
    subjects = _subjects(_newest(count), program)
    facts = compute(subjects, program.specs)
    judged, both, walked, in_sql = Rates(), Rates(), Rates(), Rates()
    for _ in range(rounds):
        judged.add(count, lambda: judge_many(subjects, program, facts, {}))
        both.add(count, lambda: _compute_and_judge(subjects, program))
        walked.add(count, lambda: _walk_all(program, facts))
    python = [len(one.found) for one in judge_many(subjects, program, facts, {})]
    if python != _walk_all(program, facts):
        message = "figure void: the plain walk hits others"
        raise RuntimeError(message)
    stored = SalesOrder.objects.filter(placed_at__gte=since, placed_at__lt=until).count()
    in_sql.add(
        stored,
        lambda: judge_stored(program, since, until, _forget, workers=1, seconds=MOST_SECONDS),
    )
    return {
        "rules": len(program.rules),
        "judged_per_second": round(judged.median),
        "judged_per_cpu_second": round(judged.median_cpu),
        "facts_and_judgement_per_cpu_second": round(both.median_cpu),
        "plain_walk_per_cpu_second": round(walked.median_cpu),
        "against_plain_walk": round(judged.median_cpu / walked.median_cpu, 2),
        "sql_per_second_one_connection": round(in_sql.median),
    }


def _compute_and_judge(subjects: Sequence[Subject], program: Program) -> None:
    for batch in _batches(subjects):
        judge_many(batch, program, compute(batch, program.specs), {})


def _walk_all(program: Program, facts: Sequence[Facts]) -> list[int]:
    """How many rules hit each order, by walking the conditions anew for each."""
    return [sum(_walk(rule.when, told) is not False for rule in program.rules) for told in facts]


def _walk(node: Node, facts: Facts) -> bool | None:
    if isinstance(node, Not):
        truth = _walk(node.part, facts)
        return None if truth is None else not truth
    if isinstance(node, All | AnyOf):
        parts = [_walk(part, facts) for part in node.parts]
        decides = isinstance(node, AnyOf)
        if decides in parts:
            return decides
        return None if None in parts else not decides
    assert isinstance(node, Compare)
    return _holds(node, facts)


def _forget(_: list[Judged]) -> None:
    """What was hit is not asked here."""


def _holds(one: Compare, facts: Facts) -> bool | None:
    value = facts[one.spec].value
    if value is None or value is NOT_APPLICABLE:
        return None if value is None else False
    if isinstance(one.value, tuple):
        if isinstance(value, str):
            return any(word in value for word in one.value)
        assert isinstance(value, frozenset)
        listed = set(one.value)
        if one.op == "in":
            return bool(value) and value <= listed
        return bool(value & listed) is (one.op == "has_any")
    if isinstance(one.value, bool):
        return value is one.value
    assert isinstance(value, int | Decimal | Fraction)
    return _COMPARED[one.op](Fraction(value), Fraction(one.value))


_COMPARED: Final[Mapping[str, Callable[[Fraction, Fraction], bool]]] = {
    ">=": operator.ge, ">": operator.gt, "<": operator.lt, "<=": operator.le,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


# --- all rules, with what was bought before -------------------------------------------------------


def _windows(count: int, *, workers: int, rounds: int) -> dict[str, Any]:
    subjects = _subjects(_newest(count), _program())
    few = subjects[: max(50, count // 50)]
    together, single, cpu = [], [], []
    for _ in range(rounds):
        spent = cpu_seconds()
        together.append(count / _screened(subjects, BATCH, workers))
        cpu.append((cpu_seconds() - spent) / count)
        single.append(len(few) / _screened(few, 1, workers))
    rate = statistics.median(together)
    return {
        "workers": workers,
        "per_second": round(rate),
        "cpu_ms_an_order": round(statistics.median(cpu) * 1000, 3),
        "one_by_one_per_second": round(statistics.median(single)),
        "against_one_by_one": round(rate / statistics.median(single), 2),
    }


def _screened(subjects: Sequence[Subject], size: int, workers: int) -> float:
    """Seconds for screening all of these in batches, shared by so many processes."""
    fork = multiprocessing.get_context("fork")
    start, answers = fork.Barrier(workers + 1), fork.Queue()
    connection.close()
    crew = [
        fork.Process(target=_work, args=(subjects[n::workers], size, start, answers), daemon=True)
        for n in range(workers)
    ]
    for member in crew:
        member.start()
    start.wait()
    began = time.perf_counter()
    done = sum(answers.get(timeout=MOST_SECONDS) for _ in crew)
    seconds = time.perf_counter() - began
    for member in crew:
        member.join(timeout=30)
    if done != len(subjects):
        message = f"figure void: {done} of {len(subjects)} orders were judged"
        raise RuntimeError(message)
    return seconds


def _work(subjects: Sequence[Subject], size: int, start: Any, answers: Any) -> None:
    connection.close()
    connection.ensure_connection()
    start.wait()
    answers.put(sum(_screen(batch) for batch in _batches(subjects, size)))


@transaction.atomic
def _screen(batch: Sequence[Subject]) -> int:
    return len(risk.screen(batch, live_program(), now=clock_now()))


# --- the share of the whole path ------------------------------------------------------------------


def _path(each: int, *, rounds: int) -> dict[str, Any]:
    """CPU of an order on the path with the shipped rules and with none, in turn."""
    none = RuleSet.objects.create(version=900_001, rules=[])
    shipped = RuleSet.objects.create(version=900_002, rules=default_rules())
    spent: dict[int, list[float]] = {none.pk: [], shipped.pk: []}
    start = 0
    for _ in range(rounds):
        for rule_set in (none, shipped):
            _make_live(rule_set)
            ingest.fill(each, start=start)
            start += each
            before = cpu_seconds()
            done, _, _ = ingest.drain(BATCH)
            spent[rule_set.pk].append((cpu_seconds() - before) / done)
    bare, full = (statistics.median(spent[one.pk]) for one in (none, shipped))
    return {
        "orders": each,
        "cpu_ms_an_order": round(full * 1000, 3),
        "cpu_ms_an_order_without_rules": round(bare * 1000, 3),
        "share_of_rules": round(1 - bare / full, 3),
    }


@transaction.atomic
def _make_live(rule_set: RuleSet) -> None:
    RuleSet.objects.filter(is_live=True).update(is_live=False)
    RuleSet.objects.filter(pk=rule_set.pk).update(is_live=True)


# --- an edit --------------------------------------------------------------------------------------


def _edit() -> dict[str, Any]:
    """How long a changed rule takes until an order is judged by it, while orders are judged."""
    edited = RuleSet.objects.create(version=900_003, rules=default_rules())
    subjects = _subjects(_newest(100), _program())
    seen: dict[int, float] = {}
    stop = threading.Event()

    def judge() -> None:
        while not stop.is_set():
            with transaction.atomic():
                program = live_program()
                risk.screen(subjects, program, now=clock_now())
            seen.setdefault(program.version, time.perf_counter())
        connection.close()

    thread = threading.Thread(target=judge)
    thread.start()
    try:
        _wait_for(lambda: bool(seen))
        _make_live(edited)
        committed = time.perf_counter()
        _wait_for(lambda: edited.version in seen)
    finally:
        stop.set()
        thread.join()
    return {"live_after_ms": round((seen[edited.version] - committed) * 1000, 1)}


def _wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        if time.monotonic() > deadline:
            message = "figure void: nothing was judged"
            raise RuntimeError(message)
        time.sleep(0.001)


# --- all stored orders again ----------------------------------------------------------------------


def _rejudged(since: datetime, until: datetime, sample: int, *, workers: int) -> dict[str, Any]:
    program = _program()
    began, spent = time.perf_counter(), cpu_seconds()
    report = run_backtest(program, since, until, workers=workers, seconds=MOST_SECONDS)
    seconds, cpu = time.perf_counter() - began, cpu_seconds() - spent
    counted = {
        rule.code for rule in program.rules
        if not any(one.spec.name in RECORDED for one in compares(rule.when))
    }  # fmt: skip
    pks = _newest_between(since, until, sample)
    began = time.perf_counter()
    by_python = {
        (judgement.order_id, finding.code)
        for batch in _batches(_subjects(pks, program))
        for judgement in judge_many(batch, program, compute(batch, program.specs), {})
        for finding in judgement.found
        if finding.code in counted and not finding.error
    }
    python_rate = len(pks) / (time.perf_counter() - began)
    known = set(pks)
    by_sql = {
        (pk, code)
        for code, figures in report.tally.rules.items()
        for _, pk, _ in figures.orders
        if code in counted and pk in known
    }
    if by_sql != by_python:
        message = f"figure void: the two forms differ in {len(by_sql ^ by_python)} hits"
        raise RuntimeError(message)
    rate = report.orders / seconds
    return {
        "orders": report.orders,
        "hit_orders": report.tally.hit_orders,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "per_second": round(rate),
        "python_form_per_second": round(python_rate),
        "against_python_form": round(rate / python_rate, 1),
        "compared_orders": len(pks),
        "compared_hits": len(by_sql),
    }


def _newest_between(since: datetime, until: datetime, count: int) -> list[int]:
    orders = SalesOrder.objects.filter(placed_at__gte=since, placed_at__lt=until)
    return list(orders.order_by("-placed_at", "-pk").values_list("pk", flat=True)[:count])
