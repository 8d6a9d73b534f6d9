"""The channels' own orders as they come, with one place changed."""

from typing import Any, Final

from channels_sync import services as channels
from channels_sync.contracts import MessageKind, RawMessage
from channels_sync.models import InboxMessage
from ordercenter.pipeline import intake
from tests.factories import ShopFactory

LINES: Final = {
    "taobao": ("orders", "order"),
    "jd": ("itemInfoList",),
    "pinduoduo": ("item_list",),
    "douyin": ("sku_order_list",),
    "shopify": ("line_items",),
    "wechat": ("order_detail", "product_infos"),
    "crm_webhook": ("order", "items"),
    "miniprogram": ("order", "items"),
    "openjson": ("items",),
}
GONE: Final = object()


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The document with another value at ``path``; GONE takes it away."""
    if not path:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    if len(path) > 1:
        changed[path[0]] = put(value[path[0]], path[1:], new)
    elif new is GONE:
        del changed[path[0]]
    else:
        changed[path[0]] = new
    return changed


def lines_of(told: Any, channel: str) -> list[Any]:
    for step in LINES[channel]:
        told = told[step]
    found: list[Any] = told
    return found


def taken(channel: str, *bodies: bytes) -> list[InboxMessage]:
    """Put these into the inbox of a shop, work it off, and return what became of them."""
    currency = "USD" if channel == "shopify" else "CNY"
    shop = ShopFactory.create(channel=channel, currency=currency)
    rows = [RawMessage(MessageKind.ORDER, body) for body in bodies]
    channels.store(rows, source=InboxMessage.Source.POLL, shop_id=shop.pk)
    while intake.run().messages:
        pass
    return list(InboxMessage.objects.filter(shop=shop, kind="order").order_by("pk"))
