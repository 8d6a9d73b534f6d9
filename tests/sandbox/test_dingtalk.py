"""The robot's stand-in: signature, keyword, twenty a minute."""

import base64
import hashlib
import hmac
from typing import Any
from urllib.parse import quote

import pytest

from ordercenter.sandbox.robots import dingtalk as platform
from tests.sandbox.callers import Bench
from tests.sandbox.wires import call, vector


def send(
    bench: Bench,
    words: str = "订单中枢：3 单超时",
    *,
    at: float | None = None,
    message: Any = None,
    sign: str | None = None,
    token: str | None = None,
) -> dict[str, Any]:
    robot = bench.seller.robots[0]
    timestamp = str(int((bench.clock.now if at is None else at) * 1000))
    secret = robot["secret"]
    mac = hmac.new(secret.encode(), f"{timestamp}\n{secret}".encode(), hashlib.sha256)
    proof = quote(base64.b64encode(mac.digest()).decode() if sign is None else sign, safe="")
    known = robot["access_token"] if token is None else token
    body = {"msgtype": "text", "text": {"content": words}} if message is None else message
    url = f"/dingtalk/robot/send?access_token={known}&timestamp={timestamp}&sign={proof}"
    reply = call(bench, "POST", url, json=body)
    assert reply.status_code == 200
    facts: dict[str, Any] = reply.json()
    return facts


def test_the_signature_is_the_vectors() -> None:
    facts = vector("dingtalk-robot")
    given = platform.signature(facts["inputs"]["timestamp"], facts["secret"])
    assert given == facts["expected_signature"]
    assert given != facts["wrong_values"]["feishu_style"]


def test_what_is_taken_is_kept(bench: Bench) -> None:
    markdown = {"title": "订单中枢告警", "text": "### 超时\n- TB01"}
    body = {"msgtype": "markdown", "markdown": markdown, "at": {"atMobiles": ["19900000001"]}}
    assert send(bench, message=body) == {"errcode": 0, "errmsg": "ok"}
    kept = bench.book.records["robot"]
    assert [row["words"] for row in kept] == ["订单中枢告警\n### 超时\n- TB01"]
    assert kept[0]["called"] == {"atMobiles": ["19900000001"]}
    assert kept[0]["at"] == bench.clock.now


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"sign": "AAAA"}, 310000, "sign"),
        ({"at": 1_772_323_000.0}, 310000, "timestamp"),
        ({"words": "没有关键词"}, 310000, "keywords"),
        ({"token": "another"}, 300001, "token"),
        ({"message": {"msgtype": "image"}}, 40035, "msgtype"),
        ({"message": {"msgtype": "text", "text": {}}}, 40035, "text.content"),
    ],
)
def test_the_rest_is_refused_with_http_200_and_not_kept(
    bench: Bench, changed: dict[str, Any], code: int, said: str
) -> None:
    answer = send(bench, **changed)
    assert answer["errcode"] == code
    assert said in answer["errmsg"]
    assert not bench.book.records["robot"]


def test_the_21st_message_of_a_minute_is_refused_and_ten_minutes_are_silent(bench: Bench) -> None:
    answers = []
    for _ in range(21):
        bench.clock.pass_by(1)
        answers.append(send(bench)["errcode"])
    assert answers == [0] * 20 + [130101]
    bench.clock.pass_by(120)
    assert send(bench)["errcode"] == 130101
    bench.clock.pass_by(481)
    assert send(bench)["errcode"] == 0
    assert len(bench.book.records["robot"]) == 21


def test_twenty_a_minute_go_on_for_ever(bench: Bench) -> None:
    for _ in range(60):
        bench.clock.pass_by(3)
        assert send(bench)["errcode"] == 0
