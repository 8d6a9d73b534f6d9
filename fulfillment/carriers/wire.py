"""What every carrier's wire needs: JSON that hides nothing, and calls that fail in known ways.

No message carries a value that could be a name, a phone, an address or a secret.
"""

import json
import logging
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import httpx

from fulfillment.contracts import (
    CarrierErrorClass,
    CarrierFault,
    CarrierRejected,
    CarrierTryLater,
    CarrierUnknown,
    UnreadablePush,
)

CHINA: Final = timezone(timedelta(hours=8), "UTC+8")
MAX_BODY: Final = 2 * 1024 * 1024
_MAX_DIGITS: Final = 64
_CONNECT_SECONDS: Final = 5.0
_READ_SECONDS: Final = 30.0
_BAD_CHARACTER: Final = re.compile("[\x00\ud800-\udfff]")


def make_client(*, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Make the client carriers share: time-outs set, no redirects, no proxy by environment."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return httpx.Client(
        timeout=httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=False,
        transport=transport,
    )


def endpoint(base_url: str, path: str) -> str:
    """Join an account's address and a carrier's path; an address that ends with it stays.

    Raises CarrierRejected unless the address is https or loopback: receivers' addresses never
    go in the clear.
    """
    parts = urlsplit(base_url)
    loopback = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise CarrierRejected(
            CarrierFault(
                CarrierErrorClass.BUSINESS, "insecure_url", "快递公司地址必须以 https:// 开头"
            )
        )
    base = base_url.rstrip("/")
    return base if base.endswith(path) else base + path


def refuse(words: str) -> NoReturn:
    raise UnreadablePush(words)


def _integer(literal: str) -> int:
    return int(literal) if len(literal) <= _MAX_DIGITS else refuse("报文里有过长的整数")


def _decimal(literal: str) -> Decimal:
    try:
        return Decimal(literal) if len(literal) <= _MAX_DIGITS else refuse("报文里有过长的小数")
    except InvalidOperation:
        refuse("报文里有无法表示的小数")


def _constant(name: str) -> NoReturn:
    refuse(f"报文里有 JSON 不允许的数值 {name}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        refuse("报文里同一个字段出现了两次")
    return found


_STRICT: Final = json.JSONDecoder(
    parse_int=_integer,
    parse_float=_decimal,
    parse_constant=_constant,
    object_pairs_hook=_object,
)


def load_json(body: bytes | str) -> Any:
    """Parse JSON strictly: no NaN, no doubled key, no lone surrogate, no float ever.

    Raises UnreadablePush with the reason.
    """
    if len(body) > MAX_BODY:
        refuse("报文超过 2 MiB")
    try:
        text = body.decode("utf-8-sig") if isinstance(body, bytes) else body
    except UnicodeDecodeError:
        refuse("报文不是 UTF-8 编码")
    try:
        value = _STRICT.decode(text)
        clean = not _BAD_CHARACTER.search(json.dumps(value, ensure_ascii=False, default=str))
    except RecursionError:
        refuse("报文嵌套过深")
    except ValueError:
        refuse("报文不是完整的 JSON")
    return value if clean else refuse("报文里有 NUL 或被截断的字符（孤立的代理项）")


def dump_json(value: object) -> str:
    """The one text that is signed and sent: compact, Chinese kept as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def local_time(text: object) -> datetime:
    """Read ``2026-03-03 10:12:45``, China time without a zone. Raises UnreadablePush."""
    if isinstance(text, str):
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            refuse("轨迹的时间格式不对")
        return moment if moment.tzinfo else moment.replace(tzinfo=CHINA)
    refuse("轨迹没有时间")


def post_form(
    client: httpx.Client, url: str, form: Mapping[str, str], *, writes: bool
) -> Mapping[str, Any]:
    """Post ``form`` and return the JSON object that came back.

    Raises CarrierTryLater when nothing can have happened, and for a call that ``writes``
    CarrierUnknown when something may have: a lost answer, HTTP 5xx, a login page with 200.
    """
    try:
        response = client.post(url, data=dict(form))
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
        raise CarrierTryLater(_platform("network", "连不上快递公司")) from None
    except httpx.TimeoutException:
        raise unclear("timeout", "快递公司没有在时限内答复", writes=writes) from None
    except httpx.HTTPError as error:
        words = f"与快递公司的连接中断（{type(error).__name__}）"
        raise unclear("network", words, writes=writes) from None
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise CarrierTryLater(
            CarrierFault(CarrierErrorClass.RATE_LIMITED, "http_429", "快递公司限流")
        )
    if response.status_code != httpx.codes.OK:
        code = f"http_{response.status_code}"
        raise unclear(code, f"快递公司返回 HTTP {response.status_code}", writes=writes)
    try:
        answer = load_json(response.content)
    except UnreadablePush as error:
        raise unclear("bad_body", str(error), writes=writes) from None
    if not isinstance(answer, Mapping):
        raise unclear("bad_body", "快递公司的答复不是 JSON 对象", writes=writes)
    return answer


def unclear(code: str, words: str, *, writes: bool) -> CarrierTryLater | CarrierUnknown:
    """What to raise when the answer is lost: after a write nobody knows what happened."""
    fault = _platform(code, words)
    return CarrierUnknown(fault) if writes else CarrierTryLater(fault)


def _platform(code: str, message: str) -> CarrierFault:
    return CarrierFault(CarrierErrorClass.PLATFORM, code, message)
