"""Who gets what of locked stock: decided in memory, written by ``services``.

An order of a shop takes from the shop's own slice first, then from what belongs to everybody.
Where that is not enough for a paid order, units nobody has bought are taken back out of other
shops' slices.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import combinations
from typing import Any, Final

from django.db import connection

from inventory.contracts import Clawed, Demand, Immovable, Shortage, StockRequest
from ordercenter.core.bulk import array_text, prepared_cursor
from ordercenter.core.errors import InvalidInput

LevelKey = tuple[int, int]
FEN: Final = Decimal("0.01")


class Slice:
    """A locked slice while a batch is being granted."""

    __slots__ = ("clawed", "pk", "priority", "shop_id", "sold", "unsold")

    def __init__(self, pk: int, shop_id: int, unsold: int, priority: int) -> None:
        self.pk = pk
        self.shop_id = shop_id
        self.unsold = unsold
        self.priority = priority
        self.sold = 0
        self.clawed = 0


class Level:
    """A locked level while a batch is being granted. ``free`` belongs to no shop."""

    __slots__ = ("free", "on_hand", "pk", "slices", "taken", "unlocked")

    def __init__(self, pk: int, on_hand: int, free: int) -> None:
        self.pk = pk
        self.on_hand = on_hand
        self.free = free
        self.taken = 0
        self.unlocked = 0
        self.slices: dict[int, Slice] = {}

    def left_for(self, shop_id: int | None) -> int:
        """Units an order of this shop may have."""
        own = self.slices.get(shop_id) if self.slices and shop_id is not None else None
        return self.free + own.unsold if own else self.free

    def take(self, shop_id: int | None, quantity: int) -> tuple[int | None, int]:
        """Take what is there; return (the slice it came out of, how many of it)."""
        own = self.slices.get(shop_id) if self.slices and shop_id is not None else None
        from_own = min(own.unsold, quantity) if own else 0
        self.free -= quantity - from_own
        self.taken += quantity
        if not own or not from_own:
            return None, 0
        own.unsold -= from_own
        own.sold += from_own
        self.unlocked += from_own
        return own.pk, from_own

    def claw(self, slice_: Slice, quantity: int) -> None:
        """Let units of a slice belong to everybody again."""
        slice_.unsold -= quantity
        slice_.clawed += quantity
        self.unlocked += quantity
        self.free += quantity


class LockedLevels(dict[LevelKey, Level]):
    """Levels by (virtual warehouse, SKU), and which of the places asked for are open."""

    open_places: frozenset[int] = frozenset()


def lock_levels(virtual_warehouse_ids: Collection[int], sku_ids: Collection[int]) -> LockedLevels:
    """Lock the levels of these SKUs in primary-key order, then their slices, and tell what each
    has left. Slices are looked at only where there are unsold ones.
    """
    places = list(virtual_warehouse_ids)
    levels = LockedLevels()
    with prepared_cursor() as cursor:
        cursor.execute(
            "SELECT id, virtual_warehouse_id, sku_id, on_hand, on_hand - reserved - locked, "
            "locked, (SELECT string_agg(v.id::text, ' ') FROM inventory_virtualwarehouse v "
            "JOIN inventory_warehouse w ON w.id = v.warehouse_id AND w.is_active "
            "WHERE v.id = ANY(%s::bigint[])) FROM inventory_stocklevel "
            "WHERE virtual_warehouse_id = ANY(%s::bigint[]) AND sku_id = ANY(%s::bigint[]) "
            "ORDER BY id FOR NO KEY UPDATE",
            [array_text(places), array_text(places), array_text(sku_ids)],
        )
        rows = cursor.fetchall()
        if not rows:
            return levels
        levels.open_places = frozenset(map(int, (rows[0][-1] or "").split()))
        sliced = {}
        for pk, vw, sku, on_hand, free, locked, _ in rows:
            levels[vw, sku] = Level(pk, on_hand, free)
            if locked:
                sliced[pk] = levels[vw, sku]
        if sliced:
            cursor.execute(
                "SELECT id, level_id, shop_id, unsold, priority FROM inventory_stockslice "
                "WHERE level_id = ANY(%s::bigint[]) AND unsold > 0 ORDER BY id FOR NO KEY UPDATE",
                [array_text(sliced)],
            )
            for pk, level, shop, unsold, priority in cursor.fetchall():
                sliced[level].slices[shop] = Slice(pk, shop, unsold, priority)
    return levels


def check_requests(requests: Iterable[StockRequest], levels: LockedLevels) -> None:
    """Raise InvalidInput for what no order can want: no units, unknown goods, a closed place.

    Asks the database only about what has no level.
    """
    skus = {sku for _, sku in levels}
    strange_skus, strange_places = set[int](), set[int]()
    for request in requests:
        for demand in request.demands:
            if demand.quantity <= 0:
                raise InvalidInput(what=f"占用数量必须大于 0：{demand.quantity}")
            if demand.sku_id not in skus:
                strange_skus.add(demand.sku_id)
        if not levels.open_places.issuperset(request.sources):
            strange_places.update(set(request.sources) - levels.open_places)
    if strange_skus:
        _must_exist("SELECT id FROM catalog_sku WHERE id = ANY(%s)", strange_skus, "货品")
    if strange_places:
        _must_exist(
            "SELECT v.id FROM inventory_virtualwarehouse v JOIN inventory_warehouse w "
            "ON w.id = v.warehouse_id AND w.is_active WHERE v.id = ANY(%s)",
            strange_places,
            "启用中的仓库",
        )


def _must_exist(query: str, ids: Collection[int], what: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(query, [list(ids)])
        missing = set(ids) - {row[0] for row in cursor.fetchall()}
    if missing:
        raise InvalidInput(what=f"没有这样的{what}：{'、'.join(map(str, sorted(missing)))}")


def wanted_by(demands: Iterable[Demand]) -> dict[int, int]:
    """Units of each SKU: two lines may want one SKU, it is the sum that must fit."""
    wanted: dict[int, int] = {}
    for demand in demands:
        wanted[demand.sku_id] = wanted.get(demand.sku_id, 0) + demand.quantity
    return wanted


def choose(
    wanted: Mapping[int, int],
    sources: Sequence[int],
    levels: Mapping[LevelKey, Level],
    shop_id: int | None,
) -> int | None:
    """The first source that has everything for this shop."""
    for source in sources:
        for sku, quantity in wanted.items():
            level = levels.get((source, sku))
            if level is None or level.left_for(shop_id) < quantity:
                break
        else:
            return source
    return None


def spread(request: StockRequest, levels: Mapping[LevelKey, Level]) -> dict[int, int] | None:
    """The place of each line, over as few places as suffice; None where too many would be needed.

    A bundle's lines stay together. Lines are laid to places in their order, each into the first
    that has enough left: a better division of one SKU's units among lines is not searched for.
    """
    if request.most_places == 1:
        return None
    together: dict[int, list[Demand]] = {}
    for demand in request.demands:
        together.setdefault(demand.bundle or demand.line_id, []).append(demand)
    most = min(request.most_places, len(together), len(request.sources))
    for count in range(2, most + 1):
        for places in combinations(request.sources, count):
            laid = _lay(list(together.values()), places, levels, request.shop_id)
            if laid is not None:
                return laid
    return None


def _lay(
    groups: Iterable[Sequence[Demand]],
    places: Sequence[int],
    levels: Mapping[LevelKey, Level],
    shop_id: int | None,
) -> dict[int, int] | None:
    """The place of each line of these groups, all of them, or None."""
    left: dict[LevelKey, int] = {}
    laid: dict[int, int] = {}
    for group in groups:
        wanted = wanted_by(group)
        for place in places:
            for sku in wanted:
                level = levels.get((place, sku))
                left.setdefault((place, sku), level.left_for(shop_id) if level else 0)
            if all(left[place, sku] >= units for sku, units in wanted.items()):
                break
        else:
            return None
        for sku, units in wanted.items():
            left[place, sku] -= units
        laid |= {demand.line_id: place for demand in group}
    return laid


def shortages(
    wanted: Mapping[int, int],
    sources: Sequence[int],
    levels: Mapping[LevelKey, Level],
    shop_id: int | None,
) -> tuple[Shortage, ...]:
    """What is missing, told for the source that misses least."""

    def missing(source: int) -> list[Shortage]:
        found = []
        for sku, quantity in wanted.items():
            level = levels.get((source, sku))
            left = level.left_for(shop_id) if level else 0
            if left < quantity:
                found.append(Shortage(sku, quantity, left))
        return found

    options = [missing(source) for source in sources] or [
        [Shortage(sku, quantity, 0) for sku, quantity in wanted.items()]
    ]
    return tuple(min(options, key=lambda m: sum(s.wanted - s.available for s in m)))


class Clawing:
    """Takes units back out of other shops' slices, for one batch.

    From the slice with the highest priority number first; a shop whose platform takes no lower
    figure at present is passed over. That is asked once a batch, and only if a slice could help.
    """

    def __init__(self, levels: Mapping[LevelKey, Level], immovable: Immovable | None) -> None:
        self._levels = levels
        self._ask = immovable
        self._told: Collection[tuple[int, int]] | None = None
        self._possible = any(level.slices for level in levels.values())

    def may_help(self, request: StockRequest) -> bool:
        """Only a paid order of a known shop takes from others, and only if others have some."""
        return self._possible and request.is_paid and request.shop_id is not None

    def choose(self, wanted: Mapping[int, int], request: StockRequest) -> int | None:
        """The first source that would have everything with other shops' unsold units."""
        for source in request.sources:
            for sku, quantity in wanted.items():
                level = self._levels.get((source, sku))
                if level is None:
                    break
                others = sum(s.unsold for s in self._others(level, sku, request.shop_id))
                if level.left_for(request.shop_id) + others < quantity:
                    break
            else:
                return source
        return None

    def claw(self, demand: Demand, level: Level, request: StockRequest) -> list[Clawed]:
        """Free what one line lacks at the source that ``choose`` gave."""
        missing = demand.quantity - level.left_for(request.shop_id)
        taken: list[Clawed] = []
        done = 0
        for slice_ in self._others(level, demand.sku_id, request.shop_id):
            count = min(slice_.unsold, missing - done)
            if count <= 0:
                break
            level.claw(slice_, count)
            amount = _share(demand, done + count) - _share(demand, done)
            taken.append(
                Clawed(demand.line_id, demand.sku_id, slice_.pk, slice_.shop_id, count, amount)
            )
            done += count
        return taken

    def _others(self, level: Level, sku_id: int, shop_id: int | None) -> list[Slice]:
        found = [
            s
            for s in level.slices.values()
            if s.unsold and s.shop_id != shop_id and (s.shop_id, sku_id) not in self._immovable()
        ]
        return sorted(found, key=lambda s: (-s.priority, s.pk))

    def _immovable(self) -> Collection[tuple[int, int]]:
        if self._told is None:
            skus = {sku for (_, sku), level in self._levels.items() if level.slices}
            self._told = set(self._ask(skus)) if self._ask else ()
        return self._told


def _share(demand: Demand, units: int) -> Decimal:
    """What so many units of a line sell for; all of them, its amount to the fen."""
    return (demand.amount * units / demand.quantity).quantize(FEN)


def column(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Rows as the arrays a set-wise statement wants."""
    return [list(values) for values in zip(*rows, strict=True)]
