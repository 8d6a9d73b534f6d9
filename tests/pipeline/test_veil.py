"""What quarantine shows of somebody else's bytes: their shape, and nobody in them."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels_sync import field_maps
from channels_sync.contracts import Unreadable
from channels_sync.models import FieldMap
from ordercenter.pipeline.intake import reader
from ordercenter.pipeline.veil import HIDDEN, veiled
from tests.channels_sync.contract_cases import DOCUMENTS, Case
from tests.factories import FieldMapFactory, ShopFactory

pytestmark = pytest.mark.django_db
NAME, PHONE, ADDRESS = "林小满", "13912345678", "星湖街328号3栋"


def veil(told: Any, channel: str = "taobao") -> str:
    data = told if isinstance(told, bytes) else json.dumps(told, ensure_ascii=False).encode()
    return veiled(data, channel=channel, shop_id=None)


def assert_hidden(text: str) -> None:
    for secret in (NAME, PHONE, ADDRESS):
        assert secret not in text
        assert json.dumps(secret)[1:-1] not in text


@pytest.mark.parametrize(
    ("case", "name", "body"),
    DOCUMENTS,
    ids=[f"{case.channel}-{name}" for case, name, _ in DOCUMENTS],
)
def test_no_receiver_of_any_captured_document_is_shown(case: Case, name: str, body: bytes) -> None:
    try:
        found = reader(case.channel).read_document(body)
    except Unreadable:
        pytest.skip("a document of which nothing can be read")
    people = [order.receiver for order in found.orders if order.receiver]
    for data in (body, body[: len(body) // 2], body[: len(body) // 3]):
        text = veil(data, case.channel)
        for one in people:
            for secret in (one.name, one.phone, one.address, one.oaid):
                # Two characters may be a part of any word; what is shorter names nobody.
                if len(secret) > 3:
                    assert secret not in text, name
        for order in found.orders:
            if order.channel_number.encode() in data:
                assert order.channel_number in text, name
    assert len(text) > 2


@pytest.mark.parametrize(
    "told",
    [
        {"receiver_name": NAME, "receiver_mobile": PHONE, "receiver_address": ADDRESS},
        {"consigneeInfo": {"x": {"y": [NAME, {"z": ADDRESS}]}, "n": int(PHONE)}},
        {"a field nobody knows": NAME, "another": f"电话 {PHONE}", "third": [ADDRESS]},
        {"note": f"{NAME} {PHONE}", "seller_memo": ADDRESS},
        {"content": json.dumps({"content": json.dumps({"receiver_name": NAME, "k": ADDRESS})})},
        {"content": json.dumps({"receiver_name": NAME})},
        {"tid": f"{PHONE}", "id": f"tel:{PHONE}", "number": int(PHONE)},
        [[NAME, PHONE], {"a": ADDRESS}],
    ],
)
def test_a_person_is_hidden_wherever_in_json(told: Any) -> None:
    assert_hidden(veil(told))
    assert_hidden(veil(json.dumps(told).encode()))  # as \\uXXXX


def test_what_is_needed_to_find_the_fault_is_shown() -> None:
    told = {
        "tid": 3_000_000_000_000_000_001, "status": "WAIT_SELLER_SEND_GOODS", "payment": "100.00",
        "pay_time": "2026-03-01 09:01:00", "outer_sku_id": "SOFA-01", "title": "棉麻沙发",
        "receiver_name": NAME, "receiver_state": "江苏省",
    }  # fmt: skip
    text = veil(told)
    shown = json.loads(text)
    assert shown == {**told, "receiver_name": HIDDEN}


@pytest.mark.parametrize("channel", ["jd", "douyin", "pinduoduo", "wechat", "shopify", "nobody"])
def test_bytes_cut_anywhere_show_nobody(channel: str) -> None:
    told = {"a": 1, "receiver": {"name": NAME, "phone": PHONE, "address": ADDRESS}, "z": [NAME]}
    whole = json.dumps(told, ensure_ascii=False).encode()
    for end in range(len(whole)):
        assert_hidden(veil(whole[:end], channel))


@pytest.mark.parametrize(
    "told",
    [
        urlencode({"a": "1", "receiver_name": NAME, "tel": PHONE, "x": ADDRESS}).encode(),
        f"order=1&json={json.dumps({'receiver_name': NAME, 'y': ADDRESS})}&m={PHONE}".encode(),
        f"<xml><receiver_name>{NAME}</receiver_name><t>{PHONE}</t><k a='{ADDRESS}'/>".encode(),
        f"<xml><x><![CDATA[{NAME} {ADDRESS}]]></x>".encode(),
        b"{receiver: John, name: '" + NAME.encode() + b"', n: " + PHONE.encode() + b"}",
        f"什么都不是 {NAME} {PHONE} {ADDRESS}".encode(),
        f"{NAME},{PHONE},{ADDRESS}\n".encode() * 3,
        f"{NAME} {ADDRESS}".encode("gbk"),
        b"",
        b"\xff\xfe{",
    ],
)
def test_forms_xml_and_rubbish_show_nobody(told: bytes) -> None:
    assert_hidden(veil(told))


def test_bare_words_in_what_should_be_json_are_hidden() -> None:
    text = veil(b'{x: John, "y": Smith, "n": 12, "t": true, "z": null}')
    assert text == '{***: ***, "y": ***, "n": 12, "t": true, "z": null}'


def test_xml_of_a_carrier_keeps_its_codes() -> None:
    body = b'<Request service="RoutePushService"><opCode>80</opCode><mailNo>SF1</mailNo></Request>'
    assert veil(body, "") == body.decode()


def test_a_field_an_edited_map_reads_as_the_receiver_is_hidden() -> None:
    shop = ShopFactory.create(channel="openjson")
    told = json.dumps({"who": "WangXiaoming", "sku_code": "A-1"}).encode()
    assert "WangXiaoming" in veiled(told, channel="openjson", shop_id=shop.pk)
    FieldMapFactory.create(
        channel="openjson", shop=shop, is_live=True,
        mapping={"receiver": {"name": {"from": ["who"]}}},
    )  # fmt: skip
    assert FieldMap.objects.count() == 1
    field_maps._LIVE.forget()
    text = veiled(told, channel="openjson", shop_id=shop.pk)
    assert (HIDDEN in text, "WangXiaoming" in text, "A-1" in text) == (True, False, True)
    field_maps._LIVE.forget()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just(NAME) | st.just(PHONE),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(JSON, st.integers(0, 400))
def test_any_json_cut_anywhere_is_veiled_without_a_crash(told: Any, end: int) -> None:
    text = veil(json.dumps(told, ensure_ascii=False).encode(errors="replace")[:end])
    assert NAME not in text
    assert PHONE not in text


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_veiled_without_a_crash(told: bytes) -> None:
    assert isinstance(veil(told), str)
