"""What a back-test reports, by its command and as a job, and that it changes nothing."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_django
from django.core.management import CommandError, call_command
from django.db import OperationalError

from ordercenter.catalog.models import Channel
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import Disposition, HoldKind, OrderStatus
from ordercenter.pipeline import backtests, tasks
from risk.backtesting import run_backtest
from risk.models import Backtest, Exemption, RuleList, RuleListEntry
from tests.factories import (
    OrderEvidenceFactory,
    OrderHoldFactory,
    OrderLineFactory,
    RuleSetFactory,
    SalesOrderFactory,
    ShopFactory,
)

DAY: Final = timedelta(days=1)
NOON: Final = datetime(2026, 5, 4, 4, 0, tzinfo=UTC)
"""Twelve o'clock in Shanghai."""
DEAR: Final = {
    "code": "dear", "name": "大额",
    "when": {"all": [{"fact": "amount", "op": ">", "value": "500"}]},
    "outcome": {"tier": "2"},
}  # fmt: skip
TWICE: Final = {
    "code": "twice", "name": "一小时两单",
    "when": {"all": [{"fact": "orders_in_window", "keys": ["buyer"], "window_seconds": 3600,
                      "op": ">=", "value": "2"}]},
    "outcome": {"tier": "3"},
}  # fmt: skip
TAGGED: Final = {
    "code": "tagged", "name": "标记", "when": {"all": []}, "outcome": {"tier": "0"},
}  # fmt: skip


def order(minutes: int = 0, amount: str = "100", buyer: str = "", **fields: Any) -> SalesOrder:
    made = SalesOrderFactory.create(
        placed_at=NOON + timedelta(minutes=minutes), payable_amount=Decimal(amount), **fields
    )
    OrderEvidenceFactory.create(order=made, buyer_key=buyer)
    OrderLineFactory.create(order=made)
    return made


def report_of(*rules: dict[str, Any], **options: Any) -> dict[str, Any]:
    return run_backtest(list(rules), **options).as_json()


def numbers(report: dict[str, Any], code: str) -> list[str]:
    (found,) = [one["orders"] for one in report["rules"] if one["code"] == code]
    return list(found)


def told(orders: Sequence[SalesOrder]) -> list[str]:
    return [one.number for one in orders]


@pytest.mark.django_db
class TestReport:
    def test_names_every_order_a_rule_hits_and_counts_a_card_once(
        self, settings: pytest_django.Settings
    ) -> None:
        settings.REVIEWERS, settings.CARDS_AN_HOUR = 1, 1
        shop = ShopFactory.create(channel=Channel.DOUYIN)
        first = order(0, "10", "b1")
        second = order(59, "900.50", "b1")
        third = order(240, "700", "b1", shop=shop)
        report = report_of(DEAR, TWICE, TAGGED)
        assert numbers(report, "dear") == told([second, third])
        assert numbers(report, "twice") == told([second])
        assert numbers(report, "tagged") == told([first, second, third])
        assert (report["orders"], report["hit_orders"], report["stopped_orders"]) == (3, 3, 2)
        assert report["held_amount"] == {"CNY": "1600.50"}
        assert report["by_channel"] == {"douyin": 1, "taobao": 2}
        assert (report["by_hour"][12], report["by_hour"][16], sum(report["by_hour"])) == (2, 1, 3)
        assert report["overlap"][0] in (
            {"rules": ["dear", "tagged"], "orders": 2}, {"rules": ["dear", "twice"], "orders": 1},
        )  # fmt: skip
        cards = report["cards_per_hour"]
        assert (cards["peak"], cards["capacity"], cards["hours"]) == (1, 1, 5)
        assert cards["mean"] == 0.4
        assert (report["since"], report["unknown"]) == (NOON.isoformat(), 0)

    def test_counts_the_orders_of_its_stretch_and_what_was_before_them(self) -> None:
        order(0, buyer="b1")
        late = order(30, buyer="b1")
        order(50, buyer="b1")
        report = report_of(
            TWICE, since=NOON + timedelta(minutes=30), until=NOON + timedelta(minutes=50)
        )
        assert (report["orders"], numbers(report, "twice")) == (1, [late.number])

    def test_says_how_people_decided_of_what_it_would_have_stopped(self) -> None:
        canceled = order(0, "900", status=OrderStatus.CANCELED)
        passed = order(1, "900")
        OrderHoldFactory.create(
            order=passed, kind=HoldKind.RULE, released_at=NOON, released_by="person:7"
        )
        ran_out = order(2, "900")
        OrderHoldFactory.create(
            order=ran_out, kind=HoldKind.RULE, released_at=NOON, released_by="job:pipeline"
        )
        talked = order(3, "900")
        OrderHoldFactory.create(order=talked, disposition=Disposition.AFTER_SALES)
        frozen = order(4, "900")
        OrderHoldFactory.create(order=frozen, kind=HoldKind.PERSON)
        order(5, "900")
        report = report_of(DEAR)
        assert len(numbers(report, "dear")) == 6
        expected = {"right": 3, "wrong": 1, "undecided": 2, "share": 0.75}
        assert report["precision"] == report["rules"][0]["precision"] == expected
        assert canceled.number in numbers(report, "dear")

    def test_takes_lists_as_they_stood_when_the_order_came(self) -> None:
        listed = RuleList.objects.create(code="bad", name="坏", key=RuleList.Key.BUYER)
        RuleListEntry.objects.create(
            rule_list=listed, value="b1", shown="b1", added_by="x",
            added_at=NOON + timedelta(minutes=10), removed_at=NOON + timedelta(minutes=20),
        )  # fmt: skip
        order(9, buyer="b1")
        within = order(10, buyer="b1")
        order(20, buyer="b1")
        rule = {
            "code": "listed", "outcome": {"tier": "2"},
            "when": {"all": [{"fact": "in_list", "list": "bad", "op": "is", "value": True}]},
        }  # fmt: skip
        assert numbers(report_of(rule), "listed") == [within.number]

    def test_a_customer_trusted_at_the_time_is_hit_but_makes_no_card(self) -> None:
        trusting = Exemption(
            key="buyer", value="friend", rule_code="dear", reason="老客户", expires_at=NOON + DAY,
            made_at=NOON, ended_at=NOON + timedelta(minutes=10),
        )  # fmt: skip
        early = order(-1, "900", "friend", received_at=NOON - timedelta(minutes=1))
        order(5, "900", "friend", received_at=NOON + timedelta(minutes=5))
        late = order(20, "900", "friend", received_at=NOON + timedelta(minutes=20))
        listed = order(6, "900", "known", received_at=NOON + timedelta(minutes=6))
        trusting.order = late
        trusting.save()
        trusted = RuleList.objects.create(
            code="good", name="熟客", key=RuleList.Key.BUYER, kind=RuleList.Kind.TRUSTED
        )
        RuleListEntry.objects.create(rule_list=trusted, value="known", added_at=NOON)
        frozen = {**DEAR, "code": "frozen", "outcome": {"tier": "3"}}
        report = report_of(DEAR)
        assert len(numbers(report, "dear")) == 4
        assert (report["rules"][0]["exempt"], report["stopped_orders"]) == (2, 2)
        assert sum(one["stopped_orders"] for one in (report, report_of(frozen))) == 2 + 4
        assert {early.number, late.number, listed.number} <= set(numbers(report, "dear"))

    def test_what_nobody_can_tell_any_more_is_counted_apart(self) -> None:
        order()
        rule = {
            "code": "short", "outcome": {"tier": "2"},
            "when": {"all": [{"fact": "gift_short", "op": ">", "value": "0"}]},
        }  # fmt: skip
        report = report_of(rule)
        assert (report["hit_orders"], report["unknown"]) == (0, 1)
        assert (report["rules"][0]["hits"], report["rules"][0]["unknown"]) == (0, 1)

    def test_of_no_orders_is_empty_and_no_fault(self) -> None:
        report = report_of(DEAR)
        assert (report["orders"], numbers(report, "dear")) == (0, [])

    def test_keeps_the_newest_numbers_where_not_all_are_wanted(self) -> None:
        made = [order(minute, "900") for minute in range(3)]
        report = run_backtest([DEAR]).as_json(most_numbers=2)
        assert (report["rules"][0]["hits"], numbers(report, "dear")) == (3, told(made[1:]))


@pytest.mark.django_db(transaction=True)
def test_two_connections_find_what_one_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    for minute in range(300):
        order(minute, str(400 + minute), f"b{minute % 40}")
    monkeypatch.setattr("risk.setwise.running.ORDERS_A_PIECE", 50)
    alone = report_of(DEAR, TWICE, workers=1) | {"seconds": 0}
    assert alone == report_of(DEAR, TWICE, workers=2) | {"seconds": 0}
    assert len(numbers(alone, "dear")) == 199


@pytest.mark.django_db(transaction=True)
def test_what_takes_too_long_is_broken_off() -> None:
    for minute in range(5):
        order(minute)
    with pytest.raises(OperationalError):
        run_backtest([TWICE], seconds=0)
    assert report_of(TWICE)["orders"] == 5


# --- the command ----------------------------------------------------------------------------------


def backtest(capsys: pytest.CaptureFixture[str], rules: Path, **options: Any) -> dict[str, Any]:
    capsys.readouterr()
    call_command("backtest", rules=rules, json=True, **options)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps([DEAR], ensure_ascii=False), encoding="utf-8")
    return file


@pytest.mark.django_db
class TestCommand:
    def test_gives_one_document_of_the_stretch(
        self, rules: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        order(-60, "900")
        within = order(0, "900")
        order(60, "900")
        report = backtest(capsys, rules, since="2026-05-04T12:00", until="2026-05-04T05:00+00:00")
        assert (report["orders"], numbers(report, "dear")) == (1, [within.number])
        before = SalesOrder.objects.values_list("pk", "version", "status")
        assert list(before) == list(SalesOrder.objects.values_list("pk", "version", "status"))

    def test_reads_an_object_with_rules_and_says_the_report_in_words(
        self, rules: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        made = order(0, "900")
        rules.write_text(json.dumps({"rules": [DEAR]}), encoding="utf-8")
        call_command("backtest", rules=rules)
        said = capsys.readouterr().out
        assert made.number in said
        assert "1 单，命中 1 单" in said

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("nonsense", "不是 JSON"),
            ("7", "规则的列表"),
            ("{}", "规则集必须是规则的列表"),
            ('[{"code": "x", "when": {"all": [{"fact": "?"}]}, "outcome": {"tier": "2"}}]', "“x”"),
            ("[" * 100_000, "不是 JSON"),
        ],
    )
    def test_refuses_a_bad_file_in_one_line(self, text: str, words: str, rules: Path) -> None:
        rules.write_text(text, encoding="utf-8")
        with pytest.raises(CommandError, match=words) as refusal:
            call_command("backtest", rules=rules)
        assert "\n" not in str(refusal.value)

    @pytest.mark.parametrize(
        "options",
        [{"since": "yesterday"}, {"since": "2026-05-05", "until": "2026-05-04"}],
    )
    def test_refuses_a_stretch_that_is_none(self, options: dict[str, str], rules: Path) -> None:
        with pytest.raises(CommandError):
            call_command("backtest", rules=rules, **options)

    def test_refuses_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match="nowhere"):
            call_command("backtest", rules=tmp_path / "nowhere.json")


# --- the job --------------------------------------------------------------------------------------

ASKER: Final = Actor.job("asker")


def asked(*rules: dict[str, Any]) -> Backtest:
    rule_set = RuleSetFactory.create(rules=list(rules))
    return backtests.ask(rule_set, NOON - timedelta(days=1), NOON + timedelta(days=1), actor=ASKER)


@pytest.mark.django_db(transaction=True)
class TestJob:
    def test_keeps_the_report_once(self) -> None:
        made = order(0, "900")
        row = asked(DEAR)
        assert "1 of 1" in tasks.run_backtest(row.pk)
        row.refresh_from_db()
        assert (row.state, row.progress, row.error) == ("done", 100, "")
        assert numbers(row.report, "dear") == [made.number]
        assert row.done_at is not None
        assert tasks.run_backtest(row.pk) == "somebody else has it"

    def test_says_why_it_failed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        order(0, "900")
        row = asked(DEAR)
        monkeypatch.setattr(backtests, "MOST_SECONDS", 0)
        tasks.run_backtest(row.pk)
        row.refresh_from_db()
        assert row.state == "failed"
        assert "时限" in row.error

    def test_does_not_prove_other_rules_than_were_asked(self) -> None:
        row = asked(DEAR)
        assert row.rule_set is not None
        row.rule_set.rules = [TWICE]
        row.rule_set.save()
        tasks.run_backtest(row.pk)
        row.refresh_from_db()
        assert (row.state, row.report) == ("failed", {})

    def test_that_nobody_was_nudged_for_is_found_by_the_next_round(self) -> None:
        row = asked(DEAR)
        Backtest.objects.filter(pk=row.pk).update(state=Backtest.State.RUNNING)
        assert "0 of 0" in tasks.run_waiting_backtests()
        row.refresh_from_db()
        assert row.state == "done"
        assert tasks.run_waiting_backtests() == "no back-test waits"

    def test_of_no_time_is_refused(self) -> None:
        with pytest.raises(InvalidInput):
            backtests.ask(RuleSetFactory.create(), NOON, NOON, actor=ASKER)
