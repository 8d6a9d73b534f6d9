"""Taobao: tokens, turns, counting, listening, and receivers in the clear."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest

from channels_sync.connectors.taobao.connector import TaobaoConnector
from channels_sync.connectors.taobao.messages import IDLE_SECONDS
from channels_sync.connectors.taobao.wire import sign, tmc_connect_sign
from channels_sync.contracts import (
    DecryptRequest,
    ErrorClass,
    Limit,
    MessageKind,
    RawMessage,
    Rejected,
    TryLater,
    Unsupported,
    Window,
)
from tests.channels_sync.gateway import NOW, Gateway
from tests.channels_sync.platforms import REFERENCE, payload

DETAIL = "taobao.trade.fullinfo.get"
CREATED = "taobao.trades.sold.get"
CONSUME, CONFIRM = "taobao.tmc.messages.consume", "taobao.tmc.messages.confirm"
PERMIT = "taobao.tmc.user.permit"
DECRYPT, MERGE = "taobao.top.oaid.decrypt", "taobao.top.oaid.merge"
NUMBER = "2600000000000000401"
DAY = Window(NOW - timedelta(days=1), NOW)


def gateway(**options: str) -> Gateway[TaobaoConnector]:
    return Gateway(TaobaoConnector, **options)


def detail() -> dict[str, Any]:
    return payload("taobao", "trade_fullinfo_get_discount_gift_oaid")


# --- tokens and turns -----------------------------------------------------------------------


def test_a_stale_token_is_renewed_once_and_the_call_signed_anew() -> None:
    gate = gateway().on(DETAIL, payload("taobao", "error_invalid_session"), detail())
    assert gate.shop.fetch(NUMBER).channel_number == NUMBER
    assert gate.line.renewed == ["a-token"]
    (_, stale), (_, fresh) = gate.sent
    assert (stale["session"], fresh["session"]) == ("a-token", "fresh-token")
    assert fresh["sign"] == sign(fresh, "a-secret", "hmac-sha256")


def test_a_token_that_stays_stale_is_for_the_seller() -> None:
    gate = gateway().on(DETAIL, payload("taobao", "error_invalid_session"))
    with pytest.raises(Rejected) as refusal:
        gate.shop.fetch(NUMBER)
    assert refusal.value.error.klass is ErrorClass.AUTH
    assert len(gate.sent) == 2


def test_a_wrong_signature_is_no_reason_to_renew() -> None:
    error = {"error_response": {"code": 25, "msg": "Invalid signature"}}
    gate = gateway().on(DETAIL, error)
    with pytest.raises(Rejected):
        gate.shop.fetch(NUMBER)
    assert gate.line.renewed == []


def test_every_call_takes_its_turn_and_tells_how_it_went() -> None:
    gate = gateway().on(DETAIL, payload("taobao", "error_call_limited"), detail())
    with pytest.raises(TryLater) as failure:
        gate.shop.fetch(NUMBER)
    gate.shop.fetch(NUMBER)
    assert failure.value.wait == 1
    assert gate.line.went == [(DETAIL, "7"), (DETAIL, "passed")]


def test_a_shop_may_set_how_often_a_call_is_made() -> None:
    gate = gateway(**{f"limit.{DETAIL}": "2.5"}).on(DETAIL, detail())
    gate.shop.fetch(NUMBER)
    assert gate.line.entered == [(DETAIL, Limit(2.5, 2.5))]
    plain = gateway().on(DETAIL, detail())
    plain.shop.fetch(NUMBER)
    assert plain.line.entered == [(DETAIL, TaobaoConnector.limits["*"])]


def test_new_tokens_come_with_all_their_ends() -> None:
    gate = gateway().on("/token", payload("taobao", "oauth_token"))
    tokens = gate.shop.refresh("r-1")
    assert gate.last("/token") == {
        "client_id": "20000001",
        "client_secret": "a-secret",
        "grant_type": "refresh_token",
        "refresh_token": "r-1",
    }
    assert str(gate.requests[0].url) == "https://oauth.taobao.com/token"
    assert tokens.access_token == "6100000sandboxsession0001"
    assert tokens.refresh_token == "6100000sandboxrefresh0001"
    assert tokens.expires_at == NOW + timedelta(days=90)
    assert tokens.refresh_expires_at == NOW + timedelta(days=90)
    assert tokens.write_expires_at == NOW + timedelta(seconds=1800)
    assert (tokens.shop_id, tokens.shop_name) == ("2200000000001", "虚构旗舰店")
    assert "sandboxsession" not in repr(tokens)


def test_a_token_that_never_ends_has_no_end() -> None:
    answer = {"access_token": "t", "expires_in": 0, "re_expires_in": 0, "w2_expires_in": 0}
    tokens = gateway().on("/token", answer).shop.refresh("r-1")
    assert (tokens.expires_at, tokens.refresh_expires_at, tokens.write_expires_at) == (None,) * 3


def test_a_code_is_traded_at_the_address_the_shop_sets() -> None:
    options = {"auth_url": "http://127.0.0.1:9", "redirect_uri": "https://oc.example/back"}
    gate = gateway(**options).on("/token", payload("taobao", "oauth_token"))
    gate.shop.exchange_code("c-1")
    assert gate.last("/token")["code"] == "c-1"
    assert gate.last("/token")["redirect_uri"] == "https://oc.example/back"
    url = httpx.URL(gate.shop.authorize_url("https://oc.example/back?x=1", "st&te"))
    assert str(url).startswith("http://127.0.0.1:9/authorize?")
    assert dict(url.params) == {
        "response_type": "code",
        "client_id": "20000001",
        "redirect_uri": "https://oc.example/back?x=1",
        "state": "st&te",
    }


REFUSALS: list[Any] = [
    {"error": "invalid_grant", "error_description": "refresh token expired"},
    httpx.Response(400, json={"error": "invalid_grant", "error_description": "x"}),
    payload("taobao", "error_invalid_session"),
    httpx.Response(403, html="<html></html>"),
]


@pytest.mark.parametrize("answer", REFUSALS)
def test_a_refused_renewal_is_a_matter_of_the_authorization(answer: Any) -> None:
    with pytest.raises(Rejected) as refusal:
        gateway().on("/token", answer).shop.refresh("r-1")
    assert refusal.value.error.klass is ErrorClass.AUTH


@pytest.mark.parametrize("answer", [{"expires_in": 1}, httpx.Response(200, html="<html></html>")])
def test_an_answer_without_a_token_is_asked_for_later(answer: Any) -> None:
    with pytest.raises(TryLater, match="bad_body"):
        gateway().on("/token", answer).shop.refresh("r-1")


# --- counting -------------------------------------------------------------------------------


def created(numbers: Sequence[int]) -> Any:
    def answer(query: dict[str, str]) -> dict[str, Any]:
        start = (int(query["page_no"]) - 1) * int(query["page_size"])
        rows = [{"tid": n} for n in numbers[start : start + int(query["page_size"])]]
        facts: dict[str, Any] = {"trades": {"trade": rows}}
        if query["use_has_next"] == "true":
            facts["has_next"] = start + len(rows) < len(numbers)
        else:
            facts["total_results"] = len(numbers)
        return {"trades_sold_get_response": facts}

    return answer


def test_a_census_counts_the_trades_made_within_a_window() -> None:
    gate = gateway().on(CREATED, created(range(1, 251)))
    census = gate.shop.census(DAY)
    assert census.numbers == {str(n) for n in range(1, 251)}
    assert census.counted == 250
    query = gate.last(CREATED)
    assert query["start_created"] == "2026-02-28 09:08:07"
    assert query["end_created"] == "2026-03-01 09:08:07"
    assert query["fields"] == "tid,created"
    assert "start_modified" not in query


def test_a_census_of_nothing_is_zero() -> None:
    census = gateway().on(CREATED, created(())).shop.census(DAY)
    assert (census.numbers, census.counted) == (frozenset(), 0)


# --- listening ------------------------------------------------------------------------------


NOTHING = {"tmc_messages_consume_response": {"request_id": "1"}}
DONE = {"tmc_messages_confirm_response": {"is_success": True}}
ALLOWED = {"tmc_user_permit_response": {"is_success": True}}


def rounds(count: int) -> Any:
    left: Iterator[bool] = iter([False] * count)
    return lambda: next(left, True)


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr("channels_sync.connectors.taobao.messages.time.sleep", found.append)
    return found


def listening(**options: str) -> Gateway[TaobaoConnector]:
    gate = gateway(**options).on(PERMIT, ALLOWED).on(CONFIRM, DONE)
    return gate.on(CONSUME, payload("taobao", "tmc_messages_consume"), NOTHING)


def test_messages_are_stored_before_they_are_confirmed() -> None:
    gate = listening(tmc_group="g7")
    taken: list[RawMessage] = []

    def take(rows: Sequence[RawMessage]) -> None:
        assert CONFIRM not in gate.methods()
        taken.extend(rows)

    gate.shop.listen(take, rounds(1))
    assert gate.methods() == [PERMIT, CONSUME, CONFIRM]
    first, second = taken
    assert first.kind is MessageKind.EVENT
    assert (first.event_id, first.channel_number) == ("7600000000000000101", "2600000000000000101")
    assert first.occurred_at is not None
    assert gate.shop.read_event(second.body).topic == "taobao_refund_RefundCreated"
    confirmed = gate.last(CONFIRM)
    assert confirmed["s_message_ids"] == "7600000000000000101,7600000000000000102"
    assert confirmed["group_name"] == gate.last(CONSUME)["group_name"] == "g7"


def test_what_could_not_be_stored_is_not_confirmed() -> None:
    gate = listening()

    def take(rows: Sequence[RawMessage]) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        gate.shop.listen(take, rounds(1))
    assert CONFIRM not in gate.methods()


def test_an_empty_line_is_waited_on_not_hammered(naps: list[float]) -> None:
    gate = listening()
    gate.shop.listen(lambda rows: None, rounds(3))
    assert gate.methods().count(CONSUME) == 3
    assert naps == [IDLE_SECONDS] * 2
    assert max(naps) <= 1


def test_a_broken_message_is_kept_and_confirmed_so_that_it_blocks_no_others() -> None:
    page = payload("taobao", "tmc_messages_consume")
    rows = page["tmc_messages_consume_response"]["messages"]["tmc_message"]
    rows[0]["content"] = '{"tid":1'
    gate = gateway().on(PERMIT, ALLOWED).on(CONFIRM, DONE).on(CONSUME, page)
    taken: list[RawMessage] = []
    gate.shop.listen(taken.extend, rounds(1))
    assert [row.kind for row in taken] == [MessageKind.UNREADABLE, MessageKind.EVENT]
    assert gate.last(CONFIRM)["s_message_ids"].split(",")[0] == "7600000000000000101"


def test_messages_of_another_shop_of_the_application_are_left_to_it() -> None:
    gate = listening(shop_id="999")
    taken: list[RawMessage] = []
    gate.shop.listen(taken.extend, rounds(1))
    assert taken == []
    assert CONFIRM not in gate.methods()
    ours = listening(shop_id="2200000000001")
    ours.shop.listen(taken.extend, rounds(1))
    assert len(taken) == 2


def test_a_shop_may_do_without_messages() -> None:
    gate = gateway(tmc="off")
    with pytest.raises(Unsupported):
        gate.shop.listen(lambda rows: None, rounds(1))
    assert gate.sent == []


def test_the_message_sockets_headers_are_signed_as_the_vector_says() -> None:
    vectors = json.loads((REFERENCE / "signing_vectors.json").read_text(encoding="utf-8"))
    (vector,) = [one for one in vectors if one["id"] == "taobao-tmc-connect"]
    given = vector.get("params") or vector["headers"]
    found = tmc_connect_sign(
        given["app_key"], given["group_name"], given["timestamp"], vector["secret"]
    )
    assert found == vector["expected_signature"]


# --- receivers in the clear -----------------------------------------------------------------


def asking(*numbers: str, oaid: str = "o-1") -> list[DecryptRequest]:
    return [DecryptRequest(number, oaid, "1001", b"{}") for number in numbers]


def test_each_receiver_is_answered_for_itself() -> None:
    gate = gateway(secret_no_days="7").on(DECRYPT, payload("taobao", "top_oaid_decrypt_ok"))
    wanted = asking("2600000000000000101", "2600000000000000201", "3")
    clear, stale, silent = gate.shop.decrypt(wanted)
    assert (clear.name, clear.phone) == ("林虚构", "19900000101-1234")
    assert clear.address == "示例路88号虚构小区3幢"
    assert clear.is_virtual
    assert clear.expires_at is not None
    assert clear.expires_at.isoformat() == "2026-03-31T09:00:00+08:00"
    assert "林虚构" not in repr(clear)
    assert stale.error is not None
    assert stale.error.code == "stale_oaid"
    assert silent.error is not None
    assert silent.error.code == "not_answered"
    (first, *_) = json.loads(gate.last(DECRYPT)["query_list"])
    assert first == {
        "tid": "2600000000000000101",
        "oaid": "o-1",
        "scene": "1001",
        "secret_no_days": "7",
    }


def test_receivers_are_asked_for_twenty_at_a_time() -> None:
    empty: dict[str, Any] = {"top_oaid_decrypt_response": {"receiver_list": {}}}
    gate = gateway().on(DECRYPT, empty)
    gate.shop.decrypt(asking(*map(str, range(45))))
    sizes = [len(json.loads(query["query_list"])) for _, query in gate.sent]
    assert sizes == [20, 20, 5]


def test_an_order_without_oaid_is_not_asked_about() -> None:
    gate = gateway()
    (answer,) = gate.shop.decrypt(asking("1", oaid=""))
    assert answer.error is not None
    assert answer.error.code == "no_oaid"
    assert gate.sent == []


def test_a_quota_that_ends_half_way_costs_only_what_is_left() -> None:
    limited = payload("taobao", "error_call_limited")
    ok = payload("taobao", "top_oaid_decrypt_ok")
    gate = gateway().on(DECRYPT, ok, limited)
    found = gate.shop.decrypt(asking("2600000000000000101", *map(str, range(24))))
    assert found[0].error is None
    assert found[-1].error is not None
    assert found[-1].error.klass is ErrorClass.RATE_LIMITED
    with pytest.raises(TryLater):
        gateway().on(DECRYPT, limited).shop.decrypt(asking("1"))


def test_orders_that_may_share_a_parcel_are_found_a_hundred_at_a_time() -> None:
    answer = {"top_oaid_merge_response": {"tid_list": {"string": ["1,2,3", "4"]}}}
    gate = gateway().on(MERGE, answer, {"top_oaid_merge_response": {"tid_list": {}}})
    assert gate.shop.merge_groups(asking(*map(str, range(101)))) == [("1", "2", "3")]
    sizes = [len(json.loads(query["merge_list"])) for _, query in gate.sent]
    assert sizes == [100, 1]
