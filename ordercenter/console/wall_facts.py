"""The queue of the wall: which cards there are, in what order, and how many of each kind.

A card's rank is the money at risk over the time left::

    amount × weight of the tier × 2 if it is a rush order ÷ hours left

``amount`` is what is payable, one at least, in the order's own currency. Weights: tier 3 ten,
tier 2 three, tier 1 one, tier 0 a third. ``hours left`` runs to the earliest of the promise to
ship (``pipeline.deadlines``) and the clock of an open task of the order, one hour at least: what
is late ranks like the last hour, and among equals who has to leave first comes first.

Orders held by an interception alone are not cards: they end with it, on its own page.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ordercenter.catalog.models import Shop
from ordercenter.console.selectors import Card, cards
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import AnyUser, sees_all
from ordercenter.orders.states import Disposition, HoldKind, Tier
from ordercenter.pipeline.deadlines import PROMISE_SQL, ship_within

CARDS_A_PAGE: Final = 30
MOST_PAGES: Final = 10
SNOOZED: Final = "snoozed"
PLACES: Final[tuple[tuple[str, str | Promise], ...]] = (
    *((place.value, place.label) for place in Disposition if place is not Disposition.STANDING),
    (SNOOZED, _("暂缓")),
)

# One open hold and where it is looked at. ``shops`` is null for who sees all.
_HELD: Final = """
    held AS (
        SELECT h.order_id, h.tier, h.kind, h.opened_at,
               CASE WHEN h.snoozed_until > %(now)s THEN 'snoozed' ELSE h.disposition END AS place
        FROM orders_orderhold h
        -- the index leaves out the hundred thousand that only wait for a command to end
        WHERE h.released_at IS NULL AND h.kind <> 'intercept'
          AND h.disposition IN ('waiting', 'returned', 'after_sales', 'escalated')
    )
"""
_RANKED: Final = f"""
    WITH {_HELD}, card AS (
        SELECT order_id, max(tier) AS tier, min(opened_at) AS first FROM held
        WHERE place = %(place)s AND (%(tier)s = '' OR tier = %(tier)s)
          AND (%(kind)s = '' OR kind = %(kind)s)
        GROUP BY order_id
    ), timed AS (
        SELECT card.*, o.payable_amount, o.is_rush, least({PROMISE_SQL}, (
            SELECT min(t.due_at) FROM fulfillment_stagetask t
            WHERE t.order_id = o.id AND t.state = 'open')) AS deadline
        FROM card JOIN orders_salesorder o ON o.id = card.order_id
        WHERE (%(shops)s::bigint[] IS NULL OR o.shop_id = ANY(%(shops)s))
          AND (%(shop)s = 0 OR o.shop_id = %(shop)s)
    )
    SELECT order_id FROM timed
    WHERE NOT %(free)s OR NOT EXISTS (
        SELECT 1 FROM orders_cardclaim c
        WHERE c.order_id = timed.order_id AND c.expires_at > %(now)s AND c.user_id <> %(user)s)
    ORDER BY greatest(payable_amount, 1)
        * CASE tier WHEN '3' THEN 10 WHEN '2' THEN 3 WHEN '1' THEN 1 ELSE 0.33 END
        * CASE WHEN is_rush THEN 2 ELSE 1 END
        / greatest(extract(epoch FROM deadline - %(now)s) / 3600, 1) DESC,
        deadline, first, order_id
    LIMIT %(limit)s
"""  # noqa: S608 - own constant text
_COUNTED: Final = f"""
    WITH {_HELD}
    SELECT grouping(held.tier, held.kind, o.shop_id), held.place, held.tier, held.kind, o.shop_id,
           count(DISTINCT held.order_id)
    FROM held JOIN orders_salesorder o ON o.id = held.order_id
    WHERE %(shops)s::bigint[] IS NULL OR o.shop_id = ANY(%(shops)s)
    GROUP BY GROUPING SETS ((held.place), (held.place, held.tier), (held.place, held.kind),
                            (held.place, o.shop_id))
"""  # noqa: S608 - own constant text
# What ``grouping`` says of the four sets: a bit for each column that is not in one.
_BY_PLACE, _BY_TIER, _BY_KIND, _BY_SHOP = 7, 3, 5, 6


@dataclass(frozen=True, slots=True)
class WallFilter:
    """Which part of the queue is looked at. Nonsense in the address falls back to all of it."""

    place: str = Disposition.WAITING.value
    tier: str = ""
    kind: str = ""
    shop: str = ""
    pages: int = 1

    @classmethod
    def read(cls, query: QueryDict) -> "WallFilter":
        def known(name: str, values: Collection[str], otherwise: str = "") -> str:
            value = query.get(name, "")
            return value if value in values else otherwise

        shop, pages = query.get("shop", ""), query.get("pages", "")
        return cls(
            place=known("place", [place for place, _ in PLACES], Disposition.WAITING.value),
            tier=known("tier", Tier.values),
            kind=known("kind", HoldKind.values),
            shop=shop if _is_number(shop) else "",
            pages=min(max(int(pages), 1), MOST_PAGES) if _is_number(pages) else 1,
        )

    def query(self, **changes: str | int) -> str:
        """The address that shows this part with ``changes``; defaults are left out."""
        address = QueryDict(mutable=True)
        values = {name: getattr(self, name) for name in ("place", "tier", "kind", "shop")}
        for name, value in {**values, "pages": self.pages, **changes}.items():
            if value and not (name == "pages" and value == 1):
                address[name] = str(value)
        return "?" + address.urlencode()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10  # noqa: PLR2004 - fits a key


@dataclass(frozen=True, slots=True)
class Chip:
    """One filter button with the number of orders behind it."""

    label: str
    count: int
    query: str
    is_on: bool


@dataclass(frozen=True, slots=True)
class Wall:
    """One view of the queue."""

    filter: WallFilter
    total: int
    cards: list[Card]
    has_more: bool
    places: list[Chip]
    tiers: list[Chip]
    kinds: list[Chip]
    shops: list[Chip]

    @property
    def more(self) -> str:
        return self.filter.query(pages=self.filter.pages + 1)


def wall(user: AnyUser, wanted: WallFilter) -> Wall:
    """The queue, what is most at risk first (the module says how)."""
    shops = _shops_of(user)
    limit = CARDS_A_PAGE * wanted.pages
    ids = _ranked(user, wanted, shops, limit=limit + 1)
    counts = _counts(shops)
    here = [row for row in counts if row.place == wanted.place]
    return Wall(
        filter=wanted,
        total=sum(row.count for row in here if row.by == _BY_PLACE),
        cards=cards(user, ids[:limit]),
        has_more=len(ids) > limit and wanted.pages < MOST_PAGES,
        places=_place_chips(counts, wanted),
        tiers=_chips(here, wanted, "tier", _BY_TIER, Tier),
        kinds=_chips(here, wanted, "kind", _BY_KIND, HoldKind),
        shops=_shop_chips(here, wanted),
    )


def next_card(user: AnyUser, wanted: WallFilter, *, but: int) -> int | None:
    """The order at the head of this part of the queue that nobody else looks at."""
    for order_id in _ranked(user, wanted, _shops_of(user), limit=2, free=True):
        if order_id != but:
            return order_id
    return None


def _shops_of(user: AnyUser) -> list[int] | None:
    if sees_all(user):
        return None
    return list(Shop.objects.filter(shopassignment__user=user.pk).values_list("pk", flat=True))


def _ranked(
    user: AnyUser,
    wanted: WallFilter,
    shops: list[int] | None,
    *,
    limit: int,
    free: bool = False,
) -> list[int]:
    """Orders in their rank; ``free``: without those somebody else has claimed."""
    with connection.cursor() as cursor:
        cursor.execute(
            _RANKED,
            {
                "now": clock_now(), "place": wanted.place, "tier": wanted.tier,
                "kind": wanted.kind, "shops": shops, "shop": int(wanted.shop or 0),
                "ship_within": str(ship_within()), "limit": limit, "free": free, "user": user.pk,
            },
        )  # fmt: skip
        return [row[0] for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class _Count:
    """How many orders of one place have this tier, kind or shop."""

    by: int
    place: str
    tier: str
    kind: str
    shop_id: int
    count: int


def _counts(shops: list[int] | None) -> list[_Count]:
    with connection.cursor() as cursor:
        cursor.execute(_COUNTED, {"now": clock_now(), "shops": shops})
        return [_Count(*row) for row in cursor.fetchall()]


def _place_chips(counts: Sequence[_Count], wanted: WallFilter) -> list[Chip]:
    found = {row.place: row.count for row in counts if row.by == _BY_PLACE}
    return [
        Chip(str(label), found.get(place, 0), WallFilter(place=place).query(),
             place == wanted.place)
        for place, label in PLACES
    ]  # fmt: skip


def _chips(
    here: Sequence[_Count], wanted: WallFilter, name: str, by: int,
    words: type[Tier] | type[HoldKind],
) -> list[Chip]:  # fmt: skip
    """One chip for each value there is, the worst tier first; pressing it again lets go."""
    found = {getattr(row, name): row.count for row in here if row.by == by}
    chosen = getattr(wanted, name)
    return [
        Chip(str(words(value).label), found[value],
             wanted.query(**{name: "" if value == chosen else value}, pages=1), value == chosen)
        for value in sorted(found, reverse=True)
    ]  # fmt: skip


def _shop_chips(here: Sequence[_Count], wanted: WallFilter) -> list[Chip]:
    found = {row.shop_id: row.count for row in here if row.by == _BY_SHOP}
    names: dict[int, Any] = dict(Shop.objects.filter(pk__in=found).values_list("pk", "name"))
    rows = sorted(found.items(), key=lambda row: (-row[1], names[row[0]]))
    return [
        Chip(names[pk], count, wanted.query(shop="" if str(pk) == wanted.shop else pk, pages=1),
             str(pk) == wanted.shop)
        for pk, count in rows
    ]  # fmt: skip
