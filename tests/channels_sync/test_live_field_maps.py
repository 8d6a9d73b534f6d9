"""Which map counts for a shop, from when, and that a version is kept, made live and taken back."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User

from channels_sync import field_maps
from channels_sync.connectors import CONNECTORS
from channels_sync.contracts import Unreadable
from channels_sync.field_maps import StaleFieldMap, live_field_map, make_live, save_version
from channels_sync.models import FieldMap
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed
from ordercenter.core.policy import Role
from tests.factories import ShopFactory, user_with

MEMO = {"order": {"seller_memo": {"from": ["their_memo"]}}}
REMARK = {"order": {"buyer_remark": {"from": ["their_remark"]}}}


@pytest.fixture(autouse=True)
def _ask_each_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(field_maps, "CACHED_SECONDS", 0.0)
    field_maps._LIVE.forget()
    yield
    field_maps._LIVE.forget()


@pytest.fixture
def it_person(db: None) -> User:
    return user_with(Role.IT)


def save(
    user: User, mapping: Any = MEMO, *, shop: Shop | None = None, follows: int = 0
) -> FieldMap:
    return save_version(
        "openjson", shop, mapping, follows=follows, note="改备注", user=user,
        actor=Actor.person(user), now=clock_now(),
    )  # fmt: skip


def live(user: User, row: FieldMap) -> None:
    make_live(row.pk, user=user, actor=Actor.person(user), reason="平台换了字段名")


def memo_path(shop_id: int | None) -> str:
    found = live_field_map("openjson", shop_id)
    assert found is not None
    entry: Any = found.source["order"]["seller_memo"]
    return str(entry["from"][0])


def test_without_a_row_the_packaged_map_counts(it_person: User) -> None:
    shop = ShopFactory.create(channel="openjson")
    assert live_field_map("openjson", shop.pk) is CONNECTORS["openjson"].default_map
    assert live_field_map("file", shop.pk) is None


def test_a_saved_version_counts_only_once_it_is_made_live(it_person: User) -> None:
    shop = ShopFactory.create(channel="openjson")
    row = save(it_person)
    assert memo_path(shop.pk) == "seller_memo"
    live(it_person, row)
    assert memo_path(shop.pk) == "their_memo"


def test_a_shops_own_map_goes_before_its_channels(it_person: User) -> None:
    one, other = (ShopFactory.create(channel="openjson") for _ in range(2))
    live(it_person, save(it_person))
    own = {"order": {"seller_memo": {"from": ["own_memo"]}}}
    live(it_person, save(it_person, own, shop=one))
    assert (memo_path(one.pk), memo_path(other.pk)) == ("own_memo", "their_memo")


def test_a_new_live_version_ends_the_old_one_and_the_packaged_one_comes_back(
    it_person: User,
) -> None:
    first = save(it_person)
    second = save(it_person, REMARK, follows=1)
    live(it_person, first)
    live(it_person, second)
    assert list(FieldMap.objects.filter(is_live=True)) == [second]
    field_maps.back_to_packaged(
        second.pk, user=it_person, actor=Actor.person(it_person), reason="恢复出厂设置"
    )
    assert not FieldMap.objects.filter(is_live=True).exists()
    assert live_field_map("openjson", None) is CONNECTORS["openjson"].default_map


def test_rows_are_never_changed(it_person: User) -> None:
    row = save(it_person)
    save(it_person, REMARK, follows=1)
    row.refresh_from_db()
    assert (row.version, row.mapping) == (1, MEMO)


def test_who_edited_an_older_version_learns_of_the_newer_one(it_person: User) -> None:
    save(it_person)
    with pytest.raises(StaleFieldMap):
        save(it_person, REMARK)
    assert FieldMap.objects.count() == 1


@pytest.mark.parametrize(
    "mapping", [{"order": {"channel_number": {"from": []}}}, {"order": {"nubmer": {}}}, [], None]
)
def test_a_map_that_cannot_work_is_not_kept(it_person: User, mapping: Any) -> None:
    with pytest.raises(InvalidInput):
        save(it_person, mapping)
    assert not FieldMap.objects.exists()


def test_a_shop_of_another_channel_gets_no_map_of_this_one(it_person: User) -> None:
    with pytest.raises(InvalidInput):
        save(it_person, shop=ShopFactory.create(channel="taobao"))


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.IT}))
def test_nobody_else_may(db: None, role: Role) -> None:
    user = user_with(role)
    with pytest.raises(NotAllowed):
        save(user)
    with pytest.raises(NotAllowed):
        make_live(1, user=user, actor=Actor.person(user), reason="试一试")
    with pytest.raises(NotAllowed):
        field_maps.back_to_packaged(1, user=user, actor=Actor.person(user), reason="试一试")


def test_every_change_is_on_record(it_person: User) -> None:
    first = save(it_person)
    live(it_person, first)
    live(it_person, first)
    second = save(it_person, {**MEMO, "line": {"title": {"from": ["name"]}}}, follows=1)
    live(it_person, second)
    told = AuditRecord.objects.filter(action=Action.FIELD_MAP_CHANGED).order_by("pk")
    assert [record.change for record in told] == [
        {"version": [0, 1], "order.seller_memo": [None, {"from": ["their_memo"]}]},
        {"live": [None, 1]},
        {"version": [1, 2], "line.title": [None, {"from": ["name"]}]},
        {"live": [1, 2]},
    ]


def test_a_live_version_that_no_longer_fits_keeps_orders_waiting(it_person: User) -> None:
    row = FieldMap.objects.create(
        channel="openjson", version=1, mapping={"order": {"gone": {"from": ["x"]}}},
        is_live=True, created_at=clock_now(),
    )  # fmt: skip
    with pytest.raises(Unreadable, match=r"v1.*order\.gone"):
        live_field_map("openjson", None)
    with pytest.raises(InvalidInput):
        live(it_person, row)


def test_the_map_that_counts_is_asked_for_once_in_a_while(
    it_person: User, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(field_maps, "CACHED_SECONDS", 60.0)
    live(it_person, save(it_person))
    field_maps._LIVE.forget()
    with django_assert_num_queries(2):  # the live rows, and the one that counts
        for shop_id in range(50):
            assert memo_path(shop_id) == "their_memo"


@pytest.mark.django_db(transaction=True)
def test_of_two_who_save_at_once_one_is_told(run_together: Any) -> None:
    user = user_with(Role.IT)
    results = run_together(partial(save, user), partial(save, user, REMARK))
    assert {type(result) for result in results} == {FieldMap, StaleFieldMap}


@pytest.mark.django_db(transaction=True)
def test_of_two_made_live_at_once_one_counts(run_together: Any) -> None:
    user = user_with(Role.IT)
    first, second = save(user), save(user, REMARK, follows=1)
    assert run_together(partial(live, user, first), partial(live, user, second)) == [None, None]
    assert FieldMap.objects.filter(is_live=True).count() == 1
