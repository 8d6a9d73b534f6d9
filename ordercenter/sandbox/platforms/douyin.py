"""Douyin shop as its open interface answers and pushes (channels.md 3a to 3e).

Fen, Unix seconds, pages from 0, one envelope with a code for everything. The receiver is
encrypted; ``/order/batchDecrypt`` opens it for the order it belongs to.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from ordercenter.sandbox.book import (
    AGREED,
    ASKED,
    CLOSED_REFUNDED,
    CLOSED_UNPAID,
    DONE,
    FINISHED,
    ON_HOLD,
    REFUSED,
    SHIPPED,
    WAIT_PAY,
    WAIT_SHIP,
    WITHDRAWN,
    Line,
    Order,
    Refund,
    Refused,
    Shipment,
    ShopConfig,
)
from ordercenter.sandbox.outgoing import Outgoing, Push, hook
from ordercenter.sandbox.wire import answer, beijing, digest, mask_address, mask_name, whole

if TYPE_CHECKING:
    import httpx
    from starlette.requests import Request
    from starlette.responses import Response

    from ordercenter.sandbox.book import Book

CLOCK_TOLERANCE: Final = 600  # ours: no page states Douyin's
LONGEST_WINDOW: Final = 90 * 86_400  # 3b
LARGEST_PAGE: Final = 100
DEEPEST_ROW: Final = 50_000  # 3b: the documents disagree, 10 000 or 50 000
MOST_CIPHERS: Final = 50
ACCESS_LIVES: Final = 7 * 86_400
REFRESH_LIVES: Final = 14 * 86_400
LAST_HOUR: Final = 3_600
COMPANIES: Final = {
    "shunfeng": "顺丰速运",
    "zhongtong": "中通快递",
    "yuantong": "圆通快递",
    "shentong": "申通快递",
    "yunda": "韵达快递",
    "jd": "京东快递",
    "ems": "EMS",
    "jtexpress": "极兔速递",
}
TO_PAY, PAID, TO_SHIP, PART_SHIPPED, GONE, CLOSED, ENDED = 1, 105, 2, 101, 3, 4, 5
STATES: Final = {
    WAIT_PAY: (TO_PAY, "待支付"),
    ON_HOLD: (PAID, "已支付"),
    WAIT_SHIP: (TO_SHIP, "待发货"),
    SHIPPED: (GONE, "已发货"),
    FINISHED: (ENDED, "已完成"),
    CLOSED_UNPAID: (CLOSED, "已取消"),
    CLOSED_REFUNDED: (CLOSED, "已关闭"),
}
REFUNDED_UNSHIPPED, REFUNDED_SHIPPED = 21, 22
# after_sale_status and refund_status of each state of a refund (3c, 3d)
REFUNDS: Final = {
    ASKED: (6, 1),
    AGREED: (12, 1),
    DONE: (12, 3),
    REFUSED: (27, 0),
    WITHDRAWN: (28, 0),
}
BEFORE_SHIPPING, AFTER_SHIPPING = 2, 1
REFUND_TAGS: Final = {ASKED: "200", AGREED: "201", REFUSED: "204", DONE: "206", WITHDRAWN: "207"}
ORDER_TAGS: Final = {
    "created": "100",
    "paid": "101",
    "shipped": "102",
    "finished": "103",
    "address_changed": "105",
    "memo_changed": "113",
}
PART_SHIPPED_TAG, CANCELED_TAG = "108", "106"
SEARCH_KEYS: Final = frozenset(
    {
        "page", "size", "order_by", "order_asc", "combine_status",
        "create_time_start", "create_time_end", "update_time_start", "update_time_end",
    }
)  # fmt: skip
AFTERSALE_KEYS: Final = frozenset(
    {
        "page", "size", "order_by", "order_id", "standard_aftersale_status",
        "start_time", "end_time", "update_start_time", "update_end_time",
    }
)  # fmt: skip
Wish = Mapping[str, Any]
Serve = Callable[[ShopConfig, Wish], dict[str, Any]]


@dataclass(slots=True)
class DoudianError(Exception):
    """A refusal in the platform's envelope; HTTP stays 200."""

    code: int
    sub_code: str
    sub_msg: str

    def body(self) -> dict[str, Any]:
        return envelope(self.code, MESSAGES[self.code], {}, self.sub_code, self.sub_msg)


MESSAGES: Final = {
    40001: "系统参数错误",
    40002: "业务参数缺失",
    40003: "参数错误",
    40004: "业务参数错误",
    50001: "授权失败",
    50002: "业务处理失败",
    70000: "接口已下线",
}


def envelope(
    code: int, msg: str, data: Mapping[str, Any], sub_code: str = "", sub_msg: str = ""
) -> dict[str, Any]:
    log_id = digest("doudian", code, json.dumps(data, ensure_ascii=False), length=20)
    said = {"code": code, "msg": msg, "sub_code": sub_code, "sub_msg": sub_msg}
    return said | {"log_id": log_id, "data": dict(data)}


def canonical(params: Any) -> str:
    """``param_json``: keys sorted at every level, compact, nothing escaped (3a)."""
    return json.dumps(params, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def sign(query: Mapping[str, str], body: str, secret: str) -> str:
    """Lower-case HMAC-SHA256, or MD5 where no ``sign_method`` is named, of the wrapped text (3a).

    The secret is the key and stands round the text as well.
    """
    text = (
        f"{secret}app_key{query['app_key']}method{query['method']}param_json{body}"
        f"timestamp{query['timestamp']}v{query['v']}{secret}"
    )
    if query.get("sign_method", "md5") == "md5":
        return hashlib.md5(text.encode()).hexdigest()
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def event_sign(app_key: str, body: bytes, secret: str) -> str:
    """Lower-case MD5 over the raw body between key and secret (3e)."""
    return hashlib.md5(app_key.encode() + body + secret.encode()).hexdigest()


def missing(name: str) -> DoudianError:
    return DoudianError(40002, f"isv.parameter-invalid:{name}", f"缺少参数{name}")


def bad(name: str) -> DoudianError:
    return DoudianError(40004, f"isv.parameter-invalid:{name}", f"参数{name}不合法")


def failed(why: str) -> DoudianError:
    return DoudianError(50002, "isv.business-failed", why)


def routes(book: Book) -> list[Route]:
    return [Route("/douyin/{path:path}", Gateway(book).handle, methods=["POST"])]


class Tokens:
    """Who may speak for a shop until when (3a).

    The pair of ``seller.json`` is as good as new whenever the sandbox starts: nobody could
    refresh it while it stood still. Pairs that were asked for are kept in the book.
    """

    def __init__(self, book: Book) -> None:
        self.book = book
        self._pairs: dict[str, list[dict[str, Any]]] = {}
        now = book.clock()
        for shop in book.shops.values():
            first = {
                "access": shop.access_token,
                "refresh": f"{shop.access_token}-refresh",
                "until": now + ACCESS_LIVES,
                "refresh_until": now + REFRESH_LIVES,
            }
            kept = [row for row in book.records["douyin_token"] if row["shop"] == shop.code]
            self._pairs[shop.code] = [first, *kept]

    def check(self, shop: ShopConfig, token: str) -> None:
        """Raise DoudianError unless ``token`` opens ``shop`` now."""
        for pair in self._pairs[shop.code]:
            if hmac.compare_digest(pair["access"].encode(), token.encode()):
                if pair["until"] <= self.book.clock():
                    raise DoudianError(40003, "isv.access-token-expired", "access_token已过期")
                return
        raise DoudianError(40003, "isv.access-token-no-existed", "access_token不存在")

    def create(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """/token/create for the shop's own application; nobody hands out codes here."""
        if wish.get("grant_type") != "authorization_self":
            raise DoudianError(50001, "isv.authorization-code-invalid", "code无效或已使用")
        if str(wish.get("shop_id", "")) != str(shop_id(shop)):
            raise DoudianError(50001, "isv.shop-not-authorized", "店铺未授权给该应用")
        pair = self._pairs[shop.code][-1]
        if pair["until"] <= self.book.clock():
            pair = self._renew(shop)
        return self._told(shop, pair)

    def refresh(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """The same pair until its last hour, then a new one; the old lives on for an hour."""
        pair = self._pairs[shop.code][-1]
        now = self.book.clock()
        if (
            wish.get("grant_type") != "refresh_token"
            or wish.get("refresh_token") != pair["refresh"]
        ):
            raise DoudianError(50001, "isv.refresh-token-invalid", "refresh_token无效")
        if pair["refresh_until"] <= now:
            raise DoudianError(50001, "isv.refresh-token-expired", "refresh_token已过期")
        if pair["until"] - now > LAST_HOUR:
            return self._told(shop, pair)
        if pair["until"] > now:
            pair["until"] = now + LAST_HOUR
        return self._told(shop, self._renew(shop))

    def _renew(self, shop: ShopConfig) -> dict[str, Any]:
        now, pairs = self.book.clock(), self._pairs[shop.code]
        pair = self.book.record(
            "douyin_token",
            {
                "shop": shop.code,
                "access": digest("access", shop.code, now, len(pairs)),
                "refresh": digest("refresh", shop.code, now, len(pairs)),
                "until": now + ACCESS_LIVES,
                "refresh_until": now + REFRESH_LIVES,
            },
        )
        pairs.append(pair)
        return pair

    def _told(self, shop: ShopConfig, pair: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "access_token": pair["access"],
            "expires_in": int(pair["until"] - self.book.clock()),
            "refresh_token": pair["refresh"],
            "scope": "SCOPE",
            "shop_id": shop_id(shop),
            "shop_name": shop.name,
            "authority_id": "",
            "auth_subject_type": "",
        }


class Gateway:
    def __init__(self, book: Book) -> None:
        self.book = book
        self.tokens = Tokens(book)
        self._packs: dict[tuple[str, str], str] = {
            (row["shop"], row["request_id"]): row["pack_id"] for row in book.records["douyin_pack"]
        }
        self._unsigned: dict[str, Serve] = {
            "token.create": self.tokens.create,
            "token.refresh": self.tokens.refresh,
        }
        self._methods: dict[str, Serve] = {
            "order.searchList": self.search_list,
            "order.orderDetail": self.order_detail,
            "order.batchDecrypt": self.batch_decrypt,
            "order.logisticsAdd": self.logistics_add,
            "order.logisticsAddSinglePack": self.logistics_add_single_pack,
            "afterSale.List": self.aftersale_list,
        }

    async def handle(self, request: Request) -> Response:
        body = (await request.body()).decode("utf-8", errors="replace")
        method = request.path_params["path"].strip("/").replace("/", ".")
        try:
            shop = self._admit(method, request.query_params, body)
            serve = self._unsigned.get(method) or self._methods[method]
            return answer(envelope(10000, "success", serve(shop, json.loads(body))))
        except DoudianError as error:
            return answer(error.body())

    def _admit(self, method: str, query: Mapping[str, str], body: str) -> ShopConfig:
        """Who is calling, proven by signature and token; DoudianError when not."""
        for name in ("app_key", "method", "timestamp", "v", "sign"):
            if not query.get(name):
                raise DoudianError(40001, f"isv.{name}-missing", f"缺少系统参数{name}")
        shop = self.book.shop_by_key("douyin", query["app_key"])
        if shop is None:
            raise DoudianError(40001, "isv.app-key-invalid", "app_key不存在")
        if query["method"] != method or query["v"] != "2":
            raise DoudianError(40001, "isv.method-invalid", "method或v与请求不符")
        if query.get("sign_method", "md5") not in {"md5", "hmac-sha256"}:
            raise DoudianError(40001, "isv.sign-method-invalid", "sign_method不支持")
        self._check_time(query["timestamp"])
        expected = sign(query, body, shop.app_secret)
        if not hmac.compare_digest(query["sign"].encode(), expected.encode()):
            raise DoudianError(40001, "isv.signature-invalid", "签名校验失败")
        self._check_body(body)
        if method in self._unsigned:
            return shop
        self.tokens.check(shop, query.get("access_token", ""))
        if method not in self._methods:
            raise DoudianError(70000, "isv.method-retired", f"接口{method}不存在或已下线")
        return shop

    def _check_time(self, text: str) -> None:
        try:
            skew = abs(self.book.clock() - whole(text))
        except ValueError:
            skew = CLOCK_TOLERANCE + 1.0
        if skew > CLOCK_TOLERANCE:
            raise DoudianError(40001, "isv.timestamp-invalid", "timestamp无效")

    def _check_body(self, body: str) -> None:
        """The gateway signs the parameters it has read, so other spellings do not verify (3a)."""
        try:
            params = json.loads(body)
        except ValueError as error:
            raise DoudianError(40001, "isv.param-json-invalid", "param_json不是JSON") from error
        if not isinstance(params, dict) or canonical(params) != body:
            raise DoudianError(40001, "isv.signature-invalid", "签名校验失败")

    # Reading

    def search_list(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """/order/searchList: pages from 0, newest first unless ``order_asc`` (3b)."""
        only_known(wish, SEARCH_KEYS)
        page, size = paging(wish)
        now = self.book.clock()
        created = window(wish, "create_time_start", "create_time_end", now)
        updated = window(wish, "update_time_start", "update_time_end", now)
        if updated is not None:
            found = self.book.changed(shop.code, *updated)
        elif created is not None:
            found = self.book.orders(shop.code)
        else:
            raise missing("update_time_start")
        if created is not None:
            found = [o for o in found if created[0] <= int(o.created) <= created[1]]
        wanted = statuses(wish)
        if wanted:
            found = [o for o in found if status_of(o)[0] in wanted]
        by = one_of(wish, "order_by", ("create_time", "update_time"))
        found.sort(key=lambda o: (int(o.created if by == "create_time" else o.modified), o.number))
        if not flag(wish, "order_asc"):
            found.reverse()
        rows = found[page * size : (page + 1) * size]
        listed = [order_body(shop, order) for order in rows]
        return {"page": page, "size": size, "total": len(found), "shop_order_list": listed}

    def order_detail(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        order = self._find(shop, wish.get("shop_order_id"), "shop_order_id")
        return {"shop_order_detail": order_body(shop, order)}

    def batch_decrypt(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """Each entry may fail by itself; a cipher opens for its own order only (3c)."""
        entries = wish.get("cipher_infos")
        if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_CIPHERS:
            raise bad("cipher_infos")
        infos = [self._decrypt(shop, entry) for entry in entries if isinstance(entry, dict)]
        return {"decrypt_infos": infos, "custom_err": {"err_code": 0, "err_msg": ""}}

    def _decrypt(self, shop: ShopConfig, entry: Wish) -> dict[str, Any]:
        auth_id, cipher = str(entry.get("auth_id", "")), str(entry.get("cipher_text", ""))
        order = self.book.get(shop.code, auth_id)
        known = {} if order is None else ciphers(order)
        kind, clear = known.get(cipher, (1, ""))
        fits = cipher in known
        return {
            "auth_id": auth_id,
            "cipher_text": cipher,
            "decrypt_text": clear,
            "err_no": 0 if fits else 300008,
            "err_msg": "" if fits else "密文与订单不匹配",
            "data_type": kind,
            "is_virtual_tel": False,
            "expire_time": 0,
            "phone_no_a": "",
            "phone_no_b": "",
        }

    def aftersale_list(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """/afterSale/List: refunds by application or change, from page 0 (3d)."""
        only_known(wish, AFTERSALE_KEYS)
        page, size = paging(wish)
        now = self.book.clock()
        asked = window(wish, "start_time", "end_time", now)
        updated = window(wish, "update_start_time", "update_end_time", now)
        if asked is None and updated is None:
            raise missing("update_start_time")
        # An order changes at least as late as its refunds do.
        first = max(span[0] for span in (asked, updated) if span is not None)
        found = [
            (order, refund)
            for order in self.book.changed(shop.code, first, now)
            for refund in order.refunds
            if within(asked, refund.created) and within(updated, refund.modified)
        ]
        found = [pair for pair in found if wanted_refund(wish, *pair)]
        field, _, way = aftersale_order(wish).partition(" ")
        found.sort(
            key=lambda p: (
                int(p[1].modified if field == "update_time" else p[1].created),
                p[1].refund_id,
            ),
            reverse=way == "desc",
        )
        rows = found[page * size : (page + 1) * size]
        return {
            "items": [aftersale_body(*pair) for pair in rows],
            "has_more": (page + 1) * size < len(found),
            "total": len(found),
            "page": page,
            "size": size,
        }

    # Writing back

    def logistics_add(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """/order/logisticsAdd: the whole order in one parcel (3d)."""
        order = self._find(shop, wish.get("order_id"), "order_id")
        company, number = parcel(wish)
        if order.shipments:
            raise failed("订单已发货，请勿重复发货")
        self._settle_or_refuse(order, reject=flag(wish, "is_reject_refund"))
        self._ship(order, Shipment(company, number, [], self.book.clock()))
        return {}

    def logistics_add_single_pack(self, shop: ShopConfig, wish: Wish) -> dict[str, Any]:
        """One parcel with named lines, of one order or of several; ``request_id`` repeats (3d)."""
        company, number = parcel(wish)
        request_id = str(wish.get("request_id", ""))
        if not request_id:
            raise missing("request_id")
        if pack := self._packs.get((shop.code, request_id)):
            return {"pack_id": pack}
        groups = self._lines_to_ship(shop, wish)
        for order, _ in groups:
            self._settle_or_refuse(order, reject=flag(wish, "is_reject_refund"))
        for order, line_ids in groups:
            self._ship(order, Shipment(company, number, line_ids, self.book.clock()))
        pack = f"71{int(digest(shop.code, request_id, length=14), 16) % 10**17:017d}"
        self._packs[shop.code, request_id] = pack
        facts = {"shop": shop.code, "request_id": request_id, "pack_id": pack}
        self.book.record("douyin_pack", facts)
        return {"pack_id": pack}

    def _lines_to_ship(self, shop: ShopConfig, wish: Wish) -> list[tuple[Order, list[str]]]:
        numbers, rows = wish.get("order_id_list"), wish.get("shipped_order_info")
        if not isinstance(numbers, list) or not numbers:
            raise missing("order_id_list")
        if not isinstance(rows, list) or not rows:
            raise missing("shipped_order_info")
        orders = [self._find(shop, number, "order_id_list") for number in numbers]
        groups: dict[str, list[str]] = {}
        for row in rows:
            line_id = str(row.get("shipped_order_id", "")) if isinstance(row, dict) else ""
            order = next((o for o in orders if o.line(line_id) is not None), None)
            line = order.line(line_id) if order is not None else None
            if order is None or line is None:
                raise bad("shipped_order_id")
            if line not in order.unshipped or line_id in groups.get(order.number, []):
                raise failed("子订单已发货，请勿重复发货")
            if row.get("shipped_num") != line.quantity:
                raise failed("沙箱不支持同一子订单拆件发货，shipped_num须等于购买数量")
            groups.setdefault(order.number, []).append(line_id)
        return [(order, groups[order.number]) for order in orders if order.number in groups]

    def _settle_or_refuse(self, order: Order, *, reject: bool) -> None:
        """An open refund stops shipping, unless the caller turns it down with it (3d)."""
        if order.open_refunds() and not reject:
            raise failed("订单存在售后申请，请处理后再发货")
        for refund in order.open_refunds():
            self.book.settle_refund(order, refund, REFUSED, "商家已发货")

    def _ship(self, order: Order, shipment: Shipment) -> None:
        try:
            self.book.ship(order, shipment)
        except Refused as refusal:
            raise failed(str(refusal)) from refusal

    def _find(self, shop: ShopConfig, number: Any, name: str) -> Order:
        if not isinstance(number, str) or not number:
            raise missing(name)
        order = self.book.get(shop.code, number)
        if order is None:
            raise failed("订单不存在")
        return order


# Reading parameters


def only_known(wish: Wish, known: frozenset[str]) -> None:
    """A filter passed over in silence would be a wrong answer."""
    for name in wish:
        if name not in known:
            raise bad(name)


def number(wish: Wish, name: str) -> int:
    value = wish.get(name)
    if value is None:
        raise missing(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise bad(name)
    return value


def flag(wish: Wish, name: str) -> bool:
    value = wish.get(name, False)
    if not isinstance(value, bool):
        raise bad(name)
    return value


def one_of(wish: Wish, name: str, known: tuple[str, ...]) -> str:
    """One of ``known``; the first where nothing is said."""
    value = wish.get(name, known[0])
    if value not in known:
        raise bad(name)
    return str(value)


def paging(wish: Wish) -> tuple[int, int]:
    page, size = number(wish, "page"), number(wish, "size")
    if page < 0:
        raise bad("page")
    if not 1 <= size <= LARGEST_PAGE or (page + 1) * size > DEEPEST_ROW:
        raise bad("size")
    return page, size


def window(wish: Wish, first: str, last: str, now: float) -> tuple[int, int] | None:
    """Both ends or none, not equal, within the last 90 days (3b)."""
    if first not in wish and last not in wish:
        return None
    start, end = number(wish, first), number(wish, last)
    if start >= end or end - start > LONGEST_WINDOW or start < now - LONGEST_WINDOW - 86_400:
        raise bad(first)
    return start, end


def within(span: tuple[int, int] | None, at: float) -> bool:
    return span is None or span[0] <= int(at) <= span[1]


def statuses(wish: Wish) -> frozenset[int]:
    """``combine_status``: one element with comma-separated codes (3b)."""
    rows = wish.get("combine_status")
    if rows is None:
        return frozenset()
    if not isinstance(rows, list) or len(rows) != 1:
        raise bad("combine_status")
    try:
        return frozenset(whole(part) for part in rows[0]["order_status"].split(","))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise bad("combine_status") from error


def aftersale_order(wish: Wish) -> str:
    """``order_by``: a list of one text such as ``update_time asc`` (3d)."""
    rows = wish.get("order_by", ["create_time desc"])
    known = {f"{name} {way}" for name in ("create_time", "update_time") for way in ("asc", "desc")}
    if not isinstance(rows, list) or len(rows) != 1 or rows[0] not in known:
        raise bad("order_by")
    return str(rows[0])


def wanted_refund(wish: Wish, order: Order, refund: Refund) -> bool:
    status = wish.get("standard_aftersale_status")
    if status is not None and not isinstance(status, list):
        raise bad("standard_aftersale_status")
    if status is not None and REFUNDS[refund.state][0] not in status:
        return False
    return wish.get("order_id") in {None, order.number}


def parcel(wish: Wish) -> tuple[str, str]:
    company, tracking = wish.get("company_code"), wish.get("logistics_code")
    if not company or not tracking:
        raise missing("company_code" if not company else "logistics_code")
    if company not in COMPANIES:
        raise failed("物流公司编码不存在")
    return str(company), str(tracking)


# Writing orders down


def shop_id(shop: ShopConfig) -> int:
    return int(shop.options.get("shop_id", "70000001"))


def some_id(prefix: str, *parts: object) -> int:
    """A 19-digit number that stands for ``parts``, beyond what a double can hold."""
    return int(prefix + f"{int(digest(*parts, length=15), 16) % 10**15:015d}")


def status_of(order: Order) -> tuple[int, str]:
    if order.is_part_shipped:
        return PART_SHIPPED, "部分发货"
    return STATES[order.state]


def main_status(order: Order) -> int:
    if order.state == CLOSED_REFUNDED:
        return REFUNDED_SHIPPED if order.shipments else REFUNDED_UNSHIPPED
    return status_of(order)[0]


def ciphers(order: Order) -> dict[str, tuple[int, str]]:
    """What each cipher text of ``order`` says: address 1, name 2, phone 3."""
    name, phone, address = sealed(order)
    r = order.receiver
    found = {name: (2, r.name), phone: (3, r.phone), address: (1, r.address)}
    return {cipher: clear for cipher, clear in found.items() if cipher}


def sealed(order: Order) -> tuple[str, str, str]:
    """Name, phone and address: an index that equal clear texts share, and a cipher of the order."""
    r = order.receiver

    def seal(clear: str, mark: str) -> str:
        if not clear:
            return ""
        index = digest("index", clear, length=16)
        cipher = digest("cipher", order.number, order.address_version, clear, length=24)
        if mark == "$":
            return f"$${index}${cipher}==$1$$"
        return f"##{index}##{cipher}==#1##"

    return seal(r.name, "#"), seal(r.phone, "$"), seal(r.address, "#")


def place(order: Order, detail: Mapping[str, str]) -> dict[str, Any]:
    r = order.receiver
    parts = {"province": r.province, "city": r.city, "town": r.district, "street": r.town}
    named = {
        key: {"name": name, "id": str(some_id("", key, name))[:6] if name else "0"}
        for key, name in parts.items()
    }
    return named | dict(detail)


def receiver_body(order: Order) -> dict[str, Any]:
    r = order.receiver
    name, phone, address = sealed(order)
    whose = (r.name, r.phone, r.province, r.city, r.district, r.town, r.address)
    return {
        "post_receiver": "",
        "encrypt_post_receiver": name,
        "post_tel": "",
        "encrypt_post_tel": phone,
        "post_addr": place(order, {"detail": "", "encrypt_detail": address}),
        "mask_post_receiver": mask_name(r.name),
        "mask_post_tel": f"1********{r.phone[-2:]}" if r.phone else "",
        "mask_post_addr": place(order, {"detail": mask_address(r.address)}),
        "open_address_id": "#" + digest("address", *whose, length=40),
    }


def order_body(shop: ShopConfig, order: Order) -> dict[str, Any]:
    """The whole order, in a list as in detail (3c)."""
    status, said = status_of(order)
    ship_time = order.shipments[0].at if order.shipments else 0
    cut = order.discount_fen
    return {
        "order_id": order.number,
        "shop_id": shop_id(shop),
        "shop_name": shop.name,
        "order_level": 2,
        "order_type": 0,
        "order_status": status,
        "order_status_desc": said,
        "main_status": main_status(order),
        "main_status_desc": said,
        "create_time": int(order.created),
        "pay_time": int(order.paid or 0),
        "update_time": int(order.modified),
        "finish_time": int(order.finished or 0),
        "ship_time": int(ship_time),
        "exp_ship_time": int((order.paid or order.created) + 48 * 3600),
        "order_expire_time": 1800,
        "cancel_reason": "买家未付款" if order.state == CLOSED_UNPAID else "",
        "buyer_words": order.remark,
        "seller_words": order.memo,
        "seller_remark_stars": order.flag,
        "b_type": 2,
        "sub_b_type": 1,
        "pay_type": 2,
        "order_amount": order.goods_fen + order.freight_fen,
        "pay_amount": order.payable_fen,
        "post_amount": order.freight_fen,
        "post_origin_amount": order.freight_fen,
        "post_promotion_amount": 0,
        "post_insurance_amount": 0,
        "modify_amount": 0,
        "modify_post_amount": 0,
        "promotion_amount": cut,
        "promotion_shop_amount": cut,
        "promotion_platform_amount": 0,
        "promotion_talent_amount": 0,
        "promotion_pay_amount": 0,
        "total_promotion_amount": cut,
        "tax_amount": 0,
        "doudian_open_id": "1@#" + digest(shop.app_key, order.buyer.buyer_id, length=40),
        "logistics_info": [logistics_body(order, shipment) for shipment in order.shipments],
        "order_phase_list": [],
        "sku_order_list": [line_body(order, line) for line in order.lines],
        "shop_order_tag_ui": [],
        "promotion_detail": promotion_body(cut) if cut else None,
        **receiver_body(order),
    }


def promotion_body(cut: int) -> dict[str, Any]:
    none = {"total_amount": 0, "coupon_amount": 0, "full_discount_amount": 0}
    none_listed: dict[str, Any] = {"coupon_info": [], "full_discount_info": []}
    campaign = {
        "campaign_id": 74000000002,
        "campaign_type": 100,
        "campaign_name": "店铺满减",
        "campaign_amount": cut,
        "campaign_sub_type": 0,
        "share_discount_cost": {"platform_cost": 0, "shop_cost": cut, "author_cost": 0},
    }
    shop = none | {"total_amount": cut, "full_discount_amount": cut, "coupon_info": []}
    others = none | {"redpack_amount": 0, "redpack_info": []} | none_listed
    return {
        "shop_discount_detail": shop | {"full_discount_info": [campaign]},
        "platform_discount_detail": others | {"gold_coin_amount": 0},
        "kol_discount_detail": others,
    }


def line_body(order: Order, line: Line) -> dict[str, Any]:
    """A sub-order; the first carries the freight. Gifts are lines marked FREE (3c)."""
    product = some_id("3500", order.shop, line.sku_code or line.title)
    freight = order.freight_fen if line is order.lines[0] else 0
    whole_fen = line.unit_fen * line.quantity
    cut = whole_fen - line.amount_fen
    status = status_of(order)[0]
    if status == PART_SHIPPED:
        status = TO_SHIP if line in order.unshipped else GONE
    masters = [other.line_id for other in order.lines if not other.is_gift]
    gifted = any(other.is_gift for other in order.lines)
    given = {"given_product_activity_type": "NORMAL", "given_product_activity_value": ""}
    body: dict[str, Any] = {
        "order_id": line.line_id,
        "parent_order_id": order.number,
        "order_level": 3,
        "order_type": 0,
        "trade_type": 102 if line.is_gift else 0,
        "order_status": status,
        "main_status": status,
        "product_id": product,
        "product_id_str": str(product),
        "sku_id": int(line.platform_sku_id or 0),
        "code": line.outer_code or "",
        "out_sku_id": "",
        "out_product_id": "",
        "product_name": line.title,
        "spec": [{"name": "规格", "value": "默认"}],
        "item_num": line.quantity,
        "origin_amount": line.unit_fen,
        "sum_amount": whole_fen,
        "order_amount": whole_fen + freight,
        "pay_amount": line.amount_fen + freight,
        "post_amount": freight,
        "promotion_amount": cut,
        "promotion_shop_amount": cut,
        "promotion_platform_amount": 0,
        "promotion_talent_amount": 0,
        "promotion_pay_amount": 0,
        "goods_type": 0,
        "pre_sale_type": 0,
        "given_product_type": "FREE" if line.is_gift else ("MASTER" if gifted else ""),
        "master_sku_order_id_list": masters if line.is_gift else [],
        "after_sale_info": line_aftersale(order, line),
        "inventory_list": [],
        "campaign_info": [],
        "reduce_stock_type": 1,
        "has_tax": False,
        "receive_type": 1,
    }
    return body | ({"given_product_activity_info": given} if line.is_gift else {})


def line_aftersale(order: Order, line: Line) -> dict[str, int]:
    mine = [r for r in order.refunds if r.line_id in {None, line.line_id}]
    if not mine:
        return {"after_sale_status": 0, "after_sale_type": 0, "refund_status": 0}
    status, money = REFUNDS[mine[-1].state]
    kind = aftersale_type(order, mine[-1])
    return {"after_sale_status": status, "after_sale_type": kind, "refund_status": money}


def aftersale_type(order: Order, refund: Refund) -> int:
    """Refund before or after shipping: what was true when it was asked."""
    gone = any(shipment.at <= refund.created for shipment in order.shipments)
    return AFTER_SHIPPING if gone else BEFORE_SHIPPING


def logistics_body(order: Order, shipment: Shipment) -> dict[str, Any]:
    lines = [
        line for line in order.lines if not shipment.line_ids or line.line_id in shipment.line_ids
    ]
    return {
        "tracking_no": shipment.tracking_number,
        "company": shipment.carrier_code,
        "company_name": COMPANIES.get(shipment.carrier_code, shipment.carrier_code),
        "ship_time": int(shipment.at),
        "delivery_id": str(some_id("7100", order.number, shipment.tracking_number)),
        "product_info": [shipped_body(order, line) for line in lines],
    }


def shipped_body(order: Order, line: Line) -> dict[str, Any]:
    product = some_id("3500", order.shop, line.sku_code or line.title)
    return {
        "product_name": line.title,
        "price": line.unit_fen,
        "outer_sku_id": line.outer_code or "",
        "sku_id": int(line.platform_sku_id or 0),
        "product_count": line.quantity,
        "product_id": product,
        "product_id_str": str(product),
        "sku_order_id": line.line_id,
        "sku_specs": [],
    }


def aftersale_body(order: Order, refund: Refund) -> dict[str, Any]:
    """One entry of /afterSale/List (3d)."""
    lines = [line for line in order.lines if refund.line_id in {None, line.line_id}]
    status, money = REFUNDS[refund.state]
    kind = aftersale_type(order, refund)
    kind_text = "未发货仅退款" if kind == BEFORE_SHIPPING else "已发货仅退款"
    return {
        "aftersale_info": {
            "aftersale_id": refund.refund_id,
            "aftersale_order_type": 1,
            "aftersale_type": kind,
            "aftersale_status": status,
            "related_id": refund.line_id or order.number,
            "apply_time": int(refund.created),
            "create_time": int(refund.created),
            "update_time": int(refund.modified),
            "status_deadline": int(refund.created + 48 * 3600),
            "refund_amount": refund.amount_fen,
            "refund_post_amount": 0,
            "aftersale_num": sum(line.quantity for line in lines),
            "part_type": 0,
            "aftersale_refund_type": 0,
            "refund_type": 0,
            "arbitrate_status": 0,
            "refund_status": 0 if refund.state == ASKED else money,
            "refund_tax_amount": 0,
            "return_promotion_amount": 0,
            "got_pkg": 0,
            "return_logistics_code": "",
            "remark": refund.answer,
            "order_logistics": [],
        },
        "order_info": {
            "shop_order_id": order.number,
            "order_flag": order.flag,
            "related_order_info": [related_body(order, line) for line in lines],
        },
        "text_part": {
            "aftersale_status_text": "",
            "aftersale_type_text": kind_text,
            "reason_text": refund.reason,
        },
        "seller_logs": [],
    }


def related_body(order: Order, line: Line) -> dict[str, Any]:
    freight = order.freight_fen if line is order.lines[0] else 0
    return {
        "sku_order_id": line.line_id,
        "order_status": status_of(order)[0],
        "pay_amount": line.amount_fen + freight,
        "post_amount": freight,
        "item_num": line.quantity,
        "aftersale_pay_amount": line.amount_fen,
        "aftersale_item_num": line.quantity,
        "given_sku_order_ids": [],
    }


# Pushing


class Pusher:
    """Tells the center of every change by a push of hints (3e)."""

    def __init__(self, book: Book, center_url: str, outgoing: Outgoing | None = None) -> None:
        self.book = book
        self.center_url = center_url
        self.outgoing = outgoing or Outgoing(book)
        self._told: dict[str, str] = {}
        book.on_change(self._changed)

    async def run(self) -> None:
        await self.outgoing.run()

    def _changed(self, order: Order, event: str) -> None:
        shop = self.book.shops[order.shop]
        if shop.channel != "douyin":
            return
        if (tag := order_tag(order, event)) is not None:
            self._put(shop, order, tag, order.number, order_message(shop, order))
        for refund in order.refunds:
            if self._told.get(refund.refund_id) != refund.state:
                self._told[refund.refund_id] = refund.state
                message = refund_message(shop, order, refund)
                self._put(shop, order, REFUND_TAGS[refund.state], refund.refund_id, message)

    def _put(
        self, shop: ShopConfig, order: Order, tag: str, about: str, message: Mapping[str, Any]
    ) -> None:
        msg_id = f"{about}:{tag}:{int(order.modified)}:{shop.app_key}"
        entry = {"tag": tag, "msg_id": msg_id, "data": compact(message)}
        body = compact([entry]).encode()
        headers = {
            "Content-Type": "application/json",
            "app-id": shop.app_key,
            "event-sign": event_sign(shop.app_key, body, shop.app_secret),
        }
        facts = {"shop": shop.code, "number": order.number, "topic": tag, "id": msg_id}
        url = hook(self.center_url, "douyin", shop.code)
        self.outgoing.put(Push(url, body, lambda: headers, taken, facts))


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def taken(response: httpx.Response) -> bool:
    """``{"code":0,...}`` and nothing else stops the platform from repeating (3e)."""
    said = response.json()
    return response.is_success and isinstance(said, dict) and said.get("code") == 0


def order_tag(order: Order, event: str) -> str | None:
    if event == "shipped" and order.is_part_shipped:
        return PART_SHIPPED_TAG
    if event == "closed":
        return CANCELED_TAG
    return ORDER_TAGS.get(event)


def order_message(shop: ShopConfig, order: Order) -> dict[str, Any]:
    """Ids as 19-digit numbers, times as numbers (3e)."""
    return {
        "p_id": int(order.number),
        "s_ids": [int(line.line_id) for line in order.lines],
        "shop_id": shop_id(shop),
        "order_status": status_of(order)[0],
        "order_type": 0,
        "pay_type": 2,
        "pay_time": int(order.paid or 0),
        "pay_amount": order.payable_fen,
        "biz": 2,
        "create_time": int(order.created),
        "update_time": int(order.modified),
    }


def refund_message(shop: ShopConfig, order: Order, refund: Refund) -> dict[str, Any]:
    """Here ``update_time`` is a date text (3e)."""
    return {
        "aftersale_id": int(refund.refund_id),
        "p_id": int(order.number),
        "s_id": int(refund.line_id or order.number),
        "shop_id": shop_id(shop),
        "aftersale_status": REFUNDS[refund.state][0],
        "aftersale_type": aftersale_type(order, refund),
        "refund_amount": refund.amount_fen,
        "reason_text": refund.reason,
        "update_time": beijing(refund.modified),
    }
