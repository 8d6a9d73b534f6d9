"""The page of proposals: read, taken as a draft, put away; never live by itself."""

import pytest
from django.test import Client

from ordercenter.core.clock import now
from ordercenter.core.policy import Role
from risk.models import Backtest, RuleProposal, RuleSet
from risk.sets import live_program
from tests.console.conftest import AsRole
from tests.factories import SalesOrderFactory

pytestmark = pytest.mark.django_db
FIGURES = {"decisions": 300, "covered": 40, "right": 37, "wrong": 3, "precision": 0.925,
           "base": 0.4, "lift": 2.31}  # fmt: skip
RULE = {"code": "learned_1", "name": "学自人工判断",
        "when": {"all": [{"fact": "price_ratio", "op": "<", "value": "0.93"}]},
        "outcome": {"tier": "2", "tag": "多被取消"}}  # fmt: skip


@pytest.fixture
def boss(as_role: AsRole) -> Client:
    return as_role(Role.OPERATIONS_SUPERVISOR)


@pytest.fixture
def row() -> RuleProposal:
    order = SalesOrderFactory.create(number="OC-SEEN")
    told = {"kind": "stop", "rule": "", "learned": FIGURES, "later": FIGURES,
            "examples": [order.pk], "wrong": []}  # fmt: skip
    at = now()
    test = Backtest.objects.create(
        digest="d", since=at, until=at, state="done", report={"orders": 900, "hit_orders": 51},
        asked_by="job", asked_at=at, done_at=at,
    )  # fmt: skip
    return RuleProposal.objects.create(
        rule=RULE, words="成交价低于 93%<script>alert(1)</script>", figures=told, backtest=test,
        made_at=at,
    )  # fmt: skip


def test_with_nothing_learned_the_page_says_what_is_missing(boss: Client) -> None:
    page = boss.get("/rules/proposals/").content.decode()
    assert "至少还要 67 单人工审核" in page


def test_a_proposal_shows_its_sentence_figures_orders_and_back_test(
    boss: Client, row: RuleProposal
) -> None:
    page = boss.get("/rules/proposals/").content.decode()
    for words in ("建议拦下", "300 单里覆盖 40 单，判断一致 37、不一致 3", "2.31 倍", "OC-SEEN",
                  "900 单里命中 51 单", "采用为草稿"):  # fmt: skip
        assert words in page
    assert "<script>alert(1)" not in page


def test_taken_it_is_a_draft_and_a_second_click_makes_no_other(
    boss: Client, row: RuleProposal
) -> None:
    live = live_program().digest
    path = f"/rules/proposals/{row.pk}/"
    answer = boss.post(path, {"verb": "take"})
    draft = RuleSet.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/rules/{draft.version}/report/")
    assert draft.rules[-1] == RULE
    assert draft.state == RuleSet.State.DRAFT
    assert live_program().digest == live
    again = boss.post(path, {"verb": "take"})
    assert again.status_code == 422
    assert "已处理：已采用" in again.content.decode()
    assert RuleSet.objects.count() == 1


def test_put_away_with_a_reason_it_is_told_below(boss: Client, row: RuleProposal) -> None:
    path = f"/rules/proposals/{row.pk}/"
    assert boss.post(path, {"verb": "refuse", "reason": ""}).status_code == 422
    assert boss.post(path, {"verb": "refuse", "reason": "只在大促期间成立"}).status_code == 302
    page = boss.get("/rules/proposals/").content.decode()
    assert "已放弃" in page
    assert "只在大促期间成立" in page
    assert not RuleSet.objects.exists()


def test_a_reviewer_reads_and_cannot_decide(as_role: AsRole, row: RuleProposal) -> None:
    client = as_role(Role.REVIEWER)
    assert "采用为草稿" not in client.get("/rules/proposals/").content.decode()
    assert client.post(f"/rules/proposals/{row.pk}/", {"verb": "take"}).status_code == 403
