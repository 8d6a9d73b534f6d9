"""Rules proposed from decisions: a person takes one as a draft, or refuses it with a reason."""

from datetime import timedelta
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.policy import Can, require
from ordercenter.pipeline import backtests
from ordercenter.pipeline.decisions import checked_reason
from ordercenter.pipeline.learning import BACKTEST_DAYS, merged
from risk.models import RuleProposal, RuleSet
from risk.sets import new_draft, save_draft

OBJECT: Final = "rule_proposal"
State = RuleProposal.State


@transaction.atomic
def take(pk: int, *, user: AbstractBaseUser, actor: Actor) -> RuleSet:
    """Make a draft of the live rules with this one among them, and queue its back-test.

    Nothing goes live. Raises NotFound, InvalidInput where somebody has decided already.
    """
    require(user, Can.EDIT_RULES)
    row = _open(pk)
    note = f"采用建议：{row.words}"[:200]
    draft = new_draft(None, user, note=note, actor=actor)
    draft = save_draft(
        draft.pk, merged(draft.rules, row.rule), draft.edits, user, note=note, actor=actor
    )
    now = clock_now()
    backtests.ask(draft, now - timedelta(days=BACKTEST_DAYS), now, actor=actor)
    _decide(row, State.TAKEN, actor=actor, reason="", draft=draft.version)
    return draft


@transaction.atomic
def refuse(pk: int, *, user: AbstractBaseUser, actor: Actor, reason: str) -> RuleProposal:
    """Put a proposal away for good, with the reason. Raises NotFound, BadReason, InvalidInput."""
    require(user, Can.EDIT_RULES)
    reason = checked_reason(reason)
    row = _open(pk)
    _decide(row, State.REFUSED, actor=actor, reason=reason, draft=None)
    return row


def _open(pk: int) -> RuleProposal:
    row = RuleProposal.objects.select_for_update(no_key=True).filter(pk=pk).first()
    if row is None:
        raise NotFound(what=f"规则建议 {pk}")
    if row.state != State.OPEN:
        raise InvalidInput(what=f"这条建议已处理：{row.get_state_display()}")
    return row


def _decide(
    row: RuleProposal, state: State, *, actor: Actor, reason: str, draft: int | None
) -> None:
    row.state, row.decided_by, row.decided_at = state, actor.name[:64], clock_now()
    row.figures = {**row.figures, "reason": reason, "draft": draft}
    row.save(update_fields=["state", "decided_by", "decided_at", "figures"])
    record(
        Action.RULES_CHANGED, object_type=OBJECT, object_id=row.pk, actor=actor,
        change={"state": [State.OPEN.value, state.value], "draft": draft}, reason=reason,
    )  # fmt: skip
