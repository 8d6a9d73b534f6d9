"""What comes in is read strictly: shape, numbers and clocks (classes BJ, BM and BD)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels_sync.connectors.strict_json import dump_compact, loads_page, loads_strict
from channels_sync.connectors.values import (
    Node,
    boolean,
    china_time,
    fen,
    id_text,
    line_ids,
    optional_id,
    quantity,
    unix_milliseconds,
    unix_seconds,
    unwrap,
    yuan,
)
from channels_sync.contracts import Unreadable
from ordercenter.core.money import share_out

BROKEN = {
    "cut": b'{"a": 1',
    "trailing garbage": b'{"a": 1} x',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "duplicate key": b'{"order_id": "1", "order_id": "2"}',
    "nested duplicate key": b'{"a": [{"b": 1, "b": 1}]}',
    "100,000 brackets": b"[" * 100_000,
    "65 levels": b"[" * 65 + b"1" + b"]" * 65,
    "5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "101 digits": b'{"a": ' + b"9" * 101 + b"}",
    "huge exponent": b'{"a": 1e999999999}',
    "exponent beyond decimal": b'{"a": 1e99999999999999999999}',
    "binary": bytes(range(128, 256)),
    "GBK": '{"a": "中文"}'.encode("gbk"),
    "lone surrogate": rb'{"a": "\ud83d"}',
    "lone surrogate in a key": rb'{"\udc00": 1}',
    "escaped NUL": rb'{"a": ["\u0000"]}',
    "raw NUL": b'{"a": "\x00"}',
    "raw newline": b'{"a": "\n"}',
    "empty": b"",
    "over 2 MiB": b'"' + b"x" * (2 * 1024 * 1024) + b'"',
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_a_message_two_readers_could_take_differently_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable) as refusal:
        loads_strict(body)
    assert any("一" <= character <= "鿿" for character in str(refusal.value))


def test_sound_json_is_read() -> None:
    body = "\ufeff" + r'{"a":"\ud83d\ude00中\\u0000","n":9007199254740993,"m":19.99,"t":true}'
    value = loads_strict(body.encode())
    assert value == {
        "a": "😀中\\u0000",
        "n": 9007199254740993,
        "m": Decimal("19.99"),
        "t": True,
    }
    assert loads_strict(b"[" * 64 + b"]" * 64)


@pytest.mark.parametrize(
    "broken",
    [
        b'{"tid":1,"tid":2}',
        b'{"tid":1,"payment":NaN}',
        b'{"tid":1,"payment":' + b"9" * 101 + b"}",
        rb'{"tid":1,"memo":"\ud83d"}',
        rb'{"tid":1,"memo":"\u0000"}',
    ],
)
def test_one_broken_order_does_not_cost_its_page(broken: bytes) -> None:
    page = loads_page(b'{"rows":[{"tid":7},' + broken + b"]}")
    assert dump_compact(page["rows"][0]) == b'{"tid":7}'
    assert dump_compact(page["rows"][1]) == broken
    with pytest.raises(Unreadable):
        loads_strict(dump_compact(page["rows"][1]))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
    | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc中"), inner),
    max_leaves=20,
)


@given(json_values)
def test_what_is_written_back_reads_the_same(value: Any) -> None:
    assert loads_page(dump_compact(value)) == value
    assert loads_strict(dump_compact(value)) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("89.00", "89.00"),
        ("89", "89.00"),
        ("89.9", "89.90"),
        (Decimal("19.99"), "19.99"),
        (39, "39.00"),
        ("-0.00", "0.00"),
        ("90071992547409.93", "90071992547409.93"),
    ],
)
def test_an_amount_in_yuan_is_exact(value: Any, expected: str) -> None:
    assert str(yuan(value, "payment")) == expected


@pytest.mark.parametrize(
    "value",
    [
        "19,99",
        "1,999.00",
        "¥9.00",
        "1E+2",
        "1_000",
        "\uff11\uff19.00",
        "\u0663",
        "9.999",
        "-0.01",
        " 9.00",
        "9.00\n",
        "",
        "NaN",
        "Infinity",
        None,
        True,
        19.99,
        Decimal("0.001"),
        10**15,
        {},
        [],
    ],
)
def test_what_is_no_exact_amount_is_refused(value: Any) -> None:
    with pytest.raises(Unreadable):
        yuan(value, "payment")


@pytest.mark.parametrize("value", ["1.5", Decimal("1.0"), True, None, "1e2", -1, "\uff11"])
def test_fen_are_whole(value: Any) -> None:
    with pytest.raises(Unreadable):
        fen(value, "amount")


def test_fen_become_yuan_exactly() -> None:
    assert str(fen(17400, "amount")) == "174.00"
    assert str(fen("1", "amount")) == "0.01"


QUANTITIES = [
    0,
    -1,
    Decimal("1.5"),
    "1_000",
    "\uff11",
    "\u0663",
    True,
    "1.0",
    "",
    None,
    10**9,
    2**31,
    2**63,
]


@pytest.mark.parametrize("value", QUANTITIES)
def test_what_is_no_quantity_is_refused(value: Any) -> None:
    with pytest.raises(Unreadable):
        quantity(value, "num")


def test_a_quantity_may_come_as_text() -> None:
    assert (quantity(2, "num"), quantity("2", "num")) == (2, 2)


def test_a_long_id_keeps_every_digit() -> None:
    assert id_text(2600000000000000101, "tid") == "2600000000000000101"
    assert id_text("26\u200b01", "tid") == "26\u200b01"


@pytest.mark.parametrize(
    "value", [None, "", "  ", "\u3000", True, 1.5, Decimal(1), {}, [], "x" * 65]
)
def test_what_is_no_id_is_refused(value: Any) -> None:
    with pytest.raises(Unreadable):
        id_text(value, "tid")


@pytest.mark.parametrize("value", [None, "", " ", 0, "0", True, Decimal(1), {}, []])
def test_an_optional_id_may_be_absent_in_many_ways(value: Any) -> None:
    assert optional_id(value) is None


@pytest.mark.parametrize("value", [1, 0, "0", "True", "yes", None])
def test_a_flag_is_true_or_false_and_nothing_else(value: Any) -> None:
    with pytest.raises(Unreadable):
        boolean(value, "has_next")


def test_naive_text_is_beijing_time() -> None:
    moment = datetime(2026, 3, 1, 0, 13, 5, tzinfo=UTC)
    assert china_time("2026-03-01 08:13:05", "pay_time") == moment
    assert china_time("2026-03-01T00:13:05Z", "pay_time") == moment
    assert china_time("2026-03-01T08:13:05+08:00", "pay_time") == moment
    assert unix_seconds(1772323985, "pay_time") == moment
    assert unix_seconds("1772323985", "pay_time") == moment
    assert unix_milliseconds(1772323985250, "t") == moment + timedelta(milliseconds=250)


@pytest.mark.parametrize(
    "value", [None, "", 0, "0", "0001-01-01 00:00:00", "1970-01-01 00:00:00", "1970-01-01 08:00:00"]
)
def test_a_sentinel_is_no_time(value: Any) -> None:
    assert china_time(value, "end_time") is None


@pytest.mark.parametrize(
    "value",
    [
        "9999-12-31 00:00:00",
        "2026-02-30 00:00:00",
        "2026-03-01 24:00:00",
        "2026-03-01 23:59:60",
        "2569-03-01 00:00:00",
        "0115-03-01 00:00:00",
        "2026-03-01",
        "20260301081305",
        "\uff12026-03-01 08:13:05",
        "2026-03-01 08:13:05 ",
        "yesterday",
        1772323985,
        True,
        {},
    ],
)
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(Unreadable):
        china_time(value, "created")


@pytest.mark.parametrize(
    "value", [1772323985000, 253402300800, -1, 86400, "x", Decimal("1.5"), True]
)
def test_what_is_no_second_is_refused(value: Any) -> None:
    with pytest.raises(Unreadable):
        unix_seconds(value, "create_time")


def test_seconds_are_not_taken_for_milliseconds() -> None:
    with pytest.raises(Unreadable):
        unix_milliseconds(1772323985, "time")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, []),
        ({}, []),
        ({"trade": []}, []),
        ({"trade": None}, []),
        ({"trade": {"tid": 1}}, [{"tid": 1}]),
        ({"trade": [{"tid": 1}]}, [{"tid": 1}]),
        ([{"tid": 1}], [{"tid": 1}]),
        ([[{"tid": 1}], [{"tid": 2}]], [{"tid": 1}, {"tid": 2}]),
    ],
)
def test_a_list_is_read_in_any_of_its_legal_shapes(value: Any, expected: list[Any]) -> None:
    assert unwrap(value, "trade") == expected


@pytest.mark.parametrize("value", ["x", 7, True])
def test_what_is_no_list_is_refused(value: Any) -> None:
    with pytest.raises(Unreadable):
        unwrap(value, "trade")


def test_a_refusal_names_the_field_and_hides_its_value() -> None:
    order = Node.of({"receiver": {"phone_count": "13800000000x"}})
    with pytest.raises(Unreadable, match=r"receiver\.phone_count") as refusal:
        order.node("receiver").whole("phone_count")
    assert "13800000000" not in str(refusal.value)


money = st.integers(0, 10**12).map(lambda units: Decimal(units) / 100)


@given(money, st.lists(money, min_size=1, max_size=20))
def test_shares_add_up_and_none_is_off_by_a_fen(total: Decimal, weights: list[Decimal]) -> None:
    shares = share_out(total, weights)
    basis = sum(weights)
    if not basis:
        assert set(shares) == {Decimal(0)}
        return
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - total * weight / basis) < Decimal("0.01000001")
        assert weight or not share


def test_a_line_without_an_id_of_its_own_gets_one() -> None:
    assert line_ids(["7", "8", "7", "7"]) == ["7", "8", "7#2", "7#3"]


@pytest.mark.parametrize("reader", [loads_strict, loads_page])
def test_a_deep_message_is_refused_and_does_not_crash(reader: Callable[[bytes], Any]) -> None:
    with pytest.raises(Unreadable):
        reader(b'{"a":' * 5000 + b"1" + b"}" * 5000)
