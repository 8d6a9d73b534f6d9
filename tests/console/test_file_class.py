"""Class BF of the bad inputs (``reliability.md``) over every door a table comes in by."""

import csv
import io
import re
import stat
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from channels_sync.sheets.xlsx_reading import workbook_rows
from channels_sync.sheets.xlsx_writing import Column, workbook
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Bundle, Listing, Sku
from ordercenter.core.policy import Role
from tests.console.conftest import AsRole
from tests.factories import SkuFactory
from tests.pipeline.seller import Seller, draft, line, open_seller, take

pytestmark = pytest.mark.django_db
NASTY = (
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\u3000=1", "\uff1d1", "\uff0b1",
    "=cmd|' /C calc'!A0", '=HYPERLINK("http://evil.example","x")', "1234567890123456789",
)  # fmt: skip


@dataclass(frozen=True)
class Entrance:
    """One door: where a table is handed in, what it needs, and where one is handed out."""

    path: str
    out: str
    header: Sequence[str]
    row: Callable[[Seller, str], list[str]]
    """A good row about a code that is not there yet."""
    there: Callable[[str], bool]

    def hand_in(self, client: Client, data: bytes, name: str = "a.csv", **more: str) -> Any:
        return client.post(self.path, {"file": SimpleUploadedFile(name, data), **more})

    def csv(self, seller: Seller, *codes: str, joint: str = ",") -> str:
        rows = [list(self.header), *(self.row(seller, code) for code in codes)]
        return "".join(joint.join(row) + "\n" for row in rows)


DOORS = {
    "skus": Entrance(
        "/goods/sheet/", "/goods/sheet/skus", ("货品编码", "名称", "基准价"),
        lambda _seller, code: [code, "新款", "9.90"],
        lambda code: Sku.objects.filter(code=code).exists(),
    ),
    "bundles": Entrance(
        "/goods/sheet/", "/goods/sheet/bundles", ("组合编码", "组合名称", "货品编码", "数量"),
        lambda _seller, code: [code, "套装", "LAMP", "2"],
        lambda code: Bundle.objects.filter(code=code).exists(),
    ),
    "listings": Entrance(
        "/listings/sheet/", "/listings/sheet/queue",
        ("店铺编码", "编码类型", "平台编码", "货品编码"),
        lambda seller, code: [seller.shop.code, "商家编码", code, "LAMP"],
        lambda code: Listing.objects.filter(code=code).exists(),
    ),
}  # fmt: skip


@pytest.fixture
def seller() -> Seller:
    return open_seller()


@pytest.fixture
def boss(as_role: AsRole) -> Client:
    return as_role(Role.OPERATIONS_SUPERVISOR)


@pytest.fixture(params=list(DOORS))
def door(request: pytest.FixtureRequest) -> Entrance:
    return DOORS[request.param]


def text(answer: Any) -> str:
    found: str = answer.content.decode()
    return found


def apply(client: Client, door: Entrance, looked_at: Any) -> Any:
    found = re.search(r'name="plan" value="([^"]*)"', text(looked_at))
    assert found, text(looked_at)[-2000:]
    return client.post(f"{door.path}apply/", {"plan": unescape(found[1])})


def bomb() -> bytes:
    """A workbook whose sheet claims, and unpacks to, more than anybody would want."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("[Content_Types].xml", "xl/workbook.xml"):
            archive.writestr(name, "<x/>")
        with archive.open("xl/worksheets/sheet1.xml", "w") as part:
            for _ in range(100):
                part.write(bytes(1024 * 1024))
    return out.getvalue()


def spoiled(name: str, *, link: bool = False) -> bytes:
    """A good workbook with one part more."""
    out = io.BytesIO(workbook("表", [Column("货品编码")], []))
    info = zipfile.ZipInfo(name)
    if link:
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(info, "x")
    return out.getvalue()


def linked() -> bytes:
    """A workbook whose relations point outside."""
    out = io.BytesIO()
    good = zipfile.ZipFile(io.BytesIO(workbook("表", [Column("货品编码")], [])))
    with good, zipfile.ZipFile(out, "w") as archive:
        for name in good.namelist():
            data = good.read(name)
            if name == "xl/_rels/workbook.xml.rels":
                data = data.replace(b"/>", b' TargetMode="External"/>', 1)
            archive.writestr(name, data)
    return out.getvalue()


NO_TABLES = {
    "BF07": (bomb, 413, "超过上限"),
    "BF08 macros": (lambda: spoiled("xl/vbaProject.bin"), 415, ""),
    "BF08 links": (lambda: spoiled("xl/externalLinks/externalLink1.xml"), 415, ""),
    "BF08 outside": (linked, 415, "外部"),
    "BF13 symlink": (lambda: spoiled("xl/media/a", link=True), 415, ""),
    "BF13 path": (lambda: spoiled("../../evil.xml"), 415, ""),
    "not a table": (lambda: b"PK\x03\x04" + bytes(99), 422, "损坏"),
    "an old workbook": (lambda: b"\xd0\xcf\x11\xe0" + bytes(600), 415, "旧版"),
    "BF11 no header": (lambda: b"", 422, "表头"),
    "BF11 blank header": (lambda: b",,\n1,2,3\n", 422, "表头"),
}


@pytest.mark.parametrize("case", NO_TABLES)
def test_a_file_that_is_no_plain_table_is_refused_with_its_own_status(
    boss: Client, door: Entrance, case: str
) -> None:
    data, status, words = NO_TABLES[case]
    answer = door.hand_in(boss, data(), "a.xlsx")
    assert (answer.status_code, words in unescape(text(answer))) == (status, True)


def test_bf01_to_bf04_nothing_handed_out_runs_or_is_rewritten(
    boss: Client, seller: Seller, door: Entrance
) -> None:
    for code in NASTY:
        SkuFactory.create(code=code, name=code)
    take(seller.shop, *(draft(line(code, title=code)) for code in NASTY))
    Bundle.objects.bulk_create(Bundle(code=f"{code} ", name=code) for code in NASTY)
    out = boss.get(f"{door.out}.csv").content.decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(out)) for cell in row]
    starts = {cell.lstrip(" \u3000")[:1] for cell in cells}
    assert not starts & set("=+-@\t\r\uff1d\uff0b\uff0d\uff20")
    assert any("1234567890123456789" in cell and cell.startswith("'") for cell in cells)
    book = boss.get(f"{door.out}.xlsx").content
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml")
    assert b"<f>" not in sheet
    assert b"hyperlink" not in sheet
    assert set(re.findall(rb'<c s="\d" t="(\w+)"', sheet)) == {b"inlineStr"}
    _header, rows = workbook_rows(io.BytesIO(book), max_rows=100)
    again = {cell.strip() for _, row in rows for cell in row}
    assert {code.strip() for code in NASTY} <= again


def test_bf05_the_name_of_a_file_is_ignored(boss: Client, seller: Seller, door: Entrance) -> None:
    data = door.csv(seller, "NEW-1").encode()
    for name in ("../../etc/passwd", 'a"\r\nX-Evil: 1.csv', "x" * 300, "a.exe"):
        answer = door.hand_in(boss, data, name)
        assert answer.status_code == 200
        assert "evil" not in text(answer).lower()


def test_bf06_what_is_handed_out_goes_by_a_name_of_ours(boss: Client, door: Entrance) -> None:
    for kind in ("csv", "xlsx"):
        answer = boss.get(f"{door.out}.{kind}?shop=1%0d%0aX:1")
        assert re.fullmatch(r'attachment; filename="[a-z-]+\.(csv|xlsx)"',
                            answer["Content-Disposition"])  # fmt: skip
        assert answer["X-Content-Type-Options"] == "nosniff"


DIALECTS: dict[str, tuple[str, str, dict[str, str], int]] = {
    "as declared by default": ("utf-8", ",", {}, 200),
    "with a mark": ("utf-8-sig", ",", {}, 200),
    "GBK, not said": ("gbk", ",", {}, 422),
    "GBK, said": ("gbk", ",", {"encoding": "gbk"}, 200),
    "semicolons, not said": ("utf-8", ";", {}, 422),
    "semicolons, said": ("utf-8", ";", {"delimiter": "semicolon"}, 200),
    "an encoding there is not": ("utf-8", ",", {"encoding": "utf-7"}, 422),
    "a delimiter there is not": ("utf-8", ",", {"delimiter": "pipe"}, 422),
}


@pytest.mark.parametrize("case", DIALECTS)
def test_bf09_a_table_is_read_by_the_dialect_it_is_declared_in(
    boss: Client, seller: Seller, door: Entrance, case: str
) -> None:
    encoding, joint, declared, status = DIALECTS[case]
    data = door.csv(seller, "NEW-1", joint=joint).encode(encoding)
    assert door.hand_in(boss, data, **declared).status_code == status


def test_bf10_an_open_quote_is_refused_with_its_row(
    boss: Client, seller: Seller, door: Entrance
) -> None:
    data = door.csv(seller, "NEW-1") + '"open,1,2,3\n'
    answer = door.hand_in(boss, data.encode())
    assert (answer.status_code, "第 3 行" in text(answer)) == (422, True)


def test_bf11_a_column_twice_or_missing_is_refused(
    boss: Client, seller: Seller, door: Entrance
) -> None:
    header = door.header[0]
    for data in (f"{header},{header}\n1,2\n", "甲,乙\n1,2\n"):
        assert door.hand_in(boss, data.encode()).status_code == 422


def test_bf12_a_million_rows_are_refused_before_they_are_judged(
    boss: Client, seller: Seller, door: Entrance, django_assert_max_num_queries: Any
) -> None:
    row = ",".join(door.row(seller, "N")) + "\n"
    many = door.csv(seller) + row * 6_000
    with django_assert_max_num_queries(9):
        answer = door.hand_in(boss, many.encode())
    assert (answer.status_code, "超过 5000 行" in text(answer)) == (422, True)
    huge = door.csv(seller) + row * (9 * 1024 * 1024 // len(row.encode()))
    assert door.hand_in(boss, huge.encode()).status_code == 413


def test_bf18_the_same_file_twice_does_nothing_the_second_time(
    boss: Client, seller: Seller, door: Entrance
) -> None:
    data = door.csv(seller, "NEW-1", "NEW-2").encode()
    assert apply(boss, door, door.hand_in(boss, data)).status_code == 302
    assert door.there("NEW-1")
    records = AuditRecord.objects.count()
    again = door.hand_in(boss, data)
    assert "没有要改的" in text(again)
    assert AuditRecord.objects.count() == records


def test_bf19_a_table_with_a_bad_row_applies_nothing_or_by_choice_the_good_ones(
    boss: Client, seller: Seller, door: Entrance
) -> None:
    bad = door.row(seller, "BAD")
    bad[-1] = "-1"
    data = door.csv(seller, "NEW-1") + ",".join(bad) + "\n"
    looked_at = door.hand_in(boss, data.encode())
    assert apply(boss, door, looked_at).status_code == 422
    assert not door.there("NEW-1")
    plan = re.search(r'name="plan" value="([^"]*)"', text(looked_at))
    assert plan
    chosen = {"plan": unescape(plan[1]), "verb": "good"}
    assert boss.post(f"{door.path}apply/", chosen).status_code == 302
    assert (door.there("NEW-1"), door.there("BAD")) == (True, False)
