"""Files as operators have them: odd dialects, broken quotes, wrong encodings, bombs."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from channels_sync.sheets.mapping import MappingError, SheetMapping
from channels_sync.sheets.orders import Sheet
from channels_sync.sheets.rows import SheetError
from tests.import_orders.sheets import HEADER, documents, drafts, mapping, read, row, text, write


def refusal(path: Path, told: dict[str, Any] | None = None, **limits: int) -> str:
    """The words a whole file is refused with."""
    sheet = Sheet(path, SheetMapping.of(told or mapping(), **limits))
    with pytest.raises(SheetError) as caught:
        list(sheet.survey())
    return str(caught.value)


def test_a_byte_order_mark_and_crlf_do_no_harm(tmp_path: Path) -> None:
    content = "\ufeff" + text(row("1001"), row("1002")).replace("\n", "\r\n")
    numbers = [d.message.channel_number for d in documents(write(tmp_path, content), mapping())]
    assert numbers == ["1001", "1002"]


def test_gzip_is_known_by_its_bytes_not_by_its_name(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(text(row("1001")).encode()), "orders.csv")
    assert [d.message.channel_number for d in documents(path, mapping())] == ["1001"]


def test_a_file_that_unpacks_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    content = text(*[row(str(n)) for n in range(50_000)])
    path = write(tmp_path, gzip.compress(content.encode()), "bomb.csv.gz")
    assert path.stat().st_size < 1024 * 1024 < len(content.encode())
    assert "超过上限 1 MiB" in refusal(path, max_bytes=1024 * 1024)


def test_one_endless_line_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"a" * 64 * 1024 * 1024), "line.csv.gz")
    assert refusal(path) == "第 1 行超过 1 MiB"


def test_half_a_gzip_file_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(text(*[row(str(n), 名称=f"靠垫{n * n}") for n in range(5000)]).encode())
    assert "压缩文件不完整" in refusal(write(tmp_path, packed[: len(packed) // 2]))


def test_an_unclosed_quote_is_refused_with_its_row(tmp_path: Path) -> None:
    content = text(row("1001"), row("1002", 名称='"靠垫'), row("1003"))
    assert refusal(write(tmp_path, content)) == "第 3 行：引号没有闭合"


def test_an_unclosed_quote_that_meets_a_later_one_is_refused_with_its_row(tmp_path: Path) -> None:
    content = text(row("1001"), row("1002", 名称='"靠垫'), row("1003", 名称='"抱枕"'))
    assert refusal(write(tmp_path, content)).startswith("第 3 行：引号用法不对")


def test_a_line_break_inside_quotes_is_one_row(tmp_path: Path) -> None:
    content = text(row("1001", 名称='"靠垫\n灰色"'), row("1002"))
    found = documents(write(tmp_path, content), mapping())
    assert [(d.first_row, d.message.channel_number) for d in found] == [(2, "1001"), (3, "1002")]


def test_a_file_without_header_names_the_columns_that_are_missing(tmp_path: Path) -> None:
    content = text(header=row("1001"))
    assert refusal(write(tmp_path, content)).startswith("表头缺少列：单号、编码")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, "")) == "文件没有表头：第 1 行应为各列的名称"


def test_a_column_twice_is_refused(tmp_path: Path) -> None:
    content = text(header=[*HEADER, "数量"])
    assert refusal(write(tmp_path, content)) == "表头有重复的列：数量"


def test_semicolons_are_read_only_where_the_mapping_declares_them(tmp_path: Path) -> None:
    path = write(tmp_path, text(row("1001")).replace(",", ";"))
    assert "分隔符似乎是分号" in refusal(path)
    found = documents(path, mapping(delimiter=";"))
    assert [d.message.channel_number for d in found] == ["1001"]


def test_gbk_is_read_only_where_the_mapping_declares_it(tmp_path: Path) -> None:
    path = write(tmp_path, text(row("1001", 名称="棉麻靠垫")).encode("gbk"))
    assert refusal(path).startswith("第 1 行不是 UTF-8 编码")
    found = documents(path, mapping(encoding="gbk"))
    assert read(found[0].message.body).lines[0].title == "棉麻靠垫"


def test_utf8_declared_as_gbk_is_refused_with_its_row(tmp_path: Path) -> None:
    header = "number,sku,qty,price,at\n"
    told = mapping(encoding="gbk", receiver="none") | {
        "columns": {"order_number": "number", "sku": "sku", "quantity": "qty",
                    "unit_price": "price", "placed_at": "at"}
    }  # fmt: skip
    path = write(tmp_path, header + "1001,A-1,1,10.00,2026-03-02 10:00:00\n1002,靠,1,1,x\n")
    assert refusal(path, told).startswith("第 3 行不是 GBK 编码")


def test_a_workbook_is_told_from_a_csv_file(tmp_path: Path) -> None:
    assert "请另存为 CSV" in refusal(write(tmp_path, b"PK\x03\x04" + b"\0" * 100, "orders.xlsx"))


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.csv").startswith("打不开文件 none.csv")


def test_rows_without_any_text_are_passed_over_and_still_counted_as_rows(tmp_path: Path) -> None:
    content = text(row("1001"), [""] * len(HEADER), row("1002")) + "\n"
    found = documents(write(tmp_path, content), mapping())
    assert [(d.first_row, d.message.channel_number) for d in found] == [(2, "1001"), (4, "1002")]


def test_rows_of_one_order_may_stand_apart(tmp_path: Path) -> None:
    rows = [row("1001"), row("1002"), row("1001", 编码="B-2"), row("1003")]
    found = documents(write(tmp_path, text(*rows)), mapping())
    assert [(d.message.channel_number, d.rows) for d in found] == [
        ("1002", 1), ("1001", 2), ("1003", 1)
    ]  # fmt: skip


def test_a_file_that_changes_between_the_passes_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, text(row("1001"), row("1002")))
    sheet = Sheet(path, SheetMapping.of(mapping()))
    survey = list(sheet.survey())[-1]
    write(tmp_path, text(row("1001"), row("1001")))
    with pytest.raises(SheetError, match="被改动"):
        list(sheet.documents(survey))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"colums": {}}, "不认识的项：colums"),
        ({"encoding": "latin-1"}, "encoding 只能是"),
        ({"currency": "元"}, "currency 应为"),
        ({"status": "paid"}, "status 不认识 paid"),
        ({"time": {"zone": "Mars/Base"}}, "time.zone 不是时区"),
        (
            {"columns": {"order_number": "单号"}},
            "columns 缺少：sku、quantity、placed_at、unit_price",
        ),
        ({"receiver": "columns"}, "有收货人列时"),
        ({"receiver": {"pickup": {"name": "自提点"}}}, "receiver.pickup 缺少：phone"),
        ({"freight_rows": {"编码": "("}}, "不是正则表达式"),
        ({"not_orders": [{"reason": "x", "words": "x", "where": {}}]}, "where 不能为空"),
        ({"catalog": {"create_missing_skus": True, "stock": -1}}, "catalog.stock"),
        ({"round_line_amounts": "yes"}, "round_line_amounts 应为 true 或 false"),
    ],
)
def test_a_wrong_mapping_says_where(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(MappingError) as caught:
        SheetMapping.of(mapping(**wrong))
    assert words in str(caught.value)


@pytest.mark.parametrize("sign", ["=", "+", "-", "@"])
def test_a_cell_that_looks_like_a_formula_stays_text(tmp_path: Path, sign: str) -> None:
    typed = f"{sign}HYPERLINK(0)"
    [draft] = drafts(tmp_path, row("1001", 名称=typed, 买家=typed))
    assert draft.lines[0].title == typed
    assert draft.evidence.buyer_id == typed


def test_long_numbers_stay_digit_for_digit(tmp_path: Path) -> None:
    [draft] = drafts(tmp_path, row("1234567890123456789", 买家="9007199254740993"))
    assert draft.channel_number == "1234567890123456789"
    assert draft.evidence.buyer_id == "9007199254740993"
