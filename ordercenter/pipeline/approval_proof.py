"""The proof of what was decided on a frozen order: exported as a file, itself on record."""

from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from ordercenter.audit import proof, seals
from ordercenter.audit.chain import link_pending
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import dumps
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.masking import mask_numbers
from ordercenter.core.policy import Can, require
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import Tier
from risk.defaults import default_rules
from risk.models import RuleSet, Verdict

ORDER: Final = "order"
ATTEMPTS: Final = 5


def was_frozen(order_id: int) -> bool:
    """Whether there is, or was, a tier-3 hold to decide on."""
    return OrderHold.objects.filter(order_id=order_id, tier=Tier.FREEZE).exists()


def export_proof(order_id: int, *, user: AbstractBaseUser, actor: Actor) -> proof.Document:
    """The signed proof of one order's tier-3 decisions; that it was made is on record, too.

    Right: EXPORT_PROOF. It names no receiver. Raises NotFound for orders out of sight and
    InvalidInput where there never was a freeze.
    """
    require(user, Can.EXPORT_PROOF)
    order = (
        SalesOrder.objects.visible_to(user).select_related("shop").defer("receiver_sealed")
        .filter(pk=order_id).first()
    )  # fmt: skip
    if order is None:
        raise NotFound(what=f"订单 {order_id}")
    if not was_frozen(order_id):
        raise InvalidInput(what="该订单没有三级冻结，没有可导出的审批证明")
    found = _evidence(order_id)
    document = proof.signed(
        {
            "made_at": clock_now().isoformat(),
            "made_by": {"id": actor.id, "name": actor.name, "role": actor.role},
            "subject": _subject(order),
            "holds": _holds(order_id),
            "verdicts": _verdicts(order_id),
            "decisions": proof.decisions_of(found["records"]),
            **found,
        }
    )
    with transaction.atomic():
        record(
            Action.PROOF_EXPORTED, object_type=ORDER, object_id=order_id, actor=actor,
            change={"fingerprint": [None, proof.fingerprint(document)]},
        )  # fmt: skip
    return document


def _evidence(order_id: int) -> proof.Document:
    """Link and seal what is on record, then take it. Others may link at the same moment."""
    wanted = AuditRecord.objects.filter(object_type=ORDER, object_id=order_id).count()
    for _attempt in range(ATTEMPTS):
        while link_pending():
            pass
        seals.seal_up(now=clock_now())
        try:
            found = proof.evidence(ORDER, order_id, records=wanted)
        except proof.NotSealed:
            continue
        seals.publish(seals.seals_folder())
        return found
    raise InvalidInput(what="审计记录正在入链，请稍后再试")


def _subject(order: SalesOrder) -> dict[str, Any]:
    return {
        "number": order.number,
        "shop": order.shop.name,
        "channel": order.shop.channel,
        "channel_number": order.channel_number,
        "status": order.status,
        "version": order.version,
        "payable_amount": str(order.payable_amount),
        "currency": order.currency,
        "placed_at": order.placed_at.isoformat(),
        "paid_at": order.paid_at.isoformat() if order.paid_at else None,
    }


def _holds(order_id: int) -> list[dict[str, Any]]:
    rows = OrderHold.objects.filter(order_id=order_id).order_by("opened_version", "pk")
    return [
        {
            "kind": hold.kind,
            "code": hold.code,
            "tier": hold.tier,
            "words": mask_numbers(hold.words),
            "opened_at": hold.opened_at.isoformat(),
            "opened_version": hold.opened_version,
            "asked_by": hold.asked_by,
            "released_at": hold.released_at.isoformat() if hold.released_at else None,
            "released_by": hold.released_by,
            "release_reason": mask_numbers(hold.release_reason),
            "closed_version": hold.closed_version,
        }
        for hold in rows
    ]


def _verdicts(order_id: int) -> list[dict[str, Any]]:
    """Every verdict with what it found, and the rules that hit as they were in its version."""
    rows = list(Verdict.objects.filter(order_id=order_id).order_by("pk"))
    sets = dict(
        RuleSet.objects.filter(version__in={row.rule_set_version for row in rows}).values_list(
            "version", "rules"
        )
    )
    if any(row.rule_set_version == 0 for row in rows):
        sets.setdefault(0, default_rules())
    told = []
    for row in rows:
        hits = [finding for finding in row.findings if finding.get("hit")]
        codes = {finding.get("code") for finding in hits}
        rules = sets.get(row.rule_set_version, [])
        told.append(
            {
                "order_version": row.order_version,
                "rule_set_version": row.rule_set_version,
                "tier": row.tier,
                "at": row.created_at.isoformat(),
                "hits": hits,
                "rules": [rule for rule in rules if rule.get("code") in codes],
                "rule_set_hash": proof.hash_of_text(dumps(rules)),
            }
        )
    return told
