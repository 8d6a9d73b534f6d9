"""What the pages show of orders that leave in parts, and of those that could."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Coalesce

from inventory.models import VirtualWarehouse
from ordercenter.catalog.models import Sku
from ordercenter.core.policy import AnyUser
from ordercenter.orders.models import OrderLine, SalesOrder
from ordercenter.orders.states import OPEN, Leaves, OrderStatus
from ordercenter.pipeline import parting, telling
from ordercenter.pipeline.parting import Parts
from ordercenter.pipeline.work import Line, load


def rests(user: AnyUser, *, sku: str = "", shop: int = 0) -> QuerySet[SalesOrder]:
    """Orders a part of which waits for stock, who is served first on top."""
    waits = OrderLine.objects.filter(order=OuterRef("pk"), leaves=Leaves.LATER, is_dropped=False)
    if sku:
        waits = waits.filter(sku__code=sku)
    orders = SalesOrder.objects.visible_to(user).filter(
        Exists(waits), status__in=OPEN - {OrderStatus.RECEIVED, OrderStatus.MAPPED}
    )
    if shop:
        orders = orders.filter(shop=shop)
    since = Coalesce("deposit_paid_at", "paid_at")
    return (
        orders.alias(since=since)
        .select_related("shop")
        .defer("receiver_sealed")
        .order_by("-priority", "since", "pk")
    )


@dataclass(frozen=True, slots=True)
class Rest:
    """What waits of one order that leaves in parts, and what does not."""

    order: SalesOrder
    later: Sequence[OrderLine]
    here: Sequence[OrderLine]
    """Held, and about to leave."""
    gone: Sequence[OrderLine]


def rests_of(orders: Sequence[SalesOrder]) -> list[Rest]:
    """The goods of these orders by when they leave."""
    lines: dict[int, list[OrderLine]] = {}
    every = OrderLine.objects.filter(order__in=orders, sku__isnull=False, is_dropped=False)
    for line in every.select_related("sku").order_by("order_id", "line_no"):
        lines.setdefault(line.order_id, []).append(line)

    def some(order: SalesOrder, *leaves: str) -> list[OrderLine]:
        return [line for line in lines.get(order.pk, ()) if line.leaves in leaves]

    return [
        Rest(order, some(order, Leaves.LATER), some(order, Leaves.WHOLE, Leaves.FIRST),
             some(order, Leaves.GONE))
        for order in orders
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class PartFacts:
    """What sending a part now would mean."""

    parts: Parts
    now: Sequence[str]
    later: Sequence[str]
    place: str = ""
    other: str = ""
    """The warehouse that would send the rest at once; empty where nothing has it."""
    told: str = ""
    """How the platform hears of it."""


def part_facts(order: SalesOrder) -> PartFacts | None:
    """None where no part of the order can go now."""
    (work,) = load([order.pk], lock=False)
    parts = parting.look(work) if work.is_paid else None
    if parts is None:
        return None
    names = dict(VirtualWarehouse.objects.values_list("pk", "warehouse__name"))
    other = names[parts.other] if parts.other else ""
    told = telling.in_parts(order.shop.channel)
    return PartFacts(parts, *_named([parts])[0], names[parts.place], other, told)


def parts_of_each(order_ids: Sequence[int]) -> dict[int, PartFacts]:
    """What parting each of these orders would come to, served in this order."""
    works = {work.id: work for work in load(order_ids, lock=False)}
    found = parting.look_at_each([works[pk] for pk in dict.fromkeys(order_ids) if pk in works])
    said = _named(list(found.values()))
    return {
        pk: PartFacts(parts, *words) for (pk, parts), words in zip(found.items(), said, strict=True)
    }


def _named(each: Sequence[Parts]) -> list[tuple[list[str], list[str]]]:
    """What goes now and what waits, by the codes and names of the goods."""
    ids = {line.sku_id for parts in each for line in (*parts.now, *parts.later)}
    skus = Sku.objects.in_bulk([pk for pk in ids if pk])

    def said(lines: Iterable[Line]) -> list[str]:
        return [f"{skus[ln.sku_id].code} {skus[ln.sku_id].name} ×{ln.quantity}"
                for ln in lines if ln.sku_id]  # fmt: skip

    return [(said(parts.now), said(parts.later)) for parts in each]
