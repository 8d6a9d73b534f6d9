"""The goods, through the doors: the list, bundles in sight of their orders, tables out and in."""

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from channels_sync.sheets.xlsx_reading import workbook_rows
from channels_sync.sheets.xlsx_writing import Column, workbook
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Bundle, BundlePart, Sku, SkuPrice
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from tests.console.conftest import AsRole
from tests.factories import BundleFactory, BundlePartFactory, ListingFactory, SkuFactory
from tests.pipeline.seller import Seller, draft, line, open_seller, promised, take_one

pytestmark = pytest.mark.django_db
BOSS = Role.OPERATIONS_SUPERVISOR
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture
def seller() -> Seller:
    return open_seller()


@pytest.fixture
def boss(as_role: AsRole) -> Client:
    return as_role(BOSS, username="boss")


def text(answer: Any) -> str:
    found: str = answer.content.decode()
    return found


def plan_in(answer: Any) -> str:
    found = re.search(r'name="plan" value="([^"]*)"', text(answer))
    assert found, text(answer)[-3000:]
    return unescape(found[1])


def hand_in(client: Client, header: list[str], *rows: list[str]) -> Any:
    data = workbook("表", [Column(name) for name in header], rows)
    return client.post("/goods/sheet/", {"file": SimpleUploadedFile("a.xlsx", data)})


# --- the list -------------------------------------------------------------------------------------


def test_an_empty_list_says_what_to_do(boss: Client) -> None:
    assert "还没有货品" in text(boss.get("/goods/"))
    assert "还没有组合装" in text(boss.get("/goods/bundles/"))


def test_the_list_shows_the_price_now_the_margin_and_who_sells_it(boss: Client) -> None:
    sku = SkuFactory.create(code="SOFA", cost=Decimal("40.00"), color_hex="#C0392B")
    SkuPrice.objects.create(
        sku=sku, base_price=Decimal("59.00"), starts_at=clock_now() - timedelta(hours=1),
        ends_at=clock_now() + timedelta(hours=1),
    )  # fmt: skip
    listing = ListingFactory.create(sku=sku)
    ListingFactory.create(sku=sku, shop=listing.shop)
    page = text(boss.get("/goods/"))
    assert "¥59.00" in page
    assert "平时 ¥100.00" in page
    assert "¥19.00 32%" in page
    assert f"{listing.shop.name} 2" in page
    assert 'fill="#C0392B"' in page


def test_the_list_is_searched_and_asks_for_what_is_missing(boss: Client) -> None:
    SkuFactory.create(code="A-1", barcode="690", weight_grams=5, cost=1)
    SkuFactory.create(code="B-1", base_price=0)
    SkuFactory.create(code="C-1", base_price=0, is_active=False)

    def codes(query: str) -> list[str]:
        return re.findall(r'<b class="mono">([^<]*)</b>', text(boss.get(f"/goods/?{query}")))

    assert codes("q=a-1") == ["A-1"]
    assert codes("q=690") == ["A-1"]
    assert codes("gap=barcode") == codes("gap=price") == codes("gap=cost") == ["B-1"]
    assert codes("gap=listing&q=1") == ["A-1", "B-1"]
    assert codes("gap=nonsense&page=-3") == ["A-1", "B-1", "C-1"]
    assert "没有找到" in text(boss.get("/goods/?q=nothing%00"))


def test_what_sellers_type_cannot_run_and_the_list_takes_few_statements(
    boss: Client, django_assert_max_num_queries: Any
) -> None:
    for n in range(60):
        SkuFactory.create(code=f"K-{n:02}", name=HOSTILE[:120], color_name=HOSTILE[:20])
    with django_assert_max_num_queries(12):
        page = text(boss.get("/goods/"))
    assert "<script>alert" not in page
    assert "page=2" in page


# --- bundles --------------------------------------------------------------------------------------


def change(pk: int, *parts: tuple[str, str], **more: str) -> dict[str, Any]:
    return {"code": [code for code, _ in parts], "pieces": [n for _, n in parts], **more}


def test_a_change_of_parts_shows_its_orders_and_may_take_them_along(
    boss: Client, seller: Seller
) -> None:
    assert seller.bundle is not None
    order = take_one(seller.shop, draft(line("SET", 2, "600")))
    path = f"/goods/bundles/{seller.bundle.pk}/"
    preview = boss.post(path, change(seller.bundle.pk, ("LAMP", "1"), ("VASE", "3")))
    assert "同时改写 1 张未打包的在途订单" in text(preview)
    assert promised(order) == {"LAMP": 4, "RUG": 2}
    save = change(seller.bundle.pk, ("LAMP", "1"), ("VASE", "3"), verb="save", scope="open",
                  plan=plan_in(preview), reason="供应商换了配件")  # fmt: skip
    assert boss.post(path, save | {"reason": "短"}).status_code == 422
    assert boss.post(path, save).status_code == 302
    assert promised(order) == {"LAMP": 2, "VASE": 6}
    record = AuditRecord.objects.get(object_type="bundle", object_id=seller.bundle.pk)
    assert record.change == {"parts": [{"LAMP": 2, "RUG": 1}, {"LAMP": 1, "VASE": 3}]}
    assert boss.post(path, save).status_code == 302  # a second click
    assert AuditRecord.objects.filter(object_type="bundle").count() == 1


def test_by_default_open_orders_keep_the_parts_they_have(boss: Client, seller: Seller) -> None:
    assert seller.bundle is not None
    order = take_one(seller.shop, draft(line("SET", 1, "300")))
    path = f"/goods/bundles/{seller.bundle.pk}/"
    told = change(seller.bundle.pk, ("VASE", "1"))
    plan = plan_in(boss.post(path, told))
    boss.post(path, told | {"verb": "save", "plan": plan, "reason": "供应商换了配件"})
    assert promised(order) == {"LAMP": 2, "RUG": 1}
    later = take_one(seller.shop, draft(line("SET", 1, "100")))
    assert promised(later) == {"VASE": 1}


def test_parts_changed_after_the_look_refuse_the_change(boss: Client, seller: Seller) -> None:
    assert seller.bundle is not None
    path = f"/goods/bundles/{seller.bundle.pk}/"
    told = change(seller.bundle.pk, ("VASE", "1"))
    plan = plan_in(boss.post(path, told))
    BundlePart.objects.filter(sku__code="RUG").update(quantity=5)
    answer = boss.post(path, told | {"verb": "save", "plan": plan, "reason": "供应商换了配件"})
    assert answer.status_code == 409
    assert "已被他人改动" in text(answer)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([("SET", "1")], "组合装里不能再放组合装"),
        ([("INNER", "1")], "组合装里不能再放组合装"),
        ([("NOPE", "1")], "没有货品"),
        ([("LAMP", "0")], "件数应为"),
        ([("LAMP", "-1")], "件数应为"),
        ([("LAMP", "1"), ("LAMP", "2")], "填了两次"),
        ([], "1 到"),
    ],
)
def test_bs04_a_bundle_of_itself_and_other_nonsense_is_refused(
    boss: Client, seller: Seller, parts: list[tuple[str, str]], words: str
) -> None:
    assert seller.bundle is not None
    BundleFactory.create(code="INNER")
    answer = boss.post(f"/goods/bundles/{seller.bundle.pk}/", change(seller.bundle.pk, *parts))
    assert (answer.status_code, words in text(answer)) == (422, True)


@pytest.mark.parametrize(("model", "code"), [("bundle", "LAMP"), ("sku", "SET")])
def test_bs04_one_code_for_a_bundle_and_a_sku_is_refused_at_save(
    boss: Client, seller: Seller, model: str, code: str
) -> None:
    form = {
        "code": code, "name": "套装", "base_price": "1", "currency": "CNY", "weight_grams": "0",
        "size_class": "small", "is_active": "on", "bundle_parts-TOTAL_FORMS": "1",
        "bundle_parts-INITIAL_FORMS": "0", "bundle_parts-0-sku": seller.skus["RUG"].pk,
        "bundle_parts-0-quantity": "1", "prices-TOTAL_FORMS": "0", "prices-INITIAL_FORMS": "0",
    }  # fmt: skip
    answer = boss.post(f"/admin/catalog/{model}/add/", form)
    assert answer.status_code == 422
    assert "用这个编码" in text(answer)
    assert boss.post(f"/admin/catalog/{model}/add/", form | {"code": "FREE"}).status_code == 302


def test_the_admin_says_which_dated_prices_overlap(boss: Client) -> None:
    sku = SkuFactory.create()
    for day, price in ((1, 90), (2, 80)):
        SkuPrice.objects.create(
            sku=sku, base_price=price, starts_at=f"2026-11-0{day}T00:00+08:00",
            ends_at=f"2026-11-0{day + 2}T00:00+08:00",
        )  # fmt: skip
    page = text(boss.get(f"/admin/catalog/sku/{sku.pk}/change/"))
    assert "2026-11-02 00:00 至 2026-11-03 00:00 有两个价：90.00 与 80.00" in page


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
@pytest.mark.parametrize("what", ["skus", "bundles"])
def test_what_goes_out_comes_back_unchanged(
    boss: Client, seller: Seller, what: str, kind: str
) -> None:
    SkuPrice.objects.create(
        sku=seller.skus["LAMP"], base_price=Decimal("59.50"), starts_at=clock_now(),
        ends_at=clock_now() + timedelta(days=1), reason="=双十一",
    )  # fmt: skip
    SkuFactory.create(code="=1+1", name="@cmd", barcode="6901234567892012345", cost=Decimal(3))
    BundlePartFactory.create(bundle=BundleFactory.create(code="+B", name="-x"))
    out = boss.get(f"/goods/sheet/{what}.{kind}")
    assert out["Content-Disposition"] == f'attachment; filename="{what}.{kind}"'
    back = boss.post("/goods/sheet/", {"file": SimpleUploadedFile("x", out.content)})
    assert back.status_code == 200
    assert "没有要改的" in text(back)
    assert re.search(r"已是如此 <b>[1-9]", text(back))


def test_bf20_an_export_is_one_statement_and_its_rows_are_on_record(
    boss: Client, seller: Seller, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(9):
        out = boss.get("/goods/sheet/skus.csv")
    rows = list(csv.reader(io.StringIO(out.content.decode("utf-8-sig"))))
    record = AuditRecord.objects.get(action="catalog_exported")
    assert (record.object_type, record.change) == ("skus", {"rows": [None, len(rows) - 1]})


def test_a_table_shows_each_field_it_changes_and_does_what_was_seen(
    boss: Client, seller: Seller
) -> None:
    header = ["货品编码", "名称", "基准价", "成本", "色值", "分时价"]
    prices = "2026-11-10 20:00 ~ 2026-11-12 00:00 = 59.00 双十一 | 2026-12-01 00:00 ~ = 80"
    answer = hand_in(
        boss, header,
        ["NEW-1", "新款靠垫", "129.00", "40", "#c0392b", prices],
        ["LAMP", seller.skus["LAMP"].name, "88", "", "", ""],
        ["RUG", seller.skus["RUG"].name, "100.00", "", "", ""],
    )  # fmt: skip
    page = text(answer)
    assert [f"{word} <b>1</b>" in page for word in ("新建", "修改", "已是如此")] == [True] * 3
    assert "100.00 → <b>88.00</b>" in page
    assert not Sku.objects.filter(code="NEW-1").exists()
    plan = plan_in(answer)
    assert boss.post("/goods/sheet/apply/", {"plan": plan}).status_code == 302
    made = Sku.objects.get(code="NEW-1")
    assert (made.base_price, made.cost, made.color_hex) == (
        Decimal(129), Decimal(40), "#C0392B",
    )  # fmt: skip
    assert list(made.prices.order_by("pk").values_list("base_price", "reason")) == [
        (Decimal("59.00"), "双十一"), (Decimal("80.00"), ""),
    ]  # fmt: skip
    assert Sku.objects.get(code="LAMP").base_price == 88
    told = AuditRecord.objects.get(object_type="sku", object_id=seller.skus["LAMP"].pk)
    assert (told.change, told.reason) == ({"base_price": ["100.00", "88.00"]}, "表格导入")
    # What was seen is no longer so: the second time the new SKU is there already.
    assert boss.post("/goods/sheet/apply/", {"plan": plan}).status_code == 409


def test_what_somebody_changed_after_the_look_refuses_all_of_it(
    boss: Client, seller: Seller
) -> None:
    header = ["货品编码", "名称", "基准价"]
    answer = hand_in(boss, header, ["LAMP", "灯", "88"], ["NEW-1", "新款", "1"])
    Sku.objects.filter(code="LAMP").update(base_price=99)
    refused = boss.post("/goods/sheet/apply/", {"plan": plan_in(answer)})
    assert refused.status_code == 409
    assert "LAMP" in text(refused)
    assert not Sku.objects.filter(code="NEW-1").exists()


def test_every_refused_row_says_why_and_where(boss: Client, seller: Seller) -> None:
    header = ["货品编码", "名称", "基准价", "体积等级", "色值", "主图地址", "启用", "分时价"]
    good = ["小件", "", "", "是", ""]
    rows = [
        (["", "无编码", "1", *good], "没有填货品编码"),
        (["SET", "撞码", "1", *good], "已有组合装用这个编码"),
        (["N-1", "", "1", *good], "名称：不能为空"),
        (["N-2", "负价", "-1", *good], "基准价：应为不小于 0"),
        (["N-3", "厘", "1.005", *good], "至多两位小数"),
        (["N-4", "体积", "1", "巨大", "", "", "是", ""], "体积等级：应为"),
        (["N-5", "颜色", "1", "小件", "red", "", "是", ""], "色值：应为 #RRGGBB"),
        (["N-6", "主图", "1", "小件", "", "javascript:1", "是", ""], "主图地址：应以 https://"),
        (["N-7", "启用", "1", "小件", "", "", "maybe", ""], "启用：应为"),
        (["N-8", "日期", "1", *good[:4], "2026-02-30 00:00 ~ = 1"], "不是日期时间"),
        (["N-9", "倒序", "1", *good[:4], "2026-02-02 00:00 ~ 2026-02-01 00:00 = 1"], "晚于开始"),
        (["x" * 41, "过长", "1", *good], "最多 40 个字"),
        (["TWIN", "甲", "1", *good], "第 15 行说法不一"),
        (["TWIN", "乙", "1", *good], "第 14 行说法不一"),
    ]
    answer = hand_in(boss, header, *(row for row, _ in rows))
    page = text(answer)
    for number, (_row, words) in enumerate(rows, 2):
        found = re.search(rf'<td class="figure">{number}</td>.*?</tr>', page)
        assert found, number
        assert words in unescape(found[0]), (number, words)
    assert f"不能应用 <b>{len(rows)}</b>" in page
    assert "没有要改的" in page


def test_bundles_come_by_table_with_their_blast(boss: Client, seller: Seller) -> None:
    order = take_one(seller.shop, draft(line("SET", 1, "300")))
    header = ["组合编码", "组合名称", "货品编码", "数量"]
    answer = hand_in(
        boss, header, ["SET", "", "VASE", "2"], ["SET-2", "新套装", "LAMP", "1"],
        ["SET-2", "新套装", "RUG", "1"], ["BAD", "坏", "BAD", "1"], ["LAMP", "撞码", "RUG", "1"],
        ["DEEP", "套套", "SET", "1"],
    )  # fmt: skip
    page = text(answer)
    assert "LAMP × 2、RUG × 1 → <b>VASE × 2</b>" in page
    assert "组合装不能包含它自己" in page
    assert "已有货品用这个编码" in page
    assert "SET 是组合装" in page
    assert "同时改写 1 张" in page
    plan = plan_in(answer)
    assert boss.post("/goods/sheet/apply/", {"plan": plan}).status_code == 422
    done = boss.post("/goods/sheet/apply/", {"plan": plan, "verb": "good", "scope": "open"})
    assert done.status_code == 302
    made = Bundle.objects.get(code="SET-2")
    assert set(made.bundle_parts.values_list("sku__code", "quantity")) == {("LAMP", 1), ("RUG", 1)}
    assert promised(order) == {"VASE": 2}


def test_formulas_are_inert_in_what_is_handed_out(boss: Client) -> None:
    SkuFactory.create(code="=HYPERLINK(1)", name="\t=cmd|' /C calc'!A0", category="+1")
    header, rows = workbook_rows(io.BytesIO(boss.get("/goods/sheet/skus.xlsx").content), max_rows=9)
    (_number, cells) = next(rows)
    assert dict(zip(header, cells, strict=True))["货品编码"] == "=HYPERLINK(1)"
    assert b"<f" not in boss.get("/goods/sheet/skus.xlsx").content
    out = boss.get("/goods/sheet/skus.csv").content.decode("utf-8-sig")
    for row in csv.reader(io.StringIO(out)):
        assert not any(cell.lstrip(" \u3000")[:1] in set("=+-@\t\uff1d") - {""} for cell in row)
