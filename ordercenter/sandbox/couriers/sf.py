"""SF Express as its standard gateway answers and pushes (carriers.md 2.1 to 2.5).

A parcel is picked up when the platform hears that it was shipped, when the order is confirmed
(``dealType`` 1), or on ``/control/trace``; from then on it travels by itself and is signed for
after ``SANDBOX_TRACE_SECONDS`` (60). Every scan is pushed to ``{center}/hooks/carrier/sf/``,
with the account's ``push_token`` as a further part of the path where it has one.

A receiver's address with 超区 in it is out of range (``filterResult`` 3), one with 人工筛单
waits for a person at SF (1).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus

from starlette.routing import Route

from ordercenter.sandbox.book import SHIPPED, Book, Order
from ordercenter.sandbox.outgoing import LOOK, Outgoing, Push
from ordercenter.sandbox.seller import load_seller
from ordercenter.sandbox.wire import answer, beijing, digest, form, whole

if TYPE_CHECKING:
    import httpx
    from starlette.requests import Request
    from starlette.responses import Response

CLOCK_TOLERANCE: Final = 600  # seconds; ours, no page states SF's
REQUESTS_REMEMBERED: Final = 10_000
MOST_NUMBERS: Final = 10  # 2.3
MOST_ROUTES: Final = 10  # of one push
AGAIN: Final = 0.25  # of the pushes also carry an earlier scan, under another id
TRACE_SECONDS: Final = 60.0
EPOCH: Final = 1_767_225_600  # 2026-01-01: numbers go up with the clock, so none comes twice

GATEWAY: Final = {
    "A1001": "必传参数不可为空",
    "A1002": "请求时效已过期",
    "A1004": "无对应服务权限",
    "A1006": "数字签名无效",
    "A1007": "重复请求",
}
DUPLICATE, SETTLED, NO_ORDER = "8016", "8019", "8018"
BAD_ORDER, NO_INTERCEPT = "20036", "8252"
"""The codes of a bad order and of a refused interception are not public: these two are ours."""

ORDERED, CANCELED, MOVING, TURNED, SIGNED, RETURNED = (
    "ordered", "canceled", "moving", "turned", "signed", "returned",
)  # fmt: skip
RETURN, VOID = "2", "12"


@dataclass(frozen=True, slots=True)
class Scan:
    """One step of a parcel: when (as a share of the whole way), the codes, and the words."""

    after: float
    op_code: str
    remark: str
    at_receiver: bool
    first: tuple[str, str] = ("", "")
    second: tuple[str, str] = ("", "")
    reason: tuple[str, str] = ("", "")


ON_ITS_WAY: Final = (("2", "运送中"), ("201", "运送中"))
STEPS: Final = {
    "picked_up": Scan(0.0, "50", "顺丰速运 已收取快件", False, ("1", "已揽收"), ("101", "已揽收")),
    "departed": Scan(
        0.2, "30", "快件在【{from}营业点】完成分拣,准备发往 【{to}集散中心】", False, *ON_ITS_WAY
    ),
    "in_transit": Scan(0.5, "31", "快件到达 【{to}集散中心】", True, *ON_ITS_WAY),
    "out_for_delivery": Scan(
        0.8,
        "44",
        "快件交给沙箱快递员，正在派送途中（联系电话：19900000088）",
        True,
        ("3", "派送中"),
        ("301", "派送中"),
    ),
    "delivered": Scan(
        1.0, "80", "您的快件已签收，感谢使用顺丰", True, ("4", "已签收"), ("401", "已签收")
    ),
    "signature": Scan(
        1.0,
        "8000",
        '在官网"运单资料&签收图",可查看签收人信息',
        True,
        ("4", "已签收"),
        ("401", "已签收"),
    ),
    "exception": Scan(0.8, "70", "快件派送不成功，收件人不在家，待再次派送", True),
    "returning": Scan(
        0.2, "99", "应客户要求，快件正在转寄回寄件人", True, reason=("2", "寄方要求退回")
    ),
    "returned": Scan(0.6, "660", "退回件已交寄件人签收", False),
}
WAY: Final = ("picked_up", "departed", "in_transit", "out_for_delivery", "delivered", "signature")
WAY_BACK: Final = ("returning", "returned")
CITY_CODES: Final = {
    "北京市": "010", "上海市": "021", "天津市": "022", "重庆市": "023", "广州市": "020",
    "深圳市": "755", "佛山市": "757", "东莞市": "769", "珠海市": "756", "惠州市": "752",
    "南京市": "025", "苏州市": "512", "无锡市": "510", "南通市": "513", "徐州市": "516",
    "杭州市": "571", "宁波市": "574", "温州市": "577", "金华市": "579", "嘉兴市": "573",
    "成都市": "028", "武汉市": "027", "西安市": "029", "沈阳市": "024", "大连市": "411",
    "济南市": "531", "青岛市": "532", "郑州市": "371", "长沙市": "731", "福州市": "591",
    "厦门市": "592", "合肥市": "551", "石家庄市": "311", "廊坊市": "316", "昆明市": "871",
    "南宁市": "771", "南昌市": "791", "太原市": "351", "哈尔滨市": "451", "长春市": "431",
}  # fmt: skip
Waybill = dict[str, Any]
Message = Mapping[str, Any]


@dataclass(slots=True)
class GatewayError(Exception):
    """The first layer said no (``apiResultCode``)."""

    code: str


@dataclass(slots=True)
class BusinessError(Exception):
    """The second layer said no (``errorCode`` inside ``apiResultData``)."""

    code: str
    message: str


def java_url_encode(text: str) -> str:
    """As ``java.net.URLEncoder``: ``*`` stays, ``~`` does not, a blank is ``+`` (2.1)."""
    return quote_plus(text, safe="*").replace("~", "%7E")


def msg_digest(msg_data: str, timestamp: str, checkword: str) -> str:
    """Base64 of the MD5 bytes of the encoded text (2.1)."""
    encoded = java_url_encode(msg_data + timestamp + checkword)
    return base64.b64encode(hashlib.md5(encoded.encode()).digest()).decode()


def check_digit(twelve: str) -> str:
    """The last digit of an SF number: ``twelve`` are the digits before it (9)."""
    total = 0
    for turn, digit in enumerate(reversed(twelve[3:])):
        product = int(digit) * (2 * turn + 1)
        total += product // 10 + product % 10
    return str((10 - total % 10) % 10)


def trace_seconds() -> float:
    """From pick-up to signed for; ``SANDBOX_TRACE_SECONDS``."""
    return float(os.environ.get("SANDBOX_TRACE_SECONDS") or TRACE_SECONDS)


class Depot:
    """The parcels of one account. They live in the book's ``waybill`` records, one for each."""

    def __init__(
        self, book: Book, account: Mapping[str, str], *, seconds: float | None = None
    ) -> None:
        self.book = book
        self.account = account
        self.seconds = trace_seconds() if seconds is None else seconds
        self.on_scan: list[Callable[[Waybill, Sequence[Mapping[str, str]]], None]] = []
        self._place: dict[str, int] = {}
        self._by_number: dict[str, str] = {}
        self._carries: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        self._moving: set[str] = set()
        self._last = 0
        for index, row in enumerate(book.records["waybill"]):
            self._index(index, row)
        for facts in book.records["shipment"]:
            self._carries[facts["tracking_number"]].add((facts["shop"], facts["number"]))
        book.on_change(self._changed)

    # The parcels

    def find(self, order_id: str) -> Waybill | None:
        place = self._place.get(order_id)
        return None if place is None else self.book.records["waybill"][place]

    def of_number(self, number: str) -> Waybill | None:
        order_id = self._by_number.get(number)
        return None if order_id is None else self.find(order_id)

    def open(self, facts: Message) -> Waybill:
        """Enter an order and give it its numbers, a mother and her children."""
        numbers = [self._next_number() for _ in range(facts["parcels"])]
        if facts["filter_result"] == 3:
            numbers = []
        row = self.book.record(
            "waybill",
            {
                "carrier": "SF",
                "state": ORDERED,
                "waybill": numbers[0] if numbers else "",
                "numbers": numbers,
                "routes": [],
                "plan": [],
                "turn": False,
                **facts,
            },
        )
        self._index(len(self.book.records["waybill"]) - 1, row)
        return row

    def keep(self, row: Waybill) -> None:
        place = self._place[row["order_id"]]
        self.book.rerecord("waybill", place, row)
        self.book.records["waybill"][place] = row  # not a copy: whoever holds it goes on with it
        self._mark(row)

    def pick_up(self, row: Waybill) -> None:
        """Let the parcel go on its way; a parcel that is no longer at the sender stays there."""
        if row["state"] != ORDERED:
            return
        start = self.book.clock()
        row["state"] = MOVING
        row["plan"] = [[start + STEPS[step].after * self.seconds, step] for step in WAY]
        self.keep(row)
        if row["turn"]:
            self.turn_back(row)
        self.tick()

    def turn_back(self, row: Waybill) -> None:
        """Send it home: what it has not been through does not happen any more."""
        row["turn"] = True
        if row["state"] == MOVING:
            now = self.book.clock()
            past = [entry for entry in row["plan"] if entry[0] <= now]
            back = [[now + STEPS[step].after * self.seconds, step] for step in WAY_BACK]
            row["plan"] = past + back
            row["state"] = TURNED
        self.keep(row)

    def step(self, row: Waybill, name: str) -> None:
        """Let one step happen now, and with it all that stand before it in the plan."""
        if row["state"] == ORDERED:
            self.pick_up(row)
        if name in WAY_BACK and not row["turn"]:
            self.turn_back(row)
        now = self.book.clock()
        planned = [step for _, step in row["plan"]]
        if name in planned:
            upto = planned.index(name)
            if name == "delivered" and "signature" in planned:
                upto = planned.index("signature")
            row["plan"] = [
                [min(at, now) if index <= upto else at, step]
                for index, (at, step) in enumerate(row["plan"])
            ]
            self.keep(row)
        elif row["state"] in {MOVING, TURNED} and name not in WAY[:1]:
            self._scan(row, [(now, name)])
        self.tick()

    def tick(self) -> None:
        """Let everything happen that is due by now."""
        now = self.book.clock()
        for order_id in list(self._moving):
            row = self.find(order_id)
            if row is None:
                continue
            due = [(at, step) for at, step in row["plan"] if at <= now]
            if due:
                row["plan"] = [[at, step] for at, step in row["plan"] if at > now]
                self._scan(row, due)

    def _scan(self, row: Waybill, due: Sequence[tuple[float, str]]) -> None:
        scans = [scan_row(row, step, at) for at, step in due]
        row["routes"] = [*row["routes"], *scans]
        steps = {step for _, step in due}
        if "delivered" in steps:
            row["state"] = SIGNED
        elif "returned" in steps:
            row["state"] = RETURNED
        elif "returning" in steps:
            row["state"] = TURNED
        self.keep(row)
        for listener in self.on_scan:
            listener(row, scans)
        if "delivered" in steps:
            self._finish(row)

    def _finish(self, row: Waybill) -> None:
        """Signed for: the platforms' orders in it come to their end."""
        for number in row["numbers"]:
            for shop, order_number in sorted(self._carries[number]):
                order = self.book.get(shop, order_number)
                if order is not None and order.state == SHIPPED and self._all_signed(order):
                    self.book.finish(order)

    def _all_signed(self, order: Order) -> bool:
        for shipment in order.shipments:
            row = self.of_number(shipment.tracking_number)
            if row is not None and row["state"] != SIGNED:
                return False
        return True

    def _changed(self, order: Order, event: str) -> None:
        """A platform heard of a parcel: the courier has it."""
        if event != "shipped":
            return
        number = order.shipments[-1].tracking_number
        self._carries[number].add((order.shop, order.number))
        row = self.of_number(number)
        if row is not None:
            self.pick_up(row)

    def _index(self, index: int, row: Waybill) -> None:
        self._place[row["order_id"]] = index
        for number in row["numbers"]:
            self._by_number[number] = row["order_id"]
            self._last = max(self._last, int(number.removeprefix("SF755")[:-1]))
        self._mark(row)

    def _mark(self, row: Waybill) -> None:
        if row["plan"]:
            self._moving.add(row["order_id"])
        else:
            self._moving.discard(row["order_id"])

    def _next_number(self) -> str:
        self._last = max(self._last + 1, int(self.book.clock()) - EPOCH)
        digits = f"755{self._last % 10**9:09d}"
        return f"SF{digits}{check_digit(digits)}"


def scan_row(row: Waybill, step: str, at: float) -> dict[str, str]:
    """One scan, with all that a push or a query may tell of it."""
    scan = STEPS[step]
    words = scan.remark.replace("{from}", row["from_city"]).replace("{to}", row["to_city"])
    return {
        "step": step,
        "acceptTime": beijing(at),
        "acceptAddress": row["to_city"] if scan.at_receiver else row["from_city"],
        "remark": words,
        "opCode": scan.op_code,
        "firstStatusCode": scan.first[0],
        "firstStatusName": scan.first[1],
        "secondaryStatusCode": scan.second[0],
        "secondaryStatusName": scan.second[1],
        "reasonCode": scan.reason[0],
        "reasonName": scan.reason[1],
    }


_DEPOTS: Final[dict[Book, Depot]] = {}


def depot_of(book: Book, account: Mapping[str, str] | None = None) -> Depot:
    """The one depot of ``book``, shared by routes and pusher, made on first sight.

    ``account`` is a courier of ``seller.json``; the first one there when left out.
    """
    depot = _DEPOTS.get(book)
    if depot is None:
        depot = Depot(book, account if account is not None else load_seller().couriers[0])
        _DEPOTS[book] = depot
    return depot


def routes(book: Book, account: Mapping[str, str] | None = None) -> list[Route]:
    gateway = Gateway(depot_of(book, account))
    return [
        Route("/sf/std/service", gateway.handle, methods=["POST"]),
        Route("/control/trace", gateway.control_trace, methods=["POST"]),
    ]


class Gateway:
    def __init__(self, depot: Depot) -> None:
        self.depot = depot
        self.book = depot.book
        self._seen: set[str] = set()
        self._seen_in_turn: deque[str] = deque()
        self._services: dict[str, Callable[[Message], Any]] = {
            "EXP_RECE_CREATE_ORDER": self.create_order,
            "EXP_RECE_SEARCH_ORDER_RESP": self.search_order,
            "EXP_RECE_UPDATE_ORDER": self.update_order,
            "EXP_RECE_SEARCH_ROUTES": self.search_routes,
            "EXP_RECE_WANTED_INTERCEPT": self.intercept,
        }

    async def handle(self, request: Request) -> Response:
        params = await form(request)
        try:
            service = self._admit(params)
            result = self._run(service, params["msgData"])
        except GatewayError as error:
            return answer(gateway_answer(error.code, ""))
        return answer(gateway_answer("A1000", compact(result)))

    def _run(self, service: Callable[[Message], Any], text: str) -> dict[str, Any]:
        try:
            return inner(result=service(message_of(text)))
        except BusinessError as error:
            return inner(error=error)

    def _admit(self, params: Mapping[str, str]) -> Callable[[Message], Any]:
        """The service that is called for, once the caller is proven; GatewayError when not."""
        account = self.depot.account
        for name in ("partnerID", "requestID", "serviceCode", "timestamp", "msgDigest", "msgData"):
            if not params.get(name):
                raise GatewayError("A1001")
        if len(params["requestID"]) > 40 or len(params["serviceCode"]) > 50:
            raise GatewayError("A1001")
        service = self._services.get(params["serviceCode"])
        if params["partnerID"] != account["partner_id"] or service is None:
            raise GatewayError("A1004")
        expected = msg_digest(params["msgData"], params["timestamp"], account["checkword"])
        if not hmac.compare_digest(expected.encode(), params["msgDigest"].encode()):
            raise GatewayError("A1006")
        if not self._is_timely(params["timestamp"]):
            raise GatewayError("A1002")
        if params["requestID"] in self._seen:
            raise GatewayError("A1007")
        self._remember(params["requestID"])
        return service

    def _is_timely(self, text: str) -> bool:
        """Seconds and milliseconds are both taken (2.1)."""
        try:
            at = float(whole(text))
        except ValueError:
            return False
        at = at / 1000 if at > 10**11 else at
        return abs(self.book.clock() - at) <= CLOCK_TOLERANCE

    def _remember(self, request_id: str) -> None:
        self._seen.add(request_id)
        self._seen_in_turn.append(request_id)
        if len(self._seen_in_turn) > REQUESTS_REMEMBERED:
            self._seen.discard(self._seen_in_turn.popleft())

    # The services

    def create_order(self, message: Message) -> dict[str, Any]:
        """EXP_RECE_CREATE_ORDER: one ``orderId``, one number, whatever became of it (2.2)."""
        order_id = str(message.get("orderId") or "")
        if not order_id:
            raise BusinessError(BAD_ORDER, "客户订单号 orderId 不能为空")
        if self.depot.find(order_id) is not None:
            raise BusinessError(DUPLICATE, "重复下单")
        row = self.depot.open(self._order_facts(order_id, message))
        return order_answer(row)

    def search_order(self, message: Message) -> dict[str, Any]:
        """EXP_RECE_SEARCH_ORDER_RESP: keys in lower case here, the filter result as text (2.3)."""
        row = self._asked_for(message)
        if row is None:
            raise BusinessError(NO_ORDER, "未获取到订单信息")
        if row["state"] == CANCELED:
            raise BusinessError(SETTLED, "订单已取消")
        found = order_answer(row)
        return {
            "orderId": found["orderId"],
            "origincode": found["originCode"],
            "destcode": found["destCode"],
            "filterResult": str(found["filterResult"]),
            "remark": found["remark"],
            "waybillNoInfoList": found["waybillNoInfoList"],
            "returnExtraInfoList": None,
        }

    def update_order(self, message: Message) -> dict[str, Any]:
        """EXP_RECE_UPDATE_ORDER: confirm or cancel; once only (2.3)."""
        order_id, deal = str(message.get("orderId", "")), str(message.get("dealType", ""))
        row = self.depot.find(order_id)
        if row is None:
            raise BusinessError(NO_ORDER, "未获取到订单信息")
        if deal not in {"1", "2"}:
            raise BusinessError(BAD_ORDER, "dealType 不合法")
        named = [str(one.get("waybillNo")) for one in rows_of(message, "waybillNoInfoList")]
        told = {"orderId": order_id, "resStatus": 2, "extraInfoList": None}
        if any(number not in row["numbers"] for number in named):
            return told | {"resStatus": 1, "waybillNoInfoList": []}
        if row["state"] != ORDERED:
            raise BusinessError(SETTLED, "订单已确认或已取消")
        if deal == "1":
            self.depot.pick_up(row)
        else:
            row["state"] = CANCELED
            self.depot.keep(row)
        return told | {"waybillNoInfoList": numbered(row)}

    def search_routes(self, message: Message) -> dict[str, Any]:
        """EXP_RECE_SEARCH_ROUTES: at most ten; a wrong phone tail gives no scans (2.3, 1.4)."""
        asked = message.get("trackingNumber")
        asked = [asked] if isinstance(asked, str) else asked
        if not isinstance(asked, list) or not 1 <= len(asked) <= MOST_NUMBERS:
            raise BusinessError(BAD_ORDER, "trackingNumber 须为 1 到 10 个")
        kind = str(message.get("trackingType", ""))
        if kind not in {"1", "2"}:
            raise BusinessError(BAD_ORDER, "trackingType 不合法")
        self.depot.tick()
        tail = str(message.get("checkPhoneNo") or "")
        return {"routeResps": [self._routes(str(one), kind, tail) for one in asked]}

    def intercept(self, message: Message) -> None:
        """EXP_RECE_WANTED_INTERCEPT: back to the sender, while nobody has signed (2.5).

        Here the services 2 (return) and 12 (void) only.
        """
        row = self.depot.of_number(str(message.get("waybillNo", "")))
        if row is None:
            raise BusinessError(NO_INTERCEPT, "运单号不存在或不属于该月结账号")
        if str(message.get("serviceCode")) not in {RETURN, VOID} or message.get("cancel"):
            raise BusinessError(NO_INTERCEPT, "沙箱只受理退回（2）与作废（12）")
        card = message.get("monthlyCardNo")
        if str(message.get("payMode")) == "4" and card != self.depot.account["monthly_card"]:
            raise BusinessError(NO_INTERCEPT, "月结卡号与合作伙伴不匹配")
        self.depot.tick()
        if row["state"] not in {ORDERED, MOVING}:
            raise BusinessError(NO_INTERCEPT, "当前运单状态不支持拦截")
        self.depot.turn_back(row)
        self.book.record("intercept", {"waybill": row["waybill"], "order_id": row["order_id"]})

    def _asked_for(self, message: Message) -> Waybill | None:
        if message.get("orderId"):
            return self.depot.find(str(message["orderId"]))
        return self.depot.of_number(str(message.get("mainWaybillNo", "")))

    def _routes(self, asked: str, kind: str, tail: str) -> dict[str, Any]:
        row = self.depot.of_number(asked) if kind == "1" else self.depot.find(asked)
        known = row is not None and (not tail or tail in row["phone_tails"])
        scans = row["routes"] if row is not None and known else []
        number = row["waybill"] if row is not None and kind == "2" else asked
        hidden = {"step", "reasonCode", "reasonName"}
        told = [{k: v for k, v in scan.items() if k not in hidden} for scan in scans]
        return {"mailNo": number, "routes": told}

    def _order_facts(self, order_id: str, message: Message) -> dict[str, Any]:
        """What is kept of an order; BusinessError when something compulsory is missing."""
        sender, receiver = contact(message, 1), contact(message, 2)
        parcels = message.get("parcelQty", 1)
        if not isinstance(parcels, int) or not 1 <= parcels <= 300:
            raise BusinessError(BAD_ORDER, "parcelQty 不合法")
        if not rows_of(message, "cargoDetails"):
            raise BusinessError(BAD_ORDER, "托寄物 cargoDetails 不能为空")
        if not message.get("expressTypeId"):
            raise BusinessError(BAD_ORDER, "快件产品类别 expressTypeId 不能为空")
        card = message.get("monthlyCard")
        if message.get("payMethod") == 1 and card and card != self.depot.account["monthly_card"]:
            raise BusinessError(BAD_ORDER, "月结卡号与合作伙伴不匹配")
        address = str(receiver["address"])
        verdict = 3 if "超区" in address else 1 if "人工筛单" in address else 2
        return {
            "order_id": order_id,
            "parcels": parcels,
            "filter_result": verdict,
            "from_city": str(sender.get("city") or ""),
            "to_city": str(receiver.get("city") or ""),
            "receiver": dict(receiver),
            "phone_tails": [phone(sender)[-4:], phone(receiver)[-4:]],
            "weight": message.get("totalWeight"),
            "cargo": [dict(cargo) for cargo in rows_of(message, "cargoDetails")],
            "remark": str(message.get("remark") or ""),
        }

    # The drill's hand

    async def control_trace(self, request: Request) -> Response:
        """``{"waybill", "step"}``: let a step of ``STEPS`` happen now."""
        try:
            wish = json.loads(await request.body())
            number, step = str(wish["waybill"]), str(wish["step"])
        except (ValueError, KeyError, TypeError):
            return answer({"error": "须为 {waybill, step}"}, status=400)
        row = self.depot.of_number(number)
        if row is None:
            return answer({"error": f"没有运单 {number}"}, status=404)
        if step not in STEPS:
            return answer({"error": f"没有这一步，可用：{'、'.join(STEPS)}"}, status=409)
        if row["state"] in {CANCELED, SIGNED, RETURNED}:
            return answer({"error": f"运单已是 {row['state']}"}, status=409)
        self.depot.step(row, step)
        return answer({"waybill": number, "state": row["state"], "routes": row["routes"]})


def message_of(text: str) -> Message:
    try:
        message = json.loads(text)
    except ValueError as error:
        raise BusinessError(BAD_ORDER, "msgData 不是 JSON") from error
    if not isinstance(message, dict):
        raise BusinessError(BAD_ORDER, "msgData 须为 JSON 对象")
    return message


def rows_of(message: Message, name: str) -> list[Message]:
    """A list of objects; what is none counts as empty."""
    rows = message.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def phone(contact: Message) -> str:
    return str(contact.get("mobile") or contact.get("tel") or "")


def contact(message: Message, kind: int) -> Message:
    """Sender (1) or receiver (2), with all that a courier needs to find the door."""
    whose = {1: "寄件人", 2: "收件人"}[kind]
    every = rows_of(message, "contactInfoList")
    found = next((one for one in every if one.get("contactType") == kind), None)
    if found is None:
        raise BusinessError(BAD_ORDER, f"缺少{whose}信息")
    for name in ("province", "city", "address"):
        if not found.get(name):
            raise BusinessError(BAD_ORDER, f"{whose}地址不完整：{name}")
    if not phone(found) or not (found.get("contact") or found.get("company")):
        raise BusinessError(BAD_ORDER, f"{whose}姓名或电话为空")
    return dict(found)


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def gateway_answer(code: str, data: str) -> dict[str, Any]:
    return {
        "apiErrorMsg": GATEWAY.get(code, ""),
        "apiResponseID": "000" + digest("sf", code, data, length=29).upper(),
        "apiResultCode": code,
        "apiResultData": data,
    }


def inner(*, result: Any = None, error: BusinessError | None = None) -> dict[str, Any]:
    return {
        "success": error is None,
        "errorCode": "S0000" if error is None else error.code,
        "errorMsg": None if error is None else error.message,
        "msgData": result,
    }


def numbered(row: Waybill) -> list[dict[str, Any]]:
    """The mother number and her children."""
    return [
        {"waybillType": 1 if turn == 0 else 2, "waybillNo": number}
        for turn, number in enumerate(row["numbers"])
    ]


def order_answer(row: Waybill) -> dict[str, Any]:
    reachable = row["filter_result"] != 3
    origin = CITY_CODES.get(row["from_city"], "000")
    destination = CITY_CODES.get(row["to_city"], "000") if reachable else ""
    labels = [label(row, origin, destination)] if reachable else []
    return {
        "orderId": row["order_id"],
        "originCode": origin,
        "destCode": destination,
        "filterResult": row["filter_result"],
        "remark": "" if reachable else "1",
        "url": None,
        "paymentLink": None,
        "isUpstairs": None,
        "isSpecialWarehouseService": None,
        "waybillNoInfoList": numbered(row),
        "routeLabelInfo": labels,
        "returnExtraInfoList": None,
    }


def label(row: Waybill, origin: str, destination: str) -> dict[str, Any]:
    """What is printed on the label; the routing codes are made of the city."""
    number = row["waybill"]
    team = f"{int(digest('team', row['receiver'].get('address'), length=4), 16) % 90 + 10:03d}"
    matrix = (
        f"MMM={{'k1':'{destination}W','k2':'{destination}GL','k3':'{team}','k4':'T4',"
        f"'k5':'{number}','k6':'','k7':'{digest('label', number, length=8)}'}}"
    )
    data = {
        "waybillNo": number,
        "sourceTransferCode": f"{origin}W",
        "sourceCityCode": origin,
        "sourceDeptCode": f"{origin}QP",
        "sourceTeamCode": "001",
        "destCityCode": destination,
        "destDeptCode": f"{destination}GL",
        "destTeamCode": team,
        "destRouteLabel": f"{destination}W-GL-{team}",
        "proName": "顺丰标快",
        "proCode": "T6",
        "codingMapping": "A12",
        "codingMappingOut": "1A",
        "xbFlag": "0",
        "printFlag": "000000000",
        "printIcon": "00000000",
        "abFlag": "A",
        "limitTypeCode": "T6",
        "expressTypeCode": "B1",
        "twoDimensionCode": matrix,
    }
    return {"code": "1000", "routeLabelData": data, "message": None}


class Pusher:
    """Moves the parcels and pushes every scan to the center, unsigned as SF does (2.4)."""

    def __init__(
        self,
        book: Book,
        center_url: str,
        account: Mapping[str, str] | None = None,
        outgoing: Outgoing | None = None,
    ) -> None:
        self.book = book
        self.depot = depot_of(book, account)
        token = self.depot.account.get("push_token", "")
        self.url = f"{center_url.rstrip('/')}/hooks/carrier/sf/" + (f"{token}/" if token else "")
        self.outgoing = outgoing or Outgoing(book)
        self._random = Random(self.depot.account["partner_id"])
        self._turn = 0
        self.depot.on_scan.append(self._scanned)

    async def run(self) -> None:
        await asyncio.gather(self.outgoing.run(), self._move())

    async def _move(self) -> None:
        while True:
            self.depot.tick()
            await asyncio.sleep(LOOK)

    def _scanned(self, row: Waybill, scans: Sequence[Mapping[str, str]]) -> None:
        rows = list(scans)
        earlier = [scan for scan in row["routes"] if scan not in rows]
        if earlier and self._random.random() < AGAIN:
            rows.insert(0, self._random.choice(earlier))
        self._random.shuffle(rows)  # the order is not promised
        for start in range(0, len(rows), MOST_ROUTES):
            self._put(row, rows[start : start + MOST_ROUTES])

    def _put(self, row: Waybill, scans: Sequence[Mapping[str, str]]) -> None:
        routes_told = [self._told(row, scan) for scan in scans]
        body = compact({"Body": {"WaybillRoute": routes_told}}).encode()
        facts = {
            "shop": "",
            "number": row["waybill"],
            "topic": "sf.routes",
            "id": ",".join(scan["opCode"] for scan in scans),
        }
        headers = {"Content-Type": "application/json;charset=UTF-8"}
        self.outgoing.put(Push(self.url, body, lambda: headers, taken, facts))

    def _told(self, row: Waybill, scan: Mapping[str, str]) -> dict[str, str]:
        self._turn += 1
        serial = int(self.book.clock() * 1000) * 1000 + self._turn % 1000
        return {
            "id": str(serial),
            "mailno": row["waybill"],
            "orderid": row["order_id"],
            "acceptTime": scan["acceptTime"],
            "acceptAddress": scan["acceptAddress"],
            "remark": scan["remark"],
            "opCode": scan["opCode"],
            "reasonCode": scan["reasonCode"],
            "reasonName": scan["reasonName"],
        }


def taken(response: httpx.Response) -> bool:
    """Return code 0000 and nothing else stops SF from pushing it all again (2.4)."""
    said = response.json()
    return response.is_success and isinstance(said, dict) and said.get("return_code") == "0000"
