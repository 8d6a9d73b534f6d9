"""Learning from what people really decided: proposals, the score, and that it decides nothing."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from io import StringIO
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Role
from ordercenter.orders.errors import BadReason
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import decisions as deciding
from ordercenter.pipeline import learning, proposals, scores
from risk import training
from risk.language import FactSpec
from risk.models import Backtest, RiskModel, RiskScore, RuleProposal, RuleSet
from risk.sets import live_program
from tests.factories import user_with
from tests.pipeline.seller import as_person, draft, hold_ids, holds, line, open_seller, take

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).parents[2]
RATIO = FactSpec("price_ratio")
REASON = "看过订单，按经验判断"


@dataclass
class House:
    """A seller whose orders of more than 10,000 are held, and somebody who decides on them."""

    person: User

    def __post_init__(self) -> None:
        self.seller = open_seller(stock=1_000_000)

    def orders(self, many: int, *, seed: int = 3) -> list[SalesOrder]:
        """Held orders of 110 to 300 pieces at 86 to 100 per cent of the base price."""
        random = Random(seed)  # noqa: S311 - made-up orders
        drafts = []
        base = self.seller.skus["SOFA"].base_price
        assert base is not None
        for _one in range(many):
            units = random.randint(110, 300) * int(100 // base + 1)
            price = (base * units * random.randint(86, 100) / 100).quantize(Decimal("0.01"))
            drafts.append(draft(line("SOFA", units, str(price))))
        return take(self.seller.shop, *drafts)

    def decide(self, orders: list[SalesOrder], stops: Callable[[SalesOrder], bool]) -> None:
        """Release or cancel each of them, as a person."""
        for order in orders:
            seen: dict[str, Any] = {"user": self.person, "actor": as_person(self.person),
                    "seen_version": order.version, "reason": REASON}  # fmt: skip
            if stops(order):
                deciding.cancel_order(order.pk, **seen)
            else:
                deciding.release_order(order.pk, hold_ids(order), **seen)


def is_cheap(order: SalesOrder) -> bool:
    """The hidden truth: people stop what was sold below 93 per cent."""
    told = order.lines.get()
    assert told.sku is not None
    assert told.sku.base_price is not None
    return told.amount < told.sku.base_price * told.quantity * Decimal("0.93")


@pytest.fixture
def house() -> House:
    return House(user_with(Role.OPERATIONS_SUPERVISOR))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few decisions as a test can make are enough."""
    monkeypatch.setattr(settings, "LEARN_SUPPORT", 8)
    monkeypatch.setattr(training, "FEWEST", 20)


def test_a_decision_stands_beside_the_facts_its_person_had(house: House) -> None:
    one, two, three = house.orders(3)
    house.decide([one], lambda _order: False)
    house.decide([two], lambda _order: True)
    found = {e.order_id: e for e in learning.decisions(live_program(), until=clock_now())}
    assert {pk: e.stopped for pk, e in found.items()} == {one.pk: False, two.pk: True}
    assert three.pk not in found
    assert "high_value" in found[one.pk].hits
    assert 0.85 <= found[one.pk].values[RATIO] <= 1
    assert (learning.heard(now=clock_now()).decisions, learning.heard(now=clock_now()).stopped) == (
        2, 1,
    )  # fmt: skip
    assert learning.heard(now=clock_now()).missing == 65


def test_an_order_let_go_and_canceled_later_was_let_go(house: House) -> None:
    """What became known later does not make the decision another one."""
    (order,) = house.orders(1)
    house.decide([order], lambda _order: False)
    order.refresh_from_db()
    house.decide([order], lambda _order: True)
    (found,) = learning.decisions(live_program(), until=clock_now())
    assert not found.stopped


def test_frozen_by_hand_is_stopped(house: House) -> None:
    (order,) = house.orders(1)
    deciding.freeze_order(
        order.pk, user=house.person, actor=as_person(house.person), reason="疑似盗刷，先冻结"
    )
    (found,) = learning.decisions(live_program(), until=clock_now())
    assert found.stopped


@pytest.mark.usefixtures("small")
def test_the_hidden_truth_is_proposed_scored_and_taken_as_a_draft(house: House) -> None:
    orders = house.orders(90)
    house.decide(orders[:80], is_cheap)
    live = live_program().version
    assert learning.propose().endswith("proposed from 80 decisions")
    stop = next(row for row in RuleProposal.objects.all() if row.figures["kind"] == "stop")
    (part,) = stop.rule["when"]["all"]
    limit = Decimal(part["value"])
    # The same truth from either side: of these orders one is what the other leaves.
    price = {("price_ratio", "<"): limit, ("discount_ratio", ">="): 1 - limit}
    assert Decimal("0.92") <= price[part["fact"], part["op"]] <= Decimal("0.94")
    assert stop.figures["later"]["precision"] >= 0.8
    assert stop.backtest is not None
    assert stop.backtest.state == Backtest.State.DONE
    assert stop.backtest.report["hit_orders"] >= stop.figures["later"]["covered"]
    count = RuleProposal.objects.count()
    learning.propose()
    assert RuleProposal.objects.count() == count

    took = proposals.take(stop.pk, user=house.person, actor=as_person(house.person))
    assert took.state == RuleSet.State.DRAFT
    assert took.rules[-1] == stop.rule
    assert live_program().version == live
    assert Backtest.objects.filter(rule_set=took).exists()
    with pytest.raises(InvalidInput, match="已处理"):
        proposals.take(stop.pk, user=house.person, actor=as_person(house.person))

    out = StringIO()
    call_command("train_risk", "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert told["active"]
    assert told["roc_auc"] > 0.9
    assert told["hits"]["roc_auc"] < told["roc_auc"]
    assert AuditRecord.objects.filter(action=Action.MODEL_TRAINED).count() == 1
    assert scores.score_new() == "90 orders are scored by model v1"
    assert scores.score_new() == "0 orders are scored by model v1"
    open_ones = {order.pk: is_cheap(order) for order in orders[80:]}
    told_scores = dict(RiskScore.objects.filter(order__in=open_ones).values_list("order", "score"))
    cheap = [told_scores[pk] for pk, stops in open_ones.items() if stops]
    fair = [told_scores[pk] for pk, stops in open_ones.items() if not stops]
    assert min(cheap) > max(fair) - Decimal("0.2")
    assert mean(cheap) > mean(fair) + Decimal("0.3")
    assert any("推高风险" in one for one in RiskScore.objects.get(order=min(
        open_ones, key=lambda pk: -told_scores[pk])).reasons)  # fmt: skip


@pytest.mark.usefixtures("small")
def test_decisions_by_chance_propose_nothing(house: House) -> None:
    """The control: the same orders, decided by a coin."""
    coin = Random(11)  # noqa: S311 - a coin
    house.decide(house.orders(70), lambda _order: coin.random() < 0.5)
    assert learning.propose() == "0 rules are proposed from 70 decisions"
    call_command("train_risk", stdout=StringIO())
    assert RiskModel.objects.get().figures["roc_auc"] < 0.8


def test_with_too_few_decisions_nothing_is_trained_and_nothing_scored(house: House) -> None:
    house.orders(2)
    with pytest.raises(CommandError, match="no model: 0 decisions"):
        call_command("train_risk")
    with pytest.raises(CommandError, match="日期"):
        call_command("train_risk", "--until", "soon")
    assert learning.propose() == "0 rules are proposed from 0 decisions"
    assert scores.score_new() == "no risk model is in use"
    assert not RiskModel.objects.exists()


def test_a_proposal_is_refused_once_with_a_reason(house: House) -> None:
    row = RuleProposal.objects.create(rule={"code": "x"}, words="一条", made_at=clock_now())
    who = as_person(house.person)
    with pytest.raises(BadReason):
        proposals.refuse(row.pk, user=house.person, actor=who, reason="不")
    proposals.refuse(row.pk, user=house.person, actor=who, reason="只在大促期间成立")
    row.refresh_from_db()
    assert (row.state, row.figures["reason"]) == ("refused", "只在大促期间成立")
    with pytest.raises(InvalidInput, match="已处理"):
        proposals.take(row.pk, user=house.person, actor=who)
    assert not RuleSet.objects.filter(note__startswith="采用建议").exists()


def test_no_code_that_holds_or_releases_reads_the_score(house: House) -> None:
    """Only what shows the score and what makes it know its table by any name."""
    allowed = {
        "ordercenter/console/evidence.py", "ordercenter/console/why.py",
        "ordercenter/pipeline/scores.py", "ordercenter/pipeline/training.py", "risk/models.py",
    }  # fmt: skip
    names = ("RiskScore", "RiskModel", "risk_score", "riskscore", "riskmodel")
    found = {
        str(path.relative_to(ROOT))
        for folder in ("ordercenter", "risk", "fulfillment", "inventory", "channels_sync")
        for path in (ROOT / folder).rglob("*.py")
        if "migrations" not in path.parts
        and any(name in path.read_text(encoding="utf-8") for name in names)
    }
    assert found <= allowed
    assert "ordercenter/pipeline/scores.py" in found  # the search does find
    one, two = house.orders(2)
    for order, told in ((one, "1.0000"), (two, "0.0000")):
        RiskScore.objects.create(
            order=order, model_version=1, score=Decimal(told), scored_at=clock_now()
        )
        before = holds(order)
        deciding.judge_again(order.pk, actor=as_person(house.person), now=clock_now())
        assert holds(order) == before
    assert OrderHold.objects.open().filter(order=two).exists()
