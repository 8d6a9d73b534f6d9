"""Tell Taobao: parcels, stock, stopped parcels and notes (``channels.md`` 1d)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Final

from channels_sync.connectors.base import lots
from channels_sync.connectors.exchange import reading_reply, require_success
from channels_sync.connectors.taobao.calls import TaobaoCalls
from channels_sync.connectors.taobao.wire import china_text
from channels_sync.connectors.values import Node, byte_length, merged_note
from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    ErrorClass,
    Memo,
    PlatformError,
    Rejected,
    ShipNotice,
    StockAnswer,
    StockCall,
    StockEcho,
    StockFigure,
    StopAnswer,
    StopOutcome,
    Told,
    Unreadable,
)

OFFLINE: Final = "taobao.logistics.offline.send"
ON_DELIVERY: Final = "taobao.logistics.online.send"
DUMMY: Final = "taobao.logistics.dummy.send"
IN_PARTS: Final = "alibaba.ascp.logistics.offline.send"
SKUS: Final = "taobao.skus.quantity.update"
ITEM: Final = "taobao.item.quantity.update"
MEMO: Final = "taobao.trade.memo.update"
STOP: Final = "taobao.rdc.aligenius.sendgoods.cancel"
MEMO_BYTES: Final = 1000
SET, ADD = "1", "2"
SKUS_A_CALL: Final = 20
LOCKED_CODES: Final = "isv.item-quantity-update-service-error:ITEM_IN_PROMOTION"
"""Unverified: what refuses to lower goods on promotion has to be seen on a real shop."""
SHIPPED: Final = frozenset({"WAIT_BUYER_CONFIRM_GOODS", "TRADE_BUYER_SIGNED", "TRADE_FINISHED"})
SHIP_FIELDS: Final = "tid,type,status,orders"


class TaobaoTelling(TaobaoCalls):
    """Options: ``stop_method``, ``stock_locked_codes`` (sub codes, joined by commas)."""

    repeatable: ClassVar[frozenset[type]] = frozenset({ShipNotice, StopAnswer, Memo})
    """Not a stock figure: a difference told twice counts twice."""

    # --- parcels ---

    def ship(self, notice: ShipNotice) -> None:
        """Tell a parcel, of the whole trade or of lines. A repeat finds it told and is done."""
        parts = self._parts(notice) if notice.lines and notice.carrier != VIRTUAL_CARRIER else None
        try:
            if notice.carrier == VIRTUAL_CARRIER:
                self._send(DUMMY, {"tid": notice.channel_number})
            elif parts:
                self._send(IN_PARTS, parts)
            else:
                self._send(OFFLINE, self._parcel(notice))
        except Rejected as refusal:
            if refusal.error.klass is not ErrorClass.BUSINESS:
                raise
            trade = self.trade(notice.channel_number, SHIP_FIELDS)
            if _has_shipped(trade, notice):
                return
            if trade.text("type") != "cod" or notice.lines:
                raise
            self._send(ON_DELIVERY, self._parcel(notice))

    def _parcel(self, notice: ShipNotice) -> dict[str, str]:
        business = {
            "tid": notice.channel_number,
            "out_sid": notice.tracking_number,
            "company_code": self.carrier_code(notice.carrier),
        }
        if notice.lines:
            business["is_split"] = "1"
            business["sub_tid"] = ",".join(line.channel_line_id for line in notice.lines)
        return business

    def _parts(self, notice: ShipNotice) -> dict[str, str] | None:
        """The parcel by pieces, where it holds less than all pieces of one of its lines."""
        company = self.carrier_code(notice.carrier)
        trade = self.trade(notice.channel_number, SHIP_FIELDS)
        with reading_reply():
            ordered = {row.id("oid"): row.quantity("num") for row in trade.nodes("orders", "order")}
        pieces = {line.channel_line_id: line.quantity for line in notice.lines}
        if all(quantity >= ordered.get(oid, 0) for oid, quantity in pieces.items()):
            return None
        goods = [{"sub_tid": oid, "num": number, "item_type": 0} for oid, number in pieces.items()]
        package = {
            "goods": goods,
            "company_code": company,
            "out_sid": notice.tracking_number,
        }
        return {
            "tid": notice.channel_number,
            "consign_type": "1",  # lines in part; public client code, not the reference
            "consign_pkgs": json.dumps([package], separators=(",", ":")),
        }

    def _send(self, method: str, business: Mapping[str, str]) -> None:
        answer = self.call(method, business, writes=True)
        if method == IN_PARTS:
            _refuse_a_no(answer)
        else:
            require_success(answer.node_or_empty("shipping").get("is_success"))

    # --- stock ---

    def stock_calls(self, figures: Sequence[StockFigure]) -> list[StockCall]:
        """SKUs of one item go together, up to 20 of them, told the same way."""
        found: list[StockCall] = []
        for (item, _kind), alike in _alike(figures).items():
            alone = [one for one in alike if not (item and one.platform_sku_id)]
            several = [one for one in alike if item and one.platform_sku_id]
            found += [StockCall(ITEM, (one,)) for one in alone]
            found += [StockCall(SKUS, lot) for lot in lots(several, SKUS_A_CALL)]
        return sorted(found, key=lambda call: call.interface != found[0].interface)

    def publish_stock(self, figure: StockFigure) -> StockEcho:
        """Tell the difference to what Taobao shows by our books; without that, set the figure."""
        (echo,) = self._set_all((figure,))
        return echo

    def publish_figures(self, figures: Sequence[StockFigure]) -> list[StockAnswer]:
        if len(figures) == 1:
            return [self.publish_stock(figures[0])]
        return self.all_or_each(figures, lambda: self._set_all(figures))

    def _set_all(self, figures: Sequence[StockFigure]) -> list[StockEcho]:
        """Tell figures of one item and one kind; what would change nothing is left out."""
        kind = _kind(figures[0])
        told = [one for one in figures if kind == SET or one.quantity != one.believed]
        if not told:
            return [StockEcho() for _ in figures]
        method, business = _stock_call(told, kind)
        try:
            answer = self.call(method, {**business, "type": kind}, writes=True)
        except Rejected as refusal:
            raise self._as_locked(refusal) from refusal
        item = answer.node_or_empty("item")
        return [_echo(item, one.platform_sku_id) if one in told else StockEcho() for one in figures]

    def _as_locked(self, refusal: Rejected) -> Rejected:
        named = self.access.options.get("stock_locked_codes", LOCKED_CODES).split(",")
        codes = {code.strip() for code in named} - {""}
        if refusal.error.sub_code in codes:
            return Rejected(replace(refusal.error, code="stock_locked"))
        return refusal

    # --- stopped parcels ---

    def answer_stop(self, answer: StopAnswer) -> None:
        """Tell whether goods were kept back (AG). The call and its fields are unverified."""
        method = self.access.options.get("stop_method", STOP)
        param = json.dumps(
            _stop_fields(answer, china_text(self.now())), ensure_ascii=False, separators=(",", ":")
        )
        _refuse_a_no(self.call(method, {"param": param}, writes=True))

    # --- notes ---

    def write_memo(self, memo: Memo) -> None:
        """Read, merge, write: the call replaces the whole note, limited to 1000 bytes."""
        was, flag_was = self._memo(memo.channel_number)
        text = merged_note(was, _cut(memo.text), limit=MEMO_BYTES, size=byte_length, unit="字节")
        flag = flag_was if memo.flag is None else str(memo.flag)
        if text is None and flag == flag_was:
            return
        note = was if text is None else text
        business = {"tid": memo.channel_number, "memo": note, "flag": flag}
        self.call(MEMO, business, writes=True)

    def _memo(self, channel_number: str) -> tuple[str, str]:
        trade = self.trade(channel_number, "tid,seller_memo,seller_flag")
        return trade.text("seller_memo"), trade.text("seller_flag")

    # --- asking first ---

    def knows(self, told: Told) -> bool | None:
        """Ask whether a parcel or a note has arrived; of a stock figure nobody can tell."""
        if isinstance(told, ShipNotice):
            return _has_shipped(self.trade(told.channel_number, SHIP_FIELDS), told)
        if isinstance(told, Memo):
            was, flag = self._memo(told.channel_number)
            line = _cut(told.text)
            has_line = not line or line in {one.strip() for one in was.splitlines()}
            return has_line and told.flag in (None, int(flag) if flag.isdecimal() else None)
        return None


def _has_shipped(trade: Node, notice: ShipNotice) -> bool:
    """Whether the platform already knows this parcel for every line of the notice."""
    if notice.carrier == VIRTUAL_CARRIER:
        return trade.text("status") in SHIPPED
    with reading_reply():
        rows = trade.nodes("orders", "order")
    numbers = {row.text("oid"): _numbers(row.text("invoice_no")) for row in rows}
    wanted = [line.channel_line_id for line in notice.lines] or list(numbers)
    return bool(wanted) and all(
        notice.tracking_number in numbers.get(line_id, set()) for line_id in wanted
    )


def _numbers(invoice_no: str) -> set[str]:
    """The parcels of a line; more than one may stand there, parted by commas [G]."""
    return {part.strip() for part in invoice_no.replace(";", ",").split(",")} - {""}


def _refuse_a_no(answer: Node) -> None:
    """Raise Rejected where a result says no; a ``*_response`` alone is a yes."""
    for holder in (answer, answer.node_or_empty("result")):
        flags = [holder.get(key) for key in ("success", "is_success")]
        if False in flags or "false" in flags:
            words = (
                holder.first_text("error_msg", "error_info", "err_message", "msg")
                or "平台没有确认操作成功"
            )
            code = holder.first_text("error_code", "err_code") or "not_confirmed"
            raise Rejected(PlatformError(ErrorClass.BUSINESS, code, words))


def _kind(figure: StockFigure) -> str:
    return SET if figure.believed is None else ADD


def _alike(figures: Sequence[StockFigure]) -> dict[tuple[str, str], list[StockFigure]]:
    """Figures by item and kind."""
    found: dict[tuple[str, str], list[StockFigure]] = {}
    for figure in figures:
        found.setdefault((figure.platform_item_id, _kind(figure)), []).append(figure)
    return found


def _stock_call(figures: Sequence[StockFigure], kind: str) -> tuple[str, dict[str, str]]:
    """The call for SKUs of an item, and for goods without. Raises Rejected without an item."""
    first = figures[0]
    if not first.platform_item_id:
        words = "缺少淘宝商品编号（num_iid），无法同步库存：请先拉取一笔含该商品的订单或补全映射"
        raise Rejected(PlatformError(ErrorClass.BUSINESS, "no_item_id", words))
    business = {"num_iid": first.platform_item_id}
    numbers = [f.quantity - (f.believed or 0) if kind == ADD else f.quantity for f in figures]
    if first.platform_sku_id:
        pairs = zip(figures, numbers, strict=True)
        text = ";".join(f"{figure.platform_sku_id}:{number}" for figure, number in pairs)
        return SKUS, {**business, "skuid_quantities": text}
    return ITEM, {**business, "quantity": str(numbers[0])}


def _echo(item: Node, platform_sku_id: str) -> StockEcho:
    """What the answer says it shows; it took effect, whatever else the answer holds."""
    try:
        if not platform_sku_id:
            return StockEcho(item.optional_whole("num"))
        rows = item.nodes("skus", "sku")
        mine = next((row for row in rows if row.text("sku_id") == platform_sku_id), None)
        return StockEcho(None if mine is None else mine.optional_whole("quantity"))
    except Unreadable:
        return StockEcho()


def _stop_fields(answer: StopAnswer, at: str) -> dict[str, str]:
    """``CancelGoodsDto`` as generated public clients have it; unverified."""
    stopped = answer.outcome is StopOutcome.STOPPED
    fields = {
        "tid": answer.channel_number,
        "oid": answer.channel_line_id,
        "refund_id": answer.refund_id,
        "refund_fee": str(int(answer.amount * 100)),  # fen
        "status": "SUCCESS" if stopped else "FAIL",
        "msg": answer.words,
        "operate_time": at,
    }
    return {name: value for name, value in fields.items() if value}


def _cut(text: str) -> str:
    """One line of at most ``MEMO_BYTES``, no character broken."""
    line = " ".join(text.split())
    return line.encode()[:MEMO_BYTES].decode(errors="ignore").strip()
