"""The books of the outside world, to hold ours against: what platforms sold, what carriers billed.

Read before the snapshot is taken, never inside it. The sandbox shows its books at
``/book/orders?shop=`` and ``/book/waybills``.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import httpx
from django.utils.translation import gettext_lazy as _

from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import OrderCenterError

TIMEOUT: Final = 20.0
GONE: Final = "canceled"


class BookUnreadable(OrderCenterError):
    code = "book_unreadable"
    message = _("读不到外部账本 %(url)s：%(why)s")


@dataclass(frozen=True, slots=True)
class OutsideOrder:
    """One order as its platform has it; ``payable`` in the shop's currency."""

    number: str
    modified_at: datetime
    payable: Decimal
    is_paid: bool = True


@dataclass(frozen=True, slots=True)
class OutsideWaybill:
    """One bill of a carrier."""

    reference: str
    numbers: tuple[str, ...]
    is_void: bool


@dataclass(frozen=True, slots=True)
class OutsideBook:
    """What the outside had at ``read_at``; our own snapshot is younger."""

    read_at: datetime
    shops: Mapping[str, Sequence[OutsideOrder]]
    waybills: Sequence[OutsideWaybill]

    def orders_of(self, shop_code: str) -> Sequence[OutsideOrder]:
        return self.shops.get(shop_code, ())


def read_book(url: str, shop_codes: Collection[str]) -> OutsideBook:
    """Fetch the books of these shops and of the carriers. Raises BookUnreadable."""
    base = url.rstrip("/")
    read_at = clock_now()
    try:
        with httpx.Client(timeout=TIMEOUT, trust_env=False) as client:
            shops = {
                code: [_order(row) for row in _rows(client, f"{base}/book/orders", "orders", code)]
                for code in sorted(shop_codes)
            }
            waybills = [_waybill(row) for row in _rows(client, f"{base}/book/waybills", "waybills")]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError) as error:
        raise BookUnreadable(url=url, why=type(error).__name__) from error
    return OutsideBook(read_at - timedelta(seconds=1), shops, waybills)


def _rows(client: httpx.Client, url: str, key: str, shop: str = "") -> list[dict[str, Any]]:
    reply = client.get(url, params={"shop": shop} if shop else None)
    reply.raise_for_status()
    rows: list[dict[str, Any]] = json.loads(reply.content, parse_float=Decimal)[key]
    return rows


def _order(row: Mapping[str, Any]) -> OutsideOrder:
    return OutsideOrder(
        str(row["number"]),
        datetime.fromtimestamp(float(row["modified"]), tz=UTC),
        Decimal(row["payable_fen"]) / 100,
        row["paid"] is not None,
    )


def _waybill(row: Mapping[str, Any]) -> OutsideWaybill:
    return OutsideWaybill(
        str(row["order_id"]), tuple(str(n) for n in row["numbers"]), row["state"] == GONE
    )
