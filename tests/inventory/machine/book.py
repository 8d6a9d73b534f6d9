"""What the stock should be: a small model without a database, told of everything that happens."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from inventory.adjustments import Kind
from ordercenter.orders.contracts import OrderDraft

Key = tuple[str, str]
"""(place, SKU code)."""
SliceKey = tuple[str, str, str]
"""(place, SKU code, shop)."""
PRIORITY = {"one": 10, "two": 20, "three": 30}
"""Units are taken back from the highest first."""


@dataclass
class Sale:
    """One order as the model knows it."""

    shop: str
    told: OrderDraft
    wants: Mapping[str, int]
    """Units of each SKU; a set is its parts here."""
    places: Sequence[str]
    """Where it may be filled from, the nearest first."""
    paid_at: datetime | None = None
    place: str | None = None
    """What holds its stock."""
    own: Counter[str] = field(default_factory=Counter)
    """So much of it came out of the shop's own slices."""
    clawed: Counter[SliceKey] = field(default_factory=Counter)
    """So much was taken back for it out of other shops' slices."""
    expires_at: datetime | None = None
    is_shipped: bool = False
    is_canceled: bool = False

    @property
    def is_open(self) -> bool:
        return not (self.is_shipped or self.is_canceled)


@dataclass
class Shelf:
    """One SKU at one place."""

    on_hand: int = 0
    reserved: int = 0
    received: int = 0
    """From outside, less what went there."""
    shipped: int = 0
    defect: int = 0
    in_transit: int = 0


@dataclass
class Slice:
    """What one shop alone may sell there; ``quantity`` with what it has sold."""

    quantity: int = 0
    unsold: int = 0
    is_active: bool = True


@dataclass
class Book:
    """All places, all slices, all orders."""

    shelves: dict[Key, Shelf] = field(default_factory=dict)
    slices: dict[SliceKey, Slice] = field(default_factory=dict)
    sales: list[Sale] = field(default_factory=list)

    def shelf(self, place: str, code: str) -> Shelf:
        return self.shelves.setdefault((place, code), Shelf())

    def is_there(self, place: str, code: str) -> bool:
        """Whether anything ever lay there."""
        shelf = self.shelf(place, code)
        return bool(shelf.on_hand or shelf.in_transit or shelf.defect)

    def locked(self, place: str, code: str) -> int:
        return sum(s.unsold for (p, c, _), s in self.slices.items() if (p, c) == (place, code))

    def free(self, place: str, code: str) -> int:
        """Units promised to no order and set aside for no shop."""
        shelf = self.shelf(place, code)
        return shelf.on_hand - shelf.reserved - self.locked(place, code)

    def to_be_had(self, shop: str, place: str, code: str) -> int:
        own = self.slices.get((place, code, shop))
        return self.free(place, code) + (own.unsold if own else 0)

    # What happens

    def receive(self, place: str, code: str, units: int) -> None:
        shelf = self.shelf(place, code)
        shelf.on_hand += units
        shelf.received += units

    def correct(self, place: str, code: str, kind: Kind, units: int) -> None:
        shelf = self.shelf(place, code)
        if kind in {Kind.FOUND, Kind.MENDED}:
            shelf.on_hand += units
        elif kind in {Kind.GONE, Kind.TO_DEFECT}:
            shelf.on_hand -= units
        if kind is Kind.TO_DEFECT:
            shelf.defect += units
        elif kind in {Kind.MENDED, Kind.SCRAPPED}:
            shelf.defect -= units
        if kind is Kind.FOUND:
            shelf.received += units
        elif kind in {Kind.GONE, Kind.SCRAPPED}:
            shelf.received -= units

    def may_correct(self, place: str, code: str, kind: Kind, units: int) -> bool:
        """Never what is promised or set aside, nor more defect units than there are."""
        if kind in {Kind.GONE, Kind.TO_DEFECT}:
            return units <= self.free(place, code)
        if kind in {Kind.MENDED, Kind.SCRAPPED}:
            return units <= self.shelf(place, code).defect
        return True

    def count(self, place: str, code: str, difference: int) -> None:
        kind = Kind.FOUND if difference > 0 else Kind.GONE
        self.correct(place, code, kind, abs(difference))

    def send(self, source: str, target: str, code: str, units: int) -> None:
        self.shelf(source, code).on_hand -= units
        self.shelf(target, code).in_transit += units

    def arrive(self, target: str, code: str, received: int, lost: int) -> None:
        shelf = self.shelf(target, code)
        shelf.in_transit -= received + lost
        shelf.on_hand += received
        shelf.received -= lost

    def place_order(self, sale: Sale, expires_at: datetime | None) -> None:
        """Somebody buys: stock is held at once if there is some, for a time if not yet paid."""
        self.sales.append(sale)
        self.try_again(sale, expires_at)

    def try_again(self, sale: Sale, expires_at: datetime | None = None) -> bool:
        """Hold stock where there is enough; for who has paid, with others' unsold units."""
        for others in (False, True) if sale.paid_at else (False,):
            for place in sale.places:
                if all(self._enough(sale, place, c, n, others) for c, n in sale.wants.items()):
                    self._hold(sale, place)
                    sale.expires_at = expires_at
                    return True
        return False

    def _enough(self, sale: Sale, place: str, code: str, units: int, others: bool) -> bool:
        had = self.to_be_had(sale.shop, place, code)
        if others:
            had += sum(self.slices[key].unsold for key in self._of_others(sale, place, code))
        return had >= units

    def _of_others(self, sale: Sale, place: str, code: str) -> list[SliceKey]:
        """Other shops' slices in the order units are taken back from them."""
        found = [
            (p, c, shop)
            for (p, c, shop) in self.slices
            if (p, c) == (place, code) and shop != sale.shop
        ]
        return sorted(found, key=lambda key: -PRIORITY[key[2]])

    def _hold(self, sale: Sale, place: str) -> None:
        sale.place = place
        for code, units in sale.wants.items():
            missing = units - self.to_be_had(sale.shop, place, code)
            for key in self._of_others(sale, place, code):
                taken = min(self.slices[key].unsold, max(0, missing))
                if taken:
                    self.slices[key].unsold -= taken
                    self.slices[key].quantity -= taken
                    sale.clawed[key] = taken
                    missing -= taken
            if own := self.slices.get((place, code, sale.shop)):
                sale.own[code] = min(own.unsold, units)
                own.unsold -= sale.own[code]
            self.shelf(place, code).reserved += units

    def pay(self, sale: Sale, at: datetime) -> None:
        """What is held is held for good; what is not is tried now."""
        sale.paid_at = at
        if sale.place is None:
            self.try_again(sale)
        sale.expires_at = None

    def told_again(self, sale: Sale) -> None:
        """The channel repeats itself: who has paid and holds nothing is tried once more."""
        if sale in self.short():
            self.try_again(sale)

    def expire(self, now: datetime) -> None:
        for sale in self.sales:
            if sale.expires_at is not None and sale.expires_at <= now and sale.is_open:
                self._give_back(sale)

    def cancel(self, sale: Sale) -> None:
        self._give_back(sale)
        sale.is_canceled = True

    def _give_back(self, sale: Sale) -> None:
        if sale.place is not None:
            for code, units in sale.wants.items():
                self.shelf(sale.place, code).reserved -= units
                if own := self.slices.get((sale.place, code, sale.shop)):
                    if own.is_active:
                        own.unsold += sale.own[code]
                    else:
                        own.quantity -= sale.own[code]
            for key, units in sale.clawed.items():
                if self.slices[key].is_active:
                    self.slices[key].unsold += units
                    self.slices[key].quantity += units
        sale.place, sale.expires_at = None, None
        sale.own.clear()
        sale.clawed.clear()

    def ship(self, sale: Sale) -> None:
        assert sale.place is not None
        for code, units in sale.wants.items():
            shelf = self.shelf(sale.place, code)
            shelf.reserved -= units
            shelf.on_hand -= units
            shelf.shipped += units
        sale.is_shipped = True

    def set_slice(self, key: SliceKey, units: int) -> None:
        mine = self.slices.setdefault(key, Slice())
        mine.quantity += units - mine.unsold
        mine.unsold, mine.is_active = units, True

    def end_slice(self, key: SliceKey) -> None:
        mine = self.slices[key]
        mine.quantity -= mine.unsold
        mine.unsold, mine.is_active = 0, False

    def work_shortages(self) -> Iterator[None]:
        """Paid orders that hold nothing, in order of payment: first those that could be filled
        from what is theirs or nobody's, then the others. Two steps, each whole by itself."""
        waiting = sorted(self.short(), key=lambda s: s.paid_at or s.told.placed_at)
        fitting = [sale for sale in waiting if self._fits(sale)]
        for sale in fitting:
            self.try_again(sale)
        yield
        for sale in waiting:
            if sale not in fitting:
                self.try_again(sale)
        yield

    def _fits(self, sale: Sale) -> bool:
        return any(
            all(self._enough(sale, place, c, n, others=False) for c, n in sale.wants.items())
            for place in sale.places
        )

    # What may happen next

    def open_sales(self) -> list[Sale]:
        return [sale for sale in self.sales if sale.is_open]

    def unpaid(self) -> list[Sale]:
        return [sale for sale in self.open_sales() if sale.paid_at is None]

    def short(self) -> list[Sale]:
        return [s for s in self.open_sales() if s.paid_at is not None and s.place is None]

    def ready(self) -> list[Sale]:
        """Paid and held: may be shipped."""
        return [s for s in self.open_sales() if s.paid_at is not None and s.place is not None]

    # What is compared with the database

    def figures(self) -> dict[Key, tuple[int, ...]]:
        """(on hand, reserved, locked, defect, in transit) of every shelf with anything on it."""
        return with_something(
            {
                (place, code): (
                    shelf.on_hand, shelf.reserved, self.locked(place, code), shelf.defect,
                    shelf.in_transit,
                )
                for (place, code), shelf in self.shelves.items()
            }
        )  # fmt: skip

    def slice_figures(self) -> dict[SliceKey, tuple[int, int, bool]]:
        return {key: (s.quantity, s.unsold, s.is_active) for key, s in self.slices.items()}

    def promises(self) -> dict[tuple[str, str, str], tuple[int, int, datetime | None]]:
        """(units, of the own slice, runs out) by (channel number, place, SKU)."""
        return {
            key: (units, own, sale.expires_at)
            for sale in self.open_sales()
            for key, units, own in self._promised(sale)
        }

    def _promised(self, sale: Sale) -> Iterator[tuple[tuple[str, str, str], int, int]]:
        if sale.place is not None:
            for code, units in sale.wants.items():
                yield (sale.told.channel_number, sale.place, code), units, sale.own[code]

    def ledger(self) -> dict[Key, tuple[int, ...]]:
        """(from outside, available, reserved, shipped, defect, in transit): what the movements
        must add up to."""
        return with_something(
            {
                (place, code): (
                    shelf.received, shelf.on_hand - shelf.reserved, shelf.reserved,
                    shelf.shipped, shelf.defect, shelf.in_transit,
                )
                for (place, code), shelf in self.shelves.items()
            }
        )  # fmt: skip


def with_something(rows: dict[Any, tuple[int, ...]]) -> dict[Any, tuple[int, ...]]:
    return {key: facts for key, facts in rows.items() if any(facts)}
