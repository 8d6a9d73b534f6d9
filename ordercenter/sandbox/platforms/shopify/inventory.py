"""What Shopify shows for sale, asked for and told (channels.md 5d).

``inventorySetQuantities`` compares before it sets: up to 2026-01 with ``compareQuantity`` (or
``ignoreCompareQuantity``), from 2026-04 with ``changeFromQuantity``, which must be there and
may be null, and with ``@idempotent(key:)``. Queries: ``inventoryItem(id)``,
``inventoryItems(first, query: "sku:...")``, ``productVariant(id)``,
``productVariants(first, query: "sku:...")``, ``nodes(ids)`` of variants, ``locations(first)``,
``location(id)``.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from ordercenter.sandbox.platforms.shopify.bodies import LOCATION, connection, inventory_item
from ordercenter.sandbox.platforms.shopify.wire import Call, GraphqlError, Serve, gid, number_of
from ordercenter.sandbox.shelf import Shelf
from ordercenter.sandbox.wire import digest

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book, Listed, ShopConfig

NEW_RULES: Final = "2026-04"
MOST_ROWS: Final = 250
NAMES: Final = frozenset({"available", "on_hand"})
BY_SKU: Final = re.compile(r"""sku:\s*(?:'([^']*)'|"([^"]*)"|(\S+))""")
STALE_NEW, STALE_OLD = "CHANGE_FROM_QUANTITY_STALE", "COMPARE_QUANTITY_STALE"
Problem = dict[str, Any]


class Inventory:
    def __init__(self, book: Book) -> None:
        self.book = book
        self.shelf = Shelf(book, "shopify")
        self._attempts: dict[tuple[str, str], dict[str, Any]] = {
            (row["shop"], row["key"]): row for row in book.records["shopify_attempt"]
        }

    def queries(self) -> dict[str, Serve]:
        return {
            "inventoryItem": self.item,
            "inventoryItems": self.items,
            "productVariant": self.variant,
            "productVariants": self.variants,
            "nodes": self.nodes,
            "locations": self.locations,
            "location": self.location,
        }

    def mutations(self) -> dict[str, Serve]:
        return {"inventorySetQuantities": self.set_quantities}

    # Asking

    def item(self, call: Call) -> dict[str, Any] | None:
        listed = self._of_item(call.shop, call.field.arguments.get("id"))
        return None if listed is None else self._item_node(call.shop, listed)

    def items(self, call: Call) -> dict[str, Any]:
        found = self._by_sku(call)
        return connection([self._item_node(call.shop, listed) for listed in found])

    def variant(self, call: Call) -> dict[str, Any] | None:
        number = number_of(call.field.arguments.get("id"), "ProductVariant")
        listed = self.shelf.find(call.shop, sku_id=number)
        return None if listed is None else self._variant_node(call.shop, listed)

    def variants(self, call: Call) -> dict[str, Any]:
        found = self._by_sku(call)
        return connection([self._variant_node(call.shop, listed) for listed in found])

    def nodes(self, call: Call) -> list[dict[str, Any] | None]:
        """nodes(ids): variants in the order asked for, null for what there is none of."""
        ids = call.field.arguments.get("ids")
        if not isinstance(ids, list) or not 1 <= len(ids) <= MOST_ROWS:
            raise GraphqlError(f"`ids` takes 1 to {MOST_ROWS} ids", "argumentLiteralsIncompatible")
        numbers = [number_of(one, "ProductVariant") for one in ids]
        found = [self.shelf.find(call.shop, sku_id=number) for number in numbers]
        return [None if one is None else self._variant_node(call.shop, one) for one in found]

    def locations(self, call: Call) -> dict[str, Any]:
        return connection([location_node()])

    def location(self, call: Call) -> dict[str, Any] | None:
        wanted = call.field.arguments.get("id", gid("Location", LOCATION))
        return location_node() if number_of(wanted, "Location") == str(LOCATION) else None

    def _by_sku(self, call: Call) -> list[Listed]:
        first, text = call.field.arguments.get("first"), call.field.arguments.get("query")
        if not isinstance(first, int) or not 1 <= first <= 250:
            raise GraphqlError("you must provide a `first` value between 1 and 250")
        found = [listed for listed in call.shop.listed if listed.platform_sku_id is not None]
        if text:
            match = BY_SKU.fullmatch(str(text).strip())
            if match is None:
                raise GraphqlError(f"cannot search by {text!r}")
            wanted = match[1] or match[2] or match[3] or ""
            found = [listed for listed in found if listed.outer_code == wanted]
        return found[:first]

    def _of_item(self, shop: ShopConfig, item: Any) -> Listed | None:
        number = int(number_of(item, "InventoryItem"))
        return next(
            (
                listed
                for listed in shop.listed
                if listed.platform_sku_id is not None
                and inventory_item(listed.platform_sku_id) == number
            ),
            None,
        )

    def _item_node(self, shop: ShopConfig, listed: Listed) -> dict[str, Any]:
        item = inventory_item(str(listed.platform_sku_id))
        shown = self.shelf.shown(shop, listed)
        level = {
            "id": gid("InventoryLevel", f"{item}?inventory_item_id={item}"),
            "location": location_node(),
            "quantities": [{"name": name, "quantity": shown} for name in sorted(NAMES)],
        }
        return {
            "id": gid("InventoryItem", item),
            "sku": listed.outer_code,
            "tracked": True,
            "inventoryLevel": level,
            "inventoryLevels": connection([level]),
            "variant": {"id": gid("ProductVariant", listed.platform_sku_id)},
        }

    def _variant_node(self, shop: ShopConfig, listed: Listed) -> dict[str, Any]:
        product = int(digest("product", listed.goods, length=10), 16) % 10**11
        return {
            "id": gid("ProductVariant", listed.platform_sku_id),
            "sku": listed.outer_code,
            "inventoryQuantity": self.shelf.shown(shop, listed),
            "inventoryItem": self._item_node(shop, listed),
            "product": {"id": gid("Product", f"13{product:011d}")},
        }

    # Telling

    def set_quantities(self, call: Call) -> dict[str, Any]:
        """inventorySetQuantities: all rows or none."""
        wish = call.field.arguments.get("input")
        if not isinstance(wish, dict) or not isinstance(wish.get("quantities"), list):
            raise GraphqlError("Argument 'input' is required", "missingRequiredArguments")
        if not 1 <= len(wish["quantities"]) <= MOST_ROWS:
            raise GraphqlError("The input array size is out of range", "MAX_INPUT_SIZE_EXCEEDED")
        key = self._key(call)
        sent = digest(json.dumps(wish, sort_keys=True), length=16)
        if key and (before := self._attempts.get((call.shop.code, key))) is not None:
            return self._repeated(call, before, sent)
        problems = [self._problem(call, wish, row, at) for at, row in enumerate(wish["quantities"])]
        if wish.get("name") not in NAMES:
            problems.insert(0, problem("name", code="INVALID_NAME"))
        found = [row for row in problems if row is not None]
        group = None if found else self._set(call, wish, key)
        if key:
            facts = {"shop": call.shop.code, "key": key, "sent": sent, "group": group}
            self._attempts[call.shop.code, key] = self.book.record("shopify_attempt", facts)
        return {"inventoryAdjustmentGroup": group, "userErrors": found}

    def _repeated(self, call: Call, before: dict[str, Any], sent: str) -> dict[str, Any]:
        """What the same key is answered the second time."""
        if before["sent"] != sent:
            return refused("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", "The key was used otherwise.")
        if before["group"] is None:
            return refused("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", "The previous attempt failed.")
        for change in before["group"]["changes"]:
            listed = self._of_item(call.shop, change["item"]["id"])
            name = "" if listed is None else self.shelf.name(listed)
            self.book.wrote(call.shop.code, "stock", name, key=before["key"], effect=False)
        return {"inventoryAdjustmentGroup": before["group"], "userErrors": []}

    def _key(self, call: Call) -> str:
        """The idempotency key: required by the new rules."""
        directive = call.field.directives.get("idempotent")
        key = "" if directive is None else str(directive.get("key") or "")
        if call.version >= NEW_RULES and not key:
            message = "The @idempotent directive is required for this mutation"
            raise GraphqlError(message, "BAD_REQUEST")
        return key

    def _problem(self, call: Call, wish: dict[str, Any], row: Any, at: int) -> Problem | None:
        """What is wrong with one row, if anything is."""
        if not isinstance(row, dict):
            raise GraphqlError("quantities must be objects", "argumentLiteralsIncompatible")
        place = ("quantities", str(at))
        listed = self._of_item(call.shop, row.get("inventoryItemId"))
        if listed is None:
            return problem(*place, "inventoryItemId", code="INVALID_INVENTORY_ITEM")
        if number_of(row.get("locationId"), "Location") != str(LOCATION):
            return problem(*place, "locationId", code="INVALID_LOCATION")
        quantity = row.get("quantity")
        if not isinstance(quantity, int) or isinstance(quantity, bool):
            raise GraphqlError("quantity must be a whole number", "argumentLiteralsIncompatible")
        if quantity < 0:
            return problem(*place, "quantity", code="INVALID_QUANTITY_NEGATIVE")
        return self._stale(call, wish, row, listed, place)

    def _stale(
        self,
        call: Call,
        wish: dict[str, Any],
        row: dict[str, Any],
        listed: Listed,
        place: tuple[str, str],
    ) -> Problem | None:
        shown = self.shelf.shown(call.shop, listed)
        if call.version >= NEW_RULES:
            for old in ("compareQuantity", "ignoreCompareQuantity"):
                if old in row or old in wish:
                    raise GraphqlError(f"Field is not defined: {old}", "undefinedField")
            if "changeFromQuantity" not in row:
                message = "changeFromQuantity: Expected value to be given"
                raise GraphqlError(message, "missingRequiredInputObjectAttribute")
            before = row["changeFromQuantity"]
            if before is not None and before != shown:
                return problem(*place, "changeFromQuantity", code=STALE_NEW)
            return None
        if "changeFromQuantity" in row:
            raise GraphqlError("Field is not defined: changeFromQuantity", "undefinedField")
        if wish.get("ignoreCompareQuantity"):
            return None
        before = row.get("compareQuantity")
        if before is None:
            return problem(*place, "compareQuantity", code="COMPARE_QUANTITY_REQUIRED")
        return problem(*place, "compareQuantity", code=STALE_OLD) if before != shown else None

    def _set(self, call: Call, wish: dict[str, Any], key: str) -> dict[str, Any]:
        self.shelf.called()
        changes = []
        for row in wish["quantities"]:
            listed = self._of_item(call.shop, row["inventoryItemId"])
            if listed is None:
                continue
            before = self.shelf.shown(call.shop, listed)
            after = self.shelf.put(call.shop, listed, row["quantity"], key=key)
            changes.append(
                {
                    "name": wish["name"],
                    "delta": after - before,
                    "quantityAfterChange": None,
                    "item": {"id": row["inventoryItemId"]},
                }
            )
        number = len(self.book.records["stock"])
        return {
            "id": gid("InventoryAdjustmentGroup", number),
            "reason": wish.get("reason"),
            "referenceDocumentUri": wish.get("referenceDocumentUri"),
            "changes": changes,
        }


def problem(*place: str, code: str) -> Problem:
    return {"field": ["input", *place], "message": f"{place[-1]} is invalid ({code})", "code": code}


def refused(code: str, why: str) -> dict[str, Any]:
    told = [{"field": ["idempotencyKey"], "message": why, "code": code}]
    return {"inventoryAdjustmentGroup": None, "userErrors": told}


def location_node() -> dict[str, Any]:
    return {
        "id": gid("Location", LOCATION),
        "name": "总仓",
        "isActive": True,
        "fulfillsOnlineOrders": True,
    }
