"""Single values and objects as platforms write them: exact money, aware time, ids as text.

The readers raise ``Unreadable`` with words an operator can act on; no message carries a value
that could be a name, a phone, an address or a secret.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final

from channels_sync.contracts import (
    ErrorClass,
    PlatformError,
    Rejected,
    Unreadable,
)
from ordercenter.core.money import FEN
from ordercenter.orders.contracts import LineDraft

CHINA: Final = timezone(timedelta(hours=8), "UTC+8")
"""Naive texts of the platforms are Beijing time; there is no summer time to mind."""

MAX_ID_LENGTH: Final = 64

MAX_QUANTITY: Final = 1_000_000

MAX_MONEY: Final = Decimal(10) ** 14

FIRST_YEAR: Final = 2000

LAST_YEAR: Final = 2100

MILLISECONDS_FROM: Final = 10**11
"""A number of seconds this large lies beyond the year 5000: it counts milliseconds."""


_WHOLE: Final = re.compile(r"-?[0-9]{1,30}")
PLAIN_AMOUNT: Final = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")
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
    if isinstance(value, str) and PLAIN_AMOUNT.fullmatch(value):
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
        raise Unbelievable(f"字段 {name} 的年份超出 {FIRST_YEAR} 至 {LAST_YEAR}", moment)
    return moment


NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""What "never" is where a moment has to be."""


class Unbelievable(Unreadable):
    """A moment that exists, but no order can be of: of 1970, of 9999, of another calendar."""

    def __init__(self, words: str, moment: datetime) -> None:
        super().__init__(words)
        self.moment = moment


def required_time(moment: datetime | None, name: str) -> datetime:
    """Return ``moment``; raises Unreadable where the platform gave none."""
    if moment is None:
        raise Unreadable(f"缺少字段 {name}")
    return moment


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
