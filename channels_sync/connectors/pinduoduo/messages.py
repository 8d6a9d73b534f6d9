"""Pinduoduo's messages over a WebSocket, PMC (``channels.md`` 4e).

A message is confirmed once it is stored, by an Ack with its id; what is not confirmed comes
again for days. The client keeps the line alive by heartbeats of its own (every 5 s in a public
client, 3 minutes of silence end it in another).
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
)
from websockets.sync.client import ClientConnection, connect

from channels_sync.connectors.exchange import platform_error
from channels_sync.connectors.strict_json import loads_strict
from channels_sync.connectors.values import Node
from channels_sync.contracts import (
    ErrorClass,
    MessageKind,
    PlatformError,
    RawMessage,
    Rejected,
    TryLater,
    Unreadable,
)

OPEN_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.5
"""How often ``stop`` is asked while nothing comes."""
BEAT_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 180.0
"""After so long without a frame the line counts as dead."""
MAX_FRAME_BYTES: Final = 2 * 1024 * 1024
REFUSALS: Final = frozenset({401, 403})

Take = Callable[[Sequence[RawMessage]], None]


@dataclass(slots=True)
class MessageLine:
    """One open line, read until ``stop()`` or its end."""

    socket: ClientConnection
    take: Take
    read: Callable[[bytes], RawMessage]
    mall: str = ""
    """Only messages of this mall are taken; empty: all. Others stay unconfirmed."""
    _heard_at: float = field(default_factory=time.monotonic)
    _beat_at: float = 0.0
    _answer_due: bool = False

    def run(self, stop: Callable[[], bool]) -> None:
        """Returns when told to stop or when the platform closes the line; raises TryLater."""
        while not stop():
            self._beat()
            try:
                frame = self.socket.recv(timeout=LOOK_SECONDS)
            except TimeoutError:
                if time.monotonic() - self._heard_at > SILENCE_SECONDS:
                    raise TryLater(platform_error("timeout", "消息服务长时间没有动静")) from None
                continue
            except ConnectionClosed:
                return
            self._heard_at = time.monotonic()
            self._work(frame.encode() if isinstance(frame, str) else frame)

    def _work(self, body: bytes) -> None:
        try:
            frame = Node.of(loads_strict(body))
        except Unreadable:
            self.take([RawMessage(MessageKind.UNREADABLE, body)])
            return
        match frame.text("commandType"):
            case "HeartBeat":
                self._heard_beat()
            case "Common":
                self._take(frame, body)

    def _take(self, frame: Node, body: bytes) -> None:
        """Store, then confirm: a message whose storing fails is not confirmed."""
        message = frame.node_or_empty("message")
        if self.mall and message.optional_id("mallID") not in (None, self.mall):
            return
        self.take([self.read(body)])
        self._send(
            {
                "id": frame.get("id"),
                "commandType": "Ack",
                "time": frame.get("time"),
                "sendTime": _milliseconds(),
                "type": message.text("type"),
                "mallID": message.get("mallID"),
            }
        )

    def _beat(self) -> None:
        if time.monotonic() - self._beat_at >= BEAT_SECONDS:
            self._beat_at = time.monotonic()
            self._answer_due = True
            self._send({"commandType": "HeartBeat", "time": _milliseconds()})

    def _heard_beat(self) -> None:
        """Answer the platform's beat, but not its answer to ours: that would never end."""
        if self._answer_due:
            self._answer_due = False
        else:
            self._send({"commandType": "HeartBeat", "time": _milliseconds()})

    def _send(self, frame: dict[str, Any]) -> None:
        # What cannot be confirmed comes again: the end of the line is seen by the next recv.
        try:
            self.socket.send(json.dumps(frame, ensure_ascii=False, separators=(",", ":")))
        except ConnectionClosed:
            return


@contextmanager
def message_socket(base_url: str, path: str) -> Iterator[ClientConnection]:
    """Open the line; raises Rejected where it is refused for good, else TryLater.

    The address must be wss, or ws on loopback: the digest is a credential.
    """
    parts = urlsplit(base_url)
    loopback = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    if parts.scheme != "wss" and not (parts.scheme == "ws" and loopback):
        raise Rejected(
            PlatformError(ErrorClass.BUSINESS, "insecure_url", "消息地址必须以 wss:// 开头")
        )
    socket = _open(base_url.rstrip("/") + path)
    with socket:
        yield socket


def _open(url: str) -> ClientConnection:
    try:
        return connect(
            url,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
            ping_interval=None,  # the platform's own heartbeat keeps the line
            max_size=MAX_FRAME_BYTES,
            proxy=None,
        )
    except InvalidStatus as refusal:
        status = refusal.response.status_code
        if status in REFUSALS:
            words = f"消息服务拒绝连接（HTTP {status}）"
            raise Rejected(PlatformError(ErrorClass.AUTH, f"http_{status}", words)) from None
        raise TryLater(platform_error(f"http_{status}", f"消息服务返回 HTTP {status}")) from None
    except (InvalidHandshake, InvalidURI) as error:
        words = f"消息服务握手失败（{type(error).__name__}）"
        raise TryLater(platform_error("bad_body", words)) from None
    except TimeoutError:
        raise TryLater(platform_error("timeout", "消息服务没有在时限内答复")) from None
    except OSError as error:
        words = f"连接消息服务失败（{type(error).__name__}）"
        raise TryLater(platform_error("network", words)) from None


def _milliseconds() -> int:
    return int(time.time() * 1000)
