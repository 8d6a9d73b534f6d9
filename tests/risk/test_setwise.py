"""The two forms of the rules judge the same orders alike: Python for one, SQL for all."""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import pytest
from django.db import connection, transaction
from django.db.utils import InternalError

from ordercenter.catalog.selectors import Shelf
from ordercenter.orders.models import OrderEvidence
from ordercenter.pipeline.screening import subjects_of
from ordercenter.pipeline.work import load
from risk.contracts import Around
from risk.facts import compute, facts_from_inputs
from risk.judging import judge
from risk.language import MAX_RULES, FactSpec, Program, read_rules
from risk.models import RuleList, RuleListEntry, Verdict
from risk.registry import FACTS, FIELDS, FactKind, Param
from risk.setwise import windows
from risk.setwise.recorded import RECORDED
from risk.setwise.running import Judged, judge_stored
from tests.risk.stored import BEGIN, LISTS, World, chosen

pytestmark = pytest.mark.django_db
END: Final = BEGIN + timedelta(days=2)
Hits = set[tuple[int, str, str, bool]]
"""(order, rule, tier, whether it could not be judged)."""


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - made-up orders


def is_recorded(spec: FactSpec) -> bool:
    return spec.name in RECORDED or bool(spec.param("address_alone"))


def by_sql(program: Program) -> Hits:
    judged: list[Judged] = []
    judge_stored(program, BEGIN - timedelta(days=1), END, judged.extend)
    return {
        (one.order_id, hit.rule.code, hit.tier, hit.is_unknown)
        for one in judged
        for hit in one.hits
    }


def by_python(program: Program, pks: Sequence[int]) -> Hits:
    """Facts and judgement of the batch; what cannot be counted again comes from the verdict."""
    subjects = subjects_of(load(pks), program, Shelf.for_codes([]))
    computed = compute(subjects, [spec for spec in program.specs if not is_recorded(spec)])
    kept = dict(Verdict.objects.values_list("order_id", "inputs"))
    found: Hits = set()
    for subject, facts in zip(subjects, computed, strict=True):
        inputs = {"of": ["", "", "0", BEGIN.isoformat(), []], "v": 1, "facts": {}}
        inputs |= kept.get(subject.order_id, {})
        known = facts_from_inputs(subject.order_id, program, inputs)
        assert known is not None
        told = {spec: seen for spec, seen in known[1].items() if is_recorded(spec)}
        judgement = judge(subject, program, facts | told, Around())
        found |= {
            (subject.order_id, one.code, one.tier, bool(one.error)) for one in judgement.found
        }
    return found


def judged_alike(rules: Sequence[dict[str, Any]], pks: Sequence[int]) -> Hits:
    """What the rules hit, having seen that both forms say the same."""
    found: Hits = set()
    for low in range(0, len(rules), MAX_RULES):
        program = read_rules(1, rules[low : low + MAX_RULES])
        told = by_sql(program)
        assert told == by_python(program, pks)
        found |= told
    return found


# --- every fact, every operator -------------------------------------------------------------------

KEY_SETS: Final = (
    ["buyer"], ["device", "ip"], ["buyer", "phone", "address"], ["buyer+ip"], ["sku"],
    ["buyer+sku"], ["address+sku", "device"],
)  # fmt: skip


def values_of(param: Param, rng: random.Random) -> list[Any]:
    """Settings worth trying, the default left out."""
    if param.kind == "keys":
        return list(KEY_SETS)
    if param.kind == "seconds":
        return [300, 301, 1_800]
    if param.kind == "flag":
        return [True]
    if param.kind == "choice":
        return [one for one in param.choices if one != param.default]
    if param.kind == "code":
        return [LISTS["region"]] if param.default == "no_service" else list(LISTS.values())
    return [chosen(rng, ("S-1", "S-3", "S-4", "S-8"))]


def settings_of(kind: FactKind, rng: random.Random) -> list[dict[str, Any]]:
    """The fact as it may be asked: with each setting alone, and with some together."""
    required = {p.name: values_of(p, rng) for p in kind.params if p.required}
    base = {name: values[0] for name, values in required.items()}
    found = [base]
    for param in kind.params:
        found += [{**base, param.name: value} for value in values_of(param, rng)]
    for _ in range(3):
        mixed = dict(base)
        for param in kind.params:
            if rng.random() < 0.6:
                mixed[param.name] = rng.choice(values_of(param, rng))
        found.append(mixed)
    return [_allowed(kind, one) for one in found]


def _allowed(kind: FactKind, settings: dict[str, Any]) -> dict[str, Any]:
    if kind.name == "price_ratio" and settings.get("base") != "running":
        return {name: value for name, value in settings.items() if name != "window_seconds"}
    if kind.name == "day_amount" and settings["keys"] == ["sku"]:
        return {**settings, "keys": ["buyer"]}
    if kind.name == "units_in_window" and settings.get("list"):
        return {**settings, "list": LISTS["sku"]}
    return settings


def limits_of(kind: FactKind, rng: random.Random) -> list[Any]:
    if kind.type == "bool":
        return [True, False]
    if kind.type == "text":
        return [["今天", "straße"], ["xyz"], ["言葉"]]
    if kind.type == "set":
        pools = {
            "province": ("江苏省", "浙江省"), "city": ("苏州市",), "district": ("虎丘区",),
            "channel": ("taobao", "douyin"), "shop": ("TB01", "DY01"),
            "category": ("家纺", "灯具"), "sku": ("S-0", "S-3", "S-5"),
            "missing": tuple(FIELDS),
        }  # fmt: skip
        return [chosen(rng, pools[kind.name]) for _ in range(2)]
    if kind.type == "ratio":
        return ["0", "0.84", "0.85", "1", "0.5"]
    if kind.type == "money":
        return ["0", "12.3", "100", "812.5"]
    return ["0", "1", "2", "3", "7.5"]


def single_rules(rng: random.Random) -> list[dict[str, Any]]:
    """One rule for every fact, setting and operator, and its opposite."""
    found: list[dict[str, Any]] = []
    for kind in FACTS.values():
        for settings in settings_of(kind, rng):
            for op in kind.ops:
                compare = {
                    "fact": kind.name, **settings, "op": op,
                    "value": rng.choice(limits_of(kind, rng)),
                }  # fmt: skip
                node = {"not": compare} if rng.random() < 0.3 else compare
                found.append(ruled(len(found), [node], rng))
    return found


def ruled(number: int, nodes: list[Any], rng: random.Random, **more: Any) -> dict[str, Any]:
    tier = rng.choice(("0", "1", "2", "3"))
    return {"code": f"r{number}", "when": {"all": nodes}, "outcome": {"tier": tier}, **more}


def mixed_rules(rng: random.Random, singles: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups in groups, each rule in a scope of its own."""
    leaves = [node for one in singles for node in one["when"]["all"]]

    def grow(depth: int) -> Any:
        if depth == 0 or rng.random() < 0.4:
            return rng.choice(leaves)
        if rng.random() < 0.3:
            return {"not": grow(depth - 1)}
        return {rng.choice(("all", "any")): [grow(depth - 1) for _ in range(rng.randrange(1, 4))]}

    scopes = [
        {}, {"shops": ["TB01"]}, {"channels": ["douyin"]}, {"categories": ["家纺"]},
        {"amount": {"from": "100", "below": "500.01"}},
        {"hours": {"from": "22:00", "to": "02:05"}}, {"hours": {"from": "20:05", "to": "21:00"}},
    ]  # fmt: skip
    return [
        ruled(n, [grow(3), grow(2)][: rng.randrange(1, 3)], rng, scope=rng.choice(scopes))
        for n in range(60)
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_fact_and_operator_hits_the_same_orders_in_both_forms(seed: int) -> None:
    rng = dice(seed)
    pks = World(rng).orders(180)
    rules = single_rules(rng)
    asked = {(node.get("not") or node)["fact"] for one in rules for node in one["when"]["all"]}
    assert asked == set(FACTS)
    told = judged_alike(rules, pks)
    hit = {code for _, code, _, is_unknown in told if not is_unknown}
    facts = {
        (node.get("not") or node)["fact"]
        for one in rules if one["code"] in hit for node in one["when"]["all"]
    }  # fmt: skip
    assert facts == set(FACTS), "a fact that never hits proves nothing"
    assert any(is_unknown for *_, is_unknown in told)


@pytest.mark.parametrize("seed", [4, 5])
def test_groups_and_scopes_hit_the_same_orders_in_both_forms(seed: int) -> None:
    rng = dice(seed)
    pks = World(rng).orders(160)
    told = judged_alike(mixed_rules(rng, single_rules(rng)), pks)
    assert len({code for _, code, *_ in told}) > 30


def test_the_comparison_sees_a_window_that_leaves_its_first_moment_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = dice(6)
    pks = World(rng).orders(200)
    rules = [one for one in single_rules(rng) if "window" in one["when"]["all"][0].get("fact", "")]
    program = read_rules(1, rules)
    assert by_sql(program) == by_python(program, pks)
    right = windows.within
    monkeypatch.setattr(windows, "within", lambda seconds: right(seconds - 1))
    assert by_sql(program) != by_python(program, pks)


def windowed(rng: random.Random) -> Program:
    """Every way to count orders, and different things among them."""
    rules = [one for one in single_rules(rng) if "orders_in_window" in str(one["when"])]
    return read_rules(1, rules)


def test_who_has_nobody_near_or_only_his_own_is_counted_alike_in_both_forms() -> None:
    """Those whom the set-wise form leaves out of its counting."""
    rng = dice(11)
    pks = World(rng).orders(160)
    for n, pk in enumerate(pks[:120]):
        person = n // 3
        OrderEvidence.objects.filter(order_id=pk).update(
            ip=f"10.7.{person}.1", device_key=f"d{person}",
            buyer_key="" if n % 7 == 0 else f"own{person}",
        )  # fmt: skip
    program = windowed(rng)
    assert by_sql(program) == by_python(program, pks)


@pytest.mark.parametrize("shortcut", ["_near", "_mixed"])
def test_the_comparison_sees_a_shortcut_that_leaves_too_many_out(
    shortcut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = dice(12)
    pks = World(rng).orders(200)
    program = windowed(rng)
    right = getattr(windows, shortcut)
    assert by_sql(program) == by_python(program, pks)
    monkeypatch.setattr(windows, shortcut, lambda *key: f"{right(*key)} LIMIT 0")
    assert by_sql(program) != by_python(program, pks)


def test_a_list_is_left_out_only_while_nothing_was_ever_on_it() -> None:
    rng = dice(13)
    pks = World(rng).orders(120)
    asked: list[Any] = [{"fact": "in_list", "list": LISTS[key]} for key in LISTS]
    asked += [{"fact": "carrier_reach", "list": LISTS["region"]}]
    many = {"fact": "orders_in_window", "keys": ["buyer"], "window_seconds": 1_800, "op": ">=",
            "value": "2"}  # fmt: skip
    leaves = [{**one, "op": "is", "value": value} for one in asked for value in (True, False)]
    nodes: list[Any] = [*leaves, *[{"not": one} for one in leaves]]
    nodes += [{"any": [many, one]} for one in leaves] + [{"all": [many, one]} for one in leaves]
    program = read_rules(1, [ruled(n, [node], rng) for n, node in enumerate(nodes)])
    filled = by_sql(program)
    assert filled == by_python(program, pks)
    RuleListEntry.objects.all().delete()
    empty = by_sql(program)
    assert empty == by_python(program, pks)
    assert filled - empty
    assert empty - filled


def test_a_cut_between_two_orders_of_one_window_does_not_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = dice(7)
    World(rng).orders(200)
    short = [one for one in single_rules(rng) if "_in_window" in str(one["when"])]
    program = read_rules(1, rng.sample(short, 200))
    whole = by_sql(program)
    monkeypatch.setattr("risk.setwise.running.ORDERS_A_PIECE", 20)
    seen: list[tuple[int, int]] = []
    judge_stored(
        program, BEGIN, END, lambda _: None,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert len(seen) > 4
    assert (seen[0], seen[-1]) == ((0, 200), (200, 200))
    assert by_sql(program) == whole


def test_judging_stored_orders_can_write_nothing() -> None:
    World(dice(8)).orders(5)
    program = read_rules(1, [ruled(0, [], dice(8))])

    def write(_: object) -> None:
        RuleList.objects.create(code="new", name="new", key="sku")

    with pytest.raises(InternalError), transaction.atomic():
        judge_stored(program, BEGIN, END, write)
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        before = cursor.fetchone()
        judge_stored(program, BEGIN, END, lambda _: None)
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == before
    write(None)


def test_a_list_that_is_not_there_holds_nobody() -> None:
    World(dice(9)).orders(20)
    compare = {"fact": "in_list", "list": "nowhere", "op": "is", "value": True}
    reach = {"fact": "carrier_reach", "list": "nowhere", "op": "is", "value": True}
    rng = dice(9)
    program = read_rules(1, [ruled(0, [compare], rng), ruled(1, [reach], rng)])
    assert {code for _, code, *_ in by_sql(program)} == {"r1"}


def test_text_of_a_rule_is_a_value_and_never_sql() -> None:
    World(dice(10)).orders(10)
    nasty = "'; DROP TABLE risk_verdict; -- %s %(v0)s"
    rng = dice(10)
    nodes = [
        {"fact": "remark", "op": "has_any", "value": [nasty]},
        {"fact": "sku", "op": "has_any", "value": [nasty]},
        {"fact": "city", "op": "not_in", "value": [nasty]},
    ]
    program = read_rules(
        1, [ruled(n, [node], rng, scope={"shops": [nasty, "TB01"]}) for n, node in enumerate(nodes)]
    )
    hits = by_sql(program)
    assert {code for _, code, *_ in hits} == {"r2"}
    assert Verdict.objects.exists()
