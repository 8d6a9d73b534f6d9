"""The gateways take the documented signature and no other."""

from typing import Any

import pytest
from starlette.applications import Starlette

from ordercenter.sandbox.book import Book, ShopConfig
from ordercenter.sandbox.platforms.jd import gateway as jd
from ordercenter.sandbox.platforms.pinduoduo import gateway as pinduoduo
from ordercenter.sandbox.platforms.taobao import gateway as taobao
from ordercenter.sandbox.wire import beijing, read_beijing
from tests.sandbox.callers import Bench, Clock, Wire, vectors

TAOBAO, JD, PINDUODUO = vectors("taobao"), vectors("jd"), vectors("pinduoduo")
BAD_SIGNATURE = {"taobao": (25, "code"), "jd": ("12", "code"), "pinduoduo": (20004, "error_code")}


def named(vector: dict[str, Any]) -> str:
    return str(vector["id"])


def test_the_vectors_are_there() -> None:
    assert (len(TAOBAO), len(JD), len(PINDUODUO)) == (5, 4, 4)


@pytest.mark.parametrize("vector", TAOBAO, ids=named)
def test_taobao_signs_as_the_vectors_say(vector: dict[str, Any]) -> None:
    params, secret = vector["params"], vector["secret"]
    assert taobao.sign(params, secret, params["sign_method"]) == vector["expected_signature"]


@pytest.mark.parametrize("vector", JD, ids=named)
def test_jd_signs_as_the_vectors_say(vector: dict[str, Any]) -> None:
    assert jd.sign(vector["params"], vector["secret"]) == vector["expected_signature"]


@pytest.mark.parametrize("vector", PINDUODUO, ids=named)
def test_pinduoduo_signs_as_the_vectors_say(vector: dict[str, Any]) -> None:
    assert pinduoduo.sign(vector["params"], vector["secret"]) == vector["expected_signature"]


def gateway(vector: dict[str, Any]) -> tuple[Wire, str]:
    """The platform of ``vector`` with a shop that has its keys, at the time it was signed."""
    platform, params = vector["platform"], vector["params"]
    shop = ShopConfig(
        code="X1",
        name="验签店",
        channel=platform,
        base_url=f"/{platform}",
        app_key=params.get("app_key") or params["client_id"],
        app_secret=vector["secret"],
        access_token=params.get("session") or params["access_token"],
    )
    stamp = params["timestamp"]
    if platform == "pinduoduo":
        at = float(stamp)
    else:
        at = jd.read_time(stamp) if platform == "jd" else read_beijing(stamp)
    book = Book([shop], clock=Clock(at))
    module = {"taobao": taobao, "jd": jd, "pinduoduo": pinduoduo}[platform]
    routes = module.routes(book)
    return Wire(Starlette(routes=routes)), routes[0].path


def says(vector: dict[str, Any], signature: str) -> dict[str, Any]:
    client, path = gateway(vector)
    sent = {**vector["params"], "sign": signature}
    facts: dict[str, Any] = client.post(path, data=sent).json()
    return facts


def refused_for_its_signature(vector: dict[str, Any], answer: dict[str, Any]) -> bool:
    code, key = BAD_SIGNATURE[vector["platform"]]
    return bool(answer.get("error_response", {}).get(key) == code)


# The published Pinduoduo vector asks for XML, which is refused before any signature is read.
CALLS = [v for v in TAOBAO + JD + PINDUODUO if v["params"].get("data_type", "JSON") == "JSON"]
MISTAKES = [
    pytest.param(vector, mistake["value"], id=f"{vector['id']}: {mistake['mistake']}")
    for vector in CALLS
    for mistake in vector.get("wrong_variants", [])
]


@pytest.mark.parametrize("vector", CALLS, ids=named)
def test_a_right_signature_comes_through_on_the_wire(vector: dict[str, Any]) -> None:
    answer = says(vector, vector["expected_signature"])
    assert not refused_for_its_signature(vector, answer)


@pytest.mark.parametrize("vector", CALLS, ids=named)
def test_lower_case_hex_is_refused(vector: dict[str, Any]) -> None:
    answer = says(vector, vector["expected_signature"].lower())
    assert refused_for_its_signature(vector, answer)


@pytest.mark.parametrize(("vector", "signature"), MISTAKES)
def test_every_known_mistake_is_refused(vector: dict[str, Any], signature: str) -> None:
    assert refused_for_its_signature(vector, says(vector, signature))


@pytest.mark.parametrize("late", [-1, 1])
def test_a_clock_beyond_the_tolerance_is_refused(bench: Bench, late: int) -> None:
    now = bench.clock.now
    inside, outside = now + late * 590, now + late * 610
    assert "error_response" not in at_time(bench, inside, taobao_too=True)
    assert at_time(bench, outside, taobao_too=True)["error_response"]["code"] == 41
    assert at_time(bench, outside, taobao_too=False)["error_response"]["error_code"] == 10001
    stamp = beijing(now + late * 370)
    assert jos_at(bench, stamp)["error_response"]["code"] == "8"
    assert "error_response" not in jos_at(bench, beijing(now + late * 350))


def at_time(bench: Bench, at: float, *, taobao_too: bool) -> dict[str, Any]:
    if taobao_too:
        stamp = beijing(at)
        return bench.trades(bench.clock.now - 60, bench.clock.now, timestamp=stamp)
    stamp = str(int(at))
    return bench.pdd_list(bench.clock.now - 60, bench.clock.now, timestamp=stamp)


def jos_at(bench: Bench, stamp: str) -> dict[str, Any]:
    wish = {"optional_fields": "orderId", "order_id": "1"}
    return bench.jos("jingdong.pop.order.get", wish, timestamp=stamp)


def test_a_wrong_token_is_told_from_a_wrong_signature(bench: Bench) -> None:
    now = bench.clock.now
    top = bench.trades(now - 60, now, session="6100000somebodyelse")
    assert (top["error_response"]["code"], top["error_response"]["sub_code"]) == (
        27,
        "invalid-sessionkey",
    )
    wish = {"optional_fields": "orderId", "order_id": "1"}
    jos = bench.jos("jingdong.pop.order.get", wish, access_token="old")
    assert jos["error_response"]["code"] == "19"
    pop = bench.pdd_list(now - 60, now, access_token="old")
    assert pop["error_response"]["error_code"] == 10019


def test_a_parameter_changed_on_the_way_is_refused(bench: Bench) -> None:
    shop = bench.shop("TB01")
    sent = {
        "app_key": shop.app_key, "method": "taobao.trade.memo.update", "v": "2.0",
        "session": shop.access_token, "timestamp": beijing(bench.clock.now),
        "format": "json", "sign_method": "md5", "tid": "1", "memo": "原文",
    }  # fmt: skip
    sent["sign"] = taobao.sign(sent, shop.app_secret, "md5")
    answer = bench.http.post("/taobao/router/rest", data=sent | {"memo": "改过"}).json()
    assert answer["error_response"]["code"] == 25
