"""The field map: what a table of names reads, and what it refuses before any order comes."""

import contextlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels_sync.connectors.field_map import BadFieldMap, FieldMap, Fields
from channels_sync.connectors.strict_json import loads_strict
from channels_sync.connectors.values import Node
from channels_sync.contracts import Unreadable


def read(entry: dict[str, Any], body: str) -> Fields:
    """One field named ``it`` over one object."""
    return FieldMap.parse({"order": {"it": entry}}).section("order").over(
        Node.of(loads_strict(body.encode()))
    )  # fmt: skip


def test_two_names_of_one_thing_give_the_first_that_holds_something() -> None:
    entry = {"from": ["receiver_name", "customer.first_name"], "as": "text"}
    assert read(entry, '{"receiver_name":"甲","customer":{"first_name":"乙"}}').text("it") == "甲"
    assert read(entry, '{"receiver_name":" ","customer":{"first_name":"乙"}}').text("it") == "乙"
    assert read(entry, '{"receiver_name":null,"customer":null}').text("it") == ""


def test_what_is_empty_and_what_was_not_given_stay_apart() -> None:
    entry = {"from": ["memo", "note"], "as": "text"}
    assert read(entry, '{"memo":""}').given_text("it") == ""
    assert read(entry, "{}").given_text("it") is None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("a.b.c", '{"a":{"b":{"c":"x"}}}'),
        ("a[1].c", '{"a":[{"c":"w"},{"c":"x"}]}'),
        ("a[].c", '{"a":[{},{"c":""},{"c":"x"},{"c":"y"}]}'),
        ("a.b?.c", '{"a":{"c":"x"}}'),
        ("a.b?.c", '{"a":{"b":{"c":"x"}}}'),
        ("a.c", '{"a":"{\\"c\\":\\"x\\"}"}'),
    ],
)
def test_a_path_finds_its_value(path: str, body: str) -> None:
    assert read({"from": [path], "as": "text"}, body).text("it") == "x"


@pytest.mark.parametrize("body", ['{"a":[]}', '{"a":"text"}', '{"a":7}', '{"a":{"b":1}}', "{}"])
def test_a_path_that_leads_nowhere_is_not_given(body: str) -> None:
    assert read({"from": ["a[0].c"], "as": "text"}, body).given_text("it") is None
    assert not read({"from": ["a.b.c"], "as": "text"}, body).given("it")


def test_broken_json_inside_a_text_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="JSON"):
        read({"from": ["a.c"], "as": "text"}, '{"a":"{\\"c\\":"}').text("it")


def test_money_is_read_in_the_unit_the_map_names() -> None:
    assert read({"from": ["fee"], "as": "yuan"}, '{"fee":"12.5"}').amount("it") == Decimal("12.50")
    assert read({"from": ["fee"], "as": "fen"}, '{"fee":1250}').amount("it") == Decimal("12.50")
    with pytest.raises(Unreadable, match="fee"):
        read({"from": ["fee"], "as": "fen"}, '{"fee":"12.5"}').amount("it")
    assert read({"from": ["fee"], "as": "yuan"}, "{}").optional_amount("it") is None
    assert read({"from": ["fee"], "as": "yuan"}, "{}").amount("it", default=Decimal(0)) == 0


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("china_time", '"2026-03-01 09:08:07"'),
        ("iso_time", '"2026-03-01T01:08:07Z"'),
        ("unix_seconds", "1772327287"),
        ("unix_milliseconds", "1772327287000"),
        ("any_time", '"1772327287"'),
        ("any_time", '"2026-03-01 09:08:07"'),
    ],
)
def test_times_are_aware_whatever_their_spelling(kind: str, value: str) -> None:
    moment = read({"from": ["at"], "as": kind}, f'{{"at":{value}}}').time("it")
    assert moment == datetime(2026, 3, 1, 1, 8, 7, tzinfo=UTC)


def test_an_iso_time_without_an_offset_is_refused_not_guessed() -> None:
    with pytest.raises(Unreadable, match="时区"):
        read({"from": ["at"], "as": "iso_time"}, '{"at":"2026-03-01 09:08:07"}').time("it")


def test_words_are_translated_and_a_strange_one_is_what_the_map_says() -> None:
    entry = {"from": ["s"], "as": "word", "values": {"1": "paid", "true": "paid"}}
    assert read(entry, '{"s":1}').word("it") == "paid"
    assert read(entry, '{"s":true}').word("it") == "paid"
    assert read(entry, '{"s":"2"}').word("it") is None
    assert read({**entry, "otherwise": "unknown"}, '{"s":"2"}').word("it") == "unknown"
    assert read({**entry, "otherwise": "unknown"}, "{}").word("it") is None
    assert read({**entry, "default": 1}, "{}").word("it") == "paid"


def test_a_flag_may_have_words_of_its_own() -> None:
    entry = {"from": ["gift"], "as": "boolean", "values": {"Y": True, "N": False}}
    assert read(entry, '{"gift":"Y"}').boolean("it") is True
    assert read(entry, '{"gift":"N"}').boolean("it") is False
    assert read(entry, '{"gift":true}').boolean("it") is True
    with pytest.raises(Unreadable, match="gift"):
        read(entry, '{"gift":"?"}').boolean("it")


def test_a_constant_needs_no_source() -> None:
    assert read({"from": [], "as": "id", "default": "CNY"}, "{}").id("it") == "CNY"


def test_texts_may_be_put_together() -> None:
    entry = {"from": ["a1", "a2"], "as": "text", "join": " "}
    assert read(entry, '{"a1":"甲路","a2":"1号"}').text("it") == "甲路 1号"
    assert read(entry, '{"a1":"甲路","a2":null}').text("it") == "甲路"


def test_an_id_is_kept_digit_for_digit_and_named_when_missing() -> None:
    fields = read({"from": ["order.id"], "as": "id"}, '{"order":{"id":90071992547409931}}')
    assert fields.id("it") == "90071992547409931"
    with pytest.raises(Unreadable, match=r"order\.id"):
        read({"from": ["order.id"], "as": "id"}, "{}").id("it")


@pytest.mark.parametrize("body", ['{"orders":{"order":[{"n":1}]}}', '{"orders":[{"n":1}]}'])
def test_a_list_is_read_with_its_wrapper_and_without(body: str) -> None:
    rows = read({"from": ["orders.order?"], "as": "list"}, body).nodes("it")
    assert [row.whole("n") for row in rows] == [1]


def test_a_list_without_the_key_is_empty_not_one_row() -> None:
    rows = read({"from": ["data.list"], "as": "list"}, '{"data":{"total":0}}').nodes("it")
    assert rows == []


def test_what_the_map_leaves_out_is_not_given() -> None:
    fields = FieldMap.parse({"order": {}}).section("order").over(Node({}))
    assert (fields.text("x"), fields.given_text("x"), fields.optional_id("x")) == ("", None, None)
    assert fields.time("x") is None
    for required in (fields.id, fields.amount, fields.quantity, fields.required_time):
        with pytest.raises(Unreadable):
            required("x")


PACKAGED = FieldMap.parse(
    {
        "order": {
            "number": {"from": ["tid"], "as": "id", "required": True},
            "total": {"from": ["payment"], "as": "yuan", "required": True},
            "memo": {"from": ["seller_memo"], "as": "text"},
            "status": {"from": ["status"], "as": "word", "values": {"PAID": "wait_ship"}},
        }
    }
)


def test_an_edit_names_only_what_it_changes() -> None:
    changed = PACKAGED.changed({"order": {"total": {"from": ["sum_fen"], "as": "fen"}}})
    order = changed.section("order").over(Node({"tid": "1", "sum_fen": 990}))
    assert (order.id("number"), order.amount("total")) == ("1", Decimal("9.90"))


def test_an_edit_may_take_a_setting_away() -> None:
    base = FieldMap.parse({"order": {"n": {"from": ["n"], "as": "whole", "default": 7}}})
    assert base.section("order").over(Node({})).whole("n") == 7
    changed = base.changed({"order": {"n": {"default": None}}})
    assert changed.section("order").over(Node({})).optional_whole("n") is None


def test_an_edit_may_take_a_field_out() -> None:
    changed = PACKAGED.changed({"order": {"memo": {"from": []}}})
    assert changed.section("order").over(Node({"seller_memo": "x"})).given_text("memo") is None


@pytest.mark.parametrize(
    ("edited", "words"),
    [
        ({"order": {"number": {"from": []}}}, "order.number：必填字段没有来源"),
        ({"order": {"nubmer": {"from": ["tid"]}}}, "order.nubmer：该平台没有这个字段"),
        ({"oder": {}}, "oder：该平台没有这个分组"),
        ({"order": {"total": {"as": "china_time"}}}, "order.total：类型"),
        ({"order": {"total": {"as": "float"}}}, "order.total：as 应为"),
        ({"order": {"total": {"form": ["x"]}}}, "order.total：不认识的设置 form"),
        ({"order": {"total": {"from": "payment"}}}, "order.total：from 应为"),
        ({"order": {"total": {"from": ["a..b"]}}}, "order.total：路径"),
        ({"order": {"total": {"from": ["a"] * 11}}}, "order.total：from 至多"),
        ({"order": {"total": {"required": False}}}, "order.total：required 不能更改"),
        ({"order": {"memo": {"default": {"a": 1}}}}, "order.memo：default"),
        ({"order": {"memo": {"default": 1.5}}}, "order.memo：default"),
        ({"order": {"status": {"values": {"X": "shiped"}}}}, "order.status：不认识的取值 shiped"),
        ({"order": {"status": {"values": {}}}}, "order.status：as 为 word 时必须有 values"),
        ({"order": []}, "order：分组应为"),
        ([], "对照表应为"),
        ({"order": {"total": None}}, "order.total：应为 JSON 对象"),
    ],
)
def test_an_edit_that_cannot_work_is_refused_with_section_field_and_reason(
    edited: Any, words: str
) -> None:
    with pytest.raises(BadFieldMap) as refused:
        PACKAGED.changed(edited)
    assert words in "；".join(refused.value.problems)


def test_a_word_of_ours_the_default_has_no_use_for_is_still_ours() -> None:
    changed = PACKAGED.changed({"order": {"status": {"values": {"DEP": "deposit_paid"}}}})
    order = changed.section("order").over(Node({"status": "DEP"}))
    assert order.word("status") == "deposit_paid"


PLAIN: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.just([])
)
ENTRY = st.dictionaries(
    st.sampled_from(["from", "as", "values", "otherwise", "default", "join", "required", "x"]),
    PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(st.text(max_size=4), PLAIN, max_size=3),
)
EDIT = st.dictionaries(
    st.sampled_from(["order", "line", ""]),
    st.dictionaries(st.sampled_from(["number", "total", "memo", "status", "y"]), ENTRY | PLAIN),
)


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(edited=EDIT | PLAIN | st.lists(PLAIN))
def test_whatever_is_edited_it_is_taken_or_refused_in_words(edited: Any) -> None:
    try:
        changed = PACKAGED.changed(edited)
    except BadFieldMap as refused:
        assert all(refused.problems)  # noqa: PT017 - either way is right, if it has words
        return
    order = changed.section("order").over(Node({"tid": "1", "payment": "1.00"}))
    for read in (order.id, order.text, order.word, order.given):
        for name in ("number", "total", "memo", "status"):
            with contextlib.suppress(Unreadable):
                read(name)


def test_every_problem_is_told_at_once_but_not_a_thousand() -> None:
    edited = {"order": {f"x{n}": {"from": ["a"]} for n in range(100)}}
    with pytest.raises(BadFieldMap) as refused:
        PACKAGED.changed(edited)
    assert len(refused.value.problems) == 20
