"""A small seller with two warehouses, and orders as the connectors hand them over."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from django.contrib.auth.models import User

from fulfillment.contracts import Issued
from fulfillment.models import Parcel, StageTask, Waybill
from inventory import services as inventory
from inventory.models import Reservation, VirtualWarehouse
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Bundle, CodeType, Shop, Sku
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.contracts import (
    ChannelStatus,
    EvidenceDraft,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
    RefundDraft,
)
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import stages, updates
from ordercenter.pipeline.intake import take_drafts
from tests.factories import (
    BundleFactory,
    BundlePartFactory,
    ListingFactory,
    ShopFactory,
    SkuFactory,
    VirtualWarehouseFactory,
)

NUMBERS: Iterator[int] = count(1)
REASON = "已与买家核实，可以继续"
GOODS = ("SOFA", "LAMP", "RUG", "VASE")


@dataclass(frozen=True)
class Seller:
    """One shop that sells four goods, a set of two lamps and a rug, and gives a towel away."""

    shop: Shop
    near: VirtualWarehouse
    far: VirtualWarehouse
    skus: dict[str, Sku] = field(default_factory=dict)
    bundle: Bundle | None = None

    def receive(self, code: str, units: int, place: VirtualWarehouse | None = None) -> None:
        rows = [((place or self.near).pk, self.skus[code].pk, units)]
        inventory.receive(rows, actor=PIPELINE)


def open_seller(*, channel: str = "taobao", stock: int = 100) -> Seller:
    """The near warehouse serves Jiangsu, the far one Guangdong; every code is listed."""
    shop = ShopFactory.create(channel=channel)
    near, far = (
        VirtualWarehouseFactory.create(
            warehouse__covers=[province],
            warehouse__rank=rank,
            warehouse__district="虎丘区",
            warehouse__address="科技城1号",
            warehouse__contact="仓库",
            warehouse__phone="19900000001",
        )
        for rank, province in enumerate(("江苏省", "广东省"), 1)
    )
    skus = {code: SkuFactory.create(code=code) for code in GOODS}
    skus["TOWEL"] = SkuFactory.create(code="TOWEL", base_price=Decimal("9.90"), is_gift=True)
    for code, sku in skus.items():
        ListingFactory.create(shop=shop, code=code, sku=sku)
    bundle = BundleFactory.create(code="SET")
    BundlePartFactory.create(bundle=bundle, sku=skus["LAMP"], quantity=2)
    BundlePartFactory.create(bundle=bundle, sku=skus["RUG"])
    ListingFactory.create(
        shop=shop, code_type=CodeType.OUTER_CODE, code="SET", sku=None, bundle=bundle
    )
    seller = Seller(shop, near, far, skus, bundle)
    if stock:
        rows = [(place.pk, sku.pk, stock) for place in (near, far) for sku in skus.values()]
        inventory.receive(rows, actor=PIPELINE)
    return seller


def line(code: str = "SOFA", quantity: int = 1, amount: str = "", **changes: Any) -> LineDraft:
    """So many pieces; ``amount`` is for all of them, 100 yuan a piece where none is given."""
    total = Decimal(amount) if amount else Decimal(100) * quantity
    told = LineDraft(f"L{next(NUMBERS)}", None, code, "棉麻靠垫", quantity, total / quantity, total)
    return replace(told, **changes)


def somebody(number: int | None = None, **changes: Any) -> ReceiverDraft:
    """A receiver nobody else is."""
    n = next(NUMBERS) if number is None else number
    told = ReceiverDraft("王小明", f"199{n:08}", "江苏省", "苏州市", "虎丘区", "", f"星湖街{n}号")
    return replace(told, **changes)


def draft(*lines: LineDraft, paid: bool = True, **changes: Any) -> OrderDraft:
    """A clean order of a buyer nobody knows, placed and told now."""
    at = changes.pop("at", None) or clock_now()
    goods = lines or (line(),)
    payable = sum((one.amount for one in goods), Decimal(0)) + changes.get("freight", Decimal(0))
    values: dict[str, Any] = {
        "channel": "taobao",
        "channel_number": f"{3_000_000_000_000_000_000 + next(NUMBERS)}",
        "status": ChannelStatus.WAIT_SHIP if paid else ChannelStatus.WAIT_PAY,
        "status_raw": "WAIT_SELLER_SEND_GOODS" if paid else "WAIT_BUYER_PAY",
        "currency": "CNY",
        "payable_amount": payable,
        "paid_amount": payable if paid else Decimal(0),
        "freight": Decimal(0),
        "placed_at": at,
        "modified_at": at,
        "paid_at": at if paid else None,
        "lines": tuple(goods),
        "receiver": somebody(),
    }
    return OrderDraft(**{**values, **changes})


def buyer(name: str = "", *, device: str = "", ip: str = "") -> EvidenceDraft:
    return EvidenceDraft(name, device, ip)


def again(told: OrderDraft, seconds: float = 1, **changes: Any) -> OrderDraft:
    """The same order as the platform tells it so much later."""
    return replace(told, modified_at=told.modified_at + timedelta(seconds=seconds), **changes)


def paid(told: OrderDraft, seconds: float = 1, **changes: Any) -> OrderDraft:
    """The buyer has paid."""
    later = again(told, seconds, status=ChannelStatus.WAIT_SHIP, paid_amount=told.payable_amount)
    return replace(later, paid_at=later.modified_at, **changes)


def take(shop: Shop, *drafts: OrderDraft, now: datetime | None = None) -> list[SalesOrder]:
    """Take these drafts in as one batch; return their orders as they are then."""
    take_drafts([(shop.pk, told) for told in drafts], actor=PIPELINE, now=now or clock_now())
    return [stored(shop, told) for told in drafts]


def take_one(shop: Shop, told: OrderDraft, now: datetime | None = None) -> SalesOrder:
    (order,) = take(shop, told, now=now)
    return order


def stored(shop: Shop, told: OrderDraft) -> SalesOrder:
    return SalesOrder.objects.get(shop=shop, channel_number=told.channel_number)


def refund(told: OrderDraft, state: str = "in_progress", **changes: Any) -> RefundDraft:
    """The buyer wants all of it back before it is sent."""
    values: dict[str, Any] = {
        "channel": told.channel,
        "refund_id": f"R{told.channel_number}",
        "channel_number": told.channel_number,
        "channel_line_id": None,
        "amount": told.payable_amount,
        "state_raw": state.upper(),
        "refund_state": state,
        "return_goods": False,
        "intercept_shipping": True,
        "modified_at": told.modified_at,
    }
    return RefundDraft(**{**values, **changes})


def take_refund(shop: Shop, *told: RefundDraft, now: datetime | None = None) -> None:
    updates.take_refunds([(shop.pk, one) for one in told], actor=PIPELINE, now=now or clock_now())


def holds(order: SalesOrder) -> set[str]:
    """``kind:code`` of every open hold."""
    rows = OrderHold.objects.open().filter(order=order).values_list("kind", "code")
    return {f"{kind}:{code}" for kind, code in rows}


def hold_ids(order: SalesOrder) -> list[int]:
    return list(OrderHold.objects.open().filter(order=order).values_list("pk", flat=True))


def tasks(order: SalesOrder) -> set[str]:
    """The stages somebody has to do something in."""
    open_ones = StageTask.objects.filter(order=order, state="open")
    return set(open_ones.values_list("stage", flat=True))


def promised(order: SalesOrder) -> dict[str, int]:
    """Units of each SKU this order holds."""
    found: dict[str, int] = {}
    for one in Reservation.objects.filter(order_id=order.pk, state="active"):
        code = one.level.sku.code
        found[code] = found.get(code, 0) + one.quantity
    return found


def as_person(user: User) -> Actor:
    return Actor.person(user)


def pick(order: SalesOrder, user: User) -> Parcel:
    task = StageTask.objects.get(order=order, stage="pick", state="open")
    stages.finish_task(task.pk, user=user, actor=as_person(user))
    return Parcel.objects.get(order=order)


def print_label(order: SalesOrder, user: User) -> Waybill:
    parcel = pick(order, user)
    return stages.request_label(parcel.pk, user=user, actor=as_person(user))


def ship(order: SalesOrder, user: User) -> Parcel:
    waybill = print_label(order, user)
    stages.ship_parcel(
        waybill.parcel_id, user=user, actor=as_person(user), tracking_number=waybill.number
    )
    return Parcel.objects.get(order=order)


class Carrier:
    """Answers every request for a number; what it was asked is in ``asked``."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, waybill: Waybill, *_: object) -> Issued:
        self.asked.append(waybill.client_reference)
        return Issued(f"SF{next(NUMBERS):013}", waybill.client_reference)


def versions(order: SalesOrder) -> Sequence[int | None]:
    """The versions the audit trail knows of this order, in the order of writing."""

    rows = AuditRecord.objects.filter(object_type="order", object_id=order.pk).order_by("pk")
    return list(rows.values_list("version", flat=True))
