"""New rules and the orders that are inside already: looked at first, then judged again."""

import json
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django_q.models import OrmQ

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.errors import NotAllowed
from ordercenter.core.policy import Role
from ordercenter.orders.errors import RuleAuthor
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import OrderStatus
from ordercenter.pipeline import decisions, rule_life, tasks
from risk import sets
from risk.models import RuleSet, Verdict
from tests.factories import user_with
from tests.pipeline.seller import (
    REASON,
    Seller,
    as_person,
    draft,
    hold_ids,
    holds,
    line,
    pick,
    ship,
    take,
    take_one,
)
from tests.risk.rule_life import a_rule, committed, live, report_on

pytestmark = pytest.mark.django_db


@pytest.fixture
def keeper() -> User:
    return user_with(Role.OPERATIONS_SUPERVISOR)


def switch_to(*rules: dict[str, Any]) -> RuleSet:
    """These rules are live from now on, by nobody's hand."""
    RuleSet.objects.update(is_live=False)
    return live(*rules, version=9)


def amounts(seller: Seller, *texts: str) -> list[SalesOrder]:
    return take(seller.shop, *(draft(line(amount=text)) for text in texts))


def everything() -> list[Any]:
    return [
        list(model.objects.order_by("pk").values_list())
        for model in (OrderHold, Verdict, AuditRecord)
    ] + [list(SalesOrder.objects.order_by("pk").values_list("pk", "version", "status"))]


def test_the_preview_says_what_would_be_held_and_let_go_and_changes_nothing(
    seller: Seller,
) -> None:
    live(a_rule("old", value="500"))
    cheap, middle, dear = amounts(seller, "90", "300", "600")
    switch_to(a_rule("new", value="300"))
    before = everything()
    found = rule_life.preview()
    assert everything() == before
    assert (found.version, found.orders, found.newly_held) == (9, 3, 1)
    assert found.held_value == middle.payable_amount
    gain, loss = found.gains["new"], found.losses["old"]
    assert (gain.orders, gain.value, set(gain.examples)) == (
        2,
        Decimal(900),
        {middle.number, dear.number},
    )
    assert (loss.orders, loss.examples) == (1, [dear.number])
    assert cheap.number not in gain.examples


def test_what_is_previewed_is_what_happens(seller: Seller, keeper: User) -> None:
    live(a_rule("old", value="500"))
    cheap, middle, dear = amounts(seller, "90", "300", "600")
    switch_to(a_rule("new", value="300"))
    expected = rule_life.preview()
    done = rule_life.apply_inside(user=keeper, reason="新规则适用在途订单")
    assert done.orders == expected.orders == 3
    assert done.opened == sum(effect.orders for effect in expected.gains.values()) == 2
    assert holds(cheap) == set()
    assert holds(middle) == {"rule:new"}
    assert holds(dear) == {"rule:new", "rule:old"}
    assert (done.released, done.proposed) == (0, 1)
    assert [hold.code for hold in rule_life.no_longer_hit()] == ["old"]


def test_an_order_that_was_on_its_way_is_stopped(seller: Seller, boss: User, keeper: User) -> None:
    live()
    order = take_one(seller.shop, draft(line(amount="600")))
    parcel = pick(order, boss)
    switch_to(a_rule(value="300"))
    rule_life.apply_inside(user=keeper, reason="新规则适用在途订单")
    assert holds(order) == {"rule:dear"}
    assert parcel.stops.exists()


def test_what_has_left_and_what_was_canceled_is_left_alone(
    seller: Seller, boss: User, keeper: User, carrier: Any
) -> None:
    live()
    gone, canceled = amounts(seller, "600", "601")
    ship(gone, boss)
    decisions.cancel_order(
        canceled.pk, user=boss, actor=as_person(boss), seen_version=canceled.version,
        reason=REASON,
    )  # fmt: skip
    switch_to(a_rule(value="300"))
    assert rule_life.preview().orders == 0
    assert rule_life.apply_inside(user=keeper, reason="新规则适用在途订单").orders == 0


def test_a_second_time_changes_no_hold(seller: Seller, keeper: User) -> None:
    live()
    amounts(seller, "600", "601")
    switch_to(a_rule(value="300"))
    first = rule_life.apply_inside(user=keeper, reason="新规则适用在途订单")
    second = rule_life.apply_inside(user=keeper, reason="新规则适用在途订单")
    assert (first.opened, second.opened) == (2, 0)


@pytest.mark.parametrize("told", ["600.00", "600"])
def test_what_a_person_let_pass_is_not_held_again_for_the_very_same(
    seller: Seller, boss: User, keeper: User, told: str
) -> None:
    live(a_rule(value="300"))
    order = take_one(seller.shop, draft(line(amount=told)))
    decisions.release_order(
        order.pk, hold_ids(order), user=boss, actor=as_person(boss), seen_version=order.version,
        reason=REASON,
    )  # fmt: skip
    assert rule_life.preview().gains == {}
    rule_life.apply_inside(user=keeper, reason="新规则适用在途订单")
    assert holds(order) == set()


def test_a_ticked_rule_lets_go_what_it_does_not_hit_any_more_in_the_name_of_who_ticked_it(
    seller: Seller, keeper: User
) -> None:
    live(a_rule("old", value="100"), a_rule("frozen", value="500", tier="3"))
    low, high = amounts(seller, "200", "600")
    switch_to(a_rule("old", value="300"))
    done = rule_life.apply_inside(
        user=keeper, reason="阈值放宽，低额单放行", release=["old", "frozen"]
    )
    assert (done.released, done.proposed) == (1, 1)
    assert holds(low) == set()
    assert holds(high) == {"rule:old", "rule:frozen"}
    hold = OrderHold.objects.get(order=low)
    assert (hold.released_by, hold.release_reason) == (
        as_person(keeper).mark, "阈值放宽，低额单放行",
    )  # fmt: skip
    low.refresh_from_db()
    assert low.status == OrderStatus.ROUTED


def test_who_changed_a_rule_today_releases_nothing_it_held(seller: Seller, keeper: User) -> None:
    live(a_rule(value="100"))
    order = take_one(seller.shop, draft(line(amount="200")))
    row = committed(a_rule(value="300"), version=2)
    report_on(row)
    sets.ask_activation(row.pk, keeper)
    with pytest.raises(RuleAuthor):
        rule_life.apply_inside(user=keeper, reason="放宽之后放行", release=["dear"])
    with pytest.raises(RuleAuthor):
        decisions.release_order(
            order.pk, hold_ids(order), user=keeper, actor=as_person(keeper),
            seen_version=order.version, reason=REASON,
        )  # fmt: skip
    assert holds(order) == {"rule:dear"}
    other = user_with(Role.WAREHOUSE_SUPERVISOR)
    done = rule_life.apply_inside(user=other, reason="放宽之后放行", release=["dear"])
    assert done.released == 1


def test_only_who_keeps_rules_applies_them(seller: Seller) -> None:
    for role in (Role.REVIEWER, Role.CEO, Role.CLERK):
        with pytest.raises(NotAllowed):
            rule_life.apply_inside(user=user_with(role), reason="新规则适用在途订单")


def test_beginning_and_end_are_on_record_and_progress_is_told(seller: Seller, keeper: User) -> None:
    live()
    amounts(seller, "600", "601")
    row = switch_to(a_rule(value="300"))
    told: list[tuple[int, int]] = []
    rule_life.apply_inside(
        user=keeper, reason="新规则适用在途订单", progress=lambda *one: told.append(one)
    )
    assert told == [(2, 2)]
    acts = AuditRecord.objects.filter(object_type="rule_set", object_id=row.pk).order_by("pk")
    assert [(act.action, act.change["inside"]) for act in acts] == [
        (Action.RULES_CHANGED, "begun"), (Action.RULES_CHANGED, "done"),
    ]  # fmt: skip
    last = rule_life.last_run(row)
    assert last is not None
    assert (last["orders"], last["opened"]) == (2, 2)


def test_a_worker_applies_what_was_asked_for_on_the_page_unless_the_rules_are_others_by_then(
    seller: Seller, keeper: User
) -> None:
    live()
    orders = amounts(seller, "600", "601")
    switch_to(a_rule(value="300"))
    browser = Client()
    browser.force_login(keeper, backend="django.contrib.auth.backends.ModelBackend")
    assert "dear" in browser.get("/rules/inside/").content.decode()
    form = {"reason": "新规则适用在途订单", "count": "3"}
    assert browser.post("/rules/inside/", form).status_code == 422
    assert browser.post("/rules/inside/", {**form, "count": "2"}).status_code == 302
    (queued,) = OrmQ.objects.all()
    task = queued.task
    assert (task["func"], task["args"][:2]) == (
        "ordercenter.pipeline.tasks.apply_rules", (keeper.pk, 9),
    )  # fmt: skip
    assert [holds(order) for order in orders] == [set(), set()]
    assert "not live" in tasks.apply_rules(keeper.pk, 8, form["reason"], [])
    assert "2 holds opened" in tasks.apply_rules(*task["args"])
    assert [holds(order) for order in orders] == [{"rule:dear"}] * 2
    assert "新挂起 2" in browser.get("/rules/inside/").content.decode()


def test_the_command_previews_first_and_acts_with_somebodys_rights(
    seller: Seller, keeper: User
) -> None:
    live()
    order = take_one(seller.shop, draft(line(amount="600")))
    switch_to(a_rule(value="300"))
    out = StringIO()
    call_command("apply_rules", "--json", stdout=out)
    assert json.loads(out.getvalue())["gains"]["dear"]["orders"] == 1
    assert holds(order) == set()
    with pytest.raises(CommandError, match="--user"):
        call_command("apply_rules", "--yes", stdout=out)
    out = StringIO()
    call_command("apply_rules", "--yes", "--json", "--user", keeper.get_username(),
                 "--reason", "新规则适用在途订单", stdout=out)  # fmt: skip
    assert json.loads(out.getvalue())["opened"] == 1
    assert holds(order) == {"rule:dear"}
