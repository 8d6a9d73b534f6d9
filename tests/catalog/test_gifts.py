"""Strategies judged in memory: what is reached, what is missed and by how much, in words."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ordercenter.catalog.gifts import (
    Basket,
    Earned,
    Gift,
    Missed,
    Piece,
    Step,
    Strategy,
    judge,
    matching,
    sentence,
)
from ordercenter.core.clock import SHANGHAI

AT = datetime(2026, 11, 11, 10, 0, tzinfo=SHANGHAI)
TOWEL, MUG, CUP = Gift(1, "TOWEL", "毛巾"), Gift(2, "MUG", "马克杯"), Gift(3, "CUP", "茶杯")
SOFA, LAMP = 11, 12


def step(amount: str = "0", quantity: int = 0, gift: Gift = TOWEL, pieces: int = 1) -> Step:
    return Step(gift, pieces, Decimal(amount), quantity)


def strategy(*steps: Step, **changes: Any) -> Strategy:
    values: dict[str, Any] = {"id": 1, "code": "a", "name": "满赠", "kind": "automatic"}
    return Strategy(**{**values, "is_active": True, "steps": steps or (step("199"),), **changes})


def basket(*goods: tuple[int, int, str], refunded: str = "0", shop: int = 7) -> Basket:
    pieces = tuple(Piece(sku, n, Decimal(money)) for sku, n, money in goods)
    return Basket(shop, AT, pieces, Decimal(refunded))


@pytest.mark.parametrize(
    ("rule", "bought", "words", "distance"),
    [
        (strategy(), basket((SOFA, 1, "198.99")), "主商品金额还差 ¥0.01", 0.01 / 199),
        (strategy(), basket((SOFA, 1, "300"), refunded="150"), "主商品金额还差 ¥49.00", 49 / 199),
        (strategy(step(quantity=4)), basket((SOFA, 3, "1")), "主商品还差 1 件", 0.25),
        (
            strategy(step("100", 2)), basket((SOFA, 1, "50")),
            "主商品金额还差 ¥50.00，主商品还差 1 件", 1.0,
        ),
        (strategy(main_skus=frozenset({LAMP})), basket((SOFA, 1, "500")), "没有主商品", 5),
        (strategy(), basket(), "没有主商品", 5),
        (strategy(step()), basket(), "没有主商品", 5),
        (strategy(shops=frozenset({8})), basket((SOFA, 1, "500")), "不适用于该店铺", 9),
        (
            strategy(starts_at=AT + timedelta(minutes=1)), basket((SOFA, 1, "500")),
            "下单时活动未开始（11-11 10:01 起）", 8,
        ),
        (
            strategy(ends_at=AT), basket((SOFA, 1, "500")),
            "下单时活动已结束（11-11 10:00 止）", 8,
        ),
    ],
)  # fmt: skip
def test_what_is_missed_is_said_with_what_is_lacking(
    rule: Strategy, bought: Basket, words: str, distance: float
) -> None:
    verdict = judge(rule, bought)
    assert isinstance(verdict, Missed)
    assert verdict.words == words
    assert verdict.distance == pytest.approx(distance)


def test_the_highest_step_that_is_reached_counts_and_else_the_nearest_is_named() -> None:
    tiers = strategy(step("300", gift=MUG), step("100"))
    verdicts = [judge(tiers, basket((SOFA, 1, money))) for money in ("300", "299.99", "90")]
    assert [v.step.gift for v in verdicts[:2] if isinstance(v, Earned)] == [MUG, TOWEL]
    assert verdicts[2] == Missed("主商品金额还差 ¥10.00", 0.1, Decimal(10), 0)


def test_a_gift_that_came_is_judged_by_the_step_that_gives_it() -> None:
    tiers = strategy(step("300", gift=MUG), step("100"), substitute=CUP)
    bought = basket((SOFA, 1, "150"))
    assert isinstance(judge(tiers, bought, gift_sku_id=TOWEL.sku_id), Earned)
    assert isinstance(judge(tiers, bought, gift_sku_id=MUG.sku_id), Missed)
    assert isinstance(judge(tiers, bought, gift_sku_id=CUP.sku_id), Earned)
    assert judge(tiers, bought, gift_sku_id=99) == Missed("不送这个赠品", 9)


def test_a_line_that_names_a_strategy_is_held_against_that_one_only() -> None:
    off = strategy(code="off", is_active=False)
    on, manual = strategy(code="on"), strategy(code="manual-one", kind="manual")
    rows = [off, on, manual]
    assert matching(rows, TOWEL.sku_id, "off") == [off]
    assert matching(rows, TOWEL.sku_id, "platform") == [on]
    assert matching(rows, TOWEL.sku_id, "") == [on]
    assert matching(rows, MUG.sku_id, "") == []


def test_a_strategy_reads_as_one_sentence() -> None:
    full = strategy(
        step("299.5", 2, MUG, 2), step("199"),
        starts_at=AT, per_buyer=1, first_orders=500, substitute=CUP,
    )  # fmt: skip
    assert sentence(full, shops=["天猫店"]) == (
        "天猫店，11-11 10:00 至 长期，实付满 199 送 毛巾×1，实付满 299.5 且满 2 件 送 马克杯×2，"
        "缺货时改送 茶杯，每人限 1 单，前 500 单"
    )
    plain = strategy(step())
    assert sentence(plain) == "全部店铺，下单 送 毛巾×1"
    assert sentence(plain, main_skus=["沙发"]) == "全部店铺，购买 沙发 送 毛巾×1"
