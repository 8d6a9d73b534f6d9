"""Only its own release ends a hold: no form, action, API, import, platform or superuser does.

``tests/test_permissions.py`` tries every door as every role and asks the same of each; here are
the ways that are no door of the table.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from fulfillment.models import Parcel, StageTask
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Role
from ordercenter.orders.errors import OwnOrder
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import OrderStatus
from ordercenter.pipeline import decisions, holding, jobs, stages
from ordercenter.pipeline.intake import take_drafts
from tests.console.conftest import AsRole, decision
from tests.factories import UserFactory, user_with
from tests.pipeline.seller import (
    REASON,
    Carrier,
    Seller,
    again,
    as_person,
    draft,
    hold_ids,
    line,
    open_seller,
    paid,
    print_label,
    take_one,
)

pytestmark = pytest.mark.django_db
EVERY_FIELD = {
    "status": "routed", "version": 1, "tier": "0", "kind": "shortage", "code": "x", "words": "x",
    "disposition": "waiting", "released_at_0": "2026-01-01", "released_at_1": "00:00:00",
    "released_at": "2026-01-01 00:00:00", "released_by": "person:1", "release_reason": "round it",
    "expires_at_0": "2020-01-01", "expires_at_1": "00:00:00", "asked_by": "person:2",
    "_save": "1",
}  # fmt: skip


@pytest.fixture
def seller() -> Seller:
    return open_seller()


@pytest.fixture
def frozen(seller: Seller) -> SalesOrder:
    """Frozen by a rule of tier 3, and held by one of tier 2."""
    return take_one(seller.shop, draft(line(amount="50.00")))


def stands(order: SalesOrder, before: list[int]) -> bool:
    order.refresh_from_db()
    return (
        hold_ids(order) == before
        and order.status not in {OrderStatus.ROUTED, OrderStatus.SHIPPED}
        and not Parcel.objects.filter(order=order).exists()
    )


@pytest.fixture
def root() -> Client:
    """The technical administrator: every permission of Django, no role of the business."""
    client = Client()
    client.force_login(UserFactory.create(username="root", is_superuser=True))
    return client


def test_no_form_or_action_of_the_admin_ends_one_not_even_the_superusers(
    root: Client, as_role: AsRole, frozen: SalesOrder
) -> None:
    before = hold_ids(frozen)
    roles = [role for role in Role if role is not Role.CEO]
    clients = [root, *(as_role(role, username=f"who-{role}") for role in roles)]
    for client in clients:
        for pk in before:
            for path in ("change/", "delete/"):
                client.post(f"/admin/orders/orderhold/{pk}/{path}", {**EVERY_FIELD, "post": "yes"})
        for path in ("change/", "delete/"):
            client.post(f"/admin/orders/salesorder/{frozen.pk}/{path}", EVERY_FIELD)
        for action in ("delete_selected", "release_holds"):
            for model, keys in (("salesorder", [frozen.pk]), ("orderhold", before)):
                client.post(
                    f"/admin/orders/{model}/",
                    {"action": action, "_selected_action": keys, "confirmed": "1", "count": "1",
                     "reason": REASON, "seen": [f"{frozen.pk}:{frozen.version}"], "post": "yes",
                     "select_across": "1"},
                )  # fmt: skip
        for pk in before:
            client.post("/admin/orders/orderhold/add/", {**EVERY_FIELD, "id": pk})
        assert stands(frozen, before)


def test_a_release_takes_no_hold_of_another_order_or_kind(
    as_role: AsRole, seller: Seller, frozen: SalesOrder
) -> None:
    other = take_one(seller.shop, draft(line(amount="80.00")))
    before = hold_ids(frozen)
    for role in (Role.REVIEWER, Role.WAREHOUSE_SUPERVISOR, Role.FINANCE, Role.CEO):
        client = as_role(role)
        post = decision(OrderHold.objects.open().filter(order=other).get(), "release")
        client.post(f"/orders/{other.number}/decide/", post | {"hold": before})
        for verb in ("approve", "cancel"):
            post = {"verb": verb, "version": frozen.version, "hold": before, "reason": REASON}
            client.post(f"/orders/{frozen.number}/decide/", post)
        assert stands(frozen, before)


def test_the_api_writes_nothing(root: Client, as_role: AsRole, frozen: SalesOrder) -> None:
    before = hold_ids(frozen)
    for client in (root, as_role(Role.CEO), as_role(Role.WAREHOUSE_SUPERVISOR)):
        for path in ("/api/orders/", f"/api/orders/{frozen.number}/",
                     f"/api/orders/{frozen.number}/release/"):  # fmt: skip
            for method in (client.post, client.put, client.patch, client.delete):
                answer = method(path, {"status": "routed"}, content_type="application/json")
                assert answer.status_code >= 400
    assert stands(frozen, before)


def test_neither_the_platform_nor_an_import_ends_one(seller: Seller) -> None:
    told = draft(line(amount="50.00"), paid=False)
    order = take_one(seller.shop, told)
    before = hold_ids(order)
    for news in (paid(told), again(told, 5), again(told, 9, seller_memo="已核实可以发货")):
        take_drafts([(seller.shop.pk, news)], actor=PIPELINE, now=timezone.now())
    kept = OrderHold.objects.open().filter(pk__in=before)
    assert set(kept.values_list("pk", flat=True)) == set(before)
    order.refresh_from_db()
    assert order.status != OrderStatus.ROUTED


def test_no_job_ends_one_that_has_no_end(frozen: SalesOrder) -> None:
    before = hold_ids(frozen)
    late = timezone.now() + timedelta(days=400)
    every: list[Callable[..., str]] = [
        holding.expire_holds, jobs.look_again, jobs.work_unmapped, jobs.escalate,
    ]  # fmt: skip
    for job in every:
        job(now=late)
    assert hold_ids(frozen) == before


def test_no_stage_lets_a_held_parcel_out(seller: Seller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "_ask_carrier", Carrier())
    boss = user_with(Role.WAREHOUSE_SUPERVISOR)
    order = take_one(seller.shop, draft())
    waybill = print_label(order, boss)
    decisions.freeze_order(order.pk, user=boss, actor=as_person(boss), reason=REASON)
    before = hold_ids(order)
    ways: list[Callable[[], object]] = [
        partial(stages.ship_parcel, waybill.parcel_id, user=boss, actor=as_person(boss),
                tracking_number=waybill.number),
        partial(stages.request_label, waybill.parcel_id, user=boss, actor=as_person(boss)),
    ]  # fmt: skip
    ways += [
        partial(stages.finish_task, task.pk, user=boss, actor=as_person(boss))
        for task in StageTask.objects.filter(order=order, state="open")
    ]
    for way in ways:
        with pytest.raises(OrderCenterError):
            way()
    assert hold_ids(order) == before
    assert not Parcel.objects.filter(order=order, state=Parcel.State.SHIPPED).exists()


def test_the_database_itself_ends_no_tier_three_that_nobody_asked_for(
    frozen: SalesOrder,
) -> None:
    statements = (
        ("tier3_release_was_asked", "released_by = 'person:1'"),
        ("hold_not_released_by_asker", "asked_by = 'person:1', released_by = 'person:1'"),
    )
    for wall, change in statements:
        with (
            pytest.raises(IntegrityError, match=wall),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(
                f"UPDATE orders_orderhold SET released_at = now(), {change} "  # noqa: S608
                "WHERE order_id = %s AND tier = '3'",
                [frozen.pk],
            )


def test_who_entered_an_order_lets_it_pass_nowhere(seller: Seller) -> None:
    maker, other = user_with(Role.REVIEWER, username="maker"), user_with(Role.REVIEWER)
    at = timezone.now()
    take_drafts(
        [(seller.shop.pk, told := draft(line(amount="80.00")))], actor=Actor.person(maker), now=at
    )
    order = SalesOrder.objects.get(channel_number=told.channel_number)
    assert AuditRecord.objects.get(object_id=order.pk, version=1).action == Action.ORDER_TAKEN

    def release(user: object) -> None:
        decisions.release_order(
            order.pk, hold_ids(order), user=user, actor=as_person(user),  # type: ignore[arg-type]
            seen_version=order.version, reason=REASON,
        )  # fmt: skip

    with pytest.raises(OwnOrder) as refused:
        release(maker)
    assert refused.value.http_status == 403
    assert hold_ids(order)
    release(other)
    assert not hold_ids(order)
