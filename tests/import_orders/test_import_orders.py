"""The command: the same inbox, the same path, nothing twice, nothing half."""

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from channels_sync.models import InboxMessage
from channels_sync.sheets.mapping import SheetMapping
from channels_sync.sheets.orders import CodeSeen
from inventory.models import Reservation, StockLevel, StockMovement
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.catalog.models import Listing, Shop, Sku
from ordercenter.core.actor import Actor
from ordercenter.core.policy import Role
from ordercenter.orders.models import OrderEvidence, OrderHold, OrderLine, SalesOrder
from ordercenter.pipeline import goods, imports, intake
from tests.factories import (
    ListingFactory,
    ShopFactory,
    SkuFactory,
    VirtualWarehouseFactory,
    user_with,
)
from tests.import_orders.sheets import (
    CATALOG,
    HEADER,
    import_orders,
    mapping,
    row,
    text,
    write,
    write_mapping,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return write_mapping(tmp_path, mapping())


def counts() -> dict[str, int]:
    """How many rows there are of everything an import may write."""
    models = (
        Shop, Sku, Listing, InboxMessage, SalesOrder, OrderLine, OrderHold, Reservation,
        StockMovement, AuditRecord,
    )  # fmt: skip
    return {model.__name__: model.objects.count() for model in models}


def refused(path: Path, **options: Any) -> str:
    """The one line the command refuses with, having written nothing."""
    before = counts()
    with pytest.raises(CommandError) as caught:
        import_orders(path, **options)
    assert counts() == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_orders_of_a_sheet_walk_the_path_into_an_empty_center(tmp_path: Path, told: Path) -> None:
    path = write(tmp_path, text(row("1001", 数量="2"), row("1002"), row("1001", 编码="B-2")))
    report = import_orders(path, mapping=told)
    assert (report["rows"], report["orders"], report["new"]) == (3, 2, 2)
    assert (report["by_status"], report["held"]) == ({"routed": 2}, 0)
    assert (report["skus_created"], report["listings_created"]) == (2, 2)
    order = SalesOrder.objects.get(channel_number="1001")
    assert order.number.startswith("XL")
    assert [(ln.sku and ln.sku.code, ln.quantity) for ln in order.lines.all()] == [
        ("A-1", 2), ("B-2", 1)
    ]  # fmt: skip
    level = StockLevel.objects.get(sku__code="A-1")
    assert (level.on_hand, level.reserved) == (1000, 3)
    message = InboxMessage.objects.get(channel_number="1001")
    assert (message.source, message.state) == ("file", "done")


def test_the_same_file_twice_changes_nothing(tmp_path: Path, told: Path) -> None:
    path = write(tmp_path, text(row("1001"), row("1002", 数量="x"), row("1003")))
    first = import_orders(path, mapping=told)
    before = counts()
    again = import_orders(path, mapping=told)
    assert counts() == before
    assert (first["new"], first["unchanged"]) == (2, 0)
    assert (again["new"], again["unchanged"], again["updated"]) == (0, 2, 0)
    assert again["quarantined"] == first["quarantined"]


def test_a_bad_row_is_quarantined_with_row_and_reason_and_the_others_go_on(
    tmp_path: Path, told: Path
) -> None:
    rows = [row("1001"), row("1002"), row("1002", 数量="-3", 名称="漏气"), row("1003")]
    report = import_orders(write(tmp_path, text(*rows)), mapping=told)
    words = "第 4 行：字段 数量 的数量必须大于零"
    assert report["quarantined"] == [{"row": 4, "order": "1002", "rows": 2, "reason": words}]
    assert set(SalesOrder.objects.values_list("channel_number", flat=True)) == {"1001", "1003"}
    dead = InboxMessage.objects.get(state="dead")
    assert (dead.error, dead.channel_number, dead.kind) == (words, "1002", "order")
    assert json.loads(bytes(dead.body))["rows"] == [[3, *rows[1]], [4, *rows[2]]]
    assert report["rows"] == report["rows_in_orders"] + report["rows_quarantined"]


def test_an_order_put_right_in_the_file_is_taken_by_the_next_import(
    tmp_path: Path, told: Path
) -> None:
    import_orders(write(tmp_path, text(row("1001", 单价="abc"))), mapping=told)
    report = import_orders(write(tmp_path, text(row("1001", 单价="9.00"))), mapping=told)
    assert (report["new"], report["quarantined"]) == (1, [])
    assert SalesOrder.objects.get().payable_amount == Decimal("9.00")


def test_an_order_told_anew_with_the_same_content_keeps_its_version(
    tmp_path: Path, told: Path
) -> None:
    import_orders(write(tmp_path, text(row("1001"))), mapping=told)
    before = SalesOrder.objects.values().get()
    report = import_orders(write(tmp_path, text(row("1000"), row("1001"))), mapping=told)
    assert (report["new"], report["updated"]) == (1, 1)
    assert SalesOrder.objects.values().get(channel_number="1001") == before


def test_an_order_follows_the_lines_that_changed_in_the_file(tmp_path: Path, told: Path) -> None:
    import_orders(write(tmp_path, text(row("1001"))), mapping=told)
    report = import_orders(write(tmp_path, text(row("1001", 数量="5"))), mapping=told)
    assert (report["updated"], report["held_by_kind"]) == (1, {})
    assert OrderLine.objects.get().quantity == 5


def test_a_fault_of_the_whole_file_writes_nothing(tmp_path: Path, told: Path) -> None:
    good = [row(str(n)) for n in range(1, 3000)]
    path = write(tmp_path, text(*good, row("3000", 名称='"靠垫')))
    assert refused(path, mapping=told) == "第 3001 行：引号没有闭合"


def test_rows_that_are_no_orders_are_kept_counted_and_alarm_nobody(tmp_path: Path) -> None:
    rules = [{"reason": "cancellation", "words": "取消单", "where": {"单号": "C.*"}}]
    told = write_mapping(tmp_path, mapping(not_orders=rules))
    rows = [row("1001"), row("C1", 数量="-1"), row("C1", 数量="-2"), row("C2", 数量="-1")]
    report = import_orders(write(tmp_path, text(*rows)), mapping=told)
    assert report["lines_not_orders"] == {"cancellation": 3}
    assert report["documents_not_orders"] == {"cancellation": 2}
    assert (report["orders"], report["quarantined"]) == (1, [])
    notes = InboxMessage.objects.filter(kind="note")
    assert set(notes.values_list("channel_number", "state")) == {("C1", "done"), ("C2", "done")}
    body = json.loads(bytes(notes.get(channel_number="C1").body))
    assert body["not_an_order"] == {"reason": "cancellation", "words": "取消单"}


def test_without_a_catalog_an_unknown_code_holds_its_order(tmp_path: Path) -> None:
    told = write_mapping(tmp_path, mapping(catalog={}))
    report = import_orders(write(tmp_path, text(row("1001"))), mapping=told)
    assert (report["by_status"], report["held_by_kind"]) == ({"received": 1}, {"unmapped": 1})
    assert not Sku.objects.exists()


def test_codes_outside_the_pattern_are_left_to_people(tmp_path: Path) -> None:
    told = write_mapping(tmp_path, mapping(catalog={**CATALOG, "sku_pattern": "A-[0-9]+"}))
    rows = [row("1001"), row("1002", 编码="MANUAL")]
    report = import_orders(write(tmp_path, text(*rows)), mapping=told)
    assert list(Sku.objects.values_list("code", flat=True)) == ["A-1"]
    assert report["held_by_kind"] == {"unmapped": 1}


def test_what_the_import_makes_is_on_record(tmp_path: Path, told: Path) -> None:
    import_orders(write(tmp_path, text(row("1001"))), mapping=told)
    made = AuditRecord.objects.filter(actor_name="import_orders")
    assert set(made.values_list("action", "object_type")) == {
        (Action.SHOP_CHANGED, "shop"), (Action.CATALOG_CHANGED, "sku"),
        (Action.CATALOG_CHANGED, "listing"), (Action.STOCK_RECEIVED, "virtual_warehouse"),
    }  # fmt: skip


def test_a_sku_that_is_there_gets_a_listing_and_no_second_opening_stock(
    tmp_path: Path, told: Path
) -> None:
    sku = SkuFactory.create(code="A-1", base_price=Decimal("10.00"))
    place = VirtualWarehouseFactory.create()
    report = import_orders(
        write(tmp_path, text(row("1001"), row("1002", 编码="B-2"))), mapping=told
    )
    assert (report["skus_created"], report["listings_created"]) == (1, 2)
    assert Listing.objects.get(code="A-1").sku == sku
    assert not StockLevel.objects.filter(sku=sku).exists()
    assert StockLevel.objects.get(sku__code="B-2").virtual_warehouse == place
    assert report["held_by_kind"]["shortage"] == 1


def test_a_listing_the_shop_has_is_left_as_it_is(tmp_path: Path, told: Path) -> None:
    shop = ShopFactory.create(code="sheet", channel="file")
    VirtualWarehouseFactory.create()
    other = ListingFactory.create(shop=shop, code="A-1")
    import_orders(write(tmp_path, text(row("1001"))), mapping=told)
    assert OrderLine.objects.get().sku == other.sku


def test_without_a_warehouse_anywhere_the_import_says_so(tmp_path: Path) -> None:
    catalog = {key: value for key, value in CATALOG.items() if key != "warehouse"}
    told = write_mapping(tmp_path, mapping(catalog=catalog))
    ShopFactory.create(code="sheet", channel="file")
    assert "还没有仓库" in refused(write(tmp_path, text(row("1001"))), mapping=told)


@pytest.mark.django_db(transaction=True)
def test_two_imports_at_once_put_the_opening_stock_on_the_shelf_once(
    run_together: Callable[..., list[Any]],
) -> None:
    VirtualWarehouseFactory.create()
    shops = [ShopFactory.create(channel="file") for _ in range(2)]
    catalog = SheetMapping.of(mapping()).catalog
    assert catalog is not None
    seen = {f"A-{n}": CodeSeen() for n in range(200)}
    calls = [
        partial(goods.create_missing, shop, catalog, seen, currency="CNY", actor=imports.ACTOR)
        for shop in shops
    ]
    made = run_together(*calls)
    assert sorted((one.skus, one.listings) for one in made) == [(0, 200), (200, 200)]
    assert set(StockLevel.objects.values_list("on_hand", flat=True)) == {1000}


def test_the_base_price_is_the_median_of_the_rows_or_the_first(tmp_path: Path) -> None:
    prices = Counter(map(Decimal, ["9.00", "2.00", "3.00", "3.00", "8.00", "9.00"]))
    assert goods.base_price(prices, how="median_unit_price") == Decimal("3.00")
    assert goods.base_price(prices, how="first") == Decimal("9.00")
    assert goods.base_price(Counter(), how="first") == 0


def test_an_order_without_receiver_is_held_as_incomplete(tmp_path: Path) -> None:
    told = write_mapping(tmp_path, mapping(receiver="none"))
    report = import_orders(write(tmp_path, text(row("1001"))), mapping=told)
    assert (report["by_status"], report["held_by_kind"]) == ({"reserved": 1}, {"incomplete": 1})


def test_a_pickup_point_never_makes_strangers_look_like_one_buyer(
    tmp_path: Path, told: Path
) -> None:
    rows = [row(str(n), 单价="2000.00", 时间=f"2026-03-02 10:0{n}:00") for n in range(6)]
    report = import_orders(write(tmp_path, text(*rows)), mapping=told)
    assert report["by_status"] == {"routed": 6}
    assert not OrderEvidence.objects.exclude(phone_key="", address_key="").exists()


def test_the_rules_see_the_buyer_of_a_sheet(tmp_path: Path, told: Path) -> None:
    rows = [row("1001", 买家="甲"), row("1002", 买家="甲"), row("1003", 买家="乙")]
    report = import_orders(write(tmp_path, text(*rows)), mapping=told)
    assert set(OrderHold.objects.values_list("code", "order__channel_number")) == {
        ("same_sku_5m", "1001"), ("same_sku_5m", "1002")
    }  # fmt: skip
    assert report["held"] == 2


def test_a_dry_run_tells_what_would_be_and_writes_nothing(tmp_path: Path, told: Path) -> None:
    path = write(tmp_path, text(row("1001"), row("1002", 数量="x"), row("1003", 编码="B-2")))
    before = counts()
    report = import_orders(path, mapping=told, dry_run=True)
    assert counts() == before
    assert (report["dry_run"], report["orders"], report["new"]) == (True, 2, 2)
    assert [one["row"] for one in report["quarantined"]] == [3]
    assert (report["skus_created"], report["listings_created"]) == (2, 2)


def test_a_dry_run_after_the_import_finds_nothing_new(tmp_path: Path, told: Path) -> None:
    path = write(tmp_path, text(row("1001")))
    import_orders(path, mapping=told)
    report = import_orders(path, mapping=told, dry_run=True)
    assert (report["orders"], report["new"], report["skus_created"]) == (1, 0, 0)


def test_a_run_broken_off_is_finished_by_the_next(
    tmp_path: Path, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, text(*[row(str(n)) for n in range(7)]))
    monkeypatch.setattr(imports, "CHUNK", 3)
    calls = []

    def dies(**options: Any) -> intake.Passed:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return intake.run(**options)

    with monkeypatch.context() as patch:
        patch.setattr(imports, "run", dies)
        with pytest.raises(KeyboardInterrupt):
            import_orders(path, mapping=told)
    assert SalesOrder.objects.count() == 3
    report = import_orders(path, mapping=told)
    assert (report["orders"], SalesOrder.objects.count()) == (7, 7)


def test_a_quarantined_order_may_be_tried_again_and_says_the_same(
    tmp_path: Path, told: Path
) -> None:
    import_orders(write(tmp_path, text(row("1001", 数量="x"))), mapping=told)
    dead = InboxMessage.objects.get(state="dead")
    user: User = user_with(Role.OPERATIONS_SUPERVISOR)
    intake.replay(dead.pk, user=user, actor=Actor.person(user), reason="再试一次")
    intake.run()
    dead.refresh_from_db()
    assert (dead.state, dead.error) == ("dead", "第 2 行：字段 数量 不是整数")


def test_the_shop_must_exist_or_be_asked_for(tmp_path: Path, told: Path) -> None:
    words = refused(write(tmp_path, text(row("1001"))), mapping=told, create_shop="")
    assert words == "没有店铺 sheet；请先建立，或加 --create-shop 店铺名称"


def test_a_shop_of_a_platform_takes_no_sheets(tmp_path: Path, told: Path) -> None:
    ShopFactory.create(code="sheet", channel="taobao")
    assert "属于淘宝/天猫" in refused(write(tmp_path, text(row("1001"))), mapping=told)


def test_a_sheet_of_another_currency_is_refused(tmp_path: Path) -> None:
    ShopFactory.create(code="sheet", channel="file", currency="CNY")
    told = write_mapping(tmp_path, mapping(currency="GBP"))
    words = refused(write(tmp_path, text(row("1001"))), mapping=told)
    assert words == "店铺 sheet 的币种是 CNY，映射文件是 GBP"


def test_a_broken_mapping_file_is_one_clear_line(tmp_path: Path) -> None:
    path = write(tmp_path, text(row("1001")))
    bad = write(tmp_path, "{", "bad.json")
    assert "不是 UTF-8 的 JSON" in refused(path, mapping=bad)
    assert "打不开映射文件" in refused(path, mapping=tmp_path / "none.json")


def test_what_a_file_may_unpack_to_is_a_setting(tmp_path: Path, told: Path, settings: Any) -> None:
    settings.IMPORT_MAX_UNPACKED_BYTES = 1000
    path = write(tmp_path, text(*[row(str(n)) for n in range(100)]))
    assert "超过上限" in refused(path, mapping=told)


def test_the_shipped_mapping_reads_a_sheet_with_chinese_headers(tmp_path: Path) -> None:
    header = (
        "订单号", "下单时间", "状态", "商家编码", "商品名称", "数量", "单价", "买家", "买家留言",
        "收货人", "电话", "省", "市", "区县", "详细地址",
    )  # fmt: skip
    cells = (
        "6919000000000000001", "2026-03-02 10:00:00", "待发货", "A-1", "靠垫", "1", "99.00", "甲",
        "=1+1", "张三", "13800138000", "江苏省", "南京市", "玄武区", "中山路1号",
    )  # fmt: skip
    shop = ShopFactory.create(code="sheet", channel="file")
    ListingFactory.create(shop=shop, code="A-1")
    report = import_orders(write(tmp_path, text(cells, header=header)))
    order = SalesOrder.objects.get()
    assert (order.channel_number, order.province) == ("6919000000000000001", "江苏省")
    assert order.buyer_remark == "=1+1"
    assert order.receiver()["phone"] == "13800138000"
    assert report["held_by_kind"] == {"shortage": 1}


def test_for_people_the_summary_is_chinese_and_names_the_rows(tmp_path: Path, told: Path) -> None:
    out = StringIO()
    path = write(tmp_path, text(row("1001"), row("1002", 数量="x")))
    call_command(
        "import_orders", str(path), shop="sheet", create_shop="表格店", mapping=told, stdout=out
    )
    assert "导入完成：2 行，1 单（新 1" in out.getvalue()
    assert "1002  第 3 行：字段 数量 不是整数" in out.getvalue()
    assert len(HEADER) == 7
