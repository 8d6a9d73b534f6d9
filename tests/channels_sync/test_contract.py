"""What every connector keeps, whatever its platform: how it reads (``docs/connectors.md``).

A new channel is a row in ``contract_cases.CASES``; whoever leaves it out fails the first test.
"""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.strict_json import dump_compact, loads_page
from channels_sync.connectors.values import quantum_of
from channels_sync.contracts import (
    AddressAnswer,
    Memo,
    MessageKind,
    ShipNotice,
    StockFigure,
    StopAnswer,
    Unreadable,
)
from ordercenter.catalog.models import Channel
from ordercenter.orders.contracts import OrderDraft
from tests.channels_sync.contract_cases import (
    BY_CHANNEL,
    CASES,
    DOCUMENTS,
    PUSH_TOKEN,
    READING_ONLY,
    SECRET,
    TOKEN,
    Case,
    request,
)

every = pytest.mark.parametrize("case", CASES, ids=list(BY_CHANNEL))
every_document = pytest.mark.parametrize(
    ("case", "name", "body"), DOCUMENTS, ids=[f"{c.channel}-{n}" for c, n, _ in DOCUMENTS]
)
TOLD = {ShipNotice, StockFigure, StopAnswer, Memo, AddressAnswer}


# --- what it says of itself -------------------------------------------------------------------


def test_every_channel_is_held_to_the_contract() -> None:
    assert set(CONNECTORS) == set(BY_CHANNEL) | READING_ONLY
    assert set(CONNECTORS) == set(Channel.values)


@every
def test_its_attributes_make_sense(case: Case) -> None:
    made: Any = CONNECTORS[case.channel]
    assert made.channel == case.channel
    codes = [feed.code for feed in made.feeds]
    assert set(codes) <= {"orders", "refunds"}
    assert len(codes) == len(set(codes))
    for feed in made.feeds:
        assert feed.max_window_seconds >= 60
        assert feed.settle_seconds >= 0
        assert feed.overlap_seconds >= 60
    assert all(limit.per_second > 0 and limit.burst >= 1 for limit in made.limits.values())
    assert made.repeatable <= TOLD
    assert isinstance(made.listens, bool)
    assert made.default_map is not None, "no field map"


@every
def test_its_secrets_are_in_no_representation(case: Case) -> None:
    shown = repr(case.access(old_app_secret="the-old-secret"))
    for secret in (SECRET, TOKEN, PUSH_TOKEN, "the-old-secret"):
        assert secret not in shown


# --- reading ----------------------------------------------------------------------------------


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_args: object, **_more: object) -> None:
        raise AssertionError("reading went out")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(httpx.Client, "send", refused)


def turned(value: Any) -> Any:
    """The same JSON with the keys of every object in another order."""
    if isinstance(value, Mapping):
        return {key: turned(value[key]) for key in reversed(list(value))}
    return [turned(one) for one in value] if isinstance(value, list) else value


@pytest.mark.usefixtures("_no_network")
@every_document
def test_a_document_reads_the_same_twice_and_in_any_order_of_keys(
    case: Case, name: str, body: bytes
) -> None:
    first = case.reader().read_document(body)
    assert case.reader().read_document(body) == first
    assert case.reader().read_document(dump_compact(turned(loads_page(body)))) == first


@pytest.mark.usefixtures("_no_network")
@every
def test_an_order_and_a_refund_read_the_same_in_any_order_of_keys(case: Case) -> None:
    one = case.reader()
    order, refund = case.order_body(), case.refund_body()
    assert one.read(dump_compact(turned(loads_page(order)))) == one.read(order)
    assert one.read_refund(dump_compact(turned(loads_page(refund)))) == one.read_refund(refund)
    assert one.read(order).channel == case.channel
    assert one.read_refund(refund).channel == case.channel


def values_of(value: Any) -> Iterator[Any]:
    if is_dataclass(value):
        for one in fields(value):
            yield from values_of(getattr(value, one.name))
    elif isinstance(value, tuple):
        for entry in value:
            yield from values_of(entry)
    else:
        yield value


def assert_sound(order: OrderDraft) -> None:
    """Money exact to the currency's coin, times aware, ids text, quantities above zero."""
    coin = quantum_of(order.currency)
    for value in values_of(order):
        if isinstance(value, Decimal):
            assert value == value.quantize(coin)
            assert value >= 0
        if isinstance(value, datetime):
            assert value.utcoffset() is not None
        assert not isinstance(value, float)
    assert order.channel_number.strip()
    assert order.lines or order.channel == "wechat"
    assert all(line.quantity > 0 and line.channel_line_id for line in order.lines)
    ids = [line.channel_line_id for line in order.lines]
    assert len(ids) == len(set(ids))


@every_document
def test_money_times_and_ids_are_sound(case: Case, name: str, body: bytes) -> None:
    for order in case.reader().read_document(body).orders:
        assert_sound(order)


def with_number(case: Case, number: Any) -> bytes:
    order = loads_page(case.order_body())
    if case.id_key:
        return dump_compact({**order, case.id_key: number})
    return dump_compact({**order, "order": {**order["order"], "order_no": number}})


@every
@pytest.mark.parametrize("number", [90071992547409931, 9_223_372_036_854_775_807])
def test_a_number_above_2_to_the_53_keeps_every_digit(case: Case, number: int) -> None:
    assert case.reader().read(with_number(case, number)).channel_number == str(number)


@every
def test_an_id_given_as_text_is_kept_verbatim(case: Case) -> None:
    for number in ("0012003400560078", *((" Ab-1 ", "ab-1") if case.text_ids else ())):
        assert case.reader().read(with_number(case, number)).channel_number == number


# --- bad JSON (reliability.md 6, BJ) ----------------------------------------------------------

BAD_JSON: dict[str, Callable[[bytes], bytes]] = {
    "BJ01 cut": lambda body: body[: len(body) // 2],
    "BJ02 garbage behind": lambda body: body + b"x",
    "BJ04 NaN": lambda body: body[:-1] + b',"zz":NaN}',
    "BJ04 Infinity": lambda body: body[:-1] + b',"zz":-Infinity}',
    "BJ05 twice": lambda body: body[:-1] + b',"zz":1,"zz":2}',
    "BJ06 deep": lambda body: b"[" * 100_000,
    "BJ06 deep inside": lambda body: body[:-1] + b',"zz":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "BJ09 5000 digits": lambda body: body[:-1] + b',"zz":' + b"1" * 5000 + b"}",
    "BJ10 array": lambda body: b"[]",
    "BJ10 null": lambda body: b"null",
    "BJ10 text": lambda body: b'"x"',
    "BJ10 number": lambda body: b"7",
    "BJ11 twice encoded": lambda body: json.dumps(body.decode()).encode(),
    "BJ24 GBK": lambda body: body[:-1] + ',"zz":"中文"}'.encode("gbk"),
    "BJ25 junk": lambda body: b"\x00\x01\xfe\xff" * 20,
    "BJ26 form": lambda body: b"param_json=%7B%22tid%22%3A1%7D&sign=a+b#c",
    "lone surrogate": lambda body: body[:-1] + b',"zz":"\\ud800"}',
    "NUL": lambda body: body[:-1] + b',"zz":"a\\u0000b"}',
    "empty": lambda body: b"",
    "blank": lambda body: b" \n",
    "2 MiB and more": lambda body: body[:-1] + b',"zz":"' + b"x" * (2 << 20) + b'"}',
    "BJ22 XML entity": lambda body: (
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
    ),
    "BJ23 XML bomb": lambda body: (
        b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;">]><a>&c;</a>'
    ),
    "BJ24 XML encoding": lambda body: b'<?xml version="1.0" encoding="utf-16"?><xml>\xff</xml>',
}


@every
@pytest.mark.parametrize("how", BAD_JSON.values(), ids=BAD_JSON.keys())
def test_broken_json_is_unreadable_for_every_reader(
    case: Case, how: Callable[[bytes], bytes]
) -> None:
    one = case.reader()
    readers = {one.read: case.order_body(), one.read_refund: case.refund_body()}
    readers |= {one.read_document: case.order_body(), one.read_event: case.order_body()}
    for read, body in readers.items():
        with pytest.raises(Unreadable):
            read(how(body))


@every
@pytest.mark.parametrize("how", BAD_JSON.values(), ids=BAD_JSON.keys())
def test_broken_json_that_is_pushed_is_kept_with_all_its_bytes(
    case: Case, how: Callable[[bytes], bytes]
) -> None:
    body = how(case.order_body())
    headers = {"x-shopify-topic": "orders/paid", "x-shopify-webhook-id": "w-1"}
    rows = case.connector().split(request(body, headers))
    if body.strip() != b"[]":  # an empty array of messages is no message
        assert [(row.kind, row.body) for row in rows] == [(MessageKind.UNREADABLE, body)]


@every
def test_a_bom_is_cut(case: Case) -> None:
    body = case.order_body()
    assert case.reader().read(b"\xef\xbb\xbf" + body) == case.reader().read(body)


@every
def test_what_we_do_not_know_is_ignored(case: Case) -> None:
    """BJ12, BJ07 and BJ08: extra fields, however large, change nothing."""
    body = case.order_body()
    extra = {"zz_new": {"a": [1, "x", None]}, "z" * 1_000_000: 1, "zz": [0] * 200_000}
    more = dump_compact({**loads_page(body), **extra})
    assert case.reader().read(more) == case.reader().read(body)


# --- anything at all --------------------------------------------------------------------------

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", " ", "x" * 300, -1, 0, 1, 10**30, True, False, [], {}, [[]], [None], {"a": 1}, "0",
     "1.005", "\uff11\uff12", "1e9", "-0.00", "2026-02-30 00:00:00", "2026-03-01 24:00:00", "NaN",
     "{", "[", "9999-12-31 00:00:00", "0001-01-01 00:00:00", "<script>", "\u202e", "a\tb", "##",
     Decimal("0.001"), Decimal("1E+20"), 253402300800, 1772327287000, "null", "gid://shopify/"]
)  # fmt: skip
SEARCH = settings(
    max_examples=200, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document, the root left out."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    found = [(*at, key) for key, _ in pairs]
    return found + [place for key, one in pairs for place in places(one, (*at, key))]


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[place[0]] = put(value[place[0]], place[1:], new)
    return changed


def spoilt(data: st.DataObject, body: bytes) -> bytes:
    """The document with one to three of its values replaced by odd ones."""
    value = loads_page(body)
    for _ in range(data.draw(st.integers(1, 3))):
        value = put(value, data.draw(st.sampled_from(places(value))), data.draw(ODD))
    return dump_compact(value)


@every
@SEARCH
@given(data=st.data())
def test_an_order_with_odd_values_is_read_soundly_or_refused(
    case: Case, data: st.DataObject
) -> None:
    try:
        order = case.reader().read(spoilt(data, case.order_body()))
    except Unreadable:
        return
    assert_sound(order)


@every
@SEARCH
@given(data=st.data())
def test_any_document_with_odd_values_is_read_or_refused(case: Case, data: st.DataObject) -> None:
    bodies = [body for _, body in case.payloads()] or [case.order_body(), case.refund_body()]
    body = spoilt(data, data.draw(st.sampled_from(bodies)))
    try:
        document = case.reader().read_document(body)
    except Unreadable:
        return
    for order in document.orders:
        assert_sound(order)


@every
@SEARCH
@given(data=st.data())
def test_a_refund_with_odd_values_is_read_or_refused(case: Case, data: st.DataObject) -> None:
    try:
        refund = case.reader().read_refund(spoilt(data, case.refund_body()))
    except Unreadable:
        return
    assert refund.amount >= 0
    assert refund.refund_id.strip()
    assert refund.channel_number.strip()


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


@every
@SEARCH
@given(data=st.data())
def test_a_push_of_anything_becomes_rows_and_never_fails(case: Case, data: st.DataObject) -> None:
    raw = st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps(value).encode())
    body = data.draw(raw) if data.draw(st.booleans()) else spoilt(data, case.order_body())
    headers = {"x-shopify-topic": data.draw(st.sampled_from(["", "orders/paid", "refunds/create"]))}
    headers |= {"x-event-id": "e", "x-shopify-webhook-id": "w"}
    one = case.connector()
    pushed = request(body, headers)
    rows = one.split(pushed)
    assert rows == one.split(pushed)
    assert all(isinstance(row.body, bytes) for row in rows)
    answer = one.acknowledge(pushed, duplicate=False)
    assert isinstance(answer.body, bytes)
