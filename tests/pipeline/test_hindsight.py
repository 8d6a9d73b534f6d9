"""Back in time: what an order was at a moment, and the same verdict once more."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import NotFound
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import OrderStatus
from ordercenter.pipeline import decisions, hindsight
from risk.models import RuleSet, Verdict
from tests.factories import user_with
from tests.pipeline.seller import (
    REASON,
    Seller,
    again,
    as_person,
    buyer,
    draft,
    hold_ids,
    line,
    open_seller,
    paid,
    take,
    take_one,
)
from tests.risk.rule_life import a_rule, live

NOON = datetime(2026, 11, 11, 4, tzinfo=UTC)
HOUR = timedelta(hours=1)


def release(order: SalesOrder, user: User) -> None:
    order.refresh_from_db()
    decisions.release_order(
        order.pk, hold_ids(order), user=user, actor=as_person(user), seen_version=order.version,
        reason=REASON,
    )  # fmt: skip


# --- the state of then ----------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_order_is_shown_as_it_stood_at_each_moment(
    seller: Seller, boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(a_rule(value="100"))
    told = draft(at=NOON, paid=False)
    order = take_one(seller.shop, told, now=NOON)
    take_one(seller.shop, paid(told, 600), now=NOON + timedelta(minutes=10))
    for module in ("decisions", "publishing"):
        monkeypatch.setattr(
            f"ordercenter.pipeline.{module}.clock_now", lambda: NOON + HOUR, raising=False
        )
    release(order, boss)
    before = hindsight.as_of(order.pk, NOON - timedelta(microseconds=1))
    assert (before.version, before.status, before.holds, before.verdict) == (0, None, (), None)
    first = hindsight.as_of(order.pk, NOON)
    assert (first.version, first.status) == (1, OrderStatus.RESERVED)
    assert [hold.code for hold in first.holds] == ["dear"]
    assert (first.fields["paid_amount"], first.fields["paid_at"]) == ("0.00", None)
    second = hindsight.as_of(order.pk, NOON + timedelta(minutes=30))
    assert (second.version, second.fields["paid_amount"]) == (2, "100.00")
    assert [hold.code for hold in second.holds] == ["dear"]
    last = hindsight.as_of(order.pk, clock_now() + 2 * HOUR)
    order.refresh_from_db()
    assert (last.version, last.status, last.holds) == (order.version, order.status, ())
    assert last.fields["paid_amount"] == str(order.paid_amount)
    with pytest.raises(NotFound):
        hindsight.as_of(0, NOON)


# --- the same verdict again -----------------------------------------------------------------------


@pytest.mark.django_db
def test_every_verdict_is_judged_again_to_the_very_same(seller: Seller) -> None:
    told = [
        draft(line(amount="84.00"), evidence=buyer("b1")),
        draft(line(amount="50.00"), evidence=buyer("b1"), buyer_remark="尽快发货 谢谢"),
        draft(line("SET", 1, "300"), line("TOWEL", 1, "0.00", is_gift=True)),
        draft(line(amount="6000"), evidence=buyer("b2")),
    ]
    take(seller.shop, *told)
    verdicts = list(Verdict.objects.all())
    assert len(verdicts) == 4
    for verdict in verdicts:
        found = hindsight.replay(verdict)
        assert found.is_identical, (found.stored, found.again, verdict.findings)
        assert found.today == ()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 1_000_000), st.integers(1, 9), st.sampled_from(["", "b1", "b2"]),
            st.integers(0, 86_400), st.text(max_size=20),
        ),
        min_size=1, max_size=6,
    )
)  # fmt: skip
@pytest.mark.django_db
def test_whatever_came_in_is_judged_again_to_the_very_same(
    told: list[tuple[int, int, str, int, str]],
) -> None:
    with transaction.atomic():
        seller = open_seller()
        drafts = [
            draft(
                line("SOFA", pieces, f"{fen / 100:.2f}"), at=NOON + timedelta(seconds=seconds),
                evidence=buyer(who), buyer_remark=remark.replace("\0", ""),
            )
            for fen, pieces, who, seconds, remark in told
        ]  # fmt: skip
        take(seller.shop, *drafts)
        found = [hindsight.replay(verdict).is_identical for verdict in Verdict.objects.all()]
        transaction.set_rollback(True)
    assert found == [True] * len(told)


@pytest.mark.django_db
def test_a_verdict_that_was_tampered_with_is_found_out(seller: Seller) -> None:
    take_one(seller.shop, draft(line(amount="50.00")))
    verdict = Verdict.objects.get()
    verdict.findings = [{**one, "hit": False} for one in verdict.findings]
    assert not hindsight.replay(verdict).is_identical


@pytest.mark.django_db
def test_what_todays_rules_say_otherwise_is_named_with_its_reason(seller: Seller) -> None:
    live(a_rule("same", value="1"), a_rule("looser", value="100"), a_rule("gone", value="100"))
    take_one(seller.shop, draft(line(amount="150")))
    verdict = Verdict.objects.get()
    RuleSet.objects.update(is_live=False)
    units = {"fact": "units", "op": ">=", "value": "1"}
    live(
        a_rule("same", value="1"), a_rule("looser", value="200"),
        a_rule("fresh", value="150", tier="3"), a_rule("unheard", when={"all": [units]}),
        version=2,
    )  # fmt: skip
    found = hindsight.replay(verdict)
    assert found.is_identical
    assert {(one.code, one.before, one.after) for one in found.today} == {
        ("looser", "2", ""), ("gone", "2", "absent"), ("fresh", "absent", "3"),
        ("unheard", "absent", "2"),
    }  # fmt: skip
    assert found.unknown_today == ("units",)
    assert found.today_version == 2


@pytest.mark.django_db
def test_a_verdict_from_before_inputs_were_kept_says_so(seller: Seller) -> None:
    take_one(seller.shop, draft())
    Verdict.objects.update(inputs={})
    verdict = Verdict.objects.get()
    assert not hindsight.replay(verdict).can_replay
    assert hindsight.explained(verdict) == []


# --- the page and the command ---------------------------------------------------------------------


@pytest.fixture
def browser() -> Client:
    client = Client()
    client.force_login(
        user_with(Role.REVIEWER), backend="django.contrib.auth.backends.ModelBackend"
    )
    return client


@pytest.mark.django_db
def test_the_page_shows_what_hit_and_what_was_near(seller: Seller, browser: Client) -> None:
    live(a_rule("dear", value="100"), a_rule("dearer", value="200"), a_rule("off", enabled=False))
    order = take_one(
        seller.shop, draft(line(amount="150"), buyer_remark="<script>alert(1)</script>")
    )
    text = browser.get(f"/orders/{order.number}/why/").content.decode()
    fired, passed = text.index('id="fired"'), text.index('id="passed"')
    assert fired < text.index(">dear ") < passed < text.index("dearer")
    assert "200" in text[passed:]
    assert "就会命中" in text[passed:]
    assert "规则已停用" in text
    assert "结果完全一致" in text
    assert "<script>alert(1)" not in text


@pytest.mark.django_db
def test_the_page_goes_back_in_time_and_says_what_it_cannot_read(
    seller: Seller, browser: Client
) -> None:
    order = take_one(seller.shop, draft(at=NOON), now=NOON)
    page = f"/orders/{order.number}/why/"
    assert "还没有进入系统" in browser.get(f"{page}?at=2026-11-11T11:59:59").content.decode()
    assert "还没有进入系统" not in browser.get(f"{page}?at=2026-11-11T12:00").content.decode()
    for nonsense in ("gestern", "2026-13-40T00:00", "x" * 100):
        answer = browser.get(page, {"at": nonsense})
        assert answer.status_code == 422
        assert "看不懂这个时间" in answer.content.decode()


@pytest.mark.django_db
def test_an_order_nobody_has_judged_yet_has_a_page(seller: Seller, browser: Client) -> None:
    order = take_one(seller.shop, draft(line("NOBODY-KNOWS")))
    assert "还没有判定" in browser.get(f"/orders/{order.number}/why/").content.decode()


@pytest.mark.django_db
def test_the_command_tells_the_same_as_json(seller: Seller) -> None:
    live(a_rule("dear", value="100"))
    told = draft(line(amount="150"), at=NOON)
    order = take_one(seller.shop, told, now=NOON)
    take_one(seller.shop, again(told, 60), now=NOON + HOUR)
    out = StringIO()
    call_command("explain", order.number, "--json", stdout=out)
    found = json.loads(out.getvalue())
    assert found["replay"]["identical"] is True
    assert [(one["code"], one["fired"]) for one in found["rules"]] == [("dear", True)]
    assert found["holds"][0]["code"] == "dear"
    out = StringIO()
    call_command("explain", order.number, "--at", "2026-11-11T11:00", "--json", stdout=out)
    assert json.loads(out.getvalue())["version"] == 0
    call_command("explain", order.number, stdout=StringIO())
    for wrong in (["NOTHING"], [order.number, "--at", "gestern"]):
        with pytest.raises(CommandError):
            call_command("explain", *wrong, stdout=StringIO())
