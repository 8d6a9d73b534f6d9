"""Receiving, moving, correcting and counting by the pages the warehouse uses."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from inventory import adjustments, arrivals, counting, transfers
from inventory.adjustments import Kind
from inventory.models import Adjustment, Bin, BinPlace, Inbound, StockCount, Transfer
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.pipeline import stages
from tests.factories import SkuFactory, user_with
from tests.inventory.shelves import Shelves, by, ledger_red
from tests.pipeline.seller import draft, line, open_seller, take_one

pytestmark = pytest.mark.django_db


@pytest.fixture
def shelves() -> Shelves:
    return Shelves(10)


def browser(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return found[1]


def announced(shelves: Shelves, units: int = 10) -> Inbound:
    return arrivals.announce(
        shelves.room.pk, {shelves.sku.pk: units},
        expected_at=clock_now() + timedelta(days=1), **by(shelves.picker),
    )  # fmt: skip


# --- arrivals -------------------------------------------------------------------------------------


def test_an_arrival_is_announced_by_codes_and_barcodes(shelves: Shelves) -> None:
    other = SkuFactory.create(barcode="6901234567892")
    client = browser(shelves.picker)
    form = client.get(f"/stock/inbound/new/?sku={shelves.sku.code}&units=7").content.decode()
    assert f"{shelves.sku.code} 7" in form
    told = {
        "number": hidden(form, "number"), "room": shelves.room.pk, "expected": "2026-12-01",
        "goods": f"{shelves.sku.code}\t7\n6901234567892\n{other.barcode}\n",
    }  # fmt: skip
    first, second = (client.post("/stock/inbound/new/", told) for _ in range(2))
    assert first.status_code == 302
    assert first["Location"] == second["Location"]
    lines = Inbound.objects.get().lines.values_list("sku_id", "expected")
    assert dict(lines) == {shelves.sku.pk: 7, other.pk: 2}
    assert ledger_red() == set()


@pytest.mark.parametrize(
    ("goods", "words"),
    [
        ("", "请填写 1 到"),
        ("NO-SUCH 3", "第 1 行：没有编码或条码为 NO-SUCH 的货品"),
        ("{code} 0", "第 1 行：件数"),
        ("{code} -5", "第 1 行：件数"),
        ("{code} 2\n<script>", "第 2 行：没有编码或条码为 &lt;script&gt;"),
    ],
)
def test_what_cannot_be_read_is_told_by_its_line(shelves: Shelves, goods: str, words: str) -> None:
    told = {"room": shelves.room.pk, "expected": "2026-12-01",
            "goods": goods.format(code=shelves.sku.code)}  # fmt: skip
    answer = browser(shelves.picker).post("/stock/inbound/new/", told)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not Inbound.objects.exists()


@pytest.mark.parametrize("expected", ["", "2026-02-30", "soon"])
def test_an_arrival_needs_a_day(shelves: Shelves, expected: str) -> None:
    told = {"room": shelves.room.pk, "expected": expected, "goods": shelves.sku.code}
    answer = browser(shelves.picker).post("/stock/inbound/new/", told)
    assert answer.status_code == 422
    assert "请填写日期" in answer.content.decode()


def test_goods_are_received_and_a_second_click_is_told_so(shelves: Shelves) -> None:
    inbound = announced(shelves)
    client, address = browser(shelves.picker), f"/stock/inbound/{inbound.pk}/act/"
    pk = inbound.lines.get().pk
    told = {"verb": "receive", f"seen-{pk}": "0", f"good-{pk}": "6", f"defect-{pk}": "1"}
    assert client.post(address, told).status_code == 302
    again = client.post(address, told)
    assert again.status_code == 409
    assert "已被他人更新" in again.content.decode()
    assert shelves.figures() == {"on_hand": 16, "defect": 1, "inbound": 3}
    assert client.post(address, {"verb": "rest", f"seen-{pk}": "7"}).status_code == 302
    assert shelves.figures() == {"on_hand": 19, "defect": 1}
    page = client.get(f"/stock/inbound/{inbound.pk}/").content.decode()
    assert "按所填收货" not in page
    assert ledger_red() == set()


def test_what_was_typed_survives_a_refusal(shelves: Shelves) -> None:
    inbound = announced(shelves)
    pk = inbound.lines.get().pk
    told = {"verb": "receive", f"seen-{pk}": "0", f"good-{pk}": "12"}
    client, address = browser(shelves.picker), f"/stock/inbound/{inbound.pk}/act/"
    answer = client.post(address, told)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "比应到多 2 件" in page
    assert 'value="12"' in page
    assert client.post(address, told | {"surplus": "on"}).status_code == 302
    assert shelves.figures() == {"on_hand": 22}


def test_an_arrival_is_put_off_and_closed(shelves: Shelves) -> None:
    inbound = announced(shelves)
    client, address = browser(shelves.picker), f"/stock/inbound/{inbound.pk}/act/"
    put_off = {"verb": "reschedule", "expected": "2026-12-24", "reason": "船期延误"}
    assert client.post(address, put_off).status_code == 302
    inbound.refresh_from_db()
    assert f"{inbound.expected_at:%m-%d}" == "12-24"
    assert client.post(address, {"verb": "close", "reason": ""}).status_code == 422
    assert client.post(address, {"verb": "close", "reason": "供应商停产"}).status_code == 302
    assert shelves.figures() == {"on_hand": 10}


# --- transfers ------------------------------------------------------------------------------------


def test_a_transfer_goes_and_comes_by_the_pages(shelves: Shelves) -> None:
    client = browser(shelves.picker)
    told = {"source": shelves.room.pk, "target": shelves.other.pk,
            "goods": f"{shelves.sku.code} 4"}  # fmt: skip
    made = client.post("/stock/transfers/new/", told)
    transfer = Transfer.objects.get()
    assert made["Location"] == f"/stock/transfers/{transfer.pk}/"
    address = f"/stock/transfers/{transfer.pk}/act/"
    for _ in range(2):
        assert client.post(address, {"verb": "send"}).status_code == 302
    pk = transfer.lines.get().pk
    lost = {"verb": "receive", f"seen-{pk}": "0", f"received-{pk}": "3", f"lost-{pk}": "1"}
    assert client.post(address, lost).status_code == 422
    assert client.post(address, lost | {"reason": "破损"}).status_code == 302
    assert shelves.figures() == {"on_hand": 6}
    assert shelves.figures(shelves.other) == {"on_hand": 3}
    for page in ("/stock/transfers/", "/stock/transfers/?state=all", made["Location"]):
        assert client.get(page).status_code == 200
    assert ledger_red() == set()


def test_a_refused_transfer_names_the_orders(shelves: Shelves) -> None:
    order = shelves.order(8)
    transfer = transfers.draft(
        shelves.room.pk, shelves.other.pk, {shelves.sku.pk: 5}, **by(shelves.picker)
    )
    answer = browser(shelves.picker).post(f"/stock/transfers/{transfer.pk}/act/", {"verb": "send"})
    assert answer.status_code == 409
    assert order.number in answer.content.decode()


# --- corrections ----------------------------------------------------------------------------------


def test_a_form_sent_twice_corrects_once_and_shows_the_level(shelves: Shelves) -> None:
    client = browser(shelves.picker)
    query = f"?room={shelves.room.pk}&sku={shelves.sku.code}"
    form = client.get(f"/stock/adjust/{query}").content.decode()
    assert "空闲 <b>10</b>" in form
    told = {"key": hidden(form, "key"), "room": shelves.room.pk, "sku": shelves.sku.code,
            "kind": "gone", "units": "3", "reason": "货架破损"}  # fmt: skip
    for _ in range(2):
        assert client.post("/stock/adjust/", told).status_code == 302
    assert shelves.figures() == {"on_hand": 7}


def test_a_second_person_agrees_on_the_page(shelves: Shelves) -> None:
    asked = adjustments.adjust(
        shelves.room.pk, shelves.sku.pk, 90, Kind.FOUND, reason="漏登入库", **by(shelves.boss)
    )
    address = f"/stock/adjust/{asked.pk}/decide/"
    own = browser(shelves.boss).post(address, {"verb": "agree"})
    assert own.status_code == 403
    assert "自己提交" in own.content.decode()
    client = browser(shelves.second)
    assert "同意，生效" in client.get("/stock/adjust/").content.decode()
    for _ in range(2):
        assert client.post(address, {"verb": "agree"}).status_code == 302
    assert shelves.figures() == {"on_hand": 100}


def test_hostile_words_stay_words(shelves: Shelves) -> None:
    told = {"room": shelves.room.pk, "sku": shelves.sku.code, "kind": "gone", "units": "1",
            "reason": "<script>alert(1)</script>"}  # fmt: skip
    client = browser(shelves.picker)
    client.post("/stock/adjust/", told)
    page = client.get("/stock/adjust/").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert client.post("/stock/adjust/", told | {"reason": "\0\0"}).status_code == 422
    assert client.post("/stock/adjust/", told | {"units": "\uff11"}).status_code == 422
    assert Adjustment.objects.count() == 1


# --- counts ---------------------------------------------------------------------------------------


def test_a_count_is_blind_until_it_is_compared(shelves: Shelves) -> None:
    client = browser(shelves.picker)
    begun = client.post("/stock/counts/new/", {"room": shelves.room.pk})
    count = StockCount.objects.get()
    address = f"/stock/counts/{count.pk}/"
    assert begun["Location"] == address
    page = client.get(f"{address}?code={shelves.sku.code}").content.decode()
    assert shelves.sku.name in page
    assert "账面" not in page
    told = {"verb": "count", "sku": shelves.sku.code, "units": ""}
    assert client.post(f"{address}act/", told).status_code == 422
    assert client.post(f"{address}act/", told | {"units": "8"}).status_code == 302
    compared = client.get(f"{address}?compare=1").content.decode()
    assert "-2" in compared
    assert client.post(f"{address}act/", {"verb": "submit", "compare": "1"}).status_code == 302
    assert shelves.figures() == {"on_hand": 8}
    done = client.get("/stock/counts/").content.decode()
    assert "80.0%" in done  # 1 - 2/10
    assert "0.0%" in done  # of one SKU none was exact


def test_a_large_difference_is_agreed_to_by_somebody_else(shelves: Shelves) -> None:
    count = counting.open_count(shelves.room.pk, None, **by(shelves.boss))
    counting.count_sku(count.pk, shelves.sku.pk, 100, **by(shelves.boss))
    counting.submit(count.pk, **by(shelves.boss))
    address = f"/stock/counts/{count.pk}/"
    assert "同意" not in browser(shelves.boss).get(address).content.decode()
    own = browser(shelves.boss).post(f"{address}act/", {"verb": "approve"})
    assert own.status_code == 403
    assert "同意" in browser(shelves.second).get(address).content.decode()
    agreed = browser(shelves.second).post(f"{address}act/", {"verb": "approve"})
    assert agreed.status_code == 302
    assert shelves.figures() == {"on_hand": 100}


def test_a_refused_count_names_the_orders_and_may_leave_the_line_out(shelves: Shelves) -> None:
    order = shelves.order(9)
    count = counting.open_count(shelves.room.pk, None, **by(shelves.picker))
    counting.count_sku(count.pk, shelves.sku.pk, 5, **by(shelves.picker))
    client, address = browser(shelves.picker), f"/stock/counts/{count.pk}/act/"
    refused = client.post(address, {"verb": "submit", "compare": "1"})
    assert refused.status_code == 409
    assert order.number in refused.content.decode()
    pk = count.lines.get().pk
    assert client.post(address, {"verb": "leave_out", "line": pk}).status_code == 302


# --- bins -----------------------------------------------------------------------------------------


def test_the_picker_is_shown_the_bins_in_the_order_of_his_way() -> None:
    seller = open_seller()
    order = take_one(seller.shop, draft(line("LAMP"), line("RUG"), line("SOFA")))
    warehouse = seller.near.warehouse
    for turn, (code, sku) in enumerate((("C-01", "SOFA"), ("A-01", "RUG"), ("A-02", "RUG"))):
        place = Bin.objects.create(warehouse=warehouse, code=code, walk_order=turn)
        BinPlace.objects.create(bin=place, sku=seller.skus[sku])
    boss = user_with(Role.WAREHOUSE_SUPERVISOR)
    task = stages.tasks_for(boss).get(order=order, stage="pick")
    page = browser(boss).get(f"/work/{task.pk}/").content.decode()
    at = [page.index(word) for word in ("C-01", "<b>SOFA", "A-01、A-02", "<b>RUG", "<b>LAMP")]
    assert at == sorted(at)
