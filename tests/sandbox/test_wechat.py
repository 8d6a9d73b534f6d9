"""The WeChat shop's stand-in: ids first, whole orders one by one, and sealed pushes."""

import asyncio
import base64
import hashlib
import json
import xml.etree.ElementTree as ET
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ordercenter.sandbox.book import DONE, REFUSED, SHIPPED, WAIT_SHIP, Order
from ordercenter.sandbox.platforms.wechat import bodies, pushing
from ordercenter.sandbox.shelf import AT_FIRST
from tests.sandbox.callers import Bench
from tests.sandbox.wires import Center, call, gaps, pusher_of, sample, vector

ORDERS = "/channels/ec/order"
AFTERSALE = "/channels/ec/aftersale"
STOCK = "/channels/ec/product/stock"


def ask(bench: Bench, path: str, token: str | None = None, **wish: Any) -> dict[str, Any]:
    token = bench.shop("WX01").access_token if token is None else token
    reply = call(bench, "POST", f"/wechat{path}?access_token={token}", json=wish)
    assert reply.status_code == 200
    facts: dict[str, Any] = reply.json()
    return facts


def ids(bench: Bench, start: float, end: float, **more: Any) -> dict[str, Any]:
    span = {"start_time": int(start), "end_time": int(end)}
    wish: dict[str, Any] = {"update_time_range": span, "page_size": 100, "next_key": ""}
    return ask(bench, f"{ORDERS}/list/get", **(wish | more))


def detail(bench: Bench, order: Order) -> dict[str, Any]:
    facts: dict[str, Any] = ask(bench, f"{ORDERS}/get", order_id=order.number)["order"]
    return facts


def window(bench: Bench) -> tuple[float, float]:
    return bench.clock.now - 3600, bench.clock.now + 1


def three_pieces(bench: Bench) -> Order:
    """A paid order of one line of three pieces."""
    order = bench.sell_paid("WX01")[0]
    while len(order.lines) > 1:
        order = bench.sell_paid("WX01")[0]
    order.lines[0].quantity = 3
    return order


def product(order: Order, count: int, turn: int = 0) -> dict[str, Any]:
    line = order.lines[turn]
    known = bodies.product_id(line.sku_code)
    return {"product_id": known, "sku_id": line.platform_sku_id, "product_cnt": count}


def parcel(number: str, *products: dict[str, Any], **changed: Any) -> dict[str, Any]:
    row = {"delivery_id": "SF", "waybill_id": number, "deliver_type": 1}
    return row | {"product_infos": list(products)} | changed


def send(bench: Bench, order: Order, *parcels: dict[str, Any]) -> dict[str, Any]:
    wish: dict[str, Any] = {"order_id": order.number, "delivery_list": list(parcels)}
    return ask(bench, f"{ORDERS}/delivery/send", **wish)


# Getting in


def test_the_token_is_given_for_the_secret_and_refused_for_another(bench: Bench) -> None:
    shop = bench.shop("WX01")
    wish = {"grant_type": "client_credential", "appid": shop.app_key, "secret": shop.app_secret}
    given = call(bench, "POST", "/wechat/cgi-bin/stable_token", json=wish).json()
    assert (given["access_token"], "errcode" in given) == (shop.access_token, False)
    wrong = call(bench, "POST", "/wechat/cgi-bin/stable_token", json=wish | {"secret": "x"}).json()
    assert wrong["errcode"] == 40125


def test_a_wrong_or_dead_token_opens_nothing(bench: Bench) -> None:
    order = bench.sell_paid("WX01")[0]
    assert ask(bench, f"{ORDERS}/get", "x", order_id=order.number)["errcode"] == 40001
    bench.clock.pass_by(7201)
    late = ask(bench, f"{ORDERS}/get", order_id=order.number)
    assert late["errcode"] == sample("wechat/error_access_token_expired.json")["errcode"]


def test_the_wrong_verb_and_a_body_that_is_no_json_are_told_apart(bench: Bench) -> None:
    path = f"/wechat{ORDERS}/get?access_token={bench.shop('WX01').access_token}"
    assert call(bench, "GET", path).json()["errcode"] == 43001
    assert call(bench, "POST", path, content=b"{").json()["errcode"] == 47001
    assert call(bench, "POST", "/wechat/channels/ec/nothing").status_code == 404


# Reading


def test_a_list_gives_ids_only_and_its_key_leads_on(bench: Bench) -> None:
    sold = [order.number for order in bench.sell("WX01", 5)]
    first = ids(bench, *window(bench), page_size=2)
    assert not gaps(sample("wechat/ec_order_list_get_page.json"), first)
    seen, page = first["order_id_list"], first
    while page["has_more"]:
        page = ids(bench, *window(bench), page_size=2, next_key=page["next_key"])
        seen += page["order_id_list"]
    assert seen == sold


def test_a_key_is_good_for_its_own_parameters_only(bench: Bench) -> None:
    bench.sell("WX01", 3)
    start, end = window(bench)
    key = ids(bench, start, end, page_size=2)["next_key"]
    assert ids(bench, start + 1, end, page_size=2, next_key=key)["errcode"] == 606006
    assert ids(bench, start, end, page_size=3, next_key=key)["errcode"] == 606006
    assert ids(bench, start, end, page_size=2, next_key="x")["errcode"] == 40097


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"page_size": 101}, 40097),
        ({"page_size": 0}, 40097),
        ({"update_time_range": {"start_time": 1, "end_time": 1 + 7 * 86_400 + 1}}, 40097),
        ({"update_time_range": {"start_time": 5, "end_time": 5}}, 31042),
        ({"update_time_range": {"start_time": "1", "end_time": 5}}, 40097),
        ({"update_time_range": None}, 40097),
        ({"create_time_range": {"start_time": 1, "end_time": 5}}, 40097),
    ],
)
def test_a_bad_list_call_is_refused(bench: Bench, changed: dict[str, Any], code: int) -> None:
    assert ids(bench, *window(bench), **changed)["errcode"] == code


def test_orders_are_listed_by_their_creation_too(bench: Bench) -> None:
    old = bench.sell_paid("WX01")[0]
    bench.clock.pass_by(3600)
    bench.book.touch(old)
    span = {"start_time": int(old.created) - 1, "end_time": int(old.created) + 1}
    found = ask(bench, f"{ORDERS}/list/get", create_time_range=span)
    assert found["order_id_list"] == [old.number]
    assert ids(bench, old.created - 1, old.created + 1)["order_id_list"] == []


def test_an_order_has_the_shape_of_the_captured_one(bench: Bench) -> None:
    order = bench.sell("WX01", 1, "gift_short")[0]
    wanted = sample("wechat/ec_order_get_discount_gift_masked.json")["order"]
    plain = {**wanted["order_detail"]["product_infos"][0]}
    wanted["order_detail"]["product_infos"] = [plain]
    given = detail(bench, order)
    assert not gaps(wanted, given)
    gift = given["order_detail"]["product_infos"][-1]
    assert (gift["is_free_gift"], gift["estimate_price"]) == (True, 0)
    assert gift["free_gift_info"]["main_product_list"][0]["cnt"] == order.lines[0].quantity
    assert ask(bench, f"{ORDERS}/get", order_id="37000")["errcode"] == 10020050
    assert ask(bench, f"{ORDERS}/get", order_id=int(order.number))["errcode"] == 40097


def test_the_money_of_the_lines_adds_up_to_the_order(bench: Bench) -> None:
    for order in bench.sell("WX01", 15):
        facts = bodies.order_body(bench.shop("WX01"), order, bench.clock.now)["order_detail"]
        price, lines = facts["price_info"], facts["product_infos"]
        assert sum(line["real_price"] for line in lines) + price["freight"] == price["order_price"]
        assert price["original_order_price"] - price["discounted_price"] == price["order_price"]
        for line in lines:
            filled = line["real_price"] if line["is_discounted"] else 0
            assert line["estimate_price"] == filled


def test_the_receiver_is_masked_after_a_while_and_known_again_by_its_hash(bench: Bench) -> None:
    order = bench.sell_paid("WX01")[0]
    clear = detail(bench, order)["order_detail"]["delivery_info"]["address_info"]
    assert (clear["user_name"], clear["tel_number"]) == (order.receiver.name, order.receiver.phone)
    bench.shop("WX01").options["mask_after_seconds"] = "3600"
    bench.clock.pass_by(3601)
    masked = detail(bench, order)["order_detail"]["delivery_info"]["address_info"]
    assert masked["user_name"] == f"{order.receiver.name[0]}**"
    assert order.receiver.address not in masked["detail_info"]
    assert masked["hash_code"] == clear["hash_code"]


# Shipping


def test_a_line_goes_in_several_parcels_and_never_more_than_was_bought(bench: Bench) -> None:
    order = three_pieces(bench)
    two = send(bench, order, parcel("SF1", product(order, 2)))
    assert two == sample("wechat/ec_order_delivery_send_ok.json")
    assert detail(bench, order)["status"] == 21
    assert send(bench, order, parcel("SF2", product(order, 2)))["errcode"] == 10020053
    assert send(bench, order, parcel("SF3", product(order, 1)))["errcode"] == 0
    assert order.state == SHIPPED
    told = detail(bench, order)["order_detail"]["delivery_info"]["delivery_product_info"]
    assert [row["product_infos"][0]["product_cnt"] for row in told] == [2, 1]


def test_parcels_of_one_call_go_all_or_none(bench: Bench) -> None:
    order = three_pieces(bench)
    both = (parcel("SF1", product(order, 2)), parcel("SF2", product(order, 2)))
    assert send(bench, order, *both)["errcode"] == 10020053
    assert not order.shipments


def test_goods_without_a_parcel_need_no_waybill(bench: Bench) -> None:
    order = three_pieces(bench)
    virtual = parcel("", product(order, 3), deliver_type=3, delivery_id="")
    assert send(bench, order, virtual)["errcode"] == 0
    assert (order.state, order.shipments[0].is_virtual) == (SHIPPED, True)
    told = detail(bench, order)["order_detail"]["delivery_info"]["delivery_product_info"]
    assert [(row["deliver_type"], row["waybill_id"]) for row in told] == [(3, "")]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"delivery_id": "shunfeng"}, 10020054),
        ({"waybill_id": ""}, 10020054),
        ({"deliver_type": 2}, 40097),
        ({"product_infos": []}, 40097),
        ({"product_infos": [{"product_id": "1", "sku_id": "1", "product_cnt": 1}]}, 40097),
    ],
)
def test_a_bad_parcel_is_refused(bench: Bench, changed: dict[str, Any], code: int) -> None:
    order = three_pieces(bench)
    assert send(bench, order, parcel("SF1", product(order, 1)) | changed)["errcode"] == code
    assert not order.shipments


def test_parcels_are_replaced_once_there_are_some(bench: Bench) -> None:
    order = three_pieces(bench)
    wish: dict[str, Any] = {
        "order_id": order.number,
        "delivery_list": [parcel("SF9", product(order, 3))],
    }
    assert ask(bench, f"{ORDERS}/deliveryinfo/update", **wish)["errcode"] == 10020052
    send(bench, order, parcel("SF1", product(order, 3)))
    assert ask(bench, f"{ORDERS}/deliveryinfo/update", **wish)["errcode"] == 0
    assert [s.tracking_number for s in order.shipments] == ["SF9"]
    companies = ask(bench, f"{ORDERS}/deliverycompanylist/get")["company_list"]
    assert "SF" in {row["delivery_id"] for row in companies}


# Notes, addresses, after-sales, stock


def test_the_merchants_note_is_replaced(bench: Bench) -> None:
    order = bench.sell_paid("WX01")[0]
    wish = {"order_id": order.number, "merchant_notes": "先写的"}
    ask(bench, f"{ORDERS}/merchantnotes/update", **wish)
    ask(bench, f"{ORDERS}/merchantnotes/update", **(wish | {"merchant_notes": "后写的"}))
    assert detail(bench, order)["order_detail"]["ext_info"]["merchant_notes"] == "后写的"
    bad = ask(bench, f"{ORDERS}/merchantnotes/update", **(wish | {"merchant_notes": None}))
    assert bad["errcode"] == 40097


def test_a_young_orders_buyer_changes_the_address_himself(bench: Bench) -> None:
    order = bench.sell_paid("WX01")[0]
    bench.control("address_ask", shop="WX01", number=order.number)
    assert order.address_version == 2
    bench.clock.pass_by(6 * 3600 + 1)
    said = bench.control("address_ask", shop="WX01", number=order.number)
    assert said["answer_by"] == bench.clock.now + 12 * 3600
    assert order.address_version == 2


@pytest.mark.parametrize(("verb", "version"), [("accept", 2), ("reject", 1)])
def test_a_wish_for_another_address_stops_shipping_until_it_is_answered(
    bench: Bench, verb: str, version: int
) -> None:
    order = three_pieces(bench)
    asked = {"shop": "WX01", "number": order.number, "review": True}
    bench.control("address_ask", **asked)
    info = detail(bench, order)["order_detail"]["delivery_info"]
    wanted = order.extra["address_wish"]["receiver"]
    assert info["address_under_review"]["detail_info"].endswith(wanted["address"])
    assert send(bench, order, parcel("SF1", product(order, 3)))["errcode"] == 10020115
    path = f"{ORDERS}/addressmodify/{verb}"
    assert ask(bench, path, order_id=order.number)["errcode"] == 0
    assert ask(bench, path, order_id=order.number)["errcode"] == 10020055
    info = detail(bench, order)["order_detail"]["delivery_info"]
    assert info["address_under_review"] is None
    assert order.address_version == version
    assert send(bench, order, parcel("SF1", product(order, 3)))["errcode"] == 0


def test_after_sales_are_listed_read_and_answered(bench: Bench) -> None:
    orders = bench.sell_paid("WX01", 2)
    for order in orders:
        bench.market.ask_refund(order)
    now = int(bench.clock.now)
    span: dict[str, Any] = {"begin_update_time": now - 60, "end_update_time": now + 60}
    listed = ask(bench, f"{AFTERSALE}/getaftersalelist", **span)["after_sale_order_id_list"]
    assert sorted(listed) == sorted(r.refund_id for o in orders for r in o.refunds)
    first, second = orders[0].refunds[0], orders[1].refunds[0]
    read = ask(bench, f"{AFTERSALE}/getaftersaleorder", after_sale_order_id=first.refund_id)
    assert not gaps(sample("wechat/ec_getaftersaleorder.json"), read)
    accept = {"after_sale_order_id": first.refund_id}
    assert ask(bench, f"{AFTERSALE}/acceptapply", **accept)["errcode"] == 0
    assert ask(bench, f"{AFTERSALE}/acceptapply", **accept)["errcode"] == 10020052
    reject = {"after_sale_order_id": second.refund_id}
    assert ask(bench, f"{AFTERSALE}/rejectapply", **reject)["errcode"] == 40097
    assert ask(bench, f"{AFTERSALE}/rejectapply", **reject, reject_reason="已发货")["errcode"] == 0
    assert (first.state, second.state) == (DONE, REFUSED)
    assert [stop["stopped"] for order in orders for stop in order.stops] == [True, False]
    unknown = ask(bench, f"{AFTERSALE}/getaftersaleorder", after_sale_order_id="1")
    assert unknown["errcode"] == 10020150
    long: dict[str, Any] = {"begin_update_time": now - 86_402, "end_update_time": now}
    assert ask(bench, f"{AFTERSALE}/getaftersalelist", **long)["errcode"] == 40097


def stock(bench: Bench, way: int, num: int, **changed: Any) -> dict[str, Any]:
    listed = next(x for x in bench.shop("WX01").listed if x.platform_sku_id)
    sku = {"product_id": bodies.product_id(listed.goods), "sku_id": listed.platform_sku_id}
    return ask(bench, f"{STOCK}/update", **({**sku, "diff_type": way, "num": num} | changed))


def shown(bench: Bench) -> int:
    listed = next(x for x in bench.shop("WX01").listed if x.platform_sku_id)
    sku = {"product_id": bodies.product_id(listed.goods), "sku_id": listed.platform_sku_id}
    return int(ask(bench, f"{STOCK}/get", **sku)["data"]["normal_stock_num"])


def test_stock_is_added_taken_or_set(bench: Bench) -> None:
    assert not gaps(sample("wechat/ec_product_stock_update_ok.json"), stock(bench, 3, 20))
    stock(bench, 1, 5)
    stock(bench, 2, 7)
    assert shown(bench) == 18
    assert stock(bench, 2, 19)["errcode"] == 10020056
    assert stock(bench, 4, 1)["errcode"] == 40097
    assert stock(bench, 1, -1)["errcode"] == 40097
    assert stock(bench, 1, 1, sku_id="1")["errcode"] == 10020021
    assert shown(bench) == 18
    assert [row["shown"] for row in bench.book.records["stock"]] == [20, 25, 18]


def test_one_sku_is_not_told_too_often(bench: Bench) -> None:
    bench.shop("WX01").options["stock_updates_a_minute"] = "3"
    assert [stock(bench, 3, n)["errcode"] for n in range(4)] == [0, 0, 0, 45011]
    bench.clock.pass_by(61)
    assert stock(bench, 3, 9)["errcode"] == 0


def test_sales_lower_what_is_shown(bench: Bench) -> None:
    shelf = AT_FIRST
    order = bench.sell_paid("WX01")[0]
    line = order.lines[0]
    sku = {"product_id": bodies.product_id(line.sku_code), "sku_id": line.platform_sku_id}
    left = ask(bench, f"{STOCK}/get", **sku)["data"]["normal_stock_num"]
    assert left == shelf - line.quantity


# Pushing


def test_the_signatures_are_the_vectors() -> None:
    for name in ("wechat-url-verify", "wechat-msg-signature", "wechat-msg-signature-json-event"):
        facts = vector(name)
        given = pushing.signature(facts["secret"], *facts["params"].values())
        assert given == facts["expected_signature"]


@pytest.mark.parametrize("name", ["wechat-aes-official", "wechat-aes-json-event"])
def test_the_cipher_is_the_vectors(name: str) -> None:
    facts = vector(name)
    sealed = pushing.encrypt(
        facts["body"].encode(),
        aes_key=facts["secret"],
        appid=facts["params"]["appid"],
        salt=facts["params"]["random"].encode(),
    )
    assert sealed == facts["expected_signature"]
    assert unseal(sealed, facts["secret"]) == (facts["body"].encode(), facts["params"]["appid"])


def unseal(sealed: str, aes_key: str) -> tuple[bytes, str]:
    """The message and the appid, read as the reference says."""
    key = base64.b64decode(aes_key + "=")
    opener = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    plain = opener.update(base64.b64decode(sealed)) + opener.finalize()
    assert 1 <= plain[-1] <= 32
    plain = plain[: -plain[-1]]
    length = int.from_bytes(plain[16:20], "big")
    return plain[20 : 20 + length], plain[20 + length :].decode()


class Wechat(Center):
    """A center that says ``success`` as WeChat wants it."""

    def __init__(self, text: str = "success") -> None:
        super().__init__()
        self.text = text

    def take(self, outgoing: Any) -> int:
        def answer(request: httpx.Request) -> httpx.Response:
            self.heard.append(request)
            return httpx.Response(200, text=self.text)

        async def send() -> int:
            async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
                count: int = await outgoing.send_due(client)
                return count

        return asyncio.run(send())


def heard(bench: Bench) -> list[httpx.Request]:
    center = Wechat()
    center.take(pusher_of(bench, "wechat.pushing").outgoing)
    return center.heard


def sha1(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode(), usedforsecurity=False).hexdigest()


def query_of(request: httpx.Request) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(str(request.url)).query))


def opened(bench: Bench, request: httpx.Request) -> bytes:
    """The message of a push in secure mode, its signatures checked."""
    shop, query = bench.shop("WX01"), query_of(request)
    sealed = json.loads(request.content)["Encrypt"]
    token = shop.secrets["push_token"]
    at = (token, query["timestamp"], query["nonce"])
    assert query["signature"] == sha1(*at)
    assert query["msg_signature"] == sha1(*at, sealed)
    message, appid = unseal(sealed, shop.secrets["encoding_aes_key"])
    assert appid == shop.app_key
    return message


def test_a_sealed_push_opens_to_the_captured_event(bench: Bench) -> None:
    bench.sell("WX01", 1, "low_price")
    told = [json.loads(opened(bench, request)) for request in heard(bench)]
    assert [event["Event"] for event in told] == ["channels_ec_order_new", "channels_ec_order_pay"]
    assert not {"ToUserName", "FromUserName", "CreateTime", "MsgType"} - told[1].keys()
    assert set(sample("wechat/event_order_pay.json")) == set(told[1])


def test_a_plain_push_is_signed_in_its_address(bench: Bench) -> None:
    shop = bench.shop("WX01")
    shop.options["push_mode"] = "plain"
    order = bench.sell("WX01", 1, "low_price")[0]
    request = heard(bench)[0]
    query = query_of(request)
    at = (shop.secrets["push_token"], query["timestamp"], query["nonce"])
    assert query["signature"] == sha1(*at)
    assert "msg_signature" not in query
    assert str(json.loads(request.content)["order_info"]["order_id"]) == order.number
    assert str(request.url).startswith("http://127.0.0.1:9/hooks/wechat/WX01/?")


def test_pushes_may_come_as_xml(bench: Bench) -> None:
    shop = bench.shop("WX01")
    shop.options |= {"push_mode": "plain", "push_format": "xml"}
    order = bench.sell("WX01", 1, "low_price")[0]
    root = ET.fromstring(heard(bench)[0].content)  # noqa: S314 - our own words
    assert root.findtext("Event") == "channels_ec_order_new"
    assert root.findtext("order_info/order_id") == order.number
    shop.options["push_mode"] = "aes"
    bench.sell("WX01", 1, "low_price")
    sealed = ET.fromstring(heard(bench)[0].content).findtext("Encrypt")  # noqa: S314
    message, _ = unseal(sealed or "", shop.secrets["encoding_aes_key"])
    assert ET.fromstring(message).findtext("MsgType") == "event"  # noqa: S314


def test_ids_come_as_numbers_and_as_texts(bench: Bench) -> None:
    bench.shop("WX01").options["push_mode"] = "plain"
    bench.sell("WX01", 20, "low_price")
    kinds = {type(json.loads(r.content)["order_info"]["order_id"]) for r in heard(bench)}
    assert kinds == {int, str}


def test_every_step_of_an_order_has_its_event(bench: Bench) -> None:
    bench.shop("WX01").options["push_mode"] = "plain"
    order = three_pieces(bench)
    heard(bench)
    bench.market.ask_refund(order)
    bench.book.settle_refund(order, order.refunds[0], REFUSED)
    bench.control("address_ask", shop="WX01", number=order.number, review=True)
    ask(bench, f"{ORDERS}/addressmodify/accept", order_id=order.number)
    ask(bench, f"{ORDERS}/merchantnotes/update", order_id=order.number, merchant_notes="备注")
    send(bench, order, parcel("SF1", product(order, 1)))
    send(bench, order, parcel("SF2", product(order, 2)))
    bench.book.finish(order)
    told = [json.loads(request.content) for request in heard(bench)]
    short = [event["Event"].removeprefix("channels_ec_") for event in told]
    assert short == [
        "aftersale_update", "aftersale_update", "order_ext_info_update", "order_ext_info_update",
        "order_ext_info_update", "order_deliver", "order_deliver", "order_confirm",
    ]  # fmt: skip
    assert [event["order_info"]["type"] for event in told[2:5]] == [4, 2, 3]
    assert [event["order_info"]["finish_delivery"] for event in told[5:7]] == [0, 1]
    status = [event["finder_shop_aftersale_status_update"]["status"] for event in told[:2]]
    assert status == ["MERCHANT_PROCESSING", "MERCHANT_REJECT_REFUND"]


def test_what_is_not_taken_with_success_is_repeated_three_times(bench: Bench) -> None:
    outgoing = pusher_of(bench, "wechat.pushing").outgoing
    bench.sell("WX01", 1, "low_price")
    deaf = Wechat("ok")
    for _ in range(8):
        deaf.take(outgoing)
        bench.clock.pass_by(100)
    assert len(deaf.heard) == 2 * 4
    assert [row["taken"] for row in bench.book.records["push"]] == [False, False]


def test_the_address_is_checked_with_an_echo(bench: Bench) -> None:
    pusher, shop = pusher_of(bench, "wechat.pushing"), bench.shop("WX01")

    def echo(request: httpx.Request) -> httpx.Response:
        query = query_of(request)
        given = sha1(shop.secrets["push_token"], query["timestamp"], query["nonce"])
        return httpx.Response(200, text=query["echostr"] if given == query["signature"] else "")

    async def check(answer: Any) -> bool:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            good: bool = await pusher.check_address(client, shop)
            return good

    assert asyncio.run(check(echo)) is True
    assert asyncio.run(check(lambda _: httpx.Response(200, text="success"))) is False
    assert [row["good"] for row in bench.book.records["wechat_check"]] == [True, False]


def test_a_group_order_waits(bench: Bench) -> None:
    order = bench.sell("WX01", 1, "platform_hold")[0]
    assert detail(bench, order)["status"] == 13
    assert send(bench, order, parcel("SF1", product(order, 1)))["errcode"] == 10020052
    bench.clock.pass_by(200)
    bench.market.tick()
    assert order.state == WAIT_SHIP
