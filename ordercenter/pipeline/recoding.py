"""Read open orders again by a mapping that has changed since they came.

Only where somebody asked for it, and never an order with a parcel packed. An order's lines get
what their codes stand for now, its stock is given back, and it is judged and reserved again.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import OperationalError
from django_q.tasks import async_task

from fulfillment.models import Parcel
from ordercenter.audit.models import Action
from ordercenter.catalog.models import Bundle, Listing, Sku
from ordercenter.catalog.selectors import Shelf, Target
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Can, require
from ordercenter.orders.states import OPEN, OrderStatus
from ordercenter.pipeline import promises
from ordercenter.pipeline.path import take, tie_line
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.rereading import Changed, Reading, following, made_of, meanings
from ordercenter.pipeline.work import Line, Work, load

logger = logging.getLogger(__name__)
BATCH: Final = 200
AT_ONCE: Final = 400
"""So many orders are read again while somebody waits; the worker takes the rest."""
PACKED: Final = (Parcel.State.PACKED, Parcel.State.SHIPPED, Parcel.State.SIGNED)
JOB: Final = Actor.job("recode")
S = OrderStatus
RETIRED: Final = "商品改按新的对应关系，重新占用库存"


@dataclass(frozen=True, slots=True)
class Recoded:
    """What reading again came to."""

    orders: int = 0
    goes_on: bool = False
    """The worker goes on with the rest."""


def recode(changed: Changed, *, user: AbstractBaseUser, actor: Actor, reason: str) -> Recoded:
    """Read the open orders again that a change concerns, batch by batch. Right: EDIT_MAPPING.

    Safe to repeat: what stands for the right thing is left alone. A batch that meets a lock is
    left to the worker with all that follow.
    """
    require(user, Can.EDIT_MAPPING)
    return _recode(changed, actor=actor, reason=reason, most=AT_ONCE)


def recode_rest(
    listing_ids: Sequence[int], bundle_ids: Sequence[int], reason: str, after: int
) -> str:
    """The worker's part: all that is left from order ``after`` on."""
    keys = Listing.objects.filter(pk__in=listing_ids).values_list("shop_id", "code_type", "code")
    done = _recode(Changed(list(keys), bundle_ids), actor=JOB, reason=reason, after=after)
    return f"{done.orders} orders read again"


def _recode(
    changed: Changed, *, actor: Actor, reason: str, after: int = 0, most: int | None = None
) -> Recoded:
    done = seen = 0
    while ids := following(changed, after=after, limit=BATCH):
        try:
            done += recode_batch(ids, changed, actor=actor, reason=reason)
        except OperationalError:
            if most is None:
                raise
            logger.warning("orders to be read again are left to the worker", exc_info=True)
            seen = most
        else:
            after = ids[-1]
            seen += len(ids)
        if most is not None and seen >= most:
            _leave_to_worker(changed, f"{reason}（{actor.name}）", after)
            return Recoded(done, goes_on=True)
    return Recoded(done)


def _leave_to_worker(changed: Changed, reason: str, after: int) -> None:
    wanted = set(changed.keys)
    rows = Listing.objects.filter(
        shop_id__in={key[0] for key in wanted}, code__in={key[2] for key in wanted}
    ).values_list("pk", "shop_id", "code_type", "code")
    ids = [pk for pk, *key in rows if tuple(key) in wanted]
    async_task(
        "ordercenter.pipeline.recoding.recode_rest", ids, list(changed.bundles), reason, after,
        q_options={"save": False},
    )  # fmt: skip


@telling_stock()
def recode_batch(
    order_ids: Collection[int], changed: Changed, *, actor: Actor, reason: str,
    now: datetime | None = None,
) -> int:  # fmt: skip
    """Read these orders again, in one transaction; return how many were changed."""
    now = now or clock_now()
    works = _open_ones(load(order_ids))
    asked = {line.id: reading for work in works for line in work.lines
             if (reading := _reading(work, line))}  # fmt: skip
    shelf, meant = meanings(set(asked.values()), changed)
    due: dict[int, set[int]] = {}
    for work in works:
        for line in work.lines:
            target = meant.get(asked[line.id]) if line.id in asked else None
            if target and _is_other(work, line, target, shelf):
                due.setdefault(work.id, set()).add(line.id)
    if not due:
        return 0
    works = [work for work in works if work.id in due]
    promises.retire(works, actor=actor, reason=RETIRED, now=now)
    names = _names([*(r.target for r in asked.values()), *meant.values()])
    for work in works:
        work.action, work.reason = Action.LINE_SWAPPED, reason
        work.must_judge = work.must_gift = work.row_changed = True
        for line in [line for line in work.lines if line.id in due[work.id]]:
            _read_again(work, line, shelf, names)
        work.send_back()
    take(works, actor=actor, now=now)
    return len(works)


def _open_ones(works: Sequence[Work]) -> list[Work]:
    """Those nothing of which has been packed; asked after their rows are locked."""
    packed = set(
        Parcel.objects.filter(order_id__in=[w.id for w in works], state__in=PACKED)
        .values_list("order_id", flat=True)
    )  # fmt: skip
    return [w for w in works if w.status in OPEN and w.id not in packed]


def _reading(work: Work, line: Line) -> Reading | None:
    """How a line was read; None for what no listing read."""
    if line.bundle_line_id or line.is_dropped or line.listing_version is None:
        return None
    if line.sku_id is None and line.bundle_id is None:
        return None
    return Reading(
        work.shop_id, line.platform_sku_id, line.outer_code, line.sku_id, line.bundle_id,
        line.listing_version,
    )  # fmt: skip


def _is_other(work: Work, line: Line, target: Target, shelf: Shelf) -> bool:
    """Whether a line stands for something else than it should, or for other parts.

    A part that no listing read was swapped by hand: its line is left alone.
    """
    if any(part.listing_version is None for part in _parts(work, line)):
        return False
    if (line.sku_id, line.bundle_id) != target:
        return True
    made = sorted((p.sku_id or 0, p.quantity // line.quantity) for p in _parts(work, line))
    return ",".join(f"{sku}x{pieces}" for sku, pieces in made) != made_of(
        shelf.parts(line.bundle_id)
    )


def _parts(work: Work, line: Line) -> list[Line]:
    return [p for p in work.lines if p.bundle_line_id == line.id and not p.is_dropped]


def _read_again(work: Work, line: Line, shelf: Shelf, names: dict[Target, str]) -> None:
    """Let a line stand for what its code stands for now; its former parts are not shipped."""
    before = [names[line.sku_id, line.bundle_id], line.listing_version]
    for part in _parts(work, line):
        work.drop(part)
        part.amount = part.unit_price = Decimal(0)
        part.priced_now = True
    line.sku_id = line.bundle_id = None
    if problem := tie_line(work, line, shelf):
        message = f"{work.number}: {problem}"
        raise RuntimeError(message)
    after = [names[line.sku_id, line.bundle_id], line.listing_version]
    work.changes[f"line {line.line_no}"] = [before, after]


def _names(targets: Collection[Target]) -> dict[Target, str]:
    """The codes of SKUs and bundles."""
    skus = Sku.objects.filter(pk__in={sku for sku, _ in targets if sku})
    bundles = Bundle.objects.filter(pk__in={bundle for _, bundle in targets if bundle})
    found: dict[Target, str] = {(pk, None): code for pk, code in skus.values_list("pk", "code")}
    return found | {(None, pk): code for pk, code in bundles.values_list("pk", "code")}
