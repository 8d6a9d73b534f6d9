"""Sheets we hand out and get back: letter for letter, inert, and never more than we can carry."""

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels_sync.sheets.cells import quoted, unquoted
from channels_sync.sheets.rows import SheetError
from channels_sync.sheets.xlsx_reading import (
    SheetForbidden,
    SheetTooBig,
    is_workbook,
    workbook_rows,
)
from channels_sync.sheets.xlsx_writing import Column, workbook

HEADER = [Column("编码"), Column("标题", 40)]
NASTY = [
    ["9007199254740993001", "=HYPERLINK(\"http://x\",\"点\")"],
    ["0012", "+86 138"],
    ["1E10", "@SUM(A1)"],
    ["1-2", "-1"],
    [" =1+1", "\t=1"],
    ["\uff1d1", "'已有引号"],
    ["a,b;c", "换\n行 \"引号\" <b>&amp;</b>"],
    ["_x0041_", "\U0001f600 零宽\u200b"],
    ["=cmd|' /C calc'!A0", "\r回车"],
]  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


def at(tmp_path: Path, data: bytes, name: str = "a.xlsx") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def read(path: Path, **limits: int) -> tuple[list[str], list[tuple[int, list[str]]]]:
    header, rows = workbook_rows(path, max_rows=limits.pop("max_rows", 100), **limits)
    return header, list(rows)


def altered(change: Callable[[dict[str, bytes]], None]) -> bytes:
    """A good workbook with some parts changed."""
    with zipfile.ZipFile(io.BytesIO(workbook("表", HEADER, [["1", "2"]]))) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return out.getvalue()


def sheet(cells: str) -> Callable[[dict[str, bytes]], None]:
    def change(parts: dict[str, bytes]) -> None:
        head = parts["xl/worksheets/sheet1.xml"].decode().partition("</row>")[0]
        parts["xl/worksheets/sheet1.xml"] = (
            f"{head}</row><row r='2'>{cells}</row></sheetData></worksheet>".encode()
        )

    return change


def test_every_cell_of_a_workbook_comes_back_letter_for_letter(tmp_path: Path) -> None:
    header, rows = read(at(tmp_path, workbook("未匹配", HEADER, NASTY)))
    assert header == ["编码", "标题"]
    assert rows == list(enumerate(NASTY, 2))


def test_no_cell_of_a_workbook_is_a_formula_or_a_number() -> None:
    with zipfile.ZipFile(io.BytesIO(workbook("表", HEADER, NASTY))) as archive:
        text = archive.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in text
    assert text.count("<c ") == text.count('t="inlineStr"') == 2 + 2 * len(NASTY)


def test_the_same_table_is_the_same_bytes() -> None:
    assert workbook("表", HEADER, NASTY) == workbook("表", HEADER, NASTY)


def test_a_csv_cell_runs_nothing_and_keeps_every_letter() -> None:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows([quoted(cell) for cell in row] for row in NASTY)
    read_again = list(csv.reader(io.StringIO(out.getvalue(), newline="")))
    for told, row in zip(read_again, NASTY, strict=True):
        assert [unquoted(cell) for cell in told] == row
        for cell in told:
            assert cell.lstrip(" \u3000")[:1] not in set("=+-@\t\r\uff1d\uff0b\uff0d\uff20") | {""}


@pytest.mark.parametrize("text", ["SOFA-01", "12", "棉麻靠垫", "", "99.90", "A1"])
def test_a_harmless_cell_is_left_as_it_is(text: str) -> None:
    assert quoted(text) == text


@given(TEXT)
def test_quoting_is_undone_exactly(text: str) -> None:
    assert unquoted(quoted(text)) == text


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_any_text_survives_a_workbook(rows: list[tuple[str, str]]) -> None:
    made = io.BytesIO(workbook("表", HEADER, [list(row) for row in rows]))
    found = dict(workbook_rows(made, max_rows=100)[1])
    for number, row in enumerate(rows, 2):
        for mine, theirs in zip(row, found.get(number, ["", ""]), strict=True):
            assert len(mine) == len(theirs)
            assert all(b in {a, "\ufffd"} for a, b in zip(mine, theirs, strict=True))


def test_what_excel_itself_writes_is_read(tmp_path: Path) -> None:
    """Shared texts in runs with a reading, numbers, booleans, gaps between cells and rows."""

    def change(parts: dict[str, bytes]) -> None:
        space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
        parts["xl/sharedStrings.xml"] = (
            f"<sst {space}><si><t>编码</t></si><si><r><t>标</t></r><r><t>题</t></r>"
            "<rPh><t>biaoti</t></rPh></si><si><t>SOFA_x002D_1</t></si></sst>"
        ).encode()
        parts["xl/worksheets/sheet1.xml"] = (
            f"<worksheet {space}><sheetData>"
            '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c>'
            '<c r="D1" t="str"><v>备注</v></c></row>'
            '<row r="3"><c r="A3" t="s"><v>2</v></c><c r="D3"><v>12</v></c></row>'
            '<row r="4"/><row r="9"><c r="B9" t="b"><v>1</v></c></row>'
            "</sheetData></worksheet>"
        ).encode()

    header, rows = read(at(tmp_path, altered(change)))
    assert header == ["编码", "标题", "", "备注"]
    assert rows == [(3, ["SOFA-1", "", "", "12"]), (9, ["", "1", "", ""])]


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ('<c r="B2"><f>1+1</f><v>2</v></c>', "第 2 行：B 列是公式"),
        ('<c r="A2"><v>9007199254740993001</v></c>', "A 列的数字已被表格软件改写"),
        ('<c r="A2"><v>9.0071992547409929E+18</v></c>', "A 列的数字已被表格软件改写"),
        ('<c r="A2" t="e"><v>#REF!</v></c>', "错误值 #REF!"),
        ('<c r="A2" t="s"><v>7</v></c>', "已损坏"),
        ('<c r="ZZ2"><v>1</v></c>', "超过 200 列"),
    ],
)
def test_what_a_program_has_rewritten_is_refused_with_its_place(
    tmp_path: Path, cells: str, words: str
) -> None:
    with pytest.raises(SheetError, match=words):
        read(at(tmp_path, altered(sheet(cells))))


def bomb() -> bytes:
    def change(parts: dict[str, bytes]) -> None:
        parts["xl/media/a.bin"] = bytes(3 * 1024 * 1024)

    return altered(change)


def liar() -> bytes:
    """A workbook whose directory says that its sheet is small."""
    big = workbook("表", HEADER, [["x" * 1000, "y"]] * 3000)
    with zipfile.ZipFile(io.BytesIO(big)) as archive:
        size = archive.getinfo("xl/worksheets/sheet1.xml").file_size
    return big.replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little"))


def test_more_than_may_be_unpacked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SheetTooBig, match="1 MiB"):
        read(at(tmp_path, bomb()), max_bytes=1024 * 1024)
    with pytest.raises(SheetError):
        read(at(tmp_path, liar()), max_bytes=1024 * 1024, max_rows=10_000)
    many = workbook("表", HEADER, [["1", "2"]] * 11)
    with pytest.raises(SheetError, match="超过 10 行"):
        read(at(tmp_path, many), max_rows=10)
    assert len(read(at(tmp_path, many), max_rows=11)[1]) == 11


def part(name: str, data: bytes = b"x") -> Callable[[dict[str, bytes]], None]:
    def change(parts: dict[str, bytes]) -> None:
        parts[name] = data

    return change


def outside(parts: dict[str, bytes]) -> None:
    name = "xl/_rels/workbook.xml.rels"
    parts[name] = parts[name].replace(b"/></", b' TargetMode="External"/></')


def without_book(parts: dict[str, bytes]) -> None:
    del parts["xl/workbook.xml"]


def entities(parts: dict[str, bytes]) -> None:
    name = "xl/worksheets/sheet1.xml"
    parts[name] = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + parts[name]


@pytest.mark.parametrize(
    "change",
    [
        part("xl/vbaProject.bin"),
        part("xl/externalLinks/externalLink1.xml"),
        part("xl/embeddings/oleObject1.bin"),
        part("../../etc/passwd"),
        part("/etc/passwd"),
        part("xl\\..\\a"),
        outside,
        without_book,
        entities,
    ],
)
def test_what_is_no_plain_table_is_refused(
    tmp_path: Path, change: Callable[[dict[str, bytes]], None]
) -> None:
    with pytest.raises(SheetForbidden):
        read(at(tmp_path, altered(change)))


def test_a_link_in_the_archive_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO(workbook("表", HEADER, []))
    with zipfile.ZipFile(out, "a") as archive:
        link = zipfile.ZipInfo("xl/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(SheetForbidden):
        read(at(tmp_path, out.getvalue()))


@pytest.mark.parametrize("cut", [10, 200, -30])
def test_a_broken_file_is_refused_in_words(tmp_path: Path, cut: int) -> None:
    with pytest.raises(SheetError):
        read(at(tmp_path, workbook("表", HEADER, NASTY)[:cut]))


def test_a_sheet_without_a_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SheetError, match="表头"):
        read(at(tmp_path, workbook("表", [Column("")], [["1"]])))
    with pytest.raises(SheetError, match="重复的列"):
        read(at(tmp_path, workbook("表", [Column("a"), Column("a")], [])))


def test_what_a_file_is_goes_by_its_bytes() -> None:
    assert is_workbook(io.BytesIO(workbook("表", HEADER, [])))
    assert not is_workbook(io.BytesIO("编码,标题\n".encode()))
    with pytest.raises(SheetForbidden, match="旧版"):
        is_workbook(io.BytesIO(b"\xd0\xcf\x11\xe0xxxx"))
