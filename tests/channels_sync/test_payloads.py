"""Every payload of the reference reads as its EXPECTED.json says, on every channel."""

import json
from decimal import Decimal
from typing import Any

import pytest

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.strict_json import dump_compact, loads_page
from channels_sync.contracts import Connector, Document, Unreadable
from channels_sync.documents import document_json
from channels_sync.management.commands.read_payload import NOBODY
from tests.channels_sync.platforms import PAYLOADS


def _expected(channel: str) -> dict[str, Any]:
    text = (PAYLOADS / channel / "EXPECTED.json").read_text(encoding="utf-8")
    files: dict[str, Any] = json.loads(text)["files"]
    return files


CHANNELS = sorted(
    folder.name
    for folder in PAYLOADS.iterdir()
    if folder.name in CONNECTORS and (folder / "EXPECTED.json").exists()
)
FILES = [(channel, name) for channel in CHANNELS for name in _expected(channel)]


def connector(channel: str) -> Connector:
    return CONNECTORS[channel](NOBODY)


def document(channel: str, name: str) -> Document:
    return connector(channel).read_document((PAYLOADS / channel / name).read_bytes())


def differences(expected: Any, found: Any, path: str = "") -> list[str]:
    """Where ``found`` departs from ``expected``; it may say more, it may not say less."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            line
            for key, value in expected.items()
            if key != "notes"
            for line in (
                differences(value, found[key], f"{path}/{key}")
                if key in found
                else [f"{path}/{key} is missing"]
            )
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [
            line
            for index, pair in enumerate(zip(expected, found, strict=True))
            for line in differences(*pair, f"{path}[{index}]")
        ]
    return [] if expected == found else [f"{path}: expected {expected!r}, found {found!r}"]


def test_the_reference_covers_the_channels_we_name() -> None:
    assert set(CHANNELS) == {
        "taobao", "jd", "douyin", "pinduoduo", "shopify", "wechat", "crm_webhook",
    }  # fmt: skip


@pytest.mark.parametrize(("channel", "name"), FILES)
def test_a_payload_reads_as_expected(channel: str, name: str) -> None:
    expected = dict(_expected(channel)[name])
    if str(expected.get("method")).startswith("webhook topic"):
        del expected["method"]  # it stands in a header, not in the file
    found = json.loads(json.dumps(document_json(document(channel, name))))
    assert not differences(expected, found)


@pytest.mark.parametrize(("channel", "name"), FILES)
def test_the_lines_and_the_freight_add_up_to_what_the_order_costs(channel: str, name: str) -> None:
    for order in document(channel, name).orders:
        if order.lines:
            total = sum((line.amount for line in order.lines), order.freight)
            assert total == order.payable_amount, order.channel_number


@pytest.mark.parametrize(("channel", "name"), FILES)
def test_every_time_of_a_payload_is_aware(channel: str, name: str) -> None:
    read = document(channel, name)
    times = [order.placed_at for order in read.orders]
    times += [order.modified_at for order in read.orders]
    times += [refund.modified_at for refund in read.refunds if refund.modified_at]
    assert all(time.utcoffset() is not None for time in times)


@pytest.mark.parametrize(("channel", "name"), FILES)
@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_payload_cut_in_the_middle_is_unreadable(channel: str, name: str, keep: float) -> None:
    body = (PAYLOADS / channel / name).read_bytes()
    with pytest.raises(Unreadable):
        connector(channel).read_document(body[: int(len(body) * keep)])


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"7", b"{}", b"", b"\x80\x81", b"<html>"])
def test_a_document_of_no_known_kind_is_unreadable(channel: str, body: bytes) -> None:
    with pytest.raises(Unreadable):
        connector(channel).read_document(body)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"{}", b""])
def test_what_is_no_order_no_refund_and_no_event_is_unreadable(channel: str, body: bytes) -> None:
    one = connector(channel)
    for read in (one.read, one.read_refund, one.read_event):
        with pytest.raises(Unreadable):
            read(body)


ROWS = {
    "taobao": (
        "trades_sold_increment_get_page.json",
        ("trades_sold_increment_get_response", "trades", "trade"),
    ),
    "jd": (
        "pop_order_search_page.json",
        ("jingdong_pop_order_search_responce", "searchorderinfo_result", "orderInfoList"),
    ),
    "pinduoduo": (
        "order_number_list_increment_page.json",
        ("order_sn_increment_get_response", "order_sn_list"),
    ),
}


@pytest.mark.parametrize("channel", sorted(ROWS))
def test_an_order_cut_out_of_its_page_reads_the_same(channel: str) -> None:
    name, path = ROWS[channel]
    rows = loads_page((PAYLOADS / channel / name).read_bytes())
    for key in path:
        rows = rows[key]
    drafts = tuple(connector(channel).read(dump_compact(row)) for row in rows)
    assert drafts == document(channel, name).orders


def test_a_cut_out_number_keeps_its_digits() -> None:
    body = b'{"tid":2600000000000000101,"a":19.90,"b":0.1000000000000000055,"c":"\xe4\xb8\xad"}'
    assert dump_compact(loads_page(body)) == body
    assert loads_page(body)["a"] == Decimal("19.90")
