"""A ship notice may be sent twice and takes effect once."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from channels_sync.contracts import ErrorClass, Rejected, ShipLine, ShipNotice, TryLater
from tests.channels_sync.platforms import (
    NOW,
    PLATFORMS,
    Jd,
    Pinduoduo,
    Platform,
    Taobao,
    payload,
)

every_platform = pytest.mark.parametrize("platform", PLATFORMS, ids=[p.channel for p in PLATFORMS])
PlatformType = type[Any]


def notice(shop: Platform, **changes: Any) -> ShipNotice:
    plain = ShipNotice(
        key="ship-1",
        channel_number=shop.number(shop.order(0)),
        carrier="sf",
        tracking_number="SF100",
        shipped_at=NOW,
    )
    return replace(plain, **changes)


@every_platform
def test_a_parcel_is_told_to_the_platform(platform: PlatformType) -> None:
    shop: Platform = platform()
    shop.connector().ship(notice(shop))
    ((method, query),) = shop.calls
    assert method == platform.ship_method
    assert "SF100" in query.values()
    assert shop.number(shop.order(0)) in query.values()


@every_platform
def test_the_same_parcel_told_twice_is_a_success(platform: PlatformType) -> None:
    shop: Platform = platform()
    shop.answers[platform.ship_method] = platform.refusal
    shop.answers[platform.detail_method] = shop.shipped("SF100")
    shop.connector().ship(notice(shop))
    assert [method for method, _ in shop.calls] == [platform.ship_method, platform.detail_method]


@every_platform
def test_another_parcel_on_a_shipped_order_is_refused(platform: PlatformType) -> None:
    shop: Platform = platform()
    shop.answers[platform.ship_method] = platform.refusal
    shop.answers[platform.detail_method] = shop.shipped("SF999")
    with pytest.raises(Rejected) as refusal:
        shop.connector().ship(notice(shop))
    assert refusal.value.error.klass is ErrorClass.BUSINESS
    assert refusal.value.error.code != ""


@every_platform
def test_a_number_that_is_part_of_another_is_not_the_same_parcel(platform: PlatformType) -> None:
    shop: Platform = platform()
    shop.answers[platform.ship_method] = platform.refusal
    shop.answers[platform.detail_method] = shop.shipped("SF1001")
    with pytest.raises(Rejected):
        shop.connector().ship(notice(shop))


@every_platform
@pytest.mark.parametrize(
    "fault",
    [httpx.ReadTimeout("x"), httpx.Response(502), httpx.Response(200, html="<html></html>")],
)
def test_after_a_fault_nobody_knows_whether_the_parcel_was_told(
    platform: PlatformType, fault: Any
) -> None:
    shop: Platform = platform()
    shop.answers[platform.ship_method] = fault
    with pytest.raises(TryLater) as failure:
        shop.connector().ship(notice(shop))
    assert failure.value.outcome_unknown


@every_platform
def test_a_connection_that_never_stood_changed_nothing(platform: PlatformType) -> None:
    shop: Platform = platform()
    shop.answers[platform.ship_method] = httpx.ConnectTimeout("x")
    with pytest.raises(TryLater) as failure:
        shop.connector().ship(notice(shop))
    assert not failure.value.outcome_unknown


PLATFORM_SIDE = {
    "taobao": payload("taobao", "error_remote_timeout"),
    "jd": payload("jd", "error_backend_unavailable"),
    "pinduoduo": payload("pinduoduo", "error_internal"),
}


@every_platform
def test_a_platform_side_error_leaves_the_outcome_unknown(platform: PlatformType) -> None:
    shop: Platform = platform()
    shop.answers[platform.ship_method] = PLATFORM_SIDE[platform.channel]
    with pytest.raises(TryLater) as failure:
        shop.connector().ship(notice(shop))
    assert failure.value.outcome_unknown


@every_platform
def test_a_refusal_of_the_token_is_no_question_about_the_parcel(platform: PlatformType) -> None:
    errors = {
        "taobao": payload("taobao", "error_invalid_session"),
        "jd": payload("jd", "error_invalid_token"),
        "pinduoduo": payload("pinduoduo", "error_access_token_expired"),
    }
    shop: Platform = platform()
    shop.answers[platform.ship_method] = errors[platform.channel]
    with pytest.raises(Rejected) as refusal:
        shop.connector().ship(notice(shop))
    assert refusal.value.error.klass is ErrorClass.AUTH
    assert [method for method, _ in shop.calls] == [platform.ship_method] * 2
    assert shop.line.stale == ["a-token"]  # the other token was refused as well


@every_platform
def test_a_success_flag_that_is_not_true_is_no_success(platform: PlatformType) -> None:
    silent: dict[str, dict[str, Any]] = {
        "taobao": {"logistics_offline_send_response": {"shipping": {"is_success": False}}},
        "jd": {
            "jingdong_pop_order_shipment_responce": {
                "code": "0",
                "sopjosshipment_result": {"success": "false", "errorCode": "1"},
            }
        },
        "pinduoduo": {"logistics_online_send_response": {"request_id": "1"}},
    }
    shop: Platform = platform()
    shop.answers[platform.ship_method] = silent[platform.channel]
    shop.answers[platform.detail_method] = shop.shipped("")
    with pytest.raises(Rejected):
        shop.connector().ship(notice(shop))


@every_platform
def test_an_unknown_carrier_is_refused_until_the_shop_names_it(platform: PlatformType) -> None:
    shop: Platform = platform()
    shop.answers[platform.detail_method] = shop.shipped("")
    with pytest.raises(Rejected, match="unknown_carrier"):
        shop.connector().ship(notice(shop, carrier="pigeon"))
    assert platform.ship_method not in {method for method, _ in shop.calls}
    shop.connector(**{"carrier.pigeon": "4711"}).ship(notice(shop, carrier="pigeon"))
    method, query = shop.calls[-1]
    assert method == platform.ship_method
    assert "4711" in query.values()


def test_taobao_ships_named_lines_as_a_part() -> None:
    shop = Taobao()
    detail = shop.shipped("")
    rows = detail["trade_fullinfo_get_response"]["trade"]["orders"]["order"]
    rows[:] = [{**rows[0], "oid": 2600000000000000101 + n, "num": 1} for n in range(2)]
    shop.answers[Taobao.detail_method] = detail
    lines = (ShipLine("2600000000000000101", 1), ShipLine("2600000000000000102", 1))
    shop.connector().ship(notice(shop, lines=lines))
    method, query = shop.calls[-1]
    assert method == Taobao.ship_method
    assert query["is_split"] == "1"
    assert query["sub_tid"] == "2600000000000000101,2600000000000000102"
    assert query["company_code"] == "SF"


def test_taobao_asks_about_the_named_lines_only() -> None:
    shop = Taobao()
    shop.answers[Taobao.ship_method] = Taobao.refusal
    detail = shop.shipped("SF100")
    rows = detail["trade_fullinfo_get_response"]["trade"]["orders"]["order"]
    rows.append({**rows[0], "oid": 42, "invoice_no": ""})
    shop.answers[Taobao.detail_method] = detail
    shop.connector().ship(notice(shop, lines=(ShipLine(str(rows[0]["oid"]), 1),)))
    with pytest.raises(Rejected):
        shop.connector().ship(notice(shop, lines=(ShipLine("42", 1),)))
    with pytest.raises(Rejected):
        shop.connector().ship(notice(shop))


def test_jd_spells_the_carrier_as_jd_does() -> None:
    shop = Jd()
    shop.connector().ship(notice(shop))
    ((_, query),) = shop.calls
    assert query == {
        "orderId": shop.number(shop.order(0)),
        "logiCoprId": "467",
        "logiNo": "SF100",
    }


def test_a_second_pinduoduo_parcel_is_added_and_overwrites_nothing() -> None:
    shop = Pinduoduo()
    shop.answers[Pinduoduo.ship_method] = Pinduoduo.refusal
    shop.answers[Pinduoduo.detail_method] = shop.shipped("SF1")
    shop.connector().ship(notice(shop, lines=(ShipLine("1", 1),)))
    assert {query.get("redelivery_type", "1") for _, query in shop.calls} == {"1"}
    method, query = shop.calls[-1]
    assert method == "pdd.order.upload.extra.logistics"
    assert json.loads(query["extra_track_list"]) == [
        {"shipping_id": 44, "tracking_number": "SF100"}
    ]


def test_a_pinduoduo_parcel_added_before_is_not_added_again() -> None:
    shop = Pinduoduo()
    shop.answers[Pinduoduo.ship_method] = Pinduoduo.refusal
    detail = shop.shipped("SF1")
    extra = [{"logistics_id": 44, "tracking_number": "SF100"}]
    detail["order_info_get_response"]["order_info"]["extra_delivery_list"] = extra
    shop.answers[Pinduoduo.detail_method] = detail
    shop.connector().ship(notice(shop, lines=(ShipLine("1", 1),)))
    assert len(shop.calls) == 2
