"""BP01 to BP20 of ``reliability.md`` 8: strange receivers and remarks, and what becomes of them.

BP01 to BP15 come in through the inbox here, as the platform's own document. BP16 to BP20 are
about looks and searches: ``test_privacy.py`` and ``test_kept_receivers.py`` have tests of those
names.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from django.test import Client

from channels_sync import services as channels
from channels_sync.contracts import MessageKind, RawMessage
from channels_sync.models import InboxMessage
from ordercenter.catalog.models import Shop
from ordercenter.core.policy import Role
from ordercenter.orders.identity import phone_key
from ordercenter.orders.models import OrderEvidence, OrderHold, SalesOrder
from ordercenter.pipeline import intake
from ordercenter.pipeline.drafts import known_receiver
from tests.factories import user_with
from tests.pipeline.seller import open_seller

pytestmark = pytest.mark.django_db
HELD: Final = {"incomplete:receiver"}
FREE: Final = frozenset[str]()
CLEAR: Final = {
    "name": "林小满", "phone": "13900000101", "province": "江苏省", "city": "苏州市",
    "district": "虎丘区", "address": "星湖街328号",
}  # fmt: skip
MASKED: Final = {
    "receiver_name": "林**", "receiver_mobile": "138****1234", "receiver_address": "星湖街***",
    "receiver_state": "江苏省", "receiver_city": "苏州市", "receiver_district": "虎丘区",
    "oaid": "1Abc",
}  # fmt: skip


@dataclass(frozen=True)
class Bad:
    """One input: what is strange about it, and what is to be seen of it afterwards."""

    row: str
    told: dict[str, Any] = field(default_factory=dict)
    channel: str = "openjson"
    remark: str = ""
    holds: frozenset[str] | set[str] = FREE
    words: str = ""
    """What the hold says."""
    phone_key: str | None = ""
    """The phone whose key the order is matched by; None: there is some key."""
    address_key: bool = True
    shown: str | None = None
    """How the receiver looks to everybody."""
    hidden: tuple[str, ...] = ()
    """What no page shows."""


TABLE: Final = (
    Bad("BP01", MASKED, "taobao", shown="林** 138****1234"),
    Bad("BP02", MASKED | {"oaid": "O" * 129}, "taobao", holds=HELD, words="129 字符"),
    Bad("BP03", MASKED | {"oaid": ""}, "taobao", holds=HELD, words="OAID", address_key=False),
    Bad("BP04", {"phone": "18877771111-123"}, shown="林** 188******23"),
    Bad("BP05", {"phone": "   "}, holds=HELD, words="缺少电话"),
    Bad("BP06-landline", {"phone": "0512-66668888"}, phone_key="051266668888"),
    Bad("BP06-+86", {"phone": "+86 138 0013 8000"}, phone_key="13800138000"),
    Bad("BP06-foreign", {"phone": "+1 415 555 2671"}, phone_key="+14155552671"),
    Bad("BP06-nonsense", {"phone": "见备注"}, holds=HELD, words="电话无法识别"),
    Bad("BP07", remark="身份证 110101199003074514 请核", hidden=("110101199003074514",),
        phone_key=None),
    Bad("BP08", remark="退到 6222021234567890123 谢谢", hidden=("6222021234567890123",),
        phone_key=None),
    Bad("BP09", {"province": ""}, holds=HELD, words="缺少省份", phone_key=None, address_key=False),
    Bad("BP10", {"city": "广州市"}, holds=HELD, words="省市不符", phone_key=None),
    Bad("BP11", {"address": "星湖街" * 666 + "1号"}, holds=HELD, words="2000 字", phone_key=None),
    Bad("BP12", {"name": "林"}, phone_key=None, shown="* 139******01"),
    Bad("BP13", {"name": "欧阳娜娜"}, phone_key=None, shown="欧*** 1", hidden=("欧阳",)),
    Bad("BP14-dot", {"name": "阿卜杜拉·买买提"}, phone_key=None, shown="阿***", hidden=("买买提",)),
    Bad("BP14-latin", {"name": "John Smith"}, phone_key=None, shown="J***", hidden=("Smith",)),
    Bad("BP15", {"phone": "", "address": "", "name": ""}, holds=HELD, words="缺少姓名、电话",
        address_key=False),
)  # fmt: skip


def document(bad: Bad) -> tuple[bytes, str]:
    """The order as its platform would tell it."""
    number = "3000000000000000001"
    if bad.channel == "taobao":
        trade = {
            "tid": int(number), "status": "WAIT_SELLER_SEND_GOODS", "payment": "100.00",
            "post_fee": "0.00", "created": "2026-03-01 09:00:00",
            "pay_time": "2026-03-01 09:01:00", "modified": "2026-03-01 09:01:00",
            "orders": {"order": [{
                "oid": int(number), "num_iid": 1, "sku_id": "", "outer_sku_id": "SOFA",
                "title": "沙发", "num": 1, "price": "100.00", "payment": "100.00",
                "divide_order_fee": "100.00", "refund_status": "NO_REFUND",
            }]},
            **bad.told,
        }  # fmt: skip
        return json.dumps(trade).encode(), number
    order = {
        "order_no": number, "status": "paid", "total_amount": "100.00", "paid_amount": "100.00",
        "created_at": "2026-03-01T09:00:00+08:00", "paid_at": "2026-03-01T09:01:00+08:00",
        "updated_at": "2026-03-01T09:01:00+08:00", "currency": "CNY",
        "buyer_remark": bad.remark,
        "payable_amount": "100.00",
        "items": [{"line_no": "1", "sku_code": "SOFA", "title": "沙发", "qty": 1,
                   "unit_price": "100.00", "paid_amount": "100.00"}],
        "receiver": {**CLEAR, **bad.told},
    }  # fmt: skip
    return json.dumps(order, ensure_ascii=False).encode(), number


def taken(bad: Bad) -> SalesOrder:
    """Have the document read off the inbox."""
    seller = open_seller(channel=bad.channel)
    body, number = document(bad)
    raw = RawMessage(MessageKind.ORDER, body, number)
    channels.store([raw], source=InboxMessage.Source.PUSH, shop_id=seller.shop.pk)
    intake.run()
    message = InboxMessage.objects.get()
    assert (message.state, message.error) == ("done", "")
    return SalesOrder.objects.get(shop=Shop.objects.get(pk=seller.shop.pk), channel_number=number)


@pytest.mark.parametrize("bad", TABLE, ids=[one.row for one in TABLE])
def test_a_bad_receiver(bad: Bad) -> None:
    order = taken(bad)
    open_holds = {
        f"{hold.kind}:{hold.code}": hold.words for hold in OrderHold.objects.filter(order=order)
    }
    assert {key for key in open_holds if key.startswith("incomplete")} == bad.holds
    assert bad.words in open_holds.get("incomplete:receiver", bad.words)
    evidence = OrderEvidence.objects.get(order=order)
    if bad.phone_key is None:
        assert evidence.phone_key == phone_key(CLEAR["phone"])
    else:
        assert evidence.phone_key == (phone_key(bad.phone_key) if bad.phone_key else "")
    assert bool(evidence.address_key) == bad.address_key
    if bad.shown is not None:
        assert order.receiver_masked.startswith(bad.shown)
    told = known_receiver(order.receiver_sealed).receiver
    given = bad.told.get("address", CLEAR["address"])
    assert told.address == bad.told.get("receiver_address", given)  # nothing is cut in silence


@pytest.mark.parametrize("bad", [one for one in TABLE if one.hidden], ids=lambda one: one.row)
def test_no_page_shows_what_is_to_be_hidden(bad: Bad, client: Client) -> None:
    order = taken(bad)
    OrderHold.objects.create(
        order=order, kind="rule", code="x", tier="2", words="待查", placed_by={}, opened_version=1,
        opened_at=order.received_at,
    )  # fmt: skip
    client.force_login(
        user_with(Role.OPERATIONS_SUPERVISOR),
        backend="django.contrib.auth.backends.ModelBackend",
    )
    for path in (
        f"/orders/{order.number}/", "/wall/", f"/api/orders/{order.number}/", "/api/orders/",
        f"/admin/orders/salesorder/{order.pk}/change/", "/admin/orders/salesorder/",
    ):  # fmt: skip
        page = client.get(path)
        assert page.status_code == 200, path
        for secret in bad.hidden:
            assert secret not in page.content.decode(), path


def test_every_row_has_a_test() -> None:
    here = Path(__file__).parent
    named = {one.row[:4] for one in TABLE}
    for name in ("test_privacy.py", "test_kept_receivers.py"):
        found = re.findall(r"def test_(bp\d\d)_", (here / name).read_text())
        named |= {row.upper() for row in found}
    assert named == {f"BP{n:02}" for n in range(1, 21)}
