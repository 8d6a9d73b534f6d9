"""Our own mini-program shop: orders from the private-domain CRM, shipping told to WeChat.

The CRM's wire is ours to define (``channels.md`` 7). WeChat knows the payment only and wants to
hear of the parcel (发货信息管理, ``channels.md`` 6d). Where WeChat answers at another address
than the CRM, the option ``wechat_url`` names it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from channels_sync.connectors.crm.connector import CrmConnector
from channels_sync.connectors.exchange import reading_reply
from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.strict_json import loads_strict
from channels_sync.connectors.values import CHINA, Node
from channels_sync.connectors.wechat import reading as wechat
from channels_sync.connectors.wechat.wire import WeChatLine
from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    Document,
    Rejected,
    ShipNotice,
    Told,
)
from ordercenter.orders.contracts import ReceiverDraft

UPLOAD: Final = "/wxa/sec/order/upload_shipping_info"
PAYMENT: Final = "/wxa/sec/order/get_order"
_BY_MERCHANT_NUMBER: Final = 1
_CARRIER, _VIRTUAL = 1, 3
_NOTHING_NEW: Final = "10060023"
"""The same parcel was reported before. Seen in public integrations, in no stored document."""
_NEEDS_CONTACT: Final = "sf"
_SHORTEST_PHONE: Final = 8


class MiniProgramConnector(WeChatLine, CrmConnector):
    """One mini-program shop."""

    channel: ClassVar[str] = "miniprogram"
    repeatable: ClassVar[frozenset[type]] = frozenset({ShipNotice})

    def ship(self, notice: ShipNotice) -> None:
        """Tell WeChat of the parcel, by the merchant number and our order number.

        The option ``mchid`` names the merchant. WeChat does not know our lines: a parcel that
        holds every piece, or is the last one, ends the shipping; any other leaves the order open.
        """
        parcel: dict[str, Any] = {"item_desc": f"订单 {notice.channel_number}"}
        mode: dict[str, Any] = {"delivery_mode": 1, "logistics_type": _VIRTUAL}
        if notice.carrier != VIRTUAL_CARRIER:
            mode["logistics_type"] = _CARRIER
            parcel["tracking_no"] = notice.tracking_number
            parcel["express_company"] = self.carrier_code(notice.carrier)
        if notice.carrier == _NEEDS_CONTACT:
            parcel |= _contact(self._receiver(notice.channel_number))
        if notice.others or (notice.lines and not self._is_whole(notice)):
            mode |= {"delivery_mode": 2, "is_all_delivered": notice.is_last or not notice.lines}
        body = self._shipping_info(notice, parcel) | mode
        try:
            self.post(UPLOAD, body, writes=True)
        except Rejected as error:
            if error.error.code != _NOTHING_NEW:
                raise

    def test(self) -> None:
        super().test()
        self.exchange_code("")

    def knows(self, told: Told) -> bool | None:
        """Ask WeChat whether the payment carries the parcel."""
        if not isinstance(told, ShipNotice) or told.carrier == VIRTUAL_CARRIER:
            return None
        key = {"merchant_trade_no": told.channel_number}
        if mchid := self.access.options.get("mchid"):
            key["merchant_id"] = mchid
        order = self.post(PAYMENT, key).node_or_empty("order")
        with reading_reply():
            parcels = order.node_or_empty("shipping").nodes("shipping_list")
        return any(parcel.text("tracking_no") == told.tracking_number for parcel in parcels)

    def read_document(self, body: bytes) -> Document:
        """A document of the CRM, or of WeChat's shipping desk."""
        document = Node.of(loads_strict(body))
        if {"errcode", "access_token"} & document.data.keys():
            return wechat.read_document(document, FieldMap.packaged("wechat"))
        return super().read_document(body)

    def _receiver(self, channel_number: str) -> ReceiverDraft:
        with reading_reply():
            found = self.read(self.fetch(channel_number).body)
        return found.receiver or ReceiverDraft()

    def _is_whole(self, notice: ShipNotice) -> bool:
        """Whether the parcel holds every piece of the order."""
        with reading_reply():
            order = self.read(self.fetch(notice.channel_number).body)
        sent = {line.channel_line_id: line.quantity for line in notice.lines}
        return all(sent.get(line.channel_line_id, 0) >= line.quantity for line in order.lines)

    def _shipping_info(self, notice: ShipNotice, parcel: Mapping[str, Any]) -> dict[str, Any]:
        key: dict[str, Any] = {
            "order_number_type": _BY_MERCHANT_NUMBER,
            "out_trade_no": notice.channel_number,
        }
        if mchid := self.access.options.get("mchid"):
            key["mchid"] = mchid
        sent = notice.shipped_at.astimezone(CHINA).isoformat(timespec="milliseconds")
        return {"order_key": key, "shipping_list": [parcel], "upload_time": sent}


def _contact(receiver: ReceiverDraft) -> dict[str, Any]:
    """The receiver's phone as WeChat wants it with SF parcels: masked (``channels.md`` 6d)."""
    phone = receiver.phone
    if len(phone) < _SHORTEST_PHONE:
        return {}
    masked = phone if "*" in phone else f"{phone[:3]}****{phone[-4:]}"
    return {"contact": {"receiver_contact": masked}}
