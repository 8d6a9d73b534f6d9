"""Lists and exemptions, through the doors: put on, taken off, expired, exempt, ended."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from channels_sync.sheets.xlsx_writing import Column, workbook
from ordercenter.core.clock import now
from ordercenter.core.policy import Role
from risk import lists
from risk.models import Exemption, RuleList, RuleListEntry
from tests.console.conftest import AsRole
from tests.pipeline.seller import Seller, buyer, draft, open_seller, take_one

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>"
PHONE = "13812345678"


@pytest.fixture(autouse=True)
def shipped(db: None) -> None:
    lists.ensure_lists()


@pytest.fixture
def boss(as_role: AsRole) -> Client:
    return as_role(Role.OPERATIONS_SUPERVISOR, username="boss")


@pytest.fixture
def seller() -> Seller:
    return open_seller()


def text(answer: Any) -> str:
    found: str = answer.content.decode()
    return found


def put(client: Client, code: str = "blacklist", **data: Any) -> Any:
    return client.post(f"/lists/{code}/", {"reason": "恶意退款", **data})


def test_lists_are_counted_and_an_empty_one_says_so(boss: Client) -> None:
    put(boss, text=PHONE)
    assert "黑名单" in text(boss.get("/lists/"))
    assert "<b>1</b>" in text(boss.get("/lists/"))
    assert "名单是空的" in text(boss.get("/lists/trusted/"))


def test_rows_are_pasted_and_shown_masked(boss: Client) -> None:
    day = (now() + timedelta(days=30)).date().isoformat()
    assert put(boss, text=f"{PHONE},{HOSTILE},{day}\n13912345678\n").status_code == 302
    page = text(boss.get("/lists/blacklist/"))
    assert PHONE not in page
    assert "138******78" in page
    assert HOSTILE not in page
    assert "恶意退款" in page
    assert "到期" in page


def test_bad_rows_come_back_with_their_numbers_and_the_good_ones_count(boss: Client) -> None:
    answer = put(boss, text=f"{PHONE}\n不是电话\n13912345678,重复下单,2020-01-01")
    page = text(answer)
    assert answer.status_code == 422
    assert "加入 1 条" in page
    assert "有 2 行没有加入" in page
    assert "到期时间已过" in page
    area = page[page.index("<textarea") : page.index("</textarea>")]
    assert "不是电话" in area
    assert "13912345678,重复下单" in area
    assert PHONE not in area
    assert RuleListEntry.objects.count() == 1


def test_a_table_is_taken_in(boss: Client) -> None:
    data = workbook("表", [Column("值"), Column("原因")], [[PHONE, "投诉"], ["x", ""]])
    answer = put(boss, file=SimpleUploadedFile("a.xlsx", data))
    assert "加入 1 条" in text(answer)
    assert '<td class="figure">3</td>' in text(answer)


@pytest.mark.parametrize("data", [{"text": ""}, {"text": PHONE, "expires": "someday"}])
def test_what_cannot_be_taken_is_refused(boss: Client, data: dict[str, str]) -> None:
    assert put(boss, **data).status_code == 422
    assert not RuleListEntry.objects.exists()


def test_one_is_taken_off_once_and_its_history_stays(boss: Client) -> None:
    put(boss, text=PHONE)
    entry = RuleListEntry.objects.get()
    url = f"/lists/blacklist/{entry.pk}/remove/"
    assert boss.post(url, {"reason": ""}).status_code == 422
    assert boss.post(url, {"reason": "核实后为误报"}).status_code == 302
    assert boss.post(url, {"reason": "核实后为误报"}).status_code == 302
    assert boss.post(f"/lists/trusted/{entry.pk}/remove/", {"reason": "x"}).status_code == 404
    entry.refresh_from_db()
    assert entry.removed_by
    boss.get("/lists/")  # where the answers are read
    assert "138******78" not in text(boss.get("/lists/blacklist/"))
    assert "138******78" in text(boss.get("/lists/blacklist/?ended=1"))


def test_a_list_is_searched(boss: Client) -> None:
    put(boss, text=f"{PHONE},差评勒索\n13912345678,恶意退款")
    page = text(boss.get("/lists/blacklist/?q=勒索"))
    assert "138******78" in page
    assert "139******78" not in page
    assert "没有找到" in text(boss.get("/lists/blacklist/?q=%00nothing&page=99999999999"))


def test_a_list_is_made_once(boss: Client) -> None:
    data = {"code": "vip", "name": "老客户", "kind": "trusted", "key": "buyer"}
    assert boss.post("/lists/", data).status_code == 302
    answer = boss.post("/lists/", data)
    assert answer.status_code == 422
    assert "已有名单" in text(answer)
    assert 'value="老客户"' in text(answer)
    assert RuleList.objects.filter(code="vip").count() == 1


def test_who_may_only_look_changes_nothing(as_role: AsRole) -> None:
    reviewer = as_role(Role.REVIEWER)
    assert "加入名单" not in text(reviewer.get("/lists/blacklist/"))
    assert put(reviewer, text=PHONE).status_code == 403
    assert put(reviewer, text="").status_code == 403
    assert reviewer.post("/lists/", {"code": "x"}).status_code == 403
    assert reviewer.post("/exemptions/", {}).status_code == 403
    assert not RuleListEntry.objects.exists()


# --- exemptions -----------------------------------------------------------------------------------


def exempt(client: Client, number: str, **changes: Any) -> Any:
    until = (now() + timedelta(days=30)).date().isoformat()
    data = {"order": number, "key": "buyer", "rule": "", "until": until,
            "reason": "老客户，已核实多次", **changes}  # fmt: skip
    return client.post("/exemptions/", data)


def test_a_customer_is_exempt_until_a_day_and_no_longer_when_ended(
    boss: Client, seller: Seller
) -> None:
    order = take_one(seller.shop, draft(evidence=buyer("买家甲")))
    assert "没有豁免任何买家" in text(boss.get("/exemptions/"))
    assert exempt(boss, order.number).status_code == 302
    page = text(boss.get("/exemptions/"))
    assert order.number in page
    assert "所有二级规则" in page
    one = Exemption.objects.get()
    assert boss.post(f"/exemptions/{one.pk}/end/", {"reason": "短"}).status_code == 422
    assert boss.post(f"/exemptions/{one.pk}/end/", {"reason": "近期多次退款"}).status_code == 302
    assert boss.post(f"/exemptions/{one.pk}/end/", {"reason": "近期多次退款"}).status_code == 302
    assert "没有豁免任何买家" in text(boss.get("/exemptions/"))


@pytest.mark.parametrize(
    "changes",
    [
        {"until": "someday"},
        {"until": "2020-01-01"},
        {"until": "2999-01-01"},
        {"reason": "短"},
        {"key": "device"},
        {"key": "nothing"},
        {"rule": "half_price_60"},
        {"rule": "no such rule"},
    ],
)
def test_an_exemption_that_does_not_hold_water_is_refused(
    boss: Client, seller: Seller, changes: dict[str, str]
) -> None:
    order = take_one(seller.shop, draft(evidence=buyer("买家甲")))
    answer = exempt(boss, order.number, **changes)
    assert answer.status_code == 422
    assert f'value="{order.number}"' in text(answer)
    assert not Exemption.objects.exists()


def test_an_order_nobody_knows_exempts_nobody(boss: Client) -> None:
    assert exempt(boss, "OC%00nothing").status_code == 404
