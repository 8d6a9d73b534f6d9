"""The books are laid open whole, exactly, and without being made anew each time."""

from typing import Any

from ordercenter.sandbox.book import DONE, Order, Refund, Shipment
from ordercenter.sandbox.rendered import Rendered
from tests.sandbox.callers import Bench, Clock


def ledger(bench: Bench, shop: str, **params: str) -> dict[str, Any]:
    told: dict[str, Any] = bench.http.get("/book/ledger", shop=shop, **params).json()
    return told


def writes(bench: Bench, **params: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = bench.http.get("/book/writes", **params).json()["writes"]
    return told


def test_the_ledger_tells_of_every_order_what_two_books_are_compared_by(bench: Bench) -> None:
    bench.sell_paid("TB01", 2)
    order = bench.sell_paid("TB01")[0]
    bench.control("refund", shop="TB01", number=order.number)
    bench.control("address", shop="TB01", number=order.number)
    bench.book.write_memo(order, "加急", 3)
    bench.book.ship(order, Shipment("SF", "SF1", [order.lines[0].line_id], bench.clock.now))
    told = ledger(bench, "TB01")
    assert len(told["orders"]) == 3
    (row,) = [row for row in told["orders"] if row["number"] == order.number]
    assert row["lines"] == [
        {
            "line_id": line.line_id,
            "sku_id": line.platform_sku_id,
            "outer_code": line.outer_code,
            "quantity": line.quantity,
            "amount_fen": line.amount_fen,
            "is_gift": line.is_gift,
        }
        for line in order.lines
    ]
    assert row["open_refunds"] == [refund.refund_id for refund in order.open_refunds()]
    assert [parcel["tracking_number"] for parcel in row["shipments"]] == ["SF1"]
    assert (row["memo"], row["flag"], row["address_version"]) == ("加急", 3, 2)
    assert (row["payable_fen"], row["paid_fen"]) == (order.payable_fen, order.paid_fen)


def test_the_ledger_can_be_read_from_a_moment_on_and_sees_every_change(bench: Bench) -> None:
    old, new = bench.sell_paid("JD01", 2)
    assert ledger(bench, "JD01")["orders"][0]["memo"] == ""
    since = str(bench.clock.now + 1)
    bench.clock.pass_by(5)
    bench.book.write_memo(new, "改过")
    assert [row["memo"] for row in ledger(bench, "JD01", since=since)["orders"]] == ["改过"]
    assert {row["number"] for row in ledger(bench, "JD01")["orders"]} == {old.number, new.number}
    assert bench.http.get("/book/ledger", shop="XX").status_code == 409


def test_the_ledger_shows_the_stock_of_a_shop_as_it_was_sold_and_told(bench: Bench) -> None:
    first = ledger(bench, "TB01")["stock"]
    order = next(o for o in bench.sell_paid("TB01", 9) if o.lines[0].platform_sku_id)
    code = order.lines[0].platform_sku_id or ""
    assert ledger(bench, "TB01")["stock"][code] < first[code]
    assert first.keys() == {r.platform_sku_id or r.outer_code for r in bench.shop("TB01").listed}


def test_a_body_is_made_once_for_each_version_of_its_order(bench: Bench) -> None:
    made: list[str] = []

    def make(_: object, order: Order) -> dict[str, Any]:
        made.append(order.number)
        return {"memo": order.memo}

    order, bodies = bench.sell_paid("TB01")[0], Rendered(make)
    shop = bench.shop("TB01")
    assert [bodies.of(shop, order) for _ in range(3)] == [{"memo": ""}] * 3
    bench.book.write_memo(order, "新")
    assert [bodies.of(shop, order) for _ in range(3)] == [{"memo": "新"}] * 3
    assert len(made) == 2


def test_a_write_that_took_effect_twice_under_one_key_shows(bench: Bench) -> None:
    one, two = bench.sell_paid("TB01", 2)
    for _ in range(2):
        bench.book.ship(one, Shipment("SF", "SF1", [], bench.clock.now))
        bench.book.wrote("TB01", "stop", "77", key="stopped/", effect=True)
    bench.book.ship(two, Shipment("SF", "SF2", [], bench.clock.now))
    (parcel,) = [row for row in writes(bench, kind="ship") if row["subject"] == one.number]
    assert (parcel["asked"], parcel["effects"]) == (2, 1)
    assert [row["subject"] for row in writes(bench, twice="1")] == ["77"]
    assert len(writes(bench, shop="TB01", kind="ship")) == 2
    assert writes(bench, shop="JD01") == []


def test_the_tally_of_writes_and_the_parcels_survive_a_restart(tmp_path: Any) -> None:
    before = Bench(data_dir=tmp_path)
    order = before.sell_paid("TB01")[0]
    before.book.ship(order, Shipment("SF", "SF1", [], before.clock.now))
    tally = writes(before)
    before.book.close()
    after = Bench(data_dir=tmp_path)
    assert writes(after) == tally
    found = after.book.of_parcel("SF1")
    assert found is not None
    assert found.number == order.number
    after.book.close()


def test_an_answer_to_stop_a_parcel_counts_once_and_brings_the_money_back(bench: Bench) -> None:
    order = bench.sell_paid("PD01")[0]
    bench.control("refund", shop="PD01", number=order.number)
    (refund,) = order.refunds
    bench.book.answer_stop(order, refund, stopped=False, reason="1003")
    assert (refund.state, order.state) == ("asked", "wait_ship")
    for _ in range(2):
        bench.book.answer_stop(order, refund, stopped=True)
    assert (refund.state, order.state) == (DONE, "closed_refunded")
    assert [(stop["stopped"], stop["reason"]) for stop in order.stops] == [
        (False, "1003"),
        (True, ""),
    ]
    (row,) = [row for row in ledger(bench, "PD01")["orders"] if row["number"] == order.number]
    assert len(row["stops"]) == 2


def test_orders_are_found_by_creation_payment_and_refund_without_looking_at_all(
    bench: Bench,
) -> None:
    orders = bench.sell_paid("TB01", 5)
    third = orders[2]
    assert bench.book.created("TB01", third.created, third.created) == [third]
    assert third.paid is not None
    assert third in bench.book.paid("TB01", third.paid, third.paid)
    now = bench.clock.now
    line = third.lines[0]
    refund = Refund("2699", line.line_id, line.amount_fen, "asked", now, now)
    bench.book.ask_refund(third, refund)
    assert bench.book.refund("TB01", "2699") == (third, refund)
    assert bench.book.refunds("TB01", now, now) == [(third, refund)]
    bench.clock.pass_by(20)
    bench.book.settle_refund(third, refund, "withdrawn")
    assert bench.book.refunds("TB01", now, now) == []
    assert bench.book.refunds("TB01", now + 20, now + 20) == [(third, refund)]
    assert bench.book.refund("TB01", "1") is None


def test_an_unpaid_order_is_not_among_the_paid_until_it_pays() -> None:
    bench = Bench(clock=Clock())
    order = bench.sell_paid("TB01")[0]
    order.state, order.paid = "wait_pay", None
    bench.book.touch(order)
    assert bench.book.paid("TB01", 0, bench.clock.now) == []
    bench.clock.pass_by(60)
    bench.book.pay(order)
    assert bench.book.paid("TB01", bench.clock.now, bench.clock.now) == [order]
    bench.book.close()


def test_only_pushes_that_were_taken_are_acknowledged(bench: Bench) -> None:
    facts = {"shop": "SH01", "number": "6001", "topic": "orders/create", "id": "e1"}
    bench.book.record("push", {**facts, "attempts": 1, "taken": True, "status": 200})
    bench.book.record("push", {**facts, "id": "e2", "attempts": 6, "taken": False, "status": 503})
    (row,) = bench.http.get("/book/acked").json()["acked"]
    assert (row["event_id"], row["number"], row["shop"]) == ("e1", "6001", "SH01")
    assert bench.http.get("/book/acked", shop="TB01").json() == {"acked": []}
