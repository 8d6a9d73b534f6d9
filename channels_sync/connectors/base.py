"""What all connectors share: access, the client, the clock, the shop's line, the field map."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import ClassVar, Final, Protocol, TypeVar

import httpx

from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.values import PLAIN_AMOUNT
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
    StockAnswer,
    StockCall,
    StockEcho,
    StockFigure,
    StopAnswer,
    Tokens,
    Told,
    TryLater,
    Unsupported,
    WebhookReply,
    WebhookRequest,
    Window,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

CARRIER_CODES: Final[Mapping[str, Mapping[str, str]]] = json.loads(
    (Path(__file__).parent / "carrier_codes.json").read_text(encoding="utf-8")
)
"""The platforms' names of carriers, by channel and our code."""

MAX_PUSHED: Final = 1_000
"""More entries than this no platform puts into one push."""

CROOKED: Final = timedelta(seconds=30)
"""Clocks further apart than this are not a matter of a slow line."""

JSON_PUSHES: Final = frozenset({"application/json", "application/x-www-form-urlencoded", ""})
"""A push without a Content-Type is taken for JSON."""


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
        if PLAIN_AMOUNT.fullmatch(own) and (per_second := float(own)) > 0:
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

    # Figures by the call

    @property
    def stock_interface(self) -> str:
        """What figures are told by, one a call; empty where the platform is told none so."""
        return ""

    def stock_calls(self, figures: Sequence[StockFigure]) -> list[StockCall]:
        """One call a figure, where the platform takes one at a time."""
        if not self.stock_interface:
            raise Unsupported("库存同步")
        return [StockCall(self.stock_interface, (figure,)) for figure in figures]

    def stock_turns(self, calls: Sequence[StockCall]) -> int:
        interface = calls[0].interface
        if not interface:
            return 1
        alike = next(
            (at for at, call in enumerate(calls) if call.interface != interface), len(calls)
        )
        return self.line.ahead(interface, self.limit(interface), alike)

    def publish_figures(self, figures: Sequence[StockFigure]) -> list[StockAnswer]:
        return [self.publish_stock(figures[0])] if len(figures) == 1 else self._each(figures)

    def _each(self, figures: Sequence[StockFigure]) -> list[StockAnswer]:
        """Tell figures one after the other, each with an answer of its own."""
        answers: list[StockAnswer] = []
        for figure in figures:
            try:
                answers.append(self.publish_stock(figure))
            except ConnectorError as error:
                answers.append(error)
        return answers

    def all_or_each(
        self, figures: Sequence[StockFigure], together: Callable[[], Sequence[StockEcho]]
    ) -> list[StockAnswer]:
        """Tell figures by a call the platform takes whole or not at all.

        Refused for one of them it is refused for all: each is then told alone.
        """
        try:
            return list(together())
        except Rejected as refusal:
            if refusal.error.klass is not ErrorClass.BUSINESS:
                raise
            return self._each(figures)

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


def key_of_all(figures: Sequence[StockFigure]) -> str:
    """One idempotency key for a call of several figures; the same figures, the same key."""
    joined = "\n".join(figure.key for figure in figures)
    return f"stock:{hashlib.blake2b(joined.encode(), digest_size=16).hexdigest()}"


def lots(figures: Sequence[StockFigure], size: int) -> list[tuple[StockFigure, ...]]:
    """Cut figures into lots of at most ``size``, none of which names one SKU twice: nobody says
    which of the two would count."""
    found: list[dict[tuple[str, str], StockFigure]] = []
    for figure in figures:
        named = (figure.platform_sku_id, figure.outer_code if not figure.platform_sku_id else "")
        lot = next((one for one in found if len(one) < size and named not in one), None)
        if lot is None:
            found.append(lot := {})
        lot[named] = figure
    return [tuple(lot.values()) for lot in found]


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
