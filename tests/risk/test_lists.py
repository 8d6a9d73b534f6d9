"""Lists that rules ask: who stands on them when, and what of a handed-in table counts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import Role
from ordercenter.orders.models import OrderEvidence
from risk import lists
from risk.lists import Told
from risk.models import RuleList, RuleListEntry
from tests.factories import SkuFactory, user_with
from tests.pipeline.seller import buyer, draft, open_seller, somebody, take_one

pytestmark = pytest.mark.django_db
Kind, Key = RuleList.Kind, RuleList.Key
PHONE = "13912345678"


@pytest.fixture
def keeper() -> User:
    return user_with(Role.OPERATIONS_SUPERVISOR)


def a_list(key: str, code: str = "l") -> str:
    RuleList.objects.create(code=code, name=code, kind=Kind.BLACK, key=key)
    return code


def put(code: str, *values: str, user: User, **more: Any) -> lists.Added:
    rows = [Told(value, number=n) for n, value in enumerate(values, 1)]
    return lists.add_entries(code, rows, user=user, **{"reason": "多次恶意退款", **more})


def test_what_is_typed_becomes_the_very_keys_an_order_has(keeper: User) -> None:
    seller = open_seller()
    told = draft(
        receiver=somebody(phone=PHONE, address="星湖街328号"),
        evidence=buyer("夏天的风", device="d-1", ip="10.1.2.3"),
    )
    order = take_one(seller.shop, told)
    keys = OrderEvidence.objects.get(order=order)
    typed = {
        Key.PHONE: ("+86 139-1234-5678", keys.phone_key),
        Key.ADDRESS: ("江苏苏州虎丘区 星湖街328号", keys.address_key),
        Key.BUYER: (f"{seller.shop.code}:夏天的风", keys.buyer_key),
        Key.DEVICE: ("d-1", keys.device_key),
        Key.IP: ("10.1.2.3", keys.ip),
    }
    for key, (text, value) in typed.items():
        code = a_list(key, f"l-{key}")
        assert put(code, text, user=keeper).bad == ()
        entry = RuleListEntry.objects.get(rule_list__code=code)
        assert entry.value == value != ""
        assert lists.on_list(code, {value}, clock_now()) == {value}
        if key in {Key.PHONE, Key.ADDRESS, Key.BUYER}:
            assert "12345" not in entry.shown
            assert "328" not in entry.shown
            assert "的风" not in entry.shown


@pytest.mark.parametrize("key", [Key.BUYER, Key.PHONE, Key.ADDRESS, Key.DEVICE, Key.IP])
def test_an_orders_number_stands_for_what_that_order_is_recognized_by(
    keeper: User, key: str
) -> None:
    seller = open_seller()
    order = take_one(seller.shop, draft(evidence=buyer("b", device="d", ip="10.0.0.1")))
    keys = OrderEvidence.objects.get(order=order)
    value = keys.ip if key == Key.IP else getattr(keys, f"{key}_key")
    added = put(a_list(key), order.number, "TB20250101000000999999", user=keeper)
    assert (added.added, [bad.number for bad in added.bad]) == (1, [2])
    assert RuleListEntry.objects.get().value == value


@pytest.mark.parametrize(
    ("key", "typed"),
    [
        (Key.PHONE, "139****5678"),
        (Key.PHONE, "13912345678-1234"),
        (Key.PHONE, "夏天"),
        (Key.ADDRESS, "星湖街328号"),
        (Key.ADDRESS, "江苏省苏州市虎丘区***"),
        (Key.ADDRESS, "江苏省苏州市"),
        (Key.BUYER, "夏天的风"),
        (Key.BUYER, "nowhere:夏天的风"),
        (Key.IP, "10.0.0.256"),
        (Key.SKU, "NOT-THERE"),
        (Key.REGION, "火星省"),
        (Key.REGION, "江苏省苏州市虎丘区星湖街328号"),
        (Key.REGION, "吉林"),
        (Key.WORD, "   "),
        (Key.WORD, "字" * 101),
        (Key.DEVICE, "x\0"),
        (Key.DEVICE, "x" * 201),
    ],
)
def test_what_cannot_be_read_is_told_by_row_and_the_others_count(
    keeper: User, key: str, typed: str
) -> None:
    good: dict[str, str] = {
        Key.PHONE: PHONE, Key.ADDRESS: "江苏省苏州市虎丘区星湖街1号", Key.IP: "::1",
        Key.SKU: "LAMP", Key.REGION: "新疆", Key.WORD: "代拍", Key.DEVICE: "d",
    }  # fmt: skip
    if key == Key.SKU:
        SkuFactory.create(code="LAMP")
    rest = [good[key]] if key in good else []
    added = put(a_list(key), typed, *rest, user=keeper)
    assert (added.added, [bad.number for bad in added.bad]) == (len(rest), [1])
    assert added.bad[0].words


def test_regions_are_named_in_full_and_words_are_made_alike(keeper: User) -> None:
    put(a_list(Key.REGION, "r"), "江苏", "苏州市", "北京朝阳区", user=keeper)
    put(a_list(Key.WORD, "w"), "\uff21 货", user=keeper)
    values = set(RuleListEntry.objects.values_list("value", flat=True))
    assert values == {"江苏省", "江苏省苏州市", "北京市朝阳区", "a货"}


def test_who_is_listed_already_is_known_and_another_end_is_a_new_entry(keeper: User) -> None:
    code, now = a_list(Key.PHONE), clock_now()
    put(code, PHONE, user=keeper, now=now)
    assert put(code, PHONE, "86 13912345678", user=keeper).known == 1
    ends = now + timedelta(days=3)
    assert put(code, PHONE, user=keeper, expires_at=ends, now=now + timedelta(hours=1)).added == 1
    first, second = RuleListEntry.objects.order_by("pk")
    assert (first.removed_at, second.expires_at) == (now + timedelta(hours=1), ends)


def test_an_entry_counts_from_its_beginning_until_just_before_its_end(keeper: User) -> None:
    code, start = a_list(Key.WORD), datetime(2026, 11, 1, tzinfo=UTC)
    end = start + timedelta(days=1)
    put(code, "代拍", user=keeper, now=start, expires_at=end)
    tick = timedelta(microseconds=1)
    for moment, stands in ((start - tick, False), (start, True), (end - tick, True), (end, False)):
        assert bool(lists.on_list(code, {"代拍"}, moment)) is stands
        assert lists.entries_of(code, at=moment).exists() is stands
    again = end + timedelta(days=1)
    assert put(code, "代拍", user=keeper, now=again).added == 1
    assert [bool(lists.on_list(code, {"代拍"}, at)) for at in (start, end, again)] == [
        True, False, True,
    ]  # fmt: skip


def test_who_is_taken_off_stays_in_the_history(keeper: User) -> None:
    code, start = a_list(Key.WORD), clock_now()
    put(code, "代拍", user=keeper, now=start)
    entry, later = RuleListEntry.objects.get(), start + timedelta(hours=1)
    lists.remove_entry(entry.pk, user=keeper, reason="误加", now=later)
    lists.remove_entry(entry.pk, user=keeper, reason="又点一次", now=later + timedelta(hours=1))
    entry.refresh_from_db()
    assert entry.removed_at == later
    assert lists.on_list(code, {"代拍"}, start) == {"代拍"}
    assert lists.on_list(code, {"代拍"}, later) == frozenset()
    with pytest.raises(NotFound):
        lists.remove_entry(0, user=keeper, reason="误加")


def test_every_act_is_on_record_without_what_it_is_about(keeper: User) -> None:
    code = a_list(Key.PHONE)
    put(code, PHONE, user=keeper)
    lists.remove_entry(RuleListEntry.objects.get().pk, user=keeper, reason="误加")
    rows = AuditRecord.objects.filter(action=Action.LIST_CHANGED).order_by("pk")
    assert [sorted(row.change) for row in rows] == [
        ["added", "count", "list"], ["count", "list", "removed"],
    ]  # fmt: skip
    assert PHONE not in str([row.change for row in rows])


def test_pasted_lines_carry_their_reason_and_end() -> None:
    text = "值,原因,到期\n13912345678，恶意退款，2026-12-31\n\n13812345678\n1,x,someday\n"
    rows = lists.pasted(text)
    assert [(row.number, row.value, row.reason) for row in rows] == [
        (2, "13912345678", "恶意退款"), (4, "13812345678", ""), (5, "1", "x"),
    ]  # fmt: skip
    assert rows[0].expires_at == datetime(2026, 12, 31, 16, tzinfo=UTC)
    assert [row.expires_at for row in rows[1:]] == [None, lists.NO_DATE]


def test_a_bad_end_a_past_end_and_a_missing_reason_cost_their_own_row(keeper: User) -> None:
    code, now = a_list(Key.WORD), clock_now()
    rows = [
        Told("a", "好", lists.NO_DATE, 1), Told("b", "好", now - timedelta(days=1), 2),
        Told("c", "", None, 3), Told("d", "好", None, 4), Told("e", "长" * 501, None, 5),
    ]  # fmt: skip
    added = lists.add_entries(code, rows, user=keeper)
    assert (added.added, [bad.number for bad in added.bad]) == (1, [1, 2, 3, 5])


def test_a_table_without_its_column_too_many_rows_or_none_is_refused(keeper: User) -> None:
    code = a_list(Key.WORD)
    with pytest.raises(InvalidInput, match="值"):
        list(lists.from_table(["电话"], []))
    for count in (0, lists.MOST_ROWS + 1):
        with pytest.raises(InvalidInput):
            lists.add_entries(code, [Told("x", "y")] * count, user=keeper)
    with pytest.raises(NotFound):
        put("nowhere", "x", user=keeper)


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.CEO, Role.CLERK, Role.IT])
def test_only_who_keeps_lists_changes_them(role: Role) -> None:
    code, user = a_list(Key.WORD), user_with(role)
    for act in (
        lambda: put(code, "代拍", user=user),
        lambda: lists.remove_entry(1, user=user, reason="误加"),
        lambda: lists.make_list("x", "x", kind=Kind.BLACK, key=Key.WORD, user=user),
        lambda: lists.take_over({"code": code, "key": Key.WORD}, user=user),
    ):
        with pytest.raises(NotAllowed):
            act()


def test_a_new_list_has_a_code_of_its_own(keeper: User) -> None:
    made = lists.make_list("vip", "老客户", kind=Kind.TRUSTED, key=Key.PHONE, user=keeper)
    assert made.name == "老客户"
    for code in ("vip", "", "1x", "x" * 41, "名单", "a b"):
        with pytest.raises(InvalidInput):
            lists.make_list(code, "x", kind=Kind.TRUSTED, key=Key.PHONE, user=keeper)
    with pytest.raises(InvalidInput):
        lists.make_list("y", "x", kind="evil", key=Key.PHONE, user=keeper)


def test_the_lists_of_the_shipped_rules_are_made_once() -> None:
    RuleList.objects.all().delete()
    assert lists.ensure_lists() == len(lists.SHIPPED)
    assert lists.ensure_lists() == 0
