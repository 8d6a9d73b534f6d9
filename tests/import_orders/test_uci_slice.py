"""Real orders with real quirks, counted a second time by plain Python."""

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker

from ordercenter.catalog.models import Sku
from ordercenter.orders.models import SalesOrder
from tests.import_orders.sheets import import_orders

ROOT: Final = Path(__file__).parents[2]
SLICE: Final = ROOT / "tests" / "data" / "uci_slice.csv.gz"
HONEST: Final = ROOT / "docs" / "mappings" / "uci_online_retail.json"
PICKUP: Final = ROOT / "docs" / "mappings" / "uci_online_retail_pickup.json"
FREIGHT: Final = {"POST", "DOT", "C2"}
DAY_TOTALS: Final = """
    SELECT to_char(o.placed_at AT TIME ZONE 'Europe/London', 'YYYY-MM-DD'), count(*),
           sum(l.lines)::int, sum(l.pieces)::int, sum(l.goods), sum(o.freight),
           sum(o.payable_amount)
    FROM orders_salesorder o
    LEFT JOIN LATERAL (SELECT count(*) AS lines, coalesce(sum(quantity), 0) AS pieces,
                              coalesce(sum(amount), 0) AS goods
                       FROM orders_orderline WHERE order_id = o.id) l ON true
    GROUP BY 1
"""
pytestmark = pytest.mark.django_db


def rows() -> list[dict[str, str]]:
    with gzip.open(SLICE, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def sales() -> dict[str, list[dict[str, str]]]:
    """Invoices that are sales, by the README of the data set and nothing of ours."""
    found = defaultdict(list)
    for one in rows():
        if one["InvoiceNo"].isdigit() and int(one["Quantity"]) > 0:
            found[one["InvoiceNo"]].append(one)
    return found


def days_by_hand() -> dict[str, tuple[object, ...]]:
    days: dict[str, list[list[dict[str, str]]]] = defaultdict(list)
    for invoice in sales().values():
        days[min(one["InvoiceDate"] for one in invoice)[:10]].append(invoice)
    return {day: _totals(invoices) for day, invoices in days.items()}


def _totals(invoices: list[list[dict[str, str]]]) -> tuple[object, ...]:
    told = [one for invoice in invoices for one in invoice]
    goods = [one for one in told if one["StockCode"] not in FREIGHT]
    freight = [one for one in told if one["StockCode"] in FREIGHT]
    money = [sum((Decimal(o["UnitPrice"]) * int(o["Quantity"]) for o in part), Decimal(0))
             for part in (goods, freight)]  # fmt: skip
    pieces = sum(int(one["Quantity"]) for one in goods)
    return (len(invoices), len(goods), pieces, *money, sum(money))


def test_orders_lines_pieces_and_money_per_day_are_those_of_the_file() -> None:
    report = import_orders(SLICE, shop="uci", mapping=PICKUP)
    with connection.cursor() as cursor:
        cursor.execute(DAY_TOTALS)
        found = {row[0]: tuple(row[1:]) for row in cursor.fetchall()}
    assert found == days_by_hand()
    assert len(found) == 5
    assert report["rows"] == len(rows())
    assert report["rows"] == (
        report["rows_in_orders"]
        + report["rows_quarantined"]
        + sum(report["lines_not_orders"].values())
    )
    assert report["by_status"]["routed"] > 100
    assert report["held_by_kind"].keys() == {"rule", "unmapped"}
    before = set(SalesOrder.objects.values_list("number", "version"))
    again = import_orders(SLICE, shop="uci", mapping=PICKUP)
    assert (again["new"], again["unchanged"]) == (0, report["orders"])
    assert set(SalesOrder.objects.values_list("number", "version")) == before


def test_what_is_no_sale_is_set_aside_by_reason() -> None:
    report = import_orders(SLICE, shop="uci", mapping=HONEST, dry_run=True)
    told = rows()
    assert report["lines_not_orders"] == {
        "cancellation_without_order": sum(one["InvoiceNo"][0] == "C" for one in told),
        "stock_write_off": sum(
            one["InvoiceNo"][0] != "C" and int(one["Quantity"]) < 0 for one in told
        ),
    }
    assert (report["orders"], report["quarantined"]) == (len(sales()), [])


def test_the_slice_is_small_and_says_whose_it_is() -> None:
    assert SLICE.stat().st_size <= 1024 * 1024
    words = " ".join((SLICE.parent / "ATTRIBUTION.md").read_text(encoding="utf-8").split())
    assert (
        "Online Retail data set, Daqing Chen, UCI Machine Learning Repository, CC BY 4.0; "
        "via R package onlineretail (CC0). Changed: split by date, row number added, "
        "written as CSV."
    ) in words


@pytest.fixture(scope="module")
def honest(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[dict[str, Any]]:
    """The report on the slice as it is, without an address; its orders are there until the end."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield import_orders(SLICE, shop="uci", mapping=HONEST)
        transaction.set_rollback(True)


def test_without_addresses_every_order_waits_for_a_person(honest: dict[str, Any]) -> None:
    assert honest["orders"] == honest["held"] == len(sales())
    assert honest["held_by_kind"]["incomplete"] == len(sales())
    assert set(honest["by_status"]) <= {"received", "reserved", "mapped"}


@pytest.mark.usefixtures("honest")
def test_the_two_spellings_of_a_code_are_one_sku() -> None:
    codes = {
        one["StockCode"] for invoice in sales().values() for one in invoice
        if one["StockCode"][:5].isdigit()
    }  # fmt: skip
    assert len({code.upper() for code in codes}) < len(codes)
    assert set(Sku.objects.values_list("code", flat=True)) == {code.upper() for code in codes}
