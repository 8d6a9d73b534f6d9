"""Trouble on the line, ordered by a drill: the next calls of one platform go wrong.

The order is what ``/control/fault`` enters; it is served before the platform sees the call,
except for ``half_body``, which spoils the true answer.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

KINDS: Final = frozenset(
    {"error5xx", "half_body", "html_200", "silence", "platform_error", "throttle"}
)
SILENCE_SECONDS: Final = 300.0
HTML: Final = (
    "<!DOCTYPE html><html><head><title>502</title></head>"
    "<body><h1>系统繁忙，请稍后再试</h1></body></html>"
)

# What each platform itself says when it is broken, and when it is asked too often.
_TOP = "16sandbox0015"
PLATFORM_ERRORS: Final[dict[str, dict[str, Any]]] = {
    "taobao": {
        "error_response": {
            "code": 15,
            "msg": "Remote service error",
            "sub_code": "isp.top-remote-connection-timeout",
            "sub_msg": "服务调用超时",
            "request_id": _TOP,
        }
    },
    "jd": {
        "error_response": {
            "code": "66",
            "zh_desc": "平台连接后端服务不可用",
            "en_desc": "platform to connect to the back-end service not available",
        }
    },
    "douyin": {
        "code": 20000,
        "msg": "服务不可用",
        "sub_code": "isp.service-error",
        "sub_msg": "服务暂时不可用，请重试",
        "log_id": "sandboxlog20000",
        "data": {},
    },
    "pinduoduo": {
        "error_response": {
            "error_msg": "服务异常，请稍后重试",
            "sub_msg": "服务异常，请稍后重试",
            "sub_code": "52001",
            "error_code": 52001,
            "request_id": "sandbox52001",
        }
    },
    "shopify": {
        "errors": [
            {
                "message": "Internal error. Looks like something went wrong on our end.",
                "extensions": {"code": "INTERNAL_SERVER_ERROR"},
            }
        ]
    },
    "miniprogram": {"errcode": -1, "errmsg": "system error rid: sandbox-0002"},
    "sf": {
        "apiErrorMsg": "系统异常",
        "apiResponseID": "sandboxA1099",
        "apiResultCode": "A1099",
        "apiResultData": "",
    },
    "dingtalk": {"errcode": -1, "errmsg": "系统繁忙"},
}
THROTTLES: Final[dict[str, dict[str, Any]]] = {
    "taobao": {
        "error_response": {
            "code": 7,
            "msg": "App Call Limited",
            "sub_code": "accesscontrol.limited-by-api-access-count",
            "sub_msg": "This ban will last for 1 more seconds",
            "request_id": "16sandbox0007",
        }
    },
    "jd": {
        "error_response": {
            "code": "2",
            "zh_desc": "限制时间内调用失败次数",
            "en_desc": "App Call Limited",
        }
    },
    "douyin": {
        "code": 60000,
        "msg": "请求过于频繁，请稍后再试",
        "sub_code": "isp.rate-limit",
        "sub_msg": "接口限流",
        "log_id": "sandboxlog60000",
        "data": {},
    },
    "pinduoduo": {
        "error_response": {
            "error_msg": "调用过于频繁，请调整调用频率",
            "sub_msg": "调用过于频繁，请调整调用频率",
            "sub_code": "70031",
            "error_code": 70031,
            "request_id": "sandbox70031",
        }
    },
    "shopify": {
        "errors": [
            {
                "message": "Throttled",
                "extensions": {
                    "code": "THROTTLED",
                    "documentation": "https://shopify.dev/api/usage/limits",
                },
            }
        ],
        "extensions": {
            "cost": {
                "requestedQueryCost": 752,
                "actualQueryCost": None,
                "throttleStatus": {
                    "maximumAvailable": 2000.0,
                    "currentlyAvailable": 152,
                    "restoreRate": 100.0,
                },
            }
        },
    },
    "miniprogram": {"errcode": 45011, "errmsg": "api freq out of limit rid: sandbox-0003"},
    "sf": {
        "apiErrorMsg": "流量受控",
        "apiResponseID": "sandboxA1005",
        "apiResultCode": "A1005",
        "apiResultData": "",
    },
    "dingtalk": {"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"},
}
PLATFORMS: Final = frozenset(PLATFORM_ERRORS)


class Faults:
    """The faults that are due, by platform, in the order they were asked for."""

    def __init__(self) -> None:
        self._due: defaultdict[str, deque[str]] = defaultdict(deque)

    def order(self, platform: str, kind: str, count: int) -> None:
        """Let the next ``count`` calls of ``platform`` go wrong; ValueError if unknown."""
        if platform not in PLATFORMS or kind not in KINDS:
            message = f"no fault {kind!r} for {platform!r}"
            raise ValueError(message)
        self._due[platform].extend([kind] * count)

    def clear(self) -> None:
        self._due.clear()

    def due(self) -> dict[str, list[str]]:
        return {platform: list(kinds) for platform, kinds in self._due.items() if kinds}

    def take(self, platform: str) -> str | None:
        """The fault of this call, if one is due."""
        due = self._due.get(platform)
        return due.popleft() if due else None


class FaultyLine:
    """ASGI middleware that serves what ``faults`` has due."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self.app = app
        self.faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        platform = scope.get("path", "").strip("/").split("/", 1)[0]
        kind = self.faults.take(platform) if scope["type"] == "http" else None
        if kind is None:
            await self.app(scope, receive, send)
        elif kind == "half_body":
            await self._half(scope, receive, send)
        elif kind == "silence":
            await _keep_silent(receive)
        elif kind == "error5xx":
            await _say(send, 503, HTML, "text/html; charset=utf-8")
        elif kind == "html_200":
            await _say(send, 200, HTML, "text/html; charset=utf-8")
        else:
            said = PLATFORM_ERRORS if kind == "platform_error" else THROTTLES
            text = json.dumps(said[platform], ensure_ascii=False)
            await _say(send, 200, text, "application/json;charset=UTF-8")

    async def _half(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the platform answer (a write takes effect), and break the answer off half-way."""
        started: list[Message] = []
        body = bytearray()

        async def swallow(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.append(message)
            else:
                body.extend(message.get("body", b""))

        await self.app(scope, receive, swallow)
        half = bytes(body[: len(body) // 2])
        headers = [pair for pair in started[0]["headers"] if pair[0] != b"content-length"]
        headers.append((b"content-length", str(len(half)).encode()))
        await send({**started[0], "headers": headers})
        await send({"type": "http.response.body", "body": half})


async def _say(send: Send, status: int, text: str, kind: str) -> None:
    body = text.encode()
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _keep_silent(receive: Receive) -> None:
    """Say nothing until the caller gives up."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SILENCE_SECONDS):
            while (await receive())["type"] != "http.disconnect":
                pass
