"""A proposal is read on a phone and at a desk, and taken as a draft with one press."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from ordercenter.core.clock import now
from ordercenter.core.policy import Role
from risk.models import RuleProposal
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.browser.test_rules import fits
from tests.console.test_rule_proposals import FIGURES, RULE
from tests.factories import user_with

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_a_proposal_is_read_and_taken(visit: Callable[..., Visitor], size: tuple[int, int]) -> None:
    told = {"kind": "stop", "rule": "", "learned": FIGURES, "later": FIGURES}
    words = "同一买家账号 1 天内下单次数（含本单）达到 3 单，且成交价与基准价之比低于 85%：挂起"
    RuleProposal.objects.create(rule=RULE, words=words, figures=told, made_at=now())
    visitor = visit(user_with(Role.OPERATIONS_SUPERVISOR), size)
    visitor.open("/rules/proposals/")
    assert fits(visitor.page)
    visitor.page.get_by_role("button", name="采用为草稿").click()
    expect(visitor.page.get_by_text("还没有生效").first).to_be_visible()
    assert RuleProposal.objects.get().state == RuleProposal.State.TAKEN
