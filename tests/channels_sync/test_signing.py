"""Signatures agree with the published and computed vectors; the known mistakes do not."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from channels_sync.connectors.douyin import wire as douyin
from channels_sync.connectors.jd import wire as jd
from channels_sync.connectors.pinduoduo import wire as pinduoduo
from channels_sync.connectors.shopify import wire as shopify
from channels_sync.connectors.stamped import stamp_sign
from channels_sync.connectors.taobao import wire as taobao
from channels_sync.connectors.wechat import pushes as wechat
from channels_sync.contracts import BadSignature
from tests.channels_sync.platforms import NOW, REFERENCE, WINDOW, Jd, Pinduoduo, Platform, Taobao

VECTORS: list[dict[str, Any]] = json.loads(
    (REFERENCE / "signing_vectors.json").read_text(encoding="utf-8")
)
SEALED = [v for v in VECTORS if v["id"].startswith("wechat-aes")]
"""Here the expected value is a ciphertext: nothing of ours seals, so it must open."""
SIGNED = [v for v in VECTORS if v not in SEALED]


def signature(vector: dict[str, Any]) -> str:
    """What our own function for the vector's purpose makes of it."""
    family = next(name for name in SIGNERS if vector["id"].startswith(name))
    return SIGNERS[family](vector)


def _taobao(vector: dict[str, Any]) -> str:
    params = vector["params"]
    return taobao.sign(params, vector["secret"], params["sign_method"])


def _tmc(vector: dict[str, Any]) -> str:
    headers = vector["headers"]
    return taobao.tmc_connect_sign(
        headers["app_key"], headers["group_name"], headers["timestamp"], vector["secret"]
    )


def _douyin(vector: dict[str, Any]) -> str:
    params = vector["params"]
    return douyin.sign(
        vector["secret"], params["app_key"], params["method"], vector["body"],
        params["timestamp"], sign_method=params.get("sign_method", "md5"),
    )  # fmt: skip


def _spi(vector: dict[str, Any]) -> str:
    params = vector["params"]
    return douyin.spi_sign(
        vector["secret"], params["app_key"], vector["body"], params["timestamp"],
        params["sign_method"],
    )  # fmt: skip


SIGNERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "taobao-tmc": _tmc,
    "taobao-": _taobao,
    "jd-": lambda v: jd.sign(v["params"], v["secret"]),
    "pdd-message": lambda v: pinduoduo.message_path(
        v["params"]["client_id"], v["params"]["timestamp_ms"], v["secret"]
    ),
    "pdd-": lambda v: pinduoduo.sign(v["params"], v["secret"]),
    "douyin-push": lambda v: douyin.push_sign(
        v["headers"]["app-id"], v["body"].encode(), v["secret"]
    ),
    "douyin-spi": _spi,
    "douyin-": _douyin,
    "shopify-oauth": lambda v: shopify.oauth_sign(v["secret"], v["params"]),
    "shopify-": lambda v: shopify.webhook_sign(v["secret"], v["body"].encode()),
    "wechat-": lambda v: wechat.sha1_sign(v["secret"], *v["params"].values()),
    "crm-": lambda v: stamp_sign(v["secret"], v["headers"]["X-Timestamp"], v["body"].encode()),
}
"""By the beginning of a vector's name, the longer first."""


def test_no_vector_is_left_out() -> None:
    assert (len(VECTORS), len(SIGNED), len(SEALED)) == (32, 30, 2)


@pytest.mark.parametrize("vector", SIGNED, ids=[v["id"] for v in SIGNED])
def test_a_signature_is_the_one_of_the_vector(vector: dict[str, Any]) -> None:
    assert signature(vector) == vector.get("expected_path", vector["expected_signature"])


@pytest.mark.parametrize("vector", SIGNED, ids=[v["id"] for v in SIGNED])
def test_a_signature_is_none_of_the_known_mistakes(vector: dict[str, Any]) -> None:
    found = signature(vector)
    for wrong in vector.get("wrong_variants", ()):
        assert wrong["value"] not in found, wrong["mistake"]


@pytest.mark.parametrize("vector", SEALED, ids=[v["id"] for v in SEALED])
def test_a_sealed_push_opens_for_its_own_application_only(vector: dict[str, Any]) -> None:
    app_id = vector["params"]["appid"]
    sealed = vector["expected_signature"]
    assert wechat.decrypt(vector["secret"], sealed, app_id) == vector["body"].encode()
    for key, text, owner in (
        (vector["secret"], sealed, f"{app_id}0"),
        (vector["secret"], sealed, ""),
        ("b" + vector["secret"][1:], sealed, app_id),
        (vector["secret"][:-1], sealed, app_id),
        (vector["secret"], sealed[:-24] + sealed[-4:], app_id),
        (vector["secret"], "", app_id),
        (vector["secret"], "签名", app_id),
    ):
        with pytest.raises(BadSignature):
            wechat.decrypt(key, text, owner)


def sent(platform: Platform) -> list[dict[str, str]]:
    if isinstance(platform, Pinduoduo):
        return [json.loads(request.content) for request in platform.requests]
    return [dict(httpx.QueryParams(request.content.decode())) for request in platform.requests]


@pytest.mark.parametrize("method", ["md5", "hmac", "hmac-sha256"])
def test_taobao_signs_everything_it_sends(method: str) -> None:
    platform = Taobao(orders=1)
    list(platform.connector(sign_method=method).pull("orders", WINDOW))
    for params in sent(platform):
        assert params["sign_method"] == method
        assert params["timestamp"] == "2026-03-01 09:08:07"
        assert params["session"] == "a-token"
        assert params["sign"] == taobao.sign(params, "a-secret", method)


def test_jd_signs_the_very_text_it_sends() -> None:
    platform = Jd(orders=1)
    list(platform.connector().pull("orders", WINDOW))
    for params in sent(platform):
        assert params["timestamp"] == "2026-03-01 09:08:07.000+0800"
        assert params["sign"] == jd.sign(params, "a-secret")


def test_pinduoduo_sends_flat_text_and_signs_it() -> None:
    platform = Pinduoduo(orders=1)
    list(platform.connector().pull("orders", WINDOW))
    for params in sent(platform):
        assert all(isinstance(value, str) for value in params.values())
        assert params["timestamp"] == str(int(NOW.timestamp()))
        assert params["sign"] == pinduoduo.sign(params, "a-secret")
    assert {params.get("use_has_next") for params in sent(platform)} >= {"true", "false"}


@pytest.mark.parametrize("platform", [Taobao, Jd, Pinduoduo])
def test_credentials_never_travel_over_plain_http(platform: type[Platform]) -> None:
    shop = platform()
    shop.base_url = "http://gateway.example"
    with pytest.raises(Exception, match="insecure_url"):
        shop.connector().test()
    assert not shop.requests
