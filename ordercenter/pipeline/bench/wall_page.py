"""The wall with 5,000 open cards among 1,000,000 orders, page by page.

In a database of its own, through the whole of Django (middleware, session, queries, template)
but no network: what a reader waits for the server. The same pages with no card at all are the
baseline of the run.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client

from ordercenter.catalog.models import Shop, Sku
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder

CLUSTER: Final = 40
"""So many orders share each buyer and address."""

_ORDERS: Final = """
    INSERT INTO orders_salesorder (shop_id, channel_number, number, status, version,
        channel_status, channel_modified_at, refund_state, currency, payable_amount, paid_amount,
        freight, placed_at, paid_at, received_at, province, city, district, receiver_masked,
        receiver_sealed, buyer_remark, seller_memo, has_gift, is_rush, is_test, is_presale,
        priority)
    SELECT (%(shops)s::bigint[])[1 + n %% %(n_shops)s], 'B' || n, 'BENCH' || lpad(n::text, 8, '0'),
        CASE WHEN n <= %(cards)s THEN 'reserved' WHEN n %% 20 = 0 THEN 'routed' ELSE 'signed' END,
        1, 'wait_ship', at, 'none', 'CNY', 20 + n %% 900, 20 + n %% 900, 0, at, at, at, '江苏省',
        '苏州市', '虎丘区', '王* 138****0000', '', '请尽快发货', '', false, n %% 50 = 0, false,
        false, 0
    FROM generate_series(1, %(orders)s) n,
         LATERAL (SELECT now() - (n %% 86400 * 20) * interval '1 second' AS at) t
"""
_BESIDE: Final = (
    """INSERT INTO orders_orderevidence (order_id, shop_id, placed_at, amount, buyer_key,
        device_key, phone_key, address_key, ip)
    SELECT id, shop_id, placed_at, payable_amount, 'buyer' || id / %(cluster)s, '', '',
        'address' || id / %(cluster)s, '' FROM orders_salesorder""",
    """INSERT INTO orders_orderline (order_id, line_no, channel_line_id, platform_sku_id,
        outer_code, title, sku_id, quantity, unit_price, amount, is_gift, refund_state)
    SELECT id, 1, '', '', '', '棉麻靠垫', (%(skus)s::bigint[])[1 + id %% %(n_skus)s], 1,
        payable_amount, payable_amount, false, 'none' FROM orders_salesorder""",
    """INSERT INTO orders_orderhold (order_id, kind, code, tier, words, evidence, disposition,
        placed_by, opened_at, opened_version, asked_by, released_by, release_reason)
    SELECT id, 'rule', 'bench', (ARRAY['2', '2', '2', '3', '1'])[1 + id %% 5],
        '同一买家 10 分钟内下了 3 单', '{"orders": []}', 'waiting', '{}', placed_at, 1, '', '', ''
    FROM orders_salesorder WHERE status = 'reserved'""",
    """INSERT INTO orders_orderhold (order_id, kind, code, tier, words, evidence, disposition,
        placed_by, opened_at, opened_version, asked_by, released_at, released_by, release_reason,
        closed_version)
    SELECT id, 'rule', 'bench', '2', '同一买家 10 分钟内下了 3 单', '{}', 'waiting', '{}',
        placed_at, 1, '', placed_at, 'person:1', '老客户正常复购', 2
    FROM orders_salesorder WHERE status <> 'reserved' AND id %% 10 = 0""",
    """INSERT INTO risk_verdict (order_id, order_version, rule_set_version, tier, tags, findings,
        facts, created_at)
    SELECT id, 1, 0, '2', '[]', '[{"code": "same_sku_5m", "hit": true, "tier": "2",
        "seen": ["3 单"], "limit": ["≥ 2"]}]', '{}', placed_at FROM orders_salesorder""",
)


def _fill(orders: int, cards: int) -> None:
    shops = list(Shop.objects.order_by("pk").values_list("pk", flat=True))
    skus = list(Sku.objects.order_by("pk").values_list("pk", flat=True))
    facts: dict[str, int | list[int]] = {
        "shops": shops, "n_shops": len(shops), "skus": skus, "n_skus": len(skus),
        "orders": orders, "cards": cards, "cluster": CLUSTER,
    }  # fmt: skip
    with connection.cursor() as cursor:
        for statement in (_ORDERS, *_BESIDE):
            cursor.execute(statement, facts)
        cursor.execute("VACUUM ANALYZE")


def _pages(numbers: Sequence[str], shop: int) -> Mapping[str, Callable[[int], str]]:
    """The pages a reviewer opens, by name; each gets the number of the turn."""
    return {
        "wall": lambda _turn: "/wall/",
        "tier": lambda _turn: "/wall/?tier=3",
        "shop": lambda _turn: f"/wall/?shop={shop}",
        "nudged": lambda _turn: "/wall/?fragment=1",
        "third_page": lambda _turn: "/wall/?pages=3",
        "card": lambda turn: f"/wall/{numbers[turn % len(numbers)]}/",
    }


@dataclass(slots=True)
class Waits:
    """What each turn of one page took, in milliseconds."""

    whole: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    """Processor time of this process: the same on a busy machine."""
    database: list[float] = field(default_factory=list)
    """Of the whole, time spent waiting for the database."""

    def figures(self, name: str) -> dict[str, float]:
        ranked = sorted(self.whole)
        return {
            f"{name}_ms_median": round(statistics.median(ranked), 1),
            f"{name}_ms_p95": round(ranked[int(len(ranked) * 0.95)], 1),
            f"{name}_own_cpu_ms_median": round(statistics.median(self.own), 1),
            f"{name}_database_ms_median": round(statistics.median(self.database), 1),
        }


@contextmanager
def _asking() -> Iterator[list[float]]:
    """The milliseconds each statement takes meanwhile."""
    spent: list[float] = []

    def clocked(execute: Any, *args: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(*args)
        finally:
            spent.append((time.perf_counter() - began) * 1000)

    with connection.execute_wrapper(clocked):
        yield spent


def _timed(
    client: Client, pages: Mapping[str, Callable[[int], str]], turns: int
) -> dict[str, Waits]:
    found = {name: Waits() for name in pages}
    for turn in range(turns):
        for name, address in pages.items():
            began, worked = time.perf_counter(), time.process_time()
            with _asking() as spent:
                answer = client.get(address(turn), headers={"Host": "localhost"})
            found[name].whole.append((time.perf_counter() - began) * 1000)
            found[name].own.append((time.process_time() - worked) * 1000)
            found[name].database.append(sum(spent))
            if answer.status_code != 200:  # noqa: PLR2004 - the page itself
                message = f"figure void: {address(turn)} answered {answer.status_code}"
                raise RuntimeError(message)
    return found


def _reader() -> Client:
    user = User.objects.create_user("bench-reviewer", is_staff=True)
    user.groups.set([Group.objects.get_or_create(name=Role.REVIEWER.value)[0]])
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def run(*, orders: int, cards: int, turns: int) -> dict[str, Any]:
    """Median and p95 of each page in milliseconds, beside the empty wall."""
    client = _reader()
    empty = _timed(client, {"wall": lambda _turn: "/wall/"}, turns)["wall"]
    _fill(orders, cards)
    held = SalesOrder.objects.filter(status="reserved").order_by("pk")
    numbers = list(held.values_list("number", flat=True)[:turns])
    shop = Shop.objects.order_by("pk").values_list("pk", flat=True)[0]
    pages = _pages(numbers, shop)
    _timed(client, pages, 2)
    found = _timed(client, pages, turns)
    figures: dict[str, Any] = {
        "orders": orders, "open_cards": cards, "turns": turns,
    }  # fmt: skip
    figures |= empty.figures("empty_wall")
    for name, waits in found.items():
        figures |= waits.figures(name)
    return figures
