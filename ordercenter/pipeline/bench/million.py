"""A great many stored orders at once, by SQL: what a shop has gathered in two months.

Three orders a buyer, some of them within a minute of each other; every hundredth far too cheap;
every order with the verdict it once got. Only for a database that is thrown away.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from ordercenter.core.clock import now as clock_now
from ordercenter.core.sealing import seal
from ordercenter.orders.models import RECEIVER_PURPOSE

DAYS: Final = 60
SLICE: Final = 100_000
TABLES: Final = (
    "orders_salesorder", "orders_orderevidence", "orders_orderline", "risk_verdict",
)  # fmt: skip
RECEIVER: Final = {
    "name": "林某", "phone": "13800138000", "province": "江苏省", "city": "南京市",
    "district": "鼓楼区", "address": "虚构路 1 号",
}  # fmt: skip
# Of two hundred orders two follow another by seconds, with the same people behind them.
_DRAWN: Final = """
    CREATE TEMPORARY TABLE drawn ON COMMIT DROP AS
    SELECT n, n + %(base)s AS pk,
           CASE WHEN n %% 200 = 1 THEN n - 1 ELSE n END AS who,
           %(begin)s::timestamptz + n * %(gap)s::interval AS at
    FROM generate_series(%(low)s::bigint, %(high)s::bigint) AS n
"""
_LINES: Final = """
    CREATE TEMPORARY TABLE drawn_lines ON COMMIT DROP AS
    SELECT d.n, d.pk, i AS line_no, k.id AS sku_id, k.code, k.name, 1 + (d.n + i) %% 2 AS quantity,
           round(k.base_price * (CASE WHEN d.n %% 100 = 0 THEN 0.5 ELSE 0.95 END), 2) AS price
    FROM drawn d CROSS JOIN LATERAL
        generate_series(1, 1 + (d.n %% 20 > 10)::int + (d.n %% 20 > 16)::int) AS i
    JOIN (SELECT id, code, name, base_price, row_number() OVER (ORDER BY id) - 1 AS place,
                 count(*) OVER () AS places FROM catalog_sku
          WHERE NOT is_gift AND base_price > 0 AND currency = 'CNY') AS k
      ON k.place = (d.who * 7 + i * 13) %% k.places
"""
_ORDERS: Final = """
    INSERT INTO orders_salesorder (id, shop_id, channel_number, number, status, version,
        channel_status, channel_modified_at, refund_state, currency, payable_amount, paid_amount,
        freight, placed_at, paid_at, received_at, province, city, district, receiver_masked,
        receiver_sealed, buyer_remark, seller_memo, has_gift, is_rush, is_test, is_presale,
        priority)
    SELECT d.pk, %(shop)s, 'M' || d.pk, 'BN' || lpad(d.pk::text, 20, '0'),
        CASE WHEN d.n %% 20 = 0 THEN 'routed' ELSE 'shipped' END, 1, 'wait_ship', d.at, 'none',
        'CNY', l.money, l.money, 0, d.at, d.at, d.at + interval '5 seconds',
        (ARRAY['江苏省', '浙江省', '广东省', '四川省'])[1 + d.who %% 4],
        (ARRAY['南京市', '杭州市', '深圳市', '成都市'])[1 + d.who %% 4],
        (ARRAY['鼓楼区', '余杭区', '南山区', '武侯区'])[1 + d.who %% 4], '林**', %(receiver)s,
        CASE WHEN d.n %% 4 = 0 THEN '请尽快发货，谢谢' ELSE '' END, '', false, false, false,
        false, 0
    FROM drawn d JOIN (SELECT pk, sum(price * quantity) AS money FROM drawn_lines GROUP BY pk) l
        ON l.pk = d.pk
"""
_EVIDENCE: Final = """
    INSERT INTO orders_orderevidence (order_id, shop_id, placed_at, amount, buyer_key, device_key,
        phone_key, address_key, ip)
    SELECT o.id, o.shop_id, o.placed_at, o.payable_amount, md5('b' || p.person),
        md5('d' || p.person), md5('p' || p.person), md5('a' || p.person %% %(places)s),
        '10.' || p.person %% 199 || '.' || p.person %% 251 || '.' || p.person %% 241
    FROM drawn d JOIN orders_salesorder o ON o.id = d.pk
    CROSS JOIN LATERAL (SELECT d.who * 2654435761 %% %(people)s AS person) AS p
"""
_GOODS: Final = """
    INSERT INTO orders_orderline (order_id, line_no, channel_line_id, platform_sku_id, outer_code,
        title, sku_id, quantity, unit_price, amount, is_gift, gift_strategy, is_dropped,
        refund_state)
    SELECT pk, line_no, 'M' || pk, '', code, name, sku_id, quantity, price, price * quantity,
        false, '', false, 'none'
    FROM drawn_lines
"""
_VERDICTS: Final = """
    INSERT INTO risk_verdict (order_id, order_version, rule_set_version, tier, tags, findings,
        facts, inputs, created_at)
    SELECT d.pk, 1, 1, '0', '[]', '[]', '{}', jsonb_build_object('v', 1, 'facts',
        jsonb_build_object('gift_gap', '-', 'gift_short', '-', 'unlocked_available',
        CASE WHEN d.n %% 500 = 0 THEN '1'::jsonb ELSE '"-"'::jsonb END, 'missing', '[]'::jsonb)),
        d.at
    FROM drawn d
"""


def fill(orders: int, *, shop_id: int, say: Callable[[str], object]) -> tuple[datetime, datetime]:
    """Store so many orders, the last placed an hour ago; return [since, until) of them all."""
    until = clock_now() - timedelta(hours=1)
    gap = timedelta(days=DAYS) / orders
    begin = until - gap * (orders + 1)
    receiver = seal(RECEIVER, purpose=RECEIVER_PURPOSE)
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM orders_salesorder")
        base = cursor.fetchone()[0]
        for low in range(1, orders + 1, SLICE):
            high = min(orders, low + SLICE - 1)
            values = {
                "low": low, "high": high, "base": base, "begin": begin, "gap": gap,
                "shop": shop_id, "receiver": receiver,
                "people": max(1, orders // 3), "places": max(1, orders // 4),
            }  # fmt: skip
            cursor.execute("BEGIN")
            for statement in (_DRAWN, _LINES, _ORDERS, _EVIDENCE, _GOODS, _VERDICTS):
                cursor.execute(statement, values)
            cursor.execute("COMMIT")
            say(f"{high} orders stored")
        cursor.execute(
            "SELECT setval(pg_get_serial_sequence('orders_salesorder', 'id'), %s)", [base + orders]
        )
        for table in TABLES:
            cursor.execute(f"VACUUM ANALYZE {table}")
    return begin, until
