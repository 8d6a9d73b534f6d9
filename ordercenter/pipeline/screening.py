"""The rules on the path: who is judged, and what follows of what they found.

A hit of tier 2 or 3 opens a hold; tier 1 fills what is missing and lets the order go on; any may
raise its priority and tell people. An order that was over before it came is judged for the
record, and nothing follows.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from django.db import connection

from inventory.selectors import SourceMap
from ordercenter.catalog.selectors import Priced, Shelf
from ordercenter.core.actor import ActorKind
from ordercenter.orders.models import OrderHold
from ordercenter.orders.states import OPEN, HoldKind, OrderStatus
from ordercenter.pipeline.alarming import tell_hits
from ordercenter.pipeline.drafts import known_receiver, missing_fields
from ordercenter.pipeline.work import HoldDraft, Work
from risk import services as risk
from risk.conditions import fits_of, test_of
from risk.contracts import Finding, Subject, SubjectLine
from risk.facts import compute
from risk.language import Program
from risk.shadow import judge_beside

S = OrderStatus
SHOWN_ORDERS: Final = 50
SHIPPED_ELSEWHERE: Final = "shipped_elsewhere"


def screen(works: Sequence[Work], program: Program, shelf: Shelf, *, now: datetime) -> None:
    """Run these rules over every mapped order that needs a verdict, and act on it."""
    due = [w for w in works if w.must_judge and w.status in OPEN - {S.RECEIVED}]
    if not due:
        return
    subjects = subjects_of(due, program, shelf)
    judgements = risk.screen(
        subjects,
        program,
        now=now,
        stored=[w.id for w in due if not w.fresh],
        history={w.id for w in due if w.held_by_code(HoldKind.CHANNEL, SHIPPED_ELSEWHERE)},
    )
    for work, judgement in zip(due, judgements, strict=True):
        work.judgement = judgement
    judge_beside(subjects, judgements, now=now)
    stops = stops_of(due)
    for work in due:
        for hold in stops.get(work.id, ()):
            work.hold(hold)
        _put_right(work)
    tell_hits(due, now=now)


def stops_of(works: Sequence[Work]) -> dict[int, list[HoldDraft]]:
    """The holds these orders' judgements ask for, without what a person has let pass."""
    passed = _passed_by_people([w for w in works if not w.fresh and _stopping(w)])
    found: dict[int, list[HoldDraft]] = {}
    for work in works:
        for finding in _stopping(work):
            hold = _rule_hold(finding)
            if (work.id, finding.code, _same(hold.evidence)) not in passed:
                found.setdefault(work.id, []).append(hold)
    return found


def _stopping(work: Work) -> list[Finding]:
    """What the rules found that has to be looked at; a shortage has a hold of its own."""
    assert work.judgement is not None
    return [f for f in work.judgement.hits if f.tier >= "2" and f.queue != "shortage"]


def _put_right(work: Work) -> None:
    """What the rules that hit change of the order itself; a filled field was empty."""
    assert work.judgement is not None
    for finding in work.judgement.hits:
        outcome = finding.outcome
        if outcome is None:
            continue
        if outcome.priority > work.priority:
            work.change("priority", outcome.priority)
        for name, text in outcome.fill:
            if not getattr(work, name).strip():
                work.change(name, text)
                work.flags.append(f"filled:{name}:{finding.code}")


def _passed_by_people(works: Sequence[Work]) -> set[tuple[int, str, str]]:
    """(order, rule, evidence) that somebody let pass: the very same finding stops nobody twice."""
    if not works:
        return set()
    rows = OrderHold.objects.filter(
        order_id__in=[work.id for work in works],
        kind=HoldKind.RULE,
        released_by__startswith=f"{ActorKind.PERSON}:",
    ).values_list("order_id", "code", "evidence")
    return {(pk, code, _same(evidence)) for pk, code, evidence in rows}


def _same(evidence: Mapping[str, Any]) -> str:
    """What was found, without what the buyer answered to it.

    600 and 600.00 are one value: a channel may tell money without its fen, and the database
    gives it back with them.
    """
    found = {name: value for name, value in evidence.items() if name != "after_sales"}
    found["seen"] = [_plain_number(told) for told in evidence.get("seen", ())]
    return json.dumps(found, sort_keys=True)


def _plain_number(told: Any) -> str:
    try:
        return str(Decimal(told).normalize())
    except (InvalidOperation, TypeError, ValueError):
        return str(told)


def _rule_hold(finding: Finding) -> HoldDraft:
    evidence: dict[str, Any] = {
        "orders": list(finding.orders[:SHOWN_ORDERS]),
        "seen": list(finding.seen),
        "limit": list(finding.limits),
        "tag": finding.tag,
    }
    if finding.queue:
        evidence["queue"] = finding.queue
    return HoldDraft(HoldKind.RULE, finding.code, finding.tier, finding.words, evidence)


# --- where the rules want an order to be shipped from ---------------------------------------------


def prefer(works: Sequence[Work], program: Program, shelf: Shelf, sources: SourceMap) -> None:
    """Name the virtual warehouse that a rule wants tried first, before anything is reserved.

    Such rules ask only what the order itself says (the language sees to it); of several that hit
    the first one counts.
    """
    rules = [rule for rule in program.rules if rule.outcome.warehouse]
    due = [work for work in works if work.status is S.MAPPED]
    if not rules or not due:
        return
    subjects = subjects_of(due, program, shelf)
    facts = compute(subjects, [spec for spec in program.specs if spec.is_stateless])
    for work, subject, told in zip(due, subjects, facts, strict=True):
        places = {spec: place for place, spec in enumerate(told)}
        values = [seen.value for seen in told.values()]
        for rule in rules:
            fits = fits_of(rule.scope)
            if (fits is None or fits(subject)) and test_of(rule.when, places)(values):
                work.prefers = sources.by_code.get(rule.outcome.warehouse)
                break


# --- orders as the rules see them -----------------------------------------------------------------


def subjects_of(works: Sequence[Work], program: Program, shelf: Shelf) -> list[Subject]:
    """These orders as the rules see them, with prices and shops read once.

    A stored receiver is opened only where the program asks what is missing of it.
    """
    prices = shelf.prices({ln.sku_id for w in works for ln in w.goods if ln.sku_id})
    shops = _shops({work.shop_id for work in works})
    if any(spec.name == "missing" for spec in program.specs):
        for work in works:
            if work.missing is None:
                known = known_receiver(work.receiver_sealed).receiver
                place = (work.province, work.city, work.district)
                work.missing = missing_fields(known, place, work.payable_amount)
    return [_subject(work, prices, shops[work.shop_id]) for work in works]


def _shops(pks: Collection[int]) -> dict[int, tuple[str, str]]:
    """(code, channel) of each shop."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, code, channel FROM catalog_shop WHERE id = ANY(%s)", [list(pks)])
        return {pk: (code, channel) for pk, code, channel in cursor.fetchall()}


def _subject(work: Work, prices: Mapping[int, Priced], shop: tuple[str, str]) -> Subject:
    lines = []
    for line in work.goods:
        assert line.sku_id is not None
        priced = prices[line.sku_id]
        price = priced.at(work.placed_at)
        free = line.is_gift or (priced.is_gift and not line.amount)
        lines.append(
            SubjectLine(
                sku_id=line.sku_id,
                sku_code=priced.code,
                quantity=line.quantity,
                amount=line.amount,
                base_price=price if priced.currency == work.currency and price else None,
                is_gift=free,
                available=work.left.get(line.sku_id) if work.source_id is None else None,
                gift_strategy=line.gift_strategy,
                category=priced.category,
                is_part=line.bundle_line_id is not None,
            )
        )
    keys, (code, channel) = work.evidence, shop
    return Subject(
        work.id, work.number, work.placed_at, work.payable_amount, keys.buyer, keys.device,
        keys.phone, keys.address, keys.ip, tuple(lines), work.shop_id, code, channel,
        work.received_at, work.currency, work.freight, work.province, work.city, work.district,
        work.buyer_remark, work.seller_memo, work.missing, keys.shingles,
        is_presale=work.is_presale, is_test=work.is_test, is_rush=work.is_rush,
    )  # fmt: skip
