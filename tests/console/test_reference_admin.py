"""Master data: kept by who may, each change on record, secrets never shown again."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django_q.models import Schedule

from channels_sync.models import CarrierCode
from fulfillment.carriers.account import seal_secrets
from fulfillment.models import CarrierAccount
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.catalog.models import Bundle, Sku
from ordercenter.core.policy import Role
from ordercenter.core.sealing import unseal
from ordercenter.notices.models import Robot
from ordercenter.pipeline.schedules import sync_schedules
from tests.console.conftest import AsRole
from tests.factories import (
    PASSWORD,
    CarrierAccountFactory,
    ListingFactory,
    RobotFactory,
    SkuFactory,
    StageClockFactory,
    SyncCursorFactory,
    UserFactory,
    user_with,
)

pytestmark = pytest.mark.django_db


def form_of(client: Client, path: str) -> dict[str, Any]:
    """The fields of an admin form as the browser would post them back."""
    page = client.get(path)
    assert page.status_code == 200, page.status_code
    form = page.context["adminform"].form
    values: dict[str, Any] = {}
    for bound in form:
        value = bound.value()
        if isinstance(value, bool):
            values |= {bound.html_name: "on"} if value else {}
        elif value is not None:
            values[bound.html_name] = value
    for formset in page.context.get("inline_admin_formsets", ()):
        for bound in formset.formset.management_form:
            values[bound.html_name] = bound.value()
    return values


def test_a_supervisor_changes_a_price_and_the_record_tells_both(as_role: AsRole) -> None:
    sku = SkuFactory.create(base_price="100.00")
    path = f"/admin/catalog/sku/{sku.pk}/change/"
    client = as_role(Role.WAREHOUSE_SUPERVISOR, username="boss")
    assert client.post(path, form_of(client, path) | {"base_price": "88.00"}).status_code == 302
    sku.refresh_from_db()
    assert str(sku.base_price) == "88.00"
    record = AuditRecord.objects.get(action=Action.CATALOG_CHANGED)
    assert record.change == {"base_price": ["100.00", "88.00"]}
    assert (record.object_type, record.object_id, record.actor_name) == ("sku", sku.pk, "boss")


def test_two_people_who_edit_one_row_do_not_undo_each_other(as_role: AsRole) -> None:
    sku = SkuFactory.create(name="旧名", category="旧类")
    path = f"/admin/catalog/sku/{sku.pk}/change/"
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    opened = form_of(client, path)
    Sku.objects.filter(pk=sku.pk).update(category="新类")
    client.post(path, opened | {"name": "新名", "initial-category": "旧类", "category": "新类"})
    sku.refresh_from_db()
    assert (sku.name, sku.category) == ("新名", "新类")


def test_a_form_that_changes_nothing_leaves_no_record(as_role: AsRole) -> None:
    sku = SkuFactory.create()
    path = f"/admin/catalog/sku/{sku.pk}/change/"
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    client.post(path, form_of(client, path))
    assert not AuditRecord.objects.exists()


def test_a_bundle_is_made_with_its_parts_and_the_record_names_them(as_role: AsRole) -> None:
    sku = SkuFactory.create(code="SKU-PILLOW")
    client = as_role(Role.OPERATIONS_SUPERVISOR)
    path = "/admin/catalog/bundle/add/"
    post = form_of(client, path) | {
        "code": "SET-1",
        "name": "靠垫两件套",
        "bundle_parts-TOTAL_FORMS": "1",
        "bundle_parts-0-sku": sku.pk,
        "bundle_parts-0-quantity": "2",
    }
    assert client.post(path, post).status_code == 302
    assert Bundle.objects.get(code="SET-1").bundle_parts.get().quantity == 2
    assert AuditRecord.objects.get().change["parts"] == [None, {"SKU-PILLOW": 2}]


def test_a_hundred_thousand_inline_forms_are_refused(as_role: AsRole) -> None:
    client = as_role(Role.OPERATIONS_SUPERVISOR)
    path = "/admin/catalog/bundle/add/"
    post = form_of(client, path) | {
        "code": "SET-2", "name": "x", "bundle_parts-TOTAL_FORMS": "100000",
    }  # fmt: skip
    assert client.post(path, post).status_code == 400
    assert not Bundle.objects.exists()


def test_what_a_code_stands_for_is_changed_on_its_page_and_not_in_the_admin(
    as_role: AsRole,
) -> None:
    listing = ListingFactory.create()
    was = listing.sku
    path = f"/admin/catalog/listing/{listing.pk}/change/"
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    post = form_of(client, path) | {"sku": SkuFactory.create().pk, "platform_item_id": "9001"}
    assert client.post(path, post).status_code == 302
    listing.refresh_from_db()
    assert (listing.sku, listing.version, listing.platform_item_id) == (was, 1, "9001")
    assert "/listings/map/?shop=" in client.get("/admin/catalog/listing/").content.decode()


PAGES = (
    "catalog/sku", "catalog/bundle", "catalog/giftstrategy",
    "inventory/warehouse", "inventory/virtualwarehouse", "inventory/warehouseassignment",
    "catalog/shopassignment", "inventory/bin", "inventory/channelquota", "inventory/safetystock",
    "inventory/stockpolicy", "inventory/stockslice",
)  # fmt: skip
ACCOUNTS = ("channels_sync/carriercode", "notices/robot", "fulfillment/carrieraccount")
SUPERVISORS = {Role.WAREHOUSE_SUPERVISOR, Role.OPERATIONS_SUPERVISOR}
MAY_ADD = {
    **dict.fromkeys(PAGES, SUPERVISORS),
    **{page: {Role.IT} for page in ACCOUNTS},
    "fulfillment/stageclock": SUPERVISORS,
    "auth/user": {Role.CEO},
    "channels_sync/apitoken": {Role.CEO},
    "orders/interceptionpolicy": {Role.CEO},
    "channels_sync/fieldmap": {Role.IT},
}
READ_ONLY = {
    "orders/salesorder", "orders/orderhold", "audit/auditrecord", "channels_sync/inboxmessage",
    "channels_sync/outboundmessage", "fulfillment/parcel", "fulfillment/waybill",
    "fulfillment/stagetask", "inventory/stocklevel", "inventory/reservation",
    "inventory/stockmovement", "inventory/inbound", "inventory/transfer", "inventory/adjustment",
    "inventory/stockcount", "inventory/stockfile", "inventory/stockbuffer", "inventory/clawback",
    "risk/verdict", "risk/ruleset",
}  # fmt: skip
MADE_ELSEWHERE = {"catalog/shop", "catalog/listing"}
"""Rows nobody adds here, though some of their fields are kept."""


def test_every_admin_page_is_in_one_of_the_tables() -> None:
    from django.contrib import admin  # noqa: PLC0415 - the registry, filled by now

    known = {f"{m._meta.app_label}/{m._meta.model_name}" for m in admin.site._registry}
    assert known == set(MAY_ADD) | READ_ONLY | MADE_ELSEWHERE


@pytest.mark.parametrize("role", list(Role))
def test_a_page_to_add_opens_for_its_roles_and_no_other(as_role: AsRole, role: Role) -> None:
    client = as_role(role)
    for page, roles in MAY_ADD.items():
        wanted = 200 if role in roles else 403
        assert client.get(f"/admin/{page}/add/").status_code == wanted, page
    for page in READ_ONLY | MADE_ELSEWHERE:
        assert client.get(f"/admin/{page}/add/").status_code == 403, page


def test_what_others_point_at_is_not_deleted(as_role: AsRole) -> None:
    sku = SkuFactory.create()
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    assert client.post(f"/admin/catalog/sku/{sku.pk}/delete/", {"post": "yes"}).status_code == 403
    post = {"action": "delete_selected", "_selected_action": [sku.pk], "post": "yes", "index": 0}
    assert client.post("/admin/catalog/sku/", post).status_code == 403
    assert Sku.objects.filter(pk=sku.pk).exists()


def carrier_account() -> CarrierAccount:
    account: CarrierAccount = CarrierAccountFactory.create(
        sealed=seal_secrets(secret="the-secret", push_token="the-push-token")
    )
    return account


def secrets_of(account: CarrierAccount) -> dict[str, str]:
    sealed = CarrierAccount.objects.get(pk=account.pk).sealed
    found: dict[str, str] = unseal(sealed, purpose="carrier-account")
    return found


def test_it_gives_a_carrier_its_secrets_and_nobody_sees_them_again(as_role: AsRole) -> None:
    account = carrier_account()
    path = f"/admin/fulfillment/carrieraccount/{account.pk}/change/"
    client = as_role(Role.IT)
    page = client.get(path).content.decode()
    assert "the-secret" not in page
    assert "the-push-token" not in page
    assert re.search(r'<input[^>]*name="secret"[^>]*type="password"|'
                     r'<input[^>]*type="password"[^>]*name="secret"', page)  # fmt: skip
    post = form_of(client, path) | {"secret": "brand-new", "options": "{}"}
    assert client.post(path, post).status_code == 302
    assert secrets_of(account) == {"secret": "brand-new", "push_token": "the-push-token"}
    record = AuditRecord.objects.get()
    assert record.change == {"secret": ["***", "***"]}
    assert "brand-new" not in client.get(path).content.decode()


def test_secrets_left_empty_stay_as_they_are(as_role: AsRole) -> None:
    account = carrier_account()
    path = f"/admin/fulfillment/carrieraccount/{account.pk}/change/"
    client = as_role(Role.IT)
    post = form_of(client, path) | {"base_url": "http://127.0.0.1:9/", "options": "{}"}
    assert client.post(path, post).status_code == 302
    account.refresh_from_db()
    assert account.base_url == "http://127.0.0.1:9/"
    assert secrets_of(account)["secret"] == "the-secret"


def test_a_refused_form_does_not_bring_the_typed_secret_back(as_role: AsRole) -> None:
    account = carrier_account()
    path = f"/admin/fulfillment/carrieraccount/{account.pk}/change/"
    client = as_role(Role.IT)
    post = form_of(client, path) | {"secret": "typed-secret", "base_url": "nonsense"}
    answer = client.post(path, post)
    assert answer.status_code == 200
    assert "typed-secret" not in answer.content.decode()


def test_a_new_robot_comes_with_sealed_secrets(as_role: AsRole) -> None:
    client = as_role(Role.IT)
    post = {"code": "r", "name": "主管群", "kind": "dingtalk", "base_url": "http://127.0.0.1:9/",
            "min_tier": "2", "addressees": ["finance", "ceo"],
            "access_token": "token", "secret": "", "keyword": ""}  # fmt: skip
    assert client.post("/admin/notices/robot/add/", post).status_code == 302
    robot = Robot.objects.get(code="r")
    assert robot.addressees == ["finance", "ceo"]
    assert unseal(robot.sealed, purpose="robot")["access_token"] == "token"
    assert "token" not in str(list(AuditRecord.objects.values_list("change", flat=True))).replace(
        "access_token", ""
    )


def test_a_robot_is_kept_by_it_alone(as_role: AsRole) -> None:
    robot = RobotFactory.create()
    path = f"/admin/notices/robot/{robot.pk}/change/"
    assert as_role(Role.WAREHOUSE_SUPERVISOR).get(path).status_code == 403
    assert as_role(Role.IT).get(path).status_code == 200


def test_a_clock_is_changed_by_operations_and_on_record(as_role: AsRole) -> None:
    clock = StageClockFactory.create(minutes=120)
    path = f"/admin/fulfillment/stageclock/{clock.pk}/change/"
    client = as_role(Role.OPERATIONS_SUPERVISOR)
    assert client.post(path, form_of(client, path) | {"minutes": "90"}).status_code == 302
    assert AuditRecord.objects.get(action=Action.RULES_CHANGED).change == {"minutes": [120, 90]}


# People


def test_the_ceo_gives_a_role_and_it_is_on_record(as_role: AsRole) -> None:
    person = UserFactory.create(username="new")
    reviewer = Group.objects.get(name=Role.REVIEWER)
    client = as_role(Role.CEO)
    path = f"/admin/auth/user/{person.pk}/change/"
    assert client.post(path, form_of(client, path) | {"groups": [reviewer.pk]}).status_code == 302
    assert list(person.groups.all()) == [reviewer]
    record = AuditRecord.objects.get(object_type="user")
    assert record.change == {"groups": [[], ["reviewer"]]}


def test_nobody_gives_himself_a_role(as_role: AsRole) -> None:
    client = as_role(Role.CEO, username="ceo")
    ceo = User.objects.get(username="ceo")
    finance = Group.objects.get(name=Role.FINANCE)
    path = f"/admin/auth/user/{ceo.pk}/change/"
    client.post(path, form_of(client, path) | {"groups": [finance.pk], "is_active": ""})
    ceo = User.objects.get(username="ceo")
    assert [group.name for group in ceo.groups.all()] == [Role.CEO]
    assert ceo.is_active


def test_no_form_makes_a_technical_administrator(as_role: AsRole) -> None:
    person = UserFactory.create(username="new")
    root = UserFactory.create(username="technician", is_superuser=True)
    client = as_role(Role.CEO)
    path = f"/admin/auth/user/{person.pk}/change/"
    page = client.get(path).content.decode()
    assert "is_superuser" not in page
    assert "user_permissions" not in page
    client.post(path, form_of(client, path) | {"is_superuser": "on", "user_permissions": ["1"]})
    person.refresh_from_db()
    assert not person.is_superuser
    assert not person.user_permissions.exists()
    assert client.get(f"/admin/auth/user/{root.pk}/change/").status_code == 404
    assert client.get(f"/admin/auth/user/{root.pk}/password/").status_code in {403, 404}
    assert "technician" not in client.get("/admin/auth/user/").content.decode()


def test_a_new_person_can_log_in_and_has_no_role(as_role: AsRole) -> None:
    client = as_role(Role.CEO)
    post = {"username": "zhang", "usable_password": "true", "password1": PASSWORD,
            "password2": PASSWORD}  # fmt: skip
    assert client.post("/admin/auth/user/add/", post).status_code == 302
    person = User.objects.get(username="zhang")
    assert person.is_staff
    assert not person.groups.exists()
    assert (
        Client().post("/admin/login/", {"username": "zhang", "password": PASSWORD}).status_code
        == 302
    )
    records = str(list(AuditRecord.objects.values_list("change", flat=True)))
    assert person.password not in records


def test_a_password_set_for_somebody_is_on_record_without_it(as_role: AsRole) -> None:
    person = user_with(Role.PICKER, username="li")
    post = {"password1": "another-five-word-pass", "password2": "another-five-word-pass",
            "usable_password": "true"}  # fmt: skip
    path = f"/admin/auth/user/{person.pk}/password/"
    assert as_role(Role.IT).post(path, post).status_code == 403
    assert as_role(Role.CEO).post(path, post).status_code == 302
    assert AuditRecord.objects.get(object_type="user").change == {"password": ["***", "***"]}


def test_a_shop_switched_off_is_read_no_more_and_its_channel_is_not_for_changing(
    as_role: AsRole,
) -> None:
    cursor = SyncCursorFactory.create(shop__code="OLD01")
    shop = cursor.shop
    sync_schedules()
    assert Schedule.objects.filter(name="oc:poll:OLD01").exists()
    path = f"/admin/catalog/shop/{shop.pk}/change/"
    client = as_role(Role.IT)
    post = form_of(client, path) | {"is_active": "", "channel": "jd", "name": "改名"}
    post.pop("is_active")
    assert client.post(path, post).status_code == 302
    shop.refresh_from_db()
    assert (shop.is_active, shop.channel, shop.name) == (False, "taobao", "改名")
    assert not Schedule.objects.filter(name="oc:poll:OLD01").exists()
    assert f'href="/shops/{shop.code}/"' in client.get(path).content.decode()


def test_a_platforms_name_of_a_carrier_is_kept_by_it(as_role: AsRole) -> None:
    client = as_role(Role.IT)
    post = {"channel": "jd", "carrier": "sf", "code": "467"}
    assert client.post("/admin/channels_sync/carriercode/add/", post).status_code == 302
    assert str(CarrierCode.objects.get()) == "京东 sf=467"
    assert AuditRecord.objects.get(object_type="carriercode").change["code"] == [None, "467"]
