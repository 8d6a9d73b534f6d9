"""One HTTP door: time-outs, limits, and what each failure means.

Whatever comes back broken is ``TryLater``; what the platform refuses for good is ``Rejected``.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from channels_sync.connectors.pacing import TOTAL_SECONDS, PacedTransport
from channels_sync.connectors.strict_json import MAX_REPLY_BYTES, loads_page
from channels_sync.contracts import (
    ErrorClass,
    PlatformError,
    Rejected,
    ShopAccess,
    TryLater,
    Unreadable,
    Unsupported,
)

CONNECT_SECONDS: Final = 5.0

READ_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that came whole: status below 500 and not 429, body not empty."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def make_client(*, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Make the client connectors share: time-outs set, answers that drip cut off, no redirects,
    no proxy by environment."""
    # httpx logs every URL at INFO, and some platforms carry the token in the query.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return httpx.Client(
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=False,
        transport=transport or PacedTransport(),
    )


def endpoint(base_url: str, path: str) -> str:
    """Join a shop's address and a platform's path; an address that ends with it stays.

    Raises Rejected unless the address is https or loopback: credentials never go in the clear.
    """
    parts = urlsplit(base_url)
    loopback = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise Rejected(
            PlatformError(ErrorClass.BUSINESS, "insecure_url", "平台地址必须以 https:// 开头")
        )
    base = base_url.rstrip("/")
    return base if base.endswith(path) else base + path


def platform_error(code: str, message: str, *, wait: int | None = None) -> PlatformError:
    return PlatformError(ErrorClass.PLATFORM, code, message, retry_after_seconds=wait)


def raise_refusal(error: PlatformError, *, writes: bool = False) -> None:
    """Raise what ``error`` calls for: Rejected for good, TryLater for now.

    After a write that met a platform error nobody knows whether it took effect.
    """
    if error.klass in {ErrorClass.AUTH, ErrorClass.BUSINESS}:
        raise Rejected(error)
    raise TryLater(error, outcome_unknown=writes and error.klass is ErrorClass.PLATFORM)


def exchange(client: httpx.Client, request: httpx.Request, *, writes: bool = False) -> Reply:
    """Send ``request`` and return the whole answer, or raise TryLater.

    Connect 5 s, silence 10 s, 1 KiB a second from the fifth second on, 30 s in all, 20 MiB at
    most. Time-outs, broken connections, 5xx, 3xx, 408, 429 and empty bodies are TryLater;
    ``writes`` marks the outcome unknown once the request may have left. Other 4xx come back,
    empty too, for the connector to judge.
    """
    try:
        response = client.send(request, stream=True)
        try:
            body = _read_capped(response)
        finally:
            response.close()
    except httpx.HTTPError as error:
        raise _network_failure(error, writes=writes) from error
    _refuse_status(response, writes=writes)
    if not body.strip() and response.status_code < HTTPStatus.BAD_REQUEST:
        raise TryLater(platform_error("bad_body", "平台返回了空内容"), outcome_unknown=writes)
    return Reply(response.status_code, response.headers, body)


def _read_capped(response: httpx.Response) -> bytes:
    until = time.monotonic() + TOTAL_SECONDS
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MAX_REPLY_BYTES:
            raise httpx.DecodingError("reply too large")
        if time.monotonic() > until:
            raise httpx.ReadTimeout("reply too slow")
    return bytes(body)


def _network_failure(error: httpx.HTTPError, *, writes: bool) -> TryLater:
    not_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    if isinstance(error, httpx.TimeoutException):
        failure = platform_error("timeout", "平台没有在时限内答复")
    elif isinstance(error, httpx.RemoteProtocolError | httpx.DecodingError):
        failure = platform_error("bad_body", "平台的答复不完整、过大或无法解压")
    else:
        failure = platform_error("network", f"连接平台失败（{type(error).__name__}）")
    return TryLater(failure, outcome_unknown=writes and not not_sent)


def _refuse_status(response: httpx.Response, *, writes: bool) -> None:
    status = response.status_code
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = retry_after(response.headers.get("retry-after", ""))
        raise TryLater(
            PlatformError(ErrorClass.RATE_LIMITED, "http_429", "平台限流", retry_after_seconds=wait)
        )
    redirected = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
    broken = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if redirected or broken or status == HTTPStatus.REQUEST_TIMEOUT:
        wait = retry_after(response.headers.get("retry-after", ""))
        raise TryLater(
            platform_error(f"http_{status}", f"平台返回 HTTP {status}", wait=wait),
            outcome_unknown=writes,
        )


def retry_after(header: str) -> int | None:
    """Read a Retry-After given in seconds, at most a day; dates and nonsense are None."""
    return min(int(header), 86_400) if re.fullmatch(r"[0-9]{1,9}", header.strip()) else None


def refuse_client_error(reply: Reply) -> None:
    """Raise for a 4xx: 401 and 403 are the credentials, others TryLater (an edge's page)."""
    if reply.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise Rejected(
            PlatformError(
                ErrorClass.AUTH, f"http_{reply.status}", f"平台拒绝访问（HTTP {reply.status}）"
            )
        )
    if reply.status >= HTTPStatus.BAD_REQUEST:
        raise TryLater(platform_error(f"http_{reply.status}", f"平台返回 HTTP {reply.status}"))


def parse_reply(body: bytes, *, writes: bool = False) -> Any:
    """Parse an answer; HTML, half a body and other junk are TryLater ``bad_body``.

    Keeps what is broken inside one order, as ``loads_page`` does.
    """
    with reading_reply(writes=writes):
        return loads_page(body)


def unrefused(
    body: bytes, classify: Callable[[Any], PlatformError | None], *, writes: bool = False
) -> Any:
    """Parse an answer; raises ConnectorError for a refusal that ``classify`` finds, and junk."""
    payload = parse_reply(body, writes=writes)
    with reading_reply(writes=writes):
        error = classify(payload)
    if error is not None:
        raise_refusal(error, writes=writes)
    return payload


def unrefused_token(reply: Reply, classify: Callable[[Any], PlatformError | None]) -> Any:
    """Parse what an authorization server says: it refuses in JSON under any status, so only a
    4xx without a word is judged by the status alone."""
    if reply.body.lstrip()[:1] != b"{":
        refuse_client_error(reply)
    payload = unrefused(reply.body, classify)
    refuse_client_error(reply)
    return payload


def content_under(payload: Any, key: str, *, writes: bool = False) -> Mapping[str, Any]:
    """What stands under an answer's outer key; TryLater ``bad_body`` where nothing does."""
    content = payload.get(key) if isinstance(payload, Mapping) else None
    if not isinstance(content, Mapping):
        raise TryLater(
            platform_error("bad_body", "平台的答复缺少应有的内容"), outcome_unknown=writes
        )
    return content


@contextmanager
def reading_reply(*, writes: bool = False) -> Iterator[None]:
    """Within it, an answer that makes no sense (Unreadable) becomes TryLater ``bad_body``."""
    try:
        yield
    except Unreadable as error:
        raise TryLater(platform_error("bad_body", str(error)), outcome_unknown=writes) from error


def require_refund_consent(access: ShopAccess) -> None:
    """Raise Unsupported unless the shop lets the center decide about its buyers' money."""
    if access.options.get("answer_refunds") != "on":
        raise Unsupported("自动答复退款（店铺参数 answer_refunds 未开启，请在平台后台处理）")


def require_success(flag: Any) -> None:
    """Raise Rejected unless an answer's inner flag is true (or the text some gateways send)."""
    if flag is not True and flag != "true":
        raise Rejected(PlatformError(ErrorClass.BUSINESS, "not_confirmed", "平台没有确认操作成功"))
