"""What follows of a hit on the path, and what does not."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from inventory.models import Reservation
from ordercenter.audit.models import AuditRecord
from ordercenter.core.clock import now as clock_now
from ordercenter.notices.models import Alarm, Notice
from ordercenter.orders.contracts import ChannelStatus
from ordercenter.orders.models import OrderEvidence, OrderHold, SalesOrder
from risk.models import Exemption, RuleSet, Verdict
from tests.factories import RobotFactory, RuleSetFactory
from tests.pipeline.seller import (
    Seller,
    again,
    draft,
    holds,
    line,
    open_seller,
    paid,
    somebody,
    take,
    take_one,
)
from tests.risk.tools import rule

pytestmark = pytest.mark.django_db
CHEAP = {"fact": "price_ratio", "op": "<", "value": "0.85"}
LARGE = {"fact": "amount", "op": ">", "value": "150"}


@pytest.fixture
def seller() -> Seller:
    return open_seller()


def live(*rules: dict[str, Any]) -> None:
    RuleSet.objects.update(is_live=False)
    RuleSetFactory.create(is_live=True, rules=list(rules))


def verdict(order: SalesOrder) -> Verdict:
    return Verdict.objects.filter(order=order).latest("pk")


def test_tier_1_fills_what_is_empty_lets_go_on_and_leaves_a_trace(seller: Seller) -> None:
    empty = {"fact": "remark_empty", "op": "is", "value": True}
    live(rule(empty, tier="1", outcome={"fill": {"buyer_remark": "无"}}))
    silent, spoke = take(seller.shop, draft(), draft(buyer_remark="放门口"))
    assert (silent.status, silent.buyer_remark) == ("routed", "无")
    assert (spoke.status, spoke.buyer_remark) == ("routed", "放门口")
    trace = AuditRecord.objects.filter(object_type="order", object_id=silent.pk).latest("pk")
    assert trace.change["buyer_remark"] == ["", "无"]
    assert trace.change["flags"] == ["filled:buyer_remark:r"]
    assert [verdict(order).tier for order in (silent, spoke)] == ["1", "0"]


def test_a_stored_order_is_filled_as_well(seller: Seller) -> None:
    live()
    told = draft(paid=False)
    take_one(seller.shop, told)
    empty = {"fact": "remark_empty", "op": "is", "value": True}
    live(rule(empty, tier="1", outcome={"fill": {"buyer_remark": "无"}}))
    assert take_one(seller.shop, paid(told)).buyer_remark == "无"


def test_a_rule_raises_the_priority_and_never_lowers_it(seller: Seller) -> None:
    live(rule(LARGE, tier="0", outcome={"priority": 15}))
    small, large, rush = take(
        seller.shop, draft(), draft(line(quantity=2)), draft(line("LAMP", 2), buyer_remark="加急")
    )
    assert [order.priority for order in (small, large, rush)] == [0, 15, 20]


def test_a_rule_names_the_warehouse_that_is_tried_first(seller: Seller) -> None:
    live(rule(LARGE, tier="0", outcome={"warehouse": seller.far.code}))
    small, large = take(seller.shop, draft(), draft(line(quantity=2)))
    assert [place_of(order) for order in (small, large)] == [seller.near.pk, seller.far.pk]


def test_where_the_named_warehouse_has_nothing_the_others_serve(seller: Seller) -> None:
    live(rule(LARGE, tier="0", outcome={"warehouse": seller.far.code}))
    order = take_one(seller.shop, draft(line(quantity=101)))
    assert holds(order) == {"shortage:shortage"}
    live(rule(LARGE, tier="0", outcome={"warehouse": "nowhere"}))
    assert place_of(take_one(seller.shop, draft(line("LAMP", 2)))) == seller.near.pk


def place_of(order: SalesOrder) -> int:
    return Reservation.objects.filter(order_id=order.pk).get().level.virtual_warehouse_id


def test_whom_a_rule_names_is_told_once_of_an_order_judged_again(seller: Seller) -> None:
    RobotFactory.create()
    live(rule(CHEAP, outcome={"notify": [{"to": "supervisors"}, {"to": "finance"}]}))
    told = draft(line(amount="80.00"), paid=False)
    order = take_one(seller.shop, told)
    take_one(seller.shop, paid(told))
    assert Verdict.objects.filter(order=order).count() >= 2
    assert [alarm.count for alarm in Alarm.objects.all()] == [1, 1]
    notices = Notice.objects.filter(key__startswith="alarm:")
    assert notices.count() == 2
    assert all(order.number in notice.text for notice in notices)


def test_a_rule_that_freezes_tells_the_supervisors_where_it_names_nobody(seller: Seller) -> None:
    live(rule(CHEAP, tier="3"))
    take_one(seller.shop, draft(line(amount="80.00")))
    alarm = Alarm.objects.get()
    assert (alarm.count, alarm.urgency, "仓储主管" in alarm.note) == (1, "3", True)


def test_a_rule_that_only_holds_and_names_nobody_raises_no_alarm(seller: Seller) -> None:
    live(rule(CHEAP))
    take_one(seller.shop, draft(line(amount="80.00")))
    assert not Alarm.objects.exists()


def test_a_budget_ends_the_holds_of_a_rule_and_not_its_findings(seller: Seller) -> None:
    live(rule(CHEAP, budget=1))
    told = draft(line(amount="80.00"), paid=False)
    order = take_one(seller.shop, told)
    assert holds(order) == {"rule:r"}
    OrderHold.objects.filter(order=order).update(released_at=clock_now(), released_by="job:x")
    cheaper = replace(told.lines[0], amount=Decimal(70), unit_price=Decimal(70))
    order = take_one(seller.shop, again(told, lines=(cheaper,), payable_amount=Decimal(70)))
    assert holds(order) == set()
    (finding,) = verdict(order).findings
    assert (finding["hit"], finding["skipped"]) == (True, "budget")


def test_without_a_budget_another_finding_holds_again(seller: Seller) -> None:
    live(rule(CHEAP))
    told = draft(line(amount="80.00"), paid=False)
    order = take_one(seller.shop, told)
    OrderHold.objects.filter(order=order).update(released_at=clock_now(), released_by="job:x")
    cheaper = replace(told.lines[0], amount=Decimal(70), unit_price=Decimal(70))
    order = take_one(seller.shop, again(told, lines=(cheaper,), payable_amount=Decimal(70)))
    assert holds(order) == {"rule:r"}


@pytest.mark.parametrize(("tier", "is_held"), [("2", False), ("3", True)])
def test_a_customer_who_is_exempt_passes_tier_2_and_never_tier_3(
    seller: Seller, tier: str, is_held: bool
) -> None:
    live(rule(CHEAP, tier=tier))
    known = somebody(7)
    (first,) = take(seller.shop, draft(line(amount="80.00"), receiver=known))
    phone = OrderEvidence.objects.get(order=first).phone_key
    now = clock_now()
    Exemption.objects.create(
        key="phone", value=phone, shown="x", reason="老客户", made_by="t",
        made_at=now - timedelta(days=1), expires_at=now + timedelta(days=1),
    )  # fmt: skip
    (second,) = take(seller.shop, draft(line("LAMP", amount="80.00"), receiver=known))
    assert (holds(second) == {"rule:r"}) is is_held
    assert verdict(second).findings[0].get("skipped", "") == ("" if is_held else "exempt")


def test_what_was_over_before_it_came_is_judged_for_the_record_and_held_by_no_rule(
    seller: Seller,
) -> None:
    RobotFactory.create()
    live(rule(CHEAP, tier="3", outcome={"notify": [{"to": "ceo"}], "priority": 50}))
    order = take_one(seller.shop, draft(line(amount="10.00"), status=ChannelStatus.FINISHED))
    assert holds(order) == {"channel:shipped_elsewhere"}
    assert (order.priority, Notice.objects.filter(key__startswith="alarm:").count()) == (0, 0)
    found = verdict(order)
    assert (found.tier, found.tags, found.findings[0]["skipped"]) == ("0", [], "history")


# --- judged again ---------------------------------------------------------------------------------


def verdicts(order: SalesOrder) -> int:
    return Verdict.objects.filter(order=order).count()


@pytest.mark.parametrize("what", ["payment", "price", "freight", "address"])
def test_an_order_is_judged_again_when_its_payment_price_or_address_changes(
    seller: Seller, what: str
) -> None:
    told = draft(paid=False)
    order = take_one(seller.shop, told)
    before = verdicts(order)
    cheaper = replace(told.lines[0], amount=Decimal(90), unit_price=Decimal(90))
    changed = {
        "payment": paid(told),
        "price": again(told, lines=(cheaper,), payable_amount=Decimal(90)),
        "freight": again(told, freight=Decimal(5), payable_amount=Decimal(105)),
        "address": again(told, receiver=somebody()),
    }[what]
    take_one(seller.shop, changed)
    assert verdicts(order) == before + 1


def test_an_order_of_which_nothing_changed_is_not_judged_again(seller: Seller) -> None:
    told = draft(paid=False)
    order = take_one(seller.shop, told)
    before = verdicts(order)
    take_one(seller.shop, again(told))
    assert verdicts(order) == before


def test_shingles_follow_a_receiver_who_moves_and_a_masked_one_has_none(seller: Seller) -> None:
    told = draft(paid=False)
    order = take_one(seller.shop, told)
    before = OrderEvidence.objects.get(order=order).address_shingles
    assert before
    assert before == sorted(set(before))
    take_one(seller.shop, again(told, receiver=somebody(address="木渎镇金山路88号")))
    after = OrderEvidence.objects.get(order=order).address_shingles
    assert after
    assert after != before
    masked = somebody(name="王**", phone="138****8000", address="星**", is_masked=True, oaid="o1")
    hidden = take_one(seller.shop, draft(receiver=masked))
    assert OrderEvidence.objects.get(order=hidden).address_shingles is None
