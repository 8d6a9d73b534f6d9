"""An interception that starts at a time: agreed on before, started once, withdrawn until then."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from ordercenter.audit.models import AuditRecord
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Role
from ordercenter.orders.errors import SelfApproval
from ordercenter.orders.models import Interception, SalesOrder
from ordercenter.pipeline.interception import acts, planned
from ordercenter.pipeline.interception.gates import Condition
from tests.factories import user_with
from tests.pipeline.seller import (
    Carrier,
    Seller,
    as_person,
    draft,
    holds,
    open_seller,
    print_label,
    ship,
    somebody,
    take_one,
)
from tests.races.tools import meeting, unlocked

WORDS = "江苏省暂停发货"
REASON = "台风将至，提前安排"
HOUR = timedelta(hours=1)


def plan(boss: User, **changes: Any) -> Interception:
    condition = Condition.read({"places": [["江苏省", "", ""]]})
    told = {"text": WORDS, "condition": condition, "words": WORDS, "reason": REASON,
            "begins_at": clock_now() + HOUR, **changes}  # fmt: skip
    return acts.ask(acts.Wish(**told), user=boss, actor=as_person(boss))


def agree(row: Interception) -> Interception:
    second = user_with(Role.OPERATIONS_SUPERVISOR)
    return acts.approve(row.pk, user=second, actor=as_person(second))


def started(row: Interception) -> int:
    told = AuditRecord.objects.filter(object_type="interception", object_id=row.pk)
    return told.filter(action="intercept_started").count()


@pytest.mark.django_db
def test_it_stops_nothing_before_its_time_and_everything_from_then_on(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    before = take_one(seller.shop, draft())
    row = plan(boss)
    assert row.state == "asked"  # nobody can count today what it will stop
    with pytest.raises(SelfApproval):
        acts.approve(row.pk, user=boss, actor=as_person(boss))
    for _click in range(2):
        assert agree(row).state == "planned"
    elsewhere = somebody(province="浙江省", city="杭州市", district="余杭区")
    inside, outside = (
        take_one(seller.shop, draft()),
        take_one(seller.shop, draft(receiver=elsewhere)),
    )
    assert planned.start_due() == "0 planned interceptions started"
    assert ship(before, boss).state == "shipped"
    assert planned.start_due(now=clock_now() + HOUR) == "1 planned interceptions started"
    assert planned.start_due(now=clock_now() + HOUR) == "0 planned interceptions started"
    assert (holds(inside), holds(outside)) == ({f"intercept:i{row.pk}"}, set())
    assert holds(take_one(seller.shop, draft())) == {f"intercept:i{row.pk}"}
    assert started(row) == 1


@pytest.mark.django_db
def test_what_is_agreed_on_after_its_time_starts_at_once(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft())
    row = plan(boss)
    second = user_with(Role.CEO)
    later = clock_now() + 2 * HOUR
    assert acts.approve(row.pk, user=second, actor=as_person(second), now=later).state == "active"
    assert holds(order) == {f"intercept:i{row.pk}"}


@pytest.mark.django_db
def test_until_its_time_it_is_withdrawn_by_a_click_and_then_never_starts(
    seller: Seller, boss: User
) -> None:
    row = agree(plan(boss))
    acts.lift(row.pk, user=boss, actor=as_person(boss), reason="台风转向，不用停了")
    row.refresh_from_db()
    assert row.state == "refused"
    assert planned.start_due(now=clock_now() + HOUR) == "0 planned interceptions started"
    assert started(row) == 0


@pytest.mark.django_db
def test_what_was_missed_whole_does_not_start_and_says_so(boss: User) -> None:
    row = agree(plan(boss, ends_at=clock_now() + 2 * HOUR))
    assert planned.start_due(now=clock_now() + 3 * HOUR) == "0 planned interceptions started"
    row.refresh_from_db()
    assert (row.state, row.end_reason, started(row)) == ("expired", planned.MISSED, 0)


@pytest.mark.django_db
def test_it_cannot_end_before_it_begins_nor_begin_in_two_years(boss: User) -> None:
    with pytest.raises(InvalidInput):
        plan(boss, ends_at=clock_now() + HOUR / 2)
    with pytest.raises(InvalidInput):
        plan(boss, begins_at=clock_now() + timedelta(days=730))


@pytest.mark.django_db
def test_a_carrier_is_stopped_and_the_others_go_on(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = take_one(seller.shop, draft())
    waybill = print_label(order, boss)
    for carriers, stopped in ((["jdl"], set()), ([waybill.carrier], {"intercept"})):
        row = plan(boss, begins_at=None, condition=Condition.read({"carriers": carriers}))
        assert row.state == "active"
        assert {kind.partition(":")[0] for kind in holds(order)} == stopped


@pytest.mark.django_db
def test_the_box_previews_a_beginning_and_the_page_takes_it_back(
    seller: Seller, boss: User, client: Client
) -> None:
    order = take_one(seller.shop, draft())
    backend = "django.contrib.auth.backends.ModelBackend"
    client.force_login(boss, backend=backend)
    box = client.get("/intercept/", {"q": "明天0点起江苏停发 到后天8点"})
    page = box.content.decode()
    assert "现在符合的 1 单" in page
    assert "提交，等第二人确认" in page
    told = {"plan": box.context["plan"], "count": "1", "reason": REASON}
    client.post("/intercept/start/", told)
    client.post("/intercept/start/", told)
    row = Interception.objects.get()
    assert (row.state, row.begins_at is not None) == ("asked", True)
    second = user_with(Role.OPERATIONS_SUPERVISOR)
    client.force_login(second, backend=backend)
    assert "确认，到时开始" in client.get("/intercept/").content.decode()
    client.post(f"/intercept/{row.pk}/act/", {"verb": "approve"})
    page = client.get("/intercept/").content.decode()
    assert "取消预约" in page
    for _click in range(2):
        client.post(f"/intercept/{row.pk}/act/", {"verb": "refuse", "reason": "台风转向不停了"})
    row.refresh_from_db()
    assert (row.state, holds(order)) == ("refused", set())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_locked", [True, False])
def test_two_workers_at_one_moment_start_it_once(
    is_locked: bool, run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the locks it would be started twice: the control."""
    boss, seller = user_with(Role.WAREHOUSE_SUPERVISOR), open_seller()
    with transaction.atomic():
        take_one(seller.shop, draft())
    row = agree(plan(boss))
    meet, look = meeting(2), acts.locked_row

    def look_and_wait(pk: int) -> Interception:
        found = look(pk)
        meet()
        return found

    monkeypatch.setattr(acts, "locked_row", look_and_wait)
    if not is_locked:
        monkeypatch.setattr(acts, "take_turn", lambda: None)
        unlocked(monkeypatch, "orders_interception")
    later = clock_now() + HOUR
    start = partial(planned.start_due, now=later)
    run_together(start, start)
    assert started(row) == (1 if is_locked else 2)
    assert SalesOrder.objects.filter(holds__interception=row).count() == 1
