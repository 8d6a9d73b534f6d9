"""DingTalk custom robot 钉钉 (``notifications.md`` 2).

HTTP 200 says nothing: the robot's word is ``errcode`` in the body. Twenty messages a minute,
then the robot is silent for about ten.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from ordercenter.notices.senders import SendLater, SendRefused

PATH: Final = "/robot/send"
MAX_TITLE: Final = 100
MAX_MARKDOWN: Final = 5000
"""Characters of markdown a robot shows reliably."""
PUNISHED_SECONDS: Final = 600
BUSY_SECONDS: Final = 60
_CUT: Final = "……（内容过长，余下部分请在系统中查看）"
_TOO_FAST: Final = frozenset({130101, 1111})
_BUSY: Final = -1

_FULL_WIDTH: Final = 0xFEE0
"""From an ASCII sign to its full-width twin. Twins instead of backslashes: clients differ in
what they unescape, and none of them takes a twin for markup."""
_TWINS: Final = {ord(sign): ord(sign) + _FULL_WIDTH for sign in "\\`*~|[]<>&"}
_LOOSE_UNDERSCORE: Final = re.compile(r"(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")
_LINE_MARK: Final = re.compile(r"^(?:#+|-+|\++|=+|[0-9]+[.)](?=\s))")
_ADDRESS: Final = re.compile(r"://|(?<=\bwww)\.", re.IGNORECASE)
_INVISIBLE: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class DingTalkAccess:
    """One robot's address and secrets. Never logged: ``repr`` hides them."""

    base_url: str
    access_token: str = field(repr=False)
    secret: str = field(default="", repr=False)
    """Of the security option "sign"; empty where the robot uses keyword or addresses only."""
    keyword: str = ""
    """A word the robot wants to see in every message."""


def sign(secret: str, timestamp: str) -> str:
    """Base64 of HMAC-SHA256 over ``timestamp\\nsecret``, not yet percent-encoded."""
    text = f"{timestamp}\n{secret}".encode()
    return base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).decode()


def escape(text: str) -> str:
    """Make one line show as typed: no markup, no link, no hidden or turned-round characters."""
    text = _INVISIBLE.sub("", text.replace("\t", " ")).translate(_TWINS).strip()
    for pattern in (_LOOSE_UNDERSCORE, _ADDRESS, _LINE_MARK):
        text = pattern.sub(_widen, text)
    return text


def _widen(found: re.Match[str]) -> str:
    """What was found with its signs as full-width twins."""
    return "".join(
        one if one.isalnum() or one == "/" else chr(ord(one) + _FULL_WIDTH) for one in found[0]
    )


def markdown(title: str, text: str, *, link: str = "", keyword: str = "") -> dict[str, Any]:
    """The body of one message: heading, one paragraph a line, our own link last.

    ``keyword`` is put in front of the title unless the message holds it already. What is too
    long is cut between lines, and says so.
    """
    heading = escape(" ".join(title.split()))[:MAX_TITLE]
    lines = [escape(line) for line in text.splitlines() if line.strip()]
    if keyword and keyword not in heading and not any(keyword in line for line in lines):
        heading = f"【{keyword}】{heading}"
    tail = [f"[查看详情]({_own_link(link)})"] if link else []
    room = MAX_MARKDOWN - sum(len(one) + 2 for one in (heading, *tail)) - len(_CUT) - 6
    body: list[str] = []
    for line in lines:
        if len(line) > room:
            body.append(line[: max(room, 0)] + _CUT)
            break
        body.append(line)
        room -= len(line) + 2
    content = "\n\n".join((f"### {heading}", *body, *tail))
    return {
        "msgtype": "markdown",
        "markdown": {"title": heading, "text": content},
        "at": {"isAtAll": False},
    }


def _own_link(link: str) -> str:
    """A link nothing can break out of. Raises SendRefused unless it is http or https."""
    if urlsplit(link).scheme not in {"http", "https"}:
        raise SendRefused("bad_link", "链接必须以 http:// 或 https:// 开头")
    return quote(link, safe=":/?#@!$&'*+,;=%~")


class DingTalkSender:
    """Sends to one robot."""

    def __init__(
        self,
        access: DingTalkAccess,
        client: httpx.Client,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.access = access
        self.client = client
        self.now = now

    def send(self, title: str, text: str, *, link: str = "") -> None:
        """Show ``title`` and the lines of ``text`` to the group.

        Raises SendLater (busy, too fast, unreachable, answer lost) or SendRefused (wrong sign,
        keyword or address, unknown token).
        """
        body = markdown(title, text, link=link, keyword=self.access.keyword)
        try:
            response = self.client.post(
                self._url(),
                content=json.dumps(body, ensure_ascii=False).encode(),
                headers={"Content-Type": "application/json; charset=utf-8"},
            )
        except httpx.HTTPError as error:  # its request holds the token: not even as a cause
            kind = type(error).__name__
            raise SendLater("network", f"连不上钉钉（{kind}）", wait=BUSY_SECONDS) from None
        _judge(response)

    def _url(self) -> httpx.URL:
        parts = urlsplit(self.access.base_url)
        loopback = parts.hostname in {"127.0.0.1", "localhost", "::1"}
        if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
            raise SendRefused("insecure_url", "机器人地址必须以 https:// 开头")
        base = self.access.base_url.rstrip("/")
        query = {"access_token": self.access.access_token}
        if self.access.secret:
            timestamp = str(int(self.now().timestamp() * 1000))
            query |= {"timestamp": timestamp, "sign": sign(self.access.secret, timestamp)}
        pairs = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        return httpx.URL(f"{base if base.endswith(PATH) else base + PATH}?{pairs}")


def _judge(response: httpx.Response) -> None:
    """Return if the robot took the message; raise what its answer means."""
    status = response.status_code
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise SendLater("http_429", "钉钉限流", wait=PUNISHED_SECONDS)
    if httpx.codes.BAD_REQUEST <= status < httpx.codes.INTERNAL_SERVER_ERROR:
        raise SendRefused(f"http_{status}", f"钉钉拒绝了请求（HTTP {status}）")
    if status != httpx.codes.OK:
        raise SendLater(f"http_{status}", f"钉钉返回 HTTP {status}", wait=BUSY_SECONDS)
    answer = _answer(response)
    code = answer.get("errcode")
    if code == 0 and not isinstance(code, bool):
        return
    words = _INVISIBLE.sub("", str(answer.get("errmsg") or ""))[:200]
    if code in _TOO_FAST or answer.get("status") in _TOO_FAST:
        raise SendLater(str(code), words, wait=PUNISHED_SECONDS)
    if code == _BUSY:
        raise SendLater(str(code), words, wait=BUSY_SECONDS)
    if code is None:
        raise SendLater("bad_body", "钉钉的答复里没有 errcode", wait=BUSY_SECONDS)
    raise SendRefused(str(code), words)


def _answer(response: httpx.Response) -> Mapping[str, Any]:
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, Mapping):
        raise SendLater("bad_body", "钉钉的答复不是 JSON 对象", wait=BUSY_SECONDS)
    return answer
