"""A set on trial: it says where it disagrees, and leaves no other trace."""

import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection, models, transaction

from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import decisions
from risk import sets, shadow
from risk.models import RuleSet, ShadowVerdict
from tests.factories import user_with
from tests.pipeline.seller import (
    REASON,
    Seller,
    as_person,
    buyer,
    draft,
    hold_ids,
    holds,
    line,
    take,
    take_one,
)
from tests.risk.rule_life import a_rule, committed, live

NOON = datetime(2026, 11, 11, 4, tzinfo=UTC)
CHANGES_BY_ITSELF = {("orders_salesorder", "receiver_sealed")}
"""Sealed anew with another nonce each time."""


@pytest.fixture
def keeper() -> User:
    return user_with(Role.OPERATIONS_SUPERVISOR)


def on_trial(*rules: dict[str, Any], version: int = 2) -> RuleSet:
    row = committed(*rules, version=version)
    sets.set_shadow(version, user_with(Role.OPERATIONS_SUPERVISOR))
    return row


def amount(text: str) -> Any:
    return draft(line(amount=text))


# --- what is written ------------------------------------------------------------------------------


@pytest.mark.django_db
def test_only_where_the_two_disagree_anything_is_written(seller: Seller) -> None:
    live(a_rule(value="500"))
    on_trial(a_rule(value="300"), a_rule("tag", value="100", tier="0"))
    cheap, middle, dear = take(seller.shop, amount("90"), amount("300"), amount("600"))
    rows = {row.order_id: row for row in ShadowVerdict.objects.all()}
    assert cheap.pk not in rows
    assert (rows[middle.pk].tier, rows[middle.pk].live_tier) == ("2", "0")
    assert [hit["code"] for hit in rows[middle.pk].hits] == ["dear", "tag"]
    assert [hit["code"] for hit in rows[dear.pk].live_hits] == ["dear"]
    assert (rows[dear.pk].rule_set_version, rows[dear.pk].live_version) == (2, 1)
    assert [holds(order) for order in (cheap, middle, dear)] == [set(), set(), {"rule:dear"}]


def rows_of_everything() -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table but the trial's own, without what no two runs share."""
    found = {}
    with connection.cursor() as cursor:
        for model in apps.get_models():
            table = model._meta.db_table
            if model is ShadowVerdict or not model._meta.managed:
                continue
            columns = [
                field.column for field in model._meta.concrete_fields
                if (table, field.column) not in CHANGES_BY_ITSELF
            ]  # fmt: skip
            names = ", ".join(f'"{column}"::text' for column in columns)
            cursor.execute(f'SELECT {names} FROM "{table}"')  # noqa: S608 - our own tables
            found[table] = sorted(cursor.fetchall(), key=str)
    return found


def set_sequences_to(value: int) -> None:
    with connection.cursor() as cursor:
        for model in apps.get_models():
            if isinstance(model._meta.pk, models.AutoField | models.BigAutoField):
                cursor.execute(
                    "SELECT setval(s, %s) FROM pg_get_serial_sequence(%s, %s) AS s "
                    "WHERE s IS NOT NULL",
                    [value, f'"{model._meta.db_table}"', model._meta.pk.column],
                )


def life_with(seller: Seller, *, trial: bool, told: list[Any], user: User) -> Any:
    """Everything stored after these orders came in and one was released; then all is undone."""
    set_sequences_to(1_000_000)
    with transaction.atomic():
        RuleSet.objects.filter(version=2).update(is_shadow=trial)
        orders = take(seller.shop, *told, now=NOON)
        held = next(order for order in orders if holds(order))
        decisions.release_order(
            held.pk, hold_ids(held), user=user, actor=as_person(user), seen_version=held.version,
            reason=REASON,
        )  # fmt: skip
        RuleSet.objects.filter(version=2).update(is_shadow=False)
        differ = ShadowVerdict.objects.count()
        found = rows_of_everything()
        transaction.set_rollback(True)
    return found, differ


@pytest.mark.django_db
def test_a_trial_leaves_the_rest_of_the_database_as_it_would_be_without_it(
    seller: Seller, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("ordercenter.pipeline.decisions", "ordercenter.audit.services"):
        monkeypatch.setattr(f"{module}.clock_now", lambda: NOON)
    live(a_rule(value="500"))
    on_trial(
        a_rule(value="50", tier="3", outcome={"tier": "3", "priority": 50, "notify": [
            {"to": "supervisors", "template": "rule_hit"}]}),
        a_rule("fills", value="1", outcome={"tier": "1", "fill": {"buyer_remark": "无"}}),
    )  # fmt: skip
    told = [
        draft(line(amount=text), at=NOON, evidence=buyer("b1")) for text in ("90", "300", "600")
    ]
    without, none = life_with(seller, trial=False, told=told, user=boss)
    with_it, some = life_with(seller, trial=True, told=told, user=boss)
    assert (none, some) == (0, 3)
    differing = [table for table, rows in without.items() if rows != with_it[table]]
    assert differing == []
    assert len(without["orders_salesorder"]) == 3


@pytest.mark.django_db
def test_the_comparison_would_see_one_changed_column(seller: Seller, boss: User) -> None:
    live(a_rule(value="500"))
    committed(a_rule())
    told = [draft(line(amount="600"), at=NOON)]
    one, _ = life_with(seller, trial=False, told=told, user=boss)
    SalesOrder.objects.update(priority=1)
    told = [draft(line(amount="601"), at=NOON)]
    other, _ = life_with(seller, trial=False, told=told, user=boss)
    assert one["orders_salesorder"] != other["orders_salesorder"]


@pytest.fixture
def _broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial breaks in the middle of its own statements."""

    def fails(*_: Any, **__: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")

    monkeypatch.setattr(shadow, "_write", fails)


@pytest.mark.django_db
@pytest.mark.usefixtures("_broken")
def test_a_trial_that_breaks_hurts_nobody(seller: Seller, caplog: pytest.LogCaptureFixture) -> None:
    live(a_rule(value="500"))
    on_trial(a_rule("other", value="1"))
    with caplog.at_level(logging.ERROR, logger="risk.shadow"):
        order = take_one(seller.shop, amount("600"))
    assert holds(order) == {"rule:dear"}
    assert "the trial left a batch out" in caplog.text
    assert not ShadowVerdict.objects.exists()


@pytest.mark.django_db
def test_judged_again_the_newest_word_counts_and_agreement_takes_it_back(
    seller: Seller, boss: User
) -> None:
    live()
    on_trial(a_rule(value="100"))
    order = take_one(seller.shop, amount("150"))
    assert ShadowVerdict.objects.get().order_id == order.pk
    RuleSet.objects.filter(version=1).update(is_live=False)
    live(a_rule(value="100"), version=3)
    decisions.edit_receiver(
        order.pk, user=user_with(Role.REVIEWER), actor=as_person(boss),
        seen_version=order.version, receiver={
            "name": "李四", "phone": "13900000001", "province": "江苏省", "city": "苏州市",
            "district": "虎丘区", "address": "星湖街9号"},
    )  # fmt: skip
    assert not ShadowVerdict.objects.exists()


# --- what becomes of it ---------------------------------------------------------------------------


@pytest.mark.django_db
def test_one_set_at_a_time_is_on_trial_and_the_live_one_never(keeper: User) -> None:
    live(a_rule())
    on_trial(a_rule(value="1"))
    third = on_trial(a_rule(value="2"), version=3)
    assert list(RuleSet.objects.filter(is_shadow=True)) == [third]
    with pytest.raises(Exception, match="试运行"):
        sets.set_shadow(1, keeper)
    assert sets.set_shadow(None, keeper) is None
    assert not RuleSet.objects.filter(is_shadow=True).exists()


@pytest.mark.django_db
def test_the_figures_of_a_trial_count_what_people_said(seller: Seller, keeper: User) -> None:
    live(a_rule(value="500"))
    row = on_trial(a_rule(value="300"), a_rule("other", value="90000"))
    orders = take(seller.shop, amount("90"), amount("300"), amount("400"), amount("600"))
    found = shadow.trial_of(row)
    assert (found.judged, found.differ, found.stricter, found.looser) == (4, 2, 2, 0)
    assert found.by_rule == (("dear", 2),)
    assert found.precision is None
    pks = list(shadow.divergences(2, label="").values_list("pk", flat=True))
    assert shadow.label(pks[:1], "right", keeper, version=2) == 1
    assert shadow.label(pks[1:], "wrong", keeper, version=2) == 1
    found = shadow.trial_of(row)
    assert (found.right, found.wrong, found.unlabeled, found.precision) == (1, 1, 0, 0.5)
    assert {one.order_id for one in shadow.divergences(2)} == {orders[1].pk, orders[2].pk}
    assert found.since is not None
    assert found.since <= clock_now()


@pytest.mark.django_db
def test_only_who_keeps_rules_labels_and_only_right_or_wrong(keeper: User) -> None:
    live()
    on_trial(a_rule())
    with pytest.raises(NotAllowed):
        shadow.label([1], "right", user_with(Role.REVIEWER), version=2)
    for pks, label in (([1], "maybe"), ([], "right"), (list(range(501)), "right")):
        with pytest.raises(InvalidInput):
            shadow.label(pks, label, keeper, version=2)
