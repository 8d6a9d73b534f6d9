"""K10: the CEO approves while the asker, or somebody else, takes the order back."""

from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError

from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import Actor
from ordercenter.core.policy import Role
from ordercenter.orders.errors import StaleOrder
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import decisions
from tests.factories import user_with
from tests.invariants.world import REASON, draft, stocked_shop, take_in
from tests.races.test_order_races import as_side, pausing_load
from tests.races.tools import meeting, red, unlocked, without

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop() -> Shop:
    return stocked_shop()


@pytest.fixture
def asker() -> User:
    return user_with(Role.WAREHOUSE_SUPERVISOR, username="asker")


@pytest.fixture
def ceo() -> User:
    return user_with(Role.CEO, username="ceo")


def asked_for(shop: Shop, asker: User) -> SalesOrder:
    """A frozen order somebody has asked the CEO to let go."""
    (order,) = take_in(shop, draft())
    actor = Actor.person(asker)
    decisions.freeze_order(order.pk, user=asker, actor=actor, reason=REASON)
    OrderHold.objects.open().filter(order=order).update(tier="3")
    order.refresh_from_db()
    decisions.ask_release(
        order.pk, user=asker, actor=actor, seen_version=order.version, reason=REASON
    )
    order.refresh_from_db()
    return order


def deciding(act: Any, order: SalesOrder, user: User) -> Any:
    facts = {"user": user, "actor": Actor.person(user), "seen_version": order.version}
    return partial(act, order.pk, **facts, reason=REASON)


def editing(order: SalesOrder, user: User) -> Any:
    """The address is put right: what the CEO was shown is no longer what would be shipped."""
    person = {"name": "李四", "phone": "19900000077", "province": "江苏省", "city": "苏州市",
              "district": "虎丘区", "address": "科灵路9号"}  # fmt: skip
    return partial(
        decisions.edit_receiver, order.pk, user=user, actor=Actor.person(user),
        seen_version=order.version, receiver=person,
    )  # fmt: skip


def race(
    order: SalesOrder, asker: User, ceo: User, run_together: Any, patch: pytest.MonkeyPatch
) -> list[Any]:
    """Both have the order in hand, as both have seen it, before either writes."""
    meet = meeting(2)
    pausing_load(patch, {"ceo": meet, "asker": meet})
    results: list[Any] = run_together(
        as_side("ceo", deciding(decisions.approve_release, order, ceo)),
        as_side("asker", editing(order, asker)),
    )
    return results


def test_k10_one_of_approval_and_edit_counts_and_the_other_is_told(
    shop: Shop, asker: User, ceo: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = asked_for(shop, asker)
    results = race(order, asker, ceo, run_together, monkeypatch)
    assert sorted(type(one).__name__ for one in results) == ["NoneType", "StaleOrder"], results
    held = OrderHold.objects.open().filter(order=order).exists()
    assert held == isinstance(results[0], StaleOrder)
    assert red() == set()


def test_k10_control_without_the_lock_the_trail_refuses_the_second(
    shop: Shop, asker: User, ceo: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = asked_for(shop, asker)
    unlocked(monkeypatch, "orders_salesorder")
    results = race(order, asker, ceo, run_together, monkeypatch)
    refused = [one for one in results if one is not None]
    assert len(refused) == 1
    assert isinstance(refused[0], IntegrityError), "the same version cannot be written twice"
    assert red() == set()


def test_k10_control_without_lock_and_wall_both_think_they_decided(
    shop: Shop, asker: User, ceo: User, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = asked_for(shop, asker)
    with without(walls=["audit_version_once"], triggers=[("orders_salesorder", "guard_status")]):
        unlocked(monkeypatch, "orders_salesorder")
        assert race(order, asker, ceo, run_together, monkeypatch) == [None, None]
        version = order.version + 1
        twice = AuditRecord.objects.filter(object_id=order.pk, version=version)
        assert twice.filter(object_type="order").count() == 2
        assert "A1" in red(but=["W1"])


def test_k10_twenty_free_rounds_have_one_decision_each(
    shop: Shop, asker: User, ceo: User, run_together: Any
) -> None:
    for turn in range(20):
        order = asked_for(shop, asker)
        results = run_together(
            deciding(decisions.approve_release, order, ceo),
            deciding(decisions.return_for_edit, order, asker),
        )
        names = sorted(type(one).__name__ for one in results)
        assert names == ["NoneType", "StaleOrder"], (turn, results)
    assert red() == set()
