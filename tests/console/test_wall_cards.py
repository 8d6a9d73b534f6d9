"""One card after the other: ranked, claimed, with its evidence; put off, asked, many at once."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fulfillment.models import StageTask
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.policy import Role
from ordercenter.orders.models import CardClaim, OrderHold, SalesOrder
from ordercenter.orders.states import Disposition, HoldKind
from ordercenter.pipeline import claims, pacing
from risk.models import RiskScore
from tests.console.conftest import AsRole, decision, held_order, shelved_order
from tests.factories import (
    OrderEvidenceFactory,
    OrderHoldFactory,
    SalesOrderFactory,
    ShopAssignmentFactory,
    ShopFactory,
    StageTaskFactory,
    VerdictFactory,
)
from tests.pipeline.seller import draft, line, open_seller, take, take_one

pytestmark = pytest.mark.django_db
BUDGET = 32


def numbers_on(page: str, *orders: str) -> list[str]:
    at = {number: page.find(f'id="order-{number}"') for number in orders}
    return sorted((number for number in orders if at[number] >= 0), key=at.__getitem__)


def wall_of(client: Client, query: str = "") -> str:
    answer = client.get(f"/wall/{query}")
    assert answer.status_code == 200
    return answer.content.decode()


# --- rank -----------------------------------------------------------------------------------------


def test_money_at_risk_over_time_left_decides_who_is_first(as_role: AsRole) -> None:
    now = timezone.now()
    cheap_frozen = OrderHoldFactory.create(tier="3", order__payable_amount=Decimal(10))
    dear = OrderHoldFactory.create(order__payable_amount=Decimal(5000))
    due = OrderHoldFactory.create(
        order__payable_amount=Decimal(400), order__placed_at=now - timedelta(hours=47)
    )
    middling = OrderHoldFactory.create(order__payable_amount=Decimal(400))
    expected = [hold.order.number for hold in (due, dear, middling, cheap_frozen)]
    assert numbers_on(wall_of(as_role(Role.REVIEWER)), *reversed(expected)) == expected


def test_the_clock_of_an_open_task_counts_as_time_left(as_role: AsRole) -> None:
    calm, pressed = OrderHoldFactory.create(), OrderHoldFactory.create()
    StageTaskFactory.create(order=pressed.order, due_at=timezone.now() + timedelta(minutes=20))
    expected = [pressed.order.number, calm.order.number]
    assert numbers_on(wall_of(as_role(Role.REVIEWER)), *expected) == expected


def test_what_only_an_interception_holds_is_no_card(as_role: AsRole) -> None:
    hold = OrderHoldFactory.create(kind=HoldKind.INTERCEPT)
    assert hold.order.number not in wall_of(as_role(Role.REVIEWER))


# --- claims ---------------------------------------------------------------------------------------


def test_a_card_in_somebodys_hands_says_so_and_offers_nothing(as_role: AsRole) -> None:
    hold = held_order()
    ann, bob = as_role(Role.REVIEWER, username="ann"), as_role(Role.REVIEWER, username="bob")
    path = f"/wall/{hold.order.number}/"
    assert ann.post(f"{path}claim/").status_code == 302
    for page in (wall_of(bob), bob.get(path).content.decode()):
        assert "ann" in page
        assert "起处理中" in page
        assert 'value="release"' not in page
    assert "您正在处理" in wall_of(ann)
    assert 'value="release"' in ann.get(path).content.decode()
    assert bob.post(f"{path}claim/").status_code == 409
    answer = bob.post(f"{path}claim/", headers={"X-Requested-With": "fetch"})
    assert answer.status_code == 409
    assert "ann" in answer.content.decode()
    assert ann.post(f"{path}claim/", headers={"X-Requested-With": "fetch"}).status_code == 204
    answer = bob.post(f"/orders/{hold.order.number}/decide/", decision(hold, "release"))
    assert answer.status_code == 409
    assert "ann" in answer.content.decode()
    assert OrderHold.objects.open().filter(pk=hold.pk).exists()


def test_a_card_that_ran_out_is_taken_over(as_role: AsRole) -> None:
    hold = held_order()
    ann, bob = as_role(Role.REVIEWER, username="ann"), as_role(Role.REVIEWER, username="bob")
    ann.post(f"/wall/{hold.order.number}/claim/")
    CardClaim.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert bob.post(f"/wall/{hold.order.number}/claim/").status_code == 302
    assert (
        ann.post(f"/orders/{hold.order.number}/decide/", decision(hold, "release")).status_code
        == 409
    )


def test_after_a_decision_the_next_free_card_is_mine(as_role: AsRole) -> None:
    first, second, third = (
        held_order(payable_amount=Decimal(amount)) for amount in (900, 800, 700)
    )
    ann, bob = as_role(Role.REVIEWER, username="ann"), as_role(Role.REVIEWER, username="bob")
    assert f"/wall/{first.order.number}/" in ann.post("/wall/next/")["Location"]
    bob.post(f"/wall/{second.order.number}/claim/")
    post = decision(first, "release", next="1", back="/wall/?tier=2")
    answer = ann.post(f"/orders/{first.order.number}/decide/", post)
    assert answer["Location"] == f"/wall/{third.order.number}/?place=waiting&tier=2"
    assert CardClaim.objects.get(order=third.order).user.username == "ann"
    post = decision(third, "release", next="1", back="/wall/?tier=2")
    answer = ann.post(f"/orders/{third.order.number}/decide/", post)
    assert answer["Location"] == "/wall/?tier=2"


def test_a_card_given_back_is_free(as_role: AsRole) -> None:
    hold = held_order()
    ann = as_role(Role.REVIEWER, username="ann")
    ann.post(f"/wall/{hold.order.number}/claim/")
    for _twice in range(2):
        assert ann.post(f"/wall/{hold.order.number}/leave/").status_code == 302
    assert not CardClaim.objects.exists()


@pytest.mark.parametrize("verb", ["release", "return", "after_sales", "ask_customer", "snooze",
                                  "cancel", "hold"])  # fmt: skip
def test_no_decision_on_an_older_picture_counts(as_role: AsRole, verb: str) -> None:
    hold = held_order()
    SalesOrder.objects.filter(pk=hold.order_id).update(version=4)
    extra = {"template": "duplicate", "for": "1d", "ahead": "3"}
    answer = as_role(Role.WAREHOUSE_SUPERVISOR).post(
        f"/orders/{hold.order.number}/decide/", decision(hold, verb, **extra)
    )
    assert answer.status_code == 409
    assert OrderHold.objects.open().get(order=hold.order).disposition == Disposition.WAITING


# --- put off, asked, held until -------------------------------------------------------------------


def test_a_card_put_off_leaves_the_wall_and_comes_back_by_itself(as_role: AsRole) -> None:
    hold = held_order()
    client = as_role(Role.REVIEWER)
    post = decision(hold, "snooze", **{"for": "3d"})
    assert client.post(f"/orders/{hold.order.number}/decide/", post).status_code == 302
    card = f'id="order-{hold.order.number}"'
    assert card not in wall_of(client)
    assert card in wall_of(client, "?place=snoozed")
    hold.refresh_from_db()
    assert hold.snoozed_until is not None
    assert timedelta(days=2, hours=23) < hold.snoozed_until - timezone.now() <= timedelta(days=3)
    OrderHold.objects.filter(pk=hold.pk).update(snoozed_until=timezone.now())
    assert card in wall_of(client)


def test_a_new_reason_brings_a_card_back_at_once(as_role: AsRole) -> None:
    hold = held_order()
    OrderHold.objects.filter(pk=hold.pk).update(snoozed_until=timezone.now() + timedelta(days=1))
    OrderHoldFactory.create(order=hold.order, code="another")
    assert hold.order.number in wall_of(as_role(Role.REVIEWER))


@pytest.mark.parametrize("until", ["2020-01-01T00:00", "2099-01-01T00:00", "tomorrow", "\x00"])
def test_a_time_no_card_is_put_off_to_is_refused(as_role: AsRole, until: str) -> None:
    hold = held_order()
    answer = as_role(Role.REVIEWER).post(
        f"/orders/{hold.order.number}/decide/", decision(hold, "snooze", until=until)
    )
    assert answer.status_code == 422


def test_a_question_goes_to_customer_service_once(as_role: AsRole) -> None:
    hold = held_order()
    client = as_role(Role.REVIEWER)
    post = decision(hold, "ask_customer", reason="", template="duplicate")
    path = f"/orders/{hold.order.number}/decide/"
    assert [client.post(path, post).status_code for _twice in range(2)] == [302, 302]
    (task,) = StageTask.objects.filter(order=hold.order, stage="after_sales", state="open")
    assert hold.order.channel_number in task.note
    assert AuditRecord.objects.filter(action=Action.CUSTOMER_ASKED).count() == 1


def test_an_order_is_held_until_a_moment_from_its_page(as_role: AsRole) -> None:
    order = shelved_order()
    client = as_role(Role.FINANCE)
    post = {"verb": "hold", "version": order.version, "reason": "等买家开票资料", "ahead": "12",
            "rush": "1"}  # fmt: skip
    assert client.post(f"/orders/{order.number}/decide/", post).status_code == 302
    hold = OrderHold.objects.open().get(order=order, code="until")
    assert (hold.release_ahead, hold.rush_after) == (timedelta(hours=12), True)
    assert "自动解除" in client.get(f"/orders/{order.number}/").content.decode()


# --- evidence -------------------------------------------------------------------------------------


def test_the_evidence_shows_the_cluster_the_day_the_prices_and_what_was_decided(
    as_role: AsRole,
) -> None:
    seller = open_seller()
    at = (timezone.now() - timedelta(days=1)).replace(hour=4, minute=0)
    before = take_one(seller.shop, draft(line(amount="90.00"), at=at))
    own = take_one(seller.shop, draft(line(amount="80.00"), at=at + timedelta(minutes=30)))
    for order in (before, own):
        order.evidence.address_key = order.evidence.phone_key = "k" * 16
        order.evidence.save()
    past = OrderHoldFactory.create(
        order=before, released_at=at, released_by="person:0", release_reason="老客户正常复购",
        closed_version=1,
    )  # fmt: skip
    RiskScore.objects.create(
        order=own, model_version=3, score=Decimal("0.8312"), reasons=["低价"], scored_at=at
    )
    page = as_role(Role.REVIEWER).get(f"/wall/{own.number}/").content.decode()
    assert f'href="/wall/{before.number}/"' in page
    assert "手机、地址" in page
    assert "<b>2</b> 单 · <b>¥170.00</b>" in page
    assert "SOFA" in page
    assert "¥90.00" in page
    assert "80%" in page
    assert "90%" in page
    assert past.release_reason in page
    assert "0.8312" in page
    why = as_role(Role.REVIEWER).get(f"/orders/{own.number}/why/").content.decode()
    assert "0.8312" in why
    assert "低价" in why
    earlier = f"/orders/{own.number}/why/?at={at - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    assert "0.8312" not in as_role(Role.REVIEWER).get(earlier).content.decode()
    assert str(own.receiver()["phone"]) not in page


def test_a_clerk_learns_of_other_shops_only_that_there_are_orders(as_role: AsRole) -> None:
    hold = held_order()
    other = SalesOrderFactory.create()
    for order in (hold.order, other):
        OrderEvidenceFactory.create(order=order, buyer_key="b1", address_key="a1")
    client = as_role(Role.CLERK, username="clerk")
    ShopAssignmentFactory.create(user=User.objects.get(username="clerk"), shop=hold.order.shop)
    page = client.get(f"/wall/{hold.order.number}/").content.decode()
    assert other.number not in page
    assert "其他店铺还有 1 单" in page
    assert client.get(f"/wall/{other.number}/").status_code == 404


def test_a_card_asks_as_little_for_fifty_of_a_cluster_as_for_none(as_role: AsRole) -> None:
    seller = open_seller(stock=1000)
    orders = take(seller.shop, *(draft(line(amount="80.00")) for _ in range(50)))
    client = as_role(Role.REVIEWER)
    for order in orders:
        order.evidence.buyer_key = order.evidence.address_key = "same"
        order.evidence.save()
    VerdictFactory.create(order=orders[0])
    with CaptureQueriesContext(connection) as asked:
        page = client.get(f"/wall/{orders[0].number}/").content.decode()
    assert "另有 19 单未列出" in page
    assert len(asked) <= BUDGET


def test_an_order_nobody_is_known_of_has_an_empty_evidence(as_role: AsRole) -> None:
    hold = held_order()
    page = as_role(Role.REVIEWER).get(f"/wall/{hold.order.number}/").content.decode()
    assert "没有同买家" in page
    assert "还没有人决定过" in page


# --- many at once ---------------------------------------------------------------------------------


def picks(*holds: OrderHold) -> list[str]:
    return [f"{hold.order.number}:{hold.order.version}" for hold in holds]


def bulk(client: Client, *holds: OrderHold, **changes: object) -> tuple[int, str]:
    post = {"pick": picks(*holds), "verb": "release", "count": len(holds),
            "reason": "老客户批量复购", **changes}  # fmt: skip
    answer = client.post("/wall/bulk/", post)
    return answer.status_code, answer.content.decode()


def test_rows_are_decided_one_by_one_and_tier_three_is_refused_in_its_row(
    as_role: AsRole,
) -> None:
    plain, frozen, stale = held_order(), held_order(tier="3"), held_order()
    SalesOrder.objects.filter(pk=stale.order_id).update(version=9)
    status, page = bulk(as_role(Role.REVIEWER), plain, frozen, stale)
    assert status == 200
    assert "1 单已处理，共 3 单" in page
    assert "三级冻结" in page
    assert "已被他人更新" in page
    still = OrderHold.objects.open().values_list("pk", flat=True)
    assert set(still) == {frozen.pk, stale.pk}


@pytest.mark.parametrize(
    "wrong", [{"count": 3}, {"count": ""}, {"count": "two"}, {"reason": "好"}, {"reason": ""}]
)
def test_a_wrong_count_or_no_reason_decides_nothing(
    as_role: AsRole, wrong: dict[str, object]
) -> None:
    holds = [held_order(), held_order()]
    status, page = bulk(as_role(Role.REVIEWER), *holds, **wrong)
    assert status == 422
    assert OrderHold.objects.open().count() == 2
    assert all(hold.order.number in page for hold in holds)


def test_what_is_out_of_scope_is_not_found_row_by_row(as_role: AsRole) -> None:
    mine = held_order()
    client = as_role(Role.REVIEWER)
    post = {"pick": [*picks(mine), "NOBODY:1", "../x:1", "X\x00:1"], "verb": "return", "count": 3,
            "reason": "地址请补充完整"}  # fmt: skip
    page = client.post("/wall/bulk/", post).content.decode()
    assert "找不到这张订单" in page
    mine.refresh_from_db()
    assert mine.disposition == Disposition.RETURNED


@pytest.mark.parametrize("count", [201, 5000])
def test_more_than_two_hundred_are_refused_as_a_whole(as_role: AsRole, count: int) -> None:
    hold = held_order()
    rows = [f"X{n}:1" for n in range(count)]
    for verb in ("", "release"):
        post = {
            "pick": picks(hold) + rows,
            "verb": verb,
            "count": count + 1,
            "reason": "全部放行了吧",
        }
        answer = as_role(Role.REVIEWER).post("/wall/bulk/", post)
        assert answer.status_code == 422
        assert "200 单" in answer.content.decode()
    hold.refresh_from_db()
    assert hold.released_at is None


def test_faster_than_anybody_looks_is_refused_until_a_minute_is_over(
    as_role: AsRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "MOST_A_MINUTE", 3)
    holds = [held_order() for _ in range(5)]
    client = as_role(Role.REVIEWER, username="quick")
    assert bulk(client, *holds[:2])[0] == 200
    status, page = bulk(client, *holds[2:])
    assert status == 422
    assert "一分钟内已放行 2 单" in page
    path = f"/orders/{holds[2].order.number}/decide/"
    assert client.post(path, decision(holds[2], "release")).status_code == 302
    path = f"/orders/{holds[3].order.number}/decide/"
    assert client.post(path, decision(holds[3], "release")).status_code == 422
    assert OrderHold.objects.open().count() == 2
    assert bulk(as_role(Role.REVIEWER, username="other"), holds[3])[0] == 200
    released = OrderHold.objects.exclude(released_at=None)
    released.update(released_at=timezone.now() - timedelta(minutes=1, seconds=1))
    assert bulk(client, holds[4])[0] == 200


def test_five_hundred_releases_in_a_minute_are_not_possible() -> None:
    assert pacing.MOST_A_MINUTE < 500
    user = User.objects.create(username="quick")
    shop = ShopFactory.create()
    orders = SalesOrder.objects.bulk_create(SalesOrderFactory.build_batch(300, shop=shop))
    OrderHold.objects.bulk_create(
        OrderHoldFactory.build(
            order=order, released_at=timezone.now(), released_by=f"person:{user.pk}",
            closed_version=2,
        )
        for order in orders
    )  # fmt: skip
    with pytest.raises(pacing.TooFast):
        pacing.keep_pace(user)


# --- search ---------------------------------------------------------------------------------------


def test_an_order_is_found_by_its_number_or_the_platforms(as_role: AsRole) -> None:
    order = shelved_order()
    client = as_role(Role.REVIEWER)
    for number in (order.number, order.number.lower(), order.channel_number):
        answer = client.get("/wall/search/", {"number": number})
        assert answer["Location"] == f"/wall/{order.number}/"
    assert client.get("/wall/search/", {"number": "\x00<script>"})["Location"] == "/wall/"


def test_the_claims_of_a_card_last_five_minutes() -> None:
    assert claims.LASTS.total_seconds() == 300


def test_a_filled_in_empty_remark_is_no_remark_and_no_noise_on_a_card(as_role: AsRole) -> None:
    shop = open_seller().shop
    silent, spoke = take(
        shop, draft(line(amount="80.00")), draft(line(amount="80.00"), buyer_remark="放门口")
    )
    assert silent.buyer_remark == "无"
    client = as_role(Role.REVIEWER)
    assert wall_of(client).count("<b>留言</b>") == 1
    card = client.get(f"/wall/{silent.number}/").content.decode()
    assert "<b>留言</b>" not in card
    assert "放门口" in client.get(f"/wall/{spoke.number}/").content.decode()
    assert "低价异常" in wall_of(client)
    assert "留言为空" not in wall_of(client)
