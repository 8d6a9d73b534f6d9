"""BG: whoever cannot prove where a push comes from leaves no trace, and a push has one effect."""

import ast
import base64
import binascii
import hashlib
import json
import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from django.test import Client

import channels_sync.connectors
import fulfillment.carriers
from channels_sync.contracts import MessageKind, RawMessage
from channels_sync.models import InboxMessage, ShopCredential
from fulfillment.models import TraceEvent
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import intake, lines, pulling
from ordercenter.pipeline.tally import DOORS
from tests.channels_sync.contract_cases import BY_CHANNEL
from tests.doors.doors import APP_KEY, Door, Pushed, WechatAes, WechatPlain
from tests.doors.table import at, not_here, row
from tests.factories import WaybillFactory, user_with

UNSIGNED: Final = {"sf": "SF signs nothing: the path holds a token of ours"}
UNCOVERED: Final = UNSIGNED | {
    "wechat_plain": "plain mode signs the time alone, so a push is never more than a hint"
}
TIMELESS: Final = {
    "douyin": "its scheme has no time (channels.md 3e); BG19 shows what that costs",
    "shopify": "its scheme has no time (channels.md 5e); BG19 shows what that costs",
    "sf": "its scheme has no time; BG19 shows what that costs",
}


@pytest.fixture(autouse=True)
def _nothing_counted() -> None:
    DOORS.totals.clear()


def inbox() -> list[InboxMessage]:
    return list(InboxMessage.objects.order_by("pk"))


def assert_refused(pushed: Pushed, why: str = "not authentic") -> None:
    """401, nothing stored, counted."""
    answer = pushed.post()
    assert answer.status_code == 401, answer.content
    assert set(answer.json()) == {"code", "message"}
    assert not InboxMessage.objects.exists()
    assert not SalesOrder.objects.exists()
    assert DOORS.totals == {why: 1}


# --- who it is ------------------------------------------------------------------------------


@at("BG01")
def test_without_a_signature_nothing_is_taken(door: Door) -> None:
    assert_refused(door.forged(door.push(), None))


@at("BG02")
def test_with_a_wrong_signature_nothing_is_taken(door: Door) -> None:
    pushed = door.push()
    proof = door.proof(pushed)
    assert_refused(door.forged(pushed, ("1" if proof[0] != "1" else "2") + proof[1:]))


@at("BG03")
def test_another_shops_secret_opens_nothing(door: Door) -> None:
    door.know_only("the-secret-of-another-shop")
    assert_refused(door.push())


@at("BG04", but=UNCOVERED)
def test_the_signature_is_over_the_bytes_and_not_over_what_they_mean(door: Door) -> None:
    pushed = door.push()
    told = json.loads(pushed.body)
    if "Encrypt" in told:
        told["Encrypt"] = told["Encrypt"][:-8] + "AAAAAAA="
    same = json.dumps(told, indent=3, ensure_ascii=False).encode()
    assert same != pushed.body
    assert_refused(Pushed(pushed.path, same, pushed.headers, pushed.query))


@at("BG05", but=UNSIGNED)
def test_hex_where_base64_is_due_and_the_other_way_round(door: Door) -> None:
    pushed = door.push()
    proof = door.proof(pushed)
    try:
        other = base64.b64encode(bytes.fromhex(proof)).decode()
    except ValueError:
        other = binascii.hexlify(base64.b64decode(proof)).decode()
    assert_refused(door.forged(pushed, other))


@at("BG06")
@pytest.mark.parametrize("kept", [0, 1, -1])
def test_a_cut_signature_is_none(door: Door, kept: int) -> None:
    pushed = door.push()
    assert_refused(door.forged(pushed, door.proof(pushed)[:kept]))


@at("BG07", but={"sf": "its token is a part of the path: there cannot be two"})
@pytest.mark.parametrize("right_one", ["first", "last"])
def test_of_two_signatures_neither_counts(door: Door, right_one: str) -> None:
    """The server joins two headers of one name by a comma; ``test_bh_wire`` sends them."""
    pushed = door.push()
    proof, wrong = door.proof(pushed), "0" * len(door.proof(pushed))
    pair = [proof, wrong] if right_one == "first" else [wrong, proof]
    if door.signature in pushed.headers:
        assert_refused(door.forged(pushed, ",".join(pair)))
        return
    twice = "&".join(f"{door.signature}={one}" for one in pair)
    path = f"{door.forged(pushed, None).target}&{twice}"
    assert_refused(Pushed(path, pushed.body))


@at(
    "BG08",
    but=UNSIGNED | {"douyin": "MD5 is what its pushes are signed with; there is nothing below it"},
)
def test_nobody_downgrades_the_signature_to_md5(door: Door) -> None:
    pushed = door.push()
    signed = door.secret.encode() + pushed.body + door.secret.encode()
    proof = hashlib.md5(signed, usedforsecurity=False).hexdigest()
    forged = door.forged(pushed, proof)
    headers = {**forged.headers, "x-sign-method": "md5"}
    query = {**forged.query, "sign_method": "md5"}
    assert_refused(Pushed(forged.path, forged.body, headers, query))


# --- when it was ----------------------------------------------------------------------------


@at("BG09", but=TIMELESS)
def test_a_push_six_minutes_old_is_stale(door: Door) -> None:
    assert_refused(door.push(at=time.time() - 360), "stale")


@at("BG10", but=TIMELESS)
def test_a_push_six_minutes_ahead_is_stale(door: Door) -> None:
    assert_refused(door.push(at=time.time() + 360), "stale")


@at("BG11", but=TIMELESS)
def test_a_push_without_its_time_is_refused(door: Door) -> None:
    pushed = door.sign(door.body(), "")
    headers = {name: text for name, text in pushed.headers.items() if name != door.stamp}
    query = {name: text for name, text in pushed.query.items() if name != door.stamp}
    assert_refused(Pushed(pushed.path, pushed.body, headers, query))


@at("BG12", but=TIMELESS)
@pytest.mark.parametrize("moment", ["soon", "-1", "1e9", "0x10", "1772327287.5", " "])
def test_a_time_that_is_no_number_is_refused(door: Door, moment: str) -> None:
    assert_refused(door.sign(door.body(), moment))


@at("BG13", but=TIMELESS)
def test_milliseconds_where_seconds_are_due_are_refused(door: Door) -> None:
    assert_refused(door.sign(door.body(), str(int(time.time() * 1000))))


# --- once -----------------------------------------------------------------------------------


class Platform:
    """What the platform says when it is asked: one order, unchanged."""

    def __init__(self, door: Door) -> None:
        self.case = BY_CHANNEL[door.channel]
        self.asked = 0

    def fetch(self, number: str) -> RawMessage:
        self.asked += 1
        order = json.loads(self.case.order_body())
        order[self.case.id_key] = number
        return RawMessage(MessageKind.ORDER, json.dumps(order).encode(), number)


@pytest.fixture
def settle(monkeypatch: pytest.MonkeyPatch, db: None) -> Any:
    """Return what works everything off, hints included."""

    def settled(door: Door) -> tuple[Any, ...]:
        monkeypatch.setattr(pulling, "connector_for", lambda *_: Platform(door))
        pulling.fetch_hints()
        while intake.run().messages:
            pass
        assert not InboxMessage.objects.filter(state="dead").exists()
        orders = SalesOrder.objects.values_list("channel_number", "version", "status")
        return (*orders, TraceEvent.objects.count())

    return settled


def ready(door: Door) -> Door:
    """Whatever the push is about can have its effect."""
    if door.name == "shopify":
        Shop.objects.update(currency="USD")
    if door.name == "sf":
        WaybillFactory.create(number="SF7550000001014")
    return door


@at("BG14", by_day=("douyin", "sf"))
def test_one_event_a_thousand_times_is_thanked_for_each_time_and_has_one_effect(
    door: Door, settle: Any
) -> None:
    pushed = ready(door).push()
    client = Client(headers=dict(pushed.headers))

    def post() -> Any:
        kind = "application/json"
        return client.generic("POST", pushed.target, pushed.body, content_type=kind)

    assert door.is_thanks(post())
    first = settle(door)
    answers = [post() for _ in range(999)]
    assert {answer.status_code for answer in answers} == {200}
    assert all(door.is_thanks(answer) for answer in answers)
    assert len(InboxMessage.objects.filter(source="push")) == 1
    assert settle(door) == first
    assert first[-1] if door.name == "sf" else first[0]


@at("BG15")
def test_the_same_words_as_a_new_event_have_no_second_effect(door: Door, settle: Any) -> None:
    assert ready(door).push().post().status_code == 200
    first = settle(door)
    answer = door.push(door.another()).post()
    assert answer.status_code == 200
    assert door.is_thanks(answer)
    assert InboxMessage.objects.filter(source="push").count() == 2
    assert settle(door) == first


# --- which application and which shop ---------------------------------------------------------


@at(
    "BG16",
    but=UNSIGNED
    | dict.fromkeys(
        ("shopify", "wechat_plain", "miniprogram", "crm_webhook", "openjson"),
        "the wire names no application: only its secret tells it (BG03)",
    ),
)
def test_an_application_nobody_knows_is_refused(door: Door) -> None:
    door.app_key = "7999999999999999999"
    if isinstance(door, WechatAes):
        door.app = door.app_key
    assert door.app_key != APP_KEY
    assert_refused(door.push())


FORMER: Final = {"sf": "SF's token is a path registered with SF: a new one is a new address"}


def renew_secret(door: Door) -> None:
    """IT gives the shop new secrets on its page."""
    it = user_with(Role.IT)
    row = ShopCredential.objects.get()
    fresh = {"app_secret": "the-new-secret"}
    if door.channel == "wechat":
        fresh = {"push_token": "the-new-secret"}
        if isinstance(door, WechatAes):
            fresh["encoding_aes_key"] = "Z" * 42 + "E"
    lines.keep_access(
        door.shop.pk, user=it, actor=Actor.person(it), base_url="https://platform.example",
        app_key=APP_KEY, options=row.options, secrets=fresh,
    )  # fmt: skip


@at("BG17", but=FORMER)
def test_the_former_secret_opens_for_a_day_and_is_noted(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    renew_secret(door)
    with caplog.at_level(logging.INFO):
        answer = door.push().post()
    assert answer.status_code == 200
    assert len(inbox()) == 1
    assert inbox()[0].state == "new"
    assert "old secret" in caplog.text
    assert door.secret not in caplog.text
    door.know_only("the-new-secret")
    if isinstance(door, WechatAes):
        door.aes_key = "Z" * 42 + "E"
    assert door.push().post().status_code == 200


@at("BG18", but=FORMER)
def test_after_the_day_the_former_secret_opens_nothing(door: Door) -> None:
    renew_secret(door)
    until = ShopCredential.objects.get().old_secret_until
    assert until is not None
    assert timedelta(hours=23) < until - clock_now() <= timedelta(hours=24)
    ShopCredential.objects.update(old_secret_until=clock_now())
    assert_refused(door.push())


@row("BG18")
def test_a_secret_whose_day_is_over_does_not_come_back_with_the_next_change(
    row: str, db: None
) -> None:
    door = WechatAes()
    door.open()
    renew_secret(door)
    ShopCredential.objects.update(old_secret_until=clock_now())
    it = user_with(Role.IT)
    lines.keep_access(
        door.shop.pk, user=it, actor=Actor.person(it), base_url="https://platform.example",
        app_key=APP_KEY, options={}, secrets={"app_secret": "yet-another-secret"},
    )  # fmt: skip
    assert_refused(door.push())


@at(
    "BG19",
    but=dict.fromkeys(
        ("wechat_plain", "wechat_aes", "miniprogram", "crm_webhook", "openjson"),
        "the scheme has a time: a capture is stale after five minutes (BG09)",
    ),
)
def test_a_capture_played_again_after_a_month_changes_nothing_and_is_counted(
    door: Door, settle: Any
) -> None:
    """Douyin's has its own old time; whoever plays Shopify's may make up a new event id."""
    ready(door)
    capture = door.push()
    assert capture.post().status_code == 200
    before = settle(door)
    SalesOrder.objects.update(channel_modified_at=clock_now())
    DOORS.totals.clear()
    for again in (capture, door.push(door.another())):
        answer = again.post()
        assert answer.status_code == 200
        assert door.is_thanks(answer)
        assert settle(door) == before
    assert DOORS.totals["played again"] >= 1


@at(
    "BG20",
    but=UNSIGNED
    | dict.fromkeys(
        ("wechat_plain", "wechat_aes", "miniprogram", "crm_webhook", "openjson"),
        "the secret is the shop's own: what another shop signs does not open this one (BG03)",
    ),
)
def test_what_is_rightly_signed_for_another_shop_is_refused(door: Door) -> None:
    """One application signs for all its shops."""
    if door.name == "douyin":
        assert_refused(door.push(door.body().replace(b"4463000001", b"4463000002")))
        return
    pushed = door.push()
    other = {**pushed.headers, "x-shopify-shop-domain": "another.myshopify.com"}
    assert_refused(Pushed(pushed.path, pushed.body, other))


# --- the check of our address -----------------------------------------------------------------

NO_CHECK: Final = dict.fromkeys(
    ("shopify", "miniprogram", "crm_webhook", "openjson", "sf"),
    "the platform does not check our address",
)


@at("BG21", but=NO_CHECK)
@pytest.mark.parametrize("markup", ["<script>alert(1)</script>", "1\r\nX-Evil: 1", "9" * 65])
def test_no_markup_of_a_challenge_is_echoed(door: Door, markup: str) -> None:
    if door.name == "douyin":
        told = json.dumps([{"tag": "0", "msg_id": "0", "data": markup}]).encode()
        answer = door.push(told).post()
        assert answer.status_code == 200
        assert answer.content == b'{"code":0,"msg":"success"}'
        return
    query = {**door_echo(door), "echostr": markup}
    answer = Client().get(door.path, query)
    assert answer.status_code == 401
    assert markup.encode() not in answer.content


def door_echo(door: Door) -> dict[str, str]:
    """WeChat signs its check as plain mode does, in either mode (channels.md 6e)."""
    assert isinstance(door, WechatPlain)
    return door.query("signature", str(int(time.time())))


@row("BG21")
@pytest.mark.parametrize("name", ["wechat_plain", "wechat_aes"])
def test_the_echo_of_a_right_challenge_is_plain_text_nobody_renders(
    row: str, name: str, db: None
) -> None:
    door = {"wechat_plain": WechatPlain, "wechat_aes": WechatAes}[name]().open()
    answer = Client().get(door.path, {**door_echo(door), "echostr": "5927782489442880"})
    assert (answer.status_code, answer.content) == (200, b"5927782489442880")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


not_here("BG22", "we send no webhooks of our own yet; ours that we take know events by their id")


# --- in constant time -------------------------------------------------------------------------

GIVEN: Final = ("sign", "digest", "hmac", "expected", "token", "secret", "proof")
HARMLESS: Final = frozenset({"sign_method", "access_token", "tokens"})
"""Ours to compare with ours: nobody learns anything by the time it takes."""


def compared_by_hand(source: str) -> list[str]:
    """Every ``==`` and ``!=`` between two names of which one may be a secret or a signature."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare):
            continue
        if not any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            continue
        sides = [node.left, *node.comparators]
        if any(isinstance(side, ast.Constant) for side in sides):
            continue
        names = {
            getattr(part, "id", getattr(part, "attr", "")).lower()
            for side in sides
            for part in ast.walk(side)
        }
        if any(word in name for name in names - HARMLESS for word in GIVEN):
            found.append(ast.unparse(node))
    return found


FOLDERS: Final = [
    Path(str(package.__file__)).parent
    for package in (channels_sync.connectors, fulfillment.carriers)
]
MODULES: Final = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))


@row("BG23")
@pytest.mark.parametrize("module", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_signature_is_compared_but_in_constant_time(row: str, module: Path) -> None:
    source = module.read_text(encoding="utf-8")
    assert compared_by_hand(source) == []
    if "raise BadSignature" in source or "raise BadPush" in source:
        assert "compare_digest" in source or "verify_stamped" in source or "WithoutPush" in source


@row("BG23")
def test_the_lint_sees_a_signature_compared_by_hand(row: str) -> None:
    """The control."""
    assert compared_by_hand("if given != push_sign(key, body): raise BadSignature")
    assert compared_by_hand("ok = request.headers.get('x') == expected")
    assert not compared_by_hand("ok = status == OK or name == 'token'")
