"""Shopify's webhooks: orders and refunds in the REST shape (channels.md 5c, 5e)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ordercenter.sandbox.book import Line, Order, Refund, Shipment, ShopConfig
from ordercenter.sandbox.outgoing import Push, Teller, hook, said_ok
from ordercenter.sandbox.platforms.shopify.bodies import (
    LOCATION,
    address_facts,
    canceled,
    current,
    customer_id,
    cut_fen,
    discount_index,
    discounts,
    email,
    financial,
    fulfillment,
    fulfillment_id,
    list_fen,
    name_of,
    note_of,
    refund_lines,
    refunded_fen,
    restock,
    shop_domain,
    transaction_status,
    unfulfilled,
)
from ordercenter.sandbox.platforms.shopify.wire import gid, webhook_hmac
from ordercenter.sandbox.wire import BEIJING, digest, utc, yuan

if TYPE_CHECKING:
    from ordercenter.sandbox.book import Book


class Pusher(Teller):
    """Tells the center of every change by webhooks in the REST shape (5e)."""

    def _changed(self, order: Order, event: str) -> None:
        shop = self.book.shops[order.shop]
        if shop.channel != "shopify":
            return
        for refund in order.refunds:
            status = transaction_status(refund)
            if self._is_news(refund.refund_id, status):
                self._put(shop, order, "refunds/create", refund_body(order, refund, shop))
        for topic in topics(order, event):
            self._put(shop, order, topic, order_rest(self.book, shop, order))

    def _put(self, shop: ShopConfig, order: Order, topic: str, payload: Mapping[str, Any]) -> None:
        # Ruby writes slashes with a backslash; who reads and dumps again loses the signature.
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).replace("/", "\\/")
        mark = digest(shop.code, order.number, topic, order.modified, text, length=32)
        self.outgoing.put(self._push(order, topic, text.encode(), mark))

    def _push(self, order: Order, topic: str, body: bytes, mark: str) -> Push:
        """The event known by ``mark``."""
        shop = self.book.shops[order.shop]
        headers = {
            "Content-Type": "application/json",
            "X-Shopify-Topic": topic,
            "X-Shopify-Hmac-SHA256": webhook_hmac(body, shop.app_secret),
            "X-Shopify-Shop-Domain": shop_domain(shop),
            "X-Shopify-API-Version": str(shop.options.get("api_version", "2026-04")),
            "X-Shopify-Webhook-Id": uuid_of(mark),
            "X-Shopify-Event-Id": uuid_of(digest("event", mark)),
            "X-Shopify-Triggered-At": f"{utc(self.book.now(shop.code)):%Y-%m-%dT%H:%M:%S.%fZ}",
        }
        facts = {
            "shop": shop.code,
            "number": order.number,
            "topic": topic,
            "id": headers["X-Shopify-Webhook-Id"],
        }

        def renewed(word: str) -> Push:
            return self._push(order, topic, body, digest(mark, word))

        url = hook(self.center_url, "shopify", shop.code)
        return Push(url, body, lambda: headers, said_ok, facts, renewed)


def uuid_of(text: str) -> str:
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"


def topics(order: Order, event: str) -> tuple[str, ...]:
    if event == "created":
        return ("orders/create",)
    if event == "paid":
        return ("orders/paid", "orders/updated")
    if event == "closed" and canceled(order)[0] is not None:
        return ("orders/cancelled", "orders/updated")
    return ("orders/updated",)


def zoned(at: float | None) -> str | None:
    """In the shop's zone with its offset, as webhooks write it (5c)."""
    return None if at is None else utc(at).astimezone(BEIJING).isoformat(timespec="seconds")


def order_rest(book: Book, shop: ShopConfig, order: Order) -> dict[str, Any]:
    """The REST shape: snake case, numeric ids, money as text (5c)."""
    number, lines = name_of(book, order), order.lines
    canceled_at, reason = canceled(order)
    shown = fulfillment(order)
    cuts = sum(cut_fen(line) for line in lines)
    subtotal = sum(line.amount_fen for line in lines)
    return {
        "id": int(order.number),
        "admin_graphql_api_id": gid("Order", order.number),
        "name": f"#{number}",
        "order_number": number,
        "number": number - 1000,
        "confirmed": True,
        "test": False,
        "created_at": zoned(order.created),
        "updated_at": zoned(order.modified),
        "processed_at": zoned(order.created),
        "cancelled_at": zoned(canceled_at),
        "cancel_reason": None if reason is None else reason.lower(),
        "closed_at": zoned(order.finished),
        "currency": shop.currency,
        "presentment_currency": shop.currency,
        "financial_status": financial(order).lower(),
        "fulfillment_status": {"FULFILLED": "fulfilled", "PARTIALLY_FULFILLED": "partial"}.get(
            shown
        ),
        "total_price": yuan(order.payable_fen),
        "current_total_price": yuan(order.payable_fen - refunded_fen(order)),
        "subtotal_price": yuan(subtotal),
        "total_discounts": yuan(cuts),
        "total_line_items_price": yuan(subtotal + cuts),
        "total_tax": "0.00",
        "total_outstanding": yuan(order.payable_fen if order.paid is None else 0),
        "note": note_of(order) or None,
        "note_attributes": [],
        "tags": ", ".join(order.extra.get("tags", [])),
        "discount_codes": [],
        "discount_applications": [
            {"type": "automatic", "title": title, "value": yuan(fen), "value_type": "fixed_amount"}
            for title, fen in discounts(order)
        ],
        "email": email(order),
        "phone": None,
        "browser_ip": order.buyer.ip or None,
        "client_details": {
            "browser_ip": order.buyer.ip or None,
            "accept_language": "zh-CN",
            "user_agent": "Mozilla/5.0 (sandbox)",
        },
        "customer": {
            "id": customer_id(order),
            "email": email(order),
            "first_name": order.buyer.name[1:],
            "last_name": order.buyer.name[:1],
            "phone": f"+86{order.buyer.phone}" if order.buyer.phone else None,
        },
        "line_items": [line_rest(order, line, shop) for line in lines],
        "shipping_lines": [
            {
                "id": 1,
                "title": "标准快递",
                "price": yuan(order.freight_fen),
                "discounted_price": yuan(order.freight_fen),
                "code": "STD",
            }
        ],
        "shipping_address": address_rest(order),
        "billing_address": None,
        "fulfillments": [fulfillment_rest(order, shipment) for shipment in order.shipments],
        "refunds": [refund_body(order, refund, shop) for refund in order.refunds],
        "payment_gateway_names": ["alipay"],
        "source_name": "web",
        "taxes_included": True,
    }


def line_rest(order: Order, line: Line, shop: ShopConfig) -> dict[str, Any]:
    price, cut = yuan(list_fen(line)), cut_fen(line)
    money = {"amount": price, "currency_code": shop.currency}
    allocated = []
    if cut:
        off = {"amount": yuan(cut), "currency_code": shop.currency}
        allocated.append(
            {
                "amount": yuan(cut),
                "amount_set": {"shop_money": off, "presentment_money": dict(off)},
                "discount_application_index": discount_index(order, line),
            }
        )
    left = unfulfilled(order, line)
    held = line.quantity - order.left(line)
    shown = None if not held else "fulfilled" if held == line.quantity else "partial"
    product = int(digest("product", line.sku_code or line.title, length=10), 16) % 10**11
    return {
        "id": int(line.line_id),
        "variant_id": int(line.platform_sku_id) if line.platform_sku_id else None,
        "product_id": int(f"13{product:011d}"),
        "sku": line.outer_code,
        "title": line.title,
        "name": line.title,
        "quantity": line.quantity,
        "current_quantity": current(line),
        "fulfillable_quantity": left,
        "fulfillment_status": shown,
        "gift_card": False,
        "grams": 500,
        "price": price,
        "price_set": {"shop_money": money, "presentment_money": dict(money)},
        "total_discount": "0.00",
        "discount_allocations": allocated,
        "properties": [],
        "requires_shipping": True,
        "taxable": True,
        "vendor": shop.name,
        "tax_lines": [],
        "duties": [],
    }


def address_rest(order: Order) -> dict[str, Any]:
    facts = address_facts(order)
    return {
        "first_name": facts["first"],
        "last_name": facts["last"],
        "name": facts["name"],
        "address1": facts["address1"],
        "address2": None,
        "city": facts["city"],
        "province": facts["province"],
        "province_code": facts["code"],
        "country": "China",
        "country_code": "CN",
        "zip": facts["zip"],
        "phone": facts["phone"],
        "latitude": None,
        "longitude": None,
        "company": None,
    }


def fulfillment_rest(order: Order, shipment: Shipment) -> dict[str, Any]:
    return {
        "id": int(fulfillment_id(order, shipment)),
        "order_id": int(order.number),
        "status": "success",
        "created_at": zoned(shipment.at),
        "tracking_company": shipment.carrier_code,
        "tracking_number": shipment.tracking_number,
        "tracking_numbers": [shipment.tracking_number],
    }


def refund_body(order: Order, refund: Refund, shop: ShopConfig) -> dict[str, Any]:
    """refunds/create: line sums are JSON numbers, the transaction's money is text."""
    kind = restock(order, refund)
    number = int(refund.refund_id)
    rows = [
        {
            "id": number * 100 + turn,
            "line_item_id": int(line.line_id),
            "location_id": LOCATION,
            "quantity": line.quantity,
            "restock_type": kind,
            "subtotal": line.amount_fen / 100,
            "total_tax": 0.0,
        }
        for turn, line in enumerate(refund_lines(order, refund), 1)
    ]
    return {
        "id": number,
        "order_id": int(order.number),
        "created_at": zoned(refund.created),
        "processed_at": zoned(refund.modified),
        "note": refund.reason,
        "restock": kind != "no_restock",
        "user_id": None,
        "admin_graphql_api_id": gid("Refund", refund.refund_id),
        "refund_line_items": rows,
        "transactions": [
            {
                "id": number * 10 + 1,
                "order_id": int(order.number),
                "kind": "refund",
                "status": transaction_status(refund),
                "amount": yuan(refund.amount_fen),
                "currency": shop.currency,
                "gateway": "alipay",
            }
        ],
        "order_adjustments": [],
    }
