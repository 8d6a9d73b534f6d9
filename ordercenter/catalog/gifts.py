"""Who earns which gift: the strategies as they stand, judged in memory.

One function says whether an order earns a gift, for giving, for the check of what a platform
gave and for the page that explains both. Limits that count other orders (the first N, so many a
buyer) are not judged here: they need a lock (``pipeline/giving.py``).
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from ordercenter.catalog.models import GiftStrategy
from ordercenter.core.clock import SHANGHAI

CACHED_SECONDS: Final = 3.0
"""For so long a worker may still give by the strategies that counted before."""
PLATFORM: Final = "platform"
MANUAL: Final = "manual"
"""What a gift line names where no strategy of ours stands behind it."""


@dataclass(frozen=True, slots=True)
class Gift:
    """A thing that may be given."""

    sku_id: int
    code: str
    name: str


@dataclass(frozen=True, slots=True)
class Step:
    """So much earns so many of this gift."""

    gift: Gift
    quantity: int
    min_amount: Decimal
    min_quantity: int


@dataclass(frozen=True, slots=True)
class Strategy:
    """A strategy in hand. ``steps``: the highest first; one where it has no tiers."""

    id: int
    code: str
    name: str
    kind: str
    is_active: bool
    steps: tuple[Step, ...]
    shops: frozenset[int] = frozenset()
    main_skus: frozenset[int] = frozenset()
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    first_orders: int | None = None
    per_buyer: int | None = None
    substitute: Gift | None = None

    @property
    def is_automatic(self) -> bool:
        return self.kind == GiftStrategy.Kind.AUTOMATIC

    @property
    def is_manual(self) -> bool:
        return self.kind == GiftStrategy.Kind.MANUAL

    @property
    def is_counted(self) -> bool:
        """Whether it depends on what other orders got."""
        return self.first_orders is not None or self.per_buyer is not None

    @property
    def gifts(self) -> frozenset[int]:
        """Every SKU it may give, the substitute included."""
        own = {step.gift.sku_id for step in self.steps}
        return frozenset(own | ({self.substitute.sku_id} if self.substitute else set()))


@dataclass(frozen=True, slots=True)
class Piece:
    """Main goods of one kind in an order: pieces, and what was paid for all of them."""

    sku_id: int
    quantity: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Basket:
    """What of an order counts towards gifts. ``refunded``: paid back, for no line in particular.

    A bundle counts by its parts: two lamps and a rug are three pieces.
    """

    shop_id: int
    placed_at: datetime
    goods: tuple[Piece, ...]
    refunded: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Earned:
    """The order earns this step, and why in words."""

    step: Step
    words: str


@dataclass(frozen=True, slots=True)
class Missed:
    """What is missing, in words; ``distance`` 0 is as good as there, 1 and more is far away."""

    words: str
    distance: float
    amount: Decimal = Decimal(0)
    quantity: int = 0


def judge(strategy: Strategy, basket: Basket, *, gift_sku_id: int | None = None) -> Earned | Missed:
    """The highest step an order reaches, or the nearest it misses.

    With ``gift_sku_id`` only steps that give that SKU are looked at; a substitute stands for
    all of them.
    """
    if strategy.shops and basket.shop_id not in strategy.shops:
        return Missed("不适用于该店铺", 9)
    if strategy.starts_at and basket.placed_at < strategy.starts_at:
        return Missed(f"下单时活动未开始（{_moment(strategy.starts_at)} 起）", 8)
    if strategy.ends_at and basket.placed_at >= strategy.ends_at:
        return Missed(f"下单时活动已结束（{_moment(strategy.ends_at)} 止）", 8)
    steps = _steps_of(strategy, gift_sku_id)
    if not steps:
        return Missed("不送这个赠品", 9)
    mains = [p for p in basket.goods if not strategy.main_skus or p.sku_id in strategy.main_skus]
    quantity = sum(piece.quantity for piece in mains)
    amount = sum((piece.amount for piece in mains), Decimal(0)) - basket.refunded
    amount = max(amount, Decimal(0))
    for step in steps:
        if quantity and amount >= step.min_amount and quantity >= step.min_quantity:
            return Earned(step, _why(step, amount, quantity))
    return min((_miss(step, amount, quantity) for step in steps), key=lambda m: m.distance)


def _steps_of(strategy: Strategy, gift_sku_id: int | None) -> Sequence[Step]:
    substitute = strategy.substitute
    if gift_sku_id is None or (substitute and substitute.sku_id == gift_sku_id):
        return strategy.steps
    return [step for step in strategy.steps if step.gift.sku_id == gift_sku_id]


def _why(step: Step, amount: Decimal, quantity: int) -> str:
    said = []
    if step.min_amount:
        said.append(f"主商品实付 ¥{amount:.2f}，满 ¥{step.min_amount:.2f}")
    if step.min_quantity:
        said.append(f"主商品 {quantity} 件，满 {step.min_quantity} 件")
    return "；".join(said) or "购买主商品即送"


def _miss(step: Step, amount: Decimal, quantity: int) -> Missed:
    money = max(step.min_amount - amount, Decimal(0))
    pieces = max(step.min_quantity - quantity, 0)
    if not quantity:
        return Missed("没有主商品", 5, money, max(pieces, 1))
    said = [f"主商品金额还差 ¥{money:.2f}"] if money else []
    said += [f"主商品还差 {pieces} 件"] if pieces else []
    far = float(money / step.min_amount) if money else 0.0
    far += pieces / step.min_quantity if pieces else 0.0
    return Missed("，".join(said), far, money, pieces)


def _moment(at: datetime) -> str:
    return f"{at.astimezone(SHANGHAI):%m-%d %H:%M}"


# --- in words -------------------------------------------------------------------------------


def sentence(
    strategy: Strategy, *, shops: Iterable[str] = (), main_skus: Iterable[str] = ()
) -> str:
    """The whole strategy in one sentence, as a supervisor would say it."""
    parts = ["、".join(shops) or "全部店铺"]
    if strategy.starts_at or strategy.ends_at:
        begins = _moment(strategy.starts_at) if strategy.starts_at else "即日"
        parts.append(f"{begins} 至 {_moment(strategy.ends_at) if strategy.ends_at else '长期'}")
    goods = "、".join(main_skus)
    parts += [_offer(step, goods) for step in reversed(strategy.steps)]
    if strategy.substitute:
        parts.append(f"缺货时改送 {strategy.substitute.name}")
    if strategy.per_buyer is not None:
        parts.append(f"每人限 {strategy.per_buyer} 单")
    if strategy.first_orders is not None:
        parts.append(f"前 {strategy.first_orders} 单")
    return "，".join(parts)


def _offer(step: Step, goods: str) -> str:
    asked = f"满 {step.min_amount.normalize():f}" if step.min_amount else ""
    if step.min_quantity:
        asked += f"{' 且' if asked else ''}满 {step.min_quantity} 件"
    bought = f"购买 {goods}" if goods else ""
    paid = f"实付{asked}" if step.min_amount else asked
    condition = " ".join(part for part in (bought, paid) if part) or "下单"
    return f"{condition} 送 {step.gift.name}×{step.quantity}"


# --- the strategies as they stand -----------------------------------------------------------

_STRATEGIES: Final = """
    SELECT g.id, g.code, g.name, g.kind, g.is_active, g.quantity, g.min_amount, g.min_quantity,
           g.starts_at, g.ends_at, g.first_orders, g.per_buyer, s.id, s.code, s.name,
           r.id, r.code, r.name,
           ARRAY(SELECT shop_id FROM catalog_giftstrategy_shops WHERE giftstrategy_id = g.id),
           ARRAY(SELECT sku_id FROM catalog_giftstrategy_main_skus WHERE giftstrategy_id = g.id)
    FROM catalog_giftstrategy g JOIN catalog_sku s ON s.id = g.gift_sku_id
    LEFT JOIN catalog_sku r ON r.id = g.substitute_id
    ORDER BY g.code
"""
_TIERS: Final = """
    SELECT t.strategy_id, t.quantity, t.min_amount, t.min_quantity, s.id, s.code, s.name
    FROM catalog_gifttier t JOIN catalog_sku s ON s.id = t.gift_sku_id
    ORDER BY t.strategy_id, t.min_amount DESC, t.min_quantity DESC
"""


def read_strategies() -> tuple[Strategy, ...]:
    """All strategies, switched-off ones too: orders may still have their gifts."""
    with connection.cursor() as cursor:
        cursor.execute(_STRATEGIES)
        rows = cursor.fetchall()
        if not rows:
            return ()
        cursor.execute(_TIERS)
        tiers: dict[int, list[Step]] = {}
        for strategy_id, quantity, min_amount, min_quantity, *gift in cursor.fetchall():
            step = Step(Gift(*gift), quantity, min_amount, min_quantity)
            tiers.setdefault(strategy_id, []).append(step)
    return tuple(_strategy(row, tiers) for row in rows)


def _strategy(row: Sequence[Any], tiers: Mapping[int, Sequence[Step]]) -> Strategy:
    (pk, code, name, kind, is_active, quantity, min_amount, min_quantity, starts_at, ends_at,
     first_orders, per_buyer, sku, sku_code, sku_name, other, other_code, other_name, shops,
     skus) = row  # fmt: skip
    own = Step(Gift(sku, sku_code, sku_name), quantity, min_amount, min_quantity)
    return Strategy(
        pk, code, name, kind, is_active, tuple(tiers.get(pk, (own,))),
        frozenset(shops), frozenset(skus), starts_at, ends_at, first_orders, per_buyer,
        Gift(other, other_code, other_name) if other else None,
    )  # fmt: skip


class _Live:
    """The strategies, asked for anew every few seconds."""

    def __init__(self) -> None:
        self._rows: tuple[Strategy, ...] = ()
        self._until = 0.0

    def rows(self) -> tuple[Strategy, ...]:
        now = time.monotonic()
        if now >= self._until:
            self._rows = read_strategies()
            self._until = now + CACHED_SECONDS
        return self._rows

    def forget(self) -> None:
        self._until = 0.0


_LIVE: Final = _Live()


def strategies() -> tuple[Strategy, ...]:
    """All strategies as they stood at most ``CACHED_SECONDS`` ago, by code."""
    return _LIVE.rows()


def forget() -> None:
    """Read the strategies anew next time: they have just been changed here."""
    _LIVE.forget()


def matching(rows: Iterable[Strategy], gift_sku_id: int, named: str) -> list[Strategy]:
    """The strategies that may stand behind a gift line.

    A line that names a strategy has only that one, also when it is switched off by now.
    """
    if named and named != PLATFORM:
        return [row for row in rows if row.code == named]
    return [row for row in rows if row.is_active and not row.is_manual and gift_sku_id in row.gifts]
