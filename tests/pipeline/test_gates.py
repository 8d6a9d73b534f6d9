"""What a condition says: the same in SQL over stored orders as in Python over orders in hand."""

import random
from typing import Any

import pytest
from django.db import connection, transaction

from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput
from ordercenter.orders.models import Interception, OrderLine, SalesOrder
from ordercenter.pipeline.interception.gates import (
    Condition,
    active_gates,
    carriers_of,
    where,
    words_for,
)
from ordercenter.pipeline.work import load
from tests.factories import (
    OrderLineFactory,
    ParcelFactory,
    SalesOrderFactory,
    ShopFactory,
    SkuFactory,
    WaybillFactory,
)

pytestmark = pytest.mark.django_db
REGIONS = [
    ("江苏省", "苏州市", "虎丘区"), ("江苏省", "南京市", "鼓楼区"), ("浙江省", "杭州市", "余杭区"),
    ("吉林省", "吉林市", "昌邑区"), ("", "", ""),
]  # fmt: skip
PLACES = [["江苏省", "", ""], ["江苏省", "苏州市", ""], ["", "吉林市", ""], ["", "", "余杭区"]]
SKUS, SHOPS, CHANNELS = ["A", "B", "C"], ["S1", "S2"], ["taobao", "douyin"]


def interception(condition: dict[str, Any], words: str = "停发") -> Interception:
    now = clock_now()
    return Interception.objects.create(
        text=words, condition=condition, words=words, reason="台风预警", state="active",
        asked_by="person:1", asked_at=now, started_at=now,
    )  # fmt: skip


def some_orders(dice: random.Random, count: int) -> None:
    shops = [
        ShopFactory.create(code=code, channel=channel)
        for code, channel in zip(SHOPS, CHANNELS, strict=True)
    ]
    skus = [SkuFactory.create(code=code) for code in SKUS]
    for n in range(count):
        province, city, district = dice.choice(REGIONS)
        order = SalesOrderFactory.create(
            shop=dice.choice(shops), province=province, city=city, district=district
        )
        for sku in dice.sample(skus, dice.randint(0, 2)):
            OrderLineFactory.create(order=order, sku=sku, is_dropped=dice.random() < 0.3)
        OrderLineFactory.create(order=order, sku=None, outer_code="?", title="未匹配")
        for carrier in dice.sample(["sf", "zto"], dice.randint(0, 2)):
            parcel = ParcelFactory.create(
                order=order, number=f"{order.number}-{carrier}",
                state=dice.choice(["packed", "canceled"]),
            )  # fmt: skip
            WaybillFactory.create(
                parcel=parcel, carrier=carrier, number=f"{n}{carrier}",
                state=dice.choice(["intent", "live", "void"]), order_version=1,
            )  # fmt: skip


def some_condition(dice: random.Random) -> dict[str, Any]:
    def some(values: list[Any]) -> list[Any]:
        return dice.sample(values, dice.randint(1, 2)) if dice.random() < 0.4 else []

    condition = {
        "places": some(PLACES), "skus": some([*SKUS, "GONE"]), "shops": some([*SHOPS, "S9"]),
        "channels": some(CHANNELS), "not_places": some(PLACES), "not_skus": some(SKUS),
        "not_shops": some(SHOPS), "not_channels": some(CHANNELS),
        "carriers": some(["sf", "zto"]), "not_carriers": some(["sf", "zto"]),
    }  # fmt: skip
    named = ("places", "skus", "shops", "channels", "carriers")
    has_any = any(condition[key] for key in named)
    return {**condition, "all": not has_any}


def selected(condition: dict[str, Any]) -> set[int]:
    sql, params = where(condition)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT o.id FROM orders_salesorder o WHERE {sql}", params)  # noqa: S608
        return {pk for (pk,) in cursor.fetchall()}


def test_sql_and_python_stop_the_same_orders() -> None:
    dice = random.Random(5)  # noqa: S311 - made-up orders
    some_orders(dice, 60)
    ids = list(SalesOrder.objects.values_list("pk", flat=True))
    stopped = 0
    for _ in range(150):
        row = interception(some_condition(dice))
        by_sql = selected(row.condition)
        (gate,) = active_gates()
        with transaction.atomic():
            works = load(ids)
        carriers = carriers_of(ids, [gate])
        in_hand = {
            work.id
            for work in works
            if gate.matches(work, *([carriers[work.id]] if work.id in carriers else []))
        }
        assert by_sql == in_hand, row.condition
        stopped += len(by_sql)
        row.delete()
    assert 0 < stopped < 150 * 60


def test_a_place_is_a_province_a_city_or_a_district() -> None:
    for region in REGIONS:
        SalesOrderFactory.create(province=region[0], city=region[1], district=region[2])
    found = {}
    for place in PLACES:
        orders = SalesOrder.objects.filter(pk__in=selected({"places": [place]}))
        found[tuple(place)] = set(orders.values_list("city", flat=True))
    assert found == {
        ("江苏省", "", ""): {"苏州市", "南京市"}, ("江苏省", "苏州市", ""): {"苏州市"},
        ("", "吉林市", ""): {"吉林市"}, ("", "", "余杭区"): {"杭州市"},
    }  # fmt: skip


def test_a_line_that_is_not_sent_any_more_does_not_count() -> None:
    order = SalesOrderFactory.create(status="mapped")
    line = OrderLineFactory.create(order=order, sku=SkuFactory.create(code="JZ-1001"))
    interception({"skus": ["JZ-1001"]}, words="JZ-1001 停发")
    assert words_for(order.pk) == ("JZ-1001 停发",)
    OrderLine.objects.filter(pk=line.pk).update(is_dropped=True)
    assert words_for(order.pk) == ()


def test_what_has_left_is_stopped_by_no_gate() -> None:
    interception({"all": True})
    told = {
        status: bool(words_for(SalesOrderFactory.create(status=status).pk))
        for status in ("received", "routed", "shipped", "signed", "canceled")
    }
    assert told == {
        "received": True, "routed": True, "shipped": False, "signed": False, "canceled": False
    }  # fmt: skip


@pytest.mark.parametrize(
    "condition",
    [
        {}, {"all": False}, {"not_skus": ["A"]}, {"places": []}, {"places": [["", "", ""]]},
        {"places": [["江苏省"]]}, {"places": "江苏省"}, {"skus": [7]}, {"skus": [""]},
        {"all": "yes"}, {"skus": ["A"], "colour": ["red"]}, {"skus": ["A\0"]},
        {"skus": [f"S{n}" for n in range(501)]},
    ],
    ids=str,
)  # fmt: skip
def test_a_condition_that_says_nothing_or_nonsense_is_refused(condition: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Condition.read(condition)


def test_a_condition_is_stored_as_it_is_read() -> None:
    stored = Condition.read({"places": [["江苏省", "", ""]], "not_carriers": ["sf"]}).stored()
    assert stored == {
        "places": [["江苏省", "", ""]], "skus": [], "shops": [], "channels": [], "carriers": [],
        "not_places": [], "not_skus": [], "not_shops": [], "not_channels": [],
        "not_carriers": ["sf"], "all": False,
    }  # fmt: skip
    assert Condition.read(stored).stored() == stored
