"""The center as the machine drives it: one seller of its own, steps by the public doors."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction

from inventory import adjustments, counting, slices, transfers
from inventory import services as inventory
from inventory.adjustments import Kind
from inventory.models import StockLevel, StockPolicy, StockSlice, TransferLine, Warehouse
from ordercenter.catalog.models import CodeType
from ordercenter.core.actor import PIPELINE, Actor
from ordercenter.orders.contracts import ChannelStatus, OrderDraft
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import jobs, shortages, stages
from ordercenter.pipeline.intake import take_drafts
from tests.factories import (
    BundleFactory,
    BundlePartFactory,
    ListingFactory,
    ShopFactory,
    SkuFactory,
    VirtualWarehouseFactory,
)
from tests.inventory.machine.book import PRIORITY, Sale, SliceKey, with_something
from tests.pipeline.seller import draft, holds, line, print_label, somebody

RUNS = count(1)
TOWNS = {"江苏省": ("苏州市", "虎丘区"), "广东省": ("广州市", "天河区")}
PROVINCES = tuple(TOWNS)
CODES = ("SOFA", "LAMP", "RUG")
SET = {"LAMP": 2, "RUG": 1}
PRICE = {"SOFA": 100, "LAMP": 100, "RUG": 100, "SET": 300}
UNPAID = timedelta(minutes=30)


@dataclass
class Center:
    """Two warehouses, three shops, three SKUs and a set; nothing on the shelves yet."""

    user: User
    tag: str = field(default_factory=lambda: f"m{next(RUNS)}")
    shops: dict[str, int] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    skus: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        StockPolicy(two_person_units=10_000).save()
        for rank, province in enumerate(PROVINCES, 1):
            place = VirtualWarehouseFactory.create(
                code=f"{self.tag}-{rank}", warehouse__code=f"{self.tag}-{rank}",
                warehouse__covers=[province], warehouse__rank=rank,
            )  # fmt: skip
            self.places[province] = place.pk
        goods = {code: SkuFactory.create(code=f"{self.tag}-{code}") for code in CODES}
        self.skus = {code: sku.pk for code, sku in goods.items()}
        bundle = BundleFactory.create(code=f"{self.tag}-SET")
        for code, pieces in SET.items():
            BundlePartFactory.create(bundle=bundle, sku=goods[code], quantity=pieces)
        for name in ("one", "two", "three"):
            shop = ShopFactory.create(code=f"{self.tag}-{name}")
            self.shops[name] = shop.pk
            for code, sku in goods.items():
                ListingFactory.create(shop=shop, code_type=CodeType.OUTER_CODE, code=code, sku=sku)
            ListingFactory.create(
                shop=shop, code_type=CodeType.OUTER_CODE, code="SET", sku=None, bundle=bundle
            )

    # Steps

    def receive(self, place: str, code: str, units: int) -> None:
        inventory.receive([(self.places[place], self.skus[code], units)], actor=PIPELINE)

    def tell(self, sales: list[tuple[str, OrderDraft]], *, now: datetime) -> None:
        """The channels say this, in one batch."""
        with transaction.atomic():
            drafts = [(self.shops[shop], told) for shop, told in sales]
            take_drafts(drafts, actor=PIPELINE, now=now)

    def expire(self, now: datetime) -> None:
        jobs.expire_reservations(now=now)

    def work_shortages(self, now: datetime) -> None:
        shortages.work_shortages(now=now)

    def pack(self, sale: Sale) -> tuple[int, str]:
        """Pick and label; return parcel and tracking number. No stock has moved for it yet."""
        order = self.order(sale)
        assert (order.status, holds(order)) == ("routed", set())
        waybill = print_label(order, self.user)
        return waybill.parcel_id, waybill.number

    def ship(self, parcel: int, number: str) -> None:
        stages.ship_parcel(
            parcel, user=self.user, actor=Actor.person(self.user), tracking_number=number
        )

    def set_slice(self, key: SliceKey, units: int) -> None:
        place, code, shop = key
        slices.set_slice(
            self._level(place, code), self.shops[shop], units, user=self.user,
            actor=Actor.person(self.user), priority=PRIORITY[shop],
        )  # fmt: skip

    def end_slice(self, key: SliceKey) -> None:
        place, code, shop = key
        row = StockSlice.objects.get(level=self._level(place, code), shop=self.shops[shop])
        slices.end_slice(row.pk, user=self.user, actor=Actor.person(self.user))

    # The warehouse

    def correct(self, place: str, code: str, kind: Kind, units: int) -> None:
        adjustments.adjust(
            self.places[place], self.skus[code], units, kind, reason="盘点差异", **self._by()
        )

    def begin_transfer(self, source: str, target: str, code: str, units: int) -> int:
        return transfers.draft(
            self.places[source], self.places[target], {self.skus[code]: units}, **self._by()
        ).pk

    def send(self, transfer: int) -> None:
        transfers.send(transfer, **self._by())

    def finish_transfer(self, transfer: int, received: int, lost: int) -> None:
        line = TransferLine.objects.get(transfer=transfer)
        arrival = transfers.Arrival(line.pk, received, lost, line.received + line.lost)
        transfers.receive(transfer, [arrival], reason="运输破损", **self._by())

    def begin_count(self, place: str, code: str, units: int) -> int:
        """A person has counted so many and says so."""
        count = counting.open_count(self.places[place], [self.skus[code]], **self._by())
        counting.count_sku(count.pk, self.skus[code], units, **self._by())
        return count.pk

    def finish_count(self, count: int) -> None:
        counting.submit(count, **self._by())

    def _by(self) -> dict[str, Any]:
        return {"user": self.user, "actor": Actor.person(self.user)}

    def _level(self, place: str, code: str) -> int:
        levels = StockLevel.objects.filter(
            virtual_warehouse=self.places[place], sku=self.skus[code]
        )
        return levels.values_list("pk", flat=True).get()

    def order(self, sale: Sale) -> SalesOrder:
        return SalesOrder.objects.get(
            shop=self.shops[sale.shop], channel_number=sale.told.channel_number
        )

    def close(self) -> None:
        """Leave nothing behind that a later run would buy from."""
        Warehouse.objects.filter(virtualwarehouse__in=self.places.values()).update(is_active=False)

    # What it says

    def figures(self) -> dict[Any, Any]:
        return self._by_shelf(
            "SELECT l.virtual_warehouse_id, l.sku_id, l.on_hand, l.reserved, l.locked, "
            "l.defect, l.in_transit FROM inventory_stocklevel l WHERE l.sku_id = ANY(%(skus)s)"
        )

    def ledger(self) -> dict[Any, Any]:
        """Per shelf: net from outside, and what the movements leave in each account."""
        accounts = ", ".join(
            f"sum(m.quantity * ((m.target = '{name}')::int - (m.source = '{name}')::int))::int"
            for name in ("outside", "available", "reserved", "shipped", "defect", "transit")
        )
        found = self._by_shelf(
            f"SELECT l.virtual_warehouse_id, l.sku_id, {accounts} FROM inventory_stockmovement m "  # noqa: S608
            "JOIN inventory_stocklevel l ON l.id = m.level_id "
            "WHERE l.sku_id = ANY(%(skus)s) GROUP BY 1, 2"
        )
        return with_something({key: (-outside, *rest) for key, (outside, *rest) in found.items()})

    def slice_figures(self) -> dict[Any, Any]:
        rows = StockSlice.objects.filter(level__sku__in=self.skus.values()).values_list(
            "level__virtual_warehouse_id", "level__sku_id", "shop_id", "quantity", "unsold",
            "is_active",
        )  # fmt: skip
        shops = {pk: name for name, pk in self.shops.items()}
        return {
            (*self._named(place, sku), shops[shop]): tuple(rest) for place, sku, shop, *rest in rows
        }

    def promises(self) -> dict[Any, Any]:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT o.channel_number, l.virtual_warehouse_id, l.sku_id, sum(r.quantity)::int, "
                "sum(r.slice_units)::int, min(r.expires_at) FROM inventory_reservation r "
                "JOIN inventory_stocklevel l ON l.id = r.level_id "
                "JOIN orders_salesorder o ON o.id = r.order_id "
                "WHERE r.state = 'active' AND l.sku_id = ANY(%s) GROUP BY 1, 2, 3",
                [list(self.skus.values())],
            )
            return {
                (number, *self._named(place, sku)): (units, own, expires)
                for number, place, sku, units, own, expires in cursor.fetchall()
            }

    def _by_shelf(self, query: str) -> dict[Any, Any]:
        with connection.cursor() as cursor:
            cursor.execute(query, {"skus": list(self.skus.values())})
            rows = cursor.fetchall()
        return with_something({self._named(place, sku): tuple(rest) for place, sku, *rest in rows})

    def _named(self, place: int, sku: int) -> tuple[str, str]:
        places = {pk: name for name, pk in self.places.items()}
        codes = {pk: name for name, pk in self.skus.items()}
        return places[place], codes[sku]


def wish(shop: str, basket: dict[str, int], near: str, *, paid: bool, at: datetime) -> Sale:
    """An order as its channel tells it, and as the model knows it."""
    city, district = TOWNS[near]
    told = draft(
        *(line(code, pieces, f"{PRICE[code] * pieces}.00") for code, pieces in basket.items()),
        paid=paid, at=at, receiver=somebody(province=near, city=city, district=district),
    )  # fmt: skip
    wants: dict[str, int] = {}
    for code, pieces in basket.items():
        for part, each in (SET if code == "SET" else {code: 1}).items():
            wants[part] = wants.get(part, 0) + each * pieces
    places = sorted(PROVINCES, key=lambda place: place != near)
    return Sale(shop, told, wants, places, paid_at=at if paid else None)


def closing(sale: Sale, at: datetime) -> dict[str, Any]:
    """What the channel says of an order that is given up."""
    paid = sale.paid_at is not None
    status = ChannelStatus.CLOSED_REFUNDED if paid else ChannelStatus.CLOSED
    return {"status": status, "modified_at": at}


def paying(sale: Sale, at: datetime) -> dict[str, Any]:
    """What the channel says of an order that has been paid."""
    return {
        "status": ChannelStatus.WAIT_SHIP, "modified_at": at, "paid_at": at,
        "paid_amount": sale.told.payable_amount or Decimal(0),
    }  # fmt: skip
