"""Rule sets with a history, and reports that let them go live."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from ordercenter.core.clock import now as clock_now
from risk.language import digest_of
from risk.models import Backtest, RuleSet
from tests.factories import RuleSetFactory


def a_rule(
    code: str = "dear", *, value: str = "5000", tier: str = "2", **changes: Any
) -> dict[str, Any]:
    """Orders that cost ``value`` or more."""
    amount = {"fact": "amount", "op": ">=", "value": value}
    rule = {"code": code, "name": code, "when": {"all": [amount]}, "outcome": {"tier": tier}}
    return {**rule, **changes}


def live(*rules: dict[str, Any], version: int = 1) -> RuleSet:
    """This set is live, since long ago."""
    ago = clock_now() - timedelta(days=30)
    return RuleSetFactory.create(
        version=version, is_live=True, rules=list(rules), committed_at=ago, activated_at=ago
    )


def committed(*rules: dict[str, Any], version: int = 2, author: str = "") -> RuleSet:
    return RuleSetFactory.create(
        version=version, rules=list(rules), committed_at=clock_now(), author=author
    )


def report_on(
    row: RuleSet,
    hits: dict[str, Sequence[str]] | None = None,
    *,
    days: int = 7,
    done_at: datetime | None = None,
    **changes: Any,
) -> Backtest:
    """A back-test that is done; ``hits`` are numbers of orders by the rule that hit them."""
    now = done_at or clock_now()
    told = [
        {"code": code, "hits": len(numbers), "orders": list(numbers)}
        for code, numbers in (hits or {}).items()
    ]
    values: dict[str, Any] = {
        "rule_set": row, "digest": digest_of(row.rules), "since": now - timedelta(days=days),
        "until": now + timedelta(seconds=1), "state": Backtest.State.DONE,
        "report": {"orders": 100, "rules": told}, "asked_by": "x", "asked_at": now, "done_at": now,
    }  # fmt: skip
    return Backtest.objects.create(**{**values, **changes})


def codes(rules: Iterable[dict[str, Any]]) -> list[str]:
    return [rule["code"] for rule in rules]
