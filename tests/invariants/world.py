"""A small healthy world, made by the real services: one order of every kind that matters."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from channels_sync import services as channels
from channels_sync.contracts import MessageKind, RawMessage
from channels_sync.models import FeedCursor, InboxMessage, SyncWindow
from fulfillment.contracts import Issued
from fulfillment.models import Parcel, StageTask, Waybill
from inventory import services as inventory
from ordercenter.catalog.models import CodeType, Shop, Sku
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.orders.contracts import (
    ChannelStatus,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
)
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import decisions, jobs, stages
from ordercenter.pipeline.intake import take_drafts
from tests.factories import (
    BundleFactory,
    BundlePartFactory,
    ListingFactory,
    ShopFactory,
    SkuFactory,
    SyncCursorFactory,
    VirtualWarehouseFactory,
    user_with,
)

REASON = "已与买家核实，可以继续"


@dataclass
class Counter:
    """Numbers for what must differ from order to order."""

    value: int = 0

    def next(self) -> int:
        self.value += 1
        return self.value


COUNTER = Counter()


def line(sku: str = "SOFA", quantity: int = 1, amount: str = "100.00") -> LineDraft:
    """One line; ``amount`` is for all its pieces."""
    total = Decimal(amount)
    return LineDraft(f"L{COUNTER.next()}", None, sku, "棉麻靠垫", quantity, total / quantity, total)


def draft(*lines: LineDraft, paid: bool = True, **changes: Any) -> OrderDraft:
    """A clean order of a buyer nobody knows, placed now."""
    number = COUNTER.next()
    now = clock_now()
    goods = lines or (line(),)
    payable = sum((one.amount for one in goods), Decimal(0))
    values: dict[str, Any] = {
        "channel": "taobao",
        "channel_number": f"{2_000_000_000_000_000_000 + number}",
        "status": ChannelStatus.WAIT_SHIP if paid else ChannelStatus.WAIT_PAY,
        "status_raw": "WAIT_SELLER_SEND_GOODS" if paid else "WAIT_BUYER_PAY",
        "currency": "CNY",
        "payable_amount": payable,
        "paid_amount": payable if paid else Decimal(0),
        "freight": Decimal(0),
        "placed_at": now,
        "modified_at": now,
        "paid_at": now if paid else None,
        "lines": tuple(goods),
        "receiver": ReceiverDraft(
            "王小明", f"199{number:08}", "江苏省", "苏州市", "虎丘区", "", f"星湖街{number}号"
        ),
    }
    return OrderDraft(**{**values, **changes})


def told_again(told: OrderDraft, **changes: Any) -> OrderDraft:
    """The same order a second later."""
    return replace(told, modified_at=told.modified_at + timedelta(seconds=1), **changes)


@transaction.atomic
def take_in(shop: Shop, *drafts: OrderDraft) -> list[SalesOrder]:
    """Let the real path take these in, each with the inbox message it came by."""
    now = clock_now()
    for told in drafts:
        body = f'{{"tid":"{told.channel_number}","at":"{told.modified_at}"}}'.encode()
        channels.store(
            [RawMessage(MessageKind.ORDER, body, told.channel_number)],
            source=InboxMessage.Source.POLL,
            shop_id=shop.pk,
        )
    take_drafts([(shop.pk, told) for told in drafts], actor=PIPELINE, now=now)
    channels.done(InboxMessage.objects.filter(state="new").values_list("pk", flat=True), now=now)
    return [
        SalesOrder.objects.get(shop=shop, channel_number=told.channel_number) for told in drafts
    ]


@contextmanager
def a_carrier_that_answers() -> Iterator[None]:
    """Every label asked for gets the next number; nothing goes over a wire."""

    def issue(waybill: Waybill, *_: object) -> Issued:
        return Issued(f"SF{COUNTER.next():013}", waybill.client_reference)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "_ask_carrier", issue)
        yield


@dataclass
class People:
    """Who works here. The supervisor may do every stage of the warehouse."""

    supervisor: User
    reviewer: User
    ceo: User

    @classmethod
    def hired(cls) -> "People":
        return cls(
            user_with(Role.WAREHOUSE_SUPERVISOR), user_with(Role.REVIEWER), user_with(Role.CEO)
        )


def pick(order: SalesOrder, user: User) -> Parcel:
    task = StageTask.objects.select_related("parcel").get(order=order, stage="pick", state="open")
    assert task.parcel is not None
    stages.finish_task(task.pk, user=user, actor=Actor.person(user))
    return task.parcel


def label(order: SalesOrder, user: User) -> Waybill:
    parcel = pick(order, user)
    return stages.request_label(parcel.pk, user=user, actor=Actor.person(user))


def ship(order: SalesOrder, user: User) -> Parcel:
    waybill = label(order, user)
    stages.ship_parcel(
        waybill.parcel_id, user=user, actor=Actor.person(user), tracking_number=waybill.number
    )
    return Parcel.objects.get(pk=waybill.parcel_id)


def release(order: SalesOrder, user: User) -> None:
    """Lift every hold the user may lift."""
    order.refresh_from_db()
    holds = OrderHold.objects.open().filter(order=order).values_list("pk", flat=True)
    decisions.release_order(
        order.pk, list(holds), user=user, actor=Actor.person(user),
        seen_version=order.version, reason=REASON,
    )  # fmt: skip


def pardon(order: SalesOrder, people: People) -> None:
    """Ask for a frozen order, and let the CEO approve."""
    for act, user in (
        (decisions.ask_release, people.reviewer), (decisions.approve_release, people.ceo)
    ):  # fmt: skip
        order.refresh_from_db()
        act(
            order.pk, user=user, actor=Actor.person(user), seen_version=order.version,
            reason=REASON,
        )  # fmt: skip


def stocked_shop() -> Shop:
    """A shop with four codes, a warehouse with all of them, and stock it may not touch."""
    shop = ShopFactory.create(code="TB01")
    other = ShopFactory.create(code="TB02")
    east = VirtualWarehouseFactory.create(code="EAST", warehouse__covers=["江苏省"])
    twin = VirtualWarehouseFactory.create(code="TWIN", warehouse=east.warehouse)
    apart = VirtualWarehouseFactory.create(code="APART", warehouse=east.warehouse)
    for reserve in (twin, apart):
        reserve.shops.add(other)
    skus = {code: SkuFactory.create(code=code) for code in ("SOFA", "LAMP", "RUG", "RARE")}
    bundle = BundleFactory.create(code="SET")
    BundlePartFactory.create(bundle=bundle, sku=skus["LAMP"], quantity=2)
    BundlePartFactory.create(bundle=bundle, sku=skus["RUG"])
    for code, sku in skus.items():
        ListingFactory.create(shop=shop, code_type=CodeType.OUTER_CODE, code=code, sku=sku)
    ListingFactory.create(
        shop=shop, code_type=CodeType.OUTER_CODE, code="SET", sku=None, bundle=bundle
    )
    goods: list[Sku] = [skus["SOFA"], skus["LAMP"], skus["RUG"]]
    rows = [(east.pk, sku.pk, 200) for sku in goods]
    rows += [(twin.pk, skus["SOFA"].pk, 50), (apart.pk, skus["RARE"].pk, 5000)]
    inventory.receive([*rows, (east.pk, skus["RARE"].pk, 5)], actor=PIPELINE)
    ListingFactory.create(shop=other, code_type=CodeType.OUTER_CODE, code="SOFA", sku=goods[0])
    return shop


@dataclass
class World:
    """Orders named for what they are; all invariants hold over them."""

    shop: Shop
    people: People
    expired: SalesOrder
    set_expired: SalesOrder
    routed: SalesOrder
    second: SalesOrder
    labelled: SalesOrder
    shipped: SalesOrder
    reviewed: SalesOrder
    pardoned: SalesOrder
    unpaid: SalesOrder
    paid_later: SalesOrder
    short: SalesOrder
    frozen: SalesOrder
    canceled: SalesOrder
    bundle: SalesOrder


def build() -> World:
    """Make the world. In one transaction; nothing of it is written by hand."""
    shop, people = stocked_shop(), People.hired()
    now = clock_now()
    calm = ShopFactory.create(code="JD01", channel="jd")
    for line_of in (shop, calm):
        SyncCursorFactory.create(shop=line_of, last_ok_at=now, next_due_at=now)
        was = now - timedelta(minutes=6)
        for feed in ("orders", "refunds"):
            FeedCursor.objects.create(shop=line_of, feed=feed, position=was + timedelta(minutes=1))
            SyncWindow.objects.create(
                shop=line_of, feed=feed, start=was - timedelta(minutes=2), end=now, was=was,
                position=was + timedelta(minutes=1), at=now,
            )  # fmt: skip
    with a_carrier_that_answers():
        return _peopled(shop, people)


def _peopled(shop: Shop, people: People) -> World:
    expired, set_expired = take_in(
        shop, draft(paid=False), draft(line("SET", 1, "301.00"), paid=False)
    )
    jobs.expire_reservations(now=clock_now() + timedelta(minutes=31))
    later, leaving = draft(paid=False), draft(line(quantity=2, amount="200.00"))
    drafts = {
        "routed": draft(line(quantity=2, amount="200.00")),
        "second": draft(),
        "labelled": draft(),
        "shipped": draft(line(), line("LAMP", 2, "200.00")),
        "reviewed": draft(line(amount="80.00")),
        "pardoned": draft(line(amount="50.00")),
        "unpaid": draft(paid=False),
        "paid_later": later,
        "short": draft(line("RARE", 6, "600.00")),
        "frozen": draft(),
        "canceled": leaving,
        "bundle": draft(line("SET", 1, "301.00")),
    }
    orders = dict(zip(drafts, take_in(shop, *drafts.values()), strict=True))
    take_in(
        shop,
        told_again(later, status=ChannelStatus.WAIT_SHIP, paid_at=clock_now(),
                   paid_amount=later.payable_amount),
    )  # fmt: skip
    boss = people.supervisor
    ship(orders["shipped"], boss)
    label(orders["labelled"], boss)
    release(orders["reviewed"], people.reviewer)
    ship(orders["reviewed"], boss)
    pardon(orders["pardoned"], people)
    release(orders["pardoned"], people.reviewer)  # half the price is a low price, too
    decisions.freeze_order(orders["frozen"].pk, user=boss, actor=Actor.person(boss), reason=REASON)
    label(orders["canceled"], boss)
    take_in(shop, told_again(leaving, status=ChannelStatus.CLOSED_REFUNDED))
    for order in (expired, set_expired, *orders.values()):
        order.refresh_from_db()
    return World(shop, people, expired, set_expired, **orders)
