"""The web server's own limits: what has to end before any of our code has seen it.

uvicorn bounds neither the time a request takes to arrive nor its size, and Django reads a body
to its end before a view is asked. uvicorn takes this by
``--http ordercenter.serve:GuardedProtocol``.
"""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_SECONDS: Final = 10.0
"""For the request line and all headers together; also how long a fresh connection may be idle."""
BODY_SECONDS: Final = 25.0
LINGER_SECONDS: Final = 2.0
"""So long a refused peer is still listened to: cut off at once, it might not read the answer."""
MAX_HEADERS: Final = 100
MAX_HEAD_BYTES: Final = 32 * 1024
MAX_BODY_BYTES: Final = 2 * 1024 * 1024

_REFUSALS: Final[Mapping[HTTPStatus, tuple[str, str]]] = {
    HTTPStatus.BAD_REQUEST: ("bad_request", "请求不合法"),
    HTTPStatus.REQUEST_TIMEOUT: ("too_slow", "请求没有在时限内发完"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("too_large", "报文过大"),
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: ("headers_too_large", "请求头过多或过大"),
}


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with an end to every request: in time, in headers, in bytes."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._refused = False
        self._in_head = True
        self._head_bytes = 0
        self._body_bytes = 0
        self._requests = 0
        self._timer: asyncio.TimerHandle | None = None
        self._allow(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head and self._timer is None:
            self._allow(HEAD_SECONDS)  # the next request of a connection that was kept
        before = self._requests
        super().data_received(data)
        if self._in_head and before == self._requests:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    # What the parser finds

    def on_message_begin(self) -> None:
        self._head_bytes = self._body_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._refused:
            return
        self._stop_clock()
        if (status := self._refusal()) is not None:
            self._refuse(status)
            return
        super().on_headers_complete()
        self._in_head = False
        if not (self.parser.should_upgrade() and self._should_upgrade()):
            self._allow(BODY_SECONDS)

    def on_body(self, body: bytes) -> None:
        if self._refused:
            return
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:  # of chunks nobody knows the sum beforehand
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._refused:
            return
        self._stop_clock()
        self._in_head = True
        self._requests += 1
        super().on_message_complete()

    def _refusal(self) -> HTTPStatus | None:
        size = sum(len(name) + len(value) for name, value in self.headers)
        if len(self.headers) > MAX_HEADERS or size > MAX_HEAD_BYTES:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        lengths = [value for name, value in self.headers if name == b"content-length"]
        if any(int(length) > MAX_BODY_BYTES for length in lengths):
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return None

    # The end

    def _allow(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._in_head and not self._head_bytes:
            self.transport.close()  # nobody said anything; browsers open such lines ahead
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer in the application's place and hang up; what it is about to say is dropped.

        While an earlier request of the connection waits for its answer nothing is said: it
        would be taken for that answer.
        """
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._stop_clock()
        busy = self.cycle is not None and not self.cycle.response_complete
        is_silent = busy and (self._in_head or self.cycle.response_started)
        if busy:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not is_silent:
            self.transport.write(self._answer(status))
        if is_silent or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _answer(self, status: HTTPStatus) -> bytes:
        code, message = _REFUSALS[status]
        body = json.dumps({"code": code, "message": message}, ensure_ascii=False).encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        return b"".join([STATUS_LINE[status], *lines, b"\r\n", body])
