"""A set of rules on its way: draft, committed, live, retired, and what it takes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import Role
from ordercenter.orders.states import OrderStatus
from risk import sets
from risk.defaults import default_rules
from risk.errors import NoFreshReport, SelfActivation, StaleRules, WrongRuleState
from risk.models import Backtest, RuleSet
from risk.separation import author_of_live_change_today, changed_today
from tests.factories import SalesOrderFactory, user_with
from tests.races.tools import meeting
from tests.risk.rule_life import a_rule, committed, live, report_on

State = RuleSet.State
pytestmark = pytest.mark.django_db


@pytest.fixture
def keeper() -> User:
    return user_with(Role.OPERATIONS_SUPERVISOR)


@pytest.fixture
def other() -> User:
    return user_with(Role.WAREHOUSE_SUPERVISOR)


def records(row: RuleSet) -> list[Any]:
    found = AuditRecord.objects.filter(object_type="rule_set", object_id=row.pk).order_by("pk")
    return list(found.values_list("action", "change"))


def open_orders(count: int) -> list[str]:
    made = SalesOrderFactory.create_batch(count, status=OrderStatus.RESERVED)
    return [order.number for order in made]


# --- drafts ---------------------------------------------------------------------------------------


def test_a_draft_begins_as_the_live_set_and_names_it(keeper: User) -> None:
    live(a_rule(), version=4)
    draft = sets.new_draft(None, keeper, note=" 双十一 ")
    assert (draft.version, draft.based_on, draft.rules, draft.note) == (5, 4, [a_rule()], "双十一")
    assert (draft.state, draft.author) == (State.DRAFT, Actor.person(keeper).mark)
    assert sets.live_program().version == 4


def test_where_no_set_was_ever_live_the_shipped_one_decides_and_is_what_a_draft_begins_as(
    keeper: User,
) -> None:
    draft = sets.new_draft(None, keeper)
    assert (draft.version, draft.based_on, draft.rules) == (1, 0, default_rules())
    assert sets.live_program().version == 0


def test_a_draft_is_saved_by_who_saw_its_last_save(keeper: User, other: User) -> None:
    draft = sets.new_draft(None, keeper)
    sets.save_draft(draft.pk, [a_rule()], 0, keeper)
    with pytest.raises(StaleRules) as refused:
        sets.save_draft(draft.pk, [a_rule(value="1")], 0, other)
    assert keeper.get_username() in str(refused.value)
    draft.refresh_from_db()
    assert (draft.edits, draft.rules) == (1, [a_rule()])
    sets.save_draft(draft.pk, [a_rule(value="1")], 1, other)
    assert records(draft)[-1] == (
        Action.RULES_CHANGED, {"edits": [1, 2], "added": [], "changed": {"dear": ["when"]},
                               "removed": []},
    )  # fmt: skip


@pytest.mark.parametrize(
    "rules",
    [
        "not a list",
        [{"code": "x"}],
        [a_rule(value="-")],
        [a_rule(), a_rule()],
        [a_rule(name="\0")],
        [a_rule(note="\ud800")],
        [a_rule(note=float("nan"))],
        [a_rule(note="字" * (5 * 1024 * 1024))],
    ],
)
def test_what_is_no_rule_set_is_refused_in_words_and_nothing_is_saved(
    keeper: User, rules: Any
) -> None:
    draft = sets.new_draft(None, keeper)
    with pytest.raises(InvalidInput) as refused:
        sets.save_draft(draft.pk, rules, 0, keeper)
    assert str(refused.value)
    draft.refresh_from_db()
    assert draft.edits == 0


def test_what_is_committed_is_not_edited_any_more_not_even_past_the_service(keeper: User) -> None:
    draft = sets.new_draft(None, keeper)
    sets.save_draft(draft.pk, [a_rule()], 0, keeper)
    row = sets.commit_draft(draft.pk, keeper, seen_edits=1)
    assert row.state == State.COMMITTED
    with pytest.raises(WrongRuleState):
        sets.save_draft(draft.pk, [], 1, keeper)
    with pytest.raises(WrongRuleState):
        sets.commit_draft(draft.pk, keeper)
    with pytest.raises(IntegrityError), transaction.atomic():
        RuleSet.objects.filter(pk=draft.pk).update(rules=[])


def test_a_draft_that_somebody_saved_meanwhile_is_not_committed(keeper: User) -> None:
    draft = sets.new_draft(None, keeper)
    sets.save_draft(draft.pk, [a_rule()], 0, keeper)
    with pytest.raises(StaleRules):
        sets.commit_draft(draft.pk, keeper, seen_edits=0)


@pytest.mark.parametrize("role", [Role.REVIEWER, Role.CLERK, Role.IT, Role.CEO, Role.FINANCE])
def test_who_works_the_cards_does_not_edit_the_rules_that_make_them(role: Role) -> None:
    user, row = user_with(role), committed(a_rule())
    acts: list[Callable[[], Any]] = [
        lambda: sets.new_draft(None, user),
        lambda: sets.save_draft(row.pk, [], 0, user),
        lambda: sets.commit_draft(row.pk, user),
        lambda: sets.ask_activation(row.pk, user),
        lambda: sets.roll_back(2, user),
        lambda: sets.set_shadow(2, user),
        lambda: sets.import_set([], user),
    ]
    for act in acts:
        with pytest.raises(NotAllowed):
            act()


def test_a_superuser_without_a_role_edits_no_rule() -> None:
    with pytest.raises(NotAllowed):
        sets.new_draft(None, user_with(username="root", is_superuser=True))


# --- going live -----------------------------------------------------------------------------------


def test_a_set_with_a_fresh_report_goes_live_and_counts_from_the_next_batch(keeper: User) -> None:
    old, row = live(a_rule()), committed(a_rule(value="100"))
    report_on(row)
    assert sets.live_program().version == 1
    assert sets.ask_activation(row.pk, keeper, reason="大促前收紧").state == State.LIVE
    assert sets.live_program().version == 2
    old.refresh_from_db()
    assert old.state == State.RETIRED
    action, change = records(row)[-1]
    assert action == Action.RULES_ACTIVATED
    assert change["live"] == [1, 2]
    assert change["changed"] == {"dear": ["when"]}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda report: report.delete(),
        lambda report: Backtest.objects.update(done_at=clock_now() - timedelta(hours=24)),
        lambda report: Backtest.objects.update(digest="0" * 64),
        lambda report: Backtest.objects.update(state=Backtest.State.FAILED),
        lambda report: Backtest.objects.update(rule_set=None),
    ],
)
def test_without_a_fresh_report_of_these_very_rules_nothing_goes_live(
    keeper: User, spoil: Callable[[Backtest], Any]
) -> None:
    live(a_rule())
    row = committed(a_rule(value="100"))
    spoil(report_on(row))
    with pytest.raises(NoFreshReport):
        sets.ask_activation(row.pk, keeper)
    assert sets.live_program().version == 1


def test_a_draft_does_not_go_live(keeper: User) -> None:
    draft = sets.new_draft(None, keeper)
    report_on(draft)
    with pytest.raises(WrongRuleState):
        sets.ask_activation(draft.pk, keeper)


@pytest.mark.parametrize(("hit", "state"), [(5, State.LIVE), (6, State.ASKED)])
def test_above_five_per_cent_of_the_open_orders_a_second_person_decides(
    keeper: User, hit: int, state: str
) -> None:
    live()
    numbers, row = open_orders(100), committed(a_rule())
    SalesOrderFactory.create_batch(20, status=OrderStatus.SHIPPED)
    report_on(row, {"dear": numbers[:hit]})
    assert sets.ask_activation(row.pk, keeper).state == state
    assert sets.live_program().version == (2 if state == State.LIVE else 1)


def test_rules_that_are_live_already_do_not_count_against_a_set(keeper: User) -> None:
    live(a_rule())
    numbers, row = open_orders(10), committed(a_rule(), a_rule("new", value="900000"))
    report_on(row, {"dear": numbers, "new": []})
    assert sets.ask_activation(row.pk, keeper).state == State.LIVE


def test_a_rule_that_only_tags_may_hit_everybody(keeper: User) -> None:
    live()
    numbers, row = open_orders(10), committed(a_rule(tier="0"))
    report_on(row, {"dear": numbers})
    assert sets.ask_activation(row.pk, keeper).state == State.LIVE


def test_a_report_that_names_only_some_of_its_orders_is_taken_for_its_share(keeper: User) -> None:
    live()
    open_orders(10)
    row = committed(a_rule())
    report_on(row, report={"orders": 100, "rules": [{"code": "dear", "hits": 6, "orders": []}]})
    assert sets.ask_activation(row.pk, keeper).state == State.ASKED


def test_a_report_about_other_times_says_nothing_of_the_open_orders(keeper: User) -> None:
    live()
    open_orders(10)
    row = committed(a_rule())
    report_on(row, since=clock_now() - timedelta(days=9), until=clock_now() - timedelta(days=8))
    assert sets.ask_activation(row.pk, keeper).state == State.ASKED


def test_a_rule_without_any_condition_takes_a_second_person(keeper: User) -> None:
    live()
    row = committed(a_rule(when={"all": []}, outcome={"tier": "0"}))
    report_on(row)
    assert sets.ask_activation(row.pk, keeper).state == State.ASKED


@pytest.mark.parametrize(
    "after",
    [
        [],
        [a_rule(enabled=False)],
        [a_rule(tier="1")],
    ],
)
def test_switching_off_a_rule_that_holds_orders_takes_a_second_person(
    keeper: User, other: User, after: list[dict[str, Any]]
) -> None:
    """X35: and both acts stand in the trail."""
    live(a_rule())
    row = committed(*after)
    report_on(row)
    assert sets.ask_activation(row.pk, keeper, reason="让这一批先过").state == State.ASKED
    assert sets.approve_activation(row.pk, other).state == State.LIVE
    asked, activated = records(row)[-2:]
    assert asked[1]["asked_by"] == ["", Actor.person(keeper).mark]
    assert activated[0] == Action.RULES_ACTIVATED


def test_the_second_person_is_neither_the_asker_nor_the_author(keeper: User, other: User) -> None:
    live(a_rule())
    third = user_with(Role.CEO)
    row = committed(author=Actor.person(other).mark)
    report_on(row)
    sets.ask_activation(row.pk, keeper)
    for own in (keeper, other):
        with pytest.raises(SelfActivation):
            sets.approve_activation(row.pk, own)
    with pytest.raises(NotAllowed):
        sets.approve_activation(row.pk, user_with(Role.REVIEWER))
    assert sets.approve_activation(row.pk, third).state == State.LIVE


def test_what_was_asked_for_too_long_ago_needs_a_new_report(keeper: User, other: User) -> None:
    live(a_rule())
    row = committed()
    report_on(row)
    sets.ask_activation(row.pk, keeper)
    with pytest.raises(NoFreshReport):
        sets.approve_activation(row.pk, other, now=clock_now() + timedelta(hours=25))


def test_a_refused_set_is_committed_again_and_can_be_asked_for_again(
    keeper: User, other: User
) -> None:
    live(a_rule())
    row = committed()
    report_on(row)
    sets.ask_activation(row.pk, keeper)
    assert sets.refuse_activation(row.pk, other, reason="现在不是时候").state == State.COMMITTED
    assert sets.ask_activation(row.pk, keeper).state == State.ASKED


def test_going_back_to_what_was_live_within_seven_days_needs_no_report(keeper: User) -> None:
    live(a_rule())
    row = committed(a_rule(), a_rule("more"))
    report_on(row)
    sets.ask_activation(row.pk, keeper)
    with pytest.raises(NotFound):
        sets.roll_back(99, keeper)
    # The set before had no "more", which holds orders: a second person.
    assert sets.roll_back(1, keeper).state == State.ASKED
    sets.approve_activation(RuleSet.objects.get(version=1).pk, user_with(Role.CEO))
    assert sets.live_program().version == 1
    assert sets.roll_back(2, keeper).state == State.LIVE
    assert sets.live_program().version == 2


def test_going_back_further_needs_a_report_like_anything_else(keeper: User) -> None:
    live(a_rule())
    row = committed(a_rule(), a_rule("more"))
    report_on(row)
    sets.ask_activation(row.pk, keeper)
    with pytest.raises(NoFreshReport):
        sets.roll_back(1, keeper, now=clock_now() + timedelta(days=8))


def test_a_second_click_is_refused_and_changes_nothing(keeper: User) -> None:
    live()
    row = committed(a_rule())
    report_on(row)
    sets.ask_activation(row.pk, keeper)
    before = records(row)
    with pytest.raises(WrongRuleState):
        sets.ask_activation(row.pk, keeper)
    assert records(row) == before


@pytest.mark.django_db(transaction=True)
def test_of_two_sets_that_go_live_at_once_one_is_live_in_the_end(
    keeper: User, other: User, run_together: Callable[..., list[Any]]
) -> None:
    live()
    rows = [committed(a_rule(), version=2), committed(a_rule(value="9"), version=3)]
    for row in rows:
        report_on(row)
    outcomes = run_together(
        lambda: sets.ask_activation(rows[0].pk, keeper),
        lambda: sets.ask_activation(rows[1].pk, other),
    )
    assert not [one for one in outcomes if isinstance(one, BaseException)], outcomes
    assert RuleSet.objects.filter(is_live=True).count() == 1
    assert RuleSet.objects.filter(is_live=False, activated_at__isnull=False).count() == 2


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_of_the_sets_one_of_two_activations_breaks(
    keeper: User,
    other: User,
    run_together: Callable[..., list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live()
    rows = [committed(a_rule(), version=2), committed(a_rule(value="9"), version=3)]
    for row in rows:
        report_on(row)
    meet, gate_now = meeting(2, 20), sets.gate_now

    def looks(*args: Any, **kwargs: Any) -> Any:
        found = gate_now(*args, **kwargs)
        meet()
        return found

    monkeypatch.setattr(sets, "lock_sets", lambda: None)
    monkeypatch.setattr(sets, "gate_now", looks)
    outcomes = run_together(
        lambda: sets.ask_activation(rows[0].pk, keeper),
        lambda: sets.ask_activation(rows[1].pk, other),
    )
    assert [type(one) for one in outcomes if isinstance(one, BaseException)] == [IntegrityError]


# --- what a batch asks ----------------------------------------------------------------------------


def test_a_batch_asks_once_for_the_sets_that_judge(keeper: User) -> None:
    live(a_rule())
    committed(a_rule("trial"))
    sets.set_shadow(2, keeper)
    sets.programs()
    with CaptureQueriesContext(connection) as seen:
        found = sets.programs()
    assert len(seen) == 1
    assert (found.live.version, found.shadow and found.shadow.version) == (1, 2)


def test_a_set_edited_past_the_service_is_not_judged_from_memory() -> None:
    row = RuleSet.objects.create(version=1, is_live=True, rules=[a_rule()])
    assert sets.live_program().rules
    RuleSet.objects.filter(pk=row.pk).update(rules=[])
    assert sets.live_program().rules == ()


def test_a_trial_that_cannot_be_read_does_not_keep_the_live_set_from_judging() -> None:
    live(a_rule())
    RuleSet.objects.create(version=2, is_shadow=True, rules=[{"code": "nonsense"}])
    assert sets.programs().shadow is None
    assert sets.live_program().version == 1


def test_the_shipped_set_is_made_live_once() -> None:
    made = sets.ensure_default(PIPELINE)
    assert made is not None
    assert (made.version, made.state) == (1, State.LIVE)
    assert sets.ensure_default(PIPELINE) is None


# --- who may not decide ---------------------------------------------------------------------------


def test_who_wrote_or_asked_for_a_rule_has_a_hand_in_it_until_midnight(
    keeper: User, other: User
) -> None:
    live(a_rule("old"), a_rule("same"))
    row = committed(a_rule("same"), a_rule("new"), author=Actor.person(keeper).mark)
    report_on(row)
    sets.ask_activation(row.pk, other)
    third = user_with(Role.CEO)
    sets.approve_activation(row.pk, third)
    now = clock_now()
    for person in (keeper, other):
        assert changed_today(person, now=now) == {"old", "new"}
    assert changed_today(third, now=now) == set()
    assert author_of_live_change_today(keeper, ["same", "new"], now=now) == {"new"}
    assert changed_today(keeper, now=now + timedelta(days=1)) == set()


# --- to and from other installations --------------------------------------------------------------


def test_an_exported_set_comes_in_as_a_draft_that_says_the_same(keeper: User) -> None:
    live(a_rule(), a_rule("b", tier="3"), version=7)
    told = sets.export_set(7)
    assert sets.plan_import(told).codes == ()
    RuleSet.objects.filter(version=7).update(is_live=False)
    live(a_rule(value="1"), a_rule("mine"), version=8)
    difference = sets.plan_import(told)
    assert [len(part) for part in (difference.added, difference.changed, difference.removed)] == [
        1, 1, 1,
    ]  # fmt: skip
    row = sets.import_set(told, keeper)
    assert (row.state, row.rules, row.based_on) == (State.DRAFT, told["rules"], 8)
    assert sets.live_program().version == 8


@pytest.mark.parametrize(
    "document", [None, 5, "x", {}, {"format": "else", "rules": []}, {"rules": [{"code": "x"}]}]
)
def test_what_is_no_rule_set_is_not_imported(keeper: User, document: Any) -> None:
    with pytest.raises(InvalidInput):
        sets.plan_import(document)
    with pytest.raises(InvalidInput):
        sets.import_set(document, keeper)
    assert not RuleSet.objects.exists()
