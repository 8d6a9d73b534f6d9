"""What every connector stands on: strict JSON, exact money, aware time, one HTTP door.

Nothing here knows a platform. The helpers raise ``Unreadable`` with words an operator can act
on; the HTTP helpers raise ``TryLater`` or ``Rejected``. No message carries a value that could
be a name, a phone, an address or a secret.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar
from urllib.parse import urlsplit

import httpx

from channels_sync.connectors.pacing import TOTAL_SECONDS, PacedTransport
from channels_sync.contracts import (
    OPEN_LINE,
    AddressAnswer,
    BadSignature,
    Budget,
    Census,
    Connector,
    ConnectorError,
    Decrypted,
    DecryptRequest,
    ErrorClass,
    Feed,
    Limit,
    Line,
    Memo,
    MessageKind,
    Page,
    PlatformError,
    RawMessage,
    Rejected,
    ShipNotice,
    ShopAccess,
    StockEcho,
    StockFigure,
    StopAnswer,
    Tokens,
    Told,
    TryLater,
    Unreadable,
    Unsupported,
    WebhookReply,
    WebhookRequest,
    Window,
)
from ordercenter.core.money import FEN
from ordercenter.orders.contracts import LineDraft

if TYPE_CHECKING:
    from channels_sync.connectors.field_map import FieldMap

logger = logging.getLogger(__name__)
T = TypeVar("T")

CARRIER_CODES: Final[Mapping[str, Mapping[str, str]]] = json.loads(
    (Path(__file__).parent / "carrier_codes.json").read_text(encoding="utf-8")
)
"""The platforms' names of carriers, by channel and our code."""

CHINA: Final = timezone(timedelta(hours=8), "UTC+8")
"""Naive texts of the platforms are Beijing time; there is no summer time to mind."""

MAX_MESSAGE_BYTES: Final = 2 * 1024 * 1024
MAX_REPLY_BYTES: Final = 20 * 1024 * 1024
MAX_PUSHED: Final = 1_000
"""More entries than this no platform puts into one push."""
MAX_DEPTH: Final = 64
MAX_DIGITS: Final = 100
MAX_ID_LENGTH: Final = 64
MAX_QUANTITY: Final = 1_000_000
MAX_MONEY: Final = Decimal(10) ** 14
CROOKED: Final = timedelta(seconds=30)
"""Clocks further apart than this are not a matter of a slow line."""
FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2100
MILLISECONDS_FROM: Final = 10**11
"""A number of seconds this large lies beyond the year 5000: it counts milliseconds."""

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 10.0

JSON_PUSHES: Final = frozenset({"application/json", "application/x-www-form-urlencoded", ""})
"""A push without a Content-Type is taken for JSON."""


# --- JSON -----------------------------------------------------------------------------------


class _Literal:
    """A token strict JSON refuses, kept as written so that its own row is refused later."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class _Repeated(dict[str, Any]):
    """An object with a key given twice; remembers every pair so that it dumps as it came."""

    pairs: list[tuple[str, Any]]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Unreadable("报文里同一个字段出现了两次")
    return found


def _object_or_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = _Repeated(found)
    repeated.pairs = pairs
    return repeated


def _constant(token: str) -> Any:
    raise Unreadable(f"报文里有 JSON 不允许的数值 {token}")


def _integer(token: str) -> int:
    if len(token) > MAX_DIGITS:
        raise Unreadable(f"报文里有超过 {MAX_DIGITS} 位的整数")
    return int(token)


def _decimal(token: str) -> Decimal:
    if len(token) > MAX_DIGITS:
        raise Unreadable(f"报文里有超过 {MAX_DIGITS} 位的小数")
    try:
        value = Decimal(token)
    except InvalidOperation:
        raise Unreadable("报文里有无法表示的小数") from None
    if value and abs(value.adjusted()) > MAX_DIGITS:
        raise Unreadable("报文里有大小超出范围的小数")
    return value


def _or_literal(reader: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(token: str) -> Any:
        try:
            return reader(token)
        except Unreadable:
            return _Literal(token)

    return read


_STRICT: Final = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=_decimal,
    parse_int=_integer,
    parse_constant=_constant,
)
_KEEPING: Final = json.JSONDecoder(
    object_pairs_hook=_object_or_repeated,
    parse_float=_or_literal(_decimal),
    parse_int=_or_literal(_integer),
    parse_constant=_Literal,
)
_plain: Final = json.JSONEncoder(ensure_ascii=False).encode
_escaped: Final = json.JSONEncoder(ensure_ascii=True).encode
_SUSPECT_ESCAPE: Final = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
_BAD_CHARACTER: Final = re.compile("[\x00\ud800-\udfff]")


def loads_strict(body: bytes, *, max_bytes: int = MAX_MESSAGE_BYTES) -> Any:
    """Parse one message; refuse everything two readers could understand differently.

    UTF-8 (a BOM is cut), floats as ``Decimal``. Refuses NaN and Infinity, duplicate keys, lone
    surrogates, NUL, nesting over 64, numbers over 100 digits, and bodies over ``max_bytes``.
    Raises Unreadable with the reason.
    """
    text = _decode(body, max_bytes)
    value = _parse(_STRICT, text)
    _walk(value, look_at_text=bool(_SUSPECT_ESCAPE.search(text)))
    return value


def loads_page(body: bytes) -> Any:
    """Parse a list page, up to 20 MiB, so that one broken order does not cost its neighbors.

    What ``loads_strict`` refuses inside an order is kept, comes out of ``dump_compact`` as it
    was, and is refused when that order is read. A page that is no JSON raises Unreadable.
    """
    value = _parse(_KEEPING, _decode(body, MAX_REPLY_BYTES))
    _walk(value, look_at_text=False)
    return value


def _decode(body: bytes, max_bytes: int) -> str:
    if len(body) > max_bytes:
        raise Unreadable(f"报文超过 {max_bytes // (1024 * 1024)} MiB")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("报文不是 UTF-8 编码") from None


def _parse(decoder: json.JSONDecoder, text: str) -> Any:
    try:
        return decoder.decode(text)
    except RecursionError:
        raise Unreadable(f"报文嵌套超过 {MAX_DEPTH} 层") from None
    except ValueError as error:
        where = getattr(error, "pos", None)
        at = "" if where is None else f"（第 {where} 个字符处）"
        raise Unreadable(f"报文不是完整的 JSON{at}") from None


def _walk(value: Any, *, look_at_text: bool) -> None:
    """Refuse what is nested too deep; with ``look_at_text`` also NUL and lone surrogates."""
    level: list[Any] = [value]
    depth = 0
    while level:
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below.extend(one.values())
                if look_at_text:
                    below.extend(one)
            elif isinstance(one, list):
                below.extend(one)
            elif look_at_text and isinstance(one, str) and _BAD_CHARACTER.search(one):
                raise Unreadable("报文里有 NUL 或被截断的字符（孤立的代理项）")
        if below:
            depth += 1
        if depth > MAX_DEPTH:
            raise Unreadable(f"报文嵌套超过 {MAX_DEPTH} 层")
        level = below


def dump_compact(value: Any) -> bytes:
    """Write parsed JSON back, compact, CJK raw, numbers with their digits (never a float).

    Keys stay in their order. Used to cut one order out of a list page.
    """
    return _dump(value).encode()


def _dump(value: Any) -> str:
    if isinstance(value, str):
        return _dump_text(value)
    if isinstance(value, Mapping):
        pairs = value.pairs if isinstance(value, _Repeated) else value.items()
        return "{" + ",".join(f"{_dump_text(key)}:{_dump(item)}" for key, item in pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_dump, value)) + "]"
    return _dump_token(value)


def _dump_token(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, _Literal):
        return value.text
    raise TypeError(f"not JSON: {type(value).__name__}")


def _dump_text(text: str) -> str:
    # A lone surrogate has no UTF-8 form; escaped it stays what the platform sent.
    return (_escaped if _BAD_CHARACTER.search(text) else _plain)(text)


# --- single values --------------------------------------------------------------------------

_WHOLE: Final = re.compile(r"-?[0-9]{1,30}")
_AMOUNT: Final = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")
_NAIVE: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
)
_ZONED: Final = re.compile(_NAIVE.pattern + r"(?:Z|[+-][0-9]{2}:?[0-9]{2})")
_NEVER: Final = ("0001-01-01", "1970-01-01", "0000-00-00")
"""The days of which platforms make "never", at whatever hour (and of JD at several)."""


def yuan(value: Any, name: str, *, signed: bool = False, quantum: Decimal = FEN) -> Decimal:
    """Read an amount given in yuan (or another currency's main unit) as text or number.

    Exact to ``quantum``; a third decimal is refused, not rounded. Raises Unreadable.
    """
    if isinstance(value, str) and _AMOUNT.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise Unreadable(f"字段 {name} 不是金额")
    return _money(Decimal(value), name, signed=signed, quantum=quantum)


def fen(value: Any, name: str, *, signed: bool = False) -> Decimal:
    """Read an amount given in whole fen; returns yuan. Raises Unreadable."""
    return _money(Decimal(whole(value, name)) / 100, name, signed=signed, quantum=FEN)


def _money(value: Decimal, name: str, *, signed: bool, quantum: Decimal) -> Decimal:
    if abs(value) >= MAX_MONEY:
        raise Unreadable(f"字段 {name} 的金额超出范围")
    if value < 0 and not signed:
        raise Unreadable(f"字段 {name} 的金额是负数")
    exact = value.quantize(quantum)
    if exact != value:
        raise Unreadable(f"字段 {name} 的金额小数位过多")
    return exact or abs(exact)  # -0.00 is 0.00


_QUANTA: Final[Mapping[str, Decimal]] = {
    **dict.fromkeys(("JPY", "KRW", "VND", "CLP", "ISK", "XAF", "XOF"), Decimal(1)),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), Decimal("0.001")),
}


def quantum_of(currency: str) -> Decimal:
    """The smallest coin of a currency, in its main unit."""
    return _QUANTA.get(currency, FEN)


def whole(value: Any, name: str) -> int:
    """Read an integer, given as a number or as ASCII digits. Raises Unreadable."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Unreadable(f"字段 {name} 不是整数")


def quantity(value: Any, name: str) -> int:
    """Read how many pieces: a whole number from 1 to a million. Raises Unreadable."""
    number = whole(value, name)
    if number <= 0:
        raise Unreadable(f"字段 {name} 的数量必须大于零")
    if number > MAX_QUANTITY:
        raise Unreadable(f"字段 {name} 的数量超过上限 {MAX_QUANTITY}")
    return number


def boolean(value: Any, name: str) -> bool:
    """Read true or false, also as the text some gateways make of them. Raises Unreadable."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise Unreadable(f"字段 {name} 不是 true 或 false")


def id_text(value: Any, name: str) -> str:
    """Read a platform's id, digit for digit, blanks and all; never through a float.

    Missing, null and blank are refused alike. Raises Unreadable.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise Unreadable(f"缺少字段 {name}")
    if len(value) > MAX_ID_LENGTH:
        raise Unreadable(f"字段 {name} 超过 {MAX_ID_LENGTH} 个字符")
    return value


def optional_id(value: Any) -> str | None:
    """Read an id that may be absent: null, blank, 0 and "0" are none."""
    if value in (None, 0, "0") or isinstance(value, bool | Decimal | dict | list):
        return None
    text = str(value)
    return text if text.strip() and len(text) <= MAX_ID_LENGTH else None


def text_of(value: Any) -> str:
    """Read a text; numbers are spelt out, an object or list where a text is due is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    return ""


def given_text(value: Any) -> str | None:
    """Read a text, keeping apart what was not given (None) and what is empty."""
    return None if value is None or isinstance(value, dict | list) else text_of(value)


def china_time(value: Any, name: str) -> datetime | None:
    """Read ``yyyy-MM-dd HH:mm:ss`` or ISO 8601; without an offset it is Beijing time.

    None for the platforms' ways to say "never" (null, empty, year 1, 1970). Raises Unreadable.
    """
    if value is None or (isinstance(value, int) and value == 0 and value is not False):
        return None
    if not isinstance(value, str):
        raise Unreadable(f"字段 {name} 不是时间")
    if value in ("", "0") or value.startswith(_NEVER):
        return None
    if not (_NAIVE.fullmatch(value) or _ZONED.fullmatch(value)):
        raise Unreadable(f"字段 {name} 的时间格式不对")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise Unreadable(f"字段 {name} 的时间不存在") from None
    return _bounded(moment if moment.tzinfo else moment.replace(tzinfo=CHINA), name)


def unix_seconds(value: Any, name: str) -> datetime | None:
    """Read Unix seconds; 0 and null are none. Milliseconds are refused, not guessed."""
    if value in (None, "", 0, "0"):
        return None
    seconds = whole(value, name)
    if seconds >= MILLISECONDS_FROM:
        raise Unreadable(f"字段 {name} 像是毫秒，应为秒")
    if seconds < 0:
        raise Unreadable(f"字段 {name} 的时间超出范围")
    return _bounded(datetime.fromtimestamp(seconds, UTC), name)


def unix_milliseconds(value: Any, name: str) -> datetime | None:
    """Read Unix milliseconds; 0 and null are none. Seconds are refused by the year bound."""
    if value in (None, "", 0, "0"):
        return None
    milliseconds = whole(value, name)
    if not 0 <= milliseconds < MILLISECONDS_FROM * 1000:
        raise Unreadable(f"字段 {name} 的时间超出范围")
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return _bounded(moment + timedelta(milliseconds=milliseconds % 1000), name)


def _bounded(moment: datetime, name: str) -> datetime:
    if not FIRST_YEAR <= moment.year < LAST_YEAR:
        raise Unreadable(f"字段 {name} 的年份超出 {FIRST_YEAR} 至 {LAST_YEAR}")
    return moment


def required_time(moment: datetime | None, name: str) -> datetime:
    """Return ``moment``; raises Unreadable where the platform gave none."""
    if moment is None:
        raise Unreadable(f"缺少字段 {name}")
    return moment


# --- objects and lists ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    """One JSON object and the name it has in messages; every reader names its field."""

    data: Mapping[str, Any]
    path: str = ""

    @classmethod
    def of(cls, value: Any, path: str = "") -> "Node":
        """Take ``value`` as an object; raises Unreadable if it is none."""
        if not isinstance(value, Mapping):
            raise Unreadable(f"{path or '报文'} 不是 JSON 对象")
        return cls(value, path)

    def name(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def get(self, key: str) -> Any:
        return self.data.get(key)

    def node(self, key: str) -> "Node":
        return Node.of(self.data.get(key), self.name(key))

    def node_or_empty(self, key: str) -> "Node":
        """The object under ``key``; an empty one if there is none or it is no object."""
        value = self.data.get(key)
        return Node(value if isinstance(value, Mapping) else {}, self.name(key))

    def nodes(self, *keys: str) -> "list[Node]":
        """The objects of the list under ``keys`` (``orders``, ``order``), however wrapped.

        Raises Unreadable if an entry is no object.
        """
        name = self.name(keys[0])
        rows = unwrap(self.data.get(keys[0]), *keys[1:])
        return [Node.of(row, f"{name}[{index}]") for index, row in enumerate(rows)]

    def id(self, key: str) -> str:
        return id_text(self.data.get(key), self.name(key))

    def optional_id(self, key: str) -> str | None:
        return optional_id(self.data.get(key))

    def text(self, key: str) -> str:
        return text_of(self.data.get(key))

    def given_text(self, key: str) -> str | None:
        return given_text(self.data.get(key))

    def first_text(self, *keys: str) -> str | None:
        """The first of ``keys`` that holds text that is not blank."""
        return next((text for key in keys if (text := self.text(key)).strip()), None)

    def yuan(self, key: str, *, default: Decimal | None = None) -> Decimal:
        value = self.data.get(key)
        if default is not None and value in (None, ""):
            return default
        return yuan(value, self.name(key))

    def fen(self, key: str, *, default: Decimal | None = None) -> Decimal:
        value = self.data.get(key)
        if default is not None and value in (None, ""):
            return default
        return fen(value, self.name(key))

    def whole(self, key: str, *, default: int | None = None) -> int:
        value = self.data.get(key)
        if default is not None and value in (None, ""):
            return default
        return whole(value, self.name(key))

    def optional_whole(self, key: str) -> int | None:
        value = self.data.get(key)
        return None if value in (None, "") else whole(value, self.name(key))

    def quantity(self, key: str) -> int:
        return quantity(self.data.get(key), self.name(key))

    def boolean(self, key: str, *, default: bool = False) -> bool:
        value = self.data.get(key)
        return default if value in (None, "") else boolean(value, self.name(key))

    def china_time(self, key: str) -> datetime | None:
        return china_time(self.data.get(key), self.name(key))

    def unix_seconds(self, key: str) -> datetime | None:
        return unix_seconds(self.data.get(key), self.name(key))


def unwrap(value: Any, *inner: str) -> list[Any]:
    """Read a list in any shape gateways give it.

    ``null``, a missing key and ``{}`` are an empty list, a single object is a list of one, and
    the wrapper (``trades.trade``) may be there or, with ``simplify``, not. A list of lists is
    laid flat. Raises Unreadable for anything else.
    """
    for key in inner:
        if isinstance(value, Mapping) and (key in value or not value):
            value = value.get(key)
    if value in (None, "") or value == {}:
        return []
    if isinstance(value, Mapping):
        return [value]
    if not isinstance(value, list):
        raise Unreadable("应为列表的字段不是列表")
    flat: list[Any] = []
    for row in value:
        flat.extend(row if isinstance(row, list) else [row])
    return flat


# --- orders ---------------------------------------------------------------------------------


def line_ids(candidates: Iterable[str]) -> list[str]:
    """Give every line its own id where the platform has none: a repeat becomes ``id#2``."""
    seen: dict[str, int] = {}
    found = []
    for one in candidates:
        seen[one] = seen.get(one, 0) + 1
        found.append(one if seen[one] == 1 else f"{one}#{seen[one]}")
    return found


def order_refund_state(lines: Sequence[LineDraft]) -> str | None:
    """Tell the order's refund state from its lines (``channels.md`` 0.2)."""
    states = [line.refund_state for line in lines]
    if None in states:
        return None
    if "in_progress" in states:
        return "in_progress"
    goods = [line.refund_state for line in lines if not line.is_gift]
    if goods and all(state == "refunded" for state in goods):
        return "full"
    return "partial" if {"refunded", "partial"} & set(states) else "none"


def is_masked_text(*texts: str) -> bool:
    """Whether any text hides something behind asterisks."""
    return any("*" in text for text in texts)


def byte_length(text: str) -> int:
    return len(text.encode())


def merged_note(
    note: str, line: str, *, limit: int, size: Callable[[str], int] = len, unit: str = "个字"
) -> str | None:
    """Add ``line`` to a merchant's note; None where the note has that line already.

    Raises Rejected (``memo_too_long``) rather than cut what others wrote to ``limit``, which
    counts what ``size`` counts.
    """
    if f"\n{line.strip()}\n" in "\n".join(("", *note.splitlines(), "")):
        return None
    merged = f"{note.rstrip()}\n{line.strip()}" if note.strip() else line.strip()
    if size(merged) <= limit:
        return merged
    words = f"平台备注最多 {limit} {unit}，原有内容不能覆盖，请精简后再写"
    raise Rejected(PlatformError(ErrorClass.BUSINESS, "memo_too_long", words))


# --- HTTP -----------------------------------------------------------------------------------


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


# --- the base of connectors -----------------------------------------------------------------


class ConnectorFactory(Protocol):
    """Makes a connector for one shop; reading alone needs no client."""

    # Not ClassVar: here the class itself is the object that has them.
    channel: str
    feeds: tuple[Feed, ...]
    listens: bool
    default_map: "FieldMap | None"

    def __call__(
        self,
        access: ShopAccess,
        client: httpx.Client | None = None,
        now: Callable[[], datetime] = ...,
        *,
        line: Line = ...,
        field_map: "FieldMap | None" = ...,
    ) -> Connector: ...


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Turn:
    """One call on the shop's line."""

    budget: Budget | None = None


class BaseConnector:
    """What all connectors share: access, the injected client, the clock, the shop's line.

    Whatever a platform lacks is Unsupported here; a connector overrides what it has.
    """

    channel: ClassVar[str]
    feeds: ClassVar[tuple[Feed, ...]] = ()
    limits: ClassVar[Mapping[str, Limit]] = {}
    listens: ClassVar[bool] = False
    repeatable: ClassVar[frozenset[type]] = frozenset()
    push_types: ClassVar[frozenset[str]] = JSON_PUSHES
    stale_token_codes: ClassVar[frozenset[str]] = frozenset()
    """Codes and sub-codes that say: this token is over, another may do."""
    default_map: "ClassVar[FieldMap | None]" = None
    """The packaged field map; None where the reader has no need of one."""

    def __init__(
        self,
        access: ShopAccess,
        client: httpx.Client | None = None,
        now: Callable[[], datetime] = utc_now,
        *,
        line: Line = OPEN_LINE,
        field_map: "FieldMap | None" = None,
    ) -> None:
        self.access = access
        self._client = client
        self._clock = now
        self._ahead = timedelta()
        self._platform_ahead = timedelta()
        self.line = line
        if client is not None:
            client.event_hooks = {"request": [], "response": [self._read_clock]}
        self._field_map = field_map or self.default_map

    @property
    def field_map(self) -> "FieldMap":
        """How this shop's field names are read: what the house gave, else the packaged map."""
        if self._field_map is None:
            raise RuntimeError("this connector has no field map")
        return self._field_map

    def now(self) -> datetime:
        """The time to sign with: ours, until the platform refuses it and tells its own."""
        return self._clock() + self._ahead

    def _read_clock(self, response: httpx.Response) -> None:
        """Note how far the platform is ahead of us by the ``Date`` of its answer."""
        try:
            told = parsedate_to_datetime(response.headers.get("date", ""))
        except (TypeError, ValueError):
            return
        if told.tzinfo is not None:
            self._platform_ahead = told - self._clock()

    def _sets_clock(self, fault: PlatformError) -> bool:
        """Whether a refusal blames our clock, and the platform's own has been taken for it."""
        said = f"{fault.sub_code} {fault.message}".lower()
        blamed = "timestamp" in said or "时间戳" in said
        if not blamed or self._ahead or abs(self._platform_ahead) < CROOKED:
            return False
        logger.warning("signing by the clock of %s: %s", self.channel, self._platform_ahead)
        self._ahead = self._platform_ahead
        return True

    def feed(self, code: str) -> Feed:
        return next(feed for feed in self.feeds if feed.code == code)

    @property
    def client(self) -> httpx.Client:
        """The injected client. Reading needs none; whoever calls out without one has a bug."""
        if self._client is None:
            raise RuntimeError("this connector was made without an HTTP client")
        return self._client

    def limit(self, interface: str) -> Limit | None:
        """How often ``interface`` may be called: the shop's option ``limit.<interface>``, in
        calls a second, goes before what the connector says."""
        own = self.access.options.get(f"limit.{interface}", "")
        if _AMOUNT.fullmatch(own) and (per_second := float(own)) > 0:
            return Limit(per_second, max(per_second, 1.0))
        return self.limits.get(interface) or self.limits.get("*")

    @contextmanager
    def calling(self, interface: str, *, cost: float = 1.0) -> Iterator[Turn]:
        """Hold the shop's line for one call of ``interface``, and tell it how the call went.

        A platform that says what is left of its limit says so in the turn's ``budget``.
        """
        self.line.enter(interface, self.limit(interface), cost=cost)
        turn = Turn()
        try:
            yield turn
        except ConnectorError as error:
            self.line.failed(interface, error)
            raise
        self.line.passed(interface, turn.budget)

    def with_token(self, call: Callable[[], T]) -> T:
        """Make one call with the shop's token, and again as long as the shop's line lets it.

        A stale token is renewed, once; a call refused for its time is signed once more by the
        platform's clock; one that surely had no effect is repeated while the line says so.
        ``call`` must read ``self.access.access_token`` when it is called.
        """
        attempt, renewed = 0, False
        while True:
            try:
                return call()
            except TryLater as error:
                attempt += 1
                if error.outcome_unknown or not self.line.again(attempt, error):
                    raise
            except Rejected as refusal:
                fault = refusal.error
                if self._sets_clock(fault):
                    continue
                if renewed or not self.stale_token_codes & {fault.code, fault.sub_code}:
                    raise
                fresh = self.line.renew(self.access.access_token)
                self.access = replace(self.access, access_token=fresh)
                renewed = True

    def carrier_code(self, carrier: str) -> str:
        """The platform's name of our carrier: the shop's option ``carrier.<code>``, which the
        house fills from its table, goes before the packaged one.

        Raises Rejected for a carrier nobody has named.
        """
        packaged = CARRIER_CODES.get(self.channel, {})
        found = self.access.options.get(f"carrier.{carrier}") or packaged.get(carrier)
        if found:
            return found
        raise Rejected(
            PlatformError(
                ErrorClass.BUSINESS,
                "unknown_carrier",
                f"快递公司 {carrier} 没有对应的平台编码，请在“平台快递编码”中填写",
            )
        )

    # What a platform may lack

    def pull(self, feed: str, window: Window) -> Iterator[Page]:
        raise Unsupported("拉取订单")

    def fetch(self, channel_number: str) -> RawMessage:
        raise Unsupported("按单号查询")

    def census(self, window: Window) -> Census:
        raise Unsupported("按下单时间核对")

    def listen(
        self, take: Callable[[Sequence[RawMessage]], None], stop: Callable[[], bool]
    ) -> None:
        raise Unsupported("消息服务")

    def refresh(self, refresh_token: str) -> Tokens:
        raise Unsupported("自动续期授权")

    def authorize_url(self, redirect_uri: str, state: str) -> str:
        raise Unsupported("网页授权")

    def check_callback(self, query: Mapping[str, str]) -> None:
        return None

    def exchange_code(self, code: str) -> Tokens:
        raise Unsupported("网页授权")

    def challenge(self, request: WebhookRequest) -> WebhookReply | None:
        return None

    def ship(self, notice: ShipNotice) -> None:
        raise Unsupported("发货回传")

    def publish_stock(self, figure: StockFigure) -> StockEcho:
        raise Unsupported("库存同步")

    def answer_stop(self, answer: StopAnswer) -> None:
        raise Unsupported("回复退款拦截结果")

    def write_memo(self, memo: Memo) -> None:
        raise Unsupported("修改备注")

    def answer_address(self, answer: AddressAnswer) -> None:
        raise Unsupported("回复改地址申请")

    def knows(self, told: Told) -> bool | None:
        return None

    def decrypt(self, requests: Sequence[DecryptRequest]) -> list[Decrypted]:
        raise Unsupported("收件人解密")

    def merge_groups(self, requests: Sequence[DecryptRequest]) -> list[tuple[str, ...]]:
        raise Unsupported("合单查询")


class WithoutPush:
    """For platforms that push over a WebSocket of their own or not at all: no HTTP door.

    Nothing proves itself here, so ``verify`` always raises BadSignature.
    """

    def verify(self, request: WebhookRequest) -> None:
        raise BadSignature("no push")

    def split(self, request: WebhookRequest) -> tuple[RawMessage, ...]:
        return (RawMessage(MessageKind.UNREADABLE, request.body),)

    def acknowledge(self, request: WebhookRequest, *, duplicate: bool) -> WebhookReply:
        return WebhookReply(HTTPStatus.NOT_FOUND, b"", "text/plain")


# --- walking a list from its last page to its first ------------------------------------------


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page as a platform gave it. ``has_next`` is None where it does not say."""

    messages: tuple[RawMessage, ...]
    has_next: bool | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """How to ask one of a platform's lists: how many rows a window has, and one page of them."""

    count: Callable[[Window], int]
    page: Callable[[Window, int], ListPage]
    page_size: int
    max_pages: int = 100


def slices(window: Window, seconds: int) -> Iterator[Window]:
    """Cut ``window`` into spans of at most ``seconds``, oldest first, sharing their edges."""
    start = window.start
    span = timedelta(seconds=seconds)
    while window.end - start > span:
        yield Window(start, start + span)
        start += span
    yield Window(start, window.end)


def pull_backwards(window: Window, listing: Listing) -> Iterator[Page]:
    """Yield a list that is sorted by modification, newest first, from its last page to page 1.

    A row that changes meanwhile leaves the frozen window and draws later rows one place up,
    onto pages still to be read: it is seen twice, never missed. A window with more pages than
    the platform lists is halved. Raises TryLater if the pages do not add up to the total.
    """
    total = listing.count(window)
    last = -(-total // listing.page_size)
    if last > listing.max_pages:
        for half in _halves(window):
            yield from pull_backwards(half, listing)
        return
    seen: set[str | bytes] = set()
    for number, page in _pages_backwards(window, listing, last):
        seen.update(_identity(message) for message in page.messages)
        yield Page(page.messages, number, last)
    if len(seen) < total and len(seen) < listing.count(window):
        raise TryLater(
            platform_error("incomplete", f"平台称有 {total} 条，分页只给出 {len(seen)} 条")
        )


def _identity(message: RawMessage) -> str | bytes:
    # An order may be seen twice with different contents; one order can have many refunds.
    is_order = message.kind is MessageKind.ORDER and message.channel_number
    return message.channel_number if is_order else message.body


def _pages_backwards(window: Window, listing: Listing, last: int) -> Iterator[tuple[int, ListPage]]:
    if not last:
        return
    page = listing.page(window, last)
    number = last
    while page.has_next:  # rows came in since the count: start even further back
        yield number, page
        number += 1
        if number > listing.max_pages:
            raise TryLater(platform_error("page_cap", "平台一直称还有下一页，已停止翻页"))
        page = listing.page(window, number)
    yield number, page
    for earlier in range(number - 1, 0, -1):
        yield earlier, listing.page(window, earlier)


def _halves(window: Window) -> tuple[Window, Window]:
    span = int((window.end - window.start).total_seconds())
    if span < 2:  # noqa: PLR2004 - platforms count in seconds
        raise TryLater(platform_error("page_cap", "同一秒内的订单超过平台的翻页上限"))
    middle = window.start + timedelta(seconds=span // 2)
    return Window(window.start, middle), Window(middle, window.end)
