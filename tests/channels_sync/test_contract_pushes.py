"""What every connector keeps of pushes: only what proves itself over its raw bytes is taken."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from channels_sync.connectors.strict_json import loads_page
from channels_sync.contracts import BadSignature, MessageKind, WebhookRequest
from tests.channels_sync.contract_cases import BY_CHANNEL, CASES, SECRET, Case, request
from tests.channels_sync.platforms import NOW

pushing = [case for case in CASES if case.signer is not None]
every_push = pytest.mark.parametrize("case", pushing, ids=[c.channel for c in pushing])


# --- pushes prove themselves (reliability.md 6, BG) -------------------------------------------


def signed_with(case: Case, pushed: WebhookRequest, signature: str | None) -> WebhookRequest:
    """The same push with another signature; None leaves it out."""
    part, name = case.signature
    held = dict(pushed.headers if part == "headers" else pushed.query)
    held.pop(name)
    held |= {} if signature is None else {name: signature}
    headers = held if part == "headers" else pushed.headers
    query = held if part == "query" else pushed.query
    return WebhookRequest(
        pushed.method, pushed.path, query, headers, pushed.body, pushed.received_at
    )


def signature_of(case: Case, pushed: WebhookRequest) -> str:
    part, name = case.signature
    return (pushed.headers if part == "headers" else pushed.query)[name]


def other_alphabet(signature: str) -> str:
    """Hex where base64 is due, and the other way round."""
    try:
        return base64.b64encode(bytes.fromhex(signature)).decode()
    except ValueError:
        return binascii.hexlify(base64.b64decode(signature)).decode()


TAMPERED: dict[str, Callable[[Case, WebhookRequest, str], WebhookRequest]] = {
    "BG01 no signature": lambda c, p, s: signed_with(c, p, None),
    "BG02 wrong": lambda c, p, s: signed_with(c, p, ("1" if s[0] != "1" else "2") + s[1:]),
    "BG05 other alphabet": lambda c, p, s: signed_with(c, p, other_alphabet(s)),
    "BG06 empty": lambda c, p, s: signed_with(c, p, ""),
    "BG06 cut": lambda c, p, s: signed_with(c, p, s[:-1]),
    "BG06 longer": lambda c, p, s: signed_with(c, p, s + "0"),
    "BG07 two": lambda c, p, s: signed_with(c, p, f"{s}, {'0' * len(s)}"),
    "BG07 two, right one last": lambda c, p, s: signed_with(c, p, f"{'0' * len(s)}, {s}"),
    "not ASCII": lambda c, p, s: signed_with(c, p, s[:-1] + "é"),
    "other case": lambda c, p, s: signed_with(c, p, s.swapcase()),
}


@every_push
def test_a_push_signed_by_its_platform_is_believed(case: Case) -> None:
    case.connector().verify(case.push())


@every_push
@pytest.mark.parametrize("how", TAMPERED.values(), ids=TAMPERED.keys())
def test_a_tampered_push_is_not(
    case: Case, how: Callable[[Case, WebhookRequest, str], WebhookRequest]
) -> None:
    pushed = case.push()
    with pytest.raises(BadSignature):
        case.connector().verify(how(case, pushed, signature_of(case, pushed)))


@every_push
def test_a_push_signed_with_another_shops_secrets_is_not(case: Case) -> None:
    """BG03, BG16."""
    secrets = {"push_token": "another", "encoding_aes_key": "Z" * 43}
    with pytest.raises(BadSignature):
        case.connector().verify(case.push(app_secret="another", secrets=secrets))


@every_push
def test_a_push_for_an_unknown_application_is_not(case: Case) -> None:
    """BG16; where the scheme names no application the secret is what tells it."""
    named = {"douyin", "wechat"}
    if case.channel in named:
        with pytest.raises(BadSignature):
            case.connector().verify(case.push(app_key="99999999"))
    else:
        assert "app_key" not in repr(case.push())


@every_push
def test_the_raw_bytes_are_what_is_signed(case: Case) -> None:
    """BG04: the same JSON written another way is another body."""
    pushed = case.push()
    value = loads_page(pushed.body)
    if isinstance(value, dict) and "Encrypt" in value:
        value["Encrypt"] = value["Encrypt"][:-8] + "AAAAAAA="
    again = json.dumps(value, default=str, indent=3).encode()
    moved = WebhookRequest(
        pushed.method, pushed.path, pushed.query, pushed.headers, again, pushed.received_at
    )
    with pytest.raises(BadSignature):
        case.connector().verify(moved)


@every_push
def test_a_shop_without_a_secret_believes_nobody(case: Case) -> None:
    bare = case.connector(app_secret="", secrets={})
    with pytest.raises(BadSignature):
        bare.verify(
            case.push(app_secret="", secrets={"push_token": "", "encoding_aes_key": "A" * 43})
        )


@every_push
def test_the_former_secret_counts_within_its_grace_only(case: Case) -> None:
    """BG17, BG18. WeChat pushes are proved by their own token, which has no grace."""
    if case.channel == "wechat":
        assert SECRET not in repr(case.push())
        return
    pushed = case.push(app_secret="the-old-secret")
    case.connector(old_app_secret="the-old-secret").verify(pushed)
    with pytest.raises(BadSignature):
        case.connector().verify(pushed)


@pytest.mark.parametrize("channel", ["douyin", "shopify"])
def test_a_push_for_another_shop_is_not_taken(channel: str) -> None:
    """BG20: rightly signed by the application, but for a shop this address is not of."""
    case = BY_CHANNEL[channel]
    other = {"shop_id": "1111", "shop_domain": "other.myshopify.com"}
    with pytest.raises(BadSignature):
        case.connector(options=other).verify(case.push())


@pytest.mark.parametrize("case", [c for c in CASES if c.stamped], ids=lambda c: c.channel)
@pytest.mark.parametrize("minutes", [-6, 6])
def test_an_old_push_and_one_ahead_of_time_are_refused(case: Case, minutes: int) -> None:
    """BG09, BG10."""
    with pytest.raises(BadSignature):
        case.connector().verify(case.push(at=NOW + timedelta(minutes=minutes)))


@pytest.mark.parametrize("case", [c for c in CASES if c.stamped], ids=lambda c: c.channel)
@pytest.mark.parametrize(
    "stamp",
    [
        None,
        "",
        "soon",
        "1772327287000",
        "-1",
        "\uff11\uff17\uff17\uff12\uff13\uff12\uff17\uff12\uff18\uff17",
        "1772327287.5",
    ],
)
def test_a_time_that_is_none_is_refused(case: Case, stamp: str | None) -> None:
    """BG11, BG12, BG13; rightly signed over what the header says."""
    signed = f"{stamp or ''}.".encode() + case.order_body()
    signature = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    headers = {"x-signature": signature} | ({} if stamp is None else {"x-timestamp": stamp})
    with pytest.raises(BadSignature):
        case.connector().verify(request(case.order_body(), headers))


@every_push
def test_signatures_are_compared_in_constant_time(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BG23."""
    compared: list[tuple[Any, Any]] = []
    real = hmac.compare_digest

    def spy(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    pushed = case.push()
    signature = signature_of(case, pushed)
    with pytest.raises(BadSignature):
        case.connector().verify(signed_with(case, pushed, "0" * len(signature)))
    assert any(len(one) == len(other) for one, other in compared)


@pytest.mark.parametrize("case", [c for c in CASES if c.signer is None], ids=lambda c: c.channel)
def test_a_platform_that_does_not_push_over_http_is_never_believed(case: Case) -> None:
    for headers in ({}, {"sign": "x"}, {"x-signature": "0" * 64, "x-timestamp": "1772327287"}):
        with pytest.raises(BadSignature):
            case.connector().verify(request(case.order_body(), headers))


@every_push
def test_the_same_push_is_the_same_rows(case: Case) -> None:
    one = case.connector()
    pushed = case.push()
    rows = one.split(pushed)
    assert rows
    assert one.split(pushed) == rows
    assert all(row.kind is not MessageKind.UNREADABLE for row in rows)
    assert all(row.channel_number for row in rows)
    for duplicate in (False, True):
        assert one.acknowledge(pushed, duplicate=duplicate).status == 200


@every_push
def test_what_was_pushed_can_be_read(case: Case) -> None:
    one = case.connector()
    for row in one.split(case.push()):
        if row.kind is MessageKind.ORDER:
            assert one.read(row.body).channel_number == row.channel_number
        else:
            assert row.kind is MessageKind.EVENT
            assert one.read_event(row.body).channel_number == row.channel_number
            assert row.event_id
