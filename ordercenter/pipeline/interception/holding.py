"""What the gates do to orders in hand: their holds are opened and closed with everything else."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from fulfillment import services as fulfillment
from fulfillment import stops
from ordercenter.orders.states import OPEN, Disposition, HoldKind, OrderStatus, Tier
from ordercenter.pipeline.interception.gates import Gate, carriers_of
from ordercenter.pipeline.work import HoldDraft, Work


def stop(works: Sequence[Work], gates: Sequence[Gate]) -> None:
    """Hold every open order a gate stops, and let go of those that are none of its any more.

    What an order is changes: an address that moved out of the province ends the hold. Holds of
    an interception that is over are lifted by its own end.
    """
    if not gates:
        return
    standing = [work for work in works if work.status in OPEN and not work.ends]
    carriers = carriers_of([work.id for work in standing], gates)
    for work in standing:
        mine = carriers.get(work.id, (fulfillment.CARRIER,))
        for gate in gates:
            if gate.matches(work, mine):
                work.hold(draft_of(gate))
            else:
                work.unhold(HoldKind.INTERCEPT, "订单已不在拦截范围", code=gate.code)


def draft_of(gate: Gate) -> HoldDraft:
    return HoldDraft(
        HoldKind.INTERCEPT, gate.code, Tier.REVIEW.value, gate.words,
        interception_id=gate.pk, disposition=Disposition.STANDING,
    )  # fmt: skip


def stop_parcels(works: Sequence[Work], gates: Sequence[Gate], *, by: str, now: datetime) -> None:
    """Mark the parcels of the orders that were stopped in this pass. After they are written."""
    stopped: dict[int, list[int]] = defaultdict(list)
    for work in works:
        if work.status is OrderStatus.ROUTED or work.is_parted:
            for draft in work.opening.values():
                if draft.interception_id is not None:
                    stopped[draft.interception_id].append(work.id)
    for gate in gates:
        if orders := stopped.get(gate.pk):
            stops.stand_still(orders, interception_id=gate.pk, reason=gate.words, by=by, now=now)
