"""A platform that would not show less: what was taken back out of its shop's slice is undone.

The order tries the next shop's slice, else it is short. One that is with the warehouse already
keeps its units: the shop may sell them a second time, and people are told so.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from django.db import connection

from inventory import services as inventory
from inventory.models import ClawBack
from ordercenter.audit.models import Action
from ordercenter.audit.services import Entry, record_many
from ordercenter.core.actor import PIPELINE
from ordercenter.core.live import announce
from ordercenter.notices import services as notices
from ordercenter.orders.states import OrderStatus
from ordercenter.pipeline.path import take
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.work import Work, load

UNDONE: Final = frozenset({OrderStatus.RESERVED, OrderStatus.CLEARED})
"""No parcel has been planned yet."""
RISK: Final = "平台拒绝降低库存，订单已派仓，仍按回拨发货；该店可能超卖"


def refused(listing_id: int, words: str, *, now: datetime) -> int:
    """The platform would not lower this listing's figure: undo what counted on it.

    Return how many claw-backs ended. What was taken before the figure the platform shows now was
    computed is not concerned. Repeatable.
    """
    if not _concerned(listing_id):
        return 0
    with telling_stock():
        works = {work.id: work for work in load({order for _, order in _concerned(listing_id)})}
        of_order: dict[int, list[int]] = defaultdict(list)
        for claw, order in _concerned(listing_id):
            if order in works:  # an order that came meanwhile is found with the next refusal
                of_order[order].append(claw)
        found = [work for pk, work in works.items() if of_order[pk]]
        undone = [work for work in found if _is_undone(work)]
        kept = [work for work in found if not _is_undone(work)]
        _tell_risk(kept, of_order, words, now=now)
        _undo(undone, of_order, words, now=now)
    return sum(len(of_order[work.id]) for work in undone)


def _is_undone(work: Work) -> bool:
    """Whether nobody in a warehouse has anything of the order yet."""
    return work.status in UNDONE and not work.is_parted


def _undo(
    works: Sequence[Work], of_order: Mapping[int, Sequence[int]], words: str, *, now: datetime
) -> None:
    if not works:
        return
    claws = {claw: words for work in works for claw in of_order[work.id]}
    inventory.release(
        [work.id for work in works], reason="claw refused", actor=PIPELINE, now=now, refused=claws
    )
    for work in works:
        work.move(OrderStatus.MAPPED)
        work.source_ids = ()
        work.reason = work.short_because = f"回拨被平台拒绝：{words}"[:200]
    take(works, actor=PIPELINE, now=now)


def _tell_risk(
    works: Sequence[Work], of_order: Mapping[int, Sequence[int]], words: str, *, now: datetime
) -> None:
    """Keep the claw-backs of orders that are with the warehouse, and say what that may mean."""
    found = (
        ClawBack.objects.filter(pk__in=[claw for work in works for claw in of_order[work.id]])
        .filter(words="")
        .select_related("slice__shop", "slice__level__sku")
    )
    numbers = {work.id: work.number for work in works}
    claws = list(found.order_by("pk").select_for_update(of=("self",), no_key=True))
    for claw in claws:
        shop, sku = claw.slice.shop, claw.slice.level.sku
        notices.tell(
            key=f"claw:{claw.pk}", urgency="2", title=f"回拨被平台拒绝，{shop} 可能超卖"[:100],
            lines=[f"{sku.code} × {claw.quantity}，订单 {numbers[claw.order_id]}", words], now=now,
        )  # fmt: skip
    found.filter(pk__in=[claw.pk for claw in claws]).update(words=RISK)
    record_many(
        [
            Entry(Action.STOCK_CLAWED_BACK, "stock_slice", claw.slice_id,
                  {"order": claw.order_id, "quantity": claw.quantity, "refused": words}, RISK)
            for claw in claws
        ],
        actor=PIPELINE,
        at=now,
    )  # fmt: skip
    if claws:
        announce("shops")


def _concerned(listing_id: int) -> list[tuple[int, int]]:
    """(claw-back, order) out of the slices this listing shows, younger than what it shows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT k.id, k.order_id FROM catalog_listing c "
            "LEFT JOIN channels_sync_publishedstock p ON p.listing_id = c.id "
            "LEFT JOIN channels_sync_outboundmessage m "
            "ON m.key = 'stock:' || c.id || ':' || p.told_version "
            "JOIN inventory_stockslice s ON s.shop_id = c.shop_id "
            "JOIN inventory_stocklevel l ON l.id = s.level_id AND (l.sku_id = c.sku_id "
            "OR l.sku_id IN (SELECT sku_id FROM catalog_bundlepart WHERE bundle_id = c.bundle_id)) "
            "JOIN inventory_clawback k ON k.slice_id = s.id AND k.state = 'taken' "
            "AND k.taken_at > coalesce(m.created_at, p.told_at, '-infinity') "
            "WHERE c.id = %s ORDER BY k.id",
            [listing_id],
        )
        return [(claw, order) for claw, order in cursor.fetchall()]
