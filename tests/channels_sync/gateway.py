"""A gateway that answers call by call what a test has laid out for it."""

import json
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

import httpx

from channels_sync.connectors.base import BaseConnector
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import ConnectorError, Limit, OpenLine, ShopAccess

NOW = datetime(2026, 3, 1, 1, 8, 7, tzinfo=UTC)
C = TypeVar("C", bound=BaseConnector)
Answer = dict[str, Any] | httpx.Response | Exception | Callable[[dict[str, str]], dict[str, Any]]


class Turns(OpenLine):
    """A shop's line that notes what it is told, and has one more token to give."""

    def __init__(self) -> None:
        self.entered: list[tuple[str, Limit | None]] = []
        self.went: list[tuple[str, str]] = []
        self.renewed: list[str] = []

    def enter(self, interface: str, limit: Limit | None, *, cost: float = 1.0) -> None:
        self.entered.append((interface, limit))

    def passed(self, interface: str, budget: Any = None) -> None:
        self.went.append((interface, "passed"))

    def failed(self, interface: str, error: ConnectorError) -> None:
        self.went.append((interface, error.error.code))

    def renew(self, stale_token: str) -> str:
        self.renewed.append(stale_token)
        return "fresh-token"


class Gateway(Generic[C]):
    """The answers to each method, one after the other; the last one stays."""

    def __init__(self, make: type[C], **options: str) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.requests: list[httpx.Request] = []
        self.line = Turns()
        self._answers: dict[str, list[Answer]] = defaultdict(list)
        access = ShopAccess(
            shop_code="t1",
            base_url="https://gateway.example",
            app_key="20000001",
            app_secret="a-secret",
            access_token="a-token",
            options=options,
        )
        client = make_client(transport=httpx.MockTransport(self._handle))
        self.shop = make(access, client, lambda: NOW, line=self.line)

    def on(self, method: str, *answers: Answer) -> "Gateway[C]":
        self._answers[method] += answers
        return self

    def methods(self) -> list[str]:
        return [method for method, _ in self.sent]

    def last(self, method: str) -> dict[str, Any]:
        return [params for name, params in self.sent if name == method][-1]

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        params: dict[str, Any] = dict(parse_qsl(request.content.decode(), keep_blank_values=True))
        params = params or dict(request.url.params)
        method = params.get("method") or request.url.path
        if "360buy_param_json" in params:
            params = json.loads(params["360buy_param_json"])
        self.sent.append((method, params))
        waiting = self._answers[method]
        if not waiting:
            raise AssertionError(f"nobody laid out an answer to {method}")
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer) and not isinstance(answer, httpx.Response):
            answer = answer(params)
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)
