"""Who changed a rule does not decide what it let through or held the same day (X35)."""

from collections.abc import Collection
from datetime import datetime, time

from django.contrib.auth.models import AbstractBaseUser

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.actor import Actor
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from risk.models import RuleSet
from risk.set_rows import RULE_SET


def changed_today(user: AbstractBaseUser, *, now: datetime | None = None) -> frozenset[str]:
    """Codes of the rules that went live otherwise today by this person's hand.

    Whoever wrote the set or asked for it has a hand in every rule it changed; a second person
    who approved it has not. Today is the calendar day of Asia/Shanghai.
    """
    now = now or clock_now()
    midnight = datetime.combine(now.astimezone(SHANGHAI), time(), SHANGHAI)
    lately = RuleSet.objects.filter(activated_at__gte=midnight).values_list("pk", flat=True)
    rows = AuditRecord.objects.filter(
        object_type=RULE_SET, object_id__in=list(lately), action=Action.RULES_ACTIVATED,
        created_at__gte=midnight, change__people__contains=[Actor.person(user).mark],
    ).values_list("change", flat=True)  # fmt: skip
    return frozenset(
        code for change in rows for part in ("added", "changed", "removed") for code in change[part]
    )


def author_of_live_change_today(
    user: AbstractBaseUser, codes: Collection[str], *, now: datetime | None = None
) -> frozenset[str]:
    """Those of these rules that this person changed today, and must not decide upon."""
    return changed_today(user, now=now) & frozenset(codes) if codes else frozenset()
