"""An order as it stood at a moment, and the verdict it had then, judged once more.

Versions are counted under the order's row lock and are the true order of its changes; a moment
is the last version whose record is not younger. Nothing here changes anything.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from django.db.models import Q

from ordercenter.audit.models import AuditRecord
from ordercenter.core.bulk import dumps
from ordercenter.core.errors import NotFound
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import OrderStatus
from risk.contracts import Judgement, Seen
from risk.explaining import Explained, explain
from risk.facts import facts_from_inputs
from risk.judging import findings_of, judge
from risk.language import Compare, FactSpec, Program, compares
from risk.models import Verdict
from risk.rows import plain, tags_of
from risk.sets import live_program, program_of

ORDER: Final = "order"
SHOWN: Final = (
    "status", "channel_status", "refund_state", "currency", "payable_amount", "paid_amount",
    "freight", "placed_at", "paid_at", "province", "city", "district", "seller_memo", "priority",
    "promised_at", "deposit_amount", "deposit_paid_at",
)  # fmt: skip
"""Fields of an order that are walked back in time."""
HIDDEN: Final = "***"
"""Stands in the record for what is never written there; the value of then is not known."""


@dataclass(frozen=True, slots=True)
class Then:
    """One order as of one moment."""

    order: SalesOrder
    """As it is now."""
    at: datetime
    version: int
    """0 where it had not come in yet."""
    status: OrderStatus | None
    fields: Mapping[str, str | None]
    """As texts; ``HIDDEN`` where the record does not say what it was."""
    holds: tuple[OrderHold, ...]
    """Open then, the worst first."""
    verdict: Verdict | None
    records: tuple[AuditRecord, ...]
    """Everything that had happened, the newest first."""


def as_of(order_id: int, at: datetime) -> Then:
    """The order as it stood at a moment, that moment included. Raises NotFound."""
    order = (
        SalesOrder.objects.select_related("shop")
        .defer("receiver_sealed")
        .filter(pk=order_id)
        .first()
    )
    if order is None:
        raise NotFound(what=f"订单 {order_id}")
    records = list(
        AuditRecord.objects.filter(
            object_type=ORDER, object_id=order_id, version__isnull=False
        ).order_by("-version")
    )
    past = [one for one in records if one.created_at <= at]
    version = past[0].version or 0 if past else 0
    later = [one for one in records if (one.version or 0) > version]
    status = _status(past)
    return Then(
        order, at, version, status, _walked_back(order, later, status), _holds(order_id, version),
        _verdict(order_id, version), tuple(past),
    )  # fmt: skip


def _status(past: Sequence[AuditRecord]) -> OrderStatus | None:
    """Where the last record that says so left the order."""
    for one in past:
        told = one.change.get("status")
        if told:
            return OrderStatus(told[-1])
    return None


def _walked_back(
    order: SalesOrder, later: Sequence[AuditRecord], status: OrderStatus | None
) -> dict[str, str | None]:
    """The fields as they were before ``later``, which are the newest first."""
    found = {name: _text(getattr(order, name)) for name in SHOWN}
    for one in later:
        for name, told in one.change.items():
            if name not in found or name == "status":
                continue
            found[name] = _text(told[0]) if isinstance(told, list) else HIDDEN
    return found | {"status": status.value if status else None}


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, date) else str(value)


def _holds(order_id: int, version: int) -> tuple[OrderHold, ...]:
    stood = OrderHold.objects.filter(
        Q(closed_version=None) | Q(closed_version__gt=version),
        order=order_id, opened_version__lte=version,
    )  # fmt: skip
    return tuple(stood.order_by("-tier", "opened_at", "pk"))


def _verdict(order_id: int, version: int) -> Verdict | None:
    found = Verdict.objects.filter(order=order_id, order_version__lte=version)
    return found.order_by("-pk").first()


# --- the same verdict again -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Otherwise:
    """One rule that says otherwise by today's rules, on the facts of then."""

    code: str
    name: str
    before: str
    """``""`` for no hit, else its tier; ``absent`` where the set had no such rule."""
    after: str
    words: str = ""
    """What it says of its hit today."""
    because: str = ""
    """``rule`` where the rule itself is another, ``facts`` where it is the same and asks what
    nobody counted then."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A stored verdict judged again from its own inputs."""

    verdict: Verdict
    can_replay: bool
    """False for a verdict whose inputs were not kept."""
    stored: str = ""
    """Digest of the verdict as it was stored."""
    again: str = ""
    """Digest of what the same rules say of the same inputs now."""
    today_version: int = 0
    today: tuple[Otherwise, ...] = ()
    """What the live rules say otherwise on the same inputs."""
    unknown_today: tuple[str, ...] = ()
    """Facts that today's rules ask and that nobody counted then."""

    @property
    def is_identical(self) -> bool:
        return self.can_replay and self.stored == self.again


def replay(verdict: Verdict) -> Replay:
    """Judge a stored verdict again: by its own rules, and by today's."""
    own = program_of(verdict.rule_set_version)
    told = facts_from_inputs(verdict.order_id, own, verdict.inputs)
    if told is None:
        return Replay(verdict, can_replay=False)
    subject, facts, around = told
    again = judge(subject, own, facts, around)
    today = live_program()
    known, missing = _facts_for(today, own, verdict)
    now = judge(subject, today, known, around)
    return Replay(
        verdict, True, digest_of_verdict(verdict.tier, verdict.tags, verdict.findings),
        digest_of_verdict(again.tier, tags_of(again), [plain(one) for one in findings_of(again)]),
        today.version, tuple(_otherwise(again, now, own, today)), missing,
    )  # fmt: skip


def digest_of_verdict(tier: str, tags: Any, findings: Any) -> str:
    """SHA-256 of what a verdict says, as canonical JSON."""
    said = json.loads(dumps({"tier": tier, "tags": list(tags), "findings": list(findings)}))
    text = json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _facts_for(
    today: Program, own: Program, verdict: Verdict
) -> tuple[dict[FactSpec, Seen], tuple[str, ...]]:
    """The facts of then for other rules; what was not counted then is unknown, and named.

    Of typed text only the words were kept that the rules of then asked for: a rule that asks
    for another word cannot be told, either.
    """
    told = facts_from_inputs(verdict.order_id, today, verdict.inputs)
    assert told is not None  # its own rules could read it
    _, facts, _ = told
    counted, words = set(verdict.inputs.get("facts", ())), _words(own)
    missing = {
        one.spec for rule in today.rules for one in compares(rule.when)
        if one.spec.label not in counted
        or (one.spec.kind.type == "text" and not set(_asked(one)) <= words[one.spec.label])
    }  # fmt: skip
    for spec in missing:
        facts[spec] = Seen(None, detail="当时没有统计")
    return facts, tuple(sorted(spec.label for spec in missing))


def _words(program: Program) -> Mapping[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for rule in program.rules:
        for one in compares(rule.when):
            found[one.spec.label].update(_asked(one))
    return found


def _asked(one: Compare) -> tuple[str, ...]:
    return one.value if isinstance(one.value, tuple) else ()


def _otherwise(
    before: Judgement, after: Judgement, own: Program, today: Program
) -> Iterator[Otherwise]:
    was, now = ({one.code: one for one in found.hits} for found in (before, after))
    rules, new_rules = ({rule.code: rule for rule in one.rules} for one in (own, today))
    for code in dict.fromkeys((*rules, *new_rules)):
        told = [
            found[code].tier if code in found else "" if code in known else "absent"
            for found, known in ((was, rules), (now, new_rules))
        ]
        if told[0] == told[1] or set(told) == {"", "absent"}:
            continue
        rule = new_rules.get(code) or rules[code]
        yield Otherwise(
            code, rule.name, told[0], told[1], now[code].words if code in now else "",
            "facts" if rules.get(code) == new_rules.get(code) else "rule",
        )  # fmt: skip


def explained(verdict: Verdict) -> list[Explained]:
    """Every rule of the verdict's set: what it saw, and what would have turned it round.

    Empty where the verdict's inputs were not kept.
    """
    own = program_of(verdict.rule_set_version)
    told = facts_from_inputs(verdict.order_id, own, verdict.inputs)
    if told is None:
        return []
    subject, facts, around = told
    return explain(subject, own, facts, around)
