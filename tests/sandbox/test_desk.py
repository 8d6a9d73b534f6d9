"""The desk makes things happen, lines break as ordered, and nothing is lost by a restart."""

import json
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from ordercenter.sandbox.book import CLOSED_REFUNDED, CLOSED_UNPAID, WAIT_SHIP, Shipment
from ordercenter.sandbox.words import PLATFORM_ERRORS, THROTTLES
from tests.sandbox.callers import VECTORS, Bench, Clock

PAYLOADS = VECTORS.parent / "payloads"
PATHS = {
    "taobao": "/taobao/router/rest",
    "jd": "/jd/routerjson",
    "pinduoduo": "/pinduoduo/api/router",
}


def test_what_is_sold_on_demand_is_clean_and_listed(bench: Bench) -> None:
    sold = bench.control("sell", count=3, shop="TB01")["orders"]
    assert [(row["shop"], row["kinds"], row["cluster"]) for row in sold] == [("TB01", [], "")] * 3
    told = bench.http.get("/book/orders", shop="TB01").json()["orders"]
    assert {row["number"] for row in told} == {row["number"] for row in sold}
    assert bench.http.get("/book/summary").json()["by_shop"] == {"TB01": 3}


def test_given_orders_for_one_thing_are_placed_at_a_given_shop(bench: Bench) -> None:
    sold = bench.control("sell", count=3, shop="JD01", code="JZ-1117", pieces=2)["orders"]
    assert len({row["number"] for row in sold}) == 3
    placed = bench.http.get("/book/orders", shop="JD01").json()["orders"]
    assert [(o["lines"][0]["sku_code"], o["lines"][0]["quantity"]) for o in placed] == [
        ("JZ-1117", 2)
    ] * 3
    assert {(o["state"], len(o["lines"])) for o in placed} == {(WAIT_SHIP, 1)}
    assert len({o["buyer"]["id"] for o in placed if o["buyer"].get("id")}) in {0, 3}


def test_what_a_shop_does_not_offer_is_not_sold(bench: Bench) -> None:
    assert "error" in bench.control("sell", shop="JD01", code="NO-SUCH")
    assert "error" in bench.control("sell", shop="JD01", code="JZ-1117", pieces=0)
    assert bench.http.get("/book/summary").json()["orders"] == 0


def test_cancelling_closes_an_unpaid_order_and_pays_a_paid_one_back(bench: Bench) -> None:
    unpaid, paid = bench.sell_paid("TB01", 2)
    unpaid.state, unpaid.paid = "wait_pay", None
    for order in (unpaid, paid):
        bench.control("cancel", shop="TB01", number=order.number)
    assert (unpaid.state, paid.state) == (CLOSED_UNPAID, CLOSED_REFUNDED)
    assert "error" in bench.control("cancel", shop="TB01", number=paid.number)


def test_paying_on_demand_pays(bench: Bench) -> None:
    order = bench.sell_paid("JD01")[0]
    order.state, order.paid, order.paid_fen = "wait_pay", None, 0
    bench.clock.pass_by(9)
    bench.control("pay", shop="JD01", number=order.number)
    told = bench.http.get("/book/order", shop="JD01", number=order.number).json()
    assert (told["state"], told["paid"], told["paid_fen"]) == (
        WAIT_SHIP,
        bench.clock.now,
        order.payable_fen,
    )
    assert "error" in bench.control("pay", shop="JD01", number=order.number)


def test_a_still_market_keeps_its_appointments_for_later(bench: Bench) -> None:
    bench.control("sell", count=40, trouble="refund_before_ship", at_once=False)
    bench.control("rate", rate=5, still=True)
    before = bench.book.count()
    bench.clock.pass_by(600)
    bench.market.tick()
    assert bench.book.count() == before
    assert not any(order.refunds for order in bench.book.all_orders())
    bench.control("rate", rate=0, still=False)
    bench.market.tick()
    assert any(order.refunds for order in bench.book.all_orders())


def test_a_new_address_is_refused_once_the_parcel_has_gone(bench: Bench) -> None:
    order = bench.sell_paid("TB01")[0]
    old = order.receiver.address
    assert bench.control("address", shop="TB01", number=order.number)["receiver"]["address"] != old
    bench.book.ship(order, Shipment("SF", "SF0000000000001", [], bench.clock.now))
    assert "error" in bench.control("address", shop="TB01", number=order.number)


def test_nonsense_at_the_desk_is_refused_in_words(bench: Bench) -> None:
    assert "没有店铺" in bench.control("sell", shop="XX")["error"]
    assert "没有订单" in bench.control("pay", shop="TB01", number="1")["error"]
    assert bench.http.post("/control/sell", json=[1]).status_code == 409
    assert bench.http.post("/control/sell", json={"count": "x"}).status_code == 400
    assert "error" in bench.control("fault", platform="taobao", kind="flood")
    assert "error" in bench.control("rate", rate=-1)


@pytest.mark.parametrize("platform", sorted(PATHS))
def test_ordered_faults_are_served_one_call_each_and_then_it_works_again(
    bench: Bench, platform: str
) -> None:
    kinds = ["error5xx", "html_200", "platform_error", "throttle"]
    for kind in kinds:
        bench.control("fault", platform=platform, kind=kind, count=1)
    answers = [bench.http.post(PATHS[platform], data={"format": "json"}) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [503, 200, 200, 200, 200]
    assert "html" in answers[1].headers["content-type"]
    assert answers[2].json() == PLATFORM_ERRORS[platform]
    assert answers[3].json() == THROTTLES[platform]
    fresh = answers[4].json()["error_response"]
    assert str(fresh.get("code") or fresh.get("error_code")) in {"40", "14", "10001"}


CAPTURED = {
    "taobao": ("taobao/error_remote_timeout", "taobao/error_call_limited"),
    "jd": ("jd/error_backend_unavailable", "jd/error_call_limited"),
    "douyin": ("douyin/error_service_unavailable", "douyin/error_rate_limited"),
    "pinduoduo": ("pinduoduo/error_internal", "pinduoduo/error_too_frequent"),
    "shopify": (None, "shopify/error_throttled"),
    "miniprogram": ("wechat/error_busy", "wechat/error_freq_limit"),
}
TRACES = {"request_id", "log_id"}  # every call has its own


def plain(said: dict[str, Any]) -> dict[str, Any]:
    inner = said.get("error_response", said)
    return {name: value for name, value in inner.items() if name not in TRACES}


@pytest.mark.parametrize("platform", sorted(CAPTURED))
def test_the_faults_of_a_platform_are_the_captured_ones(platform: str) -> None:
    for said, name in zip((PLATFORM_ERRORS, THROTTLES), CAPTURED[platform], strict=True):
        if name is not None:
            captured = json.loads((PAYLOADS / f"{name}.json").read_text(encoding="utf-8"))
            assert plain(said[platform]) == plain(captured)


def test_the_faults_of_the_courier_are_the_captured_ones() -> None:
    path = PAYLOADS / "carriers" / "sf_gateway_errors.json"
    captured = json.loads(path.read_text(encoding="utf-8"))["responses"]
    for said, code in ((PLATFORM_ERRORS, "A1099"), (THROTTLES, "A1005")):
        theirs = captured[code]["json"] | {"apiResponseID": said["sf"]["apiResponseID"]}
        assert said["sf"] == theirs


def test_half_a_body_is_the_true_answer_cut_and_a_write_has_taken_effect(bench: Bench) -> None:
    order = bench.sell_paid("TB01")[0]
    bench.control("fault", platform="taobao", kind="half_body", count=1)
    with pytest.raises(json.JSONDecodeError):
        bench.top(
            "taobao.logistics.offline.send", tid=order.number, out_sid="SF1", company_code="SF"
        )
    assert [parcel.tracking_number for parcel in order.shipments] == ["SF1"]


def test_one_platform_breaks_alone(bench: Bench) -> None:
    bench.control("fault", platform="jd", kind="error5xx", count=9)
    now = bench.clock.now
    assert "error_response" not in bench.trades(now - 60, now)
    assert bench.control("fault", kind="none") == {"due": {}, "weather": []}
    assert "error_response" not in bench.jd_search(now - 60, now)


def test_a_restarted_sandbox_has_the_same_book(tmp_path: Path) -> None:
    clock = Clock()
    before = Bench(data_dir=tmp_path, clock=clock, rate=1.0, trouble=0.3)
    for _ in range(200):
        clock.pass_by(1)
        before.market.tick()
    order = before.sell_paid("TB01")[0]
    before.book.ship(order, Shipment("SF", "SF0000000000001", [], clock.now))
    waiting = before.market.sell("duplicate", shop="JD01")[1]
    facts = [asdict(order) for order in before.book.all_orders()]
    records = dict(before.book.records)
    before.book.close()
    after = Bench(data_dir=tmp_path, clock=clock, rate=1.0, trouble=0.3)
    assert [asdict(order) for order in after.book.all_orders()] == facts
    assert dict(after.book.records) == records
    start = clock.now - 300
    assert [o.number for o in after.book.changed("TB01", start, clock.now)] == [
        o.number for o in after.book.orders("TB01")
    ]
    # Appointments are kept, and new buyers are new.
    for _ in range(240):
        clock.pass_by(1)
        after.market.tick()
    assert after.book.get("JD01", waiting.number) is not None
    buyers = [o.buyer.buyer_id for o in after.book.all_orders() if not o.cluster]
    assert len(buyers) == len(set(buyers))
    after.book.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def started(port: int, data_dir: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "ordercenter.sandbox", "--port", str(port), "--rate", "0",
        "--data-dir", str(data_dir), "--center", "http://127.0.0.1:9",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(100):
        try:
            httpx.get(f"http://127.0.0.1:{port}/book/summary", timeout=1)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return process
    process.kill()
    pytest.fail("the sandbox did not start within 10 s")


def test_the_program_serves_falls_silent_when_told_and_stops_on_request(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = started(port, tmp_path)
    try:
        httpx.post(f"{url}/control/sell", json={"count": 5})
        httpx.post(f"{url}/control/fault", json={"platform": "jd", "kind": "silence"})
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/jd/routerjson", timeout=0.5)
        assert httpx.post(f"{url}/jd/routerjson").json()["error_response"]["code"] == "14"
        second = subprocess.run(
            [sys.executable, "-m", "ordercenter.sandbox", "--port", str(port),
             "--data-dir", str(tmp_path / "second")],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert (second.returncode, second.stdout) == (1, "")
        assert "--port" in second.stderr
    finally:
        process.terminate()
        assert process.wait(timeout=15) in {0, -signal.SIGTERM}
    process = started(port, tmp_path)
    try:
        assert httpx.get(f"{url}/book/summary").json()["orders"] == 5
    finally:
        process.terminate()
        process.wait(timeout=15)
