"""The pages of the stock: figures that agree with the books, filters, files, and who sees what."""

import csv
import io
import zipfile
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from channels_sync.models import PublishedStock
from inventory import arrivals, health, replenishing
from inventory import services as inventory
from inventory.buffers import compute_buffers
from inventory.contracts import Demand, StockRequest
from inventory.explaining import Asked, moved, stories
from inventory.health import Alarm, Wanted
from inventory.models import (
    ChannelQuota,
    Inbound,
    ReplenishSnooze,
    SafetyStock,
    StockFile,
    StockLevel,
    StockPolicy,
    StockProof,
    VirtualWarehouse,
)
from inventory.publishable import publishable
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import CodeType, Shop, Sku
from ordercenter.console import stock_facts
from ordercenter.console.order_stock import lines_with_stock
from ordercenter.console.selectors import Line
from ordercenter.console.stock_desk import TODOS_A_PAGE
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.policy import Role
from ordercenter.notices.models import Notice
from ordercenter.orders.states import HoldKind
from ordercenter.pipeline import low_stock
from tests.console.conftest import AsRole, held_order
from tests.factories import (
    BundleFactory,
    BundlePartFactory,
    ListingFactory,
    OrderLineFactory,
    RobotFactory,
    ShopCredentialFactory,
    ShopFactory,
    SkuFactory,
    SyncCursorFactory,
    VirtualWarehouseFactory,
    user_with,
)

pytestmark = pytest.mark.django_db
NOW = timezone.now


def place_in(province: str, name: str) -> VirtualWarehouse:
    return VirtualWarehouseFactory.create(
        name=name, warehouse__province=province, warehouse__name=name
    )


def put(place: VirtualWarehouse, sku: Sku, units: int) -> None:
    inventory.receive([(place.pk, sku.pk, units)], actor=PIPELINE)


def promise(place: VirtualWarehouse, sku: Sku, units: int) -> Any:
    """An order that holds so many units there."""
    line = OrderLineFactory.create(sku=sku, quantity=units)
    demand = Demand(line.pk, sku.pk, units)
    (grant,) = inventory.reserve_many(
        [StockRequest(line.order_id, (demand,), (place.pk,))], actor=PIPELINE
    )
    assert grant.granted
    return line.order


def announce(place: VirtualWarehouse, sku: Sku, units: int, days: int = 3) -> None:
    boss = user_with(Role.WAREHOUSE_SUPERVISOR, username="announcer")
    arrivals.announce(
        place.pk, {sku.pk: units}, expected_at=NOW() + timedelta(days=days), user=boss,
        actor=PIPELINE,
    )  # fmt: skip


def row_of(sku: Sku, **wanted: Any) -> health.SkuRow:
    rows = health.health(Wanted(**wanted), now=NOW()).rows
    return next(row for row in rows if row.sku_id == sku.pk)


# --- the figures ----------------------------------------------------------------------------------


def test_a_sku_is_told_whole_and_per_place() -> None:
    sku = SkuFactory.create()
    east, south = place_in("江苏省", "华东仓"), place_in("广东省", "华南仓")
    put(east, sku, 30)
    put(south, sku, 5)
    promise(east, sku, 4)
    announce(south, sku, 60)
    row = row_of(sku)
    assert (row.units.on_hand, row.units.reserved, row.units.available) == (35, 4, 31)
    assert row.units.inbound == 60
    told = {place.place: place for place in row.places}
    assert (told["华东仓"].units.available, told["华南仓"].units.available) == (26, 5)
    assert told["华东仓"].next_at is None
    assert row.next_at == told["华南仓"].next_at is not None


@pytest.mark.parametrize(
    ("units", "alarm"),
    [(50, Alarm.ENOUGH), (49, Alarm.REPLENISH), (10, Alarm.REPLENISH), (9, Alarm.FEW),
     (3, Alarm.FEW), (2, Alarm.DANGER), (0, Alarm.DANGER)],
)  # fmt: skip
def test_three_lines_make_four_states(units: int, alarm: Alarm) -> None:
    sku = SkuFactory.create()
    put(place_in("江苏省", "华东仓"), sku, units)
    assert row_of(sku).alarm is alarm


def test_the_lines_are_the_policys() -> None:
    StockPolicy(replenish_below=20, few_below=5, danger_below=1).save()
    sku = SkuFactory.create()
    put(place_in("江苏省", "华东仓"), sku, 20)
    assert row_of(sku).alarm is Alarm.ENOUGH


def test_a_sku_that_lies_nowhere_is_in_danger_and_not_missing() -> None:
    sku = SkuFactory.create()
    assert row_of(sku).alarm is Alarm.DANGER
    assert row_of(sku).places == []


def test_days_of_cover_are_what_is_available_by_the_pace_of_the_period() -> None:
    sku = SkuFactory.create()
    place = place_in("江苏省", "华东仓")
    put(place, sku, 100)
    promise(place, sku, 20)
    released = promise(place, sku, 30)
    inventory.release([released.pk], reason="canceled", actor=PIPELINE)
    row = row_of(sku, days=7)
    # The ledger is minutes old: one day is the least that is divided by.
    assert (row.units.sold, row.daily, row.cover) == (20, Decimal("20.0"), Decimal("4.0"))


def test_an_old_ledger_is_divided_by_the_whole_period_and_sales_before_it_do_not_count() -> None:
    sku = SkuFactory.create()
    place = place_in("江苏省", "华东仓")
    then = NOW() - timedelta(days=40)
    inventory.receive([(place.pk, sku.pk, 100)], actor=PIPELINE, now=then)
    line = OrderLineFactory.create(sku=sku, quantity=9)
    request = StockRequest(line.order_id, (Demand(line.pk, sku.pk, 9),), (place.pk,))
    inventory.reserve_many([request], actor=PIPELINE, now=NOW() - timedelta(days=20))
    promise(place, sku, 14)
    assert row_of(sku, days=14).daily == Decimal("1.0")
    assert row_of(sku, days=30).daily == Decimal("0.8")  # 23 in 30 days


def test_filters_narrow_by_region_warehouse_shop_category_alarm_and_words() -> None:
    lamp = SkuFactory.create(code="LAMP-1", name="台灯", category="灯具", barcode="690123")
    sofa = SkuFactory.create(code="SOFA-1", name="沙发", category="家具")
    east, south = place_in("江苏省", "华东仓"), place_in("广东省", "华南仓")
    put(east, lamp, 100)
    put(south, sofa, 5)
    listing = ListingFactory.create(sku=sofa)

    def codes(**wanted: Any) -> list[str]:
        return [row.code for row in health.health(Wanted(**wanted), now=NOW()).rows]

    assert codes(region="江苏省") == ["LAMP-1"]
    assert codes(warehouse_id=south.warehouse_id) == ["SOFA-1"]
    assert codes(shop_id=listing.shop_id) == ["SOFA-1"]
    assert codes(category="灯具") == ["LAMP-1"]
    assert codes(alarm="few") == ["SOFA-1"]
    assert codes(search="amp") == ["LAMP-1"]
    assert codes(search="690123") == ["LAMP-1"]
    assert codes(search="%") == []
    assert codes(sort="available") == ["SOFA-1", "LAMP-1"]
    assert codes(sort="code") == ["LAMP-1", "SOFA-1"]


def test_a_shop_finds_the_parts_of_its_bundles_and_only_places_that_serve_it() -> None:
    part = SkuFactory.create()
    bundle = BundleFactory.create()
    BundlePartFactory.create(bundle=bundle, sku=part, quantity=2)
    listing = ListingFactory.create(sku=None, bundle=bundle)
    ours, theirs = place_in("江苏省", "共用"), place_in("江苏省", "专属")
    theirs.shops.add(ShopFactory.create())
    put(ours, part, 7)
    put(theirs, part, 90)
    assert row_of(part, shop_id=listing.shop_id).units.on_hand == 7
    assert row_of(part).units.on_hand == 97


def test_the_counts_of_the_alarms_do_not_depend_on_the_one_chosen() -> None:
    place = place_in("江苏省", "华东仓")
    for units in (100, 20, 20, 5, 1):
        put(place, SkuFactory.create(), units)
    want = {Alarm.ENOUGH: 1, Alarm.REPLENISH: 2, Alarm.FEW: 1, Alarm.DANGER: 1}
    assert health.health(Wanted(alarm="few"), now=NOW()).counts == want
    assert health.health(Wanted(alarm="few"), now=NOW()).total == 1
    assert health.health(Wanted(alarm="few", page=9), now=NOW()).counts == want


# --- the page -------------------------------------------------------------------------------------


def test_the_page_tells_what_each_shop_shows_and_how_its_last_figure_went(as_role: AsRole) -> None:
    sku = SkuFactory.create(code="LAMP-1")
    place = place_in("江苏省", "华东仓")
    put(place, sku, 37)
    shop = ShopFactory.create(name="京东旗舰店", channel="jd")
    SyncCursorFactory.create(shop=shop, mode="manual")
    ShopCredentialFactory.create(shop=shop, options={"push_stock": "on"})
    ListingFactory.create(shop=shop, sku=sku, platform_sku_id="880")
    text = as_role(Role.WAREHOUSE_SUPERVISOR).get("/stock/").content.decode()
    assert "<span>京东旗舰店</span> <b>37</b>" in text
    assert "还没有推送过" in text
    assert "超卖风险很高" in text  # Q118: how the shop is kept in step


def listed(channel: str, *codes: tuple[CodeType, str, str]) -> tuple[Shop, Sku]:
    """A shop that lists one SKU under these codes: (kind, code, the platform's id of it)."""
    sku = SkuFactory.create()
    put(place_in("江苏省", "华东仓"), sku, 37)
    shop = ShopFactory.create(name="一家店", channel=channel)
    ShopCredentialFactory.create(shop=shop, options={"push_stock": "on"})
    for kind, code, known in codes:
        ListingFactory.create(
            shop=shop, sku=sku, code_type=kind, code=code, platform_sku_id=known,
            platform_item_id="70",
        )  # fmt: skip
    return shop, sku


@pytest.mark.parametrize(
    "code",
    [(CodeType.OUTER_CODE, "LAMP", ""), (CodeType.OUTER_CODE, "LAMP", "880")],
    ids=["unknown to the platform's id", "named with its id"],
)
def test_a_shop_that_lists_goods_by_id_and_by_code_is_named_once(
    code: tuple[CodeType, str, str], as_role: AsRole
) -> None:
    shop, sku = listed("taobao", (CodeType.SKU_ID, "880", ""), code)
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    assert client.get("/stock/").content.decode().count("<span>一家店</span>") == 1
    rows = stock_facts.shown_by_sku([sku.pk], now=NOW())[sku.pk]
    assert [row.listing.code for row in rows] == ["880"]
    ListingFactory.create(
        shop=shop, sku=sku, code_type=CodeType.OUTER_CODE, code="OTHER", platform_sku_id="881"
    )
    rows = stock_facts.shown_by_sku([sku.pk], now=NOW())[sku.pk]
    assert [row.listing.code for row in rows] == ["880", "OTHER"]


@pytest.mark.parametrize(
    ("channel", "known", "shown"),
    [("jd", "", True), ("jd", "880", False), ("wechat", "", True), ("shopify", "", False)],
)
def test_a_listing_known_by_its_code_alone_says_where_it_cannot_be_told(
    channel: str, known: str, shown: bool, as_role: AsRole
) -> None:
    listed(channel, (CodeType.OUTER_CODE, "LAMP", known))
    text = as_role(Role.WAREHOUSE_SUPERVISOR).get("/stock/").content.decode()
    assert ("缺平台规格编号，还不能推送" in text) is shown


def test_a_refused_figure_is_shown_with_its_reason(as_role: AsRole) -> None:
    sku = SkuFactory.create()
    put(place_in("江苏省", "华东仓"), sku, 5)
    listing = ListingFactory.create(sku=sku, shop__channel="jd")
    ShopCredentialFactory.create(shop=listing.shop, options={"push_stock": "on"})
    PublishedStock.objects.create(
        listing=listing, version=3, quantity=5, told=9, told_version=2, told_at=NOW(),
        refused_until=NOW() + timedelta(hours=1), refusal="商品报名了活动",
    )  # fmt: skip
    text = as_role(Role.WAREHOUSE_SUPERVISOR).get("/stock/").content.decode()
    assert "上次告知 9" in text
    assert "平台拒绝" in text
    assert "商品报名了活动" in text


def test_a_warehouse_of_others_shows_when_it_last_told_its_figures(as_role: AsRole) -> None:
    place = place_in("江苏省", "云仓")
    place.warehouse.kind = "third_party"
    place.warehouse.save()
    put(place, SkuFactory.create(), 5)
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    assert "对方还没有报过数" in client.get("/stock/").content.decode()
    at = datetime(2026, 11, 20, 8, 30, tzinfo=SHANGHAI)
    for n, moment in enumerate((at - timedelta(days=1), at)):
        StockFile.objects.create(
            virtual_warehouse=place, as_of=moment, digest=str(n), applied_by="李主管",
            applied_at=NOW(),
        )  # fmt: skip
    assert "对方数据 11-20 08:30" in client.get("/stock/").content.decode()


def test_an_empty_center_says_what_to_do_and_a_narrow_filter_says_so(as_role: AsRole) -> None:
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    assert "还没有货品" in client.get("/stock/").content.decode()
    SkuFactory.create()
    assert "没有符合条件的货品" in client.get("/stock/?q=nothing").content.decode()
    assert "没有符合条件的货品" in client.get("/stock/?page=7").content.decode()


@pytest.mark.parametrize(
    "query",
    ["?page=0", "?page=-1", "?page=99999999999999999999", "?shop=x", "?warehouse=²", "?days=5",
     "?alarm=boo", "?sort=;drop", "?q=%00", "?region=%F0%9F%92%A3", "?shop=9223372036854775807"],
)  # fmt: skip
def test_nonsense_in_the_address_shows_the_page(as_role: AsRole, query: str) -> None:
    SkuFactory.create()
    assert as_role(Role.FINANCE).get(f"/stock/{query}").status_code == 200


def test_a_hostile_name_is_only_text(as_role: AsRole) -> None:
    sku = SkuFactory.create(name="<script>alert(1)</script>", code='"><img src=x>')
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    for address in ("/stock/", f"/stock/{sku.pk}/", "/stock/low/"):
        text = client.get(address).content.decode()
        assert "<script>alert" not in text
        assert "<img src=x>" not in text


def test_the_page_costs_the_same_questions_however_many_skus(
    as_role: AsRole,
) -> None:
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    place = place_in("江苏省", "华东仓")

    def grow(n: int) -> None:
        for _ in range(n):
            sku = SkuFactory.create()
            put(place, sku, 3)
            ListingFactory.create(sku=sku)

    def cost() -> int:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert client.get("/stock/").status_code == 200
        return len(asked)

    grow(2)
    cost()
    few = cost()
    grow(20)
    assert cost() == few


# --- the files ------------------------------------------------------------------------------------


def test_the_files_hold_what_is_filtered_and_cells_are_inert(as_role: AsRole) -> None:
    sku = SkuFactory.create(code="=1+1", name="+SUM(A1)")
    put(place_in("江苏省", "华东仓"), sku, 8)
    put(place_in("广东省", "华南仓"), SkuFactory.create(code="OTHER"), 8)
    client = as_role(Role.FINANCE)
    answer = client.get("/stock/export.csv?region=江苏省")
    header, *rows = csv.reader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert len(rows) == 1
    told = dict(zip(header, rows[0], strict=True))
    assert told["货品编码"] == "'=1+1"
    assert told["名称"] == "'+SUM(A1)"
    assert told["可用"] == "8"
    book = client.get("/stock/export.xlsx")
    assert "attachment" in book["Content-Disposition"]
    sheet = zipfile.ZipFile(io.BytesIO(book.content)).read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "=1+1" in sheet


def test_there_is_no_other_kind_of_file(as_role: AsRole) -> None:
    assert as_role(Role.FINANCE).get("/stock/export.exe").status_code == 404


# --- one SKU --------------------------------------------------------------------------------------


def test_every_figure_of_a_sku_is_the_sum_of_its_movements(as_role: AsRole) -> None:
    sku = SkuFactory.create()
    place = place_in("江苏省", "华东仓")
    put(place, sku, 30)
    order = promise(place, sku, 4)
    text = as_role(Role.WAREHOUSE_SUPERVISOR).get(f"/stock/{sku.pk}/").content.decode()
    assert "与流水相符" in text
    assert "与流水不符" not in text
    assert order.number in text
    StockLevel.objects.update(on_hand=31)
    text = as_role(Role.WAREHOUSE_SUPERVISOR).get(f"/stock/{sku.pk}/").content.decode()
    assert "与流水不符" in text
    assert "流水合计 30" in text


def test_a_shops_figure_is_told_step_by_step(as_role: AsRole) -> None:
    sku = SkuFactory.create()
    place = place_in("江苏省", "华东仓")
    put(place, sku, 30)
    half, greedy = ListingFactory.create(sku=sku).shop, ListingFactory.create(sku=sku).shop
    ChannelQuota.objects.create(shop=half, percent=50, plus=-2, maximum=20)
    ChannelQuota.objects.create(shop=greedy, plus=40)
    SafetyStock.objects.create(sku=sku, method="units", value=5)
    compute_buffers()
    text = as_role(Role.WAREHOUSE_SUPERVISOR).get(f"/stock/{sku.pk}/").content.decode()
    assert "固定件数，保留 5 件" in text
    assert "安全 5 = 25 → × 50% = 12 → -2 → 最多 20 = <b>10</b>" in text
    assert "→ +40 → 不超过可占 30 = <b>30</b>" in text
    pairs = [(half.pk, sku.pk), (greedy.pk, sku.pk)]
    told = {one.shop_id: one.units for one in publishable(pairs)}
    assert told == {half.pk: 10, greedy.pk: 30}


def test_any_past_moment_is_derived_from_the_ledger(as_role: AsRole) -> None:
    sku = SkuFactory.create()
    place = place_in("江苏省", "华东仓")
    then = NOW() - timedelta(days=2)
    inventory.receive([(place.pk, sku.pk, 30)], actor=PIPELINE, now=then)
    put(place, sku, 5)
    (story,) = stories(sku.pk, as_of=then + timedelta(hours=1))
    assert {one.label: one.ledger for one in story.sums}["现有"] == 30
    (story,) = stories(sku.pk, as_of=then - timedelta(hours=1))
    assert {one.label: one.ledger for one in story.sums}["现有"] == 0
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    local = timezone.localtime(then + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
    assert "以下是" in client.get(f"/stock/{sku.pk}/?as_of={local}").content.decode()
    for odd in ("tomorrow", "2999-01-01T00:00", "2026-13-45T99:99"):
        text = client.get(f"/stock/{sku.pk}/?as_of={odd}").content.decode()
        assert "请选择一个已经过去的时刻" in text


def test_the_ledger_runs_a_balance_and_goes_on_page_by_page(as_role: AsRole) -> None:
    sku = SkuFactory.create()
    place = place_in("江苏省", "华东仓")
    for _ in range(60):
        put(place, sku, 2)
    promise(place, sku, 7)
    first = moved(sku.pk, Asked())
    assert [row.balance for row in first.rows[:3]] == [113, 120, 118]
    assert len(first.rows) == 50
    rest = moved(sku.pk, Asked(before=first.next_before))
    assert len(rest.rows) == 11
    assert rest.rows[-1].balance == 2
    assert rest.next_before == 0
    held = moved(sku.pk, Asked(account="reserved"))
    assert [(row.quantity, row.balance) for row in held.rows] == [(7, 7)]
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    assert "更早的" in client.get(f"/stock/{sku.pk}/").content.decode()
    assert client.get(f"/stock/{sku.pk}/?before={first.next_before}").status_code == 200
    assert client.get("/stock/999999999/").status_code == 404


def test_a_movement_leads_to_its_paper_for_who_works_with_papers(as_role: AsRole) -> None:
    sku = SkuFactory.create()
    announce(place_in("江苏省", "华东仓"), sku, 12)
    text = as_role(Role.PICKER).get(f"/stock/{sku.pk}/").content.decode()
    assert "登记到货" in text
    paper = Inbound.objects.get()
    assert f'<a href="/stock/inbound/{paper.pk}/">到货单 {paper.pk}</a>' in text
    text = as_role(Role.FINANCE).get(f"/stock/{sku.pk}/").content.decode()
    assert f"到货单 {paper.pk}" in text
    assert f'href="/stock/inbound/{paper.pk}/"' not in text


def test_the_to_do_opens_the_form_for_arrivals_filled_in(as_role: AsRole) -> None:
    sku = SkuFactory.create(code="LAMP-1")
    place = place_in("江苏省", "华东仓")
    put(place, sku, 30)
    promise(place, sku, 20)
    text = as_role(Role.WAREHOUSE_SUPERVISOR).get("/stock/low/").content.decode()
    address = "/stock/inbound/new/?sku=LAMP-1&amp;units=130"
    assert f'href="{address}"' in text
    form = as_role(Role.WAREHOUSE_SUPERVISOR).get(address.replace("&amp;", "&")).content.decode()
    assert "LAMP-1 130</textarea>" in form
    assert "/stock/inbound/new/" not in as_role(Role.FINANCE).get("/stock/low/").content.decode()


def test_a_picker_sees_the_stock_and_no_order_number(as_role: AsRole) -> None:
    sku = SkuFactory.create()
    place = place_in("江苏省", "华东仓")
    put(place, sku, 30)
    order = promise(place, sku, 4)
    text = as_role(Role.PICKER).get(f"/stock/{sku.pk}/").content.decode()
    assert order.number not in text
    assert "无权查看" in text


# --- what to order --------------------------------------------------------------------------------


def test_a_sku_below_the_line_is_one_to_do_with_a_quantity_by_the_formula() -> None:
    sku = SkuFactory.create()
    east, south = place_in("江苏省", "华东仓"), place_in("广东省", "华南仓")
    put(east, sku, 30)
    put(south, sku, 9)
    promise(east, sku, 20)
    (todo,) = replenishing.to_dos()
    # 20 a day on the ledger's first day, 7 days of lead, nothing kept back, 19 there.
    assert (todo.available, todo.daily, todo.proposed) == (19, Decimal("20.0"), 20 * 7 - 19)
    announce(south, sku, 100)
    (todo,) = replenishing.to_dos()
    assert todo.proposed == 20 * 7 - 19 - 100
    StockPolicy(lead_days=3).save()
    assert replenishing.to_dos() == []  # 119 on the way or here, 60 needed


def test_what_sells_nothing_is_told_last_and_asks_for_nothing() -> None:
    idle, busy = SkuFactory.create(code="A"), SkuFactory.create(code="B")
    place = place_in("江苏省", "华东仓")
    put(place, idle, 1)
    put(place, busy, 40)
    promise(place, busy, 8)
    assert [todo.code for todo in replenishing.to_dos()] == ["B", "A"]
    assert replenishing.to_dos()[1].proposed == 0


def test_many_to_dos_come_page_by_page(as_role: AsRole) -> None:
    SkuFactory.create_batch(TODOS_A_PAGE + 1)
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    first = client.get("/stock/low/").content.decode()
    assert first.count('class="todo ') == TODOS_A_PAGE
    assert "下一页" in first
    assert client.get("/stock/low/?page=2").content.decode().count('class="todo ') == 1
    assert client.get("/stock/low/?page=nonsense").status_code == 200


def test_what_is_above_the_line_or_not_sold_any_more_is_no_to_do() -> None:
    put(place_in("江苏省", "华东仓"), SkuFactory.create(), 50)
    SkuFactory.create(is_active=False)
    assert replenishing.to_dos() == []


def test_a_to_do_is_put_off_and_taken_up_again(as_role: AsRole) -> None:
    sku = SkuFactory.create(code="LAMP-1")
    client = as_role(Role.OPERATIONS_SUPERVISOR)
    answer = client.post(f"/stock/low/{sku.pk}/snooze/", {"days": 7, "reason": "换款"})
    assert answer.status_code == 302
    client.post(f"/stock/low/{sku.pk}/snooze/", {"days": 7, "reason": "换款"})
    assert ReplenishSnooze.objects.count() == 1
    assert replenishing.to_dos() == []
    assert "LAMP-1" not in client.get("/stock/low/").content.decode()
    assert "换款" in client.get("/stock/low/?snoozed=1").content.decode()
    assert replenishing.to_dos(now=NOW() + timedelta(days=8))[0].sku_id == sku.pk
    client.post(f"/stock/low/{sku.pk}/snooze/", {"days": 0})
    assert len(replenishing.to_dos()) == 1
    assert AuditRecord.objects.filter(object_type="sku", object_id=sku.pk).count() == 3


@pytest.mark.parametrize("days", ["", "-1", "91", "abc", "9" * 30])
def test_a_strange_span_is_refused_in_words(as_role: AsRole, days: str) -> None:
    sku = SkuFactory.create()
    client = as_role(Role.OPERATIONS_SUPERVISOR)
    answer = client.post(f"/stock/low/{sku.pk}/snooze/", {"days": days})
    assert answer.status_code == 422
    assert "请选择 0 到 90 天" in answer.content.decode()
    assert not ReplenishSnooze.objects.exists()


def test_putting_off_a_sku_there_is_not_is_not_found(as_role: AsRole) -> None:
    client = as_role(Role.OPERATIONS_SUPERVISOR)
    assert client.post("/stock/low/999999/snooze/", {"days": 1}).status_code == 404


# --- the badge ------------------------------------------------------------------------------------


def proven(client: Client, **broken: int) -> str:
    StockProof.objects.create(
        ran_at=NOW(), seconds=0.8, levels=5, movements=9, broken=broken
    )  # fmt: skip
    return client.get("/stock/").content.decode()


def test_the_badge_on_the_page_says_when_and_how_much_was_checked(as_role: AsRole) -> None:
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    assert "库存还没有核对过" in client.get("/stock/").content.decode()
    text = proven(client)
    assert "库存核对全部相符" in text
    assert "5 行库存 9 笔流水" in text
    text = proven(client, S2=1)
    assert "库存核对不符 S2" in text
    assert "全部相符" not in text


def test_an_old_check_is_drawn_as_old(as_role: AsRole) -> None:
    StockProof.objects.create(
        ran_at=NOW() - timedelta(minutes=31), seconds=1, levels=1, movements=1
    )
    text = as_role(Role.WAREHOUSE_SUPERVISOR).get("/stock/").content.decode()
    assert 'class="proof stale"' in text
    assert "全部相符" not in text


@pytest.mark.django_db(transaction=True)
def test_the_page_of_the_proof_names_the_broken_level_and_leads_to_its_sku(
    as_role: AsRole,
) -> None:
    sku = SkuFactory.create(code="LAMP-1")
    put(place_in("江苏省", "华东仓"), sku, 3)
    StockLevel.objects.update(on_hand=9)
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    proven(client, S2=1)
    text = client.get("/stock/proof/").content.decode()
    assert f'href="/stock/{sku.pk}/"' in text
    assert "库存与流水合计不符" in text
    StockLevel.objects.update(on_hand=3)
    assert "现在再看已经相符" in client.get("/stock/proof/").content.decode()


# --- elsewhere ------------------------------------------------------------------------------------


def test_the_order_page_shows_the_stock_behind_each_line(as_role: AsRole) -> None:
    hold = held_order(kind=HoldKind.SHORTAGE)
    line = hold.order.lines.get()
    assert line.sku is not None
    far = place_in("广东省", "华南仓")
    put(far, line.sku, 30)
    announce(far, line.sku, 60)
    (here,) = VirtualWarehouse.objects.exclude(pk=far.pk)
    text = as_role(Role.REVIEWER).get(f"/orders/{hold.order.number}/").content.decode()
    assert f"{here.name} 可用 <b>5</b>，其他仓 <b>30</b>" in text
    assert "到货 60" in text
    assert f'href="/stock/{line.sku_id}/"' in text


def test_a_bundle_on_the_order_page_counts_whole_sets_that_lie_together(as_role: AsRole) -> None:
    lamp, rug = SkuFactory.create(), SkuFactory.create()
    bundle = BundleFactory.create()
    BundlePartFactory.create(bundle=bundle, sku=lamp, quantity=2)
    BundlePartFactory.create(bundle=bundle, sku=rug)
    near, far = place_in("江苏省", "近仓"), place_in("广东省", "远仓")
    near.warehouse.covers = ["江苏省"]
    near.warehouse.save()
    put(near, lamp, 7)
    put(near, rug, 2)
    put(far, lamp, 100)
    line = OrderLineFactory.create(sku=None, bundle=bundle, title="四件套", outer_code="SET")
    text = as_role(Role.REVIEWER).get(f"/orders/{line.order.number}/").content.decode()
    assert "近仓 可用 <b>2</b>，其他仓 <b>0</b>" in text


def test_finance_reads_no_shelf_of_another_on_the_order_page_than_the_stock_page(
    as_role: AsRole,
) -> None:
    hold = held_order()
    StockLevel.objects.update(on_hand=9, locked=4)
    text = as_role(Role.FINANCE).get(f"/orders/{hold.order.number}/").content.decode()
    assert "可用 <b>5</b>" in text  # four are another shop's


def test_who_works_for_no_stock_and_no_shortage_sees_none_on_the_order_page() -> None:
    hold = held_order()
    line = hold.order.lines.get()
    shown = lines_with_stock(user_with(Role.SCREEN), hold.order, [])
    assert shown == []
    card_line = Line(line.pk, line.title, "", 1, Decimal(1), is_gift=False)
    ((_, nothing),) = lines_with_stock(user_with(Role.PACKER), hold.order, [card_line])
    assert nothing is None
    ((_, stock),) = lines_with_stock(user_with(Role.CLERK), hold.order, [card_line])
    assert stock is not None


def test_the_board_shows_the_badge(as_role: AsRole) -> None:
    client = as_role(Role.SCREEN)
    assert "还没有核对过" in client.get("/board/").content.decode()
    StockProof.objects.create(
        ran_at=NOW(), seconds=1, levels=1, movements=1, broken={"S3": 2}
    )  # fmt: skip
    assert "✗ 不符 S3" in client.get("/board/").content.decode()


def test_the_days_digest_goes_out_once_after_nine_and_not_without_a_reason() -> None:
    RobotFactory.create()
    morning = NOW().astimezone(SHANGHAI).replace(hour=8, minute=59)
    sku = SkuFactory.create(code="LAMP-1")
    put(place_in("江苏省", "华东仓"), sku, 2)
    assert "too early" in low_stock.tell_low_stock(now=morning)
    low_stock.tell_low_stock(now=morning + timedelta(minutes=5))
    low_stock.tell_low_stock(now=morning + timedelta(hours=5))
    (notice,) = Notice.objects.all()
    assert notice.title == "低库存 1 种"
    assert "LAMP-1 缺货高风险：可用 2" in notice.text
    put(VirtualWarehouse.objects.get(), sku, 100)
    assert "nothing" in low_stock.tell_low_stock(now=morning + timedelta(days=1, hours=2))


def test_the_to_dos_are_counted_where_supervisors_work(as_role: AsRole) -> None:
    SkuFactory.create()
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    assert "1 种货品要补货" in client.get("/work/").content.decode()
    assert "补货" not in as_role(Role.PACKER).get("/work/").content.decode()
