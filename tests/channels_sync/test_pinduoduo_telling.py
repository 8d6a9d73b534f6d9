"""What Pinduoduo is told has one effect and overwrites nothing."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest

from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    AddressAnswer,
    DecryptRequest,
    ErrorClass,
    Memo,
    Rejected,
    ShipLine,
    ShipNotice,
    StockFigure,
    StopAnswer,
    StopOutcome,
    TryLater,
    Unsupported,
)
from tests.channels_sync.platforms import NOW, Pinduoduo, payload

NUMBER = Pinduoduo().order(0)["order_sn"]
EXTRA = "pdd.order.upload.extra.logistics"
STOCK = "pdd.goods.quantity.update"
STOP = "pdd.rdc.pddgenius.sendgoods.cancel"
NOTE = "pdd.order.note.update"
DECRYPT = "pdd.open.decrypt.batch"


def shop(**answers: Any) -> Pinduoduo:
    """A shop with an answer for each method, named by its last words."""
    methods = {
        "send": Pinduoduo.ship_method,
        "detail": Pinduoduo.detail_method,
        "check": "pdd.refund.status.check",
        "stock": STOCK,
        "stop": STOP,
        "note": NOTE,
        "decrypt": DECRYPT,
    }
    found = Pinduoduo()
    found.answers = {methods[name]: answer for name, answer in answers.items()}
    return found


def methods(found: Pinduoduo) -> list[str]:
    return [method for method, _ in found.calls]


def detail(**changes: Any) -> dict[str, Any]:
    row = {**Pinduoduo().order(0), **changes}
    return {"order_info_get_response": {"order_info": row}}


# --- parcels --------------------------------------------------------------------------------


def notice(*lines: ShipLine, **changes: Any) -> ShipNotice:
    return replace(ShipNotice("ship-1", NUMBER, "sf", "SF100", NOW, lines), **changes)


def test_a_further_parcel_is_added_without_a_refused_call() -> None:
    found = shop(detail=detail(tracking_number="SF1"))
    found.connector().ship(notice(ShipLine("1", 1), others=("SF1",)))
    assert methods(found) == [Pinduoduo.detail_method, EXTRA]
    query = found.calls[-1][1]
    assert query["extra_track_type"] == "1"
    assert json.loads(query["extra_track_list"]) == [
        {"shipping_id": 44, "tracking_number": "SF100"}
    ]


def test_a_further_parcel_of_an_order_that_is_not_shipped_yet_ships_it() -> None:
    found = shop(detail=detail(tracking_number=""))
    found.connector().ship(notice(others=("SF1",)))
    assert methods(found) == [Pinduoduo.detail_method, Pinduoduo.ship_method]


def test_a_further_parcel_told_twice_is_added_once() -> None:
    extra = [{"logistics_id": 44, "tracking_number": "SF100"}]
    found = shop(detail=detail(tracking_number="SF1", extra_delivery_list=extra))
    found.connector().ship(notice(others=("SF1",)))
    assert methods(found) == [Pinduoduo.detail_method]


def test_no_parcel_overwrites_the_one_that_was_told_first() -> None:
    found = shop(send=Pinduoduo.refusal, detail=detail(tracking_number="SF1"))
    with pytest.raises(Rejected, match="订单已发货"):
        found.connector().ship(notice())
    found.connector().ship(notice(ShipLine("1", 1)))
    assert {query.get("redelivery_type", "1") for _, query in found.calls} == {"1"}


def test_goods_without_a_parcel_go_under_the_company_the_shop_has_named() -> None:
    sent = notice(carrier=VIRTUAL_CARRIER, tracking_number="")
    with pytest.raises(Rejected, match="unknown_carrier"):
        shop().connector().ship(sent)
    found = shop()
    found.connector(**{"carrier.virtual": "352"}).ship(sent)
    ((_, query),) = found.calls
    assert (query["logistics_id"], query["tracking_number"]) == ("352", NUMBER)


@pytest.mark.parametrize(("rows", "sent"), [([{"order_sn": NUMBER}], False), ([], True)])
def test_a_shop_may_want_open_refunds_asked_for_first(
    rows: list[dict[str, str]], sent: bool
) -> None:
    found = shop(check={"refund_status_check_response": {"order_sns_exists_refund": rows}})
    connector = found.connector(check_refunds="on")
    if sent:
        connector.ship(notice())
    else:
        with pytest.raises(Rejected, match="open_refund"):
            connector.ship(notice())
    assert (Pinduoduo.ship_method in methods(found)) is sent


def test_the_order_tells_whether_a_parcel_was_told() -> None:
    told = shop(detail=detail(tracking_number="SF100")).connector()
    assert told.knows(notice()) is True
    assert told.knows(notice(tracking_number="SF10")) is False


# --- stock ----------------------------------------------------------------------------------


def figure(**changes: Any) -> StockFigure:
    plain = StockFigure("stock-1", "800000000101", "500000000101", "APPLE-5", 12, 20)
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("believed", "kind", "number"), [(20, "2", "-8"), (5, "2", "7"), (None, "1", "12")]
)
def test_stock_is_told_as_a_difference_where_the_figure_before_is_known(
    believed: int | None, kind: str, number: str
) -> None:
    found = shop(stock=payload("pinduoduo", "goods_quantity_update_ok"))
    found.connector().publish_stock(figure(believed=believed))
    ((_, query),) = found.calls
    assert (query["update_type"], query["quantity"]) == (kind, number)
    assert (query["goods_id"], query["sku_id"]) == ("500000000101", "800000000101")
    assert "outer_id" not in query


def test_no_difference_is_not_told() -> None:
    found = shop()
    found.connector().publish_stock(figure(believed=12))
    assert not found.calls


def test_a_listing_without_a_sku_id_goes_by_its_code() -> None:
    found = shop(stock=payload("pinduoduo", "goods_quantity_update_ok"))
    found.connector().publish_stock(figure(platform_sku_id=""))
    ((_, query),) = found.calls
    assert query["outer_id"] == "APPLE-5"


@pytest.mark.parametrize(
    "changes", [{"platform_item_id": ""}, {"platform_sku_id": "", "outer_code": ""}]
)
def test_a_listing_that_cannot_be_named_costs_no_call(changes: dict[str, str]) -> None:
    found = shop()
    with pytest.raises(Rejected, match="no_listing"):
        found.connector().publish_stock(figure(**changes))
    assert not found.calls


PROMOTED = {"error_response": {"error_code": 77001, "error_msg": "在资源位上的商品不能减少库存"}}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, "stock_locked"),
        ({"stock_locked": "77001"}, "stock_locked"),
        ({"stock_locked": "9"}, "77001"),
    ],
)
def test_goods_on_promotion_cannot_be_lowered(options: dict[str, str], code: str) -> None:
    with pytest.raises(Rejected) as refusal:
        shop(stock=PROMOTED).connector(**options).publish_stock(figure())
    assert refusal.value.error.code == code
    assert refusal.value.error.message == "在资源位上的商品不能减少库存"


@pytest.mark.parametrize("answer", [{}, {"is_success": None}, {"is_success": "false"}])
def test_a_figure_that_is_not_confirmed_was_not_taken(answer: dict[str, Any]) -> None:
    with pytest.raises(Rejected):
        shop(stock={"goods_quantity_update_response": answer}).connector().publish_stock(figure())


def test_a_difference_must_not_be_told_twice() -> None:
    connector = shop().connector()
    assert StockFigure not in connector.repeatable
    assert connector.knows(figure()) is None


# --- refunds --------------------------------------------------------------------------------


def stop(outcome: StopOutcome) -> StopAnswer:
    return StopAnswer("stop-1", NUMBER, "91000000101", outcome, "已拦截", Decimal("34.90"))


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (StopOutcome.STOPPED, "SUCCESS", None),
        (StopOutcome.NOT_SYNCED, "FAIL", 1001),
        (StopOutcome.SHIPPED, "FAIL", 1002),
        (StopOutcome.LABEL_PRINTED, "FAIL", 1003),
    ],
)
def test_a_refund_asked_for_before_shipping_is_answered(
    outcome: StopOutcome, status: str, reason: int | None
) -> None:
    answer = {"result": {"result_data": {"refund_id": 91000000101}}}
    found = shop(stop={"rdc_pddgenius_sendgoods_cancel_response": answer})
    found.connector().answer_stop(stop(outcome))
    ((_, query),) = found.calls
    told = json.loads(query["param"])
    assert told == {
        "tid": NUMBER,
        "refund_id": 91000000101,
        "status": status,
        "refund_fee": 3490,
        "operate_time": int(NOW.timestamp() * 1000),
        "msg": "已拦截",
        **({} if reason is None else {"fail_reason_code": reason}),
    }


def test_another_method_may_be_named_and_its_answer_is_read() -> None:
    found = Pinduoduo()
    found.answers = {"pdd.stop.next": {"stop_next_response": {"is_success": True}}}
    found.connector(stop_method="pdd.stop.next").answer_stop(stop(StopOutcome.STOPPED))
    assert methods(found) == ["pdd.stop.next"]


def test_a_wish_for_another_address_is_no_call_here() -> None:
    with pytest.raises(Unsupported):
        shop().connector().answer_address(AddressAnswer("a", NUMBER, True))


# --- notes ----------------------------------------------------------------------------------

NOTED = payload("pinduoduo", "order_note_update_ok")


@pytest.mark.parametrize(
    ("before", "memo", "told"),
    [
        ({"remark": None}, Memo("m", NUMBER, "加急"), {"note": "加急"}),
        ({"remark": "旧"}, Memo("m", NUMBER, "加急"), {"note": "旧\n加急"}),
        (
            {"remark": "旧", "remark_tag": 4, "remark_tag_name": "急单"},
            Memo("m", NUMBER, "加急"),
            {"note": "旧\n加急", "tag": "4", "tag_name": "急单"},
        ),
        (
            {"remark": "加急", "remark_tag": 4, "remark_tag_name": "急单"},
            Memo("m", NUMBER, "加急", 1),
            {"note": "加急", "tag": "1", "tag_name": "红色"},
        ),
    ],
)
def test_a_note_is_read_merged_and_written_with_its_flag(
    before: dict[str, Any], memo: Memo, told: dict[str, str]
) -> None:
    found = shop(detail=detail(**before), note=NOTED)
    found.connector().write_memo(memo)
    query = found.calls[-1][1]
    assert {key: query[key] for key in ("note", "tag", "tag_name") if key in query} == told


def test_a_note_that_stands_there_is_not_written_again() -> None:
    found = shop(detail=detail(remark="旧\n加急", remark_tag=2))
    connector = found.connector()
    connector.write_memo(Memo("m", NUMBER, "加急", 2))
    assert methods(found) == [Pinduoduo.detail_method]
    assert connector.knows(Memo("m", NUMBER, "加急")) is True
    assert connector.knows(Memo("m", NUMBER, "加急", 5)) is False


def test_a_note_that_would_grow_too_long_is_refused_and_not_cut() -> None:
    found = shop(detail=detail(remark="很" * 20))
    with pytest.raises(Rejected, match="memo_too_long"):
        found.connector(memo_length="21").write_memo(Memo("m", NUMBER, "加急"))
    assert methods(found) == [Pinduoduo.detail_method]


def test_after_a_lost_answer_nobody_knows_whether_the_note_stands() -> None:
    found = shop(detail=detail(), note=httpx.ReadTimeout("x"))
    with pytest.raises(TryLater) as failure:
        found.connector().write_memo(Memo("m", NUMBER, "加急"))
    assert failure.value.outcome_unknown


# --- privacy --------------------------------------------------------------------------------


def request(number: str = NUMBER, **changes: Any) -> DecryptRequest:
    row = {**Pinduoduo().order(0), "order_sn": number, **changes}
    return DecryptRequest(number, "x", "label", json.dumps(row).encode())


def entry(kind: int, cipher: str, text: str | None, **more: Any) -> dict[str, Any]:
    facts = {"data_tag": NUMBER, "data_type": kind, "encrypted_data": cipher, "error_code": 0}
    return {**facts, "decrypted_data": text, **more}


ALL_OPEN = [
    entry(5, "~AgAAsandboxName101==~0~", "林虚构"),
    entry(
        6,
        "$sandboxPhone101==$0$",
        "19900000101",
        virtual_number_type=1,
        virtual_identify_number="1234",
    ),
    entry(8, "~AgAAsandboxAddr101==~0~", "虚构路8号"),
]


def opened(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"open_decrypt_batch_response": {"data_decrypt_list": list(entries)}}


def test_a_receiver_is_opened_with_the_extension_of_a_virtual_number() -> None:
    found = shop(decrypt=opened(*ALL_OPEN))
    (one,) = found.connector().decrypt([request()])
    assert (one.name, one.phone, one.address) == ("林虚构", "19900000101-1234", "虚构路8号")
    assert one.is_virtual
    ((_, query),) = found.calls
    assert json.loads(query["data_list"])[0] == {
        "data_tag": NUMBER,
        "encrypted_data": "~AgAAsandboxName101==~0~",
    }


def test_a_part_that_fails_spoils_its_own_order_only() -> None:
    bad = {"data_tag": "2", "encrypted_data": "~x==~0~", "error_code": 52500, "error_msg": "密文"}
    other = request("2", receiver_name="~x==~0~", receiver_phone="", receiver_address="")
    found = shop(decrypt=opened(*ALL_OPEN, bad))
    first, second = found.connector().decrypt([request(), other])
    assert first.error is None
    assert second.error is not None
    assert (second.error.code, second.error.klass) == ("52500", ErrorClass.BUSINESS)


def test_a_shipped_order_has_nothing_to_open() -> None:
    empty = dict.fromkeys(("receiver_name", "receiver_phone", "receiver_address"), "")
    found = shop()
    (one,) = found.connector().decrypt([request(**empty)])
    assert one.error is not None
    assert one.error.code == "no_ciphertext"
    assert not found.calls


def test_no_call_opens_more_than_a_hundred_ciphertexts() -> None:
    found = shop(decrypt=opened())
    found.connector().decrypt([request(str(n)) for n in range(40)])
    assert [len(json.loads(query["data_list"])) for _, query in found.calls] == [100, 20]


def test_orders_may_share_a_parcel_when_the_platform_says_one_receiver() -> None:
    ids = ("a", "b", "a", "", "")
    requests = [DecryptRequest(str(n), oaid, "merge", b"") for n, oaid in enumerate(ids)]
    assert shop().connector().merge_groups(requests) == [("0", "2")]
