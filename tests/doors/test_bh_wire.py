"""BH: what a stranger may do to the wire, against a web process as ``make run`` starts it."""

import contextlib
import gzip
import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection

from channels_sync.models import ApiToken, InboxMessage, ShopCredential, SyncCursor
from fulfillment.models import CarrierAccount
from ordercenter import serve
from ordercenter.catalog.models import Shop
from ordercenter.core.policy import Role, Scope
from ordercenter.pipeline.hooks import MAX_BODY
from tests.doors.doors import DOORS, Door, Pushed
from tests.doors.table import PUSHED, at, row
from tests.doors.wire import Answer, Center, Drips, head, is_answering, read_answer, started
from tests.factories import key_for, user_with

pytestmark = pytest.mark.django_db
EVERYWHERE: Final = (*PUSHED, "api")
NO_BODY: Final = {"api": "our API takes no bodies yet: it is read only"}
SENT_AS_ASCII: Final = {"wechat_aes": "ciphertext is ASCII whatever is inside; BJ25 shows that"}


class Api(Door):
    """Our own API of orders, asked with a token."""

    name = "api"
    token: str = ""

    def open(self) -> Door:
        self.token = key_for(user_with(Role.FINANCE), Scope.ORDERS_READ)
        self.path = "/api/orders/"
        return self

    def body(self) -> bytes:
        return b""

    def sign(self, body: bytes, moment: str) -> Pushed:
        return Pushed(self.path, body, {"authorization": f"Token {self.token}"})

    def is_thanks(self, answer: Any) -> bool:
        return "results" in json.loads(answer.body)


@pytest.fixture(scope="module")
def center(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Center]:
    """One process for all. What it shall see is committed here, and taken away at the end: what
    a test writes within its transaction it does not see."""
    with django_db_blocker.unblock():
        with started(tmp_path_factory.mktemp("web")) as made:
            made.doors = {name: kind().open() for name, kind in {**DOORS, "api": Api}.items()}
            yield made
        for model in (InboxMessage, ShopCredential, SyncCursor, Shop, CarrierAccount, ApiToken):
            model.objects.all().delete()
        User.objects.all().delete()
        AccessAttempt.objects.all().delete()
        Session.objects.all().delete()


@pytest.fixture(scope="module", autouse=True)
def drips(center: Center) -> Iterator[Drips]:
    """Slow lines that run beside all the other tests; BH05 and BH06 look at what became of them.

    Meanwhile the others ask as ever: that is a part of BH05.
    """
    quiet = center.seconds_of_a_request()
    made = Drips(center)
    made.add("head", b"POST /hooks/x/y/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX-", 200)
    for name, door in center.doors.items():
        made.add(name, head(door.push(), length=1000))
    made.start()
    busy = center.seconds_of_a_request()
    made.took["p95"] = [quiet[94], busy[94]]
    yield made
    made.close()


@pytest.fixture
def door(request: pytest.FixtureRequest, center: Center) -> Door:
    return center.doors[request.param]


@pytest.fixture(autouse=True)
def _nothing_new(request: pytest.FixtureRequest, center: Center) -> Iterator[None]:
    """What is refused stores nothing; a test that is taken says so by ``taken``."""
    before = InboxMessage.objects.count()
    yield
    if "taken" not in request.fixturenames:
        assert InboxMessage.objects.count() == before


@pytest.fixture
def taken() -> None:
    """This test pushes something that is stored."""


def method_of(door: Door) -> str:
    return "GET" if door.name == "api" else "POST"


# --- bodies -----------------------------------------------------------------------------------


@at("BH01", EVERYWHERE, but=NO_BODY)
def test_an_empty_body_is_refused(center: Center, door: Door) -> None:
    pushed = door.push(b"")
    assert center.ask(Pushed(pushed.path, b"", pushed.headers, pushed.query)).status == 400


@at("BH02", EVERYWHERE)
def test_a_peer_that_leaves_in_the_middle_of_its_body_is_forgotten(
    center: Center, door: Door
) -> None:
    began = time.monotonic()
    for _ in range(30):  # more than the process has threads for views
        with center.line() as line:
            line.sendall(head(door.push(), method_of(door), length=10) + b'{"a"')
    assert center.seconds_of_a_request(1)[0] < 1
    assert time.monotonic() - began < 5


@at("BH03", EVERYWHERE)
def test_a_body_over_the_cap_is_refused_before_it_is_read(center: Center, door: Door) -> None:
    with center.line() as line:
        line.sendall(head(door.push(), method_of(door), length=MAX_BODY + 1) + b"x" * 1000)
        assert read_answer(line).status == 413


@at("BH04", EVERYWHERE)
def test_a_body_without_an_end_is_cut_at_the_cap(center: Center, door: Door) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    more = [("Transfer-Encoding", "chunked")]
    began, sent = time.monotonic(), 0
    with center.line() as line:
        line.sendall(head(door.push(), method_of(door), more=more, length=-1))
        while not is_answering(line) and sent < 1000:
            line.sendall(chunk)
            sent += 1
            time.sleep(0.001)
        assert read_answer(line).status == 413
    assert sent < 1000
    assert time.monotonic() - began < 5


@at("BH07", EVERYWHERE, but=NO_BODY)
def test_a_bomb_is_not_unpacked(center: Center, door: Door) -> None:
    """4 GiB within the cap, and 10 MiB of it without a word read."""
    layer = gzip.compress(gzip.compress(bytes(64 << 20)))
    assert len(layer) < MAX_BODY
    before = center.resident()
    more = [("Content-Encoding", "gzip")]
    assert (
        center.ask(Pushed(door.push().target, layer, door.push().headers), more=more).status == 415
    )
    with center.line() as line:
        line.sendall(head(door.push(), more=more, length=10 << 20))
        assert read_answer(line).status == 413
    assert center.resident() - before < 50 << 20


@at("BH08", EVERYWHERE, but=NO_BODY)
@pytest.mark.parametrize("encoding", ["x-what", "br", "gzip, gzip"])
def test_an_encoding_we_do_not_know_is_refused(center: Center, door: Door, encoding: str) -> None:
    assert center.ask(door.push(), more=[("Content-Encoding", encoding)]).status == 415


@at("BH09", EVERYWHERE, but=NO_BODY)
@pytest.mark.parametrize("kind", ["text/html", "application/json; charset=gbk"])
def test_another_kind_of_content_is_refused(center: Center, door: Door, kind: str) -> None:
    assert center.ask(door.push(), content_type=kind).status == 415


@at("BH10", EVERYWHERE, but=NO_BODY)
def test_without_a_content_type_a_push_is_json(center: Center, door: Door, taken: None) -> None:
    """The default every connector declares (``push_types``)."""
    assert center.ask(door.push(), content_type=None).status == 200


@at("BH11", EVERYWHERE, but=NO_BODY | SENT_AS_ASCII)
def test_json_in_gbk_that_does_not_say_so_is_refused(center: Center, door: Door) -> None:
    body = json.dumps({"remark": "老客户请加一份小样"}, ensure_ascii=False).encode("gbk")
    answer = center.ask(door.push(body))
    assert (answer.status, json.loads(answer.body)["code"]) == (400, "charset")


# --- methods ----------------------------------------------------------------------------------

OWN_GET: Final = dict.fromkeys(
    ("wechat_plain", "wechat_aes"), "GET is a door of its own: WeChat checks our address (BG21)"
)


@at("BH12", EVERYWHERE, but=OWN_GET)
def test_a_method_a_door_does_not_take_is_told_which_it_takes(center: Center, door: Door) -> None:
    pushed = door.push()
    wrong = "POST" if door.name == "api" else "GET"
    answer = center.ask(pushed, wrong)
    assert answer.status == 405
    assert answer.headers["allow"] == ("GET, HEAD" if door.name == "api" else "POST")


@at("BH13", EVERYWHERE)
def test_trace_is_refused_and_echoes_nothing(center: Center, door: Door) -> None:
    answer = center.ask(door.push(), "TRACE", more=[("X-Canary", "a-secret-of-the-browser")])
    assert answer.status == 405
    assert answer.headers["allow"]
    assert b"canary" not in (answer.body + repr(answer.headers).encode()).lower()


@row("BH13")
@pytest.mark.parametrize("path", ["/", "/admin/", "/shops/", "/healthz", "/static/x.css"])
def test_no_page_takes_trace_for_a_question(center: Center, row: str, path: str) -> None:
    assert center.ask(Pushed(path, b""), "TRACE").status == 405


@at("BH14", EVERYWHERE)
def test_an_override_of_the_method_is_ignored(center: Center, door: Door, taken: None) -> None:
    names = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")
    more = [(name, "DELETE") for name in names]
    answer = center.ask(door.push(), method_of(door), more=more)
    assert answer.status == 200


# --- heads ------------------------------------------------------------------------------------


@at("BH15", EVERYWHERE)
@pytest.mark.parametrize("first", ["length", "encoding"])
def test_a_length_and_an_encoding_together_are_refused(
    center: Center, door: Door, first: str
) -> None:
    pushed = door.push()
    more = [("Content-Length", str(len(pushed.body))), ("Transfer-Encoding", "chunked")]
    more = more if first == "length" else more[::-1]
    smuggled = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with center.line() as line:
        line.sendall(head(pushed, method_of(door), more=more, length=-1) + smuggled)
        assert read_answer(line).status == 400
        assert line.recv(1000) == b""  # and what was hidden behind it is answered by nobody


@row("BH15")
def test_two_lengths_are_refused(center: Center, row: str) -> None:
    data = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
    assert center.send(data).status == 400


MANY: Final = [(f"X-{n}", "1") for n in range(1000)]


@at("BH16", EVERYWHERE)
@pytest.mark.parametrize("more", [MANY, [("X-Long", "x" * 65536)]], ids=["1000", "64 KiB"])
def test_too_many_headers_and_too_long_ones_are_refused(
    center: Center, door: Door, more: list[tuple[str, str]]
) -> None:
    assert center.ask(door.push(), method_of(door), more=more).status == 431


@row("BH16")
def test_a_header_without_an_end_is_cut_off(center: Center, row: str) -> None:
    with center.line() as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ")
        sent = 0
        while not is_answering(line) and sent < 1000:
            line.sendall(b"x" * 4096)
            sent += 4
            time.sleep(0.005)
        assert read_answer(line).status == 431
    assert sent < 200  # KiB


@at("BH17", EVERYWHERE)
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1@evil.example", "127.0.0.1, evil"])
def test_a_host_that_is_not_ours_is_refused(center: Center, door: Door, host: str) -> None:
    answer = center.ask(door.push(), method_of(door), host=host)
    assert answer.status == 400
    assert b"evil" not in answer.body


# --- addresses --------------------------------------------------------------------------------


@at(
    "BH18",
    EVERYWHERE,
    but=dict.fromkeys(
        (*[name for name in PUSHED if name != "sf"], "api"),
        "neither its answer nor its record depends on the peer's address",
    ),
)
def test_who_forges_his_address_does_not_come_from_there(
    center: Center, door: Door, taken: None
) -> None:
    """SF's pushes may be bound to SF's addresses: the line's true end counts."""
    forged = [
        ("X-Forwarded-For", "9.9.9.9"),
        ("X-Real-IP", "9.9.9.9"),
        ("Forwarded", "for=9.9.9.9"),
    ]
    with pushed_from("9.9.9.9"):
        assert center.ask(door.push(), more=forged).status == 401
    with pushed_from("127.0.0.1"):
        assert center.ask(door.push(), more=forged).status == 200


@contextlib.contextmanager
def pushed_from(addresses: str) -> Iterator[None]:
    """SF may push from these addresses alone, as the process sees it."""

    def commit(options: dict[str, str]) -> None:
        CarrierAccount.objects.filter(code="sf").update(options=options)
        connection.close()

    for options in ({"push_ips": addresses}, {}):
        thread = threading.Thread(target=commit, args=(options,))
        thread.start()
        thread.join()
        if options:
            yield


@row("BH18")
def test_a_new_forged_address_for_each_guess_opens_no_lock(center: Center, row: str) -> None:
    statuses = []
    for n in range(8):
        line = http.client.HTTPConnection("127.0.0.1", center.port, timeout=20)
        line.request("GET", "/admin/login/")
        page = line.getresponse()
        cookie = str(page.getheader("Set-Cookie")).split(";")[0]
        found = re.search(rb'csrfmiddlewaretoken" value="(\w+)"', page.read())
        assert found is not None
        form = {
            "username": "guessed",
            "password": "wrong",
            "csrfmiddlewaretoken": found[1].decode(),
        }
        headers = {
            "Cookie": cookie,
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Forwarded-For": f"203.0.113.{n}",
        }
        line.request("POST", "/admin/login/", urlencode(form), headers)
        statuses.append(line.getresponse().status)
        line.close()
    assert statuses[0] == 200
    assert statuses[-1] == 429


WAYS_UP: Final = (
    "../../admin/", "..%2f..%2fadmin/", "%2e%2e/%2e%2e/admin/", "%252e%252e%252fadmin/", "..;/",
    "%5c..%5cadmin/", "%00/", "//evil.example/",
)  # fmt: skip


@at("BH19", EVERYWHERE)
def test_a_path_that_climbs_leads_nowhere(center: Center, door: Door) -> None:
    for way in WAYS_UP:
        answer = center.ask(door.push(), method_of(door), target=door.push().path + way)
        assert answer.status == 404, way
        assert "location" not in answer.headers


def other_paths(path: str) -> list[str]:
    return [path.upper(), path.replace("/", "//"), path[:-1], path + "/", path.title()]


@at("BH20", EVERYWHERE, but={"api": "it takes no pushes: a redirect of a question loses nothing"})
def test_a_hook_is_found_under_one_address_only_and_redirects_nobody(
    center: Center, door: Door
) -> None:
    pushed = door.push()
    for target in other_paths(pushed.path):
        answer = center.ask(pushed, target=target)
        assert answer.status == 404, target
        assert "location" not in answer.headers


@row("BG07", "BH20")
@pytest.mark.parametrize("right_one", [0, 1])
@pytest.mark.parametrize("name", ["douyin", "shopify", "crm_webhook"])
def test_two_headers_of_one_name_on_the_wire_are_neither(
    center: Center, row: str, name: str, right_one: int
) -> None:
    door = center.doors[name]
    pushed = door.push()
    proof = door.proof(pushed)
    pair = [proof, "0" * len(proof)] if right_one == 0 else ["0" * len(proof), proof]
    more = [(door.signature, one) for one in pair]
    assert center.ask(door.forged(pushed, None), more=more).status == 401


# --- slow ones, which ran beside all this -----------------------------------------------------


@at("BH06", EVERYWHERE)
def test_a_body_a_byte_a_second_is_cut_off(door: Door, drips: Drips) -> None:
    drips.wait()
    assert serve.BODY_SECONDS - 1 < drips.took[door.name][0] <= 30


@row("BH05")
def test_headers_a_byte_a_second_are_cut_off_and_hold_up_nobody(row: str, drips: Drips) -> None:
    drips.wait()
    assert len(drips.took["head"]) == 200
    assert max(drips.took["head"]) <= 15
    quiet, busy = drips.took["p95"]
    assert busy < 3 * quiet + 0.1


# --- and what is in order goes on -------------------------------------------------------------


def test_a_kept_line_takes_one_request_after_another(center: Center, taken: None) -> None:
    door = center.doors["douyin"]
    with center.line() as line:
        for _ in range(3):
            pushed = door.push()
            line.sendall(head(pushed) + pushed.body)
            assert read_answer(line).status == 200
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 3)
        time.sleep(0.3)
        assert line.recv(1 << 16).count(b"HTTP/1.1 200") == 3


def test_a_body_in_chunks_is_taken(center: Center, taken: None) -> None:
    door = center.doors["openjson"]
    pushed = door.push()
    parts = [pushed.body[at : at + 100] for at in range(0, len(pushed.body), 100)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    more = [("Transfer-Encoding", "chunked"), ("Expect", "100-continue")]
    answer: Answer
    with center.line() as line:
        line.sendall(head(pushed, more=more, length=-1))
        assert line.recv(100).startswith(b"HTTP/1.1 100")
        line.sendall(chunks + b"0\r\n\r\n")
        answer = read_answer(line)
    assert answer.status == 200


def test_many_web_workers_keep_the_same_bounds(
    tmp_path_factory: pytest.TempPathFactory, center: Center
) -> None:
    with started(tmp_path_factory.mktemp("web"), workers=2) as two:
        door = center.doors["douyin"]
        assert two.ask(door.push(), more=MANY).status == 431
        assert two.seconds_of_a_request(1)
