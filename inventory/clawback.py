"""Unsold units taken out of one shop's slice for a paid order of another: kept and undone.

Taken by ``services.reserve_many`` in the transaction that promises them. They go back when the
order gives them up; ``refused`` says that the slice's platform would not show the lower figure.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from inventory.contracts import Clawed, StockRequest
from inventory.granting import column
from inventory.models import ClawBack
from ordercenter.audit.models import Action
from ordercenter.audit.services import Entry, record_many
from ordercenter.core.actor import Actor

State = ClawBack.State


@dataclass(frozen=True, slots=True)
class Returned:
    """Units of a claw-back that are to go back to their slice."""

    slice_id: int
    quantity: int


def keep(taken: Sequence[tuple[StockRequest, Clawed]], *, actor: Actor, now: datetime) -> None:
    """Write down what was taken back for which line, and what it saved; audited by slice."""
    ClawBack.objects.bulk_create(
        ClawBack(
            line_id=one.line_id, order_id=request.order_id, slice_id=one.slice_id,
            quantity=one.quantity, amount=one.amount, currency=request.currency, taken_at=now,
        )
        for request, one in taken
    )  # fmt: skip
    record_many(
        [
            _entry(one.slice_id, order=request.order_id, state=State.TAKEN,
                   quantity=one.quantity, amount=one.amount)
            for request, one in taken
        ],
        actor=actor,
        at=now,
    )  # fmt: skip


def end(
    line_ids: Collection[int],
    *,
    refused: Mapping[int, str],
    actor: Actor,
    now: datetime,
) -> list[Returned]:
    """Close what was taken back for these lines; return what has to go back to which slice.

    Claw-backs named in ``refused`` end as refused, with these words; the others as returned.
    Under the locks of the levels. Ended once: the second time finds nothing.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, slice_id, order_id, quantity, amount FROM inventory_clawback "
            "WHERE line_id = ANY(%s) AND state = 'taken' ORDER BY id FOR NO KEY UPDATE",
            [list(line_ids)],
        )
        rows = cursor.fetchall()
        if not rows:
            return []
        ends = [
            (pk, (State.REFUSED if pk in refused else State.RETURNED).value, refused.get(pk, ""))
            for pk, *_ in rows
        ]
        cursor.execute(
            "UPDATE inventory_clawback c SET state = v.state, closed_at = %s, words = v.words "
            "FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS v(id, state, words) "
            "WHERE c.id = v.id",
            [now, *column([(pk, state, words[:200]) for pk, state, words in ends])],
        )
    record_many(
        [
            _entry(slice_id, words, order=order, state=State(state), quantity=units, amount=amount)
            for (_, slice_id, order, units, amount), (_, state, words) in zip(
                rows, ends, strict=True
            )
        ],
        actor=actor,
        at=now,
    )
    return [Returned(slice_id, quantity) for _, slice_id, _, quantity, _ in rows]


def _entry(slice_id: int, words: str = "", **change: object) -> Entry:
    return Entry(Action.STOCK_CLAWED_BACK, "stock_slice", slice_id, change, words)
