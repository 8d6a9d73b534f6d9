"""The look on the order page, the log of looks, the search by phone, the restriction."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from channels_sync.models import Reveal
from ordercenter.audit.models import AuditRecord
from ordercenter.core.clock import now
from ordercenter.core.policy import Role
from ordercenter.orders.identity import phone_key
from ordercenter.orders.models import OrderEvidence, SalesOrder
from ordercenter.orders.states import OrderStatus
from tests.console.conftest import AsRole, shelved_order
from tests.factories import OrderEvidenceFactory, SalesOrderFactory

pytestmark = pytest.mark.django_db
REASON = "买家来电核对收货地址"
PHONE = "13800138000"


@pytest.fixture
def order(db: None) -> SalesOrder:
    """A clear receiver: 王小明 13800138000 星湖街328号."""
    return shelved_order()


def look(client: Client, order: SalesOrder, **changes: Any) -> Any:
    form = {"scene": "service", "reason": REASON, **changes}
    return client.post(f"/orders/{order.number}/reveal/", form)


def test_a_look_shows_the_receiver_in_its_own_answer_only(
    as_role: AsRole, order: SalesOrder
) -> None:
    client = as_role(Role.REVIEWER)
    page = look(client, order)
    text = page.content.decode()
    assert page.status_code == 200
    for told in ("王小明", PHONE, "星湖街328号"):
        assert told in text
        assert told not in client.get(f"/orders/{order.number}/").content.decode()
    assert page.headers["Cache-Control"] == "no-store, private"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert client.get(f"/orders/{order.number}/reveal/").status_code == 405


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"reason": "看"}, "5 到 500 个字"), ({"scene": ""}, "请选择查看场景"),
     ({"scene": "label"}, "请选择查看场景")],
)  # fmt: skip
def test_a_look_without_a_reason_or_a_scene_is_refused_beside_what_was_typed(
    as_role: AsRole, order: SalesOrder, changes: dict[str, str], words: str
) -> None:
    page = look(as_role(Role.REVIEWER), order, **changes)
    text = page.content.decode()
    assert page.status_code == 422
    assert words in text
    assert PHONE not in text
    assert f'value="{changes.get("reason", REASON)}"' in text
    assert not Reveal.objects.exists()


def test_a_spent_quota_is_429_and_says_so(
    as_role: AsRole, order: SalesOrder, settings: Any
) -> None:
    settings.REVEALS_A_DAY = 1
    client = as_role(Role.REVIEWER)
    assert look(client, order).status_code == 200
    page = look(client, order)
    assert page.status_code == 429
    assert "今日查看明文已达上限 1 次" in page.content.decode()


@pytest.mark.parametrize("role", [Role.FINANCE, Role.IT, Role.PACKER])
def test_the_form_is_only_there_for_who_may_look(
    as_role: AsRole, order: SalesOrder, role: Role
) -> None:
    page = as_role(role).get(f"/orders/{order.number}/")
    assert f"/orders/{order.number}/reveal/" not in page.content.decode()


def test_the_log_says_who_looked_at_whom_for_what_and_nothing_of_the_receiver(
    as_role: AsRole, order: SalesOrder
) -> None:
    look(as_role(Role.CLERK, Role.REVIEWER, username="kefu1"), order)
    Reveal.objects.create(
        shop=order.shop, order_id=order.pk, scene="label", reason="打印面单", seen_by="吴打包",
        seen_by_id="7", asked_platform=True, outcome="quota:52502", at=now(),
    )  # fmt: skip
    text = as_role(Role.OPERATIONS_SUPERVISOR).get("/reveals/").content.decode()
    for told in ("kefu1", order.number, "客服联系买家", REASON, "本地", "已显示",
                 "吴打包", "平台解密", "quota:52502"):  # fmt: skip
        assert told in text
    assert PHONE not in text


def test_the_log_goes_on_without_a_gap(as_role: AsRole, order: SalesOrder) -> None:
    facts = {"shop": order.shop, "order_id": order.pk, "scene": "check", "reason": REASON,
             "seen_by": "x", "seen_by_id": "1", "asked_platform": False}  # fmt: skip
    Reveal.objects.bulk_create(
        [Reveal(**facts, at=now() - timedelta(seconds=n)) for n in range(101)]
    )
    client = as_role(Role.CEO)
    first = client.get("/reveals/")
    second = client.get("/reveals/", {"before": first.context["before"]})
    shown = [row.pk for page in (first, second) for row, _ in page.context["rows"]]
    assert len(shown) == len(set(shown)) == 101
    assert second.context["before"] is None
    assert client.get("/reveals/?before=x").status_code == 200


def test_a_phone_is_searched_by_post_and_stands_in_no_answer(
    as_role: AsRole, order: SalesOrder
) -> None:
    OrderEvidenceFactory.create(order=order, phone_key=phone_key(PHONE))
    client = as_role(Role.REVIEWER)
    page = client.post("/find/", {"phone": "+86 138 0013 8000", "reason": REASON})
    text = page.content.decode()
    assert order.number in text
    assert PHONE not in text
    assert "138 0013 8000" not in text
    assert client.get("/find/", {"phone": PHONE}).context["found"] is None
    assert AuditRecord.objects.filter(object_type="phone_search").count() == 1


def test_an_ended_order_s_receiver_is_restricted_on_its_page(as_role: AsRole) -> None:
    order = SalesOrderFactory.create(status=OrderStatus.SHIPPED)
    OrderEvidenceFactory.create(order=order, phone_key="k")
    client = as_role(Role.CEO)
    path = f"/orders/{order.number}/restrict/"
    assert path in client.get(f"/orders/{order.number}/").content.decode()
    assert path not in as_role(Role.CLERK, Role.REVIEWER).get(
        f"/orders/{order.number}/"
    ).content.decode()  # fmt: skip
    assert client.post(path, {"reason": "删除"}).status_code == 422
    assert client.post(path, {"reason": "买家要求删除个人信息"}).status_code == 302
    text = client.get(f"/orders/{order.number}/").content.decode()
    assert "（已限制处理）" in text
    assert OrderEvidence.objects.get(order=order).phone_key == ""
    page = look(client, order)
    assert (page.status_code, "限制处理" in page.content.decode()) == (409, True)


def test_an_open_order_offers_no_restriction(as_role: AsRole, order: SalesOrder) -> None:
    page = as_role(Role.CEO).get(f"/orders/{order.number}/").content.decode()
    assert f"/orders/{order.number}/restrict/" not in page
