"""Where on the shelves a SKU lies, and the picker's way past the places."""

from collections.abc import Collection
from dataclasses import dataclass

from inventory.models import BinPlace


@dataclass(frozen=True, slots=True)
class Places:
    """The bins of one SKU, the first on the way first."""

    codes: tuple[str, ...] = ()
    walk_order: int = 2**31
    """What has no place comes last."""

    @property
    def words(self) -> str:
        return "、".join(self.codes)

    @property
    def turn(self) -> tuple[int, str]:
        """Sorts SKUs in the order of the way."""
        return self.walk_order, self.codes[0] if self.codes else ""


def places_of(warehouse_id: int, sku_ids: Collection[int]) -> dict[int, Places]:
    """The bins of each of these SKUs in one warehouse; every SKU asked for is in the answer."""
    found: dict[int, list[tuple[int, str]]] = {sku: [] for sku in sku_ids}
    rows = (
        BinPlace.objects.filter(
            bin__warehouse_id=warehouse_id, bin__is_active=True, sku_id__in=sku_ids
        )
        .order_by("bin__walk_order", "bin__code")
        .values_list("sku_id", "bin__walk_order", "bin__code")
    )
    for sku, walk_order, code in rows:
        found[sku].append((walk_order, code))
    return {
        sku: Places(tuple(code for _turn, code in bins), bins[0][0]) if bins else Places()
        for sku, bins in found.items()
    }
