"""No token reserves stock, and what only looks changes nothing (S10, BS20, BS21)."""

from typing import Any, Final

import pytest
from django.db import DatabaseError, InternalError, connection
from django.test import Client

from inventory import services as inventory
from inventory.models import StockLevel
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.actor import PIPELINE
from ordercenter.core.policy import Role
from ordercenter.core.readonly import read_only
from ordercenter.notices.models import Notice
from ordercenter.pipeline import mapping_sheet
from tests.api.recording import STOCK, sums, writes_to_stock
from tests.factories import (
    ListingFactory,
    OrderLineFactory,
    ReservationFactory,
    RobotFactory,
    ShopFactory,
    SkuFactory,
    StockLevelFactory,
    UserFactory,
    key_for,
    user_with,
)

pytestmark = pytest.mark.django_db
ORDERS: Final = ("orders_salesorder", "orders_orderline", "orders_orderhold")


def test_the_recorder_sees_every_way_of_writing() -> None:
    """The control: what reserves and ships is seen, by statement and by COPY."""
    level = StockLevelFactory.create()
    with writes_to_stock() as found:
        inventory.receive([(level.virtual_warehouse_id, level.sku_id, 3)], actor=PIPELINE)
    assert found == {"inventory_stocklevel", "inventory_stockmovement"}
    with writes_to_stock() as found:
        list(StockLevel.objects.all())
    assert found == set()


# --- tokens --------------------------------------------------------------------------------------


@pytest.fixture
def courier() -> Client:
    """The courier's system: a token of an account without any role."""
    key = key_for(UserFactory.create(username="courier-system"))
    return Client(headers={"Authorization": f"Token {key}"})


GUESSES: Final = (
    ("post", "/api/stock/reserve/"),
    ("post", "/api/orders/simulate/"),
    ("post", "/api/orders/"),
    ("get", "/api/orders/"),
    ("put", "/api/stock/levels/1/"),
    ("delete", "/api/reservations/1/"),
)


@pytest.mark.parametrize(("method", "path"), GUESSES)
def test_bs21_a_couriers_token_has_no_stock_and_no_orders_and_trying_is_told_of(
    method: str, path: str, courier: Client
) -> None:
    RobotFactory.create()
    with writes_to_stock() as found:
        answer = getattr(courier, method)(path, {"sku": "SOFA"}, content_type="application/json")
    assert answer.status_code == 403
    assert found == set()
    record = AuditRecord.objects.get(action=Action.ACCESS_REFUSED)
    assert (record.actor_kind, record.actor_name) == ("token", "courier-system")
    assert record.change["door"] == f"{method.upper()} {path}"
    assert record.change["scopes"] == []
    assert Notice.objects.get().urgency == "3"


def test_a_token_that_tries_a_thousand_times_is_told_of_once(courier: Client) -> None:
    RobotFactory.create()
    for _ in range(30):
        assert courier.post("/api/stock/reserve/").status_code == 403
    assert AuditRecord.objects.filter(action=Action.ACCESS_REFUSED).count() == 1
    assert Notice.objects.count() == 1


def test_a_person_who_may_see_orders_finds_no_stock_door_and_nobody_is_alarmed(
    client: Client,
) -> None:
    client.force_login(user_with(Role.OPERATIONS_SUPERVISOR))
    for method, path in (("post", "/api/stock/reserve/"), ("post", "/api/orders/simulate/")):
        assert getattr(client, method)(path).status_code in {404, 405}
    client.force_login(user_with(Role.PACKER))
    assert client.get("/api/orders/").status_code == 403
    assert not AuditRecord.objects.filter(action=Action.ACCESS_REFUSED).exists()


# --- looking only --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE inventory_stocklevel SET reserved = reserved + 1",
        "DELETE FROM inventory_reservation",
        "SELECT id FROM inventory_stocklevel FOR UPDATE",
        "SELECT nextval('orders_salesorder_id_seq')",
    ],
)
def test_nothing_can_be_written_in_a_read_only_block(statement: str) -> None:
    StockLevelFactory.create(on_hand=5)
    with (
        pytest.raises((InternalError, DatabaseError), match="read-only"),
        read_only(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    StockLevel.objects.update(reserved=1)  # and it is over with the block
    assert StockLevel.objects.get().reserved == 1


def test_an_order_cannot_be_reserved_in_a_read_only_block() -> None:
    row = OrderLineFactory.create()
    before = sums(*STOCK)
    with pytest.raises(DatabaseError, match="read-only"), read_only():
        ReservationFactory.create(line=row)
    assert sums(*STOCK) == before


@pytest.fixture
def filled_sheet() -> list[mapping_sheet.Row]:
    """A mapping table that would tie three codes anew."""
    shop = ShopFactory.create(code="TB01")
    old, new = SkuFactory.create(code="OLD"), SkuFactory.create(code="NEW")
    for number in range(3):
        ListingFactory.create(shop=shop, code=f"C{number}", sku=old)
    return [
        mapping_sheet.Row(number, "TB01", "outer_code", f"C{number}", new.code, "")
        for number in range(3)
    ]


def look_ten(rows: Any, times: int) -> None:
    ReservationFactory.create()
    tables = (*STOCK, *ORDERS, "catalog_listing")
    before = sums(*tables)
    for _ in range(times):
        found = mapping_sheet.plan(rows)
    assert {one.outcome for one in found.rows} == {mapping_sheet.Outcome.CHANGED}
    assert sums(*tables) == before


def test_bs20_a_preview_changes_nothing(filled_sheet: Any) -> None:
    look_ten(filled_sheet, 50)


@pytest.mark.nightly
def test_bs20_ten_thousand_previews_change_nothing(filled_sheet: Any) -> None:
    look_ten(filled_sheet, 10_000)


def test_a_preview_that_writes_is_refused_by_the_database(
    filled_sheet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the very preview, with a write planted in it."""
    plain = mapping_sheet._judge

    def judge(*args: Any) -> Any:
        StockLevel.objects.update(reserved=0)
        return plain(*args)

    monkeypatch.setattr(mapping_sheet, "_judge", judge)
    with pytest.raises(DatabaseError, match="read-only"):
        mapping_sheet.plan(filled_sheet)
