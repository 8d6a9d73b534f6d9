"""The same decision on many cards, each by itself: what is refused stays with its row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.utils.translation import gettext_lazy as _

from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can, require
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import Tier
from ordercenter.pipeline import decisions
from ordercenter.pipeline.pacing import keep_pace

MOST_AT_ONCE: Final = 200


class FrozenOrder(OrderCenterError):
    code = "frozen"
    message = _("三级冻结，须由总经理批准")


@dataclass(frozen=True, slots=True)
class Ticked:
    """One row as its user saw it."""

    number: str
    version: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one row."""

    number: str
    is_done: bool
    words: str


Act = Callable[[int, int], None]
"""(order, version seen); raises OrderCenterError to refuse."""


def _release(
    order_id: int, version: int, *, user: AbstractBaseUser, actor: Actor, reason: str
) -> None:
    """Let go of everything this person may let go of; an order that is frozen as well, not."""
    holds = dict(OrderHold.objects.open().filter(order_id=order_id).values_list("pk", "tier"))
    if Tier.FREEZE in holds.values():
        raise FrozenOrder
    decisions.release_order(
        order_id, list(holds), user=user, actor=actor, seen_version=version, reason=reason
    )


def _return(
    order_id: int, version: int, *, user: AbstractBaseUser, actor: Actor, reason: str
) -> None:
    decisions.return_for_edit(order_id, user=user, actor=actor, seen_version=version, reason=reason)


VERBS: Final[Mapping[str, Callable[..., None]]] = {"release": _release, "return": _return}


def decide_each(
    rows: Sequence[Ticked],
    verb: str,
    *,
    count: int | None,
    reason: str,
    user: AbstractBaseUser,
    actor: Actor,
) -> list[Answer]:
    """Decide each row in this order; return what became of each.

    ``count`` is how many the user typed he means. Raises InvalidInput where it is another
    number or more than 200, BadReason, TooFast where so many releases would be too many in a
    minute, NotAllowed: then nothing is decided. What is not his to see is not found, row by row.
    """
    require(user, Can.REVIEW)
    reason = decisions.checked_reason(reason)
    if not rows:
        raise InvalidInput(what=_("请先勾选订单"))
    if len(rows) > MOST_AT_ONCE:
        raise InvalidInput(what=_("一次最多处理 %(most)d 单") % {"most": MOST_AT_ONCE})
    if count != len(rows):
        raise InvalidInput(what=_("单数不符，请核对后重新输入"))
    if verb == "release":
        keep_pace(user, more=len(rows))
    ids = dict(
        SalesOrder.objects.visible_to(user)
        .filter(number__in=[row.number for row in rows])
        .values_list("number", "pk")
    )
    act: Act = partial(VERBS[verb], user=user, actor=actor, reason=reason)
    return [_answer(row, ids.get(row.number), act) for row in rows]


def _answer(row: Ticked, order_id: int | None, act: Act) -> Answer:
    if order_id is None:
        return Answer(row.number, False, str(_("找不到这张订单")))
    try:
        act(order_id, row.version)
    except OrderCenterError as refusal:
        return Answer(row.number, False, str(refusal))
    return Answer(row.number, True, str(_("已处理")))
