"""Figures of a warehouse of others over the wire: row by row, once, of its own shelves only."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from channels_sync.models import ApiToken
from inventory import services as inventory
from inventory import statements
from inventory.models import (
    Adjustment,
    Reservation,
    StockFile,
    StockLevel,
    StockMovement,
    StockPolicy,
    ToldFigure,
    VirtualWarehouse,
    Warehouse,
)
from ordercenter.audit.models import AuditRecord
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role, Scope
from ordercenter.notices.models import Notice
from tests.api.recording import STOCK, sums
from tests.api.test_orders import refused
from tests.factories import (
    ReservationFactory,
    RobotFactory,
    SkuFactory,
    VirtualWarehouseFactory,
    WarehouseFactory,
    key_for,
    user_with,
)

pytestmark = pytest.mark.django_db
URL = "/api/stock-figures/"


@pytest.fixture
def cloud() -> VirtualWarehouse:
    """A room of a warehouse of others, with 12 sofas and 5 rugs."""
    place = WarehouseFactory.create(kind=Warehouse.Kind.THIRD_PARTY)
    room: VirtualWarehouse = VirtualWarehouseFactory.create(code="CLOUD", warehouse=place)
    goods = {code: SkuFactory.create(code=code).pk for code in ("SOFA", "RUG", "VASE")}
    shelf = [(room.pk, goods["SOFA"], 12), (room.pk, goods["RUG"], 5)]
    inventory.receive(shelf, actor=PIPELINE, now=clock_now() - timedelta(hours=3))
    return room


@pytest.fixture
def api(cloud: VirtualWarehouse) -> Client:
    """The warehouse's own system, with its own warehouse and no other."""
    key = key_for(user_with(Role.PARTNER, username="cloud"), Scope.STOCK_FIGURES, all_shops=False)
    ApiToken.objects.get().warehouses.add(cloud.warehouse)
    return Client(headers={"Authorization": f"Token {key}"})


def ago(minutes: float) -> str:
    return (clock_now() - timedelta(minutes=minutes)).isoformat()


def tell(api: Client, rows: Any, **changes: Any) -> Any:
    body = {"reference": "T-1", "warehouse": "CLOUD", "as_of": ago(10), "rows": rows, **changes}
    return api.post(URL, body, content_type="application/json")


def row(sku: Any, units: Any) -> dict[str, Any]:
    return {"sku": sku, "units": units}


def on_hand(code: str) -> int:
    return StockLevel.objects.get(sku__code=code).on_hand


def outcomes(answer: Any) -> list[tuple[str, str]]:
    return [(one["sku"], one["outcome"]) for one in answer.json()["rows"]]


def test_the_difference_to_the_books_of_that_moment_is_applied(
    api: Client, cloud: VirtualWarehouse
) -> None:
    """What came and what was promised since is no difference."""
    sofa = StockLevel.objects.get(sku__code="SOFA")
    inventory.receive([(cloud.pk, sofa.sku_id, 4)], actor=PIPELINE)
    answer = tell(api, [row("SOFA", 10), row("RUG", 5), row("VASE", 3)])
    assert answer.status_code == 201, answer.content
    assert outcomes(answer) == [("SOFA", "applied"), ("RUG", "same"), ("VASE", "applied")]
    assert answer.json()["rows"][0]["book"] == 12
    assert {code: on_hand(code) for code in ("SOFA", "RUG", "VASE")} == {
        "SOFA": 14, "RUG": 5, "VASE": 3,
    }  # fmt: skip
    moved = StockMovement.objects.filter(reason="statement")
    assert set(moved.values_list("level__sku__code", "quantity")) == {("SOFA", 2), ("VASE", 3)}
    assert set(moved.values_list("actor", flat=True)) == {"token:cloud"}
    kept = AuditRecord.objects.get(object_type="stock_file")
    assert (kept.actor_kind, kept.change["reference"], kept.change["made"]) == ("token", "T-1", 2)


def test_the_same_again_is_answered_as_it_was_and_changes_nothing(api: Client) -> None:
    body = {"as_of": ago(10), "rows": [row("SOFA", 10), row("NONE", 1)]}
    first = tell(api, **body)
    before = sums(*STOCK)
    again = tell(api, **body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert sums(*STOCK) == before
    assert StockFile.objects.count() == 1
    other = tell(api, [row("SOFA", 11)], as_of=body["as_of"])
    refused(other, "reference_used", 409)
    assert sums(*STOCK) == before


def test_bad_rows_are_refused_in_words_and_the_good_ones_are_taken(api: Client) -> None:
    RobotFactory.create()
    entries = [
        row("SOFA", 11), row("NONE", 1), row("RUG", -1), row("RUG", "5"), row("RUG", 5.0),
        row("RUG", True), row("", 3), row(7, 3), {"sku": "RUG"}, "RUG", row("VASE", 1_000_001),
        {"sku": "RUG", "units": 1, "state": "applied"}, row("RUG", None),
    ]  # fmt: skip
    answer = tell(api, entries)
    assert answer.status_code == 201
    assert (answer.json()["applied"], answer.json()["refused"]) == (1, len(entries) - 1)
    assert all(one["message"] for one in answer.json()["rows"][1:])
    assert (on_hand("SOFA"), on_hand("RUG")) == (11, 5)
    assert "没有货品 NONE" in Notice.objects.get().text


def test_a_sign_no_code_can_have_makes_the_body_unreadable(api: Client) -> None:
    assert tell(api, [row("SOFA", 1), row("RUG\0", 2)]).status_code == 400
    assert not StockFile.objects.exists()


def test_a_sku_named_twice_is_refused_whatever_its_rows_say(api: Client) -> None:
    answer = tell(api, [row("SOFA", 10), row("SOFA", 10), row("RUG", 4)])
    assert outcomes(answer) == [("SOFA", "refused"), ("SOFA", "refused"), ("RUG", "applied")]
    assert on_hand("SOFA") == 12


def test_a_big_jump_waits_for_a_second_person(api: Client) -> None:
    limit = StockPolicy.current().two_person_units
    answer = tell(api, [row("SOFA", 12 + limit + 1), row("RUG", 5 + limit)])
    assert outcomes(answer) == [("SOFA", "waits"), ("RUG", "applied")]
    assert on_hand("SOFA") == 12
    assert Adjustment.objects.get(state="waiting").delta == limit + 1
    # While it waits, a further figure that differs would count the same difference twice.
    later = tell(api, [row("SOFA", 40), row("RUG", 5 + limit)], reference="T-2", as_of=ago(1))
    assert outcomes(later) == [("SOFA", "refused"), ("RUG", "same")]


def test_bs12_what_is_promised_is_not_taken_away(api: Client) -> None:
    RobotFactory.create()
    level = StockLevel.objects.get(sku__code="RUG")
    ReservationFactory.create(level=level, quantity=4)
    StockLevel.objects.filter(pk=level.pk).update(reserved=4)
    answer = tell(api, [row("RUG", 2), row("SOFA", 11)])
    assert outcomes(answer) == [("RUG", "refused"), ("SOFA", "applied")]
    assert "只有 1 件未占用" in answer.json()["rows"][0]["message"]
    assert on_hand("RUG") == 5
    assert Reservation.objects.get().state == "active"
    assert "RUG" in Notice.objects.get().text


def test_bs17_what_is_older_than_what_is_known_of_a_sku_is_refused(api: Client) -> None:
    assert tell(api, [row("SOFA", 10)], as_of=ago(5)).status_code == 201
    answer = tell(api, [row("SOFA", 12), row("RUG", 4)], reference="T-2", as_of=ago(6))
    assert outcomes(answer) == [("SOFA", "refused"), ("RUG", "applied")]
    assert "只接受更新的" in answer.json()["rows"][0]["message"]
    assert (on_hand("SOFA"), on_hand("RUG")) == (10, 4)
    known = dict(ToldFigure.objects.values_list("level__sku__code", "units"))
    assert known == {"SOFA": 10, "RUG": 4}


def test_a_large_stock_is_told_in_parts_of_one_moment(api: Client) -> None:
    moment = ago(10)
    assert tell(api, [row("SOFA", 11)], as_of=moment).status_code == 201
    second = tell(api, [row("RUG", 4)], as_of=moment, reference="T-2")
    assert outcomes(second) == [("RUG", "applied")]


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": []}, {"rows": {}}, {"rows": [row("SOFA", 1)] * 2001}, {"reference": ""},
        {"reference": "x" * 81}, {"reference": 7}, {"reference": "a\nb"}, {"as_of": "yesterday"},
        {"as_of": "2026-11-23T08:00:00"}, {"as_of": 0}, {"as_of": "2099-01-01T00:00:00+08:00"},
        {"as_of": "2001-01-01T00:00:00+08:00"}, {"warehouse": None}, {"is_staff": True},
    ],
)  # fmt: skip
def test_a_body_that_is_none_is_refused_whole(api: Client, changes: dict[str, Any]) -> None:
    before = sums(*STOCK)
    answer = tell(api, **{"rows": [row("SOFA", 11)], **changes})
    refused(answer, "invalid_input", 422)
    assert sums(*STOCK) == before
    assert not StockFile.objects.exists()


def test_other_warehouses_do_not_exist_for_it_nor_our_own(
    api: Client, cloud: VirtualWarehouse
) -> None:
    foreign = WarehouseFactory.create(kind=Warehouse.Kind.DROP_SHIP)
    VirtualWarehouseFactory.create(code="FOREIGN", warehouse=foreign)
    for code in ("FOREIGN", "NOWHERE", "' OR 1=1"):
        refused(tell(api, [row("SOFA", 1)], warehouse=code), "not_found", 404)
    Warehouse.objects.filter(pk=cloud.warehouse_id).update(kind=Warehouse.Kind.OWN)
    refused(tell(api, [row("SOFA", 1)]), "not_found", 404)
    Warehouse.objects.filter(pk=cloud.warehouse_id).update(
        kind=Warehouse.Kind.DROP_SHIP, is_active=False
    )
    refused(tell(api, [row("SOFA", 1)]), "not_found", 404)


def test_neither_a_session_nor_another_token_tells_figures(cloud: VirtualWarehouse) -> None:
    RobotFactory.create()
    browser = Client()
    browser.force_login(user_with(Role.PARTNER, username="p"))
    assert tell(browser, [row("SOFA", 1)]).status_code == 401
    for role, scopes in ((Role.PARTNER, [Scope.STOCK_READ]), (Role.PICKER, [Scope.STOCK_FIGURES])):
        key = key_for(user_with(role), *scopes)
        ApiToken.objects.latest("pk").warehouses.add(cloud.warehouse)
        client = Client(headers={"Authorization": f"Token {key}"})
        refused(tell(client, [row("SOFA", 1)]), "permission_denied", 403)
    assert on_hand("SOFA") == 12


def test_the_stock_pages_show_what_was_told_when_by_whom_and_whether_it_is_old(
    api: Client, cloud: VirtualWarehouse
) -> None:
    tell(api, [row("SOFA", 11), row("NONE", 1)])
    desk = Client()
    desk.force_login(user_with(Role.WAREHOUSE_SUPERVISOR))
    sku = StockLevel.objects.get(sku__code="SOFA").sku
    for address in ("/stock/", f"/stock/{sku.pk}/"):
        text = desk.get(address).content.decode()
        assert "11 件" in text
        assert "接口" in text
        assert "报数过时" not in text
    sheet = desk.get("/stock/sheet/").content.decode()
    assert "1 行未采用" in sheet
    assert "没有货品 NONE" in sheet
    ToldFigure.objects.update(as_of=clock_now() - timedelta(hours=25))
    StockFile.objects.update(as_of=clock_now() - timedelta(hours=25))
    assert "报数过时" in desk.get("/stock/").content.decode()
    assert "报数过时" in desk.get(f"/stock/{sku.pk}/").content.decode()


def test_what_is_told_by_table_counts_as_told_too(cloud: VirtualWarehouse) -> None:
    statements.apply(
        cloud.pk, {StockLevel.objects.get(sku__code="SOFA").sku_id: 11},
        as_of=clock_now() - timedelta(minutes=5), digest="d", actor=PIPELINE,
        user=user_with(Role.WAREHOUSE_SUPERVISOR),
    )  # fmt: skip
    told = ToldFigure.objects.get()
    assert (told.units, told.file.source) == (11, "sheet")
