"""The CRM's tables in a real database (channels.md 7), for whoever reads them there.

With ``SANDBOX_CRM_DATABASE`` (a PostgreSQL DSN) the orders and refunds of the ``crm_webhook``
shops are kept in ``crm_order`` and ``crm_refund``. Now and then a row is written in a
transaction that stays open for some seconds: it appears with an ``updated_at`` that lies
behind what others have long committed, as rows of a busy database do.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from ordercenter.sandbox.platforms.crm import order_row, refund_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ordercenter.sandbox.book import Book, Order

CHANNEL: Final = "crm_webhook"
LATE: Final = 0.1
"""Of the rows: how many are committed late."""
HELD: Final = (2.0, 8.0)  # seconds such a transaction stays open
LOOK: Final = 0.1
AGAIN: Final = 2.0  # seconds before the database is tried again
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS crm_order (
    id bigint PRIMARY KEY, order_no text NOT NULL UNIQUE, status text NOT NULL,
    currency text NOT NULL, total_amount numeric(12, 2) NOT NULL,
    discount_amount numeric(12, 2) NOT NULL, freight numeric(12, 2) NOT NULL,
    pay_amount numeric(12, 2) NOT NULL, paid_amount numeric(12, 2) NOT NULL,
    created_at timestamp NOT NULL, pay_time timestamp, updated_at timestamp NOT NULL,
    buyer_member_no text, buyer_nickname text, buyer_level text, buyer_ip text,
    buyer_device_id text, receiver_name text, receiver_phone text, receiver_province text,
    receiver_city text, receiver_district text, receiver_address text, buyer_remark text,
    seller_memo text, items_json text NOT NULL
);
CREATE INDEX IF NOT EXISTS crm_order_keyset ON crm_order (updated_at, id);
CREATE TABLE IF NOT EXISTS crm_refund (
    id bigint PRIMARY KEY, refund_no text NOT NULL UNIQUE, order_no text NOT NULL,
    line_no integer, type text NOT NULL, status text NOT NULL,
    amount numeric(12, 2) NOT NULL, reason text, created_at timestamp NOT NULL,
    updated_at timestamp NOT NULL
);
CREATE INDEX IF NOT EXISTS crm_refund_keyset ON crm_refund (updated_at, id);
"""
Line = psycopg.AsyncConnection[Any]


class Tables:
    """Writes every change of the CRM's orders into the database at ``dsn``."""

    def __init__(
        self,
        book: Book,
        dsn: str,
        *,
        late: float = LATE,
        held: tuple[float, float] = HELD,
        seed: int = 1,
    ) -> None:
        self.book = book
        self.dsn = dsn
        self.late = late
        self.held = held
        self._random = Random(seed)
        self._changed: dict[tuple[str, str], None] = {}
        self._open: set[tuple[str, str]] = set()
        for order in book.all_orders():
            self._note(order, "")
        book.on_change(self._note)

    def _note(self, order: Order, _event: str) -> None:
        if self.book.shops[order.shop].channel == CHANNEL:
            self._changed[order.shop, order.number] = None

    async def run(self) -> None:
        """Keep the tables up to date until canceled; a database that is away is waited for."""
        while True:
            try:
                async with (
                    await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as line,
                    asyncio.TaskGroup() as tasks,
                ):
                    await line.execute(SCHEMA)
                    while True:
                        await self.write_changed(line, tasks)
                        await asyncio.sleep(LOOK)
            except* psycopg.Error:
                await asyncio.sleep(AGAIN)

    async def write_changed(self, line: Line, tasks: asyncio.TaskGroup) -> None:
        """Write what has changed; rows that are to be late go their own way in ``tasks``."""
        for place in [place for place in self._changed if place not in self._open]:
            # Taken out first: a change that comes while this one is written counts again.
            del self._changed[place]
            order = self.book.get(*place)
            if order is None:
                continue
            if self._random.random() < self.late:
                self._open.add(place)
                tasks.create_task(self._write_late(place, order))
                continue
            try:
                await self._write(line, order)
            except BaseException:
                self._changed[place] = None
                raise

    async def _write_late(self, place: tuple[str, str], order: Order) -> None:
        """Write in a transaction of its own and commit it seconds later."""
        committed = False
        try:
            async with await psycopg.AsyncConnection.connect(self.dsn) as line:
                await self._write(line, order)
                await asyncio.sleep(self._random.uniform(*self.held))
            committed = True
            self.book.weather.count(CHANNEL, "late_commit")
        finally:
            self._open.discard(place)
            if not committed:
                self._changed[place] = None

    async def _write(self, line: Line, order: Order) -> None:
        shop = self.book.shops[order.shop]
        await put(line, "crm_order", order_row(self.book, shop, order))
        for refund in order.refunds:
            await put(line, "crm_refund", refund_row(order, refund))


async def put(line: Line, table: str, row: Mapping[str, Any]) -> None:
    """Insert ``row``, or replace the one of its id."""
    names = [sql.Identifier(name) for name in row]
    changes = [
        sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in row if name != "id"
    ]
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(names),
        sql.SQL(", ").join(sql.Placeholder() * len(names)),
        sql.SQL(", ").join(changes),
    )
    await line.execute(query, list(row.values()))
