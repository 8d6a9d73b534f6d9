"""Many small orders that are as odd as orders can be, for judging them in two ways.

Times fall on few minutes and keys on few people, so that windows are full, their ends are met to
the second, and several orders share one moment.
"""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from django.utils import timezone

from ordercenter.catalog.models import Channel, SkuPrice
from ordercenter.core.clock import SHANGHAI
from ordercenter.orders.models import OrderEvidence, OrderLine, SalesOrder
from ordercenter.orders.states import OrderStatus
from risk.models import RuleList, RuleListEntry, Verdict
from tests.factories import (
    OrderEvidenceFactory,
    OrderLineFactory,
    SalesOrderFactory,
    ShopFactory,
    SkuFactory,
)

BEGIN: Final = datetime(2026, 3, 1, 20, 0, tzinfo=SHANGHAI)
PLACES: Final = (
    ("江苏省", "苏州市", "虎丘区"),
    ("浙江省", "杭州市", ""),
    ("香港特别行政区", "", ""),
    ("Ontario", "", "K"),
    ("上嗨", "", ""),
    ("", "", ""),
)
WIDE: Final = "".join(chr(ord(one) + 0xFEE0) for one in "TARGET")
WORDS: Final = ("", "  ", "今天必须发", f"{WIDE} Straße", "別の 言葉", "x\u3000y\tz")
LISTS: Final = {key.value: f"list-{key.value}" for key in RuleList.Key}


class World:
    """Shops, goods, lists, and the orders made of them."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.shops = [
            ShopFactory.create(code="TB01"),
            ShopFactory.create(code="DY01", channel=Channel.DOUYIN),
        ]
        self.skus = [
            SkuFactory.create(
                code=f"S-{n}",
                category=rng.choice(("", "家纺", "灯具")),
                base_price=rng.choice((Decimal("0.00"), Decimal("9.99"), Decimal("100.00"))),
                currency="USD" if n == 0 else "CNY",
                is_gift=n in {1, 2},
            )
            for n in range(9)
        ]
        for sku in self.skus[3:6]:
            SkuPrice.objects.create(
                sku=sku, base_price=Decimal("33.33"), starts_at=BEGIN + timedelta(hours=3),
                ends_at=BEGIN + timedelta(hours=9),
            )  # fmt: skip
            SkuPrice.objects.create(
                sku=sku, base_price=Decimal("7.77"), starts_at=BEGIN + timedelta(hours=6)
            )
        self._fill_lists()

    def _fill_lists(self) -> None:
        told = {
            "buyer": ["b1", "b2"], "phone": ["p1"], "address": ["a1"], "device": ["d1"],
            "ip": ["10.0.0.1"], "sku": ["S-3", "S-1"], "region": ["浙江省"],
            "word": ["今天必须发", "target"],
        }  # fmt: skip
        for key, code in LISTS.items():
            made = RuleList.objects.create(code=code, name=code, key=key)
            for value in told[key]:
                added = BEGIN + timedelta(hours=self.rng.randrange(-5, 12))
                RuleListEntry.objects.create(
                    rule_list=made, value=value, shown=value, added_by="somebody", added_at=added,
                    expires_at=self.rng.choice((None, added + timedelta(hours=4))),
                    removed_at=self.rng.choice((None, added + timedelta(hours=6))),
                )  # fmt: skip

    def orders(self, count: int) -> list[int]:
        """Make so many orders; return their keys."""
        made = [self._order() for _ in range(count)]
        SalesOrder.objects.bulk_create(made)
        OrderEvidence.objects.bulk_create([self._evidence(order) for order in made])
        lines = [line for order in made for line in self._lines(order)]
        OrderLine.objects.bulk_create(lines)
        for line, part in pairwise(lines):
            if part.order_id == line.order_id and self.rng.random() < 0.1:
                part.bundle_line = line
                part.save()
        Verdict.objects.bulk_create(
            [self._verdict(order) for order in made if self.rng.random() < 0.8]
        )
        return [order.pk for order in made]

    def _order(self) -> SalesOrder:
        rng = self.rng
        province, city, district = rng.choice(PLACES)
        placed = BEGIN + timedelta(seconds=rng.choice((0, 1, 300)) + 300 * rng.randrange(150))
        return SalesOrderFactory.build(
            shop=rng.choice(self.shops),
            status=OrderStatus.MAPPED,
            payable_amount=Decimal(rng.randrange(100_000)) / 100,
            freight=rng.choice((Decimal(0), Decimal("8.50"))),
            placed_at=placed,
            received_at=placed + timedelta(seconds=rng.choice((0, 45))),
            province=province,
            city=city,
            district=district,
            buyer_remark=rng.choice(WORDS),
            seller_memo=rng.choice(WORDS),
            is_presale=rng.random() < 0.2,
            is_test=rng.random() < 0.1,
            is_rush=rng.random() < 0.3,
        )

    def _evidence(self, order: SalesOrder) -> OrderEvidence:
        rng = self.rng
        return OrderEvidenceFactory.build(
            order=order,
            shop_id=order.shop_id,
            buyer_key=rng.choice(("", "b1", "b2", "b3", "b4")),
            device_key=rng.choice(("", "d1", "d2")),
            phone_key=rng.choice(("", "p1", "p2", "p3")),
            address_key=rng.choice(("", "a1", "a2", "a3")),
            ip=rng.choice(("", "10.0.0.1", "10.0.0.2")),
            address_shingles=rng.choice((None, [], sorted(rng.sample(range(12), 6)))),
        )

    def _lines(self, order: SalesOrder) -> list[OrderLine]:
        rng, made = self.rng, []
        for number in range(1, rng.choice((1, 1, 2, 3, 4)) + 1):
            quantity = rng.randrange(1, 4)
            amount = rng.choice((Decimal(0), Decimal(rng.randrange(1, 40_000)) / 100))
            line = OrderLineFactory.build(
                order=order, line_no=number, sku=rng.choice(self.skus), quantity=quantity,
                unit_price=amount, amount=amount, is_gift=rng.random() < 0.15,
                is_dropped=number > 1 and rng.random() < 0.2,
            )  # fmt: skip
            made.append(line)
        return made

    def _verdict(self, order: SalesOrder) -> Verdict:
        """What was seen when it came, as ``risk/facts/inputs.py`` writes it."""
        rng = self.rng
        told = {
            "gift_gap": rng.choice(("-", "d:0", "d:12.30", None)),
            "gift_short": rng.choice(("-", 0, {"v": 2, "d": "S-1"})),
            "unlocked_available": rng.choice(("-", 0, 2, {"v": 5, "o": [1]})),
            "missing": rng.choice(([], ["name", "phone"], {"v": ["city"], "d": "x"}, None)),
            "likeness:address_alone": rng.choice(("-", "r:1/3", "r:21/25", "r:1")),
        }
        return Verdict(
            order=order, order_version=1, rule_set_version=1, tier="0", findings=[], facts={},
            inputs={"v": 1, "facts": told}, created_at=timezone.now(),
        )  # fmt: skip


def chosen(rng: random.Random, values: Sequence[Any]) -> list[Any]:
    """Some of these, at least one."""
    return rng.sample(list(values), rng.randrange(1, len(values) + 1))
