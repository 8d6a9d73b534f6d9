"""A token that tries what it may not is somebody's mistake, or a theft: people hear of it."""

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from rest_framework.request import Request

from channels_sync.models import ApiToken
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor, ActorKind
from ordercenter.core.clock import now as clock_now
from ordercenter.notices import services as notices

OFTEN: Final = timedelta(hours=1)
"""A token that tries ten thousand times is told of once in this time."""


@transaction.atomic
def token_refused(request: Request, token: ApiToken) -> None:
    """Record and tell that this token was refused at this door."""
    now = clock_now()
    if _was_told(token.pk, now):
        return
    name = token.user.get_username()
    door = f"{request.method} {request.path}"[:200]
    record(
        Action.ACCESS_REFUSED, object_type="token", object_id=token.pk,
        change={"door": door, "token": str(token), "scopes": sorted(token.scopes)},
        actor=Actor(ActorKind.TOKEN, str(token.user_id), name),
    )  # fmt: skip
    notices.tell(
        key=f"token:{token.pk}:{now:%Y%m%d%H}",
        urgency="3",
        title="接口令牌越权被拒",
        lines=[f"账号 {name} 的令牌 {token}", door, "如非本人操作，请立即停用该令牌"],
        now=now,
    )


def _was_told(token_id: int, now: datetime) -> bool:
    return AuditRecord.objects.filter(
        object_type="token", object_id=token_id, action=Action.ACCESS_REFUSED,
        created_at__gt=now - OFTEN,
    ).exists()  # fmt: skip
