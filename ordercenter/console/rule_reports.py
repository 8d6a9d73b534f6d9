"""What a set of rules would have done, and whether it goes live: report, gate, trial run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from ordercenter.catalog.models import Channel
from ordercenter.console import rule_pages as pages
from ordercenter.console.access import me, page
from ordercenter.console.reasons import LONGEST
from ordercenter.console.rules import after_asking
from ordercenter.core.actor import Actor, names_of
from ordercenter.core.clock import now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can, allows, require
from ordercenter.pipeline import backtests
from risk import sets, shadow
from risk.language import digest_of
from risk.models import Backtest, RuleSet

SPANS: Final = (1, 3, 7, 14, 30)
"""Days a back-test may look back from the page."""
USUAL: Final = 7
RUNNING: Final = (Backtest.State.WAITING, Backtest.State.RUNNING)
MOST_DIFFERENCES: Final = 50
State = RuleSet.State


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart: ``share`` of the longest, for the eye."""

    label: str
    count: int
    most: int


@dataclass(frozen=True, slots=True)
class Figures:
    """A report as the page draws it."""

    told: Mapping[str, Any]
    hours: Sequence[Bar]
    channels: Sequence[Bar]
    names: Mapping[str, str]
    pairs: Sequence[tuple[str, str, int]]
    amounts: Sequence[tuple[Decimal, str]]
    right: Decimal | None
    """Share of the decided orders that were stopped rightly; None where nobody decided."""

    @property
    def rules(self) -> Sequence[Mapping[str, Any]]:
        """Those that hit most come first."""
        found: Sequence[Mapping[str, Any]] = self.told.get("rules", ())
        return sorted(found, key=lambda rule: -int(rule["hits"]))


@require_safe
@page(Can.VIEW_RULES)
def report_page(request: HttpRequest, version: int) -> HttpResponse:
    """The newest back-test of a set, and what its going live takes."""
    row = pages.set_or_404(version)
    if request.GET.get("fragment") == "progress":
        newest = Backtest.objects.filter(rule_set=row).defer("report").order_by("-asked_at").first()
        context = {"row": row, "test": newest}
        return render(request, "console/rules/parts/progress.html", context)
    return _draw(request, row)


def _draw(
    request: HttpRequest, row: RuleSet, *, error: str = "", status: int = HTTPStatus.OK
) -> HttpResponse:
    tests = Backtest.objects.filter(rule_set=row)
    done = tests.filter(state=Backtest.State.DONE).order_by("-done_at").first()
    is_closed = row.state not in {State.DRAFT, State.LIVE}
    gate = sets.gate_now(row) if is_closed else None
    context: dict[str, Any] = {
        "row": row,
        "error": error,
        "test": tests.defer("report").order_by("-asked_at").first(),
        "done": done,
        "figures": figures_of(done.report) if done else None,
        "is_stale": done is not None and done.digest != digest_of(row.rules),
        "spans": SPANS,
        "usual": USUAL,
        "gate": gate,
        "share": Decimal(gate.share.numerator) / gate.share.denominator if gate else None,
        "lived": is_closed and sets.lived_lately(row, now=now()),
        "asker": names_of([row.asked_by]).get(row.asked_by, "") if row.asked_at else "",
        "is_own": Actor.person(me(request)).mark in {row.asked_by, row.author},
        **_trial(request, row),
        "longest": LONGEST,
        "may_edit": allows(request.user, Can.EDIT_RULES),
        "may_approve": allows(request.user, Can.APPROVE_RULES),
    }
    return render(request, "console/rules/report.html", context, status=int(status))


def _trial(request: HttpRequest, row: RuleSet) -> dict[str, Any]:
    """Where the set's trial disagreed with the live rules, those nobody judged yet first."""
    if not row.is_shadow and sets.shadow_since(row) is None:
        return {}
    labeled = "labeled" in request.GET
    found = shadow.divergences(row.version, label=None if labeled else "")
    trial = shadow.trial_of(row)
    share = None if trial.precision is None else Decimal(str(round(trial.precision, 4)))
    names = {str(rule.get("code")): str(rule.get("name") or rule.get("code")) for rule in row.rules}
    return {
        "trial": trial,
        "trial_right": share,
        "trial_rules": [(names.get(code, code), count) for code, count in trial.by_rule],
        "differences": list(found[:MOST_DIFFERENCES]),
        "most_differences": MOST_DIFFERENCES,
        "labeled": labeled,
    }


def figures_of(told: Mapping[str, Any]) -> Figures:
    """The charts and tables of a stored report."""
    hours = [int(count) for count in told.get("by_hour", ())]
    channels = sorted(told.get("by_channel", {}).items(), key=lambda one: (-one[1], one[0]))
    names = {rule["code"]: rule.get("name") or rule["code"] for rule in told.get("rules", ())}
    labels = dict(Channel.choices)
    share = told.get("precision", {}).get("share")
    return Figures(
        told,
        [Bar(f"{hour:02}", count, max(hours)) for hour, count in enumerate(hours)],
        [Bar(str(labels.get(code, code)), count, channels[0][1]) for code, count in channels],
        names,
        [
            (names.get(pair["rules"][0], pair["rules"][0]),
             names.get(pair["rules"][1], pair["rules"][1]), int(pair["orders"]))
            for pair in told.get("overlap", ())
        ],
        [(Decimal(amount), code) for code, amount in told.get("held_amount", {}).items()],
        Decimal(str(share)) if share is not None else None,
    )  # fmt: skip


# --- acts -----------------------------------------------------------------------------------------


@require_POST
@page(Can.EDIT_RULES, Can.APPROVE_RULES)
def act(request: HttpRequest, version: int) -> HttpResponse:
    """One button of the report's page. What is refused is said there, with nothing changed."""
    row = pages.set_or_404(version)
    do = _ACTS.get(request.POST.get("verb", ""))
    if do is None:
        raise Http404
    try:
        messages.success(request, do(request, row))
    except OrderCenterError as refusal:
        row.refresh_from_db()
        return _draw(request, row, error=str(refusal), status=refusal.http_status)
    return HttpResponseRedirect(reverse("rules_report", args=[version]))


def _backtest(request: HttpRequest, row: RuleSet) -> str:
    require(request.user, Can.EDIT_RULES)
    text = request.POST.get("days", "")
    if text not in {str(days) for days in SPANS}:
        raise InvalidInput(what=_("请选择回测多少天"))
    running = Backtest.objects.filter(
        rule_set=row, digest=digest_of(row.rules), state__in=RUNNING,
        asked_at__gt=now() - timedelta(minutes=10),
    )  # fmt: skip
    if running.exists():
        return _("回测已经在算了")
    until = now()
    backtests.ask(row, until - timedelta(days=int(text)), until, actor=Actor.of(request))
    return _("回测已排队，算好会显示在这里")


def _activate(request: HttpRequest, row: RuleSet) -> str:
    done = sets.ask_activation(row.pk, me(request), reason=_reason(request),
                               actor=Actor.of(request))  # fmt: skip
    return after_asking(done)


def _approve(request: HttpRequest, row: RuleSet) -> str:
    done = sets.approve_activation(row.pk, me(request), reason=_reason(request),
                                   actor=Actor.of(request))  # fmt: skip
    return after_asking(done)


def _refuse(request: HttpRequest, row: RuleSet) -> str:
    sets.refuse_activation(row.pk, me(request), reason=_reason(request), actor=Actor.of(request))
    return _("已驳回，规则没有变化")


def _shadow(request: HttpRequest, row: RuleSet) -> str:
    sets.set_shadow(row.version, me(request), actor=Actor.of(request))
    return _("v%(version)s 开始试运行：只记录差异，不影响订单") % {"version": row.version}


def _unshadow(request: HttpRequest, row: RuleSet) -> str:
    require(request.user, Can.EDIT_RULES)
    if row.is_shadow:
        sets.set_shadow(None, me(request), actor=Actor.of(request))
    return _("试运行已结束，差异仍然保留")


def _label(request: HttpRequest, row: RuleSet) -> str:
    picked = [int(text) for text in request.POST.getlist("pick") if text.isdecimal()]
    count = shadow.label(
        picked[: shadow.MOST_LABELS + 1], request.POST.get("label", ""), me(request),
        version=row.version, actor=Actor.of(request),
    )  # fmt: skip
    return _("已判断 %(count)d 条差异") % {"count": count}


def _reason(request: HttpRequest) -> str:
    return request.POST.get("reason", "").strip()[:LONGEST]


_ACTS: Final[Mapping[str, Callable[[HttpRequest, RuleSet], str]]] = {
    "backtest": _backtest,
    "activate": _activate,
    "approve": _approve,
    "refuse": _refuse,
    "shadow": _shadow,
    "unshadow": _unshadow,
    "label": _label,
}
