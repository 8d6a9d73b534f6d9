"""SF: the digest, one number for one reference, traces told once, and pushes nobody signed."""

import base64
import hashlib
import json
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote_plus

import httpx
import pytest
from django.core.management import CommandError, call_command

from fulfillment.carriers import CARRIERS
from fulfillment.carriers.sf import SfCarrier, digest, java_url_encode
from fulfillment.carriers.wire import CHINA, make_client
from fulfillment.contracts import (
    BadPush,
    CarrierAccess,
    CarrierError,
    CarrierErrorClass,
    CarrierPush,
    CarrierRejected,
    CarrierTryLater,
    CarrierUnknown,
    Contact,
    Goods,
    TraceStatus,
    UnreadablePush,
    WaybillRequest,
    journey,
    status_of,
)

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=CHINA)
REFERENCE = Path(__file__).parent.parent / "data" / "reference"
PAYLOADS = REFERENCE / "payloads" / "carriers"
VECTORS = [
    one
    for one in json.loads((REFERENCE / "signing_vectors_carriers.json").read_text("utf-8"))
    if one["id"].startswith("sf-msgdigest")
]
CREDENTIALS = json.loads((PAYLOADS / "_sandbox_credentials.json").read_text("utf-8"))
TOKEN = "a-token-long-enough-to-guess-at"
ACCESS = CarrierAccess(
    account="SF",
    base_url="https://sf.example",
    partner_id=CREDENTIALS["credentials"]["sf"]["partnerID"],
    secret=CREDENTIALS["credentials"]["sf"]["checkword"],
    push_token=TOKEN,
    options={"monthly_card": "7551234567", "phone_tail": "0001"},
)
CREATE, SEARCH = "EXP_RECE_CREATE_ORDER", "EXP_RECE_SEARCH_ORDER_RESP"
UPDATE, ROUTES = "EXP_RECE_UPDATE_ORDER", "EXP_RECE_SEARCH_ROUTES"
INTERCEPT = "EXP_RECE_WANTED_INTERCEPT"
NUMBER = "SF7550000001014"
REQUEST = WaybillRequest(
    client_reference="SBX-20260302-0001",
    sender=Contact("测试发件人", "19900000009", "上海市", "上海市", "青浦区", "测试路1号"),
    receiver=Contact("测试甲", "19900000001", "江苏省", "南京市", "鼓楼区", "汉中路(测试)1号 ~*"),
    goods=(Goods("测试商品A", 2, weight_grams=600),),
    weight_grams=1200,
    remark="轻放\n^XA\x00\u202e<script>",
)


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAYLOADS / f"sf_{name}.json").read_text("utf-8"))
    return found


def response(name: str, answer: str = "ok") -> dict[str, Any]:
    found: dict[str, Any] = recorded(name)["responses"][answer]["json"]
    return found


def inner(**data: Any) -> dict[str, Any]:
    return {"apiResultCode": "A1000", "apiResultData": json.dumps(data, ensure_ascii=False)}


class Gateway:
    """Answers each service in turn with what the test laid out; checks every digest."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {name: list(one) if isinstance(one, tuple) else [one]
                        for name, one in answers.items()}  # fmt: skip
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.request_ids: set[str] = set()

    def carrier(self, access: CarrierAccess = ACCESS) -> SfCarrier:
        client = make_client(transport=httpx.MockTransport(self._handle))
        return SfCarrier(access, client, lambda: NOW)

    def services(self) -> list[str]:
        return [service for service, _ in self.calls]

    def _handle(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/std/service"
        form = {name: value[0] for name, value in parse_qs(request.content.decode()).items()}
        signed = form["msgData"] + form["timestamp"] + ACCESS.secret
        encoded = quote_plus(signed, safe="*").replace("~", "%7E")
        right = base64.b64encode(hashlib.md5(encoded.encode()).digest()).decode()  # noqa: S324
        assert form["msgDigest"] == right
        assert form["partnerID"] == ACCESS.partner_id
        assert form["timestamp"] == "1772409600000"
        self.request_ids.add(form["requestID"])
        self.calls.append((form["serviceCode"], json.loads(form["msgData"])))
        planned = self.answers[form["serviceCode"]]
        answer = planned.pop(0) if len(planned) > 1 else planned[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


# --- the digest -----------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS, ids=[one["id"] for one in VECTORS])
def test_the_digest_is_the_one_of_the_vector(vector: dict[str, Any]) -> None:
    inputs = vector["inputs"]
    found = digest(inputs["msgData"], inputs["timestamp"], vector["secret"])
    assert found == vector["expected_signature"]
    wrong = vector.get("wrong_values", {}) | vector.get("other_encoders", {})
    assert found not in wrong.values()


@pytest.mark.parametrize("name", ["create_order", "cancel_order", "search_routes", "cloud_print"])
def test_the_digest_is_the_one_of_the_recorded_calls(name: str) -> None:
    form = recorded(name)["request"]["form"]
    assert digest(form["msgData"], form["timestamp"], ACCESS.secret) == form["msgDigest"]


def test_text_is_encoded_as_java_does() -> None:
    assert java_url_encode("a b*c~d!'()-_.") == "a+b*c%7Ed%21%27%28%29-_."


# --- a number -------------------------------------------------------------------------------


def test_a_number_comes_with_the_facts_of_its_label() -> None:
    gateway = Gateway(**{CREATE: response("create_order")})
    issued = gateway.carrier().create(REQUEST)
    assert (issued.number, issued.client_reference) == (NUMBER, "SBX-20260302-0001")
    assert issued.facts["destRouteLabel"] == "025W-GL-012"
    assert (issued.facts["originCode"], issued.facts["destCode"]) == ("021", "025")
    assert not issued.needs_check
    ((_, message),) = gateway.calls
    example = recorded("create_order")["request"]["msgData_decoded"]
    for name in ("orderId", "monthlyCard", "payMethod", "expressTypeId", "parcelQty"):
        assert message[name] == example[name]
    assert message["totalWeight"] == 1.2
    assert message["contactInfoList"][0] == example["contactInfoList"][0]
    assert message["cargoDetails"] == [
        {"name": "测试商品A", "count": 2, "unit": "件", "weight": 0.6}
    ]


def test_a_remark_reaches_the_label_without_control_characters() -> None:
    gateway = Gateway(**{CREATE: response("create_order")})
    gateway.carrier().create(REQUEST)
    assert gateway.calls[0][1]["remark"] == "轻放 ^XA <script>"


def test_an_order_made_before_gives_its_first_number() -> None:
    gateway = Gateway(
        **{CREATE: response("create_order", "duplicate_order"), SEARCH: search_answer()}
    )
    assert gateway.carrier().create(REQUEST).number == NUMBER
    assert gateway.services() == [CREATE, SEARCH]
    assert gateway.calls[1][1]["orderId"] == "SBX-20260302-0001"


def search_answer(number: str = NUMBER) -> dict[str, Any]:
    """Lower-case keys and a verdict in text: the search spells its answer its own way."""
    numbers = [{"waybillType": 1, "waybillNo": number}]
    data = {
        "orderId": "SBX-20260302-0001",
        "origincode": "021",
        "destcode": "025",
        "filterResult": "2",
        "waybillNoInfoList": numbers,
    }
    return inner(success=True, errorCode="S0000", errorMsg=None, msgData=data)


LOST = [
    httpx.ReadTimeout("slow"),
    httpx.RemoteProtocolError("cut"),
    httpx.Response(502),
    httpx.Response(200, text="<html>login</html>"),
    httpx.Response(200, text='{"apiResultCode":"A1000"'),
    {"apiResultCode": "A1000", "apiResultData": "{"},
    {"apiResultCode": "A1000", "apiResultData": None},
    {"apiResultCode": "A1009", "apiErrorMsg": "x", "apiResultData": ""},
    {"apiResultCode": "A1099", "apiErrorMsg": "x", "apiResultData": ""},
    inner(success=False, errorCode="4001", errorMsg="系统错误", msgData=None),
    inner(success=True, errorCode="S0000", msgData={"filterResult": 2, "waybillNoInfoList": []}),
]


@pytest.mark.parametrize("answer", LOST)
def test_a_lost_answer_is_asked_after_by_reference_and_makes_no_second_number(answer: Any) -> None:
    """F50: the order was made, the answer was lost; the same reference finds the number."""
    duplicate = response("create_order", "duplicate_order")
    gateway = Gateway(**{CREATE: (answer, duplicate), SEARCH: search_answer()})
    carrier = gateway.carrier()
    with pytest.raises(CarrierUnknown):
        carrier.create(REQUEST)
    found = carrier.find(REQUEST.client_reference)
    assert found is not None
    assert found.number == carrier.create(REQUEST).number == NUMBER
    references = {message["orderId"] for _, message in gateway.calls}
    assert references == {REQUEST.client_reference}
    assert len(gateway.request_ids) == len(gateway.calls)


@pytest.mark.parametrize(
    ("answer", "error", "klass"),
    [
        (httpx.ConnectError("refused"), CarrierTryLater, CarrierErrorClass.PLATFORM),
        (httpx.Response(429), CarrierTryLater, CarrierErrorClass.RATE_LIMITED),
        (response("gateway_errors", "A1005"), CarrierTryLater, CarrierErrorClass.RATE_LIMITED),
        (response("gateway_errors", "A1002"), CarrierTryLater, CarrierErrorClass.PLATFORM),
        (response("gateway_errors", "A1007"), CarrierTryLater, CarrierErrorClass.PLATFORM),
        (response("gateway_errors", "A1003"), CarrierRejected, CarrierErrorClass.AUTH),
        (response("gateway_errors", "A1004"), CarrierRejected, CarrierErrorClass.AUTH),
        (response("gateway_errors", "A1006"), CarrierRejected, CarrierErrorClass.AUTH),
        (response("gateway_errors", "A1001"), CarrierRejected, CarrierErrorClass.BUSINESS),
        (response("create_order", "unreachable"), CarrierRejected, CarrierErrorClass.BUSINESS),
        (
            inner(success=False, errorCode="9999", errorMsg="余额不足"),
            CarrierRejected,
            CarrierErrorClass.BUSINESS,
        ),
    ],
)
def test_a_refusal_says_whether_to_try_again(
    answer: Any, error: type[CarrierError], klass: CarrierErrorClass
) -> None:
    with pytest.raises(error) as refusal:
        Gateway(**{CREATE: answer}).carrier().create(REQUEST)
    assert type(refusal.value) is error
    assert refusal.value.fault.klass is klass


def test_an_order_made_before_that_cannot_be_found_stays_unknown() -> None:
    """Taking it for refused would send the parcel under a second reference."""
    nothing = inner(success=False, errorCode="8024", errorMsg="未下单", msgData=None)
    duplicate = response("create_order", "duplicate_order")
    with pytest.raises(CarrierUnknown):
        Gateway(**{CREATE: duplicate, SEARCH: nothing}).carrier().create(REQUEST)


def test_a_number_still_checked_by_hand_says_so() -> None:
    answer = response("create_order", "manual_filter")
    assert Gateway(**{CREATE: answer}).carrier().create(REQUEST).needs_check


@pytest.mark.parametrize("number", ["YT1234567890123", "SF 755", "<b>", "SF75500000010141234567"])
def test_a_number_that_cannot_be_sfs_is_refused(number: str) -> None:
    answer = search_answer(number)
    with pytest.raises(CarrierRejected):
        Gateway(**{CREATE: answer}).carrier().create(REQUEST)


@pytest.mark.parametrize("number", ["", "  "])
def test_a_blank_number_is_none_yet(number: str) -> None:
    with pytest.raises(CarrierUnknown):
        Gateway(**{CREATE: search_answer(number)}).carrier().create(REQUEST)


def test_what_sf_does_not_know_is_not_found() -> None:
    nothing = inner(success=False, errorCode="8024", errorMsg="未下单", msgData=None)
    assert Gateway(**{SEARCH: nothing}).carrier().find("X") is None


def test_a_search_that_failed_is_not_a_search_that_found_nothing() -> None:
    for answer in (httpx.Response(502), response("gateway_errors", "A1006")):
        with pytest.raises(CarrierError):
            Gateway(**{SEARCH: answer}).carrier().find("X")


# --- giving back and turning round ----------------------------------------------------------


def test_a_number_is_given_back() -> None:
    gateway = Gateway(**{UPDATE: response("cancel_order")})
    gateway.carrier().cancel("SBX-20260302-0001", NUMBER)
    assert gateway.calls[0][1] == recorded("cancel_order")["request"]["msgData_decoded"]


@pytest.mark.parametrize("answer", ["mismatch", "already_cancelled_or_confirmed"])
def test_a_number_that_cannot_be_given_back_is_refused(answer: str) -> None:
    with pytest.raises(CarrierRejected):
        Gateway(**{UPDATE: response("cancel_order", answer)}).carrier().cancel("X", NUMBER)


def test_a_parcel_is_asked_back_at_our_cost() -> None:
    gateway = Gateway(**{INTERCEPT: response("intercept")})
    gateway.carrier().intercept(NUMBER)
    example = recorded("intercept")["requests"]["return_to_sender"]["msgData_decoded"]
    assert gateway.calls[0][1] == example


def test_an_intercept_nobody_documented_the_refusal_of_is_final() -> None:
    answer = inner(success=False, errorCode="20012", errorMsg="不支持", msgData=None)
    with pytest.raises(CarrierRejected) as refusal:
        Gateway(**{INTERCEPT: answer}).carrier().intercept(NUMBER)
    assert refusal.value.fault.message == "不支持"


# --- traces ---------------------------------------------------------------------------------


def test_traces_are_asked_for_in_tens() -> None:
    gateway = Gateway(**{ROUTES: response("search_routes", "none")})
    numbers = [f"SF{n:013d}" for n in range(23)]
    assert gateway.carrier().traces(numbers) == ()
    asked = [message["trackingNumber"] for _, message in gateway.calls]
    assert [len(one) for one in asked] == [10, 10, 3]
    assert [number for one in asked for number in one] == numbers
    assert gateway.calls[0][1]["checkPhoneNo"] == "0001"


def test_scans_come_in_the_order_they_happened() -> None:
    events = Gateway(**{ROUTES: response("search_routes")}).carrier().traces([NUMBER])
    assert [event.code for event in events] == ["50", "30", "31", "44", "80", "8000"]
    assert events[-1].status is None
    assert events[-2].status is TraceStatus.DELIVERED
    assert events[0].occurred_at == datetime(2026, 3, 2, 11, 5, 10, tzinfo=CHINA)
    assert status_of(events) is TraceStatus.DELIVERED


@pytest.mark.parametrize("answer", [httpx.Response(502), httpx.ReadTimeout("x")])
def test_asking_may_be_repeated_whatever_happened(answer: Any) -> None:
    with pytest.raises(CarrierTryLater):
        Gateway(**{ROUTES: answer}).carrier().traces([NUMBER])


def scan(code: str, at: str = "2026-03-03 10:00:00", **more: str) -> dict[str, str]:
    return {"id": "1", "mailno": NUMBER, "acceptTime": at, "opCode": code, "remark": code} | more


def pushed(*rows: dict[str, str]) -> bytes:
    return json.dumps({"Body": {"WaybillRoute": list(rows)}}, ensure_ascii=False).encode()


def push(body: bytes, token: str = TOKEN, peer: str = "") -> CarrierPush:
    return CarrierPush(token=token, headers={}, body=body, peer=peer)


READER = SfCarrier(ACCESS)


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        ("50", "", TraceStatus.PICKED_UP),
        ("36", "", TraceStatus.IN_TRANSIT),
        ("626", "", TraceStatus.IN_TRANSIT),
        ("615", "", TraceStatus.CUSTOMS),
        ("204", "", TraceStatus.OUT_FOR_DELIVERY),
        ("126", "", TraceStatus.OUT_FOR_DELIVERY),
        ("70", "", TraceStatus.EXCEPTION),
        ("70", "46", TraceStatus.CANCELLED),
        ("33", "83", TraceStatus.READY_FOR_COLLECTION),
        ("125", "", TraceStatus.READY_FOR_COLLECTION),
        ("128", "", TraceStatus.DELIVERED),
        ("80", "", TraceStatus.DELIVERED),
        ("99", "", TraceStatus.FORWARDED),
        ("99", "2", TraceStatus.RETURNING),
        ("8000", "6", TraceStatus.LOST),
        ("631", "", TraceStatus.RETURNING),
        ("660", "", TraceStatus.RETURNED),
        ("8000", "", None),
        ("51", "", None),
        ("648", "", None),
    ],
)
def test_a_code_says_where_the_parcel_is(
    code: str, reason: str, status: TraceStatus | None
) -> None:
    (event,) = READER.read_push(push(pushed(scan(code, reasonCode=reason))))
    assert event.status is status
    assert event.known


@pytest.mark.parametrize("code", ["501", "5", "0080", "", "签收"])
def test_a_code_no_table_names_moves_nothing_and_asks_for_a_look(code: str) -> None:
    (event,) = READER.read_push(push(pushed(scan(code))))
    assert (event.status, event.known, event.alert) == (None, False, True)


def test_an_unknown_code_may_be_told_by_the_newer_classes() -> None:
    (event,) = READER.read_push(push(pushed(scan("501", firstStatusCode="2"))))
    assert (event.status, event.known) == (TraceStatus.IN_TRANSIT, True)


def test_a_sign_information_alone_never_delivers() -> None:
    events = READER.read_push(push(pushed(scan("8000", firstStatusCode="4"))))
    assert status_of(events) is TraceStatus.NO_TRACE


def test_one_scan_sent_fifty_times_is_one() -> None:
    rows = [scan("80", id=str(n)) for n in range(50)]
    assert len(READER.read_push(push(pushed(*rows)))) == 1


def test_a_push_and_a_query_tell_the_same_scan_once() -> None:
    """The newer fields of the query are no part of what a scan is."""
    asked = Gateway(**{ROUTES: response("search_routes")}).carrier().traces([NUMBER])
    told = READER.read_push(push(json.dumps(recorded("route_push")["request"]["json"]).encode()))
    assert {event.event_id for event in told} <= {event.event_id for event in asked}


def test_a_signature_after_a_return_is_the_senders() -> None:
    rows = [
        scan("80", "2026-03-05 10:00:00"),
        scan("31", "2026-03-04 10:00:00"),
        scan("99", "2026-03-03 10:00:00", reasonCode="2"),
        scan("50", "2026-03-02 10:00:00"),
    ]
    told = journey(READER.read_push(push(pushed(*rows))))
    assert [event.status for event in told] == [
        TraceStatus.PICKED_UP,
        TraceStatus.RETURNING,
        TraceStatus.RETURNING,
        TraceStatus.RETURNED,
    ]


def test_a_delivered_parcel_goes_back_to_no_earlier_state() -> None:
    events = READER.read_push(
        push(pushed(scan("80", "2026-03-03 10:00:00"), scan("31", "2026-03-03 11:00:00")))
    )
    assert status_of(events) is TraceStatus.DELIVERED
    late = READER.read_push(push(pushed(scan("8000", "2026-03-04 10:00:00", reasonCode="6"))))
    assert status_of((*events, *late)) is TraceStatus.LOST


def test_a_parcel_under_a_new_number_is_linked() -> None:
    row = scan("648", remark=f"快件{NUMBER}已退回,新单号为SF7550000002027")
    (event,) = READER.read_push(push(pushed(row)))
    assert event.linked_number == "SF7550000002027"


# --- pushes ---------------------------------------------------------------------------------

XML = recorded("route_push_xml")["request"]["form"]["content"]


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(recorded("route_push")["request"]["json"], ensure_ascii=False).encode(),
        XML.encode(),
        b"content=" + quote_plus(XML).encode(),
    ],
)
def test_a_push_is_read_in_every_form_it_comes_in(body: bytes) -> None:
    events = READER.read_push(push(body))
    assert events[-1].status is TraceStatus.DELIVERED
    assert {event.number for event in events} == {NUMBER}
    assert READER.read_document(body).kind == "trace_push"


def test_a_push_is_answered_in_its_own_form() -> None:
    told = READER.acknowledge_push(push(pushed(scan("80"))))
    assert json.loads(told.body) == recorded("route_push")["responses"]["ok"]["json"]
    again = READER.acknowledge_push(push(pushed(scan("80"))), stored=False)
    assert json.loads(again.body)["return_code"] == "1000"
    answers = recorded("route_push_xml")["responses"]
    assert READER.acknowledge_push(push(XML.encode())).body.decode() == answers["ok"]["raw"]
    again = READER.acknowledge_push(push(XML.encode()), stored=False)
    assert again.body.decode() == answers["fail_please_resend"]["raw"]


@pytest.mark.parametrize("token", ["", TOKEN[:-1], TOKEN.upper(), TOKEN + "x", "令牌"])
def test_a_push_that_does_not_know_our_path_is_refused(token: str) -> None:
    READER.verify_push(push(b"{}"))
    with pytest.raises(BadPush):
        READER.verify_push(push(b"{}", token))


@pytest.mark.parametrize("token", ["", "short"])
def test_an_account_without_a_long_token_takes_no_push(token: str) -> None:
    access = CarrierAccess("SF", "https://x.example", "p", "s", push_token=token)
    with pytest.raises(BadPush):
        SfCarrier(access).verify_push(push(b"{}", token))


def test_a_push_from_an_address_not_on_the_list_is_refused() -> None:
    options = {"push_ips": "203.0.113.1, 203.0.113.2"}
    access = CarrierAccess("SF", "https://x.example", "p", "s", push_token=TOKEN, options=options)
    SfCarrier(access).verify_push(push(b"{}", peer="203.0.113.2"))
    with pytest.raises(BadPush):
        SfCarrier(access).verify_push(push(b"{}", peer="203.0.113.20"))


SWELLING = b'<!DOCTYPE x [<!ENTITY a "b"><!ENTITY e SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"Body":{"WaybillRoute":[]}}',
        b'{"Body":{"WaybillRoute":[{"mailno":"SF1","mailno":"SF2"}]}}',
        pushed({"mailno": NUMBER, "opCode": "80"}),
        pushed(scan("80", "2026-02-30 10:00:00")),
        pushed(scan("80", mailno=" ")),
        b'{"Body":{"WaybillRoute":[{"mailno":"\\ud800"}]}}',
        b"[" * 100_000,
        b"\xff\xfe",
        XML.encode()[:-9],
        SWELLING + XML.encode(),
        b"content=%3Cx",
        b"other=1",
    ],
)
def test_a_broken_push_is_unreadable_with_words(body: bytes) -> None:
    with pytest.raises(UnreadablePush) as reason:
        READER.read_push(push(body))
    assert str(reason.value)


# --- what is written down -------------------------------------------------------------------


def test_nothing_of_a_receiver_or_a_secret_shows_in_a_repr() -> None:
    shown = repr(REQUEST) + repr(ACCESS) + repr(push(b"19900000001"))
    for hidden in ("测试甲", "19900000001", "汉中路", "轻放", ACCESS.secret, TOKEN):
        assert hidden not in shown


def test_a_receivers_address_never_goes_in_the_clear() -> None:
    access = CarrierAccess("SF", "http://sf.example", "p", "s")
    gateway = Gateway()
    with pytest.raises(CarrierRejected):
        gateway.carrier(access).create(REQUEST)
    assert not gateway.calls


# --- the command ----------------------------------------------------------------------------


def read_trace(*files: Path) -> dict[str, Any]:
    out = StringIO()
    call_command("read_trace", *map(str, files), carrier="sf", json=True, stdout=out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def test_the_command_tells_every_recorded_message() -> None:
    for path in sorted(PAYLOADS.glob("sf_*.json")):
        assert read_trace(path)["files"][path.name]["messages"], path.name


def test_the_command_tells_scans_and_errors(tmp_path: Path) -> None:
    answer = tmp_path / "routes.json"
    answer.write_text(json.dumps(response("search_routes")), "utf-8")
    refusal = tmp_path / "refusal.json"
    refusal.write_text(json.dumps(response("gateway_errors", "A1005")), "utf-8")
    files = read_trace(answer, refusal)["files"]
    first, second = files["routes.json"]["parcels"]
    assert (first["number"], first["status"]) == (NUMBER, "delivered")
    assert first["events"][0]["occurred_at"] == "2026-03-02T11:05:10+08:00"
    assert (second["status"], second["events"]) == ("no_trace", [])
    error = files["refusal.json"]["error"]
    assert (error["klass"], error["code"], error["retry"]) == ("rate_limited", "A1005", True)


@pytest.mark.parametrize("body", [b"{", b"\x00", b"{}", b'{"apiResultCode":NaN}'])
def test_the_command_says_what_it_cannot_read_and_fails(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(body)
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("read_trace", str(path), carrier="sf", json=True, stdout=out)
    found = json.loads(out.getvalue())
    assert found["error"]["code"] == "unreadable"
    assert found["files"]["x.json"]["error"] == found["error"]


def test_the_command_names_the_carriers_it_knows() -> None:
    with pytest.raises(CommandError, match="sf"):
        call_command("read_trace", "x.json", carrier="pigeon", stdout=StringIO())
    assert set(CARRIERS) == {"sf"}
