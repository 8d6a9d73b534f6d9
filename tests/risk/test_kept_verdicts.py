"""Verdicts of real orders, judged again by what was kept of them (R7); sets of old, rewritten."""

from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from ordercenter.core.clock import now as clock_now
from risk.defaults import default_rules
from risk.facts import facts_from_inputs
from risk.judging import facts_shown, findings_of, judge
from risk.language import Program, read_rules
from risk.models import RuleSet, Verdict
from risk.rows import plain, tags_of
from tests.factories import GiftStrategyFactory, RuleSetFactory
from tests.pipeline.seller import Seller, buyer, draft, line, open_seller, somebody, take

pytestmark = pytest.mark.django_db


@pytest.fixture
def seller() -> Seller:
    return open_seller()


def again(verdict: Verdict, program: Program) -> dict[str, Any]:
    """The verdict as its inputs alone give it, in the words it was stored in."""
    told = facts_from_inputs(verdict.order_id, program, verdict.inputs)
    assert told is not None
    subject, facts, around = told
    found = judge(subject, program, facts, around)
    return {
        "tier": found.tier,
        "tags": tags_of(found),
        "findings": [_json(plain(one)) for one in findings_of(found)],
        "facts": facts_shown(found),
    }


def _json(row: dict[str, Any]) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in row.items()}


def test_every_stored_verdict_is_the_same_when_it_is_judged_again(seller: Seller) -> None:
    GiftStrategyFactory.create(gift_sku=seller.skus["TOWEL"], min_amount=Decimal(500))
    now = clock_now()
    place = somebody(1)
    take(
        seller.shop,
        draft(line("SOFA", 30, "2520.00"), at=now, receiver=place, evidence=buyer("b1")),
        draft(line("SOFA", 30), at=now + timedelta(seconds=9), receiver=place,
              evidence=buyer("b1", ip="203.0.113.9")),
        draft(line(), line("TOWEL", 1, "0.00", is_gift=True)),
        draft(line("LAMP", 999)),
        draft(line("SET", 1, "240.00"), buyer_remark="今天必须发，电话13800138000"),
        draft(currency="USD"),
        draft(),
        draft(buyer_remark="放门口"),
    )  # fmt: skip
    program = read_rules(0, default_rules())
    verdicts = Verdict.objects.order_by("pk")
    assert {v.tier for v in verdicts} == {"0", "1", "2", "3"}
    for verdict in verdicts:
        kept = {name: getattr(verdict, name) for name in ("tier", "tags", "findings", "facts")}
        assert again(verdict, program) == kept
        assert "13800138000" not in str(verdict.inputs)


def test_other_inputs_give_another_verdict(seller: Seller) -> None:
    """The control: what was kept is what is judged by."""
    take(seller.shop, draft(line(amount="84.00")))
    verdict = Verdict.objects.get()
    assert verdict.tier == "2"
    verdict.inputs["facts"]["price_ratio"] = "r:9/10"
    assert again(verdict, read_rules(0, default_rules()))["tier"] == "1"


def test_sets_of_the_old_language_are_rewritten_even_when_they_are_committed() -> None:
    old = [
        {"code": "cheap", "name": "低价", "tag": "低价异常", "tier": "2", "queue": "",
         "all": [{"fact": "price_ratio", "op": "<", "value": "0.85"}]},
        {"code": "off", "name": "停用", "tier": "3", "enabled": False,
         "all": [{"fact": "gift_gap", "op": ">", "value": "0"}]},
        {"code": "new", "when": {"all": []}, "outcome": {"tier": "0"}},
    ]  # fmt: skip
    kept = RuleSetFactory.create(version=4, is_live=True, rules=old, committed_at=clock_now())
    migration = import_module("risk.migrations.0004_rules_in_groups")
    with connection.schema_editor() as editor:
        migration.forward(apps, editor)
    kept.refresh_from_db()
    program = read_rules(4, kept.rules)
    assert [(r.code, r.outcome.tier, r.outcome.tag) for r in (*program.rules, *program.off)] == [
        ("cheap", "2", "低价异常"), ("new", "0", ""), ("off", "3", ""),
    ]  # fmt: skip
    assert kept.rules[2] == old[2]
    with pytest.raises(Exception, match="committed"):
        RuleSet.objects.filter(pk=kept.pk).update(rules=[])
