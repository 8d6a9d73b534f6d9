"""A platform that misbehaves is TryLater or Rejected, never a crash and never an empty answer."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from channels_sync.connectors import CONNECTORS, exchange
from channels_sync.contracts import (
    BadSignature,
    ErrorClass,
    MessageKind,
    Rejected,
    ShopAccess,
    TryLater,
    WebhookRequest,
)
from tests.channels_sync.platforms import (
    NOW,
    PAYLOADS,
    PLATFORMS,
    WINDOW,
    Platform,
    payload,
)

every_platform = pytest.mark.parametrize("platform", PLATFORMS, ids=[p.channel for p in PLATFORMS])
PlatformType = type[Any]
HTML = "<html><body>502 Bad Gateway</body></html>"


def failing(platform: PlatformType, answer: Any) -> Platform:
    shop: Platform = platform(orders=1)
    shop.answers[platform.list_method] = answer
    return shop


FAULTS: dict[str, tuple[Any, str]] = {
    "connect time-out": (httpx.ConnectTimeout("x"), "timeout"),
    "read time-out": (httpx.ReadTimeout("x"), "timeout"),
    "reset": (httpx.ReadError("x"), "network"),
    "refused": (httpx.ConnectError("x"), "network"),
    "half an answer": (httpx.RemoteProtocolError("x"), "bad_body"),
    "HTML with 200": (httpx.Response(200, html=HTML), "bad_body"),
    "half a JSON": (httpx.Response(200, content=b'{"trades_sold_incr'), "bad_body"),
    "empty": (httpx.Response(200, content=b""), "bad_body"),
    "blank": (httpx.Response(200, content=b" \n"), "bad_body"),
    "an array": (httpx.Response(200, content=b"[]"), "bad_body"),
    "null": (httpx.Response(200, content=b"null"), "bad_body"),
    "another answer": (httpx.Response(200, json={"other_response": {}}), "bad_body"),
    "error without an object": (httpx.Response(200, json={"error_response": 7}), "bad_body"),
    "500": (httpx.Response(500, html=HTML), "http_500"),
    "502": (httpx.Response(502, html=HTML), "http_502"),
    "redirect": (httpx.Response(302, headers={"location": "https://x.example"}), "http_302"),
    "404": (httpx.Response(404, html=HTML), "http_404"),
}


@every_platform
@pytest.mark.parametrize(("answer", "code"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_on_the_way_is_tried_later(platform: PlatformType, answer: Any, code: str) -> None:
    with pytest.raises(TryLater) as failure:
        list(failing(platform, answer).connector().pull("orders", WINDOW))
    assert failure.value.error.klass is ErrorClass.PLATFORM
    assert failure.value.error.code == code
    assert not failure.value.outcome_unknown


@every_platform
@pytest.mark.parametrize(("header", "wait"), [("17", 17), ("soon", None), ("", None)])
def test_a_429_says_how_long_to_wait(platform: PlatformType, header: str, wait: int | None) -> None:
    answer = httpx.Response(429, headers={"retry-after": header})
    with pytest.raises(TryLater) as failure:
        list(failing(platform, answer).connector().pull("orders", WINDOW))
    assert failure.value.error.klass is ErrorClass.RATE_LIMITED
    assert failure.value.wait == wait


@every_platform
@pytest.mark.parametrize("status", [401, 403])
def test_a_closed_door_is_a_matter_of_credentials(platform: PlatformType, status: int) -> None:
    with pytest.raises(Rejected) as failure:
        failing(platform, httpx.Response(status, html=HTML)).connector().test()
    assert failure.value.error.klass is ErrorClass.AUTH


ERRORS = [
    (p, file.name, file.read_bytes())
    for p in PLATFORMS
    for file in sorted((PAYLOADS / p.channel).glob("error_*.json"))
]


@pytest.mark.parametrize(("platform", "name", "body"), ERRORS, ids=[e[1] for e in ERRORS])
def test_an_error_inside_http_200_is_raised_by_its_class(
    platform: PlatformType, name: str, body: bytes
) -> None:
    shop = failing(platform, httpx.Response(200, content=body))
    told = shop.connector().read_document(body).error
    assert told is not None
    lasting = told.klass in {ErrorClass.AUTH, ErrorClass.BUSINESS}
    with pytest.raises(Rejected if lasting else TryLater) as failure:
        list(shop.connector().pull("orders", WINDOW))
    assert failure.value.error == told


STALE = {
    "taobao": payload("taobao", "error_invalid_session"),
    "jd": payload("jd", "error_invalid_token"),
    "pinduoduo": payload("pinduoduo", "error_access_token_expired"),
}


@every_platform
def test_a_stale_token_is_renewed_once_in_the_middle_of_a_list(platform: PlatformType) -> None:
    """The call is made again with the new token, signed anew, and no page is lost."""
    shop: Platform = platform(orders=250)
    tokens: list[str] = []

    def expire(method: str, query: dict[str, str]) -> None:
        tokens.append(shop.token_of(shop.requests[-1]))
        stale = len(tokens) > 2 and tokens[-1] == "a-token"
        shop.answers = {platform.list_method: STALE[platform.channel]} if stale else {}

    shop.before = expire
    pages = list(shop.connector().pull("orders", WINDOW))
    assert {m.channel_number for page in pages for m in page.messages} == shop.numbers()
    assert shop.line.stale == ["a-token"]
    assert tokens == ["a-token"] * 3 + ["a-token-renewed"] * 2


@every_platform
def test_the_connection_can_be_tested(platform: PlatformType) -> None:
    shop: Platform = platform()
    shop.connector().test()
    assert shop.requests


@every_platform
def test_no_http_push_is_believed(platform: PlatformType) -> None:
    connector = platform().connector()
    push = WebhookRequest("POST", "/", {}, {"sign": "x"}, b'{"tid":1}', NOW)
    with pytest.raises(BadSignature):
        connector.verify(push)
    (row,) = connector.split(push)
    assert (row.kind, row.body) == (MessageKind.UNREADABLE, push.body)
    assert connector.acknowledge(push, duplicate=False).status == 404


@every_platform
def test_a_failure_tells_no_secret(platform: PlatformType) -> None:
    shop = failing(platform, httpx.ReadTimeout("x"))
    with pytest.raises(TryLater) as failure:
        shop.connector().test()
    assert "a-secret" not in repr(shop.connector().__dict__["access"])
    assert "a-token" not in str(failure.value) + repr(failure.value)


# --- on a real socket -----------------------------------------------------------------------


@contextmanager
def gateway(*pieces: bytes, pause: float = 0) -> Iterator[str]:
    """Answer one connection with ``pieces``, ``pause`` seconds apart, then close it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()

        def serve() -> None:
            peer, _ = server.accept()
            with peer, suppress(BrokenPipeError, ConnectionResetError):
                _read_request(peer)
                for piece in pieces:
                    peer.sendall(piece)
                    stop.wait(pause)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        stop.set()
        thread.join(5)


def _read_request(peer: socket.socket) -> None:
    """Read all of it: a close with bytes unread would be a reset."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += peer.recv(65536)
    head, _, body = request.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += peer.recv(65536)


def ask(url: str, platform: PlatformType) -> TryLater:
    access = ShopAccess("t1", url, "key", "a-secret", "a-token")
    with exchange.make_client() as client, pytest.raises(TryLater) as failure:
        CONNECTORS[platform.channel](access, client, lambda: NOW).test()
    return failure.value


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@every_platform
def test_an_answer_that_stops_half_way_is_thrown_away_whole(platform: PlatformType) -> None:
    with gateway(HEAD + b"Content-Length: 100\r\n\r\n", b'{"a": 1}') as url:
        assert ask(url, platform).error.code == "bad_body"


def test_a_dripping_answer_is_cut_at_the_total_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "TOTAL_SECONDS", 0.3)
    drops = [b" "] * 100
    with gateway(HEAD + b"Content-Length: 200\r\n\r\n", *drops, pause=0.05) as url:
        assert ask(url, PLATFORMS[0]).error.code == "timeout"


def test_an_answer_beyond_the_cap_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MAX_REPLY_BYTES", 1000)
    with gateway(HEAD + b"Content-Length: 5000\r\n\r\n" + b"x" * 2000, pause=5) as url:
        assert ask(url, PLATFORMS[0]).error.code == "bad_body"


def test_an_answer_with_a_broken_encoding_is_tried_later() -> None:
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n"
    with gateway(head + b'{"a":') as url:
        assert ask(url, PLATFORMS[0]).error.code == "bad_body"
