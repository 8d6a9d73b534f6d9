"""Why an order was stopped or let through, as of any moment: every rule, and what was near."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from ordercenter.console.access import page
from ordercenter.console.orders import order_in_scope
from ordercenter.core.actor import names_of
from ordercenter.core.clock import SHANGHAI, now
from ordercenter.core.policy import Can
from ordercenter.orders.models import OrderHold
from ordercenter.orders.states import Tier
from ordercenter.pipeline import hindsight
from ordercenter.pipeline.hindsight import Otherwise, Then
from risk.explaining import Explained
from risk.models import RiskScore

LABELS: Final[tuple[tuple[str, Promise], ...]] = (
    ("refund_state", _("退款状态")),
    ("payable_amount", _("应付")),
    ("paid_amount", _("已付")),
    ("freight", _("运费")),
    ("paid_at", _("付款")),
    ("province", _("省")),
    ("city", _("市")),
    ("district", _("区县")),
    ("seller_memo", _("卖家备注")),
    ("priority", _("优先级")),
    ("promised_at", _("承诺发货")),
)
MOST_RECORDS: Final = 50


@dataclass(frozen=True, slots=True)
class Turn:
    """One rule that says otherwise today, in words."""

    told: Otherwise
    before: str
    after: str


@require_safe
@page(Can.VIEW_ORDERS)
def why_page(request: HttpRequest, number: str) -> HttpResponse:
    """The order as of ``at`` (now where none is given): its state, holds and verdict."""
    order = order_in_scope(request, number)
    typed = request.GET.get("at", "").strip()
    at = _moment(typed) if typed else now()
    error = "" if at else _("看不懂这个时间，请写成 2026-11-11 10:30")
    then = hindsight.as_of(order.pk, at or now())
    rules = hindsight.explained(then.verdict) if then.verdict else []
    context: dict[str, Any] = {
        "order": order, "then": then, "error": error, "typed": typed,
        "picker": _local(then.at), "is_now": not typed or not at,
        "status": then.status.label if then.status else "",
        "fields": [(label, _shown(then.fields[name])) for name, label in LABELS
                   if then.fields[name] not in {None, "", "none"}],
        "holds": _holds(then),
        "hits": [one for one in rules if one.fired],
        "skipped": [one for one in rules if not one.fired and one.skipped],
        "near": _near(rules),
        "score": RiskScore.objects.filter(order=order, scored_at__lte=then.at).first(),
        "records": then.records[:MOST_RECORDS],
        **_again(then),
    }  # fmt: skip
    status = HTTPStatus.UNPROCESSABLE_ENTITY if error else HTTPStatus.OK
    return render(request, "console/why.html", context, status=status)


def _moment(text: str) -> datetime | None:
    """What the picker or a person wrote; Shanghai time where no offset is given."""
    try:
        found = parse_datetime(text.replace("/", "-")) if len(text) < 40 else None  # noqa: PLR2004
    except ValueError:
        return None
    if found is None:
        return None
    return found if found.tzinfo else found.replace(tzinfo=SHANGHAI)


def _shown(value: str | None) -> str:
    """A field of then; instants as the clock on the wall has them."""
    try:
        at = datetime.fromisoformat(value or "")
    except ValueError:
        return value or ""
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}" if at.tzinfo else str(value)


def _local(at: datetime) -> str:
    """As ``datetime-local`` wants it."""
    return f"{at.astimezone(SHANGHAI):%Y-%m-%dT%H:%M:%S}"


def _holds(then: Then) -> list[tuple[OrderHold, str]]:
    """Holds open then, with who released them since."""
    names = names_of({hold.released_by for hold in then.holds})
    return [(hold, names.get(hold.released_by, "")) for hold in then.holds]


def _near(rules: list[Explained]) -> list[Explained]:
    """Rules that were asked and did not hit, the nearest to a hit first."""
    passed = [one for one in rules if not one.fired and not one.skipped]
    return sorted(passed, key=lambda one: (not one.flip, len(one.flip)))


def _again(then: Then) -> dict[str, Any]:
    """The verdict judged once more, and what today's rules say otherwise."""
    if then.verdict is None:
        return {"verdict": None}
    replay = hindsight.replay(then.verdict)
    return {
        "verdict": then.verdict,
        "tier": Tier(then.verdict.tier).label,
        "replay": replay,
        "turns": [Turn(one, _outcome(one.before), _outcome(one.after)) for one in replay.today],
    }


def _outcome(told: str) -> str:
    if told == "absent":
        return str(_("没有这条规则"))
    return str(_("命中 %(tier)s") % {"tier": Tier(told).label} if told else _("未命中"))
