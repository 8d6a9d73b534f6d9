"""Tell JD: parcels, stock, stopped parcels and notes (``channels.md`` 2d)."""

from typing import Any, ClassVar, Final

from channels_sync.connectors.exchange import require_refund_consent, require_success
from channels_sync.connectors.jd.calls import JdCalls
from channels_sync.connectors.values import merged_note
from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    ErrorClass,
    Memo,
    PlatformError,
    Rejected,
    ShipNotice,
    StockEcho,
    StockFigure,
    StopAnswer,
    StopOutcome,
    Told,
    TryLater,
    Unsupported,
)

SHIP: Final = "jingdong.pop.order.shipment"
STOCK: Final = "jingdong.stock.write.updateSkuStock"
STOP: Final = "jingdong.pop.afs.soa.refundapply.replyRefund"
MEMO: Final = "jingdong.pop.order.modifyVenderRemark"
MEMO_LENGTH: Final = 500
SHIP_FIELDS: Final = "orderId,orderState,waybill,logisticsId"
MEMO_FIELDS: Final = "orderId,venderRemark,venderRemarkLevelFlag"
APPROVED, REFUSED = "1", "2"
ON_ITS_WAY: Final = "1"
LOCKED_CODES: Final = "10200101"
"""Unverified: what refuses to lower goods on promotion has to be seen on a real shop."""
WORDS: Final = {
    StopOutcome.STOPPED: "已停止发货",
    StopOutcome.NOT_SYNCED: "订单尚未同步到仓库系统",
    StopOutcome.LABEL_PRINTED: "面单已打印，无法停止发货",
    StopOutcome.SHIPPED: "商品已发出，无法取消",
}
"""JD wants a remark with every review."""


class JdTelling(JdCalls):
    """Options: ``stock_method``, ``store_id``, ``stock_locked_codes``, ``stop_method``,
    ``stop_user``."""

    repeatable: ClassVar[frozenset[type]] = frozenset({ShipNotice, StockFigure, StopAnswer, Memo})
    """Stock is set, never added, so that a repeat changes nothing."""

    # --- parcels ---

    def ship(self, notice: ShipNotice) -> None:
        """Tell the order's parcels; JD takes an order whole. A repeat finds them and is done.

        Parcels of one carrier go as one text, joined by commas (spelt as the order shows them;
        unverified for the call). A parcel that comes after JD has taken the order cannot be
        told any more: Unsupported.
        """
        if notice.carrier == VIRTUAL_CARRIER:
            raise Unsupported("无需物流的发货")
        numbers = [number for number in notice.others if number != notice.tracking_number]
        business = {
            "orderId": notice.channel_number,
            "logiCoprId": self.carrier_code(notice.carrier),  # spelt so by JD
            "logiNo": ",".join([*numbers, notice.tracking_number]),
        }
        try:
            answer = self.call(SHIP, business, writes=True)
            require_success(answer.node_or_empty("sopjosshipment_result").get("success"))
        except Rejected as refusal:
            if refusal.error.klass is not ErrorClass.BUSINESS:
                raise
            told = self._waybills(notice.channel_number)
            if notice.tracking_number in told:
                return
            if told & set(numbers):
                raise Unsupported("给已出库的订单追加运单号") from refusal
            raise

    def _waybills(self, channel_number: str) -> set[str]:
        """The parcels JD knows: "|" stands between carriers, "," between those of one."""
        order = self.order(channel_number, SHIP_FIELDS)
        parts = order.text("waybill").replace("|", ",").split(",")
        return {part.strip() for part in parts} - {""}

    # --- stock ---

    @property
    def stock_interface(self) -> str:
        """The option ``stock_method`` goes before JD's older one."""
        return self.access.options.get("stock_method", STOCK)

    def publish_stock(self, figure: StockFigure) -> StockEcho:
        """Set the figure; JD has no call for a difference and does not say what it shows."""
        if not figure.platform_sku_id:
            words = "缺少京东 SKU 编号，无法同步库存，请先补全映射"
            raise Rejected(PlatformError(ErrorClass.BUSINESS, "no_sku_id", words))
        options = self.access.options
        business = {
            "skuId": figure.platform_sku_id,
            "stockNum": str(figure.quantity),
            "storeId": options.get("store_id", "0"),
        }
        try:
            self.call(self.stock_interface, business, writes=True)
        except Rejected as refusal:
            named = options.get("stock_locked_codes", LOCKED_CODES).split(",")
            if refusal.error.code not in {code.strip() for code in named} - {""}:
                raise
            words = refusal.error.message
            error = PlatformError(
                ErrorClass.BUSINESS, "stock_locked", words, sub_code=refusal.error.code
            )
            raise Rejected(error) from refusal
        return StockEcho()

    # --- stopped parcels ---

    def answer_stop(self, answer: StopAnswer) -> None:
        """Approve the cancellation where the parcel was stopped, else refuse it and say why.

        That answer gives the money back, or keeps it: only shops whose option
        ``answer_refunds`` is ``on`` leave it to the center. The call and its fields are those
        of public client code, unverified.
        """
        require_refund_consent(self.access)
        method = self.access.options.get("stop_method", STOP)
        user = self.access.options.get("stop_user", "ERP")
        self.call(method, _stop_fields(answer, user), writes=True)

    # --- notes ---

    def write_memo(self, memo: Memo) -> None:
        """Read, merge, write: the call replaces the whole note, limited to 500 characters."""
        was, flag_was = self._memo(memo.channel_number)
        text = merged_note(was, _line(memo), limit=MEMO_LENGTH)
        flag = flag_was if memo.flag is None else str(memo.flag)
        if text is None and flag == flag_was:
            return
        business = {
            "order_id": memo.channel_number,
            "remark": was if text is None else text,
            **({"flag": flag} if flag else {}),
        }
        self.call(MEMO, business, writes=True)

    def _memo(self, channel_number: str) -> tuple[str, str]:
        """The note and the flag as they are.

        The order itself tells them in a known form; a note that is not given at all must not
        pass for an empty one, or the next write would drop it.
        """
        order = self.order(channel_number, MEMO_FIELDS)
        note = order.given_text("venderRemark")
        if note is None:
            words = "平台没有给出现有备注，为免覆盖暂不写入"
            raise TryLater(PlatformError(ErrorClass.PLATFORM, "no_memo", words))
        return note, order.text("venderRemarkLevelFlag")

    # --- asking first ---

    def knows(self, told: Told) -> bool | None:
        """Ask whether a parcel or a note has arrived; of the rest nobody can tell."""
        if isinstance(told, ShipNotice):
            return told.tracking_number in self._waybills(told.channel_number)
        if isinstance(told, Memo):
            was, flag = self._memo(told.channel_number)
            has_line = _line(told) in {"", *(one.strip() for one in was.splitlines())}
            return has_line and (told.flag is None or flag == str(told.flag))
        return None


def _line(memo: Memo) -> str:
    return " ".join(memo.text.split())[:MEMO_LENGTH].strip()


def _stop_fields(answer: StopAnswer, user: str) -> dict[str, Any]:
    """``rejectType`` 1: on its way; 5: others. ``outWareStatus`` 1: has left, 2: has not."""
    has_left = answer.outcome is StopOutcome.SHIPPED
    fields = {
        "id": answer.refund_id,
        "checkUserName": user,
        "remark": answer.words or WORDS[answer.outcome],
        "outWareStatus": "1" if has_left else "2",
    }
    if answer.outcome is StopOutcome.STOPPED:
        return {**fields, "status": APPROVED}
    return {**fields, "status": REFUSED, "rejectType": ON_ITS_WAY if has_left else "5"}
