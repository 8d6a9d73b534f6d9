# ruff: noqa: RUF001 - full-width twins of ASCII signs are what escaping is about
"""DingTalk: signed, escaped, and its refusals told apart; its token is in no log and no error."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings

from ordercenter.notices.senders import SendError, SendLater, SendRefused, make_client
from ordercenter.notices.senders.dingtalk import (
    MAX_MARKDOWN,
    DingTalkAccess,
    DingTalkSender,
    escape,
    markdown,
    sign,
)

NOW = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
REFERENCE = Path(__file__).parent.parent / "data" / "reference"
VECTOR = next(
    one
    for one in json.loads((REFERENCE / "signing_vectors_carriers.json").read_text("utf-8"))
    if one["id"] == "dingtalk-robot"
)
ACCESS = DingTalkAccess(
    base_url="https://oapi.example",
    access_token="robot-token-0001",
    secret=VECTOR["secret"],
    keyword="订单中枢",
)


class Robot:
    def __init__(self, answer: Any = None) -> None:
        self.answer = {"errcode": 0, "errmsg": "ok"} if answer is None else answer
        self.requests: list[httpx.Request] = []

    def sender(self, access: DingTalkAccess = ACCESS) -> DingTalkSender:
        client = make_client(transport=httpx.MockTransport(self._handle))
        return DingTalkSender(access, client, lambda: NOW)

    def text(self) -> str:
        return str(json.loads(self.requests[-1].content)["markdown"]["text"])

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, httpx.Response):
            return self.answer
        return httpx.Response(200, json=self.answer)


def test_the_signature_is_the_one_of_the_vector() -> None:
    assert sign(VECTOR["secret"], VECTOR["inputs"]["timestamp"]) == VECTOR["expected_signature"]
    assert VECTOR["expected_signature"] not in VECTOR["wrong_values"].values()


def test_a_message_goes_out_signed_with_every_sign_of_base64_encoded() -> None:
    robot = Robot()
    robot.sender().send("一级异常", "订单 DY01-1 待审核")
    request = robot.requests[-1]
    raw = request.url.raw_path.decode()
    assert raw.startswith("/robot/send?access_token=robot-token-0001&timestamp=1772409600000&")
    assert raw.endswith("&sign=" + VECTOR["url_encoded"])
    body = json.loads(request.content)
    assert body["msgtype"] == "markdown"
    assert body["at"] == {"isAtAll": False}
    assert "订单".encode() in request.content


def test_a_robot_without_a_secret_is_sent_no_signature() -> None:
    robot = Robot()
    robot.sender(DingTalkAccess("https://oapi.example/robot/send", "t")).send("a", "b")
    assert robot.requests[-1].url.query == b"access_token=t"


def test_the_keyword_is_put_in_once() -> None:
    assert markdown("告警", "x", keyword="订单中枢")["markdown"]["title"] == "【订单中枢】告警"
    assert markdown("告警", "订单中枢：x", keyword="订单中枢")["markdown"]["title"] == "告警"


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("[领红包](http://evil.example)", "［领红包］(http：//evil.example)"),
        ("![x](https://evil/x.png)", "!［x］(https：//evil/x.png)"),
        ("<img src=x onerror=alert(1)>", "＜img src=x onerror=alert(1)＞"),
        ("**b** ~~s~~ `c`", "＊＊b＊＊ ～～s～～ ｀c｀"),
        ("_斜_ but SKU_1 stays", "＿斜＿ but SKU_1 stays"),
        ("# 标题", "＃ 标题"),
        ("> 引用", "＞ 引用"),
        ("- 列表", "－ 列表"),
        ("1. 列表", "1． 列表"),
        ("1.5 元", "1.5 元"),
        ("    代码", "代码"),
        ("---", "－－－"),
        ("a|b", "a｜b"),
        ("&lt;b&gt;", "＆lt;b＆gt;"),
        ("www.evil.example", "www．evil.example"),
        ("dingtalk://page", "dingtalk：//page"),
        ("a\u202egnp.exe\u200b\x07", "agnp.exe"),
        ("{{7*7}} %s {0}", "{{7＊7}} %s {0}"),
        ("今天必须发😀", "今天必须发😀"),
    ],
)  # fmt: skip
def test_what_a_buyer_typed_is_shown_as_typed(typed: str, shown: str) -> None:
    assert escape(typed) == shown


def test_a_title_and_every_line_are_escaped_and_stay_lines() -> None:
    robot = Robot()
    robot.sender().send("[x](http://e)\n# y", "第一行\n\n# 第二行\n  - 第三行")
    heading, *lines = robot.text().split("\n\n")
    assert heading == "### 【订单中枢】［x］(http：//e) # y"
    assert lines == ["第一行", "＃ 第二行", "－ 第三行"]


def test_our_own_link_is_the_only_one_and_cannot_be_broken_out_of() -> None:
    robot = Robot()
    robot.sender().send("a", "b", link="https://center.example/review/1?a=b c)[x](http://evil")
    last = robot.text().split("\n\n")[-1]
    assert last.startswith("[查看详情](https://center.example/review/1?a=b%20c%29%5Bx%5D%28http:")
    assert robot.text().count("](") == 1


@pytest.mark.parametrize("link", ["javascript:alert(1)", "dingtalk://x", "/review/1"])
def test_a_link_that_is_no_web_page_is_refused(link: str) -> None:
    with pytest.raises(SendRefused):
        Robot().sender().send("a", "b", link=link)


@pytest.mark.parametrize("text", ["甲" * 9000, "\n".join(["乙" * 90] * 200), "短\n" + "丙" * 9000])
def test_what_is_too_long_is_cut_and_says_so(text: str) -> None:
    body = markdown("标题" * 90, text, link="https://c.example/1", keyword="订单中枢")["markdown"]
    assert len(body["text"]) <= MAX_MARKDOWN
    assert "内容过长" in body["text"]
    assert body["text"].endswith("(https://c.example/1)")


@pytest.mark.parametrize(
    ("answer", "error", "wait"),
    [
        ({"errcode": 310000, "errmsg": "sign not match"}, SendRefused, None),
        ({"errcode": 310000, "errmsg": "keywords not in content"}, SendRefused, None),
        ({"errcode": 300001, "errmsg": "token is not exist"}, SendRefused, None),
        ({"errcode": 130101, "errmsg": "send too fast"}, SendLater, 600),
        ({"status": 1111, "errcode": 130101, "wait": 5, "errmsg": "x"}, SendLater, 600),
        ({"errcode": -1, "errmsg": "系统繁忙"}, SendLater, 60),
        ({"errmsg": "no code"}, SendLater, 60),
        ({"errcode": False}, SendRefused, None),
        ([], SendLater, 60),
        (httpx.Response(200, text="<html>"), SendLater, 60),
        (httpx.Response(200, text=""), SendLater, 60),
        (httpx.Response(302, headers={"location": "https://evil.example"}), SendLater, 60),
        (httpx.Response(404), SendRefused, None),
        (httpx.Response(429), SendLater, 600),
        (httpx.Response(502), SendLater, 60),
        (httpx.ConnectError("refused"), SendLater, 60),
        (httpx.ReadTimeout("slow"), SendLater, 60),
    ],
)
def test_a_refusal_says_whether_to_wait_or_to_look(
    answer: Any, error: type[SendError], wait: int | None
) -> None:
    robot = Robot(answer)
    with pytest.raises(error) as refusal:
        robot.sender().send("a", "b")
    assert getattr(refusal.value, "wait", None) == wait
    assert len(robot.requests) == 1


@pytest.mark.parametrize("answer", [httpx.ConnectError("x"), httpx.Response(502), {"errcode": 1}])
def test_the_token_is_in_no_log_and_in_no_error(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    robot = Robot(answer)
    with caplog.at_level(logging.DEBUG), pytest.raises(SendError) as failure:
        robot.sender().send("a", "b")
    told = caplog.text + repr(ACCESS) + repr(failure.value) + str(failure.value)
    assert failure.value.__cause__ is None
    for secret in (ACCESS.access_token, ACCESS.secret, VECTOR["url_encoded"]):
        assert secret not in told


def test_the_settings_keep_addresses_out_of_the_log_too() -> None:
    logging_settings: Any = settings.LOGGING
    assert logging_settings["loggers"]["httpx"]["level"] == "WARNING"


def test_a_robot_is_only_spoken_to_under_cover() -> None:
    robot = Robot()
    with pytest.raises(SendRefused):
        robot.sender(DingTalkAccess("http://oapi.example", "t")).send("a", "b")
    assert not robot.requests
    robot.sender(DingTalkAccess("http://127.0.0.1:8100/dingtalk", "t")).send("a", "b")
    assert robot.requests[-1].url.path == "/dingtalk/robot/send"
