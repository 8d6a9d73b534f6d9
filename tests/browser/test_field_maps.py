"""A field name is changed, tried on a payload, saved and made live, in a real browser."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from channels_sync.models import FieldMap
from ordercenter.core.policy import Role
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.factories import user_with

pytestmark = pytest.mark.browser
ADD = "/admin/channels_sync/fieldmap/add/"
ORDER = {
    "order_no": "A-1", "status": "paid", "total_amount": "9.90", "created_at": 1772327287,
    "updated_at": 1772327287, "items": [{"qty": 1, "unit_price": "9.90"}],
    "customer": {"first_name": "欧阳娜"}, "buyer_remark": "<img src=x onerror=alert(1)>",
}  # fmt: skip


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_a_field_name_is_changed_tried_saved_and_made_live(
    visit: Callable[..., Visitor], size: tuple[int, int]
) -> None:
    visitor = visit(user_with(Role.IT), size)
    page = visitor.page
    visitor.open(ADD)
    page.get_by_role("link", name="通用 JSON 接口").click()
    page.locator("[name='receiver.name.from']").fill("receiver.name，customer.first_name")
    page.get_by_label("试读报文").fill(json.dumps(ORDER, ensure_ascii=False))
    page.get_by_role("button", name="先试读").click()
    expect(page.get_by_role("status")).to_contain_text("欧**")
    expect(page.get_by_role("status")).to_contain_text("<img src=x")
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not page.evaluate(wide)
    page.get_by_label("改动说明").fill("收件人有两个名字")
    page.get_by_role("button", name="保存为新版本").click()
    page.get_by_text("已保存为").wait_for()
    row = FieldMap.objects.get()
    assert row.mapping == {"receiver": {"name": {"from": ["receiver.name", "customer.first_name"]}}}
    visitor.open(f"/admin/channels_sync/fieldmap/{row.pk}/change/")
    expect(page.get_by_text("已改")).to_have_count(1)
