"""SF Express 顺丰, the standard gateway (``carriers.md`` 2).

An answer has two layers: ``A1000`` says the gateway worked, the JSON text inside
``apiResultData`` whether the business did. Pushes carry no signature.
"""

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, quote_plus
from xml.parsers import expat

import httpx

from fulfillment.carriers.wire import dump_json, endpoint, load_json, local_time, post_form, refuse
from fulfillment.contracts import (
    BadPush,
    CarrierAccess,
    CarrierDocument,
    CarrierError,
    CarrierErrorClass,
    CarrierFault,
    CarrierPush,
    CarrierRejected,
    CarrierReply,
    CarrierTryLater,
    CarrierUnknown,
    Contact,
    Goods,
    Issued,
    TraceEventDraft,
    TraceStatus,
    UnreadablePush,
    WaybillRequest,
)

PATH: Final = "/std/service"
MAX_TRACE_NUMBERS: Final = 10
_MIN_TOKEN: Final = 16
_MAX_REMARK: Final = 100
_MAX_GOODS_NAME: Final = 60
_MAX_CODE: Final = 16
_MAX_TEXT: Final = 500
_MAX_PLACE: Final = 100
_CREATE: Final = "EXP_RECE_CREATE_ORDER"
_UPDATE: Final = "EXP_RECE_UPDATE_ORDER"
_SEARCH: Final = "EXP_RECE_SEARCH_ORDER_RESP"
_ROUTES: Final = "EXP_RECE_SEARCH_ROUTES"
_INTERCEPT: Final = "EXP_RECE_WANTED_INTERCEPT"

_GATEWAY_OK: Final = "A1000"
_DUPLICATE: Final = "8016"
_SYSTEM_ERROR: Final = "4001"
_GATEWAY: Final[Mapping[str, CarrierErrorClass]] = {
    "A1001": CarrierErrorClass.BUSINESS,
    "A1002": CarrierErrorClass.PLATFORM,  # our clock; a new call carries a new time
    "A1003": CarrierErrorClass.AUTH,
    "A1004": CarrierErrorClass.AUTH,
    "A1005": CarrierErrorClass.RATE_LIMITED,
    "A1006": CarrierErrorClass.AUTH,
    "A1007": CarrierErrorClass.PLATFORM,  # requestID used twice; a new call carries a new one
    "A1008": CarrierErrorClass.AUTH,
    "A1009": CarrierErrorClass.PLATFORM,
    "A1099": CarrierErrorClass.PLATFORM,
}
_MAY_HAVE_ACTED: Final = frozenset({"A1009", "A1099", _SYSTEM_ERROR})
"""Refusals that do not say on which side of the order they happened."""

_S: Final = TraceStatus
_STATUS: Final[Mapping[str, TraceStatus | None]] = {
    **dict.fromkeys(("50", "54", "43", "607", "700", "950"), _S.PICKED_UP),
    **dict.fromkeys(
        ("30", "31", "36", "302", "304", "3036", "10", "11", "105", "106", "626", "627"),
        _S.IN_TRANSIT,
    ),
    **dict.fromkeys(("15", "16", "17", "18", "604", "606"), _S.CUSTOMS),
    **dict.fromkeys(map(str, range(612, 624)), _S.CUSTOMS),
    **dict.fromkeys(("44", "204", "34", "630", "126"), _S.OUT_FOR_DELIVERY),
    **dict.fromkeys(("70", "33", "72", "77", "66", "611", "833", "870", "934"), _S.EXCEPTION),
    **dict.fromkeys(("123", "130", "125", "642", "658", "678"), _S.READY_FOR_COLLECTION),
    **dict.fromkeys(("128", "679", "80", "935", "97"), _S.DELIVERED),
    "99": _S.FORWARDED,
    "631": _S.RETURNING,
    **dict.fromkeys(("660", "215"), _S.RETURNED),
    **dict.fromkeys(("51", "8000", "648"), None),
}
"""opCode to status (``carriers.md`` 2.4); None says nothing about where the parcel is."""

_REASON_STATUS: Final[Mapping[tuple[str, str], TraceStatus]] = {
    ("8000", "6"): _S.LOST,
    ("8000", "2"): _S.LOST,  # destroyed: nothing will arrive either
    ("70", "46"): _S.CANCELLED,
    ("70", "83"): _S.READY_FOR_COLLECTION,
    ("70", "85"): _S.READY_FOR_COLLECTION,
    ("33", "83"): _S.READY_FOR_COLLECTION,
    ("33", "85"): _S.READY_FOR_COLLECTION,
    ("99", "2"): _S.RETURNING,
}
_FIRST_STATUS: Final[Mapping[str, TraceStatus]] = {
    "1": _S.PICKED_UP,
    "2": _S.IN_TRANSIT,
    "3": _S.OUT_FOR_DELIVERY,
    "4": _S.DELIVERED,
    "11": _S.READY_FOR_COLLECTION,
    "13": _S.EXCEPTION,
}
"""Newer accounts' own classes, only for an opCode no table names."""
_HELD_BY_CUSTOMS: Final = "18"
_NEW_NUMBER: Final = frozenset({"648", "631"})
_SF_NUMBER: Final = re.compile(r"SF[0-9]{12,15}")
_OURS: Final = re.compile(r"(?:SF)?[0-9]{12,15}")
_FILTER_REASONS: Final[Mapping[str, str]] = {
    "1": "收方超出派送范围",
    "2": "派方超出派送范围",
    "3": "其他原因，需与顺丰核实",
}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


def utc_now() -> datetime:
    return datetime.now(UTC)


def java_url_encode(text: str) -> str:
    """Encode as ``java.net.URLEncoder`` does, which is what the gateway recomputes."""
    return quote_plus(text, safe="*").replace("~", "%7E")


def digest(message: str, timestamp: str, checkword: str) -> str:
    """``msgDigest``: Base64 of the MD5 bytes of the encoded text (``carriers.md`` 2.1)."""
    encoded = java_url_encode(message + timestamp + checkword)
    return base64.b64encode(hashlib.md5(encoded.encode(), usedforsecurity=False).digest()).decode()


class SfCarrier:
    """One monthly account's line to SF."""

    code: ClassVar[str] = "sf"

    def __init__(
        self,
        access: CarrierAccess,
        client: httpx.Client | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.access = access
        self._client = client
        self.now = now

    @property
    def client(self) -> httpx.Client:
        """The injected client. Reading needs none; whoever calls out without one has a bug."""
        if self._client is None:
            raise RuntimeError("this carrier was made without an HTTP client")
        return self._client

    # --- calls ------------------------------------------------------------------------------

    def create(self, request: WaybillRequest) -> Issued:
        """Get the parcel's number; 8016 (ordered before) adopts the number of the first call.

        Raises CarrierUnknown when the order may stand without a number we know of.
        """
        try:
            answer = self._call(_CREATE, self._order(request), writes=True)
        except CarrierRejected as error:
            if error.fault.code != _DUPLICATE:
                raise
            issued = self.find(request.client_reference)
            if issued is None:
                raise CarrierUnknown(error.fault) from error
            return issued
        return _issued(answer, request.client_reference)

    def find(self, client_reference: str) -> Issued | None:
        """The number SF holds for this reference; None when SF knows no such order.

        SF publishes no code for "no such order", so every business refusal of a search is read
        as one: creating again under the same reference cannot make a second number.
        """
        message = {"orderId": client_reference, "searchType": "1", "language": "zh-CN"}
        try:
            answer = self._call(_SEARCH, message)
        except CarrierRejected as error:
            if error.fault.klass is CarrierErrorClass.BUSINESS:
                return None
            raise
        return _issued(answer, client_reference) if answer else None

    def cancel(self, client_reference: str, number: str) -> None:
        """Give the number back (``dealType`` 2).

        Raises CarrierRejected with code 8019 when the order is confirmed *or* canceled already:
        SF does not say which.
        """
        message = {
            "orderId": client_reference,
            "dealType": 2,
            "language": "zh-CN",
            "waybillNoInfoList": [{"waybillType": 1, "waybillNo": number}],
        }
        answer = self._call(_UPDATE, message, writes=True)
        if str(answer.get("resStatus")) != "2":
            fault = CarrierFault(CarrierErrorClass.BUSINESS, "resStatus_1", "订单号与运单号不匹配")
            raise CarrierRejected(fault)

    def intercept(self, number: str) -> None:
        """Ask for the parcel's return to the sender, paid by the monthly account.

        The codes of this service are not public: an unknown one is final and keeps its text.
        """
        message = {
            "waybillNo": number,
            "serviceCode": "2",
            "role": "1",
            "payMode": "4",
            "monthlyCardNo": self.access.options.get("monthly_card", ""),
        }
        self._call(_INTERCEPT, message, writes=True)

    def traces(self, numbers: Sequence[str]) -> tuple[TraceEventDraft, ...]:
        """Every scan of these numbers, oldest first; asked in tens.

        The option ``phone_tail`` holds the last four digits of the sender's phone. A wrong one
        gives no scans instead of an error.
        """
        events: list[TraceEventDraft] = []
        for start in range(0, len(numbers), MAX_TRACE_NUMBERS):
            message = {
                "language": "0",
                "trackingType": "1",
                "trackingNumber": list(numbers[start : start + MAX_TRACE_NUMBERS]),
                "methodType": "1",
                "checkPhoneNo": self.access.options.get("phone_tail", ""),
            }
            try:
                events.extend(_routes(self._call(_ROUTES, message)))
            except UnreadablePush as error:
                fault = CarrierFault(CarrierErrorClass.PLATFORM, "bad_body", str(error))
                raise CarrierTryLater(fault) from error
        return in_order(events)

    def _order(self, request: WaybillRequest) -> Mapping[str, object]:
        options = self.access.options
        return {
            "language": "zh-CN",
            "orderId": request.client_reference,
            "cargoDetails": [_cargo(goods) for goods in request.goods],
            "contactInfoList": [_contact(1, request.sender), _contact(2, request.receiver)],
            "monthlyCard": options.get("monthly_card", ""),
            "payMethod": 1,
            "expressTypeId": int(options.get("express_type", "1")),
            "parcelQty": 1,
            "totalWeight": _kilograms(request.weight_grams),
            "isGenWaybillNo": 1,
            "isReturnRoutelabel": 1,
            "isDocall": 0,
            "remark": _plain(request.remark)[:_MAX_REMARK],
        }

    def _call(
        self, service: str, message: Mapping[str, object], *, writes: bool = False
    ) -> Mapping[str, Any]:
        """Ask one service; return the inner ``msgData``, or raise what the answer means."""
        text = dump_json(message)
        timestamp = str(int(self.now().timestamp() * 1000))
        form = {
            "partnerID": self.access.partner_id,
            "requestID": str(uuid.uuid4()),
            "serviceCode": service,
            "timestamp": timestamp,
            "msgDigest": digest(text, timestamp, self.access.secret),
            "msgData": text,
        }
        answer = post_form(self.client, endpoint(self.access.base_url, PATH), form, writes=writes)
        try:
            inner = _inner(answer)
        except UnreadablePush as error:
            fault = CarrierFault(CarrierErrorClass.PLATFORM, "bad_body", str(error))
            raise (CarrierUnknown if writes else CarrierTryLater)(fault) from error
        if isinstance(inner, CarrierFault):
            raise _refusal(inner, writes=writes)
        return inner

    # --- pushes -----------------------------------------------------------------------------

    def verify_push(self, push: CarrierPush) -> None:
        """SF signs nothing: the path must hold our token, and the peer be on ``push_ips``.

        An account without a token of 16 characters takes no pushes. Raises BadPush.
        """
        expected = self.access.push_token
        if len(expected) < _MIN_TOKEN:
            raise BadPush("no push token is set")
        if not hmac.compare_digest(push.token.encode(), expected.encode()):
            raise BadPush("wrong token")
        allowed = self.access.options.get("push_ips", "").replace(",", " ").split()
        if allowed and push.peer not in allowed:
            raise BadPush("not from an address of SF")

    def read_push(self, push: CarrierPush) -> tuple[TraceEventDraft, ...]:
        """The scans of a JSON or XML push, oldest first. Raises UnreadablePush."""
        return read_push(push.body)

    def acknowledge_push(self, push: CarrierPush, *, stored: bool = True) -> CarrierReply:
        """The answer in the push's own format; not ``stored`` asks SF to send all of it again."""
        if b"<Request" in push.body or push.body.startswith(b"content="):
            words = (
                '<Response service="RoutePushService"><Head>OK</Head></Response>'
                if stored
                else '<Response service="RoutePushService"><Head>ERR</Head>'
                '<ERROR code="4001">系统发生数据错误或运行时异常</ERROR></Response>'
            )
            return CarrierReply(HTTPStatus.OK, words.encode(), "text/xml; charset=utf-8")
        reply = {"return_code": "0000", "return_msg": "成功"}
        if not stored:
            reply = {"return_code": "1000", "return_msg": "系统异常"}
        return CarrierReply(HTTPStatus.OK, dump_json(reply).encode())

    def read_document(self, body: bytes) -> CarrierDocument:
        """Tell what any SF answer or push says. Raises UnreadablePush."""
        return read_document(body)


# --- reading -----------------------------------------------------------------------------------


def read_document(body: bytes) -> CarrierDocument:
    """Tell what any SF answer or push says. Raises UnreadablePush."""
    if body.lstrip()[:1] in {b"<", b"c", b"%"}:
        return _push_document(read_push(body))
    document = load_json(body)
    if not isinstance(document, Mapping):
        refuse("报文不是 JSON 对象")
    if "Body" in document:
        return _push_document(read_push(body))
    if "accessToken" in document:
        return CarrierDocument("token", facts={"expires_in": document.get("expiresIn")})
    if "apiResultCode" not in document:
        refuse("认不出这是顺丰的哪一种报文")
    inner = _inner(document)
    if isinstance(inner, CarrierFault):
        return CarrierDocument("error", fault=inner)
    return _answer_document(inner)


def _answer_document(answer: Mapping[str, Any]) -> CarrierDocument:
    if "routeResps" in answer:
        numbers = tuple(str(one.get("mailNo", "")) for one in _rows(answer.get("routeResps")))
        return CarrierDocument("traces", events=in_order(_routes(answer)), numbers=numbers)
    if "resStatus" in answer:
        facts = {"ok": str(answer["resStatus"]) == "2"}
        return CarrierDocument("ack", facts=facts)
    if "filterResult" in answer or "waybillNoInfoList" in answer:
        try:
            issued = _issued(answer, str(answer.get("orderId") or ""))
        except CarrierError as error:
            return CarrierDocument("error", fault=error.fault)
        return CarrierDocument("waybill", numbers=(issued.number,), issued=issued)
    return CarrierDocument("ack", facts={"ok": True})


def _push_document(events: tuple[TraceEventDraft, ...]) -> CarrierDocument:
    numbers = tuple(dict.fromkeys(event.number for event in events))
    return CarrierDocument("trace_push", events=events, numbers=numbers)


def _inner(answer: Mapping[str, Any]) -> Mapping[str, Any] | CarrierFault:
    """The business answer below the gateway's, or the fault of either. Raises UnreadablePush."""
    code = str(answer.get("apiResultCode") or "")
    if code != _GATEWAY_OK:
        klass = _GATEWAY.get(code, CarrierErrorClass.BUSINESS)
        return CarrierFault(klass, code or "?", str(answer.get("apiErrorMsg") or ""))
    data = answer.get("apiResultData")
    inner = load_json(data) if isinstance(data, str) else data
    if not isinstance(inner, Mapping):
        refuse("apiResultData 不是 JSON 对象")
    if inner.get("success") not in (True, "true"):
        code = str(inner.get("errorCode") or "?")
        klass = CarrierErrorClass.PLATFORM if code == _SYSTEM_ERROR else CarrierErrorClass.BUSINESS
        return CarrierFault(klass, code, str(inner.get("errorMsg") or ""))
    result = inner.get("msgData", inner.get("obj"))
    return result if isinstance(result, Mapping) else {}


def _refusal(fault: CarrierFault, *, writes: bool) -> CarrierError:
    if fault.klass in {CarrierErrorClass.AUTH, CarrierErrorClass.BUSINESS}:
        return CarrierRejected(fault)
    if writes and fault.code in _MAY_HAVE_ACTED:
        return CarrierUnknown(fault)
    return CarrierTryLater(fault)


def _issued(answer: Mapping[str, Any], reference: str) -> Issued:
    """The mother number of an order answer; create and search spell their keys differently.

    Raises CarrierRejected (out of range, or a number that cannot be SF's) and CarrierUnknown
    (the order stands, the number is still to come).
    """
    verdict = str(answer.get("filterResult") or "")
    remark = str(answer.get("remark") or "")
    if verdict == "3":
        words = _FILTER_REASONS.get(remark, remark) or "收派范围不支持"
        raise CarrierRejected(CarrierFault(CarrierErrorClass.BUSINESS, "filterResult_3", words))
    number = next(
        (
            str(row.get("waybillNo") or "").strip()
            for row in _rows(answer.get("waybillNoInfoList"))
            if str(row.get("waybillType")) == "1"
        ),
        "",
    )
    if not number:
        fault = CarrierFault(CarrierErrorClass.PLATFORM, "no_number", "订单已受理，运单号尚未返回")
        raise CarrierUnknown(fault)
    if not _OURS.fullmatch(number):
        fault = CarrierFault(CarrierErrorClass.BUSINESS, "bad_number", "返回的运单号不是顺丰单号")
        raise CarrierRejected(fault)
    return Issued(number, reference, _label_facts(answer), needs_check=verdict == "1")


def _label_facts(answer: Mapping[str, Any]) -> dict[str, str]:
    facts = {
        name: str(answer[key])
        for name in ("originCode", "destCode")
        for key in (name, name.lower())
        if answer.get(key)
    }
    for label in _rows(answer.get("routeLabelInfo")):
        data = label.get("routeLabelData")
        if str(label.get("code")) == "1000" and isinstance(data, Mapping):
            facts.update({str(key): str(value) for key, value in data.items() if value})
    return facts


def _rows(value: object) -> list[Mapping[str, Any]]:
    rows = value if isinstance(value, list) else []
    return [row for row in rows if isinstance(row, Mapping)]


def _routes(answer: Mapping[str, Any]) -> Iterable[TraceEventDraft]:
    for one in _rows(answer.get("routeResps")):
        for row in _rows(one.get("routes")):
            yield _event(str(one.get("mailNo") or ""), row)


def read_push(body: bytes) -> tuple[TraceEventDraft, ...]:
    """The scans of a route push: JSON, bare XML, or XML in the form field ``content``.

    Raises UnreadablePush.
    """
    start = body.lstrip()
    if start.startswith(b"<"):
        rows = _xml_rows(start)
    elif start[:1] in {b"{", b"\xef"}:
        rows = _json_rows(start)
    else:
        rows = _form_rows(body)
    if not rows:
        refuse("推送里没有轨迹")
    return in_order(_event(_number(row.get("mailno")), row) for row in rows)


def _number(value: Any) -> str:
    """A waybill number as text; whatever else stands in its place is none."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _json_rows(body: bytes) -> list[Mapping[str, Any]]:
    document = load_json(body)
    inner = document.get("Body") if isinstance(document, Mapping) else None
    rows = inner.get("WaybillRoute") if isinstance(inner, Mapping) else None
    return _rows([rows] if isinstance(rows, Mapping) else rows)


def _form_rows(body: bytes) -> list[Mapping[str, Any]]:
    try:
        fields = parse_qs(body.decode(), strict_parsing=True, max_num_fields=20)
    except ValueError:
        refuse("认不出推送的格式")
    text = fields.get("content", [""])[0].lstrip()
    if text.startswith("{"):
        return _json_rows(text.encode())
    return _xml_rows(text.encode()) if text.startswith("<") else refuse("推送里没有 content 字段")


def _xml_rows(body: bytes) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if name == "WaybillRoute":
            rows.append(attributes)

    def forbid(*_: object) -> None:
        refuse("推送的 XML 含有 DOCTYPE，已拒绝")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = forbid  # no entities, so none external and none that swells
    try:
        parser.Parse(body, True)
    except expat.ExpatError:
        refuse("推送的 XML 不完整")
    return rows


def _event(number: str, row: Mapping[str, Any]) -> TraceEventDraft:
    if not number.strip():
        refuse("轨迹没有运单号")
    code = str(row.get("opCode") or "").strip()
    reason = str(row.get("reasonCode") or "").strip()
    text = str(row.get("remark") or "")
    occurred_at = local_time(row.get("acceptTime"))
    status, known = _status(code, reason, row)
    return TraceEventDraft(
        number=number.strip(),
        code=(f"{code}+{reason}" if reason else code)[:_MAX_CODE],
        status=status,
        text=text[:_MAX_TEXT],
        occurred_at=occurred_at,
        place=str(row.get("acceptAddress") or "")[:_MAX_PLACE],
        event_id=_event_id(number.strip(), occurred_at, code, reason, text),
        known=known,
        alert=code == _HELD_BY_CUSTOMS or not known,
        linked_number=_linked(number.strip(), text) if code in _NEW_NUMBER else "",
    )


def _status(code: str, reason: str, row: Mapping[str, Any]) -> tuple[TraceStatus | None, bool]:
    if (code, reason) in _REASON_STATUS:
        return _REASON_STATUS[code, reason], True
    if code in _STATUS:
        return _STATUS[code], True
    first = _FIRST_STATUS.get(str(row.get("firstStatusCode") or ""))
    return first, first is not None


def _event_id(number: str, occurred_at: datetime, code: str, reason: str, text: str) -> str:
    """The same for every sending of one scan; SF's own ``id`` changes with each."""
    parts = (SfCarrier.code, number, occurred_at.isoformat(), code, reason, text)
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def _linked(number: str, text: str) -> str:
    return next((found for found in _SF_NUMBER.findall(text) if found != number), "")


def in_order(events: Iterable[TraceEventDraft]) -> tuple[TraceEventDraft, ...]:
    """Oldest first; at an equal second what says nothing comes last. Repeats are dropped."""
    once = {event.event_id: event for event in events}
    return tuple(sorted(once.values(), key=lambda one: (one.occurred_at, one.status is None)))


# --- writing -----------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """Cut control characters and direction marks: a remark ends up on a label printer."""
    return _CONTROL.sub(" ", text).strip()


def _kilograms(grams: int) -> float:
    return grams / 1000  # the shortest decimal of this float is the exact number of kilograms


def _cargo(goods: Goods) -> Mapping[str, object]:
    cargo: dict[str, object] = {
        "name": _plain(goods.name)[:_MAX_GOODS_NAME],
        "count": goods.quantity,
        "unit": goods.unit,
    }
    if goods.weight_grams is not None:
        cargo["weight"] = _kilograms(goods.weight_grams)
    if goods.amount is not None:
        # SF takes a number; the shortest decimal of a float with two places is exact.
        cargo |= {"amount": float(goods.amount), "currency": "CNY"}
    return cargo


def _contact(kind: int, contact: Contact) -> Mapping[str, object]:
    found: dict[str, object] = {
        "contactType": kind,
        "contact": _plain(contact.name),
        "mobile": contact.phone,
        "country": "CN",
        "province": contact.province,
        "city": contact.city,
        "county": contact.district,
        "address": _plain(contact.address),
    }
    if contact.company:
        found["company"] = _plain(contact.company)
    return found
