"""The DingTalk custom robot (notifications.md 2): it signs, listens for its keyword, and counts.

Errors come with HTTP 200. After the twentieth message of a minute the robot falls silent for
ten minutes. What it was sent stands in the book's ``robot`` records.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from ordercenter.sandbox.seller import load_seller
from ordercenter.sandbox.wire import answer, whole

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ordercenter.sandbox.book import Book

CLOCK_TOLERANCE: Final = 3_600
MINUTE: Final = 60
MOST_A_MINUTE: Final = 20
SILENT_SECONDS: Final = 600
NO_TOKEN, REFUSED, TOO_FAST, BAD_BODY = 300001, 310000, 130101, 40035
# What each kind of message must say, and where its words stand.
KINDS: Final = {
    "text": ("content",),
    "link": ("title", "text", "messageUrl"),
    "markdown": ("title", "text"),
    "actionCard": ("title", "text"),
    "feedCard": ("links",),
}


@dataclass(slots=True)
class RobotError(Exception):
    code: int
    message: str


@dataclass(slots=True)
class Robot:
    """One robot of ``seller.json`` and what it heard of late."""

    account: Mapping[str, str]
    heard: deque[float] = field(default_factory=deque)
    silent_until: float = 0.0


def signature(timestamp: str, secret: str) -> str:
    """Base64 of the HMAC-SHA256 over time and secret, keyed by the secret; not yet URL-encoded."""
    text = f"{timestamp}\n{secret}"
    return base64.b64encode(
        hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    ).decode()


def routes(book: Book, accounts: tuple[Mapping[str, str], ...] | None = None) -> list[Route]:
    """``accounts`` are the robots of ``seller.json``; those there when left out."""
    found = load_seller().robots if accounts is None else accounts
    return [Route("/dingtalk/robot/send", Desk(book, found).send, methods=["POST"])]


class Desk:
    def __init__(self, book: Book, accounts: tuple[Mapping[str, str], ...]) -> None:
        self.book = book
        self._robots = {account["access_token"]: Robot(account) for account in accounts}

    async def send(self, request: Request) -> Response:
        try:
            robot = self._admit(request.query_params)
            message = body_of(await request.body())
            words = words_of(message)
            self._listen(robot, words)
        except RobotError as error:
            return answer({"errcode": error.code, "errmsg": error.message})
        facts = {
            "robot": robot.account["code"],
            "msgtype": message["msgtype"],
            "words": words,
            "called": message.get("at") or {},
            "body": message,
        }
        self.book.record("robot", facts)
        return answer({"errcode": 0, "errmsg": "ok"})

    def _admit(self, query: Mapping[str, str]) -> Robot:
        robot = self._robots.get(query.get("access_token", ""))
        if robot is None:
            raise RobotError(NO_TOKEN, "token is not exist")
        timestamp, given = query.get("timestamp", ""), query.get("sign", "")
        try:
            skew = abs(self.book.clock() - whole(timestamp) / 1000)
        except ValueError as error:
            raise RobotError(REFUSED, "invalid timestamp") from error
        if skew > CLOCK_TOLERANCE:
            raise RobotError(REFUSED, "invalid timestamp")
        expected = signature(timestamp, robot.account["secret"])
        if not hmac.compare_digest(expected.encode(), given.encode()):
            raise RobotError(REFUSED, "sign not match")
        return robot

    def _listen(self, robot: Robot, words: str) -> None:
        """Take the message, unless the keyword is missing or it is one too many."""
        if robot.account["keyword"] not in words:
            raise RobotError(REFUSED, "keywords not in content")
        now = self.book.clock()
        while robot.heard and robot.heard[0] <= now - MINUTE:
            robot.heard.popleft()
        if now < robot.silent_until:
            raise RobotError(TOO_FAST, "send too fast, exceed 20 times per minute")
        if len(robot.heard) >= MOST_A_MINUTE:
            robot.silent_until = now + SILENT_SECONDS
            raise RobotError(TOO_FAST, "send too fast, exceed 20 times per minute")
        robot.heard.append(now)


def body_of(raw: bytes) -> dict[str, Any]:
    try:
        message = json.loads(raw)
    except ValueError as error:
        raise RobotError(BAD_BODY, "缺少参数 json") from error
    if not isinstance(message, dict) or message.get("msgtype") not in KINDS:
        raise RobotError(BAD_BODY, "缺少参数 msgtype")
    return message


def words_of(message: Mapping[str, Any]) -> str:
    """Everything a person reads of ``message``; RobotError when a part is missing."""
    kind = str(message["msgtype"])
    part = message.get(kind)
    if not isinstance(part, dict):
        raise RobotError(BAD_BODY, f"缺少参数 {kind}")
    for name in KINDS[kind]:
        if not part.get(name):
            raise RobotError(BAD_BODY, f"缺少参数 {kind}.{name}")
    if kind == "feedCard":
        return "\n".join(str(link.get("title", "")) for link in part["links"])
    return "\n".join(str(part[name]) for name in KINDS[kind] if name != "messageUrl")
