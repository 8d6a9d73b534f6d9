"""How Shopify hears of stock figures (``channels.md`` 5d): compared before they are set."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from channels_sync.connectors.base import key_of_all, lots
from channels_sync.connectors.exchange import platform_error, reading_reply
from channels_sync.connectors.shopify import queries
from channels_sync.connectors.shopify.wire import (
    IDEMPOTENT_FROM,
    SMALL,
    USER_ERRORS,
    ShopifyLine,
    gid,
    number_of,
    refused,
    rows_of,
    user_error,
)
from channels_sync.connectors.values import Node
from channels_sync.contracts import (
    ConnectorError,
    ErrorClass,
    PlatformError,
    Rejected,
    StockAnswer,
    StockCall,
    StockEcho,
    StockFigure,
    TryLater,
)

VARIANTS_A_CALL: Final = 100
"""The call takes 250 rows; the question for what they show has to stay under its cost limit."""
ROUNDS: Final = 3
NO_VARIANT: Final = "平台上没有这个商品规格"
_STALE: Final = frozenset({"CHANGE_FROM_QUANTITY_STALE", "COMPARE_QUANTITY_STALE"})
_STILL_RUNNING: Final = "IDEMPOTENCY_CONCURRENT_REQUEST"
_FAILED_BEFORE: Final = "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"


class ShopifyStock(ShopifyLine):
    """Figures are set at the shop's location, each against what is shown there."""

    _place = ""
    """The location, once it has been asked for."""

    def publish_stock(self, figure: StockFigure) -> StockEcho:
        """Set ``available`` at the shop's location, comparing with what is there.

        Where the store shows less than we believe it has sold what we do not know of yet: the
        figure is lowered by as much. A figure that went stale in between is read again, once.
        """
        place = self.location()
        for last in (False, True):
            item, shown = self.level(figure, place)
            wanted = _wanted(figure, shown)
            if wanted == shown:
                return StockEcho(shown)
            try:
                self._set_stock(figure, (item, place), shown, wanted)
            except Rejected as error:
                if error.error.sub_code not in _STALE or last:
                    raise _stock_refusal(error) from error
            else:
                return StockEcho(wanted)
        raise AssertionError("the second round returns or raises")

    def location(self) -> str:
        """Where stock is shown: the option ``location_id``, else the first active location."""
        if not self._place:
            self._place = self._find_location()
        return self._place

    def _find_location(self) -> str:
        if given := self.access.options.get("location_id"):
            return gid("Location", number_of(given) or given)
        with reading_reply():
            rows = rows_of(self.ask(queries.LOCATIONS, {}).node("locations").data)
            for row in rows:
                place = Node.of(row, "locations")
                if place.boolean("isActive", default=True):
                    return place.id("id")
        raise refused("no_location", "店铺没有启用的仓库地点")

    def level(self, figure: StockFigure, place: str) -> tuple[str, int]:
        """The inventory item of a listing and what it shows as available now."""
        return _level_of(self._variant(figure, place))

    def _variant(self, figure: StockFigure, place: str) -> Node:
        if figure.platform_sku_id:
            wanted = {"id": gid("ProductVariant", figure.platform_sku_id), "location": place}
            rows = [self.ask(queries.LEVEL_OF_VARIANT, wanted).get("productVariant")]
        else:
            code = figure.outer_code.replace("\\", "\\\\").replace('"', '\\"')
            wanted = {"q": f'sku:"{code}"', "location": place}
            found = self.ask(queries.LEVEL_OF_SKU, wanted).node_or_empty("productVariants")
            rows = rows_of(found.data)
        variants = [row for row in rows if isinstance(row, Mapping)]
        if len(variants) != 1:
            words = NO_VARIANT if not variants else "平台上有多个规格使用同一商家编码"
            raise refused("no_such_variant", words)
        return Node(variants[0], "productVariant")

    def _set_stock(
        self, figure: StockFigure, where: tuple[str, str], shown: int, wanted: int
    ) -> None:
        """One compare-and-set. Its key stands for the very change, so a repeat is the same."""
        item, place = where
        change = _Change(figure, item, shown, wanted)
        self._set((change,), place, figure.key, f"{figure.key}:{shown}:{wanted}")

    def _set(self, changes: Sequence["_Change"], place: str, about: str, key: str) -> None:
        """Set all of them or none. Raises Refusals where the store says no."""
        is_new = self.version >= IDEMPOTENT_FROM
        compare = "changeFromQuantity" if is_new else "compareQuantity"
        stock = {
            "name": "available",
            "reason": "correction",
            "referenceDocumentUri": f"gid://order-center/StockPush/{about}",
            "quantities": [
                {"inventoryItemId": one.item, "locationId": place, "quantity": one.wanted,
                 compare: one.shown}
                for one in changes
            ],
        }  # fmt: skip
        if not is_new:
            self._tell(queries.SET_STOCK_BEFORE, {"input": stock})
            return
        try:
            self._tell(queries.SET_STOCK, {"input": stock, "key": key})
        except Refusals as error:
            if error.error.sub_code != _FAILED_BEFORE:
                raise
            self._tell(queries.SET_STOCK, {"input": stock, "key": f"{key}:again"})

    def _tell(self, query: str, variables: Mapping[str, Any]) -> None:
        data = self.ask(query, variables, writes=True, judged=False)
        with reading_reply(writes=True):
            error = user_error(data)
            if error is not None:
                raise Refusals(error, _by_row(data))

    # Several at once

    def stock_calls(self, figures: Sequence[StockFigure]) -> list[StockCall]:
        """Variants go together; what is known by its code alone has to be looked for first.

        A call takes its turns itself: they are counted in points."""
        known = [one for one in figures if one.platform_sku_id]
        calls = [StockCall("", lot) for lot in lots(known, VARIANTS_A_CALL)]
        return calls + [StockCall("", (one,)) for one in figures if not one.platform_sku_id]

    def publish_figures(self, figures: Sequence[StockFigure]) -> list[StockAnswer]:
        """One question for what is shown and one compare-and-set for all of them.

        The store takes all rows or none: rows it refuses are left out, stale ones read again.
        """
        if len(figures) == 1:
            return [self.publish_stock(figures[0])]
        place, answers, waiting = self.location(), dict[str, StockAnswer](), list(figures)
        for _round in range(ROUNDS):
            changes = self._changes(waiting, place, answers)
            if not changes:
                break
            waiting = self._set_some(changes, place, answers)
            if not waiting:
                break
        moved = _moved()
        return [answers.get(figure.key, moved) for figure in figures]

    def _changes(
        self, figures: Sequence[StockFigure], place: str, answers: dict[str, StockAnswer]
    ) -> list["_Change"]:
        """What there is to change; what needs no change or cannot be told is answered."""
        ids = [gid("ProductVariant", one.platform_sku_id) for one in figures]
        wanted = {"ids": ids, "location": place}
        rows = self.ask(queries.LEVELS, wanted, cost=SMALL + len(ids)).get("nodes")
        if not isinstance(rows, list) or len(rows) != len(ids):
            raise TryLater(platform_error("bad_body", "平台没有给出所查的规格"))
        changes = []
        for figure, row in zip(figures, rows, strict=True):
            try:
                if not isinstance(row, Mapping):
                    raise refused("no_such_variant", NO_VARIANT)
                item, shown = _level_of(Node(row, "nodes"))
            except ConnectorError as error:
                answers[figure.key] = error
                continue
            change = _Change(figure, item, shown, _wanted(figure, shown))
            if change.wanted == shown:
                answers[figure.key] = StockEcho(shown)
            else:
                changes.append(change)
        return changes

    def _set_some(
        self, changes: Sequence["_Change"], place: str, answers: dict[str, StockAnswer]
    ) -> list[StockFigure]:
        """Set them; return the figures that are to be tried again."""
        about = key_of_all([one.figure for one in changes])
        text = "\n".join(f"{one.figure.key}:{one.shown}:{one.wanted}" for one in changes)
        key = f"stock:{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}"
        try:
            self._set(changes, place, about, key)
        except Refusals as refusal:
            if not refusal.by_row or not refusal.by_row.keys() <= set(range(len(changes))):
                raise _stock_refusal(refusal) from refusal
            again = []
            for at, change in enumerate(changes):
                error = refusal.by_row.get(at)
                if error is None or error.sub_code in _STALE:
                    again.append(change.figure)
                else:
                    answers[change.figure.key] = Rejected(error)
            return again
        answers.update({one.figure.key: StockEcho(one.wanted) for one in changes})
        return []


class Refusals(Rejected):
    """What a store says no to, by the place of the row where it names one."""

    def __init__(self, error: PlatformError, by_row: Mapping[int, PlatformError]) -> None:
        super().__init__(error)
        self.by_row = by_row


@dataclass(frozen=True, slots=True)
class _Change:
    """One figure against what the store shows now."""

    figure: StockFigure
    item: str
    shown: int
    wanted: int


def _by_row(data: Node) -> dict[int, PlatformError]:
    """The errors of a mutation by the row they name; none where one of them names no row."""
    found: dict[int, PlatformError] = {}
    for row in data.node_or_empty("inventorySetQuantities").nodes(USER_ERRORS):
        path = row.get("field")
        names = [str(part) for part in path] if isinstance(path, list) else []
        place = names.index("quantities") + 1 if "quantities" in names else len(names)
        if place >= len(names) or not names[place].isdigit():
            return {}
        words, code = row.text("message"), row.text("code") or None
        error = PlatformError(ErrorClass.BUSINESS, USER_ERRORS, words, sub_code=code)
        found.setdefault(int(names[place]), error)
    return found


def _level_of(variant: Node) -> tuple[str, int]:
    """The inventory item of a variant and what it shows as available. Raises Rejected."""
    with reading_reply():
        item = variant.node_or_empty("inventoryItem")
        levels = item.node_or_empty("inventoryLevel").nodes("quantities")
        found = [one for one in levels if one.text("name") in {"available", ""}]
        if found:
            return item.id("id"), found[0].whole("quantity")
    raise refused("not_stocked", "该商品没有在所选地点管理库存")


def _wanted(figure: StockFigure, shown: int) -> int:
    """What to show: the figure, less what the store has sold without our knowing."""
    if figure.believed is None:
        return figure.quantity
    return max(0, min(figure.quantity, shown + figure.quantity - figure.believed))


def _stock_refusal(error: Rejected) -> Rejected | TryLater:
    return _moved() if error.error.sub_code in _STALE | {_STILL_RUNNING} else error


def _moved() -> TryLater:
    return TryLater(platform_error("stock_moved", "平台库存正在变动，稍后再推"))
