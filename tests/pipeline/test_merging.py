"""Which orders may share a parcel is asked, shown as a hint, and forgotten in time."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from channels_sync.contracts import DecryptRequest, ErrorClass, PlatformError, Rejected, TryLater
from channels_sync.models import MergeGroup, ShopCredential, SyncCursor
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import demo, intake, merging, pulling
from tests.factories import ShopCredentialFactory, SyncCursorFactory, user_with
from tests.pipeline.lines import SELLER, URL, ask, connected, sandbox
from tests.pipeline.seller import Seller, again, draft, somebody, take, take_one
from tests.sandbox.callers import Bench

pytestmark = pytest.mark.django_db


def masked(number: int = 1, oaid: str = "", **changes: Any) -> Any:
    facts = {"name": "林**", "phone": "*******0101", "address": "***", "is_masked": True}
    return somebody(number, **{**facts, "oaid": oaid or f"1S{number}", **changes})


# --- over the wire of the sandbox ----------------------------------------------------------------


def read(bench: Bench, code: str) -> list[SalesOrder]:
    with connected(ask(bench)):
        pulling.poll_shop(Shop.objects.get(code=code).pk)
        while intake.run().messages:
            pass
    return list(SalesOrder.objects.filter(shop__code=code).order_by("pk"))


@pytest.mark.parametrize(
    ("code", "kind", "by_id"),
    [("TB01", "duplicate", False), ("DY01", "address_day", True), ("PD01", "address_day", True),
     ("WX01", "address_day", True)],
)  # fmt: skip
def test_orders_of_one_receiver_are_found_and_no_other(code: str, kind: str, by_id: bool) -> None:
    demo.load(SELLER, sandbox_url=URL, password="a-password")
    bench = sandbox()
    pair = bench.sell(code, kind=kind)
    bench.sell_paid(code, 6)
    for order in pair:
        if order.paid is None:
            bench.book.pay(order)
    orders = read(bench, code)
    with connected(ask(bench)):
        merging.find_merge_groups()
    same = {one.number for one in pair if one.receiver == pair[0].receiver}
    assert len(same) > 1
    wanted = {one.pk for one in orders if one.channel_number in same}
    assert [set(row.order_ids) for row in MergeGroup.objects.all()] == [wanted]
    mine = next(one for one in orders if one.pk in wanted)
    group = merging.group_of(mine, User.objects.get(username="zhuguan"))
    assert group is not None
    others = set(SalesOrder.objects.filter(pk__in=wanted).values_list("number", flat=True))
    assert set(group.numbers) == others - {mine.number}
    assert group.by_id is by_id


# --- what a platform may answer ------------------------------------------------------------------


class Platform:
    """Groups orders by the first letter of their id; refuses packs with a stale one."""

    def __init__(self) -> None:
        self.packs: list[list[str]] = []
        self.fault: Exception | None = None

    def merge_groups(self, requests: Sequence[DecryptRequest]) -> list[tuple[str, ...]]:
        self.packs.append([one.channel_number for one in requests])
        if self.fault is not None:
            raise self.fault
        if any(one.oaid.startswith("stale") for one in requests):
            raise Rejected(PlatformError(ErrorClass.BUSINESS, "isv.invalid", "oaid不匹配"))
        groups: dict[str, list[str]] = {}
        for one in requests:
            groups.setdefault(one.oaid[0], []).append(one.channel_number)
        return [tuple(group) for group in groups.values() if len(group) > 1]


@pytest.fixture
def platform(seller: Seller, monkeypatch: pytest.MonkeyPatch) -> Platform:
    ShopCredentialFactory.create(shop=seller.shop)
    SyncCursorFactory.create(shop=seller.shop)
    answering = Platform()
    monkeypatch.setattr(merging, "connector_for", lambda *_: answering)
    return answering


def sold(seller: Seller, *oaids: str, **changes: Any) -> list[SalesOrder]:
    drafts = [draft(receiver=masked(n, oaid), **changes) for n, oaid in enumerate(oaids)]
    return take(seller.shop, *drafts)


def groups() -> list[list[int]]:
    return [row.order_ids for row in MergeGroup.objects.order_by("pk")]


def test_a_group_is_good_for_half_an_hour(seller: Seller, boss: User, platform: Platform) -> None:
    one, other = sold(seller, "a1", "a2")
    at = clock_now()
    assert merging.find_merge_groups(now=at) == "1 merge groups"
    group = merging.group_of(one, boss, now=at + timedelta(minutes=29))
    assert group is not None
    assert (group.numbers, group.by_id) == ((other.number,), False)
    assert merging.group_of(one, boss, now=at + timedelta(minutes=31)) is None


def test_each_pass_takes_the_place_of_the_last(seller: Seller, platform: Platform) -> None:
    one, other, third = sold(seller, "a1", "a2", "a3")
    merging.find_merge_groups()
    assert groups() == [[one.pk, other.pk, third.pk]]
    SalesOrder.objects.filter(pk=third.pk).update(paid_at=None)
    merging.find_merge_groups()
    assert groups() == [[one.pk, other.pk]]
    SalesOrder.objects.filter(pk=other.pk).update(paid_at=None)
    assert merging.find_merge_groups() == "0 merge groups"
    assert groups() == []


def test_only_paid_open_orders_with_a_neighbor_and_an_id_are_asked_about(
    seller: Seller, platform: Platform
) -> None:
    one, other = sold(seller, "a1", "a2")
    sold(seller, "a3", paid=False)
    far = masked(7, "a4", province="广东省", city="广州市", district="天河区")
    take_one(seller.shop, draft(receiver=far))
    take_one(seller.shop, draft(receiver=somebody(8)))
    closed = draft(receiver=masked(9, "a5"))
    take_one(seller.shop, closed)
    take(seller.shop, again(closed, status=type(closed.status).CLOSED))
    merging.find_merge_groups()
    assert platform.packs == [[one.channel_number, other.channel_number]]


def test_a_call_has_a_hundred_orders_at_most_and_a_region_stays_together(
    seller: Seller, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "AT_ONCE", 4)
    sold(seller, "a1", "a2", "a3")
    far = {"province": "广东省", "city": "广州市", "district": "天河区"}
    take(seller.shop, *[draft(receiver=masked(n, f"b{n}", **far)) for n in range(20, 26)])
    merging.find_merge_groups()
    assert [len(pack) for pack in platform.packs] == [3, 4, 2]


def test_one_stale_id_does_not_keep_the_others_apart(seller: Seller, platform: Platform) -> None:
    orders = sold(seller, "a1", "a2", "b1", "b2", "b3", "b4", "b5", "stale")
    merging.find_merge_groups()
    together = {pk for group in groups() for pk in group}
    assert {orders[0].pk, orders[1].pk} <= together
    assert orders[-1].pk not in together


@pytest.mark.parametrize(
    "fault",
    [
        TryLater(PlatformError(ErrorClass.PLATFORM, "timeout", "")),
        Rejected(PlatformError(ErrorClass.AUTH, "27", "Invalid session")),
        KeyError("bug"),
    ],
)
def test_a_platform_that_is_away_keeps_its_groups_until_they_run_out(
    seller: Seller, platform: Platform, fault: Exception
) -> None:
    sold(seller, "a1", "a2")
    merging.find_merge_groups()
    kept = groups()
    platform.fault = fault
    merging.find_merge_groups()
    assert groups() == kept != []
    merging.find_merge_groups(now=clock_now() + timedelta(hours=1))
    assert groups() == []
    assert len(platform.packs) == 3


def test_a_paused_shop_is_not_asked(seller: Seller, platform: Platform) -> None:
    sold(seller, "a1", "a2")
    SyncCursor.objects.update(paused_at=clock_now())
    merging.find_merge_groups()
    assert platform.packs == []


def test_two_shops_never_share_a_group(seller: Seller, platform: Platform) -> None:
    sold(seller, "a1")
    shop = Shop.objects.create(code="another", name="另一家", channel="taobao")
    ShopCredential.objects.create(
        shop=shop, base_url="http://x", app_key="k", sealed=b"x", updated_at=clock_now()
    )
    take(shop, draft(receiver=masked(2, "a2")))
    merging.find_merge_groups()
    assert (groups(), platform.packs) == ([], [])


# --- on the page ----------------------------------------------------------------------------------


def test_the_order_page_names_who_may_go_along_as_far_as_one_may_know(
    seller: Seller, platform: Platform, client: Client
) -> None:
    one, other = sold(seller, "a1", "a2")
    merging.find_merge_groups()
    client.force_login(
        user_with(Role.REVIEWER), backend="django.contrib.auth.backends.ModelBackend"
    )
    page = client.get(f"/orders/{one.number}/").content.decode()
    assert "可合单：" in page
    assert f"/orders/{other.number}/" in page
    assert "平台合单查询" in page
    SalesOrder.objects.filter(pk=other.pk).update(status="shipped")
    assert "可合单：" not in client.get(f"/orders/{one.number}/").content.decode()
    assert merging.group_of(one, user_with(Role.CLERK)) is None
