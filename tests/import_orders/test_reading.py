"""What one order's rows come to, and what is refused with row number and reason."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from channels_sync.connectors import CONNECTORS
from channels_sync.contracts import (
    BadSignature,
    Rejected,
    ShipNotice,
    ShopAccess,
    Unreadable,
    WebhookRequest,
    Window,
)
from ordercenter.orders.contracts import ChannelStatus
from tests.import_orders.sheets import documents, drafts, mapping, read, row, text, write

NOW = datetime(2026, 3, 2, 4, tzinfo=UTC)
NOBODY = ShopAccess("", "", "", "")


def reason(folder: Path, *rows: list[str], **more: object) -> str:
    """Why the first order of these rows is refused."""
    path = write(folder, text(*rows))
    with pytest.raises(Unreadable) as caught:
        read(documents(path, mapping(**more))[0].message.body)
    return str(caught.value)


def test_an_order_is_its_rows_in_their_order(tmp_path: Path) -> None:
    [draft] = drafts(
        tmp_path,
        row("1001", 数量="2", 单价="9.90", 时间="2026-03-02 10:00:01", 买家="甲"),
        row("1001", 编码="B-2", 名称="", 单价="0.10", 时间="2026-03-02 10:00:00"),
    )
    assert [(ln.channel_line_id, ln.outer_code, ln.title, ln.quantity, ln.unit_price, ln.amount)
            for ln in draft.lines] == [
        ("1", "A-1", "靠垫", 2, Decimal("9.90"), Decimal("19.80")),
        ("2", "B-2", "B-2", 1, Decimal("0.10"), Decimal("0.10")),
    ]  # fmt: skip
    assert (draft.payable_amount, draft.paid_amount) == (Decimal("19.90"), Decimal("19.90"))
    assert draft.placed_at == datetime(2026, 3, 2, 2, 0, 0, tzinfo=UTC)
    assert (draft.status, draft.currency, draft.evidence.buyer_id) == (
        ChannelStatus.WAIT_SHIP, "CNY", "甲"
    )  # fmt: skip


def test_exact_duplicate_rows_are_two_lines(tmp_path: Path) -> None:
    [draft] = drafts(tmp_path, row("1001"), row("1001"))
    assert [ln.channel_line_id for ln in draft.lines] == ["1", "2"]
    assert draft.payable_amount == Decimal("20.00")


def test_codes_are_made_upper_case_only_where_the_mapping_says_so(tmp_path: Path) -> None:
    columns = mapping()["columns"] | {"sku": {"column": "编码", "upper": True}}
    assert drafts(tmp_path, row("1", 编码="a-1b"))[0].lines[0].outer_code == "a-1b"
    assert drafts(tmp_path, row("1", 编码="a-1b"), columns=columns)[0].lines[0].outer_code == "A-1B"


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"数量": "0"}, "第 3 行：字段 数量 的数量必须大于零"),
        ({"数量": "-1"}, "第 3 行：字段 数量 的数量必须大于零"),
        ({"数量": "1.5"}, "第 3 行：字段 数量 不是整数"),
        ({"数量": "1_000"}, "第 3 行：字段 数量 不是整数"),
        ({"数量": "\uff11\uff12"}, "第 3 行：字段 数量 不是整数"),
        ({"数量": "٣"}, "第 3 行：字段 数量 不是整数"),
        ({"数量": ""}, "第 3 行：字段 数量 不是整数"),
        ({"数量": "1000000000"}, "第 3 行：字段 数量 的数量超过上限 1000000"),
        ({"数量": "9223372036854775808"}, "第 3 行：字段 数量 的数量超过上限 1000000"),
        ({"单价": "-0.01"}, "第 3 行：字段 单价 的金额是负数"),
        ({"单价": "0.001"}, "第 3 行：字段 单价 的金额小数位过多"),
        ({"单价": "19·99"}, "第 3 行：字段 单价 不是金额"),
        ({"单价": "1E+2"}, "第 3 行：字段 单价 不是金额"),
        ({"单价": "¥10.00"}, "第 3 行：字段 单价 不是金额"),
        ({"单价": "NaN"}, "第 3 行：字段 单价 不是金额"),
        ({"单价": ""}, "第 3 行：字段 单价 不是金额"),
        ({"时间": ""}, "第 3 行：缺少字段 时间"),
        ({"时间": "2026-02-30 10:00:00"}, "第 3 行：字段 时间 的时间不存在或格式不对"),
        ({"时间": "2026-03-02 24:00:00"}, "第 3 行：字段 时间 的时间不存在或格式不对"),
        ({"时间": "2026-03-02 23:59:60"}, "第 3 行：字段 时间 的时间不存在或格式不对"),
        ({"时间": "1772416800000"}, "第 3 行：字段 时间 的时间不存在或格式不对"),
        ({"时间": "\uff12\uff10\uff12\uff16-03-02 10:00:00"}, "第 3 行：字段 时间 的时间格式不对"),
        ({"时间": "1970-01-01 00:00:00"}, "第 3 行：字段 时间 的年份超出"),
        ({"时间": "9999-12-31 00:00:00"}, "第 3 行：字段 时间 的年份超出"),
        ({"时间": "0115-03-02 10:00:00"}, "第 3 行：字段 时间 的年份超出"),
        ({"买家": "乙"}, "第 3 行：字段 买家 与同一订单的第 2 行不同"),
        ({"名称": "靠\0垫"}, "第 3 行：单元格里有 NUL 字符"),
    ],
)
def test_a_bad_row_costs_its_order_and_says_its_number(
    tmp_path: Path, cells: dict[str, str], words: str
) -> None:
    assert reason(tmp_path, row("1001", 买家="甲"), row("1001", **cells)).startswith(words)


def test_a_row_with_too_few_or_too_many_cells_is_refused(tmp_path: Path) -> None:
    assert reason(tmp_path, row("1001")[:-1]) == "第 2 行：列数不对，应为 7 列，实为 6 列"
    assert reason(tmp_path, [*row("1001"), "x"]) == "第 2 行：列数不对，应为 7 列，实为 8 列"


def test_a_row_without_number_stands_alone(tmp_path: Path) -> None:
    path = write(tmp_path, text(row(""), row("1001"), row(" ")))
    found = documents(path, mapping())
    assert [(d.message.channel_number, d.first_row) for d in found] == [
        ("", 2), ("1001", 3), ("", 4)
    ]  # fmt: skip
    for document in (found[0], found[2]):
        with pytest.raises(Unreadable, match="没有单号"):
            read(document.message.body)


@pytest.mark.parametrize("number", ["1.23457E+18", "1E+18", "2e20"])
def test_a_number_a_spreadsheet_has_ruined_is_refused(tmp_path: Path, number: str) -> None:
    assert "科学计数法" in reason(tmp_path, row(number))


def test_a_third_decimal_is_rounded_only_where_the_mapping_says_so(tmp_path: Path) -> None:
    cells = {"单价": "0.125", "数量": "3"}
    [draft] = drafts(tmp_path, row("1", **cells), round_line_amounts=True)
    assert (draft.lines[0].amount, draft.lines[0].unit_price) == (Decimal("0.38"), Decimal("0.12"))
    assert "小数位过多" in reason(tmp_path, row("1", **cells))


def test_trailing_zeros_are_no_third_decimal(tmp_path: Path) -> None:
    assert drafts(tmp_path, row("1", 单价="2.550"))[0].payable_amount == Decimal("2.55")


def test_negative_zero_is_zero(tmp_path: Path) -> None:
    amount = drafts(tmp_path, row("1", 单价="-0.00"))[0].lines[0].amount
    assert (amount, amount.is_signed()) == (Decimal("0.00"), False)


def test_numbers_of_another_form_are_read_only_as_declared(tmp_path: Path) -> None:
    told = {"decimal": ",", "thousands": ".", "prefix": "€"}
    [draft] = drafts(tmp_path, row("1", 单价='"€1.999,50"'), numbers=told)
    assert draft.payable_amount == Decimal("1999.50")
    assert "不是金额" in reason(tmp_path, row("1", 单价="19.99"), numbers=told)
    assert "不是金额" in reason(tmp_path, row("1", 单价='"1,999.50"'))


def test_an_order_beyond_what_the_books_hold_is_refused(tmp_path: Path) -> None:
    words = reason(tmp_path, row("1", 数量="1000000", 单价="9999999.99"))
    assert words == "订单金额超出范围"


def test_freight_rows_are_freight_and_no_lines(tmp_path: Path) -> None:
    rows = [row("1"), row("1", 编码="POST", 单价="8.00")]
    [draft] = drafts(tmp_path, *rows, freight_rows={"编码": "POST|DOT"})
    assert [ln.outer_code for ln in draft.lines] == ["A-1"]
    assert (draft.freight, draft.payable_amount) == (Decimal("8.00"), Decimal("18.00"))


def test_local_times_are_read_in_the_declared_zone_through_summer_time(tmp_path: Path) -> None:
    time = {"format": "%Y-%m-%d %H:%M:%S", "zone": "Europe/London"}
    moments = ["2011-01-10 12:00:00", "2011-07-10 12:00:00", "2011-10-30 01:30:00"]
    found = drafts(tmp_path, *[row(str(n), 时间=m) for n, m in enumerate(moments)], time=time)
    assert [d.placed_at.astimezone(UTC).isoformat() for d in found] == [
        "2011-01-10T12:00:00+00:00",
        "2011-07-10T11:00:00+00:00",
        "2011-10-30T00:30:00+00:00",  # the hour that comes twice: the first
    ]
    words = reason(tmp_path, row("1", 时间="2011-03-27 01:30:00"), time=time)
    assert "夏令时跳过" in words


def test_an_unknown_status_word_is_never_guessed(tmp_path: Path) -> None:
    told = mapping()["columns"] | {"status": "名称"}
    words = {"待发货": "wait_ship", "待付款": "wait_pay"}
    found = drafts(
        tmp_path, row("1", 名称="待付款"), row("2", 名称="待发货"), row("3", 名称="在途"),
        columns=told, status=words,
    )  # fmt: skip
    assert [d.status for d in found] == [
        ChannelStatus.WAIT_PAY, ChannelStatus.WAIT_SHIP, ChannelStatus.UNKNOWN
    ]  # fmt: skip
    assert [d.paid_amount for d in found] == [Decimal("0.00"), Decimal("10.00"), Decimal("0.00")]


def test_a_currency_column_must_say_the_declared_currency(tmp_path: Path) -> None:
    columns = mapping()["columns"] | {"currency": "名称"}
    assert drafts(tmp_path, row("1", 名称="CNY"), columns=columns)[0].currency == "CNY"
    assert "币种应为 CNY" in reason(tmp_path, row("1", 名称="USD"), columns=columns)
    assert "币种应为 CNY" in reason(tmp_path, row("1", 名称=""), columns=columns)


def test_a_line_id_twice_in_one_order_is_refused(tmp_path: Path) -> None:
    columns = mapping()["columns"] | {"line_id": "名称"}
    rows = [row("1", 名称="7"), row("1", 名称="7")]
    assert reason(tmp_path, *rows, columns=columns) == "第 3 行：行号 7 与第 2 行重复"


def test_without_receiver_there_is_none_and_a_pickup_point_is_nobodys_address(
    tmp_path: Path,
) -> None:
    assert drafts(tmp_path, row("1"), receiver="none")[0].receiver is None
    receiver = drafts(tmp_path, row("1"))[0].receiver
    assert receiver is not None
    assert (receiver.province, receiver.is_masked) == ("上海市", True)


def test_a_row_that_is_no_order_among_rows_of_one_is_not_passed_over(tmp_path: Path) -> None:
    rule = {"reason": "write_off", "words": "核销", "where": {"数量": "-.*"}}
    words = reason(tmp_path, row("1"), row("1", 数量="-2"), not_orders=[rule])
    assert words == "第 3 行：“核销”的行与其他行同在一张订单里"


def test_an_old_document_reads_by_the_mapping_it_carries(tmp_path: Path) -> None:
    [document] = documents(write(tmp_path, text(row("1001"))), mapping(currency="GBP"))
    told = json.loads(document.message.body)
    assert told["rules"]["currency"] == "GBP"
    assert read(document.message.body).currency == "GBP"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b'{"sheet":2,"rules":{},"columns":[],"rows":[]}',
        b'{"sheet":1,"rules":{},"columns":[],"rows":[]}',
        b'{"sheet":1,"not_an_order":{"reason":"x"}}',
        b"half a docu",
    ],
)
def test_a_body_that_is_no_sheet_order_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read(body)


def test_rows_that_do_not_fit_their_rules_are_unreadable_not_a_crash(tmp_path: Path) -> None:
    [document] = documents(write(tmp_path, text(row("1001"))), mapping())
    whole = json.loads(document.message.body)
    wrong: tuple[dict[str, Any], ...] = (
        {"rows": [["2", *row("1001")]]},
        {"rows": [[2, 7, *row("1001")[1:]]]},
        {"rows": ["text"]},
        {"rows": [[]]},
        {"columns": ["单号"]},
        {"rules": {"columns": {"order_number": 7}}},
        {"rules": "none"},
    )
    for broken in wrong:
        with pytest.raises(Unreadable):
            read(json.dumps({**whole, **broken}).encode())


def test_a_file_has_no_network(tmp_path: Path) -> None:
    connector = CONNECTORS["file"](NOBODY)
    notice = ShipNotice("k", "1001", "sf", "SF1", NOW)
    for call in (
        lambda: connector.pull("orders", Window(NOW, NOW)),
        lambda: connector.fetch("1001"),
        lambda: connector.ship(notice),
        connector.test,
    ):
        with pytest.raises(Rejected) as caught:
            call()
        assert caught.value.error.code in {"no_network", "unsupported"}


def test_no_push_proves_itself_for_a_file_shop() -> None:
    request = WebhookRequest("POST", "/", {}, {}, b"{}", NOW)
    with pytest.raises(BadSignature):
        CONNECTORS["file"](NOBODY).verify(request)
