"""What stands between a committed set of rules and going live.

A set needs a back-test of exactly these rules, done within ``FRESH``. It needs a second person
when the rules that are new or changed would hold more than ``OPEN_SHARE`` of the open orders,
when the report did not look at most of them, when one has no condition at all, and when a rule
that holds orders is switched off, taken out, or made to hold nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import OPEN
from risk.defaults import default_rules
from risk.differences import Difference, difference, has_conditions, is_on, stops
from risk.language import digest_of
from risk.models import Backtest, RuleSet

FRESH: Final = timedelta(hours=24)
OPEN_SHARE: Final = Fraction(5, 100)
_STATUSES: Final = [status.value for status in OPEN]


@dataclass(frozen=True, slots=True)
class Gate:
    """What a set's going live takes, as things are now."""

    difference: Difference
    """To the set that is live."""
    report: Backtest | None = None
    """The newest fresh back-test of exactly these rules; None where there is none."""
    open_orders: int = 0
    """Open orders the report looked at."""
    would_hold: int = 0
    """Those of them that a new or changed rule would hold."""
    needs_report: bool = True
    reasons: tuple[str | Promise, ...] = ()
    """Why it takes a second person, in words; empty where one is enough."""

    @property
    def needs_second(self) -> bool:
        return bool(self.reasons)

    @property
    def share(self) -> Fraction:
        """Of the open orders; zero where there is none."""
        return Fraction(self.would_hold, self.open_orders) if self.open_orders else Fraction(0)


def live_rules() -> tuple[int, list[dict[str, Any]]]:
    """(version, rules) that decide now; version 0 is the shipped set."""
    row = RuleSet.objects.filter(is_live=True).values_list("version", "rules").first()
    return row or (0, default_rules())


def gate_of(row: RuleSet, *, now: datetime, needs_report: bool = True) -> Gate:
    """Look what it takes to make ``row`` live. Changes nothing.

    Without ``needs_report`` no orders are counted: only what the rules say is looked at.
    """
    told = difference(live_rules()[1], row.rules)
    report = fresh_report(row, now=now)
    new = [one.after for one in (*told.added, *told.changed) if stops(one.after)]
    reasons: list[str | Promise] = []
    if any(is_on(one.after) and not has_conditions(one.after or {})
           for one in (*told.added, *told.changed)):  # fmt: skip
        reasons.append(_("有规则没有任何条件，会命中范围内的每一单"))
    if any(stops(one.before) and not stops(one.after) for one in (*told.changed, *told.removed)):
        reasons.append(_("有拦截订单的规则被关闭、移除或降级"))
    open_orders = would_hold = 0
    if report is not None and new and needs_report:
        codes = {str(rule["code"]) for rule in new if rule}
        open_orders, would_hold, everywhere = _counted(report, codes)
        if Fraction(would_hold, open_orders or 1) > OPEN_SHARE:
            reasons.append(_("新增或修改的规则会拦下超过 5% 的未发货订单"))
        if open_orders * 2 < everywhere:
            reasons.append(_("回测的时段没有覆盖大部分未发货的订单，看不出影响"))
    return Gate(told, report, open_orders, would_hold, needs_report, tuple(reasons))


def fresh_report(row: RuleSet, *, now: datetime) -> Backtest | None:
    """The newest back-test of these very rules that was done within ``FRESH``."""
    return (
        Backtest.objects.filter(
            rule_set=row,
            digest=digest_of(row.rules),
            state=Backtest.State.DONE,
            done_at__gt=now - FRESH,
            done_at__lte=now,
        )
        .order_by("-done_at")
        .first()
    )


def _counted(report: Backtest, codes: set[str]) -> tuple[int, int, int]:
    """(open orders of the report's time, those of them that a rule of ``codes`` hit, all).

    A report that does not name every order it hit is taken for its share at least: as if no
    order had been hit by two rules.
    """
    everywhere = SalesOrder.objects.filter(status__in=_STATUSES)
    seen = everywhere.filter(placed_at__gte=report.since, placed_at__lt=report.until)
    told: Sequence[Mapping[str, Any]] = report.report.get("rules", ())
    mine = [rule for rule in told if rule.get("code") in codes]
    looked_at = seen.count()
    numbers = {number for rule in mine for number in rule.get("orders", ())}
    held = seen.filter(number__in=numbers).count()
    if any(rule.get("hits", 0) > len(rule.get("orders", ())) for rule in mine):
        share = Fraction(sum(rule["hits"] for rule in mine), report.report.get("orders") or 1)
        held = min(looked_at, max(held, ceil(looked_at * share)))
    return looked_at, held, everywhere.count()
