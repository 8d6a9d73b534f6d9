"""Receive Taobao's messages by asking for them (``channels.md`` 1e)."""

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from channels_sync.connectors.exchange import reading_reply
from channels_sync.connectors.strict_json import dump_compact
from channels_sync.connectors.taobao.calls import TaobaoCalls
from channels_sync.connectors.taobao.documents import read_event
from channels_sync.connectors.values import Node, unwrap
from channels_sync.contracts import MessageKind, RawMessage, Unreadable, Unsupported

PERMIT: Final = "taobao.tmc.user.permit"
CONSUME: Final = "taobao.tmc.messages.consume"
CONFIRM: Final = "taobao.tmc.messages.confirm"
AT_ONCE: Final = 200
IDLE_SECONDS: Final = 1.0
TRADE_TOPICS: Final = (
    "TradeCreate TradeBuyerPay TradeBuyerStepPay TradeClose TradeChanged TradeMemoModified "
    "TradeLogisticsAddressChanged TradeSellerShip TradePartlySellerShip TradePartlyRefund "
    "TradeSuccess TradeModifyFee TradeCloseAndModifyDetailOrder"
)
REFUND_TOPICS: Final = (
    "RefundCreated RefundSellerAgreeAgreement RefundSellerRefuseAgreement "
    "RefundBuyerModifyAgreement RefundBuyerReturnGoods RefundClosed RefundSuccess"
)
TOPICS: Final = ",".join(
    (
        *(f"taobao_trade_{topic}" for topic in TRADE_TOPICS.split()),
        *(f"taobao_refund_{topic}" for topic in REFUND_TOPICS.split()),
    )
)


class TaobaoMessages(TaobaoCalls):
    """Options: ``tmc`` (poll, the default, or off), ``tmc_group`` (each shop needs a group of
    its own, default ``default``), ``shop_id`` (the ``taobao_user_id``)."""

    listens: ClassVar[bool] = True

    def listen(
        self, take: Callable[[Sequence[RawMessage]], None], stop: Callable[[], bool]
    ) -> None:
        """Ask for messages until ``stop()``; what ``take`` has stored is confirmed, no more.

        At least once, in any order; what is not confirmed comes again after some minutes.
        Messages of another shop of the same application stay unconfirmed.
        """
        if self.access.options.get("tmc", "poll") == "off":
            raise Unsupported("消息服务（已在店铺设置中关闭）")
        self.call(PERMIT, {"topics": TOPICS})
        while not stop():
            rows = self._consume()
            if not rows:
                time.sleep(IDLE_SECONDS)
                continue
            take([self._message(row) for row in rows])
            self._confirm([number for row in rows if (number := _number(row))])

    def _consume(self) -> list[Any]:
        answer = self.call(CONSUME, {**self._group(), "quantity": str(AT_ONCE)})
        with reading_reply():
            rows = unwrap(answer.get("messages"), "tmc_message")
        return [row for row in rows if self._is_ours(row)]

    def _confirm(self, numbers: Sequence[str]) -> None:
        for start in range(0, len(numbers), AT_ONCE):
            some = ",".join(numbers[start : start + AT_ONCE])
            self.call(CONFIRM, {**self._group(), "s_message_ids": some})

    def _group(self) -> dict[str, str]:
        return {"group_name": self.access.options.get("tmc_group", "default")}

    def _is_ours(self, row: Any) -> bool:
        ours = self.access.options.get("shop_id", "")
        theirs = Node(row).text("user_id") if isinstance(row, dict) else ""
        return not ours or not theirs or ours == theirs

    def _message(self, row: Any) -> RawMessage:
        """The inbox row of one message; what cannot be read is kept with all its bytes."""
        body = dump_compact(row)
        try:
            event, _ = read_event(Node.of(row), self.field_map)
        except Unreadable:
            return RawMessage(MessageKind.UNREADABLE, body, event_id=_number(row))
        return RawMessage(
            MessageKind.EVENT,
            body,
            channel_number=event.channel_number or "",
            event_id=event.event_id,
            occurred_at=event.occurred_at,
        )


def _number(row: Any) -> str:
    return Node(row).optional_id("id") or "" if isinstance(row, dict) else ""
