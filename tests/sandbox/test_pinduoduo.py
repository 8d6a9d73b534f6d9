"""Pinduoduo's further calls and its message line: each once good and once refused."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from ordercenter.sandbox.book import DONE, Order
from ordercenter.sandbox.platforms.pinduoduo.bodies import goods_of
from tests.sandbox.callers import Bench
from tests.sandbox.test_lists import captured, listed


def refused(reply: dict[str, Any]) -> Any:
    """The error's number; None when all is well."""
    return reply.get("error_response", {}).get("error_code")


def refunded(bench: Bench) -> Order:
    order = bench.sell_paid("PD01")[0]
    bench.control("refund", shop="PD01", number=order.number)
    return order


# Lists and details


def confirmed(bench: Bench, start: float, end: float) -> dict[str, Any]:
    return bench.pop(
        "pdd.order.list.get", start_confirm_at=str(int(start)), end_confirm_at=str(int(end)),
        order_status="5", refund_status="5",
    )  # fmt: skip


def test_orders_are_listed_by_the_time_they_were_confirmed(bench: Bench) -> None:
    old, new = bench.sell_paid("PD01", 2)
    bench.clock.pass_by(7200)
    bench.book.touch(old)
    start = (old.paid or 0) + 1
    told = confirmed(bench, start, bench.clock.now)["order_list_get_response"]
    assert [row["order_sn"] for row in told["order_list"]] == [new.number, old.number]
    assert told["total_count"] == 2
    day_more = confirmed(bench, bench.clock.now - 86_401, bench.clock.now)
    assert refused(day_more) == 10001


def test_states_are_told_by_number_with_one_camel(bench: Bench) -> None:
    order = refunded(bench)
    told = bench.pop("pdd.order.status.get", order_sns=f"{order.number},x")
    assert told["order_status_get_response"]["order_status_list"] == [
        {"orderSn": order.number, "order_status": 1, "refund_status": 2}
    ]
    assert refused(bench.pop("pdd.order.status.get", order_sns="")) == 10001


def test_a_single_refund_is_in_fen_and_counts_its_types_otherwise(bench: Bench) -> None:
    order = refunded(bench)
    told = bench.pop(
        "pdd.refund.information.get", order_sn=order.number,
        after_sales_id=order.refunds[0].refund_id,
    )  # fmt: skip
    assert (told["refund_amount"], told["after_sales_type"]) == (order.paid_fen, 1)
    other = bench.sell_paid("PD01")[0]
    none = bench.pop("pdd.refund.information.get", order_sn=other.number)
    assert refused(none) == 10001


# Parcels, stock, notes


def send(bench: Bench, order: Order, number: str = "SF1", **more: str) -> dict[str, Any]:
    return bench.pop(
        "pdd.logistics.online.send", order_sn=order.number, logistics_id="44",
        tracking_number=number, **more,
    )  # fmt: skip


def send_more(bench: Bench, order: Order, *numbers: str, kind: str = "1") -> dict[str, Any]:
    rows = json.dumps([{"shipping_id": 44, "tracking_number": text} for text in numbers])
    return bench.pop(
        "pdd.order.upload.extra.logistics", order_sn=order.number, extra_track_list=rows,
        extra_track_type=kind,
    )  # fmt: skip


def test_further_parcels_follow_the_first_one_only(bench: Bench) -> None:
    order = bench.sell_paid("PD01")[0]
    assert refused(send_more(bench, order, "SF2")) == 10001
    send(bench, order)
    sample = captured("pinduoduo", "upload_extra_logistics_ok")["upload_extra_logistics_response"]
    good = send_more(bench, order, "SF2", "SF3")["upload_extra_logistics_response"]
    assert good.keys() == sample.keys()
    assert [parcel.tracking_number for parcel in order.shipments] == ["SF1", "SF2", "SF3"]
    assert refused(send_more(bench, order, "SF4", kind="4")) == 10001
    start = bench.clock.now - 60
    (row,) = listed(bench.pdd_list(start, bench.clock.now))["order_sn_list"]
    assert [r["tracking_number"] for r in row["extra_delivery_list"]] == ["SF2", "SF3"]


def test_the_same_parcel_told_twice_takes_effect_once(bench: Bench) -> None:
    order = bench.sell_paid("PD01")[0]
    send(bench, order)
    assert refused(send(bench, order)) is None
    assert refused(send(bench, order, "SF9")) == 10001
    assert refused(send(bench, order, "SF9", redelivery_type="2")) is None
    assert [parcel.tracking_number for parcel in order.shipments] == ["SF9"]
    rows = bench.http.get("/book/writes", shop="PD01", kind="ship").json()["writes"]
    assert sorted((row["asked"], row["effects"]) for row in rows) == [(1, 1), (2, 1)]


def quantity(bench: Bench, figure: str, way: str = "1", **more: str) -> dict[str, Any]:
    first = next(row for row in bench.shop("PD01").listed if row.platform_sku_id)
    wish = {"goods_id": str(goods_of(first)), "sku_id": str(first.platform_sku_id)} | more
    return bench.pop("pdd.goods.quantity.update", quantity=figure, update_type=way, **wish)


def test_stock_is_set_or_changed_and_not_lowered_while_promoted(bench: Bench) -> None:
    code = next(row.platform_sku_id for row in bench.shop("PD01").listed if row.platform_sku_id)

    def shown() -> int:
        return bench.book.shelves["pinduoduo"].figures(bench.shop("PD01"))[code or ""]

    assert refused(quantity(bench, "20")) is None
    assert refused(quantity(bench, "-5", "2")) is None
    assert shown() == 15
    assert refused(quantity(bench, "-16", "2")) == 10001
    assert refused(quantity(bench, "1", "3")) == 10001
    assert refused(quantity(bench, "1", goods_id="1")) == 10001
    bench.control("promote", shop="PD01", code=code)
    assert refused(quantity(bench, "14")) == 20101
    assert refused(quantity(bench, "-1", "2")) == 20101
    assert refused(quantity(bench, "3", "2")) is None
    assert shown() == 18


def stop(bench: Bench, order: Order, status: str, **more: Any) -> dict[str, Any]:
    param = {"refund_id": int(order.refunds[0].refund_id), "tid": order.number, "status": status}
    text = json.dumps(param | more, ensure_ascii=False)
    return bench.pop("pdd.rdc.pddgenius.sendgoods.cancel", param=text)


def test_a_stopped_parcel_brings_the_money_back_and_a_failure_names_its_reason(
    bench: Bench,
) -> None:
    order = refunded(bench)
    assert refused(stop(bench, order, "FAIL")) == 10001
    assert refused(stop(bench, order, "FAIL", fail_reason_code=1003)) is None
    assert (order.refunds[0].state, order.stops[0]["reason"]) == ("asked", "1003")
    assert refused(stop(bench, order, "SUCCESS")) is None
    assert order.refunds[0].state == DONE
    assert refused(stop(bench, order, "SUCCESS", refund_id=1)) == 10001


# Privacy


def test_each_ciphertext_opens_by_itself_or_not_at_all(bench: Bench) -> None:
    order = bench.sell_paid("PD01")[0]
    start = bench.clock.now - 60
    (row,) = listed(bench.pdd_list(start, bench.clock.now))["order_sn_list"]
    fields = ("receiver_name", "receiver_phone", "receiver_address", "address")
    asked = [{"data_tag": order.number, "encrypted_data": row[name]} for name in fields]
    asked.append({"data_tag": order.number, "encrypted_data": "~x==~0~"})
    reply = bench.pop("pdd.open.decrypt.batch", data_list=json.dumps(asked))
    rows = reply["open_decrypt_batch_response"]["data_decrypt_list"]
    r = order.receiver
    assert [(entry["data_type"], entry["decrypted_data"]) for entry in rows[:4]] == [
        (5, r.name),
        (6, r.phone),
        (8, r.address),
        (7, f"{r.province}{r.city}{r.district}{r.address}"),
    ]
    sample = captured("pinduoduo", "open_decrypt_batch_partly_failed")
    failed = sample["open_decrypt_batch_response"]["data_decrypt_list"][2]
    assert rows[4] == failed | {"data_tag": order.number}
    assert rows[1].keys() == failed.keys()


def test_decryption_has_a_quota_and_a_batch_its_size(bench: Bench) -> None:
    order = bench.sell_paid("PD01")[0]
    start = bench.clock.now - 60
    (row,) = listed(bench.pdd_list(start, bench.clock.now))["order_sn_list"]
    wish = {"data_tag": order.number, "encrypted_data": row["receiver_name"]}
    bench.shop("PD01").options["decrypt_quota"] = 2

    def codes(count: int) -> list[int]:
        reply = bench.pop("pdd.open.decrypt.batch", data_list=json.dumps([wish] * count))
        rows = reply["open_decrypt_batch_response"]["data_decrypt_list"]
        return [entry["error_code"] for entry in rows]

    assert codes(3) == [0, 0, 52502]
    bench.clock.pass_by(86_400)
    assert codes(1) == [0]
    many = bench.pop("pdd.open.decrypt.batch", data_list=json.dumps([wish] * 101))
    assert refused(many) == 10001


# Authorization


def test_a_code_gives_a_token_once_and_a_refresh_token_the_next(bench: Bench) -> None:
    shop = bench.shop("PD01")
    code = bench.control("authorize", shop="PD01")["code"]
    told = bench.pop("pdd.pop.auth.token.create", code=code, access_token="")
    first = told["pop_auth_token_create_response"]["access_token"]
    assert first == shop.access_token
    assert refused(bench.pop("pdd.pop.auth.token.create", code=code, access_token="")) == 10001
    bench.control("fault", platform="pinduoduo", kind="token_expiry")
    now = bench.clock.now
    assert refused(bench.pdd_list(now - 9, now, access_token=first)) == 10019
    told = bench.pop(
        "pdd.pop.auth.token.refresh", refresh_token=shop.refresh_token, access_token=""
    )["pop_auth_token_refresh_response"]
    sample = captured("pinduoduo", "pop_auth_token_refresh_ok")["pop_auth_token_refresh_response"]
    assert sample.keys() <= told.keys()
    assert refused(bench.pdd_list(now - 9, now, access_token=told["access_token"])) is None
    wrong = bench.pop("pdd.pop.auth.token.refresh", refresh_token="x", access_token="")
    assert refused(wrong) == 10001


# Messages


@pytest.fixture
def client(bench: Bench) -> Iterator[TestClient]:
    with TestClient(bench.sandbox.app) as made:
        yield made


def line(bench: Bench, client: TestClient, *, late: int = 0, secret: str = "") -> Any:
    shop = bench.shop("PD01")
    ms = str(int((bench.clock.now + late) * 1000))
    said = f"{shop.app_key}{ms}{secret or shop.app_secret}"
    hashed = hashlib.md5(said.encode(), usedforsecurity=False).hexdigest()
    digest = base64.b64encode(hashed.encode()).decode()
    return client.websocket_connect(
        f"/pinduoduo/message/{shop.app_key}/{ms}/{quote(digest, safe='')}"
    )


def heard(socket: WebSocketTestSession, count: int) -> list[dict[str, Any]]:
    return [json.loads(socket.receive_text()) for _ in range(count)]


def acknowledge(socket: WebSocketTestSession, frame: dict[str, Any]) -> None:
    told = {key: frame[key] for key in ("id", "time", "sendTime")}
    about = {"type": frame["message"]["type"], "mallID": frame["message"]["mallID"]}
    socket.send_text(json.dumps(told | {"commandType": "Ack"} | about))


def test_a_frame_has_the_captured_form_and_comes_until_it_is_acknowledged(
    bench: Bench, client: TestClient
) -> None:
    order = bench.sell_paid("PD01")[0]
    with line(bench, client) as socket:
        (frame,) = heard(socket, 1)
        sample = captured("pinduoduo", "message_frame_trade_confirmed")
        assert frame.keys() == sample.keys()
        assert frame["message"].keys() == sample["message"].keys()
        assert frame["message"]["type"] == sample["message"]["type"]
        assert json.loads(frame["message"]["content"])["tid"] == order.number
        assert frame["id"] > 2**53
        bench.clock.pass_by(6)
        (again,) = heard(socket, 1)
        assert again["id"] == frame["id"]
        acknowledge(socket, again)
        bench.book.write_memo(order, "改")
        (memo,) = heard(socket, 1)
        assert memo["message"]["type"] == "pdd_trade_TradeMemoModified"
        acknowledge(socket, memo)
        bench.book.write_memo(order, "再改")
        assert heard(socket, 1)[0]["id"] not in {frame["id"], memo["id"]}
    acked = bench.http.get("/book/acked", shop="PD01").json()["acked"]
    assert [row["event_id"] for row in acked] == [str(frame["id"]), str(memo["id"])]


def test_a_refund_is_told_in_fen_and_milliseconds(bench: Bench, client: TestClient) -> None:
    order = refunded(bench)
    with line(bench, client) as socket:
        frames = heard(socket, 2)
    told = {frame["message"]["type"]: frame["message"]["content"] for frame in frames}
    content = json.loads(told["pdd_refund_RefundCreated"])
    assert content["refund_fee"] == order.paid_fen
    assert content["modified"] == int(order.refunds[0].modified * 1000)


@pytest.mark.parametrize("wrong", [{"late": 601}, {"late": -601}, {"secret": "another"}])
def test_a_line_that_is_not_proven_is_not_opened(
    bench: Bench, client: TestClient, wrong: dict[str, Any]
) -> None:
    with pytest.raises(WebSocketDisconnect), line(bench, client, **wrong):
        pass


def test_unpaid_orders_are_not_told_of(bench: Bench, client: TestClient) -> None:
    while (order := bench.sell("PD01")[0]).paid is not None:
        pass
    bench.book.write_memo(order, "改")
    assert bench.book.get("PD01", order.number) is order
    with line(bench, client) as socket:
        sent: list[dict[str, Any]] = []
        bench.book.pay(order)
        while not sent or order.number not in sent[-1]["message"]["content"]:
            sent += heard(socket, 1)
    assert sent[-1]["message"]["type"] == "pdd_trade_TradeConfirmed"


def test_a_hung_up_line_can_be_opened_again(bench: Bench, client: TestClient) -> None:
    order = bench.sell_paid("PD01")[0]
    bench.control("fault", platform="pinduoduo", kind="reset_socket", share=1)
    with pytest.raises(WebSocketDisconnect), line(bench, client) as socket:
        heard(socket, 9)
    bench.control("fault", kind="none")
    bench.clock.pass_by(6)
    with line(bench, client) as socket:
        assert order.number in heard(socket, 1)[0]["message"]["content"]
