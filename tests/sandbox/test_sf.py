"""SF's stand-in: one key, one number; parcels that travel, turn back, and are told of."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ordercenter.sandbox.book import FINISHED, SHIPPED, Book, Order, Shipment
from ordercenter.sandbox.couriers import sf as platform
from tests.sandbox.callers import Bench, Clock
from tests.sandbox.wires import Center, call, gaps, pusher_of, sample, sf, sf_inner, vector

CREATE, SEARCH = "EXP_RECE_CREATE_ORDER", "EXP_RECE_SEARCH_ORDER_RESP"
UPDATE, ROUTES = "EXP_RECE_UPDATE_ORDER", "EXP_RECE_SEARCH_ROUTES"
INTERCEPT = "EXP_RECE_WANTED_INTERCEPT"
WAY = ["50", "30", "31", "44", "80", "8000"]


def message(order_id: str = "OC-1", **changed: Any) -> dict[str, Any]:
    """The captured order, under another key."""
    facts: dict[str, Any] = sample("carriers/sf_create_order.json")["request"]["msgData_decoded"]
    return facts | {"orderId": order_id} | changed


def waybill(bench: Bench, order_id: str = "OC-1", **changed: Any) -> str:
    told = sf_inner(bench, CREATE, message(order_id, **changed))["msgData"]
    return str(told["waybillNoInfoList"][0]["waybillNo"])


def routes(bench: Bench, number: str, **changed: Any) -> list[dict[str, Any]]:
    wish = {
        "language": "0",
        "trackingType": "1",
        "trackingNumber": [number],
        "methodType": "1",
        "checkPhoneNo": "0001",
    }
    told = sf_inner(bench, ROUTES, wish | changed)["msgData"]["routeResps"]
    found: list[dict[str, Any]] = told[0]["routes"]
    return found


def codes(rows: list[Mapping[str, Any]] | list[dict[str, Any]]) -> list[str]:
    return [row["opCode"] for row in rows]


def shipped(bench: Bench, number: str) -> Order:
    """An order of the mini-program shop that its platform believes gone under ``number``."""
    order = bench.sell_paid("MP01")[0]
    bench.book.ship(order, Shipment("SF", number, [], bench.clock.now))
    return order


def intercept(bench: Bench, number: str, **changed: str) -> dict[str, Any]:
    facts = sample("carriers/sf_intercept.json")["requests"]["return_to_sender"]
    return sf_inner(bench, INTERCEPT, facts["msgData_decoded"] | {"waybillNo": number} | changed)


# Getting in


@pytest.mark.parametrize(
    "vector_id",
    ["sf-msgdigest-plain", "sf-msgdigest-encoder-trap", "sf-msgdigest-routes-seconds-ts"],
)
def test_the_digest_is_that_of_java(vector_id: str) -> None:
    facts = vector(vector_id)
    given = platform.msg_digest(
        facts["inputs"]["msgData"], facts["inputs"]["timestamp"], facts["secret"]
    )
    assert given == facts["expected_signature"]
    wrong = facts.get("other_encoders", {}) | facts.get("wrong_values", {})
    assert given not in wrong.values()


def test_the_captured_request_is_signed_as_the_gateway_expects() -> None:
    form = sample("carriers/sf_create_order.json")["request"]["form"]
    checkword = sample("carriers/_sandbox_credentials.json")["credentials"]["sf"]["checkword"]
    assert platform.msg_digest(form["msgData"], form["timestamp"], checkword) == form["msgDigest"]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"msgDigest": "AAAAAAAAAAAAAAAAAAAAAA=="}, "A1006"),
        ({"partnerID": "SOMEBODY"}, "A1004"),
        ({"serviceCode": "EXP_RECE_UNKNOWN"}, "A1004"),
        ({"requestID": ""}, "A1001"),
        ({"timestamp": "1772320000000"}, "A1002"),
    ],
)
def test_the_gateway_refuses_in_its_own_words(
    bench: Bench, changed: dict[str, str], code: str
) -> None:
    said = sf(bench, CREATE, message(), **changed)
    wanted = sample("carriers/sf_gateway_errors.json")["responses"][code]["json"]
    assert {k: v for k, v in said.items() if k != "apiResponseID"} == {
        k: v for k, v in wanted.items() if k != "apiResponseID"
    }
    assert not bench.book.records["waybill"]


def test_seconds_and_milliseconds_are_both_taken(bench: Bench) -> None:
    said = sf(bench, CREATE, message(), timestamp=str(int(bench.clock.now)))
    assert said["apiResultCode"] == "A1000"


def test_a_request_id_is_taken_once(bench: Bench) -> None:
    first = sf(bench, CREATE, message(), requestID="r-1")
    again = sf(bench, CREATE, message("OC-2"), requestID="r-1")
    assert (first["apiResultCode"], again["apiResultCode"]) == ("A1000", "A1007")


# Orders


def test_an_order_is_answered_in_the_captured_shape(bench: Bench) -> None:
    wanted = sample("carriers/sf_create_order.json")["responses"]["ok"]
    outer = sf(bench, CREATE, message())
    assert not gaps(wanted["json"], outer)
    assert not gaps(wanted["apiResultData_decoded"], json.loads(outer["apiResultData"]))


def test_the_same_key_twice_gives_one_number_and_the_search_tells_it(bench: Bench) -> None:
    number = waybill(bench)
    wanted = sample("carriers/sf_create_order.json")["responses"]["duplicate_order"]
    assert sf_inner(bench, CREATE, message()) == wanted["apiResultData_decoded"]
    assert len(bench.book.records["waybill"]) == 1
    found = sf_inner(bench, SEARCH, {"orderId": "OC-1", "searchType": "1"})["msgData"]
    assert found["waybillNoInfoList"] == [{"waybillType": 1, "waybillNo": number}]
    assert found["filterResult"] == "2"
    assert {"origincode", "destcode"} <= found.keys()


def test_numbers_carry_their_check_digit_and_never_come_twice(bench: Bench) -> None:
    numbers = [waybill(bench, f"OC-{turn}") for turn in range(20)]
    assert len(set(numbers)) == 20
    for number in numbers:
        assert number.startswith("SF755")
        assert len(number) == 15
        assert platform.check_digit(number[2:-1]) == number[-1]
    for vector_id in ("sf-checkdigit-101", "sf-checkdigit-202", "sf-checkdigit-303"):
        facts = vector(vector_id)
        twelve = facts["inputs"]["number_without_check"].removeprefix("SF")
        assert platform.check_digit(twelve) == facts["expected_signature"]


def test_more_parcels_have_a_mother_and_her_children(bench: Bench) -> None:
    told = sf_inner(bench, CREATE, message(parcelQty=3))["msgData"]["waybillNoInfoList"]
    assert [one["waybillType"] for one in told] == [1, 2, 2]
    assert len({one["waybillNo"] for one in told}) == 3


def test_an_address_out_of_range_gets_no_number(bench: Bench) -> None:
    facts = message()
    facts["contactInfoList"][1]["address"] = "超区村 1 号"
    told = sf_inner(bench, CREATE, facts)["msgData"]
    assert (told["filterResult"], told["waybillNoInfoList"]) == (3, [])


@pytest.mark.parametrize("missing", ["mobile", "province", "city", "address", "contact"])
def test_a_receiver_nobody_can_find_is_refused(bench: Bench, missing: str) -> None:
    facts = message()
    facts["contactInfoList"][1][missing] = ""
    said = sf_inner(bench, CREATE, facts)
    assert said["success"] is False
    assert not bench.book.records["waybill"]


def test_a_canceled_key_is_used_up(bench: Bench) -> None:
    number = waybill(bench)
    facts = sample("carriers/sf_cancel_order.json")
    wish = facts["request"]["msgData_decoded"] | {"orderId": "OC-1"}
    other = sf_inner(bench, UPDATE, wish)
    assert other["msgData"]["resStatus"] == 1
    wish["waybillNoInfoList"] = [{"waybillType": 1, "waybillNo": number}]
    done = sf_inner(bench, UPDATE, wish)
    assert not gaps(facts["responses"]["ok"]["apiResultData_decoded"], done)
    assert done["msgData"]["resStatus"] == 2
    again = facts["responses"]["already_cancelled_or_confirmed"]["apiResultData_decoded"]
    assert sf_inner(bench, UPDATE, wish) == again
    assert sf_inner(bench, CREATE, message())["errorCode"] == "8016"
    shipped(bench, number)
    bench.clock.pass_by(3600)
    assert routes(bench, number) == []


# Traces


def test_a_parcel_waits_until_the_platform_hears_of_it_and_then_travels(bench: Bench) -> None:
    number = waybill(bench)
    bench.clock.pass_by(3600)
    assert routes(bench, number) == []
    order = shipped(bench, number)
    seen = []
    for _ in range(7):
        seen.append(len(routes(bench, number)))
        bench.clock.pass_by(10)
    assert seen == sorted(seen)
    assert seen[0] == 1
    told = routes(bench, number)
    assert codes(told) == WAY
    wanted = sample("carriers/sf_search_routes.json")["responses"]["ok"]["apiResultData_decoded"]
    assert not gaps(wanted["msgData"]["routeResps"][0]["routes"], told)
    assert order.state == FINISHED


def test_a_wrong_phone_tail_gives_no_scans_and_eleven_numbers_are_too_many(bench: Bench) -> None:
    number = waybill(bench)
    shipped(bench, number)
    assert codes(routes(bench, number)) == ["50"]
    assert routes(bench, number, checkPhoneNo="4321") == []
    assert routes(bench, "OC-1", trackingType="2") == routes(bench, number)
    said = sf_inner(bench, ROUTES, {"trackingType": "1", "trackingNumber": [number] * 11})
    assert said["success"] is False


def test_an_intercepted_parcel_comes_back_and_its_order_does_not_finish(bench: Bench) -> None:
    number = waybill(bench)
    order = shipped(bench, number)
    bench.clock.pass_by(20)
    routes(bench, number)
    wanted = sample("carriers/sf_intercept.json")["responses"]["ok"]["apiResultData_decoded"]
    assert intercept(bench, number) == wanted
    bench.clock.pass_by(3600)
    assert codes(routes(bench, number)) == ["50", "30", "99", "660"]
    assert order.state == SHIPPED
    assert intercept(bench, number)["success"] is False


def test_a_parcel_intercepted_before_pick_up_turns_round_at_once(bench: Bench) -> None:
    number = waybill(bench)
    assert intercept(bench, number)["success"] is True
    shipped(bench, number)
    bench.clock.pass_by(3600)
    assert codes(routes(bench, number)) == ["50", "99", "660"]


def test_a_signed_parcel_or_a_strange_number_is_not_intercepted(bench: Bench) -> None:
    number = waybill(bench)
    shipped(bench, number)
    bench.clock.pass_by(100)
    assert intercept(bench, number)["success"] is False
    assert intercept(bench, "SF7550000009999")["success"] is False
    assert intercept(bench, waybill(bench, "OC-2"), monthlyCardNo="1")["success"] is False


def test_a_drill_moves_a_parcel_by_hand(bench: Bench) -> None:
    number = waybill(bench)
    order = shipped(bench, number)

    def step(name: str) -> Any:
        return call(bench, "POST", "/control/trace", json={"waybill": number, "step": name})

    assert codes(step("out_for_delivery").json()["routes"]) == WAY[:4]
    assert codes(step("exception").json()["routes"])[-1] == "70"
    assert step("delivered").json()["state"] == "signed"
    assert order.state == FINISHED
    assert step("delivered").status_code == 409
    assert (
        call(bench, "POST", "/control/trace", json={"waybill": "x", "step": "y"}).status_code == 404
    )


def test_scans_are_pushed_in_the_captured_shape_until_they_are_taken(bench: Bench) -> None:
    pusher = pusher_of(bench, "sf")
    number = waybill(bench)
    shipped(bench, number)
    deaf = Center({"return_code": "1000", "return_msg": "系统异常"})
    deaf.take(pusher.outgoing)
    bench.clock.pass_by(2)
    center = Center({"return_code": "0000", "return_msg": "成功"})
    center.take(pusher.outgoing)
    assert [r.content for r in center.heard] == [r.content for r in deaf.heard]
    bench.clock.pass_by(3600)
    pusher.depot.tick()
    center.take(pusher.outgoing)
    wanted = sample("carriers/sf_route_push.json")["request"]["json"]
    rows = [row for body in center.bodies() for row in body["Body"]["WaybillRoute"]]
    for body in center.bodies():
        assert not gaps(wanted, body)
        assert len(body["Body"]["WaybillRoute"]) <= 10
    assert set(codes(rows)) == set(WAY)
    assert {row["mailno"] for row in rows} == {number}
    assert len({row["id"] for row in rows}) == len(rows)
    token = bench.seller.couriers[0]["push_token"]
    assert center.heard[0].url.path == f"/hooks/carrier/sf/{token}/"


def test_an_account_without_a_push_token_has_the_plain_path(bench: Bench) -> None:
    account = {k: v for k, v in bench.seller.couriers[0].items() if k != "push_token"}
    book = Book(bench.seller.shops, clock=bench.clock)
    pusher = platform.Pusher(book, "http://center", account)
    assert pusher.url == "http://center/hooks/carrier/sf/"


def test_parcels_go_on_after_the_sandbox_was_stopped(tmp_path: Path) -> None:
    clock = Clock()
    first = Bench(data_dir=tmp_path, clock=clock)
    number = waybill(first)
    order = shipped(first, number)
    clock.pass_by(15)
    assert codes(routes(first, number)) == WAY[:2]
    first.book.close()
    second = Bench(data_dir=tmp_path, clock=clock)
    clock.pass_by(100)
    assert codes(routes(second, number)) == WAY
    again = second.book.get("MP01", order.number)
    assert again is not None
    assert again.state == FINISHED
    assert sf_inner(second, CREATE, message())["errorCode"] == "8016"
    assert waybill(second, "OC-2") != number
    second.book.close()
