"""The CRM's own tables on a real PostgreSQL: by keyset, read-only, late commits and all."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg import sql
from psycopg.conninfo import make_conninfo

from channels_sync.connectors.crm import database
from channels_sync.connectors.crm.connector import CrmConnector
from channels_sync.contracts import (
    ErrorClass,
    MessageKind,
    RawMessage,
    Rejected,
    ShopAccess,
    TryLater,
    Window,
)

pytestmark = pytest.mark.django_db(transaction=True)

START = datetime(2026, 3, 1, 0, 0, tzinfo=UTC)
"""Eight in the morning in Beijing."""
HOUR = Window(START, START + timedelta(hours=1))
PASSWORD = "n0b0dy-knows"
ITEMS = '[{"line_no": 1, "sku_code": "A", "title": "a", "qty": 1, "unit_price": "9.90"}]'
TABLES = """
CREATE TABLE crm_order (
    id bigserial PRIMARY KEY, order_no varchar(40) UNIQUE, status text,
    pay_amount numeric(12, 2), freight numeric(12, 2) DEFAULT 0,
    created_at {moment} NOT NULL, pay_time {moment}, updated_at {moment} NOT NULL,
    receiver_name text, receiver_phone text, receiver_province text, receiver_city text,
    receiver_district text, receiver_address text, buyer_remark text, items_json {items}
);
CREATE TABLE crm_refund (
    id bigserial PRIMARY KEY, refund_no text, order_no text, line_no int, type text,
    status text, amount numeric(12, 2), updated_at {moment} NOT NULL
);
"""


def dsn(**changes: Any) -> str:
    params = connection.get_connection_params()
    known = {key: params[key] for key in ("host", "port", "user", "password") if params.get(key)}
    known["dbname"] = connection.settings_dict["NAME"]
    return make_conninfo("", **(known | changes))


@contextmanager
def tables(moment: str = "timestamp", items: str = "text") -> Iterator[psycopg.Connection[Any]]:
    """A CRM's tables, and a connection of its own to write them with."""
    with psycopg.connect(dsn(), autocommit=True) as writer:
        wanted = sql.SQL(TABLES).format(moment=sql.SQL(moment), items=sql.SQL(items))
        writer.execute(wanted)
        writer.execute("SET TimeZone = 'Asia/Shanghai'")
        try:
            yield writer
        finally:
            writer.execute("DROP TABLE IF EXISTS crm_order, crm_refund")


@pytest.fixture
def crm() -> Iterator[psycopg.Connection[Any]]:
    with tables() as writer:
        yield writer


def sell(writer: psycopg.Connection[Any], number: str, at: str, **changes: Any) -> None:
    row = {
        "order_no": number, "status": "paid", "pay_amount": Decimal("9.90"), "created_at": at,
        "pay_time": at, "updated_at": at, "items_json": ITEMS,
    } | changes  # fmt: skip
    names = sql.SQL(", ").join(map(sql.Identifier, row))
    values = sql.SQL(", ").join(map(sql.Placeholder, row))
    writer.execute(sql.SQL("INSERT INTO crm_order ({}) VALUES ({})").format(names, values), row)


def shop(address: str | None = None) -> CrmConnector:
    secrets = {"database_url": dsn() if address is None else address}
    access = ShopAccess(
        "CRM1", "", "", "", secrets=secrets, options={"source": "database"}
    )  # fmt: skip
    return CrmConnector(access)


def pulled(window: Window = HOUR, feed: str = "orders") -> list[RawMessage]:
    return [message for page in shop().pull(feed, window) for message in page.messages]


def numbers(window: Window = HOUR) -> list[str]:
    return [message.channel_number for message in pulled(window)]


def test_a_row_reads_like_any_order(crm: psycopg.Connection[Any]) -> None:
    sell(crm, "PD1", "2026-03-01 08:10:00", receiver_city="温州市", buyer_remark="🎁")
    (message,) = pulled()
    draft = shop().read(message.body)
    assert (message.kind, message.channel_number) == (MessageKind.ORDER, "PD1")
    assert (draft.payable_amount, draft.paid_amount) == (Decimal("9.90"), Decimal("9.90"))
    assert draft.modified_at == datetime(2026, 3, 1, 0, 10, tzinfo=UTC)
    assert draft.buyer_remark == "🎁"
    assert draft.lines[0].outer_code == "A"


@pytest.mark.parametrize("moment", ["timestamp", "timestamptz"])
@pytest.mark.parametrize("items", ["text", "json", "jsonb"])
def test_the_columns_may_be_of_any_sensible_kind(moment: str, items: str) -> None:
    with tables(moment, items) as writer:
        sell(writer, "PD1", "2026-03-01 08:00:00")
        sell(writer, "PD2", "2026-03-01 07:59:59")
        sell(writer, "PD3", "2026-03-01 09:00:00")
        sell(writer, "PD4", "2026-03-01 09:00:01")
        assert numbers() == ["PD1", "PD3"]
        draft = shop().read(pulled()[0].body)
        assert draft.placed_at == START


def test_pages_follow_the_keyset_where_many_rows_share_one_moment(
    crm: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PAGE_SIZE", 7)
    for n in range(20):
        sell(crm, f"PD{n:02d}", "2026-03-01 08:10:00" if n < 15 else "2026-03-01 08:10:00.5")
    pages = list(shop().pull("orders", HOUR))
    assert [len(page.messages) for page in pages] == [7, 7, 6]
    assert numbers() == [f"PD{n:02d}" for n in range(20)]


def test_a_full_last_page_is_followed_by_an_empty_one(
    crm: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PAGE_SIZE", 2)
    for n in range(4):
        sell(crm, f"PD{n}", "2026-03-01 08:10:00")
    assert [len(page.messages) for page in shop().pull("orders", HOUR)] == [2, 2, 0]


def test_a_row_committed_late_is_seen_by_the_overlap_and_by_nothing_else(
    crm: psycopg.Connection[Any],
) -> None:
    """The control: windows that meet without an overlap lose it."""
    later = Window(HOUR.end, HOUR.end + timedelta(hours=1))
    overlap = timedelta(seconds=CrmConnector.feeds[0].overlap_seconds)
    with psycopg.connect(dsn()) as slow:
        slow.execute("SET TimeZone = 'Asia/Shanghai'")
        sell(slow, "LATE", "2026-03-01 08:59:30")
        sell(crm, "PD1", "2026-03-01 08:59:40")
        assert numbers() == ["PD1"]
        slow.commit()
    assert numbers(later) == []
    assert numbers(Window(later.start - overlap, later.end)) == ["LATE", "PD1"]


def test_refunds_are_a_list_of_their_own(crm: psycopg.Connection[Any]) -> None:
    crm.execute(
        "INSERT INTO crm_refund (refund_no, order_no, line_no, type, status, amount, updated_at) "
        "VALUES ('RF1', 'PD1', 2, 'refund_only', 'pending', 9.9, '2026-03-01 08:30:00')"
    )
    (message,) = pulled(feed="refunds")
    draft = shop().read_refund(message.body)
    assert (message.kind, draft.refund_id, draft.amount) == ("refund", "RF1", Decimal("9.90"))
    assert draft.intercept_shipping


def test_one_order_and_the_days_orders_can_be_asked_for(crm: psycopg.Connection[Any]) -> None:
    sell(crm, "PD1", "2026-03-01 08:10:00", updated_at="2026-03-05 08:00:00")
    sell(crm, "PD2", "2026-03-01 09:10:00")
    assert shop().census(HOUR).numbers == {"PD1"}
    assert shop().read(shop().fetch("PD2").body).channel_number == "PD2"
    with pytest.raises(Rejected):
        shop().fetch("PD3")
    shop().test()


def test_nothing_can_be_written_through_the_line(crm: psycopg.Connection[Any]) -> None:
    sell(crm, "PD1", "2026-03-01 08:10:00")
    wreck = sql.SQL("WITH gone AS (DELETE FROM crm_order RETURNING 1) SELECT * FROM gone")
    with (
        pytest.raises(TryLater),
        database._connected(dsn()) as connected,
    ):
        database._asked(connected, wreck, {})
    assert numbers() == ["PD1"]


def test_a_statement_that_takes_too_long_is_tried_later(
    crm: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_SETTINGS", sql.SQL("SET LOCAL statement_timeout = 50"))
    sell(crm, "PD1", "2026-03-01 08:10:00")
    with psycopg.connect(dsn()) as other:
        other.execute("LOCK TABLE crm_order IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TryLater) as failure:
            pulled()
    assert failure.value.error.code == "timeout"


@pytest.mark.parametrize(
    ("address", "error", "klass"),
    [
        (lambda: dsn(port=1, connect_timeout=1), TryLater, ErrorClass.PLATFORM),
        (lambda: dsn(dbname="nobody_has_this"), TryLater, ErrorClass.PLATFORM),
        (lambda: f"not a dsn {PASSWORD}", Rejected, ErrorClass.BUSINESS),
        (lambda: "", Rejected, ErrorClass.AUTH),
    ],
)
def test_a_database_out_of_reach_is_told_without_its_address(
    address: Callable[[], str], error: type[Any], klass: ErrorClass
) -> None:
    with pytest.raises(error) as failure:
        shop(address()).test()
    assert failure.value.error.klass is klass
    assert failure.value.__cause__ is None
    for word in (PASSWORD, "127.0.0.1", "nobody_has_this", "user="):
        assert word not in str(failure.value)
    assert "database_url" not in repr(shop().access)


def test_other_columns_than_agreed_are_refused_for_good(crm: psycopg.Connection[Any]) -> None:
    crm.execute("ALTER TABLE crm_order RENAME COLUMN updated_at TO changed_at")
    with pytest.raises(Rejected) as refusal:
        pulled()
    assert refusal.value.error.code == "sql_42703"


def test_an_amount_that_is_no_number_waits_for_a_person(crm: psycopg.Connection[Any]) -> None:
    sell(crm, "PD1", "2026-03-01 08:10:00", pay_amount=Decimal("NaN"))
    (message,) = pulled()
    assert json.loads(message.body)["pay_amount"] == "NaN"
    with pytest.raises(Exception, match="pay_amount"):
        shop().read(message.body)
