"""A rule as a form: what goes in comes out, and what is wrong is said where it is."""

from typing import Any

import pytest
from django.http import QueryDict

from ordercenter.console.rule_boxes import lines, words_of
from ordercenter.console.rule_conditions import Offers, drawn
from ordercenter.console.rule_drawing import outline
from ordercenter.console.rule_form import FORM, RuleForm
from ordercenter.console.rule_tree import Part
from risk.defaults import default_rules
from risk.language import Rule, read_rules
from risk.registry import FACTS

OFFERS = Offers()


def read(rule: Any) -> Rule:
    program = read_rules(1, [rule])
    return (*program.rules, *program.off)[0]


def rule_of(*when: Any, **changes: Any) -> dict[str, Any]:
    when_ = {"all": list(when)}
    return {"code": "r", "name": "规则", "when": when_, "outcome": {"tier": "2"}, **changes}


def typed(text: str, base: Any = None) -> RuleForm:
    """A form as posted, written as a query."""
    return RuleForm.typed(QueryDict(f"name=R&tier=2&node=0&kind-0=all&{text}"), base or {})


UNITS = {"fact": "units", "op": ">", "value": "5"}
SOON = {"fact": "orders_in_window", "keys": ["buyer", "buyer+sku"], "window_seconds": 5400,
        "distinct": "phone", "same_sku": True, "op": ">=", "value": "3"}  # fmt: skip
CHEAP = {"fact": "price_ratio", "base": "running", "window_seconds": 7200, "op": "<",
         "value": "0.855"}  # fmt: skip
RULES = [
    *default_rules(),
    rule_of(UNITS, SOON, CHEAP),
    rule_of({"any": [UNITS, {"not": SOON}, {"not": {"all": [UNITS, CHEAP]}}]}),
    rule_of({"not": {"any": [UNITS, {"not": {"not": CHEAP}}]}}),
    rule_of({"not": {"any": [UNITS, {"all": [SOON, CHEAP]}]}}),
    rule_of({"any": [UNITS, CHEAP]}),
    rule_of(),
    rule_of({"fact": "province", "op": "not_in", "value": ["江苏省", "浙江省"]}),
    rule_of({"fact": "in_list", "list": "blacklist", "op": "is", "value": False}),
    rule_of({"fact": "remark", "op": "has_any", "value": ["退款", "不要了"]}, enabled=False),
    rule_of({"fact": "remark", "op": "has_any", "value": ["a,b"]}),
    rule_of({"fact": "category", "op": "in", "value": ["家纺,床品", "灯"]}),
    rule_of({"fact": "units_in_window", "keys": ["buyer"], "window_seconds": 60,
             "skus": ["A;1", "B"], "op": ">", "value": "5"}),
    rule_of(
        UNITS,
        scope={"shops": ["TB01"], "channels": ["taobao"], "categories": ["家纺"],
               "amount": {"from": "500", "below": "5000.50"},
               "hours": {"from": "22:00", "to": "06:00"}},
        outcome={"tier": "1", "tag": "补全", "queue": "", "priority": 7, "warehouse": "W1",
                 "fill": {"buyer_remark": "无"},
                 "notify": [{"to": "finance", "template": "confirm_order"}]},
        budget=3,
    ),
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=[f"{n} {rule['code']}" for n, rule in enumerate(RULES)])
def test_a_rule_means_the_same_after_it_was_a_form(rule: dict[str, Any]) -> None:
    form = RuleForm.of(rule)
    assert form.program() is not None, form.problems()
    assert read(form.rule()) == read(rule)


def test_what_a_form_does_not_show_of_a_rule_is_kept() -> None:
    form = RuleForm.of(rule_of(UNITS, note="老规则"))
    assert form.rule()["note"] == "老规则"


@pytest.mark.parametrize(
    "words", [["退款"], ["退款", "不要了"], ["a,b"], ["a,b", "c、d"], ["x;"], ["A 1"]]
)
def test_words_come_back_as_they_were_whatever_signs_are_in_them(words: list[str]) -> None:
    assert words_of(lines(words)) == words
    assert words_of(lines(words).replace("\n", "\r\n")) == words


def test_words_on_one_line_are_told_apart() -> None:
    assert words_of("退款、不要了, 假货；退款") == ["退款", "不要了", "假货"]


@pytest.mark.parametrize("name", sorted(FACTS))
def test_every_fact_can_be_drawn_and_says_what_it_lacks(name: str) -> None:
    form = typed(f"node=0.0&kind-0.0=fact&fact-0.0={name}")
    outline(form, OFFERS)
    rule = form.rule()
    if form.has_errors:
        assert form.root.parts[0].errors
    else:  # a fact that asks yes or no is whole as it is
        assert FACTS[name].type == "bool"
        assert read(rule)


# --- what people type -----------------------------------------------------------------------------


def test_a_rule_is_written_from_nothing() -> None:
    form = typed(
        "node=0.0&kind-0.0=fact&fact-0.0=province&op-0.0=in&value-0.0=江苏省"
        "&node=0.1&kind-0.1=fact&fact-0.1=units&op-0.1=>&value-0.1=5"
    )
    assert form.rule()["when"] == {
        "all": [{"fact": "province", "op": "in", "value": ["江苏省"]}, UNITS]
    }
    assert not form.has_errors


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\uff15\uff0c\uff10\uff10\uff10", "5000"),
        ("1,234.50", "1234.5"),
        (" 007 ", "7"),
        ("0.10", "0.1"),
    ],
)
def test_numbers_are_read_as_people_type_them(text: str, value: str) -> None:
    form = typed(f"node=0.0&kind-0.0=fact&fact-0.0=amount&op-0.0=>&value-0.0={text}")
    assert form.rule()["when"]["all"][0]["value"] == value


def test_a_share_is_typed_in_per_cent_and_a_window_in_its_unit() -> None:
    form = typed(
        "node=0.0&kind-0.0=fact&fact-0.0=price_ratio&op-0.0=<&value-0.0=85%25"
        "&arg-0.0-base=running&arg-0.0-window_seconds=1.5&arg-0.0-window_seconds.unit=3600"
    )
    (node,) = form.rule()["when"]["all"]
    assert (node["value"], node["window_seconds"]) == ("0.85", 5400)


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("fact-0.0=", "fact", "请选择条件"),
        ("fact-0.0=nonsense", "fact", "请选择条件"),
        ("fact-0.0=units&op-0.0=>&value-0.0=", "value", "请填写数字"),
        ("fact-0.0=units&op-0.0=>&value-0.0=很多", "value", "不是“很多”"),
        ("fact-0.0=units&op-0.0=>&value-0.0=-1", "value", "不能为负数"),
        ("fact-0.0=units&op-0.0=>&value-0.0=1e99", "value", "太大"),
        ("fact-0.0=units&op-0.0=>&value-0.0=NaN", "value", "太大"),
        ("fact-0.0=units&op-0.0=has_any&value-0.0=1", "op", "重新选择"),
        ("fact-0.0=remark&op-0.0=has_any&words-0.0=", "value", "至少"),
        ("fact-0.0=day_amount&op-0.0=>&value-0.0=1", "keys", "请选择识别依据"),
        ("fact-0.0=in_list", "list", "请选择名单"),
        ("fact-0.0=money_in_window&arg-0.0-keys=buyer&op-0.0=>&value-0.0=1"
         "&arg-0.0-window_seconds=99&arg-0.0-window_seconds.unit=86400", "window_seconds", "31 天"),
        ("fact-0.0=money_in_window&arg-0.0-keys=buyer&op-0.0=>&value-0.0=1"
         "&arg-0.0-window_seconds=0.3&arg-0.0-window_seconds.unit=1", "window_seconds", "整秒"),
        ("fact-0.0=province&op-0.0=in&value-0.0=江南省", "value", "没有这个省份"),
        ("fact-0.0=day_amount&arg-0.0-keys=sku&op-0.0=>&value-0.0=1", "keys", "不能只按货品"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_condition_is_said_beside_its_field(
    text: str, field: str, words: str
) -> None:
    form = typed(f"node=0.0&kind-0.0=fact&{text}")
    assert form.program() is None
    assert words in form.root.parts[0].errors[field]


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("name=", "name", "名字"),
        ("name=" + "长" * 61, "name", "60"),
        ("from=500&below=400", "below", "空的"),
        ("from=-1", "from", "负数"),
        ("hours_from=22:00", "hours_to", "开始和结束"),
        ("hours_from=22:00&hours_to=22:00", "hours_to", "相同"),
        ("hours_from=25:00&hours_to=06:00", "hours_from", "22:00"),
        ("channels=nowhere", "channels", "没有这个平台"),
        ("tag=" + "签" * 21, "tag", "20"),
        ("priority=101", "priority", "100"),
        ("budget=1.5", "budget", "整数"),
        ("notify_to=everybody&notify_template=rule_hit", "notify_to", "没有这类通知对象"),
        ("tier=9", "tier", "级别"),
    ],
)
def test_what_is_wrong_with_the_rest_is_said_beside_its_field(
    text: str, field: str, words: str
) -> None:
    post = QueryDict(mutable=True)
    post.update(QueryDict("name=R&tier=2&node=0&kind-0=all"))
    for name, values in QueryDict(text).lists():
        post.setlist(name, values)
    form = RuleForm.typed(post, {})
    assert form.program() is None
    assert words in form.errors[field]
    assert FORM not in form.errors


def test_a_fact_that_was_changed_forgets_the_value_of_the_old_one() -> None:
    form = typed("node=0.0&kind-0.0=fact&was-0.0=amount&fact-0.0=province&op-0.0=>&value-0.0=500")
    row = drawn(form.root.parts[0], OFFERS)
    assert form.root.parts[0].values == []
    assert "江苏省" in dict(row.value.choices)  # type: ignore[union-attr]


# --- the shape ------------------------------------------------------------------------------------


def shape(part: Part) -> Any:
    return [part.kind, *map(shape, part.parts)] if part.is_group else part.fact


def test_rows_and_groups_come_and_go_by_their_buttons() -> None:
    form = typed("node=0.0&kind-0.0=fact&fact-0.0=units")
    form.take_step("group:0")
    form.take_step("add:0.1")
    assert shape(form.root) == ["all", "units", ["any", "", ""]]
    form.take_step("group:0.1")
    assert shape(form.root) == ["all", "units", ["any", "", "", ["any", ""]]]
    form.take_step("drop:0.0")
    assert [part.path for part in form.root.walk()][:3] == ["0", "0.0", "0.0.0"]
    form.take_step("drop:0.0")
    assert shape(form.root) == ["all"]


@pytest.mark.parametrize("what", ["drop:0", "add:0.0", "drop:0.7", "group:9", "add", "", "x:0"])
def test_a_step_that_names_no_row_changes_nothing(what: str) -> None:
    form = typed("node=0.0&kind-0.0=fact&fact-0.0=units")
    form.take_step(what)
    assert shape(form.root) == ["all", "units"]


@pytest.mark.parametrize(
    "nodes",
    [
        "node=0.0.0&kind-0.0.0=fact",  # hangs nowhere
        "node=1&kind-1=all",
        "node=0.0%00&kind-0.0=all",
        "node=0.x",
        "&".join(f"node=0.{n}" for n in range(1000)),
        "node=" + ".".join(["0"] * 40),
    ],
)
def test_rows_that_hang_nowhere_or_are_too_many_break_nothing(nodes: str) -> None:
    form = typed(nodes)
    assert sum(1 for _ in form.root.walk()) <= 200
    form.program()


def test_a_group_without_rows_is_refused_there() -> None:
    form = typed("node=0.0&kind-0.0=any")
    assert form.program() is None
    assert "还没有条件" in form.root.parts[0].errors["kind"]
