"""The page of buyers who ask for another address, and the note on the order's page."""

from datetime import timedelta

import pytest

from channels_sync.models import OutboundMessage
from fulfillment.models import AddressRequest
from ordercenter.core.clock import now
from ordercenter.core.policy import Role
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import HoldKind
from tests.console.conftest import AsRole, held_order
from tests.factories import AddressRequestFactory, OutboundMessageFactory, SalesOrderFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def wish() -> AddressRequest:
    hold = held_order(kind=HoldKind.ADDRESS_CHANGE)
    made: AddressRequest = AddressRequestFactory.create(
        order=hold.order, answer_by=now() + timedelta(hours=2, minutes=5)
    )
    return made


def answer(wish: AddressRequest, verb: str, reason: str = "") -> tuple[str, dict[str, str]]:
    return f"/addresses/{wish.pk}/answer/", {"verb": verb, "reason": reason}


def test_the_page_counts_down_and_shows_no_name(as_role: AsRole, wish: AddressRequest) -> None:
    page = as_role(Role.REVIEWER).get("/addresses/").content.decode()
    assert "剩余 2 小时" in page
    assert wish.shown in page
    assert "data-live" in page
    part = as_role(Role.REVIEWER).get("/addresses/?fragment=1").content.decode()
    assert "<html" not in part
    assert wish.order.number in part


def test_a_no_without_a_reason_is_shown_beside_its_field(
    as_role: AsRole, wish: AddressRequest
) -> None:
    browser = as_role(Role.REVIEWER)
    refused = browser.post(*answer(wish, "refuse"))
    assert refused.status_code == 422
    assert f"why-{wish.pk}" in refused.content.decode()
    wish.refresh_from_db()
    assert wish.state == "open"


def test_pressed_twice_it_is_one_answer_and_somebody_elses_is_refused(
    as_role: AsRole, wish: AddressRequest
) -> None:
    first, second = as_role(Role.REVIEWER), as_role(Role.WAREHOUSE_SUPERVISOR)
    assert first.post(*answer(wish, "approve")).status_code == 302
    assert first.post(*answer(wish, "approve")).status_code == 302
    assert second.post(*answer(wish, "refuse", "太晚了")).status_code == 409
    assert OutboundMessage.objects.filter(kind="address").count() == 1
    page = first.get("/addresses/").content.decode()
    assert "没有待答复的改地址申请" in page
    assert "已同意" in page


def order_page(browser: object, order: SalesOrder) -> str:
    content: bytes = browser.get(f"/orders/{order.number}/").content  # type: ignore[attr-defined]
    return content.decode()


def test_the_order_shows_what_its_platform_was_told(as_role: AsRole) -> None:
    order = SalesOrderFactory.create()
    make = OutboundMessageFactory.create
    make(order_id=order.pk, shop=order.shop, state="done",
         payload={"carrier": "sf", "tracking_number": "SF123"})  # fmt: skip
    make(order_id=order.pk, shop=order.shop, kind="memo", state="dead", error="备注过长",
         is_doubtful=True, payload={"text": "<b>送</b>到前台"})  # fmt: skip
    make(order_id=order.pk, shop=order.shop, kind="stop", state="unsupported",
         error="该平台不支持回复退款拦截结果", payload={"outcome": "stopped"})  # fmt: skip
    page = order_page(as_role(Role.REVIEWER), order)
    for words in ("sf SF123", "已写入", "失败", "结果不明", "备注过长", "平台不支持", "已拦下"):
        assert words in page
    assert "&lt;b&gt;送&lt;/b&gt;到前台" in page


def test_a_note_is_queued_and_seen(as_role: AsRole) -> None:
    order = SalesOrderFactory.create(shop__channel="jd")
    browser = as_role(Role.WAREHOUSE_SUPERVISOR)
    page = order_page(browser, order)
    assert "该平台最多 500 个字" in page
    post = {"version": order.version, "text": "送到前台", "flag": "1"}
    for _ in range(2):
        assert browser.post(f"/orders/{order.number}/memo/", post).status_code == 302
    message = OutboundMessage.objects.get(kind="memo")
    assert (message.payload["text"], message.payload["flag"]) == ("送到前台", 1)
    assert "待回传" in order_page(browser, order)


def test_a_note_that_is_too_long_comes_back_as_typed(as_role: AsRole) -> None:
    order = SalesOrderFactory.create(shop__channel="douyin")
    text = "长" * 61
    refused = as_role(Role.REVIEWER).post(
        f"/orders/{order.number}/memo/", {"version": order.version, "text": text, "flag": "2"}
    )
    assert refused.status_code == 422
    page = refused.content.decode()
    assert text in page
    assert "备注太长" in page
    assert '<option value="2" selected>' in page
    assert not OutboundMessage.objects.exists()


def test_who_may_not_note_sees_no_form(as_role: AsRole) -> None:
    order = SalesOrderFactory.create(shop__channel="jd")
    assert "/memo/" not in order_page(as_role(Role.FINANCE), order)
