"""BJ in what we ask for: a page is read again or taken whole, and one order costs one order."""

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Final

import httpx
import pytest

import channels_sync.connectors.crm.wire
import channels_sync.connectors.openjson.connector
import channels_sync.connectors.shopify.connector
import channels_sync.connectors.wechat.connector
from channels_sync.connectors.exchange import exchange, make_client
from channels_sync.connectors.pacing import PacedStream
from channels_sync.connectors.strict_json import dump_compact, loads_page
from channels_sync.contracts import TryLater
from channels_sync.models import InboxMessage, LineAlarm
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import intake, watch
from tests.channels_sync.contract_cases import BY_CHANNEL
from tests.doors.polls import NUMBERS, Polled, changed_everywhere, objects
from tests.doors.raw_orders import LINES, put, taken
from tests.doors.table import EXPLAINED, POLLED, SHOWN, not_here

pytestmark = pytest.mark.django_db


def at_poll(row: str, but: dict[str, str] | None = None) -> pytest.MarkDecorator:
    """Run the test with ``polled`` for every channel that is asked for lists."""
    excused = {f"poll {name}": why for name, why in (but or {}).items()}
    EXPLAINED[row] |= excused
    shown = [name for name in POLLED if f"poll {name}" not in excused]
    SHOWN[row] |= {f"poll {name}" for name in shown}
    return pytest.mark.parametrize(
        "polled", [pytest.param(name, id=f"{row}-poll-{name}") for name in shown], indirect=True
    )


def assert_asked_again(polled: Polled, spoilt: bytes | Callable[[bytes], bytes]) -> None:
    """The broken page moves nothing and claims nothing; read again it is taken."""
    polled.sell(3)
    before, how = polled.position(), spoilt if callable(spoilt) else lambda _: spoilt
    polled.spoil = lambda answer: httpx.Response(answer.status_code, content=how(answer.content))
    polled.poll()
    assert polled.position() == before
    assert polled.trouble()
    assert polled.kept() == 0
    polled.recover()
    polled.poll()
    assert polled.position() > before
    assert polled.trouble() == ""
    assert polled.kept() == 3


@at_poll("BJ01")
def test_half_a_page(polled: Polled) -> None:
    assert_asked_again(polled, lambda body: body[: len(body) // 2])


@at_poll("BJ02")
def test_a_page_with_garbage_behind_it(polled: Polled) -> None:
    assert_asked_again(polled, lambda body: body + b"x")


@at_poll("BJ03")
def test_a_page_with_a_bom_is_read(polled: Polled) -> None:
    polled.sell(2)
    polled.spoil = lambda answer: httpx.Response(
        answer.status_code, content=b"\xef\xbb\xbf" + answer.content
    )
    polled.poll()
    assert polled.kept() == 2


def broken_order(member: str) -> Callable[[httpx.Response], httpx.Response]:
    """Give the order with the first number seen one more member, in every answer it is in."""
    chosen: list[Any] = []

    def spoil(answer: httpx.Response) -> httpx.Response:
        told = json.loads(answer.content)
        for one in objects(told):
            number = next((one[name] for name in NUMBERS if one.get(name)), None)
            is_order = number is not None and len(one) > 6  # and not a line of ids
            if is_order and number == (chosen or [number])[0]:
                chosen[:] = [number]
                one["zz"] = "@@"
                break
        content = json.dumps(told).replace('"zz": "@@"', member).encode()
        return httpx.Response(answer.status_code, content=content)

    return spoil


def assert_costs_itself(polled: Polled, member: str, count: int = 5) -> None:
    """All are taken but one, which is parked and seen; the cursor moves."""
    polled.sell(count)
    before = polled.position()
    polled.spoil = broken_order(member)
    polled.poll()
    assert polled.trouble() == ""
    assert polled.position() > before
    while intake.run().messages:
        pass
    rows = InboxMessage.objects.filter(shop=polled.shop, kind="order")
    assert rows.count() == count
    assert [bool(row.error) for row in rows.filter(state="dead")] == [True]
    assert SalesOrder.objects.filter(shop=polled.shop).count() == count - 1
    watch.watch_lines()
    alarms = LineAlarm.objects.filter(shop=polled.shop, kind=LineAlarm.Kind.DEAD, closed_at=None)
    assert alarms.exists()


@at_poll("BJ04")
def test_an_order_with_nan_in_it(polled: Polled) -> None:
    assert_costs_itself(polled, '"zz": NaN')


@at_poll("BJ05")
def test_an_order_with_a_key_given_twice(polled: Polled) -> None:
    assert_costs_itself(polled, '"zz": 1, "zz": 2')


@at_poll("BJ06")
def test_a_page_of_a_hundred_thousand_brackets(polled: Polled) -> None:
    assert_asked_again(polled, b"[" * 100_000)


@at_poll("BJ07")
def test_a_page_that_is_an_array_of_a_million(polled: Polled) -> None:
    assert_asked_again(polled, b"[" + b"0," * 999_999 + b"0]")


@at_poll("BJ08")
def test_a_page_that_is_a_key_of_a_megabyte(polled: Polled) -> None:
    assert_asked_again(polled, b'{"' + b"k" * 1_000_000 + b'": 1}')


@at_poll("BJ09")
def test_an_order_with_a_number_of_five_thousand_digits(polled: Polled) -> None:
    assert_costs_itself(polled, '"zz": ' + "9" * 5000)


@at_poll("BJ10")
@pytest.mark.parametrize("root", [b"[]", b"null", b'"text"', b"17"])
def test_a_page_whose_root_is_no_object(polled: Polled, root: bytes) -> None:
    if polled.channel == "openjson" and root == b"[]":
        root = b"[" + b"0," * 10_000 + b"0]"  # a bare list may be a page of its, not so long a one
    assert_asked_again(polled, root)


@at_poll("BJ11")
def test_a_page_that_is_json_in_json(polled: Polled) -> None:
    assert_asked_again(polled, lambda body: json.dumps(body.decode()).encode())


@at_poll("BJ12")
def test_what_we_do_not_know_is_kept_and_ignored(polled: Polled) -> None:
    polled.sell(2)
    polled.spoil = broken_order('"zz_new": {"a": [1, "新", null]}')
    polled.poll()
    while intake.run().messages:
        pass
    rows = InboxMessage.objects.filter(shop=polled.shop, kind="order")
    assert {row.state for row in rows} == {"done"}
    assert sum(b'"zz_new":{"a":[1,"\xe6\x96\xb0",null]}' in bytes(row.body) for row in rows) == 1


PLACED: Final = (
    "created", "orderStartTime", "created_time", "confirm_time", "create_time", "createdAt",
    "created_at",
)  # fmt: skip


@pytest.mark.parametrize("new", [pytest.param(None, id="null"), pytest.param({}, id="object")])
@at_poll("BJ15")
def test_orders_whose_time_is_null_or_an_object_are_parked(polled: Polled, new: Any) -> None:
    """BJ14 and BJ16 alike: what has to be there and is not is missing, whatever stands there."""
    polled.sell(3)
    if polled.channel == "openjson":
        polled.open_rows = [{**one, "created_at": new} for one in polled.open_rows]
    else:
        polled.spoil_json(lambda told: changed_everywhere(told, PLACED, lambda _: new))
    polled.poll()
    while intake.run().messages:
        pass
    states = {row.state for row in InboxMessage.objects.filter(shop=polled.shop, kind="order")}
    assert states <= {"dead"}
    assert states or polled.trouble()  # where the list is by this time, it is read again
    assert not SalesOrder.objects.filter(shop=polled.shop).exists()


@at_poll("BJ17")
def test_an_empty_list_moves_the_cursor(polled: Polled) -> None:
    before = polled.position()
    polled.poll()
    assert polled.trouble() == ""
    assert polled.position() > before
    assert polled.kept() == 0


@at_poll("BJ18")
def test_one_broken_order_of_a_hundred(polled: Polled) -> None:
    assert_costs_itself(polled, '"zz": NaN', count=100)


# --- lists without an end -----------------------------------------------------------------------

WITHOUT_CURSOR: Final = dict.fromkeys(
    ("taobao", "jd", "pinduoduo", "douyin"), "its pages have numbers: there is no cursor to repeat"
)
WITHOUT_TOTAL: Final = dict.fromkeys(
    ("shopify", "wechat", "crm_webhook", "miniprogram"), "its list names no total"
)
FEW: Final = 6


@pytest.fixture
def _few_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caps as they are would take minutes to reach."""
    for module in (
        channels_sync.connectors.openjson.connector,
        channels_sync.connectors.shopify.connector,
        channels_sync.connectors.wechat.connector,
        channels_sync.connectors.crm.wire,
    ):
        monkeypatch.setattr(module, "MAX_PAGES", FEW)
    monkeypatch.setattr(channels_sync.connectors.crm.wire, "PAGE_SIZE", FEW)


class Endless:
    """A platform that takes any cursor and always has more.

    What the sandbox refuses because it does not know the cursor is answered by its first page.
    """

    def __init__(self, channel: str, cursor: str = "") -> None:
        self.channel = channel
        self.cursor = cursor
        self.fresh = itertools.count(1)
        self.first: dict[str, Any] = {}

    def __call__(self, told: Any) -> Any:
        if not self.first and self.is_list(told):
            self.first = deepcopy(told)
        if "errors" in told or told.get("errcode") or ("rows" in told and len(told["rows"]) < FEW):
            told = deepcopy(self.first)
        changed_everywhere(told, ("has_next", "has_more"), lambda _: True)
        changed_everywhere(told, ("next_key",), lambda _: self.next())
        if self.channel == "shopify":
            told["data"]["orders"]["pageInfo"] = {"hasNextPage": True, "endCursor": self.next()}
        if self.channel in {"jd", "douyin"}:
            changed_everywhere(told, ("orderTotal", "total"), lambda _: 10**9)
        if "rows" in told:
            told["rows"] = [{**row, "id": self.row_id()} for row in told["rows"]]
        if self.channel == "openjson" and "orders" in told:
            told |= {"has_next": True, "next_cursor": self.next()}
        return told

    def is_list(self, told: dict[str, Any]) -> bool:
        return bool(told.get("rows")) or "order_id_list" in told or "orders" in str(told)[:80]

    def next(self) -> str:
        return self.cursor or f"cursor-{next(self.fresh)}"

    def row_id(self) -> int:
        return 1 if self.cursor else 10**6 + next(self.fresh)


def assert_stopped(polled: Polled, code: str) -> None:
    before = polled.position()
    polled.poll()
    assert polled.trouble() == code
    assert polled.position() == before
    assert polled.calls < 500


@at_poll("BJ19")
@pytest.mark.usefixtures("_few_pages")
def test_a_list_that_always_has_a_next_page_is_stopped(polled: Polled) -> None:
    polled.sell(FEW)
    polled.spoil_json(Endless(polled.channel))
    assert_stopped(polled, "page_cap")


@at_poll("BJ20", but=WITHOUT_CURSOR)
@pytest.mark.usefixtures("_few_pages")
def test_a_cursor_that_stands_still_is_stopped(polled: Polled) -> None:
    polled.sell(FEW)
    polled.spoil_json(Endless(polled.channel, "the-same"))
    before = polled.position()
    polled.poll()
    assert "cursor" in polled.trouble()
    assert polled.position() == before
    assert polled.calls <= 4 * FEW


@at_poll("BJ21", but=WITHOUT_TOTAL)
def test_pages_that_hold_less_than_their_total_are_read_again(polled: Polled) -> None:
    polled.sell(24)
    totals = ("total_results", "orderTotal", "total_count", "total")
    short = lambda told: changed_everywhere(told, totals, lambda _: 30)  # noqa: E731
    polled.spoil_json(short)
    assert_stopped(polled, "incomplete")
    polled.recover()
    before = polled.position()
    polled.poll()
    assert polled.position() > before
    assert polled.kept() == 24


# --- other languages than JSON ----------------------------------------------------------------


@at_poll("BJ22")
def test_a_page_of_xml_with_an_entity(polled: Polled) -> None:
    entity = b'<!DOCTYPE a [<!ENTITY b SYSTEM "http://127.0.0.1:9/x">]><a>&b;</a>'
    assert_asked_again(polled, entity)


@at_poll("BJ23")
def test_a_page_that_is_an_xml_bomb(polled: Polled) -> None:
    inner = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 11))
    assert_asked_again(polled, b'<!DOCTYPE a [<!ENTITY a0 "lol">' + inner + b"]><a>&a10;</a>")


@at_poll("BJ24")
def test_a_page_in_another_encoding(polled: Polled) -> None:
    assert_asked_again(polled, '{"错误": "繁忙"}'.encode("gbk"))


@at_poll("BJ25")
def test_a_page_of_binary_junk(polled: Polled) -> None:
    assert_asked_again(polled, b"\x00\x01\xfe\xff" * 200)


@at_poll("BJ26")
def test_a_page_that_is_a_form(polled: Polled) -> None:
    assert_asked_again(polled, b"error=busy&param_json=%7B#c+d")


# --- yes and no -------------------------------------------------------------------------------

FLAG: Final = {
    "taobao": "is_free_gift",
    "wechat": "is_free_gift",
    "crm_webhook": "is_gift",
    "miniprogram": "is_gift",
    "openjson": "is_gift",
    "shopify": "test",
}
SHOWN["BJ27"] |= {f"poll {name}" for name in FLAG}
for _name in ("jd", "pinduoduo"):
    not_here("BJ27", "nothing that is yes or no is read of it", [f"poll {_name}"])
not_here(
    "BJ27", "only a presale's phase is paid or not: all but yes ships nothing", ["poll douyin"]
)


@pytest.mark.parametrize("channel", [pytest.param(name, id=f"BJ27-poll-{name}") for name in FLAG])
@pytest.mark.parametrize("flag", ["yes", "2", 2])
def test_what_is_neither_true_nor_false_is_not_guessed(channel: str, flag: Any) -> None:
    """Of a list as of a push: WeChat declares 0 and 1, nobody declares these."""
    told = loads_page(BY_CHANNEL[channel].order_body())
    path = (FLAG[channel],) if channel == "shopify" else (*LINES[channel], 0, FLAG[channel])
    (message,) = taken(channel, dump_compact(put(told, path, flag)))
    assert (message.state, bool(message.error)) == ("dead", True)


# --- answers that drip (F36) ------------------------------------------------------------------


@contextmanager
def dripping(start: bytes) -> Iterator[str]:
    """A server that sends ``start`` and then a byte a second."""
    door = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve() -> None:
        line, _ = door.accept()
        with line:
            line.recv(65536)
            line.sendall(start)
            while not stopped.wait(1):
                try:
                    line.sendall(b"x")
                except OSError:
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{door.getsockname()[1]}/"
    stopped.set()
    thread.join(5)
    door.close()


HEADERS: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


@pytest.mark.parametrize("start", [HEADERS, b"HTTP/1.1 200 OK\r\nX-Slow: "], ids=["body", "head"])
def test_an_answer_of_a_byte_a_second_is_cut_at_five_seconds(start: bytes) -> None:
    began = time.monotonic()
    with dripping(start) as url, make_client() as client, pytest.raises(TryLater) as failure:
        exchange(client, client.build_request("GET", url), writes=True)
    assert 4.5 <= time.monotonic() - began <= 7
    assert failure.value.error.code == "timeout"
    assert failure.value.outcome_unknown


class Stream:
    """Gives so many bytes at each read; time passes by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.paced = PacedStream(self, clock=lambda: self.now)  # type: ignore[arg-type]

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return b"x" * max_bytes

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        return None


def test_a_slow_answer_that_comes_along_is_read_and_each_request_has_its_own_time() -> None:
    stream = Stream()
    for _ in range(3):
        stream.paced.write(b"GET")
        for _second in range(20):
            assert len(stream.paced.read(2000)) == 2000
            stream.now += 1
    stream.paced.write(b"GET")
    stream.paced.read(10)
    stream.now += 6
    with pytest.raises(Exception, match="too slow"):
        stream.paced.read(10)
