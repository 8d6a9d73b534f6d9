"""Mapping by spreadsheet: what goes out, what comes back, and what a table would do."""

import csv
import io
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from channels_sync.sheets.rows import Dialect
from channels_sync.sheets.xlsx_reading import workbook_rows
from channels_sync.sheets.xlsx_writing import Column, workbook
from ordercenter.catalog.models import Listing, Sku
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput
from ordercenter.pipeline import mapping_sheet
from ordercenter.pipeline.mapping import Mapped, StaleListing, map_codes
from ordercenter.pipeline.mapping_sheet import Outcome, Plan, plan, read
from ordercenter.pipeline.tables import FileForbidden, FileTooBig
from tests.factories import BundleFactory, BundlePartFactory, ListingFactory, SkuFactory
from tests.pipeline.seller import Seller, draft, line, take

pytestmark = pytest.mark.django_db
NEEDED = ["店铺编码", "编码类型", "平台编码", "货品编码"]
UTF8 = Dialect()


def at(tmp_path: Path, data: bytes | str, name: str = "filled") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def table(seller: Seller, *rows: tuple[str, str], kind: str = "商家编码") -> bytes:
    """A filled workbook: (code, SKU code) a row."""
    columns = [Column(name) for name in NEEDED]
    return workbook("表", columns, [[seller.shop.code, kind, *row] for row in rows])


def planned(tmp_path: Path, seller: Seller, *rows: tuple[str, str]) -> Plan:
    return plan(read(at(tmp_path, table(seller, *rows)), UTF8))


def outcomes(found: Plan) -> list[tuple[int, str]]:
    return [(p.row.number, p.outcome.value) for p in found.rows]


def apply(user: User, found: Plan) -> Mapped:
    return map_codes(found.wishes, user=user, actor=Actor.person(user), reason="表格")


def test_the_queue_goes_out_with_proposals_and_an_empty_column_to_fill(
    tmp_path: Path, seller: Seller
) -> None:
    take(seller.shop, draft(line("sofa")), draft(line("9007199254740993001")), draft(line("sofa")))
    header, rows = workbook_rows(at(tmp_path, mapping_sheet.as_workbook()), max_rows=10)
    found = [dict(zip(header, cells, strict=True)) for _, cells in rows]
    assert [(row["平台编码"], row["货品编码"], row["等待订单"]) for row in found] == [
        ("sofa", "", "2"),
        ("9007199254740993001", "", "1"),
    ]
    assert (found[0]["建议货品编码"], found[0]["店铺编码"]) == ("SOFA", seller.shop.code)
    assert found[0]["等待金额"] == "200.00"


def test_a_csv_comes_back_letter_for_letter(tmp_path: Path, seller: Seller) -> None:
    nasty = [
        "=cmd|' /C calc'!A0", "9007199254740993001", "0012", "a,b\"c", "@x", "\uff1d1",
    ]  # fmt: skip
    take(seller.shop, *(draft(line(code, title="=HYPERLINK(1)")) for code in nasty))
    out = mapping_sheet.as_csv()
    assert out.startswith(b"\xef\xbb\xbf")
    for row in csv.reader(io.StringIO(out.decode("utf-8-sig"))):
        assert not any(cell[:1] in set("=+-@\t\uff1d") for cell in row)
    back = read(at(tmp_path, out), UTF8)
    assert sorted(row.code for row in back) == sorted(nasty)
    assert {row.title for row in back} == {"=HYPERLINK(1)"}
    assert outcomes(plan(back)) == [(n, "skipped") for n in range(2, 8)]


def test_every_row_says_what_it_would_do_and_nothing_is_done(
    tmp_path: Path, seller: Seller
) -> None:
    BundleFactory.create(code="HOLLOW")
    SkuFactory.create(code="OLD", is_active=False)
    SkuFactory.create(code="BOTH")
    BundlePartFactory.create(bundle=BundleFactory.create(code="BOTH"))
    found = planned(
        tmp_path, seller, ("NEW-1", "LAMP"), ("SOFA", "RUG"), ("SOFA-2", "SET"), ("LAMP", "LAMP"),
        ("NEW-3", ""), ("NEW-4", "NOPE"), ("NEW-5", "lamp"), ("NEW-6", "HOLLOW"), ("NEW-7", "OLD"),
        ("NEW-8", "BOTH"), ("x" * 101, "LAMP"), ("NEW-9", "LAM\u0420"),
    )  # fmt: skip
    assert outcomes(found) == [
        (2, "new"), (3, "changed"), (4, "new"), (5, "same"), (6, "skipped"), (7, "refused"),
        (8, "refused"), (9, "refused"), (10, "refused"), (11, "refused"), (12, "refused"),
        (13, "refused"),
    ]  # fmt: skip
    words = {p.row.number: p.words for p in found.having(Outcome.REFUSED)}
    assert "是否指 LAMP" in words[8]
    assert "没有组成" in words[9]
    assert "停用" in words[10]
    assert words[13] == "没有这个货品编码"
    assert found.having(Outcome.CHANGED)[0].was == "SOFA"
    assert Listing.objects.get(code="SOFA").version == 1
    assert not Listing.objects.filter(code="NEW-1").exists()


def test_what_was_seen_is_what_is_done_and_the_same_file_again_does_nothing(
    tmp_path: Path, seller: Seller, boss: User
) -> None:
    rows = (("NEW-1", "LAMP"), ("SOFA", "RUG"))
    take(seller.shop, draft(line("NEW-1")))
    assert apply(boss, planned(tmp_path, seller, *rows)) == Mapped(1, 1, 0, goes_on=1)
    again = planned(tmp_path, seller, *rows)
    assert outcomes(again) == [(2, "same"), (3, "same")]
    assert again.wishes == []


def test_a_listing_changed_after_the_look_refuses_all_of_it(
    tmp_path: Path, seller: Seller, boss: User
) -> None:
    seen = planned(tmp_path, seller, ("NEW-1", "LAMP"), ("SOFA", "RUG"))
    Listing.objects.filter(code="SOFA").update(version=2)
    with pytest.raises(StaleListing, match="SOFA"):
        apply(boss, seen)
    assert not Listing.objects.filter(code="NEW-1").exists()


def test_rows_that_disagree_are_refused_and_rows_that_agree_count_once(
    tmp_path: Path, seller: Seller
) -> None:
    found = planned(
        tmp_path, seller, ("A", "LAMP"), ("B", "LAMP"), ("A", "RUG"), ("B", "LAMP"), ("a", "RUG")
    )
    assert outcomes(found) == [
        (2, "refused"), (3, "new"), (4, "refused"), (5, "same"), (6, "new"),
    ]  # fmt: skip
    assert found.rows[0].words == "与第 4 行对同一编码填了不同货品"


@pytest.mark.parametrize(
    ("shop", "kind", "words"),
    [("none", "商家编码", "没有店铺"), ("", "商家编码", "店铺编码"), ("", "标题", "店铺编码")],
)
def test_a_row_of_no_shop_is_refused(
    tmp_path: Path, seller: Seller, shop: str, kind: str, words: str
) -> None:
    text = f"店铺编码,编码类型,平台编码,货品编码\n{shop},{kind},N,LAMP\n"
    (row,) = plan(read(at(tmp_path, text), UTF8)).rows
    assert (row.outcome, words in row.words) == (Outcome.REFUSED, True)


def test_a_kind_is_known_by_its_words_and_an_unknown_one_is_refused(
    tmp_path: Path, seller: Seller
) -> None:
    for kind, outcome in (("平台 SKU 编号", "new"), ("outer_code", "new"), ("标题", "refused")):
        found = plan(read(at(tmp_path, table(seller, ("N", "LAMP"), kind=kind)), UTF8))
        assert outcomes(found) == [(2, outcome)]


@pytest.mark.parametrize(
    ("data", "refusal", "words"),
    [
        ("", InvalidInput, "表头"),
        ("a,b\n1,2\n", InvalidInput, "表头缺少列"),
        ("店铺编码;编码类型;平台编码;货品编码\n", InvalidInput, "分隔符"),
        ("店铺编码,编码类型,平台编码,平台编码\n", InvalidInput, "重复的列"),
        ('店铺编码,编码类型,平台编码,货品编码\nS,商家编码,"N,LAMP\n', InvalidInput, "第 2 行"),
        ("店铺编码,编码类型,平台编码,货品编码\nS,商家编码,N\n", InvalidInput, "第 2 行有 3 列"),
        ("店铺编码,编码类型".encode("gbk"), InvalidInput, "不是 UTF-8 编码"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), FileForbidden, "旧版"),
        (b"PK\x03\x04" + bytes(600), InvalidInput, "损坏"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_row(
    tmp_path: Path, data: Any, refusal: type[InvalidInput], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        read(at(tmp_path, data), UTF8)
    assert type(caught.value) is refusal


def test_a_table_in_gbk_is_read_when_it_is_said_to_be(tmp_path: Path, seller: Seller) -> None:
    text = f"店铺编码;编码类型;平台编码;货品编码\n{seller.shop.code};商家编码;新款;LAMP\n"
    rows = read(at(tmp_path, text.encode("gbk")), Dialect("gbk", ";"))
    assert outcomes(plan(rows)) == [(2, "new")]


def test_too_many_rows_and_too_many_bytes_are_refused(
    tmp_path: Path, seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping_sheet, "MOST_AT_ONCE", 2)
    rows = [("A", "LAMP"), ("B", "LAMP"), ("C", "LAMP")]
    with pytest.raises(InvalidInput, match="超过 2 行"):
        read(at(tmp_path, table(seller, *rows)), UTF8)
    big = workbook("表", [Column(str(n)) for n in range(201)], [])
    with pytest.raises(FileTooBig):
        read(at(tmp_path, big), UTF8)


def test_5000_rows_are_looked_at_in_a_moment(
    tmp_path: Path, seller: Seller, django_assert_max_num_queries: Any
) -> None:
    Sku.objects.bulk_create(
        Sku(code=f"K{n}", name="货", base_price=Decimal(1)) for n in range(5_000)
    )
    ListingFactory.create(shop=seller.shop, code="C4999", sku=seller.skus["LAMP"])
    path = at(tmp_path, table(seller, *((f"C{n}", f"K{n}") for n in range(5_000))))
    began = time.perf_counter()
    with django_assert_max_num_queries(8):
        found = plan(read(path, UTF8))
    assert time.perf_counter() - began < 10
    assert len(found.having(Outcome.NEW)) == 4_999
    assert [p.row.number for p in found.having(Outcome.CHANGED)] == [5_001]
