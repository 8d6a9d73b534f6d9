"""Signatures agree with the published and computed vectors; the known mistakes do not."""

import json
from typing import Any

import httpx
import pytest

from channels_sync.connectors import jd, pinduoduo, taobao
from tests.channels_sync.platforms import NOW, REFERENCE, WINDOW, Jd, Pinduoduo, Platform, Taobao

VECTORS: list[dict[str, Any]] = json.loads(
    (REFERENCE / "signing_vectors.json").read_text(encoding="utf-8")
)
OURS = [v for v in VECTORS if v["platform"] in {"taobao", "jd", "pinduoduo"}]


def signature(vector: dict[str, Any]) -> str:
    secret = vector["secret"]
    params = vector.get("params") or vector["headers"]
    if vector["id"] == "pdd-message-ws-digest":
        return pinduoduo.message_path(params["client_id"], params["timestamp_ms"], secret)
    if vector["platform"] == "jd":
        return jd.sign(params, secret)
    if vector["platform"] == "pinduoduo":
        return pinduoduo.sign(params, secret)
    return taobao.sign(params, secret, params.get("sign_method", "md5"))


def test_there_are_vectors_for_each_platform() -> None:
    assert len(OURS) >= 15


@pytest.mark.parametrize("vector", OURS, ids=[v["id"] for v in OURS])
def test_a_signature_is_the_one_of_the_vector(vector: dict[str, Any]) -> None:
    assert signature(vector) == vector.get("expected_path", vector["expected_signature"])


@pytest.mark.parametrize("vector", OURS, ids=[v["id"] for v in OURS])
def test_a_signature_is_none_of_the_known_mistakes(vector: dict[str, Any]) -> None:
    found = signature(vector)
    for wrong in vector.get("wrong_variants", ()):
        assert wrong["value"] not in found, wrong["mistake"]


def sent(platform: Platform) -> list[dict[str, str]]:
    if isinstance(platform, Pinduoduo):
        return [json.loads(request.content) for request in platform.requests]
    return [dict(httpx.QueryParams(request.content.decode())) for request in platform.requests]


@pytest.mark.parametrize("method", ["md5", "hmac", "hmac-sha256"])
def test_taobao_signs_everything_it_sends(method: str) -> None:
    platform = Taobao(orders=1)
    list(platform.connector(sign_method=method).pull(WINDOW))
    for params in sent(platform):
        assert params["sign_method"] == method
        assert params["timestamp"] == "2026-03-01 09:08:07"
        assert params["session"] == "a-token"
        assert params["sign"] == taobao.sign(params, "a-secret", method)


def test_jd_signs_the_very_text_it_sends() -> None:
    platform = Jd(orders=1)
    list(platform.connector().pull(WINDOW))
    for params in sent(platform):
        assert params["timestamp"] == "2026-03-01 09:08:07.000+0800"
        assert params["sign"] == jd.sign(params, "a-secret")


def test_pinduoduo_sends_flat_text_and_signs_it() -> None:
    platform = Pinduoduo(orders=1)
    list(platform.connector().pull(WINDOW))
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
