"""A warehouse of others tells what it has by a table; only the difference at its moment counts."""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from channels_sync.sheets.xlsx_writing import workbook
from inventory import adjustments, statements
from inventory import services as inventory
from inventory.adjustments import Kind
from inventory.models import Adjustment, StockFile, StockMovement
from inventory.papers import HeldByOrders
from inventory.statements import SameStatement, StaleStatement
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput
from ordercenter.pipeline import stock_sheet
from tests.factories import SkuFactory
from tests.inventory.shelves import Shelves, by, ledger_red

pytestmark = pytest.mark.django_db


@pytest.fixture
def shelves() -> Shelves:
    """Ten units that have lain here for an hour."""
    shelves = Shelves()
    inventory.receive(
        [(shelves.room.pk, shelves.sku.pk, 10)], actor=PIPELINE,
        now=clock_now() - timedelta(hours=1),
    )  # fmt: skip
    return shelves


def tell(shelves: Shelves, units: int, *, minutes_ago: float = 5, digest: str = "a") -> Any:
    return statements.apply(
        shelves.room.pk, {shelves.sku.pk: units}, digest=digest,
        as_of=clock_now() - timedelta(minutes=minutes_ago), **by(shelves.picker),
    )  # fmt: skip


def test_the_difference_to_the_books_of_that_moment_is_applied_now(shelves: Shelves) -> None:
    inventory.receive([(shelves.room.pk, shelves.sku.pk, 5)], actor=PIPELINE)  # not seen by them
    shelves.ship(shelves.order(2))
    done = tell(shelves, 8, minutes_ago=5)
    assert (done.made, done.waiting) == (1, 0)
    assert shelves.figures() == {"on_hand": 10 + 5 - 2 - 2}
    assert StockMovement.objects.get(reason="statement").document.startswith("adjustment:")
    assert ledger_red() == set()


def test_an_older_statement_or_the_same_file_is_refused(shelves: Shelves) -> None:
    tell(shelves, 9, minutes_ago=5, digest="a")
    with pytest.raises(StaleStatement):
        tell(shelves, 8, minutes_ago=6, digest="b")
    with pytest.raises(SameStatement):
        tell(shelves, 9, minutes_ago=1, digest="a")
    with pytest.raises(InvalidInput, match="将来"):
        tell(shelves, 9, minutes_ago=-60, digest="c")
    assert shelves.figures() == {"on_hand": 9}
    tell(shelves, 8, minutes_ago=1, digest="b")
    assert shelves.figures() == {"on_hand": 8}


def test_what_somebody_corrected_since_is_not_overruled_by_older_figures(shelves: Shelves) -> None:
    adjustments.adjust(
        shelves.room.pk, shelves.sku.pk, 1, Kind.GONE, reason="货架破损", **by(shelves.picker)
    )
    with pytest.raises(InvalidInput, match="请用更新的数据"):
        tell(shelves, 9, minutes_ago=5)
    tell(shelves, 8, minutes_ago=0, digest="b")
    assert shelves.figures() == {"on_hand": 8}


def test_a_large_difference_waits_and_is_not_told_twice(shelves: Shelves) -> None:
    assert tell(shelves, 100).waiting == 1
    assert shelves.figures() == {"on_hand": 10}
    with pytest.raises(InvalidInput, match="待复核"):
        tell(shelves, 100, minutes_ago=1, digest="b")
    assert Adjustment.objects.get().state == "waiting"


def test_what_is_promised_is_not_taken_and_the_orders_are_named(shelves: Shelves) -> None:
    order = shelves.order(9)
    with pytest.raises(HeldByOrders) as refusal:
        tell(shelves, 5)
    assert refusal.value.facts["orders"] == [order.number]
    assert not StockFile.objects.exists()
    assert shelves.figures() == {"on_hand": 10, "reserved": 9}


# --- the page -------------------------------------------------------------------------------------


def csv(*rows: Iterable[object], header: str = "货品编码,件数") -> SimpleUploadedFile:
    lines = [header, *(",".join(str(cell) for cell in row) for row in rows)]
    return SimpleUploadedFile("../../x.csv", "\n".join(lines).encode())


def hand_in(client: Client, shelves: Shelves, file: SimpleUploadedFile) -> Any:
    at = clock_now().astimezone(SHANGHAI) - timedelta(minutes=5)
    told = {"room": shelves.room.pk, "as_of": f"{at:%Y-%m-%dT%H:%M}", "file": file}
    return client.post("/stock/sheet/", told)


def plan_of(answer: Any) -> str:
    found = re.search(r'name="plan" value="([^"]*)"', answer.content.decode())
    assert found
    return found[1]


@pytest.fixture
def client_of(shelves: Shelves) -> Client:
    client = Client()
    client.force_login(shelves.picker)
    return client


def test_a_table_is_looked_at_and_applied_once(shelves: Shelves, client_of: Client) -> None:
    seen = hand_in(client_of, shelves, csv((shelves.sku.code, 7)))
    assert seen.status_code == 200
    assert "-3" in seen.content.decode()
    assert shelves.figures() == {"on_hand": 10}
    told = {"plan": plan_of(seen), "verb": "all"}
    assert client_of.post("/stock/sheet/apply/", told).status_code == 302
    assert shelves.figures() == {"on_hand": 7}
    again = client_of.post("/stock/sheet/apply/", told)
    assert again.status_code == 409
    assert "已在" in again.content.decode()
    assert hand_in(client_of, shelves, csv((shelves.sku.code, 7))).status_code == 409
    assert shelves.figures() == {"on_hand": 7}


def test_bad_rows_are_told_by_number_and_nothing_is_applied_unless_chosen(
    shelves: Shelves, client_of: Client
) -> None:
    twice = SkuFactory.create().code
    seen = hand_in(
        client_of, shelves,
        csv((shelves.sku.code, 7), ("NO-SUCH", 1), (twice, 1), (twice, 1), ("", 5)),
    )  # fmt: skip
    page = seen.content.decode()
    assert "没有货品 NO-SUCH" in page
    assert page.count("同一货品填了多行") == 2
    told = {"plan": plan_of(seen), "verb": "all"}
    assert client_of.post("/stock/sheet/apply/", told).status_code == 422
    assert shelves.figures() == {"on_hand": 10}
    assert client_of.post("/stock/sheet/apply/", told | {"verb": "good"}).status_code == 302
    assert shelves.figures() == {"on_hand": 7}


@pytest.mark.parametrize("units", ["-1", "1.5", "", "=1+1", "１", "99999999"])  # noqa: RUF001
def test_figures_that_are_no_units_are_refused(
    shelves: Shelves, client_of: Client, units: str
) -> None:
    page = hand_in(client_of, shelves, csv((shelves.sku.code, units))).content.decode()
    assert "件数应为 0 到" in page
    assert 'name="plan"' not in page


@pytest.mark.parametrize(
    ("file", "status"),
    [
        (SimpleUploadedFile("a.csv", b"a,b\n1,2\n"), 422),
        (SimpleUploadedFile("a.csv", '货品编码,件数\n"a,1\n'.encode()), 422),
        (SimpleUploadedFile("a.csv", "货品编码,件数,件数\na,1,2\n".encode()), 422),
        (SimpleUploadedFile("a.csv", b"\xff\xfe\x00"), 422),
    ],
)
def test_files_that_are_no_table_are_refused(
    shelves: Shelves, client_of: Client, file: SimpleUploadedFile, status: int
) -> None:
    assert hand_in(client_of, shelves, file).status_code == status


def test_the_empty_table_comes_back_filled_in(shelves: Shelves, client_of: Client) -> None:
    csv_file = client_of.get(f"/stock/sheet/stock.csv?room={shelves.room.pk}").content.decode()
    assert shelves.sku.code in csv_file
    assert ",10" not in csv_file  # blind
    rows = [[shelves.sku.code, shelves.sku.name, "12"]]
    book = SimpleUploadedFile("a.xlsx", workbook("库存", stock_sheet.COLUMNS, rows))
    seen = hand_in(client_of, shelves, book)
    told = {"plan": plan_of(seen), "verb": "all"}
    assert client_of.post("/stock/sheet/apply/", told).status_code == 302
    assert shelves.figures() == {"on_hand": 12}


def test_many_rows_cost_no_more_statements(
    shelves: Shelves, django_assert_max_num_queries: Any
) -> None:
    skus = SkuFactory.create_batch(60)
    with django_assert_max_num_queries(35):
        statements.apply(
            shelves.room.pk, {sku.pk: 3 for sku in skus}, digest="a",
            as_of=clock_now(), **by(shelves.picker),
        )  # fmt: skip
    assert Adjustment.objects.filter(state="applied").count() == 60
    assert ledger_red() == set()
