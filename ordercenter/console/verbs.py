"""The decisions people take about one order, as its forms post them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.http import Http404, HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ordercenter.console.access import me
from ordercenter.console.reasons import checked_reason
from ordercenter.core.actor import Actor
from ordercenter.core.clock import SHANGHAI, now
from ordercenter.core.errors import InvalidInput
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import asking, decisions, gifting, holding, trusting

MOST_HOLDS: Final = 100
SNOOZES: Final[Mapping[str, tuple[Promise, timedelta]]] = {
    "4h": (_("4 小时"), timedelta(hours=4)),
    "1d": (_("1 天"), timedelta(days=1)),
    "3d": (_("3 天"), timedelta(days=3)),
    "7d": (_("7 天"), timedelta(days=7)),
}
MOST_HOURS: Final = 24 * 30


@dataclass(frozen=True, slots=True)
class Decision:
    """What a user was shown and what he decided on it."""

    order: SalesOrder
    version: int
    hold_ids: tuple[int, ...]
    reason: str
    request: HttpRequest

    def facts(self) -> dict[str, Any]:
        return {
            "user": me(self.request),
            "actor": Actor.of(self.request),
            "seen_version": self.version,
            "reason": self.reason,
        }


def _release(it: Decision) -> None:
    decisions.release_order(it.order.pk, it.hold_ids, **it.facts())


def _return(it: Decision) -> None:
    decisions.return_for_edit(it.order.pk, **it.facts())


def _after_sales(it: Decision) -> None:
    decisions.hand_to_after_sales(it.order.pk, **it.facts())


def _ask_customer(it: Decision) -> None:
    facts = it.facts()
    asking.ask_customer(it.order.pk, facts.pop("reason"), **facts)


def _trust(it: Decision) -> None:
    trusting.trust_customer(
        it.order.pk,
        it.hold_ids,
        key=it.request.POST.get("key", ""),
        days=number_in(it.request.POST.get("days", "")),
        **it.facts(),
    )


def _snooze(it: Decision) -> None:
    until = _moment(it.request.POST.get("until", ""))
    if until is None:
        choice = SNOOZES.get(it.request.POST.get("for", ""))
        if choice is None:
            raise InvalidInput(what=_("请选择暂缓到什么时候"))
        until = now() + choice[1]
    holding.snooze(it.order.pk, until, **it.facts())


def _hold(it: Decision) -> None:
    hours = it.request.POST.get("ahead", "").strip()
    if hours and (not hours.isascii() or not hours.isdigit() or int(hours[:4]) > MOST_HOURS):
        raise InvalidInput(what=_("提前的小时数应为 0 到 720"))
    holding.hold_until(
        it.order.pk,
        until=_moment(it.request.POST.get("until", "")),
        ahead=timedelta(hours=int(hours[:4])) if hours else None,
        rush_after="rush" in it.request.POST,
        **it.facts(),
    )


def _moment(text: str) -> datetime | None:
    """The moment a field of date and time holds, in Shanghai; None where it is empty."""
    if not text.strip():
        return None
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%dT%H:%M").replace(tzinfo=SHANGHAI)
    except ValueError:
        raise InvalidInput(what=_("时间格式不对")) from None


def _ask(it: Decision) -> None:
    decisions.ask_release(it.order.pk, **it.facts())


def _withdraw(it: Decision) -> None:
    decisions.withdraw_request(it.order.pk, **it.facts())


def _approve(it: Decision) -> None:
    decisions.approve_release(it.order.pk, **it.facts())


def _refuse(it: Decision) -> None:
    decisions.refuse_release(it.order.pk, **it.facts())


def _cancel(it: Decision) -> None:
    decisions.cancel_order(it.order.pk, **it.facts())


def _give_gift(it: Decision) -> None:
    quantity = it.request.POST.get("quantity", "").strip()
    gifting.give_by_hand(
        it.order.pk,
        it.request.POST.get("gift", "").replace("\0", ""),
        number_in(quantity) if quantity else None,
        **it.facts(),
    )


def _drop_gift(it: Decision) -> None:
    gifting.drop_gift(it.order.pk, number_in(it.request.POST.get("line", "")), **it.facts())


def _freeze(it: Decision) -> None:
    facts = it.facts()
    del facts["seen_version"]  # a freeze counts whatever happened meanwhile
    decisions.freeze_order(it.order.pk, **facts)


VERBS: Final[Mapping[str, tuple[Callable[[Decision], None], Promise]]] = {
    "release": (_release, _("%(number)s 已放行")),
    "return": (_return, _("%(number)s 已退回修改")),
    "after_sales": (_after_sales, _("%(number)s 已转售后")),
    "ask_customer": (_ask_customer, _("%(number)s 的问题已交客服询问买家")),
    "trust": (_trust, _("%(number)s 已放行，该买家在期限内不再因二级规则挂起")),
    "snooze": (_snooze, _("%(number)s 已暂缓，到时自动回到审核墙")),
    "hold": (_hold, _("%(number)s 已挂起，到时自动解除")),
    "ask": (_ask, _("%(number)s 已申请解冻，等待总经理批准")),
    "withdraw": (_withdraw, _("%(number)s 的解冻申请已撤回")),
    "approve": (_approve, _("%(number)s 已批准解冻")),
    "refuse": (_refuse, _("%(number)s 已驳回解冻申请")),
    "cancel": (_cancel, _("%(number)s 已取消")),
    "give_gift": (_give_gift, _("%(number)s 已加赠")),
    "drop_gift": (_drop_gift, _("%(number)s 不再发这件赠品")),
    "freeze": (_freeze, _("%(number)s 已冻结")),
}
OF_CEO: Final = frozenset({"approve", "refuse"})
"""Verbs that ask for a password that was typed lately."""


def verb_of(request: HttpRequest) -> tuple[Callable[[Decision], None], Promise]:
    try:
        return VERBS[request.POST.get("verb", "")]
    except KeyError:
        raise Http404 from None


def reason_of(request: HttpRequest, order: SalesOrder) -> str:
    """The reason as it goes on record; of a question to the buyer, the question."""
    if request.POST.get("verb") != "ask_customer":
        return request.POST.get("reason", "").strip()
    typed = " ".join(request.POST.get("question", "").split())
    return typed or asking.question_for(request.POST.get("template", ""), order)


def read_decision(request: HttpRequest, order: SalesOrder) -> Decision:
    return Decision(
        order=order,
        version=number_in(request.POST.get("version", "")),
        hold_ids=tuple(number_in(pk) for pk in request.POST.getlist("hold")[:MOST_HOLDS]),
        reason=checked_reason(reason_of(request, order)),
        request=request,
    )


def number_in(text: str) -> int:
    """A whole number out of a form, or InvalidInput."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # noqa: PLR2004 - a bigint
        raise InvalidInput(what=_("页面内容不完整，请刷新后重试"))
    return int(text)
