"""Dead letters, buyers' wishes and notes in a real browser, on a phone."""

import os
from collections.abc import Callable
from datetime import timedelta

import pytest

from channels_sync.models import OutboundMessage
from fulfillment.models import AddressRequest
from ordercenter.core.clock import now
from ordercenter.core.policy import Role
from ordercenter.orders.states import HoldKind
from tests.browser.conftest import PHONE, Visitor
from tests.console.conftest import held_order
from tests.factories import (
    AddressRequestFactory,
    OutboundMessageFactory,
    SalesOrderFactory,
    user_with,
)

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]
HOSTILE = "<img src=x onerror=\"document.title='taken'\">" + "长" * 200


def fits(visitor: Visitor) -> None:
    """Nothing runs over the edge, and every button is as large as a thumb."""
    page = visitor.page
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    small = page.evaluate(
        """() => [...document.querySelectorAll("main button, main .chip, main select")]
            .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 44)
            .map((e) => e.outerHTML)"""
    )
    assert small == []
    assert page.title() != "taken"
    if folder := os.environ.get("SCREENSHOTS"):
        name = page.url.split("/", 3)[3].strip("/").replace("/", "-").partition("?")[0]
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_dead_letters_are_ticked_and_sent_again_with_a_thumb(visit: Visit) -> None:
    order = SalesOrderFactory.create()
    messages = [
        OutboundMessageFactory.create(
            state="dead", order_id=order.pk, error=HOSTILE, created_at=now() - timedelta(days=3),
            kind="memo", payload={"text": HOSTILE},
        )
        for _ in range(2)
    ]  # fmt: skip
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR), PHONE)
    page = visitor.page
    visitor.open("/shops/outbox/")
    fits(visitor)
    for box in page.locator(".pick").all():
        box.tap()
    page.locator("#reason").fill("平台已恢复，重新发送")
    page.get_by_role("button", name="重发所选").tap()
    page.get_by_text("已重新发送 2 条").wait_for()
    states = OutboundMessage.objects.filter(pk__in=[m.pk for m in messages])
    assert set(states.values_list("state", flat=True)) == {"waiting"}


def test_a_wish_is_refused_with_a_reason_and_the_note_of_the_order_goes_out(visit: Visit) -> None:
    hold = held_order(kind=HoldKind.ADDRESS_CHANGE)
    OutboundMessageFactory.create(
        order_id=hold.order_id, shop=hold.order.shop, kind="memo", state="dead", error=HOSTILE,
        payload={"text": HOSTILE},
    )  # fmt: skip
    wish = AddressRequestFactory.create(
        order=hold.order, answer_by=now() + timedelta(hours=3), shown=HOSTILE[:200]
    )
    visitor = visit(user_with(Role.OPERATIONS_SUPERVISOR), PHONE)
    page = visitor.page
    visitor.open("/addresses/")
    fits(visitor)
    page.locator("[name=reason]").fill("包裹已打包")
    page.get_by_role("button", name="拒绝").tap()
    page.get_by_text("已拒绝，正在告知平台").wait_for()
    assert AddressRequest.objects.get(pk=wish.pk).state == "refused"
    visitor.open(f"/orders/{hold.order.number}/")
    fits(visitor)
    page.locator("[name=text]").fill("送到前台")
    page.get_by_role("button", name="回写备注").tap()
    page.get_by_text("备注已排队回写平台").wait_for()
    assert OutboundMessage.objects.filter(kind="memo", state="waiting").count() == 1
