"""The shortage pages: in turn, previewed, done once, refused where the order has changed."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client

from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.orders.contracts import ChannelStatus
from ordercenter.orders.models import SalesOrder
from tests.console.conftest import AsRole
from tests.factories import (
    ListingFactory,
    ShopAssignmentFactory,
    ShopFactory,
    SkuFactory,
    user_with,
)
from tests.pipeline.arrivals import announce
from tests.pipeline.seller import (
    Seller,
    draft,
    holds,
    line,
    open_seller,
    promised,
    take,
    take_one,
)

pytestmark = pytest.mark.django_db
AGREED = "买家电话同意换色"


@pytest.fixture
def seller() -> Seller:
    return open_seller(stock=0)


@pytest.fixture
def boss(as_role: AsRole) -> Client:
    return as_role(Role.WAREHOUSE_SUPERVISOR)


def post(who: Client, order: SalesOrder, verb: str, **more: object) -> int:
    data = {"verb": verb, "version": order.version, **more}
    return who.post(f"/shortages/{order.number}/act/", data).status_code


def page(who: Client, path: str) -> str:
    answer = who.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_queue_groups_by_goods_and_lists_orders_in_their_turn(
    seller: Seller, boss: Client
) -> None:
    at = clock_now() - timedelta(hours=2)
    late, early = take(
        seller.shop, draft(line(quantity=3), paid_at=at + timedelta(hours=1)), draft(paid_at=at)
    )
    unpaid = take_one(seller.shop, draft(paid=False))
    coming = announce(seller, units=40)
    text = page(boss, "/shortages/")
    assert "缺 5 件" in text
    assert "3 单 · 未承诺 5 件 · 已承诺 0 件 · 现可用 0 件" in text
    assert f"到货 40 件，未承诺 40 件（{coming.inbound.number}）" in text
    places = [text.index(f"short-{order.number}") for order in (early, late, unpaid)]
    assert places == sorted(places)


def test_an_empty_queue_says_so(boss: Client, seller: Seller) -> None:
    assert "没有缺货的订单" in page(boss, "/shortages/")
    assert "没有待付尾款的订单" in page(boss, "/shortages/?state=balance")


def test_nonsense_in_the_address_is_no_error(boss: Client, seller: Seller) -> None:
    for query in ("page=-1", "page=x", "shop=9999999999999999999999", "sku=%00", "state=nope"):
        page(boss, f"/shortages/?{query}")
    assert boss.get("/shortages/bulk/").status_code == 404
    assert boss.get("/shortages/NONE/").status_code == 404


def test_a_clerk_sees_the_shortages_of_his_shops_only(seller: Seller) -> None:
    other = open_other()
    clerk = user_with(Role.CLERK)
    ShopAssignmentFactory.create(user=clerk, shop=seller.shop)
    mine, foreign = take_one(seller.shop, draft()), take_one(other, draft(line("OTHER")))
    browser = Client()
    browser.force_login(clerk)
    text = page(browser, "/shortages/")
    assert mine.number in text
    assert foreign.number not in text
    assert "OTHER" not in text
    assert browser.get(f"/shortages/{foreign.number}/").status_code == 404
    assert post(browser, foreign, "retry") == 404


def open_other() -> Shop:
    """A second shop with goods of its own."""
    shop = ShopFactory.create()
    ListingFactory.create(shop=shop, code="OTHER", sku=SkuFactory.create(code="OTHER"))
    return shop


def test_waiting_is_previewed_with_its_date_and_done_once(seller: Seller, boss: Client) -> None:
    order = take_one(seller.shop, draft(line(quantity=2)))
    coming = announce(seller, units=5)
    text = page(boss, f"/shortages/{order.number}/")
    assert "可以发货：" in text
    assert coming.inbound.number in text
    assert holds(order) == {"shortage:shortage"}
    assert post(boss, order, "wait", reason="等待到货") == 302
    assert holds(order) == {"shortage:presale"}
    assert post(boss, order, "wait", reason="等待到货") == 302  # the second click
    coming.refresh_from_db()
    assert coming.promised == 2
    assert "已承诺的到货" in page(boss, f"/shortages/{order.number}/")
    assert "已承诺 2 件" in page(boss, "/shortages/?state=promised")


def test_a_swap_is_previewed_and_needs_a_reason(seller: Seller, boss: Client) -> None:
    order = take_one(seller.shop, draft())
    seller.receive("LAMP", 1)
    pk = order.lines.get().pk
    text = page(boss, f"/shortages/{order.number}/?do=swap&line={pk}&sku=LAMP")
    assert "SOFA 换成 LAMP" in text
    assert "将立即占用并重新审核" in text
    assert "没有这个编码的在售货品" in page(
        boss, f"/shortages/{order.number}/?do=swap&line={pk}&sku=NONE"
    )
    assert post(boss, order, "swap", line=pk, sku="LAMP", reason="好") == 422
    assert post(boss, order, "swap", line=pk, sku="LAMP", reason=AGREED) == 302
    assert promised(order) == {"LAMP": 1}


def test_dropping_is_previewed_with_the_refund_and_the_end_of_the_order(
    seller: Seller, boss: Client
) -> None:
    order = take_one(seller.shop, draft(line("SOFA", 2, "198.00"), line("LAMP")))
    pk = order.lines.get(sku__code="SOFA").pk
    text = page(boss, f"/shortages/{order.number}/?do=drop&drop={pk}")
    assert "198.00" in text
    assert "整单取消" not in text
    both = "&".join(f"drop={one.pk}" for one in order.lines.all())
    assert "整单取消" in page(boss, f"/shortages/{order.number}/?do=drop&{both}")
    seller.receive("LAMP", 1)
    assert post(boss, order, "drop", drop=pk, reason=AGREED) == 302
    assert promised(order) == {"LAMP": 1}
    assert post(boss, order, "drop", drop=pk, reason=AGREED) == 302  # the second click


def test_an_order_changed_meanwhile_is_refused_and_says_how(seller: Seller, boss: Client) -> None:
    order = take_one(seller.shop, draft())
    SalesOrder.objects.filter(pk=order.pk).update(version=order.version + 1)
    assert post(boss, order, "retry") == 409
    assert post(boss, order, "nonsense") == 404


def test_a_bulk_act_shows_what_became_of_each(seller: Seller, boss: Client) -> None:
    first, second = take(seller.shop, draft(), draft())
    announce(seller, units=1)
    text = page(boss, "/shortages/bulk/?sku=SOFA")
    assert text.count('name="pick"') == 2
    picks = [f"{order.number}:{order.version}" for order in (first, second)]
    answer = boss.post("/shortages/bulk/", {"sku": "SOFA", "verb": "wait", "pick": picks})
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "1 单已办，共 2 单" in text
    assert "没有能凑齐" in text
    nothing = boss.post("/shortages/bulk/", {"sku": "SOFA", "verb": "wait"})
    assert nothing.status_code == 422


def test_an_unpaid_balance_is_listed_and_overdue_after_the_shops_days(
    seller: Seller, boss: Client
) -> None:
    at = clock_now() - timedelta(days=8)
    told = draft(
        paid=False, at=at, status=ChannelStatus.DEPOSIT_PAID, paid_amount=Decimal(20),
        is_presale=True,
    )  # fmt: skip
    announce(seller)
    order = take_one(seller.shop, told)
    text = page(boss, "/shortages/?state=balance")
    assert order.number in text
    assert "80.00" in text
    assert "尾款逾期未付" in text
    text = page(boss, f"/orders/{order.number}/")
    assert "待付尾款" in text
    assert "承诺发货" in text


def test_the_queue_asks_as_much_for_fifty_orders_as_for_one(
    seller: Seller, boss: Client, django_assert_max_num_queries: object
) -> None:
    take(seller.shop, *(draft(is_presale=True) for _ in range(50)))
    announce(seller, units=99)
    with django_assert_max_num_queries(22):  # type: ignore[operator]
        page(boss, "/shortages/")


def test_titles_are_text(seller: Seller, boss: Client) -> None:
    order = take_one(seller.shop, draft(line(title="<script>alert(1)</script>")))
    text = page(boss, f"/shortages/{order.number}/")
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;" in text


def test_a_part_is_previewed_sent_and_seen_on_both_pages(seller: Seller, boss: Client) -> None:
    seller.receive("SOFA", 5)
    order = take_one(seller.shop, draft(line("SOFA", 2), line("LAMP")))
    text = page(boss, f"/shortages/{order.number}/")
    assert "先发这些" in text
    assert "平台按商品行显示部分发货" in text
    now = str(order.lines.get(sku__code="SOFA").pk)
    assert post(boss, order, "part", now=[now]) == 302
    order.refresh_from_db()
    assert (order.status, promised(order)) == ("routed", {"SOFA": 2})
    text = page(boss, "/shortages/?state=rest")
    assert f"rest-{order.number}" in text
    assert "LAMP ×1" in text
    text = page(boss, "/shortages/")
    assert "缺 1 件" in text  # the lamp still counts as wanted
    assert "待补发" in page(boss, f"/orders/{order.number}/")
    text = page(boss, f"/shortages/{order.number}/")
    assert "改回整单发货" in text
    assert post(boss, order, "whole") == 302
    assert holds(order) == {"shortage:shortage"}


def test_a_part_that_changed_meanwhile_is_shown_again(seller: Seller, boss: Client) -> None:
    seller.receive("SOFA", 5)
    order = take_one(seller.shop, draft(line("SOFA", 2), line("LAMP"), line("RUG")))
    now = str(order.lines.get(sku__code="SOFA").pk)
    seller.receive("LAMP", 1)
    assert post(boss, order, "part", now=[now]) == 422
    assert holds(order) == {"shortage:shortage"}


def test_what_waits_is_given_up_with_a_reason(seller: Seller, boss: Client) -> None:
    seller.receive("SOFA", 5)
    order = take_one(seller.shop, draft(line("SOFA", 2), line("LAMP")))
    assert post(boss, order, "part") == 302
    order.refresh_from_db()
    assert post(boss, order, "drop_rest", reason="") == 422
    assert post(boss, order, "drop_rest", reason="买家不愿再等") == 302
    assert "没有分批发货还待补的订单" in page(boss, "/shortages/?state=rest")


def test_many_orders_are_parted_as_their_rows_show(seller: Seller, boss: Client) -> None:
    seller.receive("SOFA", 3)
    both = take(seller.shop, *(draft(line("SOFA", 2), line("LAMP")) for _ in range(2)))
    text = page(boss, "/shortages/bulk/?sku=LAMP")
    assert text.count("<b>可先发</b>") == 1  # three sofas are enough for one of them
    sofa = both[0].lines.get(sku__code="SOFA").pk
    picks = [f"{order.number}:{order.version}" for order in both]
    answer = boss.post(
        "/shortages/bulk/",
        {"sku": "LAMP", "verb": "part", "pick": picks, "now": [f"{both[0].number}:{sofa}"]},
    )
    told = answer.content.decode()
    assert "1 单已办，共 2 单" in told
    assert "整行现货" in told
    assert [SalesOrder.objects.get(pk=one.pk).status for one in both] == ["routed", "mapped"]
