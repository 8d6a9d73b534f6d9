"""Who looks at which card: one person at a time, for a while.

A claim is a row with an end. It is renewed while its page is open and falls to whoever asks
once it has run out; nobody has to come and unlock it. Who decides gives it up.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.models import AbstractBaseUser, User
from django.db import connection
from django.utils.translation import gettext_lazy as _

from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import NotFound, OrderCenterError
from ordercenter.core.live import announce
from ordercenter.core.policy import Can, require
from ordercenter.orders.models import CardClaim, OrderHold, SalesOrder

LASTS: Final = timedelta(minutes=5)

# One statement: the look and the act cannot come apart, whoever else claims at this moment.
_CLAIM: Final = """
    INSERT INTO orders_cardclaim AS c (order_id, user_id, claimed_at, expires_at)
    VALUES (%(order)s, %(user)s, %(now)s, %(until)s)
    ON CONFLICT (order_id) DO UPDATE SET
        claimed_at = CASE WHEN c.user_id = excluded.user_id AND c.expires_at > %(now)s
                          THEN c.claimed_at ELSE excluded.claimed_at END,
        user_id = excluded.user_id, expires_at = excluded.expires_at
    WHERE c.user_id = excluded.user_id OR c.expires_at <= %(now)s
    RETURNING claimed_at, expires_at
"""


class CardTaken(OrderCenterError):
    code = "card_taken"
    message = _("订单 %(number)s 由 %(who)s 从 %(since)s 起处理中，请等其处理完或超时后再试")


@dataclass(frozen=True, slots=True)
class Claim:
    """Who has a card, since when, and until when unless he renews it."""

    order_id: int
    user_id: int
    who: str
    claimed_at: datetime
    expires_at: datetime


def claim_card(order_id: int, *, user: AbstractBaseUser, now: datetime | None = None) -> Claim:
    """Take the card of a held order, or keep it a while longer; right REVIEW.

    Raises CardTaken while somebody else has it, NotFound where no hold is open.
    """
    require(user, Can.REVIEW)
    now = now or clock_now()
    held = OrderHold.objects.open().filter(order_id=order_id).exists()
    if not held or not SalesOrder.objects.visible_to(user).filter(pk=order_id).exists():
        raise NotFound(what=f"订单 {order_id}")
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {"order": order_id, "user": user.pk, "now": now, "until": now + LASTS},
        )
        row = cursor.fetchone()
    if row is None:
        _refuse(order_id, now=now)
    if row[0] == now:
        announce("orders", claimed=order_id)
    return Claim(order_id, user.pk, _name(user), row[0], row[1])


def _refuse(order_id: int, *, now: datetime) -> None:
    number = SalesOrder.objects.values_list("number", flat=True).get(pk=order_id)
    found = claims_of([order_id], now=now).get(order_id)
    if found is None:  # it ran out, or was given up, between the two looks
        raise CardTaken(number=number, who=_("同事"), since=_("刚才"))
    raise CardTaken(number=number, who=found.who, since=_clock(found.claimed_at))


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(SHANGHAI):%H:%M:%S}"


def _name(user: AbstractBaseUser) -> str:
    assert isinstance(user, User)
    return user.get_full_name() or user.get_username()


def leave_card(order_id: int, *, user: AbstractBaseUser) -> bool:
    """Give the own claim up. Return whether there was one."""
    gone, _rows = CardClaim.objects.filter(order_id=order_id, user_id=user.pk).delete()
    if gone:
        announce("orders", left=order_id)
    return bool(gone)


def claims_of(order_ids: Collection[int], *, now: datetime | None = None) -> dict[int, Claim]:
    """The claims that have not run out, by order."""
    rows = CardClaim.objects.filter(
        order_id__in=order_ids, expires_at__gt=now or clock_now()
    ).select_related("user")
    return {
        row.order_id: Claim(
            row.order_id, row.user_id, _name(row.user), row.claimed_at, row.expires_at
        )
        for row in rows
    }


def settle_claim(order_id: int, *, number: str, user: AbstractBaseUser) -> None:
    """End the claim on a card that is being decided; the order row is locked by the caller.

    Raises CardTaken where somebody else has it.
    """
    claim = CardClaim.objects.select_for_update(of=("self",)).filter(order_id=order_id).first()
    if claim is None:
        return
    if claim.user_id != user.pk and claim.expires_at > clock_now():
        who = _name(User.objects.get(pk=claim.user_id))
        raise CardTaken(number=number, who=who, since=_clock(claim.claimed_at))
    claim.delete()
