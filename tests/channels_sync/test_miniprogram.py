"""Our own mini-program shop: orders from its CRM, parcels told to WeChat."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from channels_sync.connectors.exchange import make_client
from channels_sync.connectors.miniprogram.connector import MiniProgramConnector
from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    ErrorClass,
    Memo,
    OpenLine,
    Rejected,
    ShipLine,
    ShipNotice,
    ShopAccess,
    TryLater,
    Unsupported,
)
from tests.channels_sync.platforms import payload

NOW = datetime(2026, 3, 1, 1, 8, 7, tzinfo=UTC)
NUMBER = "PD000000000000"
UPLOAD = "wxa/sec/order/upload_shipping_info"
PAYMENT = "wxa/sec/order/get_order"
TOKEN = "cgi-bin/stable_token"


def row(**changes: Any) -> dict[str, Any]:
    first: dict[str, Any] = payload("crm_webhook", "db_rows_page")["rows"][0]
    return {**first, "order_no": NUMBER, **changes}


class Renewing(OpenLine):
    """A line that renews by the connector's own ``refresh``, as the house's does."""

    connector: MiniProgramConnector

    def renew(self, stale_token: str) -> str:
        return self.connector.refresh("").access_token


class Shop:
    """The CRM and WeChat in one. ``answers`` by path, one a call; the last one stays."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.answers: dict[str, list[Any]] = {}

    def connector(self, holding: str = "wx-token", **options: str) -> MiniProgramConnector:
        access = ShopAccess(
            "MP01", "https://crm.example/shop", "wxapp", "a-secret", holding, options=options
        )
        client = make_client(transport=httpx.MockTransport(self._handle))
        line = Renewing()
        line.connector = MiniProgramConnector(access, client, lambda: NOW, line=line)
        return line.connector

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [
            json.loads(request.content)
            for request in self.requests
            if request.url.path.endswith(path)
        ]

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        path = request.url.path.removeprefix("/shop/")
        planned = self.answers.get(path, [{"errcode": 0, "errmsg": "ok"}])
        answer = planned.pop(0) if len(planned) > 1 else planned[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


def notice(*lines: ShipLine, carrier: str = "zto", others: tuple[str, ...] = ()) -> ShipNotice:
    return ShipNotice("ship-1", NUMBER, carrier, "SF100", NOW, lines, others)


def test_wechat_is_told_by_merchant_and_order_number() -> None:
    shop = Shop()
    shop.connector(mchid="1600000001").ship(notice())
    (body,) = shop.bodies(UPLOAD)
    assert body["order_key"] == {
        "order_number_type": 1,
        "mchid": "1600000001",
        "out_trade_no": NUMBER,
    }
    assert (body["logistics_type"], body["delivery_mode"]) == (1, 1)
    assert body["upload_time"] == "2026-03-01T09:08:07.000+08:00"
    (parcel,) = body["shipping_list"]
    assert (parcel["tracking_no"], parcel["express_company"]) == ("SF100", "ZTO")
    assert "contact" not in parcel
    assert "订单".encode() in shop.requests[-1].content
    assert shop.requests[-1].url.params["access_token"] == "wx-token"


def test_an_sf_parcel_names_the_receiver_masked() -> None:
    shop = Shop()
    shop.answers[f"crm_order/{NUMBER}"] = [{"rows": [row()]}]
    shop.connector().ship(notice(carrier="sf"))
    (parcel,) = shop.bodies(UPLOAD)[0]["shipping_list"]
    assert parcel["contact"] == {"receiver_contact": "199****0101"}
    assert b"19900000101" not in shop.requests[-1].content


@pytest.mark.parametrize(
    ("lines", "mode"),
    [
        ((ShipLine("1", 2), ShipLine("2", 1)), (1, None)),
        ((ShipLine("1", 1), ShipLine("2", 1)), (2, False)),
        ((ShipLine("1", 2),), (2, False)),
    ],
)
def test_only_a_parcel_with_every_piece_is_the_whole_order(
    lines: tuple[ShipLine, ...], mode: tuple[int, bool | None]
) -> None:
    items = [{"sku_code": "A", "qty": 2, "unit_price": "1.00"},
             {"sku_code": "B", "qty": 1, "unit_price": "1.00"}]  # fmt: skip
    shop = Shop()
    shop.answers[f"crm_order/{NUMBER}"] = [{"rows": [row(items_json=json.dumps(items))]}]
    shop.connector().ship(notice(*lines))
    (body,) = shop.bodies(UPLOAD)
    assert (body["delivery_mode"], body.get("is_all_delivered")) == mode


DEAD = {"errcode": 42001, "errmsg": "expired"}
OK = {"errcode": 0, "errmsg": "ok"}


def token(text: str) -> dict[str, Any]:
    return {"access_token": text, "expires_in": 7200}


def test_a_token_that_ended_is_renewed_without_force() -> None:
    shop = Shop()
    shop.answers |= {UPLOAD: [DEAD, OK], TOKEN: [token("wx-2")]}
    shop.connector().ship(notice())
    assert [body["force_refresh"] for body in shop.bodies(TOKEN)] == [False]
    assert shop.requests[-1].url.params["access_token"] == "wx-2"


def test_a_token_that_was_withdrawn_before_its_end_is_forced_anew_once() -> None:
    shop = Shop()
    shop.answers |= {UPLOAD: [DEAD, OK], TOKEN: [token("wx-token"), token("wx-2")]}
    shop.connector().ship(notice())
    assert [body["force_refresh"] for body in shop.bodies(TOKEN)] == [False, True]
    shop.answers |= {UPLOAD: [DEAD], TOKEN: [token("wx-3")]}
    with pytest.raises(Rejected) as refusal:
        shop.connector().ship(notice())
    assert refusal.value.error.klass is ErrorClass.AUTH


def test_a_shop_without_a_token_gets_one_before_it_calls() -> None:
    shop = Shop()
    shop.answers[TOKEN] = [token("wx-1")]
    shop.connector("").ship(notice())
    assert [request.url.path.rsplit("/", 1)[-1] for request in shop.requests] == [
        "stable_token",
        "upload_shipping_info",
    ]


def test_a_first_token_knows_when_it_ends() -> None:
    shop = Shop()
    shop.answers[TOKEN] = [token("wx-1")]
    found = shop.connector("").exchange_code("")
    assert found.access_token == "wx-1"
    assert found.expires_at is not None
    assert (found.expires_at - NOW).total_seconds() == 7200
    assert "wx-1" not in repr(found)


def test_virtual_goods_name_no_carrier() -> None:
    shop = Shop()
    shop.connector().ship(notice(carrier=VIRTUAL_CARRIER))
    (body,) = shop.bodies(UPLOAD)
    assert body["logistics_type"] == 3
    assert "tracking_no" not in body["shipping_list"][0]


@pytest.mark.parametrize(("lines", "done"), [((), True), ((ShipLine("1", 1),), False)])
def test_a_further_parcel_is_told_as_a_part_and_the_rest_ends_it(
    lines: tuple[ShipLine, ...], done: bool
) -> None:
    shop = Shop()
    shop.connector().ship(notice(*lines, others=("SF099",)))
    (body,) = shop.bodies(UPLOAD)
    assert (body["delivery_mode"], body["is_all_delivered"]) == (2, done)


@pytest.mark.parametrize(("number", "known"), [("SF100", True), ("SF101", False)])
def test_wechat_is_asked_which_parcels_a_payment_has(number: str, known: bool) -> None:
    shop = Shop()
    shop.answers[PAYMENT] = [{"order": {"shipping": {"shipping_list": [{"tracking_no": number}]}}}]
    assert shop.connector(mchid="16").knows(notice()) is known
    assert shop.bodies(PAYMENT) == [{"merchant_trade_no": NUMBER, "merchant_id": "16"}]


def test_wechat_may_answer_at_another_address_than_the_crm() -> None:
    shop = Shop()
    shop.connector(wechat_url="https://api.example").ship(notice())
    assert shop.requests[-1].url.host == "api.example"


def test_notes_are_not_wanted_by_anybody() -> None:
    with pytest.raises(Unsupported):
        Shop().connector().write_memo(Memo("k", NUMBER, "x"))


def test_the_same_parcel_told_twice_is_a_success() -> None:
    shop = Shop()
    shop.answers[UPLOAD] = [{"errcode": 10060023, "errmsg": "发货信息未更新"}]
    shop.connector().ship(notice())


@pytest.mark.parametrize(
    ("answer", "error", "klass"),
    [
        ({"errcode": -1, "errmsg": "busy"}, TryLater, ErrorClass.PLATFORM),
        ({"errcode": 45011, "errmsg": "often"}, TryLater, ErrorClass.RATE_LIMITED),
        ({"errcode": 10060001, "errmsg": "no such payment"}, Rejected, ErrorClass.BUSINESS),
        (httpx.Response(502), TryLater, ErrorClass.PLATFORM),
        (httpx.ReadTimeout("slow"), TryLater, ErrorClass.PLATFORM),
    ],
)
def test_a_refusal_of_wechat_is_told_by_its_code(
    answer: Any, error: type[Any], klass: ErrorClass
) -> None:
    shop = Shop()
    shop.answers[UPLOAD] = [answer]
    with pytest.raises(error) as refusal:
        shop.connector().ship(notice())
    assert refusal.value.error.klass is klass
    if klass is ErrorClass.PLATFORM:
        assert refusal.value.outcome_unknown


def test_a_token_that_did_not_come_leaves_nothing_in_doubt() -> None:
    shop = Shop()
    shop.answers[TOKEN] = [httpx.ReadTimeout("slow")]
    with pytest.raises(TryLater) as failure:
        shop.connector("").ship(notice())
    assert not failure.value.outcome_unknown
