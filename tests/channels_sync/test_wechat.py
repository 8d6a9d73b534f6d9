"""The WeChat shop: ids first and details after, every odd order read, every answer told once."""

import json
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from channels_sync.connectors.exchange import make_client
from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.strict_json import dump_compact
from channels_sync.connectors.wechat import connector as wechat
from channels_sync.connectors.wechat.connector import WeChatConnector
from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    AddressAnswer,
    ErrorClass,
    Memo,
    MessageKind,
    Rejected,
    ShipLine,
    ShipNotice,
    ShopAccess,
    StockFigure,
    StopAnswer,
    StopOutcome,
    TryLater,
    Unreadable,
    Unsupported,
    Window,
)
from ordercenter.orders.contracts import ChannelStatus, OrderDraft, ReceiverDraft
from tests.channels_sync.platforms import payload

NOW = datetime(2026, 3, 1, 1, 8, 7, tzinfo=UTC)
WINDOW = Window(NOW - timedelta(hours=1), NOW - timedelta(minutes=1))
NUMBER = "3700000000000000101"
LIST = "/channels/ec/order/list/get"
GET = "/channels/ec/order/get"
REFUNDS = "/channels/ec/aftersale/getaftersalelist"
REFUND = "/channels/ec/aftersale/getaftersaleorder"
SEND = "/channels/ec/order/delivery/send"
STOCK = "/channels/ec/product/stock/update"
NOTE = "/channels/ec/order/merchantnotes/update"
OK = {"errcode": 0, "errmsg": "ok"}
BUSY = {"errcode": -1, "errmsg": "system error"}
GONE = {"errcode": 100014, "errmsg": "order not found"}
READER = WeChatConnector(ShopAccess("WX01", "", "", ""))


def order(**changes: Any) -> dict[str, Any]:
    """The sample order. ``changes`` go to its top, or below by ``price_info__freight``."""
    found: dict[str, Any] = deepcopy(payload("wechat", "ec_order_get_discount_gift_masked"))
    for path, value in changes.items():
        node = found["order"]
        *steps, last = path.split("__")
        for step in steps:
            node = node["order_detail"] if step == "detail" else node[step]
        if value is ...:
            del node[last]
        else:
            node[last] = value
    inner: dict[str, Any] = found["order"]
    return inner


def line(at: int = 0, **changes: Any) -> dict[str, Any]:
    found = order()
    goods = found["order_detail"]["product_infos"][at]
    for key, value in changes.items():
        if value is ...:
            del goods[key]
        else:
            goods[key] = value
    return found


def read(found: dict[str, Any]) -> OrderDraft:
    return READER.read(dump_compact(found))


class Server:
    """WeChat as the test lays it out: ``answers`` by path, one a call; the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = {GET: [{**OK, "order": order()}]}
        self.requests: list[httpx.Request] = []

    def connector(self, **options: str) -> WeChatConnector:
        access = ShopAccess("WX01", "https://wx.example", "wx1", "s", "wx-token", options=options)
        client = make_client(transport=httpx.MockTransport(self._handle))
        return WeChatConnector(access, client, lambda: NOW)

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [json.loads(one.content) for one in self.requests if one.url.path == path]

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        planned = self.answers.get(request.url.path, [OK])
        answer = planned.pop(0) if len(planned) > 1 else planned[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


# --- asking ---------------------------------------------------------------------------------


def test_each_listed_id_is_asked_for_and_the_next_key_changes_nothing_else() -> None:
    server = Server()
    server.answers[LIST] = [
        {**OK, "order_id_list": [NUMBER, 3700000000000000201], "has_more": True, "next_key": "k"},
        {**OK, "has_more": False},
    ]
    pages = list(server.connector().pull("orders", WINDOW))
    assert [len(page.messages) for page in pages] == [2, 0]
    assert {message.kind for message in pages[0].messages} == {MessageKind.ORDER}
    assert [body["order_id"] for body in server.bodies(GET)] == [NUMBER, "3700000000000000201"]
    first, second = server.bodies(LIST)
    assert first["update_time_range"] == {"start_time": 1772323687, "end_time": 1772327227}
    assert (first.pop("next_key"), second.pop("next_key")) == ("", "k")
    assert first == second
    assert server.requests[0].url.params["access_token"] == "wx-token"


@pytest.mark.parametrize("answer", [GONE, OK])
def test_a_listed_order_without_a_detail_becomes_a_hint_that_is_asked_again(answer: Any) -> None:
    server = Server()
    server.answers |= {
        LIST: [{**OK, "order_id_list": ["1", NUMBER]}],
        GET: [answer, {**OK, "order": order()}],
    }
    (page,) = server.connector().pull("orders", WINDOW)
    hint, whole = page.messages
    assert (hint.kind, hint.channel_number) == (MessageKind.EVENT, "1")
    assert READER.read_event(hint.body).channel_number == "1"
    assert READER.read_event(hint.body).event_id == hint.event_id
    assert whole.kind is MessageKind.ORDER


@pytest.mark.parametrize(
    "answer", [BUSY, httpx.Response(502), httpx.ReadTimeout("slow"), {"errcode": 45011}]
)
def test_a_detail_that_fails_costs_its_page_and_nothing_is_cut_off(answer: Any) -> None:
    server = Server()
    server.answers |= {LIST: [{**OK, "order_id_list": ["1", "2"]}], GET: [answer]}
    with pytest.raises(TryLater):
        list(server.connector().pull("orders", WINDOW))


def test_a_lost_authorization_is_no_missing_order() -> None:
    server = Server()
    server.answers |= {LIST: [{**OK, "order_id_list": ["1"]}], GET: [{"errcode": 48001}]}
    with pytest.raises(Rejected) as refusal:
        list(server.connector().pull("orders", WINDOW))
    assert refusal.value.error.klass is ErrorClass.AUTH


@pytest.mark.parametrize("next_key", ["", "k"])
def test_a_list_that_does_not_move_on_ends_with_an_error(next_key: str) -> None:
    server = Server()
    server.answers[LIST] = [{**OK, "order_id_list": [], "has_more": True, "next_key": next_key}]
    with pytest.raises(TryLater):
        list(server.connector().pull("orders", WINDOW))


def test_a_list_without_an_end_is_left_at_a_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wechat, "MAX_PAGES", 3)
    server = Server()
    server.answers[LIST] = [
        {**OK, "order_id_list": [], "has_more": True, "next_key": f"k{n}"} for n in range(9)
    ]
    with pytest.raises(TryLater) as failure:
        list(server.connector().pull("orders", WINDOW))
    assert failure.value.error.code == "page_cap"
    assert len(server.bodies(LIST)) == 3


@pytest.mark.parametrize("rows", ["x", 7, [None], [{"order_id": 1}], [True]])
def test_a_list_of_anything_but_ids_is_not_taken_as_complete(rows: Any) -> None:
    server = Server()
    server.answers[LIST] = [{**OK, "order_id_list": rows}]
    with pytest.raises(TryLater):
        list(server.connector().pull("orders", WINDOW))


def test_refunds_are_listed_and_asked_for_in_the_same_way() -> None:
    server = Server()
    sample = payload("wechat", "ec_getaftersaleorder")
    server.answers |= {
        REFUNDS: [{**OK, "after_sale_order_id_list": [9900000000000101]}],
        REFUND: [sample],
    }
    (page,) = server.connector().pull("refunds", WINDOW)
    (message,) = page.messages
    assert (message.kind, message.channel_number) == (MessageKind.REFUND, NUMBER)
    assert READER.read_refund(message.body).amount == Decimal("112.00")
    assert server.bodies(REFUNDS)[0]["begin_update_time"] == 1772323687


def test_a_refund_the_platform_will_not_tell_is_kept_for_a_person() -> None:
    server = Server()
    server.answers |= {REFUNDS: [{**OK, "after_sale_order_id_list": ["7"]}], REFUND: [GONE]}
    (page,) = server.connector().pull("refunds", WINDOW)
    assert page.messages[0].kind is MessageKind.UNREADABLE
    assert json.loads(page.messages[0].body)["after_sale_order_id"] == "7"


def test_the_orders_of_an_hour_are_counted_by_their_creation() -> None:
    server = Server()
    server.answers[LIST] = [
        {**OK, "order_id_list": ["1", 2], "has_more": True, "next_key": "k"},
        {**OK, "order_id_list": ["2", "3"], "has_more": False, "next_key": ""},
    ]
    assert server.connector().census(WINDOW).numbers == {"1", "2", "3"}
    assert "create_time_range" in server.bodies(LIST)[0]
    assert not server.bodies(GET)


def test_an_order_without_a_detail_yet_is_asked_for_later() -> None:
    server = Server()
    server.answers[GET] = [OK]
    with pytest.raises(TryLater):
        server.connector().fetch("1")
    server.answers[GET] = [GONE]
    with pytest.raises(Rejected):
        server.connector().fetch("1")


@pytest.mark.parametrize(
    ("answer", "error", "klass"),
    [
        (BUSY, TryLater, ErrorClass.PLATFORM),
        ({"errcode": 45009, "errmsg": "quota"}, TryLater, ErrorClass.RATE_LIMITED),
        ({"errcode": "45011", "errmsg": "often"}, TryLater, ErrorClass.RATE_LIMITED),
        ({"errcode": 40164, "errmsg": "ip"}, Rejected, ErrorClass.AUTH),
        ({"errcode": 42001, "errmsg": "expired"}, Rejected, ErrorClass.AUTH),
        ({"errcode": 606006, "errmsg": "changed"}, Rejected, ErrorClass.BUSINESS),
        ({"errcode": "?"}, TryLater, ErrorClass.PLATFORM),
        (httpx.Response(403, text="ip"), Rejected, ErrorClass.AUTH),
        (httpx.Response(200, text="<html>"), TryLater, ErrorClass.PLATFORM),
        ([], TryLater, ErrorClass.PLATFORM),
    ],
)
def test_a_refusal_is_told_by_its_code(answer: Any, error: type[Any], klass: ErrorClass) -> None:
    server = Server()
    server.answers[LIST] = [answer]
    with pytest.raises(error) as refusal:
        server.connector().test()
    assert refusal.value.error.klass is klass


# --- reading --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "paid", "status", "money"),
    [
        (10, False, ChannelStatus.WAIT_PAY, "0.00"),
        (12, True, ChannelStatus.ON_HOLD, "112.00"),
        (13, True, ChannelStatus.ON_HOLD, "112.00"),
        (20, True, ChannelStatus.WAIT_SHIP, "112.00"),
        ("20", True, ChannelStatus.WAIT_SHIP, "112.00"),
        (20, False, ChannelStatus.WAIT_SHIP, "112.00"),
        (21, True, ChannelStatus.PART_SHIPPED, "112.00"),
        (30, True, ChannelStatus.SHIPPED, "112.00"),
        (100, True, ChannelStatus.FINISHED, "112.00"),
        (190, True, ChannelStatus.CLOSED, "112.00"),
        (190, False, ChannelStatus.CLOSED_UNPAID, "0.00"),
        (200, True, ChannelStatus.CLOSED_REFUNDED, "112.00"),
        (250, True, ChannelStatus.CLOSED, "112.00"),
        (250, False, ChannelStatus.CLOSED_UNPAID, "0.00"),
        (77, True, ChannelStatus.UNKNOWN, "112.00"),
        (77, False, ChannelStatus.UNKNOWN, "0.00"),
    ],
)
def test_a_status_says_with_the_payment_how_far_an_order_is(
    number: Any, paid: bool, status: ChannelStatus, money: str
) -> None:
    draft = read(order(status=number, detail__pay_info__pay_time=1772323220 if paid else 0))
    assert (draft.status, draft.status_raw) == (status, str(number))
    assert draft.paid_amount == Decimal(money)
    assert draft.payable_amount == Decimal("112.00")
    assert (draft.paid_at is not None) is paid


@pytest.mark.parametrize("pay_time", [1772323220, "1772323220"])
def test_a_payments_time_may_be_text(pay_time: Any) -> None:
    draft = read(order(detail__pay_info__pay_time=pay_time))
    assert draft.paid_at == datetime(2026, 3, 1, 0, 0, 20, tzinfo=UTC)


@pytest.mark.parametrize("number", [NUMBER, int(NUMBER), 9223372036854775807])
def test_an_id_keeps_every_digit(number: Any) -> None:
    assert read(order(order_id=number)).channel_number == str(number)


def test_what_is_absent_is_not_invented() -> None:
    draft = read(
        order(
            detail__pay_info=...,
            detail__ext_info=...,
            detail__delivery_info=...,
            aftersale_detail=...,
            update_time=0,
            status=10,
        )
    )
    assert draft.receiver == ReceiverDraft()
    assert (draft.buyer_remark, draft.seller_memo, draft.seller_flag) == (None, None, None)
    assert draft.modified_at == draft.placed_at
    assert draft.address_change is None


@pytest.mark.parametrize(
    ("changes", "amount"),
    [
        ({}, "104.00"),
        ({"is_discounted": False}, "104.00"),
        ({"is_discounted": False, "real_price": ...}, "116.00"),
        ({"is_discounted": False, "estimate_price": 0, "real_price": ...}, "116.00"),
        ({"is_discounted": ..., "is_change_price": ..., "real_price": ...}, "104.00"),
        ({"is_discounted": ..., "estimate_price": 0, "real_price": ...}, "116.00"),
        ({"is_change_price": True, "change_price": 9900}, "99.00"),
        ({"is_change_price": False, "change_price": 9900}, "104.00"),
        ({"is_change_price": True, "change_price": ...}, "104.00"),
        ({"is_change_price": True, "change_price": 0}, "0.00"),
        ({"estimate_price": "10400"}, "104.00"),
    ],
)
def test_a_line_costs_what_its_flags_say(changes: dict[str, Any], amount: str) -> None:
    first = read(line(**changes)).lines[0]
    assert (first.amount, first.unit_price) == (Decimal(amount), Decimal("58.00"))


@pytest.mark.parametrize(
    ("open_", "done", "state", "whole"),
    [(0, 0, "none", "none"), (1, 0, "in_progress", "in_progress"), (0, 1, "partial", "partial"),
     (0, 2, "refunded", "full"), (1, 1, "in_progress", "in_progress")],
)  # fmt: skip
def test_pieces_in_after_sale_make_the_refund_state(
    open_: int, done: int, state: str, whole: str
) -> None:
    draft = read(line(on_aftersale_sku_cnt=open_, finish_aftersale_sku_cnt=done))
    assert (draft.lines[0].refund_state, draft.refund_state) == (state, whole)


def test_an_order_whose_gift_alone_is_left_is_refunded_in_full() -> None:
    draft = read(line(finish_aftersale_sku_cnt=2))
    assert draft.lines[1].refund_state == "none"
    assert draft.refund_state == "full"


def test_two_lines_of_one_sku_stay_two_lines() -> None:
    draft = read(line(1, sku_id="12000000000101"))
    assert [one.channel_line_id for one in draft.lines] == ["12000000000101", "12000000000101#2"]
    assert [one.platform_sku_id for one in draft.lines] == ["12000000000101"] * 2
    assert draft.lines[0].platform_item_id == "11000000000101"


@pytest.mark.parametrize(
    ("changes", "sku", "code"),
    [
        ({"sku_id": 12000000000101}, "12000000000101", "HONEY-500"),
        ({"sku_id": "0", "sku_code": ""}, None, None),
        ({"sku_id": ..., "sku_code": ..., "out_sku_id": "other"}, None, None),
    ],
)
def test_goods_without_a_sku_or_a_code_have_none(
    changes: dict[str, Any], sku: str | None, code: str | None
) -> None:
    first = read(line(**changes)).lines[0]
    assert (first.platform_sku_id, first.outer_code) == (sku, code)


def test_a_changed_freight_counts() -> None:
    changed = {"detail__price_info__is_change_freight": True}
    assert read(order(**changed, detail__price_info__change_freight=300)).freight == Decimal("3.00")
    assert read(order(detail__price_info__freight=...)).freight == Decimal("0.00")


@pytest.mark.parametrize("flag", [1, True, "1"])
@pytest.mark.parametrize("address", [None, {}, {"user_name": "", "tel_number": ""}, ...])
def test_a_present_nobody_has_accepted_must_not_ship(flag: Any, address: Any) -> None:
    draft = read(order(is_present=flag, detail__delivery_info__address_info=address))
    assert draft.status is ChannelStatus.ON_HOLD
    assert draft.receiver == ReceiverDraft()
    assert draft.is_paid
    accepted = read(order(is_present=flag))
    assert accepted.status is ChannelStatus.WAIT_SHIP


def test_virtual_goods_without_an_address_may_ship() -> None:
    draft = read(order(detail__delivery_info__address_info=None))
    assert draft.status is ChannelStatus.WAIT_SHIP


def test_a_masked_receiver_says_so_and_a_hidden_number_is_the_virtual_one() -> None:
    receiver = read(order()).receiver
    assert receiver is not None
    assert receiver.is_masked
    assert (receiver.oaid, receiver.phone) == ("sandboxhash000101", "199****0101")
    found = order()
    to = found["order_detail"]["delivery_info"]["address_info"]
    to |= {"user_name": "张三", "detail_info": "路 1 号", "use_tel_number": 1,
           "virtual_order_tel_number": "17000000001-1234"}  # fmt: skip
    clear = read(found).receiver
    assert clear is not None
    assert (clear.phone, clear.is_masked) == ("17000000001-1234", False)


def test_a_wish_for_another_address_has_twelve_hours() -> None:
    asked = {"province_name": "浙江省", "city_name": "杭州市", "user_name": "李四"}
    found = order(detail__delivery_info__address_under_review=asked)
    change = read(found).address_change
    assert change is not None
    assert (change.asked_at, change.answer_by) == (None, None)
    found["order_detail"]["delivery_info"]["address_apply_time"] = 1772327287
    change = read(found).address_change
    assert change is not None
    assert change.answer_by == NOW + timedelta(hours=12)
    assert change.receiver is not None
    assert change.receiver.city == "杭州市"
    assert read(order(detail__delivery_info__address_under_review={})).address_change is None


def test_the_hours_to_answer_are_a_line_of_the_field_map() -> None:
    edited = {"order": {"address_answer_hours": {"default": 6}}}
    changed = FieldMap.packaged("wechat").changed(edited)
    reader = WeChatConnector(READER.access, field_map=changed)
    found = order(detail__delivery_info__address_under_review={"city_name": "杭州市"})
    found["order_detail"]["delivery_info"]["address_apply_time"] = 1772327287
    change = reader.read(dump_compact(found)).address_change
    assert change is not None
    assert change.answer_by == NOW + timedelta(hours=6)


def test_presale_is_told_by_the_stock_it_comes_from() -> None:
    assert not read(order()).is_presale
    assert read(line(sku_deliver_info={"stock_type": 1})).is_presale


def test_fields_nobody_knows_change_nothing() -> None:
    assert read(order(new_field={"a": [1]}, detail__new_field="x")) == read(order())


@pytest.mark.parametrize(
    "found",
    [
        order(order_id=""),
        order(order_id=None),
        order(create_time=None),
        order(create_time=1772323200000),
        order(detail__product_infos=[]),
        order(detail__product_infos=...),
        order(detail__product_infos="x"),
        order(detail__price_info=...),
        order(detail__price_info__order_price="112.00"),
        order(detail__price_info__order_price=-1),
        order(detail__price_info__order_price=None),
        line(sku_cnt=0),
        line(sku_cnt=True),
        line(sale_price=1.5),
        {},
    ],
)
def test_a_broken_order_is_refused_with_words(found: dict[str, Any]) -> None:
    with pytest.raises(Unreadable) as reason:
        READER.read(dump_compact(json.loads(json.dumps(found), parse_float=Decimal)))
    assert str(reason.value)


@pytest.mark.parametrize(
    ("kind", "word", "state", "back", "stop"),
    [
        ("REFUND", "MERCHANT_PROCESSING", "in_progress", False, True),
        ("REFUND", "USER_CANCELD", "closed", False, False),
        ("REFUND", "MERCHANT_REJECT_REFUND", "closed", False, False),
        ("REFUND", "PLATFORM_REFUNDING", "in_progress", False, True),
        ("REFUND", "MERCHANT_REFUND_SUCCESS", "refunded", False, True),
        ("REFUND", "SOMETHING_NEW", "in_progress", False, True),
        ("RETURN", "USER_WAIT_RETURN", "in_progress", True, False),
        ("RETURN", "MERCHANT_RETURN_SUCCESS", "refunded", True, False),
        ("RETURN", "RETURN_CLOSED", "closed", True, False),
        ("EXCHANGE", "MERCHANT_EXCHANGE_SUCCESS", "done", True, False),
        ("EXCHANGE", "MERCHANT_PROCESSING", "in_progress", True, False),
    ],
)
def test_only_money_without_goods_stops_a_parcel(
    kind: str, word: str, state: str, back: bool, stop: bool
) -> None:
    refund = payload("wechat", "ec_getaftersaleorder")["after_sale_order"]
    draft = READER.read_refund(dump_compact({**refund, "type": kind, "status": word}))
    assert (draft.refund_state, draft.return_goods, draft.intercept_shipping) == (state, back, stop)
    assert draft.state_raw == word


def test_an_exchange_without_money_has_an_amount_of_none() -> None:
    refund = payload("wechat", "ec_getaftersaleorder")["after_sale_order"]
    draft = READER.read_refund(dump_compact({**refund, "refund_info": None}))
    assert draft.amount == Decimal("0.00")


@pytest.mark.parametrize(
    ("state", "status"),
    [(1, "wait_ship"), (2, "shipped"), (3, "finished"), (4, "finished"), (5, "closed_refunded"),
     (9, "unknown")],
)  # fmt: skip
def test_a_mini_programs_payment_is_an_order_without_lines(state: int, status: str) -> None:
    answer = payload("wechat", "wxa_sec_get_order_list")
    answer["order_list"][0]["order_state"] = state
    document = READER.read_document(dump_compact(answer))
    (draft,) = document.orders
    assert (draft.status, draft.lines, draft.paid_amount) == (status, (), Decimal("46.80"))
    single = {**OK, "order": answer["order_list"][0]}
    assert READER.read_document(dump_compact(single)).orders == (draft,)


def test_empty_lists_may_come_as_no_key() -> None:
    ids = READER.read_document(dump_compact({**OK, "has_more": False, "next_key": ""}))
    assert (ids.kind, ids.facts["order_nos"]) == ("order_id_list", [])
    payments = READER.read_document(dump_compact({**OK, "last_index": "", "has_more": False}))
    assert (payments.kind, payments.orders) == ("order_list", ())
    refunds = {**OK, "after_sale_order_id_list": [1, "2"], "has_more": True, "next_key": "k"}
    found = READER.read_document(dump_compact(refunds))
    assert found.facts["refund_ids"] == ["1", "2"]
    assert found.facts["page"] == {"has_next": True, "next_cursor": "k"}


# --- shipping -------------------------------------------------------------------------------


def notice(*lines: ShipLine, carrier: str = "sf") -> ShipNotice:
    return ShipNotice("ship-1", NUMBER, carrier, "SF100", NOW, lines)


def sent(*parcels: tuple[str, str, int]) -> dict[str, Any]:
    """The sample order with parcels that are gone: (number, sku, pieces)."""
    return order(
        detail__delivery_info__delivery_product_info=[
            {
                "waybill_id": number,
                "product_infos": [
                    {"product_id": f"11{sku[2:]}", "sku_id": sku, "product_cnt": count}
                ],
            }
            for number, sku, count in parcels
        ]
    )


HONEY, SPOON = "12000000000101", "12000000000102"


def products(server: Server) -> list[tuple[str, str, int]]:
    (body,) = server.bodies(SEND)
    (parcel,) = body["delivery_list"]
    return [(p["product_id"], p["sku_id"], p["product_cnt"]) for p in parcel["product_infos"]]


def test_a_whole_order_ships_every_piece_that_is_still_there() -> None:
    server = Server()
    server.answers[GET] = [{**OK, "order": sent(("SF099", HONEY, 1))}]
    server.connector().ship(notice())
    assert products(server) == [("11000000000101", HONEY, 1), ("11000000000102", SPOON, 1)]
    (parcel,) = server.bodies(SEND)[0]["delivery_list"]
    assert (parcel["delivery_id"], parcel["waybill_id"], parcel["deliver_type"]) == (
        "SF",
        "SF100",
        1,
    )


def test_a_line_goes_in_as_many_parcels_as_it_takes() -> None:
    server = Server()
    server.connector().ship(notice(ShipLine(HONEY, 1)))
    assert products(server) == [("11000000000101", HONEY, 1)]


def test_a_gift_of_the_same_sku_ships_as_its_own_line() -> None:
    server = Server()
    server.answers[GET] = [{**OK, "order": line(1, sku_id=HONEY, product_id="11000000000101")}]
    server.connector().ship(notice(ShipLine(f"{HONEY}#2", 1)))
    assert products(server) == [("11000000000101", HONEY, 1)]


def test_pieces_that_were_given_back_do_not_ship() -> None:
    server = Server()
    server.answers[GET] = [{**OK, "order": line(finish_aftersale_sku_cnt=1)}]
    server.connector().ship(notice())
    assert products(server)[0] == ("11000000000101", HONEY, 1)


@pytest.mark.parametrize("lines", [(ShipLine(HONEY, 3),), (ShipLine("?", 1),)])
def test_more_than_is_there_is_refused_before_anything_is_told(lines: tuple[ShipLine]) -> None:
    server = Server()
    with pytest.raises(Rejected):
        server.connector().ship(notice(*lines))
    assert not server.bodies(SEND)


def test_a_parcel_the_order_has_already_is_not_told_again() -> None:
    server = Server()
    server.answers[GET] = [{**OK, "order": sent(("SF100", HONEY, 2))}]
    server.connector().ship(notice())
    assert not server.bodies(SEND)


def test_a_refusal_of_what_took_effect_is_a_success() -> None:
    server = Server()
    server.answers |= {
        GET: [{**OK, "order": order()}, {**OK, "order": sent(("SF100", HONEY, 2))}],
        SEND: [{"errcode": 10020013, "errmsg": "shipped"}],
    }
    server.connector().ship(notice(ShipLine(HONEY, 2)))


def test_a_refusal_with_other_parcels_stays_one() -> None:
    server = Server()
    server.answers |= {
        GET: [{**OK, "order": sent(("SF099", HONEY, 2))}],
        SEND: [{"errcode": 10020013, "errmsg": "no"}],
    }
    with pytest.raises(Rejected):
        server.connector().ship(notice())


def test_an_open_wish_for_another_address_only_delays_the_notice() -> None:
    server = Server()
    server.answers[SEND] = [{"errcode": 10020115, "errmsg": "address under review"}]
    with pytest.raises(TryLater) as failure:
        server.connector().ship(notice())
    assert not failure.value.outcome_unknown
    with pytest.raises(Rejected):
        server.connector(not_now_codes="1").ship(notice())


def test_virtual_goods_are_given_without_a_carrier_and_once() -> None:
    server = Server()
    server.connector().ship(notice(carrier=VIRTUAL_CARRIER))
    (parcel,) = server.bodies(SEND)[0]["delivery_list"]
    assert parcel["deliver_type"] == 3
    assert not {"delivery_id", "waybill_id"} & parcel.keys()
    server.answers[GET] = [{**OK, "order": sent(("", HONEY, 2), ("", SPOON, 1))}]
    server.connector().ship(notice(carrier=VIRTUAL_CARRIER))
    assert len(server.bodies(SEND)) == 1


@pytest.mark.parametrize("answer", [BUSY, httpx.Response(500), httpx.ReadTimeout("slow")])
def test_a_lost_answer_leaves_the_outcome_open_and_the_order_knows(answer: Any) -> None:
    server = Server()
    server.answers[SEND] = [answer]
    with pytest.raises(TryLater) as failure:
        server.connector().ship(notice())
    assert failure.value.outcome_unknown
    assert server.connector().knows(notice()) is False
    server.answers[GET] = [{**OK, "order": sent(("SF100", HONEY, 1))}]
    assert server.connector().knows(notice()) is True


# --- stock ----------------------------------------------------------------------------------


def figure(quantity: int, believed: int | None, item: str = "11") -> StockFigure:
    return StockFigure("stock-1", "12", item, "A", quantity, believed)


@pytest.mark.parametrize(
    ("quantity", "believed", "mode", "number"),
    [(8, 5, 1, 3), (5, 8, 2, 3), (8, None, 3, 8), (0, None, 3, 0)],
)
def test_stock_is_told_by_difference_and_set_only_where_it_is_unknown(
    quantity: int, believed: int | None, mode: int, number: int
) -> None:
    server = Server()
    assert server.connector().publish_stock(figure(quantity, believed)).quantity is None
    assert server.bodies(STOCK) == [
        {"product_id": "11", "sku_id": "12", "diff_type": mode, "num": number}
    ]


def test_no_difference_is_not_told() -> None:
    server = Server()
    server.connector().publish_stock(figure(5, 5))
    assert not server.requests


def test_a_figure_without_its_product_is_refused() -> None:
    with pytest.raises(Rejected):
        Server().connector().publish_stock(figure(5, 4, item=""))


def test_goods_on_promotion_are_refused_by_the_codes_the_shop_names() -> None:
    server = Server()
    server.answers[STOCK] = [{"errcode": 10020049, "errmsg": "in activity"}]
    with pytest.raises(Rejected) as refusal:
        server.connector(stock_locked_codes="1, 10020049").publish_stock(figure(1, 4))
    assert refusal.value.error.code == "stock_locked"
    with pytest.raises(Rejected) as refusal:
        server.connector().publish_stock(figure(1, 4))
    assert refusal.value.error.code == "10020049"


def test_a_difference_is_not_repeated_blindly_and_a_set_figure_may_be() -> None:
    connector = Server().connector()
    assert connector.knows(figure(5, 4)) is None
    assert connector.knows(figure(5, None)) is False
    assert StockFigure not in connector.repeatable


# --- answers --------------------------------------------------------------------------------


def stop(outcome: StopOutcome) -> StopAnswer:
    return StopAnswer("stop-1", NUMBER, "9900000000000101", outcome, "已发货", Decimal("112.00"))


@pytest.mark.parametrize(
    ("outcome", "path", "more"),
    [
        (StopOutcome.STOPPED, "acceptapply", {}),
        (StopOutcome.SHIPPED, "rejectapply", {"reject_reason": "已发货"}),
        (StopOutcome.LABEL_PRINTED, "rejectapply", {"reject_reason": "已发货"}),
    ],
)
def test_a_refund_is_granted_where_the_parcel_was_stopped(
    outcome: StopOutcome, path: str, more: dict[str, Any]
) -> None:
    server = Server()
    server.answers[REFUND] = [payload("wechat", "ec_getaftersaleorder")]
    server.connector(answer_refunds="on").answer_stop(stop(outcome))
    (body,) = server.bodies(f"/channels/ec/aftersale/{path}")
    assert body == {"after_sale_order_id": "9900000000000101", **more}
    assert server.connector().knows(stop(outcome)) is False


def test_a_refund_that_was_answered_is_not_answered_again() -> None:
    server = Server()
    sample = payload("wechat", "ec_getaftersaleorder")
    sample["after_sale_order"]["status"] = "PLATFORM_REFUNDING"
    server.answers[REFUND] = [sample]
    server.connector(answer_refunds="on").answer_stop(stop(StopOutcome.SHIPPED))
    assert [request.url.path for request in server.requests] == [REFUND]
    assert server.connector().knows(stop(StopOutcome.SHIPPED)) is True


def test_an_order_we_do_not_know_yet_refuses_nobody() -> None:
    server = Server()
    with pytest.raises(Unsupported):
        server.connector(answer_refunds="on").answer_stop(stop(StopOutcome.NOT_SYNCED))
    assert not server.requests


def test_nobodys_money_is_decided_about_unless_the_shop_says_so() -> None:
    server = Server()
    with pytest.raises(Unsupported, match="answer_refunds"):
        server.connector().answer_stop(stop(StopOutcome.STOPPED))
    assert not server.requests


def asking() -> dict[str, Any]:
    return order(detail__delivery_info__address_under_review={"city_name": "杭州市"})


@pytest.mark.parametrize(("approve", "word"), [(True, "accept"), (False, "reject")])
def test_a_wish_for_another_address_is_answered_while_it_is_open(approve: bool, word: str) -> None:
    server = Server()
    server.answers[GET] = [{**OK, "order": asking()}]
    answer = AddressAnswer("address-1", NUMBER, approve)
    assert server.connector().knows(answer) is False
    server.connector().answer_address(answer)
    assert server.bodies(f"/channels/ec/order/addressmodify/{word}") == [{"order_id": NUMBER}]
    server.connector(**{f"address_{word}_path": "/other"}).answer_address(answer)
    assert server.bodies("/other") == [{"order_id": NUMBER}]
    server.answers[GET] = [{**OK, "order": order()}]
    server.connector().answer_address(answer)
    assert len(server.bodies("/other")) == 1
    assert server.connector().knows(answer) is True


@pytest.mark.parametrize(
    ("note", "written"),
    [
        ("", "加急"),
        ("客户是老朋友", "客户是老朋友\n加急"),
        ("加急", None),
        ("a\n加急\nb", None),
        ("不加急", "不加急\n加急"),
    ],
)
def test_a_note_is_added_to_what_others_wrote(note: str, written: str | None) -> None:
    server = Server()
    server.answers[GET] = [{**OK, "order": order(detail__ext_info__merchant_notes=note)}]
    memo = Memo("memo-1", NUMBER, "加急")
    assert server.connector().knows(memo) is (written is None)
    server.connector().write_memo(memo)
    expected = [] if written is None else [{"order_id": NUMBER, "merchant_notes": written}]
    assert server.bodies(NOTE) == expected


def test_a_note_that_would_cut_others_words_is_refused() -> None:
    server = Server()
    server.answers[GET] = [{**OK, "order": order(detail__ext_info__merchant_notes="x" * 199)}]
    with pytest.raises(Rejected) as refusal:
        server.connector().write_memo(Memo("memo-1", NUMBER, "加急"))
    assert refusal.value.error.code == "memo_too_long"
    assert not server.bodies(NOTE)
    server.connector(memo_limit="500").write_memo(Memo("memo-1", NUMBER, "加急"))


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.ship(notice()),
        lambda c: c.write_memo(Memo("k", NUMBER, "x")),
        lambda c: c.publish_stock(figure(2, 1)),
    ],
)
def test_no_call_goes_over_plain_http(call: Callable[[WeChatConnector], None]) -> None:
    server = Server()
    connector = server.connector(wechat_url="http://wx.example")
    with pytest.raises(Rejected, match="insecure_url"):
        call(connector)
    assert not server.requests
