"""A platform that refuses our time is signed for by its own; nothing else moves our clock."""

from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from channels_sync.connectors.exchange import make_client
from channels_sync.connectors.jd.connector import JdConnector
from channels_sync.contracts import Rejected, ShopAccess
from tests.channels_sync.platforms import NOW

TOLERANCE = timedelta(minutes=6)
ORDER = "900000000001"


class Platform:
    """JD with a clock of its own; ``calls`` are the times it was signed for."""

    def __init__(self, ahead: timedelta, *, tells: bool = True) -> None:
        self.now = NOW + ahead
        self.tells = tells
        self.calls: list[datetime] = []

    def connector(self) -> JdConnector:
        access = ShopAccess("t1", "https://jd.example", "key", "secret", "token")
        client = make_client(transport=httpx.MockTransport(self._answer))
        return JdConnector(access, client, lambda: NOW)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        told = dict(parse_qsl(request.content.decode()))["timestamp"]
        signed = datetime.fromisoformat(f"{told[:19]}+08:00")
        self.calls.append(signed)
        body: dict[str, Any] = {
            "jingdong_pop_order_get_responce": {
                "code": "0",
                "orderDetailInfo": {
                    "apiResult": {"success": True, "numberCode": 10100000},
                    "orderInfo": {"orderId": ORDER},
                },
            }
        }
        if abs(self.now - signed) > TOLERANCE:
            body = {"error_response": {"code": "8", "zh_desc": "无效的时间戳参数"}}
        headers = {"date": format_datetime(self.now)} if self.tells else {}
        return httpx.Response(200, json=body, headers=headers)


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_call_refused_for_its_time_is_signed_again_by_the_platforms_clock(minutes: int) -> None:
    platform = Platform(timedelta(minutes=minutes))
    connector = platform.connector()
    assert connector.fetch(ORDER).channel_number == ORDER
    assert len(platform.calls) == 2
    assert abs(platform.calls[1] - platform.now) < timedelta(seconds=2)
    connector.fetch(ORDER)
    assert len(platform.calls) == 3  # from then on at once


def test_a_platform_that_tells_no_time_is_asked_once() -> None:
    platform = Platform(timedelta(minutes=10), tells=False)
    with pytest.raises(Rejected):
        platform.connector().fetch(ORDER)
    assert len(platform.calls) == 1


def test_a_clock_within_the_tolerance_moves_nothing() -> None:
    platform = Platform(timedelta(minutes=5))
    platform.connector().fetch(ORDER)
    assert [abs(NOW - call) < timedelta(seconds=1) for call in platform.calls] == [True]


def test_a_clock_that_lies_about_itself_is_believed_once() -> None:
    """The header says ten minutes, the tolerance is never met: no endless loop."""
    told = {"date": format_datetime(NOW + timedelta(minutes=10))}
    refusal = {"error_response": {"code": "8", "zh_desc": "无效的时间戳参数"}}
    answers = []

    def answer(request: httpx.Request) -> httpx.Response:
        answers.append(request)
        return httpx.Response(200, json=refusal, headers=told)

    access = ShopAccess("t1", "https://jd.example", "key", "secret", "token")
    client = make_client(transport=httpx.MockTransport(answer))
    with pytest.raises(Rejected):
        JdConnector(access, client, lambda: NOW).fetch(ORDER)
    assert len(answers) == 2
