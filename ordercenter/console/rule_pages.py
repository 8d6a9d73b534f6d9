"""What the pages of the rules show: sets in readable sentences, their history, their hits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Count, Func, IntegerField
from django.http import Http404
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ordercenter.core.actor import names_of
from ordercenter.core.errors import InvalidInput
from ordercenter.orders.models import OrderHold
from ordercenter.orders.states import HoldKind
from risk.differences import Difference, difference
from risk.language import Rule, compares, read_rules
from risk.models import RuleList, RuleSet
from risk.sentences import sentence
from risk.set_rows import rules_of

DAYS: Final = 7
MOST_SETS: Final = 60
TIERS: Final[tuple[tuple[str, Promise], ...]] = (
    ("3", _("三级：冻结")),
    ("2", _("二级：挂起待审")),
    ("1", _("一级：补全放行")),
    ("0", _("只打标签")),
)


@dataclass(frozen=True, slots=True)
class Told:
    """One rule as people read it. ``hits`` are holds of the last 7 days; None where it has none
    by its nature."""

    code: str
    name: str
    tier: str
    tag: str
    words: str
    enabled: bool
    hits: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """One set in a list of them."""

    row: RuleSet
    author: str
    count: int

    @property
    def is_draft(self) -> bool:
        return self.row.state == RuleSet.State.DRAFT


def set_or_404(version: int) -> RuleSet:
    row = RuleSet.objects.filter(version=version).first()
    if row is None:
        raise Http404
    return row


def told_rules(
    rules: Iterable[Mapping[str, Any]], hits: Mapping[str, int] | None = None
) -> list[Told]:
    """Every rule of a set in a sentence; one that cannot be read says why."""
    names = list_names()
    return [told_rule(rule, hits, names) for rule in rules]


def list_names() -> dict[str, str]:
    """What people call each list, by its code."""
    return dict(RuleList.objects.values_list("code", "name"))


def words_of(rule: Rule, names: Mapping[str, str]) -> str:
    """A rule in a sentence that calls lists by their names."""
    words = sentence(rule)
    asked = {str(one.spec.param("list", "")) for one in compares(rule.when)}
    for code in asked & names.keys():
        words = words.replace(f"名单“{code}”", f"名单“{names[code]}”")
    return words


def told_rule(
    rule: Mapping[str, Any],
    hits: Mapping[str, int] | None = None,
    names: Mapping[str, str] | None = None,
) -> Told:
    outcome = rule.get("outcome")
    outcome = outcome if isinstance(outcome, Mapping) else {}
    code, tier = str(rule.get("code", "")), str(outcome.get("tier", ""))
    held = hits is not None and tier >= "2" and outcome.get("queue") != "shortage"
    words, error = "", ""
    try:
        words = words_of(one_rule(rule), names or {})
    except InvalidInput as refusal:
        error = str(refusal)
    return Told(
        code, str(rule.get("name") or code), tier, str(outcome.get("tag", "")), words,
        bool(rule.get("enabled", True)), hits.get(code, 0) if held and hits is not None else None,
        error,
    )  # fmt: skip


def one_rule(rule: Mapping[str, Any]) -> Rule:
    """A rule of a set by itself. Raises InvalidInput."""
    program = read_rules(0, [rule])
    return (*program.rules, *program.off)[0]


def by_tier(rules: Sequence[Told]) -> list[tuple[str, str | Promise, list[Told]]]:
    """(tier, its name, its rules), the sharpest first."""
    return [
        (tier, label, mine)
        for tier, label in TIERS
        if (mine := [rule for rule in rules if rule.tier == tier])
    ]


def hits_of_late(*, now: datetime) -> dict[str, int]:
    """Orders each rule stopped in the last 7 days, by its code."""
    rows = (
        OrderHold.objects.filter(kind=HoldKind.RULE, opened_at__gte=now - timedelta(days=DAYS))
        .order_by()
        .values_list("code")
        .annotate(orders=Count("order_id", distinct=True))
    )
    return dict(rows)


def versions() -> list[Version]:
    """The newest sets, drafts included, with who wrote them. Two questions."""
    length = Func("rules", function="jsonb_array_length", output_field=IntegerField())
    found = RuleSet.objects.annotate(length=length).defer("rules").order_by("-version")
    rows = list(found[:MOST_SETS])
    names = names_of({row.author for row in rows} - {""})
    return [Version(row, names.get(row.author, ""), row.length) for row in rows]


def difference_of(row: RuleSet) -> Difference:
    """What a set says otherwise than the one it began as; nothing for one that began as none."""
    if row.based_on is None:
        return Difference()
    return difference(rules_of(row.based_on)[1], row.rules)
