"""Codes nobody has mapped, through the doors: the queue, a click, a preview, a spreadsheet."""

import io
import json
import re
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from channels_sync.sheets.xlsx_reading import workbook_rows
from channels_sync.sheets.xlsx_writing import Column, workbook
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Listing, Sku
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import jobs
from tests.console.conftest import AsRole
from tests.factories import ListingFactory, ShopFactory, SkuFactory
from tests.pipeline.seller import Seller, draft, holds, line, open_seller, promised, take, take_one

pytestmark = pytest.mark.django_db
BOSS = Role.WAREHOUSE_SUPERVISOR
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture
def seller() -> Seller:
    return open_seller()


def text(answer: Any) -> str:
    found: str = answer.content.decode()
    return found


def picks(answer: Any) -> list[str]:
    """What the boxes of the page would post."""
    return [unescape(one) for one in re.findall(r'name="pick" value="([^"]*)"', text(answer))]


def page_of(code: str, seller: Seller, **more: Any) -> dict[str, Any]:
    return {"shop": seller.shop.pk, "type": "outer_code", "code": code, **more}


def sheet(seller: Seller, *rows: tuple[str, str]) -> SimpleUploadedFile:
    names = ("店铺编码", "编码类型", "平台编码", "货品编码")
    data = workbook(
        "表", [Column(name) for name in names],
        [[seller.shop.code, "商家编码", *row] for row in rows],
    )  # fmt: skip
    return SimpleUploadedFile("../../填好 的.xlsx", data)


def plan_in(answer: Any) -> str:
    found = re.search(r'name="plan" value="([^"]*)"', text(answer))
    return unescape(found[1]) if found else ""


# --- the queue ------------------------------------------------------------------------------------


def test_an_empty_queue_says_so(as_role: AsRole) -> None:
    assert "没有未匹配的编码" in text(as_role(BOSS).get("/listings/"))


def test_the_queue_names_code_orders_money_and_a_reason_for_its_proposal(
    as_role: AsRole, seller: Seller
) -> None:
    take(seller.shop, draft(line("sofa", 2)), draft(line("sofa")))
    page = text(as_role(BOSS).get("/listings/"))
    assert "2 单 · ¥300.00" in page
    assert "的商家编码 SOFA 只差大小写" in page
    assert "data-due=" in page
    assert f'href="/listings/map/?shop={seller.shop.pk}&amp;type=outer_code&amp;code=sofa"' in page


def test_the_queue_costs_the_same_however_long_it_is(
    as_role: AsRole, seller: Seller, django_assert_max_num_queries: Any
) -> None:
    client = as_role(BOSS)
    client.get("/listings/")
    take(seller.shop, *(draft(line(f"NEW-{n}", title=f"棉麻靠垫 {n}")) for n in range(60)))
    with django_assert_max_num_queries(12):
        page = client.get("/listings/")
    assert text(page).count("code-card") == 50
    rest = client.get("/listings/?page=2")
    assert text(rest).count("code-card") == 10


def test_a_reader_sees_the_queue_without_a_button(as_role: AsRole, seller: Seller) -> None:
    take_one(seller.shop, draft(line("sofa")))
    for role in (Role.IT, Role.CEO):
        page = as_role(role).get("/listings/")
        assert "sofa" in text(page)
        assert picks(page) == []
        assert "采纳</button>" not in text(page)


def test_a_hostile_title_and_code_stay_text_everywhere(as_role: AsRole, seller: Seller) -> None:
    client = as_role(BOSS)
    take_one(seller.shop, draft(line(HOSTILE, title=HOSTILE)))
    ListingFactory.create(shop=seller.shop, code_type="outer_code", code="K", title=HOSTILE)
    SkuFactory.create(code="EVIL", name=HOSTILE)
    for path, data in (
        ("/listings/", {}),
        ("/listings/map/", page_of(HOSTILE, seller)),
        ("/listings/map/", page_of(HOSTILE, seller, q=HOSTILE)),
        ("/listings/map/", page_of("K", seller, q="EVIL")),
        ("/listings/map/", page_of("K", seller, to=f"sku:{Sku.objects.get(code='EVIL').pk}")),
    ):
        page = text(client.get(path, data))
        assert "<script>alert" not in page
        assert "<img" not in page


@pytest.mark.parametrize("query", ["?shop=x", "?shop=%00", "?page=-1", "?page=9e9", "?of=\u0661"])
def test_nonsense_in_the_address_shows_the_whole_queue(as_role: AsRole, query: str) -> None:
    assert as_role(BOSS).get(f"/listings/{query}").status_code == 200


# --- a click --------------------------------------------------------------------------------------


def test_one_click_accepts_a_proposal_and_its_orders_go_on(as_role: AsRole, seller: Seller) -> None:
    client = as_role(BOSS, username="boss")
    order = take_one(seller.shop, draft(line("sofa")))
    (pick,) = picks(client.get("/listings/"))
    answer = client.post("/listings/accept/", {"one": pick}, follow=True)
    assert "新建 1 个对应关系；1 张等待的订单自动继续" in text(answer)
    order.refresh_from_db()
    assert (holds(order), promised(order)) == (set(), {"SOFA": 1})
    record = AuditRecord.objects.get(object_type="listing")
    assert (record.actor_name, record.reason) == ("boss", "采纳建议")
    again = client.post("/listings/accept/", {"one": pick}, follow=True)
    assert "没有要改的" in text(again)
    assert AuditRecord.objects.filter(object_type="listing").count() == 1


def test_all_that_are_ticked_are_accepted_together(as_role: AsRole, seller: Seller) -> None:
    client = as_role(BOSS)
    take(
        seller.shop,
        draft(line("sofa")),
        draft(line("lamp")),
        draft(line("sofa", platform_sku_id="11")),
        draft(line("rug")),
    )
    ticked = [pick for pick in picks(client.get("/listings/")) if "rug" not in pick]
    assert len(ticked) == 3
    answer = client.post("/listings/accept/", {"pick": ticked}, follow=True)
    assert "新建 2 个对应关系；3 张等待的订单自动继续" in text(answer)
    assert len(picks(answer)) == 1


def test_a_proposal_somebody_else_has_decided_otherwise_is_refused(
    as_role: AsRole, seller: Seller
) -> None:
    client = as_role(BOSS)
    take_one(seller.shop, draft(line("sofa")))
    (pick,) = picks(client.get("/listings/"))
    ListingFactory.create(
        shop=seller.shop, code_type="outer_code", code="sofa", sku=seller.skus["RUG"]
    )
    answer = client.post("/listings/accept/", {"one": pick})
    assert answer.status_code == 409
    assert "已被他人改动" in text(answer)
    assert Listing.objects.get(code="sofa").sku == seller.skus["RUG"]


@pytest.mark.parametrize(
    "pick",
    ["", "x", "[]", "{}", '[1,"outer_code","A","sku:1"]', '["1","outer_code","A","sku:1",""]',
     '[true,"outer_code","A","sku:1",""]', '[1,"outer_code","A\\u0000","sku:1",""]',
     '[1,"title","A","sku:1",""]', '[1,"outer_code","A","sku:99999999999999999999",""]',
     '[-1,"outer_code","A","sku:1",""]', '[1e999,"outer_code","A","sku:1",""]', "[" * 5000],
)  # fmt: skip
def test_what_no_box_would_post_changes_nothing(as_role: AsRole, seller: Seller, pick: str) -> None:
    before = Listing.objects.count()
    answer = as_role(BOSS).post("/listings/accept/", {"one": pick})
    assert answer.status_code in {404, 422}
    assert Listing.objects.count() == before


# --- one code -------------------------------------------------------------------------------------


def test_a_code_is_searched_looked_at_and_mapped(as_role: AsRole, seller: Seller) -> None:
    client = as_role(BOSS)
    order = take_one(seller.shop, draft(line("NEW-1", 2)))
    found = text(client.get("/listings/map/", page_of("NEW-1", seller, q="lam")))
    key = f"sku:{seller.skus['LAMP'].pk}"
    assert f"to={key.replace(':', '%3A')}" in found
    preview = text(client.get("/listings/map/", page_of("NEW-1", seller, to=key)))
    assert "1 单 ¥200.00" in preview
    assert '<td class="figure">2</td><td class="figure">200</td>' in preview
    assert not Listing.objects.filter(code="NEW-1").exists()
    answer = client.post("/listings/map/", page_of("NEW-1", seller, to=key, version="0"))
    assert answer.status_code == 302
    order.refresh_from_db()
    assert promised(order) == {"LAMP": 2}


def test_a_bundle_is_found_with_what_is_in_it(as_role: AsRole, seller: Seller) -> None:
    page = text(as_role(BOSS).get("/listings/map/", page_of("NEW-1", seller, q="set")))
    assert "LAMP × 2、RUG × 1" in page


def test_a_change_needs_a_reason_and_shows_what_it_leaves_alone(
    as_role: AsRole, seller: Seller
) -> None:
    client = as_role(BOSS, username="boss")
    take_one(seller.shop, draft(line("SOFA", 3)))
    key = f"sku:{seller.skus['RUG'].pk}"
    preview = text(client.get("/listings/map/", page_of("SOFA", seller, to=key)))
    assert "1 单 ¥300.00" in preview
    assert "同时改写 1 张未打包的在途订单" in preview
    change = page_of("SOFA", seller, to=key, version="1")
    refused = client.post("/listings/map/", change | {"reason": "改错"})
    assert refused.status_code == 422
    assert 'value="改错"' in text(refused)
    done = client.post("/listings/map/", change | {"reason": "厂家换了编码"})
    assert done.status_code == 302
    history = text(client.get("/listings/map/", page_of("SOFA", seller)))
    assert "第 2 版</b> SOFA → RUG boss：厂家换了编码" in history
    assert SalesOrder.objects.get().lines.get().sku == seller.skus["SOFA"]
    assert "恢复第 1 版，先看影响" in history
    assert "按现在的对应关系改写这 1 单" in history
    again = page_of("SOFA", seller, verb="recode", reason="厂家换了编码")
    assert client.post("/listings/map/", again).status_code == 302
    assert promised(SalesOrder.objects.get()) == {"RUG": 3}
    assert "仍按旧版本" not in text(client.get("/listings/map/", page_of("SOFA", seller)))


def test_open_orders_are_read_again_when_that_is_chosen_and_an_old_version_put_back(
    as_role: AsRole, seller: Seller
) -> None:
    client = as_role(BOSS)
    order = take_one(seller.shop, draft(line("SOFA", 3)))
    to = {name: f"sku:{seller.skus[name].pk}" for name in ("RUG", "SOFA")}
    change = page_of("SOFA", seller, to=to["RUG"], version="1", reason="厂家换了编码", scope="open")
    client.post("/listings/map/", change)
    assert promised(order) == {"RUG": 3}
    preview = text(client.get("/listings/map/", page_of("SOFA", seller, to=to["SOFA"])))
    assert 'name="version" value="2"' in preview
    assert re.search(r"SOFA</b> 棉麻靠垫\d+</td><td class=\"figure\">0</td>", preview)
    client.post("/listings/map/", change | {"to": to["SOFA"], "version": "2"})
    assert promised(order) == {"SOFA": 3}
    listing = Listing.objects.get(code="SOFA")
    told = listing.versions.values_list("version", "sku__code", "reason")
    assert list(told) == [
        (3, "SOFA", "厂家换了编码"), (2, "RUG", "厂家换了编码"), (1, "SOFA", ""),
    ]  # fmt: skip


def test_who_looked_at_an_older_version_is_refused_and_keeps_what_he_typed(
    as_role: AsRole, seller: Seller
) -> None:
    client = as_role(BOSS)
    Listing.objects.filter(code="SOFA").update(sku=seller.skus["LAMP"], version=2)
    key = f"sku:{seller.skus['RUG'].pk}"
    post = page_of("SOFA", seller, to=key, version="1", reason="厂家换了编码")
    answer = client.post("/listings/map/", post)
    assert answer.status_code == 409
    assert "已被他人改动" in text(answer)
    assert 'value="厂家换了编码"' in text(answer)
    assert 'name="version" value="2"' in text(answer)


def test_history_is_for_who_reads_the_audit(as_role: AsRole, seller: Seller) -> None:
    assert "版本记录" in text(as_role(Role.CEO).get("/listings/map/", page_of("SOFA", seller)))
    assert "版本记录" not in text(as_role(Role.IT).get("/listings/map/", page_of("SOFA", seller)))


def test_two_codes_that_disagree_lead_to_both(as_role: AsRole, seller: Seller) -> None:
    ListingFactory.create(shop=seller.shop, code_type="sku_id", code="777", sku=seller.skus["LAMP"])
    take_one(seller.shop, draft(line("SOFA", platform_sku_id="777")))
    page = text(as_role(BOSS).get("/listings/"))
    assert "type=sku_id&amp;code=777" in page
    assert "type=outer_code&amp;code=SOFA" in page


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"shop": "0"}, 404),
        ({"shop": "\u0661"}, 404),
        ({"type": "title"}, 422),
        ({"code": "x" * 101}, 422),
        ({"code": "a\0b"}, 422),
    ],
)
def test_a_page_of_no_code_is_refused(
    as_role: AsRole, seller: Seller, change: dict[str, str], status: int
) -> None:
    asked = page_of("SOFA", seller) | change
    assert as_role(BOSS).get("/listings/map/", asked).status_code == status
    posted = as_role(BOSS).post("/listings/map/", {**asked, "to": "sku:1", "version": "1"})
    assert posted.status_code == status


@pytest.mark.parametrize("to", ["", "sku:", "sku:0", "bundle:1", "sku:-1", "x:1", "sku:1;drop"])
def test_a_target_that_is_none_is_refused(as_role: AsRole, seller: Seller, to: str) -> None:
    post = page_of("NEW-1", seller, to=to, version="0")
    assert as_role(BOSS).post("/listings/map/", post).status_code == 422
    assert as_role(BOSS).get("/listings/map/", post).status_code == 200


# --- a spreadsheet --------------------------------------------------------------------------------


def test_the_queue_is_downloaded_under_a_plain_name(as_role: AsRole, seller: Seller) -> None:
    take_one(seller.shop, draft(line("9007199254740993001")))
    client = as_role(BOSS)
    answer = client.get("/listings/sheet/queue.xlsx")
    assert answer["Content-Disposition"] == 'attachment; filename="unmapped-codes.xlsx"'
    _, rows = workbook_rows(io.BytesIO(answer.content), max_rows=5)
    assert [cells[2] for _, cells in rows] == ["9007199254740993001"]
    as_csv = client.get("/listings/sheet/queue.csv").content.decode("utf-8-sig")
    assert "'9007199254740993001" in as_csv


def test_a_filled_sheet_is_shown_then_applied_once(as_role: AsRole, seller: Seller) -> None:
    client = as_role(BOSS)
    order = take_one(seller.shop, draft(line("NEW-1")))
    rows = (("NEW-1", "LAMP"), ("SOFA", "RUG"), ("NEW-2", ""))
    seen = client.post("/listings/sheet/", {"file": sheet(seller, *rows)})
    assert seen.status_code == 200
    assert "SOFA → RUG" in text(seen)
    assert "全部应用（2 行）" in text(seen)
    assert not Listing.objects.filter(code="NEW-1").exists()
    post = {"plan": plan_in(seen), "verb": "all"}
    done = client.post("/listings/sheet/apply/", post, follow=True)
    assert "新建 1 个对应关系，修改 1 个；1 张等待的订单自动继续" in text(done)
    order.refresh_from_db()
    assert promised(order) == {"LAMP": 1}
    again = client.post("/listings/sheet/apply/", post, follow=True)
    assert "没有要改的" in text(again)
    assert Listing.objects.get(code="SOFA").version == 2
    same_file = client.post("/listings/sheet/", {"file": sheet(seller, *rows)})
    assert "没有要改的" in text(same_file)
    assert plan_in(same_file) == ""


def test_bad_rows_are_named_and_the_good_ones_wait_for_a_word(
    as_role: AsRole, seller: Seller
) -> None:
    client = as_role(BOSS)
    rows = (("NEW-1", "LAMP"), ("NEW-2", "NOPE"))
    seen = client.post("/listings/sheet/", {"file": sheet(seller, *rows)})
    assert "没有这个货品编码" in text(seen)
    assert "全部应用" not in text(seen)
    refused = client.post("/listings/sheet/apply/", {"plan": plan_in(seen), "verb": "all"})
    assert refused.status_code == 422
    assert not Listing.objects.filter(code="NEW-1").exists()
    client.post("/listings/sheet/apply/", {"plan": plan_in(seen), "verb": "good"})
    assert Listing.objects.get(code="NEW-1").sku == seller.skus["LAMP"]


def test_a_listing_changed_after_the_look_refuses_the_whole_sheet(
    as_role: AsRole, seller: Seller
) -> None:
    client = as_role(BOSS)
    rows = (("NEW-1", "LAMP"), ("SOFA", "RUG"))
    seen = client.post("/listings/sheet/", {"file": sheet(seller, *rows)})
    Listing.objects.filter(code="SOFA").update(sku=seller.skus["LAMP"], version=2)
    answer = client.post("/listings/sheet/apply/", {"plan": plan_in(seen), "verb": "all"})
    assert answer.status_code == 409
    assert not Listing.objects.filter(code="NEW-1").exists()


def test_a_plan_is_its_readers_own_and_no_letter_of_it_can_be_changed(
    as_role: AsRole, seller: Seller
) -> None:
    seen = as_role(BOSS).post("/listings/sheet/", {"file": sheet(seller, ("NEW-1", "LAMP"))})
    signed = plan_in(seen)
    other = as_role(Role.OPERATIONS_SUPERVISOR)
    for client, plan in (
        (other, signed),
        (as_role(BOSS), signed[:-1] + ("A" if signed[-1] != "A" else "B")),
        (as_role(BOSS), ""),
        (as_role(BOSS), json.dumps({"user": 1, "wishes": []})),
    ):
        answer = client.post("/listings/sheet/apply/", {"plan": plan, "verb": "all"})
        assert answer.status_code == 422
    assert not Listing.objects.filter(code="NEW-1").exists()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 422),
        (b"a,b\n1,2\n", 422),
        (b"\xd0\xcf\x11\xe0" + bytes(100), 415),
        (b"PK\x03\x04" + bytes(100), 422),
        (b"x" * (8 * 1024 * 1024 + 1), 413),
        (b'"' + b"x" * 100, 422),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_words(
    as_role: AsRole, data: bytes, status: int
) -> None:
    answer = as_role(BOSS).post("/listings/sheet/", {"file": SimpleUploadedFile("a.csv", data)})
    assert answer.status_code == status
    assert 'role="alert"' in text(answer)


def test_5000_rows_go_through_the_doors(as_role: AsRole, seller: Seller) -> None:
    Sku.objects.bulk_create(
        Sku(code=f"K{n}", name="货", base_price=Decimal(1)) for n in range(5_000)
    )
    client = as_role(BOSS)
    rows = [(f"C-{n}-{'长' * 20}", f"K{n}") for n in range(5_000)]
    seen = client.post("/listings/sheet/", {"file": sheet(seller, *rows)})
    assert "全部应用（5000 行）" in text(seen)
    assert "只列出前 100 行" in text(seen)
    done = client.post("/listings/sheet/apply/", {"plan": plan_in(seen), "verb": "all"})
    assert done.status_code == 302
    assert Listing.objects.filter(shop=seller.shop, code__startswith="C-").count() == 5_000


# --- afterwards -----------------------------------------------------------------------------------


def test_a_bar_shows_how_many_have_gone_on(
    as_role: AsRole, seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "BATCH", 1)
    client: Client = as_role(BOSS)
    take(seller.shop, *(draft(line("sofa")) for _ in range(3)))
    (pick,) = picks(client.get("/listings/"))
    answer = client.post("/listings/accept/", {"one": pick}, follow=True)
    assert '<progress max="3" value="1">' in text(answer)
    assert "data-running" in text(answer)
    jobs.work_unmapped()
    assert 'value="2"' in text(client.get("/listings/?fragment=going&of=3"))
    jobs.work_unmapped()
    last = text(client.get("/listings/?fragment=going&of=3"))
    assert "3 张等待的订单已继续" in last
    assert "data-running" not in last


def test_a_shop_without_unmapped_codes_says_so(as_role: AsRole) -> None:
    shop = ShopFactory.create()
    assert "这家店铺没有未匹配的编码" in text(as_role(BOSS).get(f"/listings/?shop={shop.pk}"))
