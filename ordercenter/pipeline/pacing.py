"""How fast one person may let orders go: faster than he can look is not a look (X29)."""

from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import connection
from django.utils.translation import gettext_lazy as _

from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput
from ordercenter.orders.models import OrderHold

PACE_LOCK: Final = 7_205_051
A_MINUTE: Final = timedelta(minutes=1)
MOST_A_MINUTE: Final = 300
"""One full bulk of 200 fits and a second does not."""


class TooFast(InvalidInput):
    code = "too_fast"
    message = _("一分钟内已放行 %(done)d 单，上限 %(most)d 单；请打开卡片逐单核对，稍后再继续")


def keep_pace(user: AbstractBaseUser, *, more: int = 1, now: datetime | None = None) -> None:
    """Raise TooFast where ``more`` releases would be too many within a minute.

    Two requests of one person queue here until the first commits, so that they count each
    other. Asked before any order is locked.
    """
    now = now or clock_now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [PACE_LOCK, user.pk])
    done = (
        OrderHold.objects.filter(
            released_by=f"person:{user.pk}",
            released_by__startswith="person:",  # what the index is for
            interception=None,
            released_at__gt=now - A_MINUTE,
        )
        .values("order_id")
        .distinct()
        .count()
    )
    if done + more > MOST_A_MINUTE:
        raise TooFast(done=done, most=MOST_A_MINUTE)
