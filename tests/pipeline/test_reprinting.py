"""A label is printed twice: the same number, for a reason that is on record."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from ordercenter.audit.models import AuditRecord
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.policy import Role
from ordercenter.orders.errors import OrderHeld, WrongState
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import decisions, reprinting
from ordercenter.pipeline.reprinting import reprint_label
from tests.factories import user_with
from tests.pipeline.seller import (
    REASON,
    Carrier,
    Seller,
    as_person,
    draft,
    pick,
    print_label,
    ship,
    take,
    take_one,
    versions,
)

pytestmark = pytest.mark.django_db


def told(order: SalesOrder) -> list[AuditRecord]:
    rows = AuditRecord.objects.filter(object_type="order", object_id=order.pk)
    return list(rows.filter(action="label_reprinted").order_by("pk"))


def test_a_label_is_printed_again_for_a_reason_on_record(
    seller: Seller, boss: User, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = take_one(seller.shop, draft())
    first = print_label(order, boss)
    for _press in range(2):
        again = reprint_label(first.parcel_id, why="torn", user=boss, actor=as_person(boss))
        assert (again.pk, again.number) == (first.pk, first.number)
    assert carrier.asked == [first.client_reference]
    (row,) = told(order)
    assert (row.reason, row.change["waybill"]) == ("面单破损或打印不清", first.number)
    assert row.actor_id == str(boss.pk)
    monkeypatch.setattr(reprinting, "ONE_PRESS", reprinting.ONE_PRESS * 0)
    reprint_label(first.parcel_id, why="lost", user=boss, actor=as_person(boss))
    assert [row.reason for row in told(order)][1:] == ["面单遗失"]
    order.refresh_from_db()
    assert versions(order) == list(range(1, order.version + 1))


@pytest.mark.parametrize("why", ["", "because"])
def test_without_a_reason_nothing_is_printed(
    seller: Seller, boss: User, carrier: Carrier, why: str
) -> None:
    order = take_one(seller.shop, draft())
    waybill = print_label(order, boss)
    with pytest.raises(InvalidInput):
        reprint_label(waybill.parcel_id, why=why, user=boss, actor=as_person(boss))
    assert not told(order)


def test_what_stands_still_has_left_or_has_no_label_yet_is_not_printed_again(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    frozen, gone, bare = take(seller.shop, draft(), draft(), draft())
    waybill, shipped, picked = print_label(frozen, boss), ship(gone, boss), pick(bare, boss)
    decisions.freeze_order(frozen.pk, user=boss, actor=as_person(boss), reason=REASON)
    refusals = ((waybill.parcel_id, OrderHeld), (shipped.pk, WrongState), (picked.pk, WrongState))
    for parcel, refusal in refusals:
        with pytest.raises(refusal):
            reprint_label(parcel, why="torn", user=boss, actor=as_person(boss))
    stranger = user_with(Role.PACKER)
    with pytest.raises(NotFound):
        reprint_label(waybill.parcel_id, why="torn", user=stranger, actor=as_person(stranger))


def test_the_bench_offers_it_with_a_pick_list(
    seller: Seller, boss: User, carrier: Carrier, client: Client
) -> None:
    order = take_one(seller.shop, draft())
    waybill = print_label(order, boss)
    client.force_login(boss, backend="django.contrib.auth.backends.ModelBackend")
    page = client.get("/work/scan/", {"code": waybill.number}).content.decode()
    assert all(str(words) in page for _, words in reprinting.Why.choices)
    path = f"/work/parcels/{waybill.parcel_id}/reprint/"
    assert client.post(path).status_code == 422
    done = client.post(path, {"why": "jam"}, follow=True).content.decode()
    assert f"补打面单 {waybill.number}" in done
    assert len(told(order)) == 1
