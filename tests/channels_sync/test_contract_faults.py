"""What every connector keeps when its line misbehaves: two ways to fail, and nothing claimed."""

import json
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import httpx
import pytest

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import (
    AddressAnswer,
    ConnectorError,
    DecryptRequest,
    ErrorClass,
    Memo,
    OpenLine,
    Rejected,
    ShipLine,
    ShipNotice,
    StockFigure,
    StopAnswer,
    StopOutcome,
    TryLater,
    Unsupported,
)
from tests.channels_sync.contract_cases import BY_CHANNEL, CASES, DOCUMENTS, SECRET, TOKEN, Case
from tests.channels_sync.platforms import NOW, WINDOW

every = pytest.mark.parametrize("case", CASES, ids=list(BY_CHANNEL))
pulling = [case for case in CASES if case.channel != "file"]
every_pull = pytest.mark.parametrize("case", pulling, ids=[c.channel for c in pulling])
NOTICE = ShipNotice("k1", "N1", "sf", "SF1001", NOW, lines=(ShipLine("L1", 1),))
TOLD = (
    NOTICE,
    StockFigure("k2", "S1", "I1", "CUP-1", 5, 4),
    StopAnswer("k3", "N1", "R1", StopOutcome.STOPPED, "已拦截", Decimal("1.00")),
    Memo("k4", "N1", "加急"),
    AddressAnswer("k5", "N1", approve=True),
)


# --- the line misbehaves ----------------------------------------------------------------------

HTML = "<html><body>502</body></html>"
FAULTS: dict[str, tuple[Any, ErrorClass, int | None]] = {
    "html_200": (httpx.Response(200, html=HTML), ErrorClass.PLATFORM, None),
    "half body": (httpx.Response(200, content=b'{"trades_'), ErrorClass.PLATFORM, None),
    "cut line": (httpx.RemoteProtocolError("x"), ErrorClass.PLATFORM, None),
    "empty": (httpx.Response(200, content=b""), ErrorClass.PLATFORM, None),
    "500": (httpx.Response(500, html=HTML), ErrorClass.PLATFORM, None),
    "503 with a wait": (
        httpx.Response(503, headers={"retry-after": "9"}, html=HTML), ErrorClass.PLATFORM, 9,
    ),
    "429": (httpx.Response(429, html=HTML), ErrorClass.RATE_LIMITED, None),
    "429 with a wait": (
        httpx.Response(429, headers={"retry-after": "17"}), ErrorClass.RATE_LIMITED, 17,
    ),
    "silence": (httpx.ReadTimeout("x"), ErrorClass.PLATFORM, None),
    "away": (httpx.ConnectError("x"), ErrorClass.PLATFORM, None),
}  # fmt: skip


def client(answer: Any) -> httpx.Client:
    def handle(_request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    return make_client(transport=httpx.MockTransport(handle))


@every_pull
@pytest.mark.parametrize(("answer", "klass", "wait"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_on_the_way_is_tried_later(
    case: Case, answer: Any, klass: ErrorClass, wait: int | None
) -> None:
    one = case.connector(client(answer))
    asks: list[Callable[[], object]] = [lambda: one.fetch("N1")]
    asks += [lambda f=feed.code: list(one.pull(f, WINDOW)) for feed in one.feeds]  # type: ignore[misc]
    for ask in asks:
        with pytest.raises(TryLater) as failure:
            ask()
        assert (failure.value.error.klass, failure.value.wait) == (klass, wait)
        assert not failure.value.outcome_unknown
        assert TOKEN not in str(failure.value)
        assert SECRET not in str(failure.value)


@every_pull
@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("content", [b"", HTML.encode(), b"{}"])
def test_a_closed_door_is_a_matter_of_credentials(case: Case, status: int, content: bytes) -> None:
    for feed in CONNECTORS[case.channel].feeds:
        with pytest.raises(Rejected) as failure:
            list(case.connector(client(httpx.Response(status, content=content))).pull(
                feed.code, WINDOW
            ))  # fmt: skip
        assert failure.value.error.klass is ErrorClass.AUTH


class RenewingLine(OpenLine):
    """Another token can be had; this platform refuses it just the same."""

    def renew(self, stale_token: str) -> str:
        return "another-token"


ERRORS = [(case, name, body) for case, name, body in DOCUMENTS if name.startswith("error_")]


@pytest.mark.parametrize(
    ("case", "name", "body"), ERRORS, ids=[f"{c.channel}-{n}" for c, n, _ in ERRORS]
)
def test_an_error_inside_http_200_is_raised_by_its_class(
    case: Case, name: str, body: bytes
) -> None:
    one = case.connector(client(httpx.Response(200, content=body)), RenewingLine())
    told = one.read_document(body).error
    assert told is not None
    lasting = told.klass in {ErrorClass.AUTH, ErrorClass.BUSINESS}
    with pytest.raises(Rejected if lasting else TryLater) as failure:
        list(one.pull("orders", WINDOW))
    assert failure.value.error == told


@every
@pytest.mark.parametrize("answer", [a for a, _, _ in FAULTS.values()], ids=FAULTS.keys())
def test_whatever_it_is_told_it_fails_in_two_ways_only(case: Case, answer: Any) -> None:
    """Unsupported, Rejected or TryLater: nothing else comes out, and nothing is claimed done."""
    one = case.connector(client(answer))
    asked = DecryptRequest("N1", "oaid", "1001", case.order_body())
    calls: list[Callable[[], object]] = [
        lambda: one.ship(NOTICE),
        lambda: one.publish_stock(TOLD[1]),
        lambda: one.answer_stop(TOLD[2]),
        lambda: one.write_memo(TOLD[3]),
        lambda: one.answer_address(TOLD[4]),
        lambda: one.census(WINDOW),
        lambda: one.refresh("r"),
        lambda: one.exchange_code("c"),
    ]
    for call in calls:
        with pytest.raises(ConnectorError) as failure:
            call()
        assert TOKEN not in str(failure.value)
        assert SECRET not in str(failure.value)
    for told in TOLD:
        _none_or_error(lambda t=told: one.knows(t))  # type: ignore[misc]
    with suppress(ConnectorError):
        assert all(answer.error for answer in one.decrypt([asked]))
    if not one.listens:
        with pytest.raises(Unsupported):
            one.listen(lambda rows: None, lambda: True)


def _none_or_error(ask: Callable[[], bool | None]) -> None:
    """Where the platform cannot be asked, nobody may say that it knows, or that it does not."""
    try:
        assert ask() is None
    except ConnectorError:
        return


@every_pull
@pytest.mark.parametrize("scheme", ["http://gateway.example", "ftp://x", "gateway.example"])
def test_credentials_never_go_in_the_clear(case: Case, scheme: str) -> None:
    one = case.connector(client(httpx.Response(200, json={})), base_url=scheme)
    with pytest.raises(Rejected) as failure:
        list(one.pull("orders", WINDOW))
    assert failure.value.error.code == "insecure_url"


# --- what an error means (channels.md, the tables) --------------------------------------------

AUTH, LIMITED = ErrorClass.AUTH, ErrorClass.RATE_LIMITED
AWAY, BUSINESS = ErrorClass.PLATFORM, ErrorClass.BUSINESS


def _top(code: int, sub: str = "") -> dict[str, Any]:
    return {"error_response": {"code": code, "msg": "x", "sub_code": sub, "sub_msg": "x"}}


def _jos(code: str) -> dict[str, Any]:
    return {"error_response": {"code": code, "zh_desc": "x", "en_desc": "x"}}


def _doudian(code: int, sub: str = "") -> dict[str, Any]:
    return {"code": code, "msg": "x", "sub_code": sub, "sub_msg": "x", "data": None}


def _pop(code: int) -> dict[str, Any]:
    return {"error_response": {"error_code": code, "error_msg": "x"}}


def _graphql(code: str) -> dict[str, Any]:
    return {"errors": [{"message": "x", "extensions": {"code": code}}]}


MEANINGS: list[tuple[str, Any, ErrorClass]] = [
    ("taobao", _top(7, "accesscontrol.limited-by-app-access-count"), LIMITED),
    ("taobao", _top(7, "accesscontrol.limited-by-app-api-access-count"), LIMITED),
    *(("taobao", _top(code), AUTH) for code in (22, 23, 25, 26, 27, 28, 29)),
    *(("taobao", _top(code), BUSINESS) for code in (40, 41)),
    *(("taobao", _top(15, f"isp.{sub}"), AWAY) for sub in (
        "top-remote-connection-timeout", "top-remote-service-unavailable",
        "top-remote-unknown-error", "top-remote-connection-timeout-tmall", "system-busy")),
    ("taobao", _top(15, "isv.trade-not-exist"), BUSINESS),
    ("taobao", _top(530), AWAY),
    ("jd", _jos("2"), LIMITED),
    *(("jd", _jos(code), AUTH) for code in ("7", "8", "11", "12", "18", "19", "20", "80", "89")),
    *(("jd", _jos(code), AWAY) for code in ("43", "65", "66", "67", "10100046")),
    *(("jd", _jos(code), BUSINESS) for code in ("14", "60", "68", "70", "71", "72")),
    ("jd", {"code": "67", "errorMessage": "x"}, AWAY),
    *(("douyin", _doudian(code), AWAY) for code in (20000, 20001, 90000)),
    *(("douyin", _doudian(code), AUTH) for code in (30001, 30002, 50001)),
    ("douyin", _doudian(40003, "isv.access-token-expired"), AUTH),
    ("douyin", _doudian(40001, "isv.signature-invalid"), AUTH),
    *(("douyin", _doudian(code), BUSINESS) for code in (40002, 40004, 50002, 70000, 80000)),
    ("douyin", _doudian(60000), LIMITED),
    *(("pinduoduo", _pop(code), AUTH) for code in (10019, 20004, 20005, 20031)),
    *(("pinduoduo", _pop(code), AWAY) for code in (50000, 50001, 52001, 52002, 52102, 70033)),
    *(("pinduoduo", _pop(code), LIMITED) for code in (52101, 70031)),
    *(("pinduoduo", _pop(code), BUSINESS) for code in (10001, 70036)),
    ("shopify", _graphql("THROTTLED"), LIMITED),
    ("shopify", _graphql("MAX_COST_EXCEEDED"), BUSINESS),
    ("shopify", _graphql("ACCESS_DENIED"), AUTH),
    ("shopify", _graphql("INTERNAL_SERVER_ERROR"), AWAY),
    *(("wechat", {"errcode": code, "errmsg": "x"}, AUTH) for code in (40001, 40014, 42001, 40164)),
    *(("wechat", {"errcode": code, "errmsg": "x"}, LIMITED) for code in (45009, 45011)),
    ("wechat", {"errcode": -1, "errmsg": "x"}, AWAY),
    *(("wechat", {"errcode": code, "errmsg": "x"}, BUSINESS) for code in (40097, 606006)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("channel", "answer", "klass"),
    MEANINGS,
    ids=[f"{c}-{json.dumps(a)[:60]}" for c, a, _ in MEANINGS],
)
def test_a_platforms_error_means_what_its_table_says(
    channel: str, answer: Any, klass: ErrorClass
) -> None:
    error = BY_CHANNEL[channel].reader().read_document(json.dumps(answer).encode()).error
    assert error is not None
    assert error.klass is klass
