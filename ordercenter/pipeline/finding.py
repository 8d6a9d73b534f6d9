"""Find a buyer's orders by the whole phone, without a readable phone anywhere."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction
from django.utils.translation import gettext_lazy as _

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can, require
from ordercenter.orders.errors import BadReason
from ordercenter.orders.identity import phone_key
from ordercenter.orders.models import OrderEvidence, SalesOrder

SEARCH: Final = "phone_search"
"""What the audit calls a search; its object is the person who searched."""
REASON: Final = range(5, 501)
MOST: Final = 50


class SearchesSpent(OrderCenterError):
    code = "searches_spent"
    message = _("今日按电话查找已达上限 %(most)d 次，请明日再试")
    http_status = 429  # type: ignore[assignment]


@transaction.atomic
def orders_by_phone(
    phone: str, *, reason: str, user: AbstractBaseUser, actor: Actor
) -> Sequence[SalesOrder]:
    """The newest orders in the user's shops that go to this phone, by its blind index.

    Right: REVEAL_RECEIVER. The search is on record without the number; so many a day and
    person. Orders of platforms that mask the phone are never found so.
    """
    require(user, Can.REVEAL_RECEIVER)
    if len(reason.strip()) not in REASON or "\0" in reason:
        raise BadReason(what="")
    key = phone_key(phone[:40])
    if not key:
        raise InvalidInput(what=_("请填写完整的电话号码（不含星号和分机）"))
    now = clock_now()
    _keep_to_quota(user, now)
    matching = OrderEvidence.objects.filter(phone_key=key).values("order_id")
    found = list(
        SalesOrder.objects.visible_to(user)
        .filter(pk__in=matching)
        .select_related("shop")
        .defer("receiver_sealed")
        .order_by("-placed_at")[:MOST]
    )
    record(
        Action.RECEIVER_REVEALED, object_type=SEARCH, object_id=user.pk, actor=actor,
        change={"by": "phone", "found": len(found)}, reason=reason.strip(),
    )  # fmt: skip
    return found


def _keep_to_quota(user: AbstractBaseUser, now: datetime) -> None:
    with connection.cursor() as cursor:  # two searches at one moment count each other
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{SEARCH}-{user.pk}"]
        )
    today = now.astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
    done = AuditRecord.objects.filter(
        object_type=SEARCH, object_id=user.pk, created_at__gte=today
    ).count()
    if done >= settings.PHONE_SEARCHES_A_DAY:
        raise SearchesSpent(most=settings.PHONE_SEARCHES_A_DAY)
