"""Pinduoduo: the census, tokens, and the message line over a real WebSocket."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from channels_sync.connectors.pinduoduo import messages
from channels_sync.connectors.pinduoduo.wire import message_path
from channels_sync.contracts import (
    ErrorClass,
    MessageKind,
    RawMessage,
    Rejected,
    TryLater,
    Window,
)
from tests.channels_sync.platforms import NOW, WINDOW, Pinduoduo, payload

CREATE = "pdd.pop.auth.token.create"
REFRESH = "pdd.pop.auth.token.refresh"


# --- the census -----------------------------------------------------------------------------


def test_a_census_asks_by_confirm_time_in_days() -> None:
    shop = Pinduoduo(orders=150)
    found = shop.connector().census(Window(WINDOW.end - timedelta(hours=30), WINDOW.end))
    assert found.numbers == shop.numbers()
    assert found.counted == 300  # the double lists all orders on both days
    queries = [query for method, query in shop.calls if method == "pdd.order.list.get"]
    assert len(queries) == len(shop.calls)
    spans = {(int(q["start_confirm_at"]), int(q["end_confirm_at"])) for q in queries}
    assert sorted(end - start for start, end in spans) == [6 * 3600, 24 * 3600]
    assert {query["order_status"] for query in queries} == {"5"}


# --- tokens ---------------------------------------------------------------------------------


def tokens(method: str) -> tuple[Pinduoduo, Any]:
    shop = Pinduoduo()
    answer = payload("pinduoduo", "pop_auth_token_refresh_ok")["pop_auth_token_refresh_response"]
    shop.answers = {
        CREATE: {"pop_auth_token_create_response": answer},
        REFRESH: {"pop_auth_token_refresh_response": answer},
    }
    connector = shop.connector()
    return shop, connector.exchange_code("c") if method == CREATE else connector.refresh("r")


@pytest.mark.parametrize(("method", "field"), [(CREATE, "code"), (REFRESH, "refresh_token")])
def test_tokens_are_given_without_a_token(method: str, field: str) -> None:
    shop, found = tokens(method)
    ((called, query),) = shop.calls
    assert called == method
    assert query[field] == field[0]
    assert "access_token" not in query
    assert found.access_token == "sandbox-pdd-token"
    assert found.refresh_token == "sandbox-pdd-refresh"
    assert found.expires_at == datetime.fromtimestamp(1773536887, UTC)
    assert found.refresh_expires_at == datetime.fromtimestamp(1803863287, UTC)
    assert found.write_expires_at == datetime.fromtimestamp(1773536887, UTC)
    assert found.shop_id == "600000001"
    assert "sandbox-pdd" not in repr(found)


def test_a_span_counts_from_now_where_no_moment_is_given() -> None:
    shop = Pinduoduo()
    answer = {"access_token": "t", "expires_in": 3600}
    shop.answers = {REFRESH: {"pop_auth_token_refresh_response": answer}}
    found = shop.connector().refresh("r")
    assert found.expires_at == NOW + timedelta(hours=1)
    assert found.refresh_expires_at is None


@pytest.mark.parametrize("answer", [{}, {"access_token": ""}, {"access_token": None}])
def test_an_answer_without_a_token_is_no_answer(answer: dict[str, Any]) -> None:
    shop = Pinduoduo()
    shop.answers = {REFRESH: {"pop_auth_token_refresh_response": answer}}
    with pytest.raises(TryLater, match="bad_body"):
        shop.connector().refresh("r")


def test_a_refresh_is_not_tried_with_a_renewed_token() -> None:
    shop = Pinduoduo()
    shop.answers = {REFRESH: payload("pinduoduo", "error_access_token_expired")}
    with pytest.raises(Rejected) as refusal:
        shop.connector().refresh("r")
    assert refusal.value.error.klass is ErrorClass.AUTH
    assert shop.line.stale == []


# --- messages -------------------------------------------------------------------------------


class Line:
    """A message server on loopback; ``said`` is what the client sent it."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self.path = ""
        self.url = ""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.said if frame["commandType"] == kind]

    def hear(self, socket: ServerConnection, kind: str) -> dict[str, Any]:
        """Read until a frame of ``kind`` comes."""
        while True:
            frame = json.loads(socket.recv(timeout=5))
            self.said.append(frame)
            if frame["commandType"] == kind:
                return dict(frame)


@contextmanager
def line(play: Callable[[Line, ServerConnection], None]) -> Iterator[Line]:
    found = Line()

    def handle(socket: ServerConnection) -> None:
        assert socket.request is not None
        found.path = socket.request.path
        play(found, socket)

    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        found.url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        yield found
        server.shutdown()
        thread.join(5)


def silent_until(quiet: threading.Event) -> Callable[[Line, ServerConnection], None]:
    def play(found: Line, socket: ServerConnection) -> None:
        quiet.wait(5)

    return play


def frame(number: int, **changes: Any) -> str:
    plain = payload("pinduoduo", "message_frame_trade_confirmed")
    return json.dumps({**plain, "id": number, **changes})


def listen(url: str, take: Any, *, stop: Callable[[], bool] = lambda: False, **more: str) -> None:
    Pinduoduo().connector(message_url=url, **more).listen(take, stop)


def test_a_message_is_stored_and_then_confirmed_by_its_id() -> None:
    rows: list[RawMessage] = []
    confirmed_when_taken: list[int] = []

    def play(found: Line, socket: ServerConnection) -> None:
        socket.send(frame(7000000000000000101))
        found.hear(socket, "Ack")

    with line(play) as found:

        def take(messages: Sequence[RawMessage]) -> None:
            time.sleep(0.1)  # an Ack sent too early would have arrived by now
            confirmed_when_taken.append(len(found.of("Ack")))
            rows.extend(messages)

        listen(found.url, take)
        (ack,) = found.of("Ack")
    (row,) = rows
    assert confirmed_when_taken == [0]
    assert (row.kind, row.channel_number) == (MessageKind.EVENT, "260301-000000000000101")
    assert row.event_id == "7000000000000000101"
    assert row.occurred_at == datetime.fromtimestamp(1772324406, UTC)
    assert ack["id"] == 7000000000000000101
    assert ack["time"] == 1772324406000
    assert (ack["type"], ack["mallID"]) == ("pdd_trade_TradeConfirmed", 600000001)
    now = str(int(NOW.timestamp() * 1000))
    assert found.path == message_path("20000001", now, "a-secret")


def test_a_message_that_could_not_be_stored_is_not_confirmed() -> None:
    def play(found: Line, socket: ServerConnection) -> None:
        socket.send(frame(1))
        try:
            found.hear(socket, "Ack")
        except ConnectionClosed:
            return

    def take(messages: Sequence[RawMessage]) -> None:
        raise RuntimeError("the database is away")

    with line(play) as found:
        with pytest.raises(RuntimeError):
            listen(found.url, take)
        assert found.of("Ack") == []


def test_an_unreadable_message_is_kept_with_all_its_bytes_and_confirmed() -> None:
    rows: list[RawMessage] = []
    body = frame(3, message={"type": "t", "mallID": 1, "content": "{"})

    def play(found: Line, socket: ServerConnection) -> None:
        socket.send("{half")
        socket.send(body)
        found.hear(socket, "Ack")

    with line(play) as found:
        listen(found.url, rows.extend)
    assert [row.kind for row in rows] == [MessageKind.UNREADABLE] * 2
    assert [row.body for row in rows] == [b"{half", body.encode()]


def test_a_message_without_an_order_asks_for_nothing() -> None:
    rows: list[RawMessage] = []

    def play(found: Line, socket: ServerConnection) -> None:
        goods = {"type": "pdd_goods_GoodsUpdate", "mallID": 1, "content": '{"goods_id":5}'}
        socket.send(frame(4, message=goods))
        found.hear(socket, "Ack")

    with line(play) as found:
        listen(found.url, rows.extend)
    assert [row.kind for row in rows] == [MessageKind.NOTE]


def test_the_messages_of_another_mall_are_left_for_its_own_line() -> None:
    rows: list[RawMessage] = []

    def play(found: Line, socket: ServerConnection) -> None:
        message = json.loads(frame(1))["message"]
        socket.send(frame(1, message={**message, "mallID": 42}))
        socket.send(frame(2))
        found.hear(socket, "Ack")

    with line(play) as found:
        listen(found.url, rows.extend, shop_id="600000001")
        assert [ack["id"] for ack in found.of("Ack")] == [2]
    assert [row.event_id for row in rows] == ["2"]


def test_the_platforms_heartbeat_is_answered_but_not_its_answer_to_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(messages, "BEAT_SECONDS", 3600.0)
    beat = json.dumps({"commandType": "HeartBeat", "time": 1})

    def play(found: Line, socket: ServerConnection) -> None:
        found.hear(socket, "HeartBeat")  # ours, at the start
        socket.send(beat)  # the answer to it
        socket.send(beat)  # the platform's own
        found.hear(socket, "HeartBeat")
        socket.send(frame(1))
        found.hear(socket, "Ack")

    with line(play) as found:
        listen(found.url, lambda messages: None)
        assert len(found.of("HeartBeat")) == 2


def test_a_quiet_line_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(messages, "LOOK_SECONDS", 0.02)

    def play(found: Line, socket: ServerConnection) -> None:
        for _ in range(3):
            found.hear(socket, "HeartBeat")

    with line(play) as found:
        listen(found.url, lambda messages: None)
        assert len(found.of("HeartBeat")) >= 3


def test_a_dead_line_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(messages, "LOOK_SECONDS", 0.02)
    quiet = threading.Event()

    with line(silent_until(quiet)) as found:
        with pytest.raises(TryLater, match="timeout"):
            listen(found.url, lambda messages: None)
        quiet.set()


def test_listening_ends_within_a_second_of_being_told() -> None:
    told_at: list[float] = []
    quiet = threading.Event()

    def stop() -> bool:
        if told_at:
            return True
        told_at.append(time.monotonic())
        return False

    with line(silent_until(quiet)) as found:
        listen(found.url, lambda messages: None, stop=stop)
        assert time.monotonic() - told_at[0] < 1.0 + messages.CLOSE_SECONDS
        quiet.set()


@pytest.mark.parametrize(("status", "error"), [(401, Rejected), (403, Rejected), (503, TryLater)])
def test_a_refused_line_tells_whether_another_try_may_help(
    status: int, error: type[Exception]
) -> None:
    def refuse(socket: ServerConnection, request: Request) -> Response:
        return socket.respond(status, "no")

    with serve(lambda socket: None, "127.0.0.1", 0, process_request=refuse) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        with pytest.raises(error, match=f"http_{status}") as failure:
            listen(url, lambda messages: None)
        server.shutdown()
        thread.join(5)
    assert "a-secret" not in str(failure.value)


def test_a_line_that_is_not_there_is_tried_later() -> None:
    with pytest.raises(TryLater, match="network"):
        listen("ws://127.0.0.1:9", lambda messages: None)


def test_the_digest_never_travels_in_the_clear() -> None:
    with pytest.raises(Rejected, match="insecure_url"):
        listen("ws://message.example", lambda messages: None)
