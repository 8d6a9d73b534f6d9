"""What is kept of a receiver, what may be made of it, and what a carrier is told."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from channels_sync.connectors import CONNECTORS
from channels_sync.contracts import Decrypted, DecryptRequest, Unreadable
from channels_sync.models import Reveal
from fulfillment.contracts import Issued, WaybillRequest
from fulfillment.models import CarrierAccount, Waybill
from ordercenter.audit.models import AuditRecord
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed
from ordercenter.core.policy import Role
from ordercenter.orders.contracts import OrderDraft, ReceiverDraft
from ordercenter.orders.errors import BadReason, WrongState
from ordercenter.orders.identity import phone_key
from ordercenter.orders.models import OrderEvidence, SalesOrder
from ordercenter.pipeline import decisions, erasure, finding, intake, privacy, stages
from ordercenter.pipeline.drafts import Known, known_receiver, receiver_keys
from ordercenter.pipeline.privacy import ReceiverRestricted, RevealRefused
from risk.models import Verdict
from tests.factories import (
    InboxMessageFactory,
    ShopAssignmentFactory,
    ShopCredentialFactory,
    user_with,
)
from tests.pipeline.seller import (
    Seller,
    again,
    as_person,
    draft,
    holds,
    pick,
    print_label,
    somebody,
    take,
    take_one,
)

pytestmark = pytest.mark.django_db
FIELDS = ("name", "phone", "province", "city", "district", "address")
ERASE = "买家要求删除个人信息"


def masked(number: int = 1, **changes: Any) -> ReceiverDraft:
    facts = {"name": "林**", "phone": "*******0101", "address": "星湖街***", "is_masked": True}
    return somebody(number, **{**facts, "oaid": "1Sbx", **changes})


def kept(order: SalesOrder) -> Known:
    order.refresh_from_db()
    return known_receiver(order.receiver_sealed)


def keys(order: SalesOrder) -> OrderEvidence:
    return OrderEvidence.objects.get(order=order)


def edit(order: SalesOrder, user: User, **typed: str) -> None:
    """Type some fields on the page; the others go back as they are stored."""
    stored = order.receiver()
    fields = {name: typed.get(name) or str(stored[name]) for name in FIELDS}
    decisions.edit_receiver(
        order.pk, user=user, actor=as_person(user), seen_version=order.version, receiver=fields
    )
    order.refresh_from_db()


# --- evidence -------------------------------------------------------------------------------------


def test_a_masked_phone_left_alone_in_an_edit_never_becomes_a_key(
    seller: Seller, boss: User
) -> None:
    order = take_one(seller.shop, draft(receiver=masked(phone="138****1234")))
    before = keys(order)
    edit(order, boss, name="林小满")
    assert kept(order).receiver.is_masked
    assert kept(order).receiver.oaid == "1Sbx"
    after = keys(order)
    assert (after.phone_key, after.address_key) == ("", before.address_key)


def test_a_phone_typed_over_a_masked_one_is_matched_by(seller: Seller, boss: User) -> None:
    order = take_one(seller.shop, draft(receiver=masked()))
    edit(order, boss, phone="139 0000 0001")
    assert keys(order).phone_key == phone_key("13900000001") != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("13800138000", "+86 138-0013-8000"),
        ("13800138000", "\uff11\uff13\uff18\uff10\uff10\uff11\uff13\uff18\uff10\uff10\uff10"),
        ("0512-66668888", "(0512) 66668888"),
        ("0512-66668888", "0512-66668888-801"),
        ("+1 415-555-2671", "001 4155552671"),
    ],
)
def test_one_line_typed_in_two_ways_is_one_key(one: str, other: str) -> None:
    assert phone_key(one) == phone_key(other) != ""


@pytest.mark.parametrize(
    "phone", ["", " ", "138****1234", "18877771111-123", "12345", "电话见备注"]
)
def test_what_tells_nobody_apart_is_no_key(phone: str) -> None:
    assert phone_key(phone) == ""


def test_a_foreign_number_is_not_a_chinese_mobile_of_the_same_digits() -> None:
    assert phone_key("+1 380 013 8000") != phone_key("13800138000")


def test_an_id_of_one_shop_says_nothing_in_another() -> None:
    assert receiver_keys(masked(), 1) == receiver_keys(masked(), 1)
    assert receiver_keys(masked(), 1) != receiver_keys(masked(), 2)
    assert receiver_keys(masked(oaid=""), 1) == ("", "", None)


def test_an_id_is_kept_with_its_application_and_its_moment(seller: Seller) -> None:
    ShopCredentialFactory.create(shop=seller.shop, app_key="23000001")
    at = clock_now()
    order = take_one(seller.shop, draft(receiver=masked()), now=at)
    source = kept(order).oaid_from
    assert source is not None
    assert (source.app_key, source.at) == ("23000001", at)


# --- BD17: a new week -----------------------------------------------------------------------------


@pytest.fixture
def weekly(seller: Seller) -> tuple[OrderDraft, SalesOrder]:
    """A routed order of last week."""
    told = draft(receiver=masked())
    return told, take_one(seller.shop, told, now=clock_now() - timedelta(days=6))


def test_bd17_a_new_week_s_id_is_the_same_receiver_and_nobody_new(
    weekly: tuple[OrderDraft, SalesOrder], seller: Seller
) -> None:
    told, order = weekly
    verdicts = Verdict.objects.count()
    take(seller.shop, again(told, receiver=masked(oaid="2Sbx")))
    assert kept(order).receiver.oaid == "2Sbx"
    assert (order.status, holds(order)) == ("routed", set())
    assert keys(order).address_key == receiver_keys(masked(oaid="2Sbx"), seller.shop.pk)[1]
    assert Verdict.objects.count() == verdicts
    change = AuditRecord.objects.filter(object_id=order.pk).latest("pk").change
    assert change["receiver_oaid"] == "***"
    assert "2Sbx" not in str(change)


def test_bd17_a_label_printed_last_week_stays_good(
    weekly: tuple[OrderDraft, SalesOrder], seller: Seller, boss: User, carrier: object
) -> None:
    told, order = weekly
    waybill = print_label(order, boss)
    take(seller.shop, again(told, receiver=masked(oaid="2Sbx")))
    waybill.refresh_from_db()
    assert waybill.state == "live"


def test_an_id_that_changes_with_every_call_is_exchanged_once_a_day(seller: Seller) -> None:
    told = draft(receiver=masked())
    order = take_one(seller.shop, told)
    for n in range(3):
        take(seller.shop, again(told, n + 1, receiver=masked(oaid=f"{n}other")))
    assert kept(order).receiver.oaid == "1Sbx"


def test_an_id_that_comes_late_ends_the_hold_for_it(seller: Seller) -> None:
    told = draft(receiver=masked(oaid=""))
    order = take_one(seller.shop, told)
    assert holds(order) == {"incomplete:receiver"}
    take(seller.shop, again(told, receiver=masked()))
    assert holds(order) == set()
    assert kept(order).receiver.oaid == "1Sbx"


# --- labels ---------------------------------------------------------------------------------------


class Carrier:
    """Takes every request and remembers it."""

    def __init__(self) -> None:
        self.requests: list[WaybillRequest] = []

    def create(self, request: WaybillRequest) -> Issued:
        self.requests.append(request)
        return Issued(f"SF{len(self.requests):013}", request.client_reference)


class Opener:
    """A platform that opens every receiver."""

    def __init__(self, **changes: Any) -> None:
        self.changes, self.scenes = changes, list[str]()

    def decrypt(self, requests: list[DecryptRequest]) -> list[Decrypted]:
        self.scenes += [one.scene for one in requests]
        facts = {"name": "林小满", "phone": "18877771111-123", "address": "星湖街328号"}
        return [Decrypted(one.channel_number, **{**facts, **self.changes}) for one in requests]


@pytest.fixture
def sf(monkeypatch: pytest.MonkeyPatch) -> Carrier:
    CarrierAccount.objects.create(
        code="sf", name="顺丰", base_url="http://127.0.0.1:9", account="A", sealed=b"x"
    )
    taking = Carrier()
    monkeypatch.setattr(stages, "speaking", lambda *_: taking)
    return taking


@pytest.fixture
def hidden(seller: Seller, monkeypatch: pytest.MonkeyPatch) -> SalesOrder:
    """A masked order that a label is to be printed for."""
    ShopCredentialFactory.create(shop=seller.shop)
    told = draft(receiver=masked())
    order = take_one(seller.shop, told)
    InboxMessageFactory.create(
        shop=seller.shop, kind="order", channel_number=told.channel_number, state="done"
    )

    class Reader:
        def read(self, _body: bytes) -> OrderDraft:
            return told

    monkeypatch.setattr(privacy, "reader", lambda *_: Reader())
    return order


def opening(monkeypatch: pytest.MonkeyPatch, opener: object) -> None:
    monkeypatch.setattr(privacy, "connector_for", lambda *_: opener)


def test_a_masked_receiver_is_opened_for_the_label_and_not_kept(
    hidden: SalesOrder, boss: User, sf: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    opener = Opener()
    opening(monkeypatch, opener)
    waybill = print_label(hidden, boss)
    assert waybill.state == "live"
    (request,) = sf.requests
    told = request.receiver
    assert (told.name, told.phone, told.address) == ("林小满", "18877771111-123", "星湖街328号")
    assert opener.scenes == ["label"]
    row = Reveal.objects.get()
    assert (row.scene, row.seen_by_id, row.outcome) == ("label", str(boss.pk), "shown")
    assert kept(hidden).receiver.is_masked


@pytest.mark.parametrize(
    "opener",
    [Opener(phone=""), Opener(name="林**"), Opener(address="***"), object()],
    ids=["no phone", "masked name", "masked address", "breaks"],
)
def test_a_masked_receiver_never_goes_to_a_carrier_as_if_it_were_clear(
    hidden: SalesOrder, boss: User, sf: Carrier, monkeypatch: pytest.MonkeyPatch, opener: object
) -> None:
    opening(monkeypatch, opener)
    parcel = pick(hidden, boss)
    with pytest.raises((RevealRefused, AttributeError)):
        stages.request_label(parcel.pk, user=boss, actor=as_person(boss))
    assert sf.requests == []
    assert not Waybill.objects.filter(state="live").exists()


def test_a_platform_that_opens_nothing_stops_the_label_with_words(
    hidden: SalesOrder, boss: User, sf: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden.shop.channel = "jd"
    hidden.shop.save()
    with pytest.raises(RevealRefused, match="没有接入该平台的收件人解密"):
        print_label(hidden, boss)
    assert sf.requests == []


def test_a_carrier_that_knows_who_is_behind_the_mask_gets_the_mask(
    hidden: SalesOrder, boss: User, sf: Carrier
) -> None:
    CarrierAccount.objects.update(options={"takes_masked": "yes"})
    print_label(hidden, boss)
    assert [one.receiver.phone for one in sf.requests] == ["*******0101"]
    assert not Reveal.objects.exists()


def test_labels_do_not_use_up_a_packer_s_own_looks(
    hidden: SalesOrder, boss: User, sf: Carrier, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REVEALS_A_DAY = 1
    opening(monkeypatch, Opener())
    print_label(hidden, boss)
    found = privacy.reveal(
        hidden.pk, scene="service", reason="买家来电核对地址", user=boss, actor=as_person(boss)
    )
    assert found.is_clear


def test_what_somebody_put_right_goes_before_what_the_platform_opens(
    hidden: SalesOrder, boss: User, sf: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening(monkeypatch, Opener())
    edit(hidden, boss, address="科技城2号3栋")
    order = SalesOrder.objects.get(pk=hidden.pk)
    print_label(order, boss)
    told = sf.requests[0].receiver
    assert (told.name, told.address) == ("林小满", "科技城2号3栋")


# --- erasure --------------------------------------------------------------------------------------


def restrict(order: SalesOrder, user: User, reason: str = ERASE) -> None:
    erasure.restrict_receiver(order.pk, user=user, actor=as_person(user), reason=reason)


@pytest.fixture
def ceo(db: None) -> User:
    return user_with(Role.CEO)


def ended(seller: Seller) -> SalesOrder:
    told = draft(receiver=somebody(9))
    order = take_one(seller.shop, told)
    take(seller.shop, again(told, status=type(told.status).CLOSED))
    order.refresh_from_db()
    assert order.status == "canceled"
    return order


def test_bp20_a_restricted_receiver_is_kept_and_opened_to_nobody(seller: Seller, ceo: User) -> None:
    order = ended(seller)
    amount, was = order.payable_amount, order.receiver()
    restrict(order, ceo)
    restrict(order, ceo)
    order.refresh_from_db()
    assert (order.payable_amount, order.receiver_masked) == (amount, "（已限制处理）")
    assert order.receiver() == {**was, "restricted": True}
    for call in (
        lambda: privacy.reveal(order.pk, scene="service", reason=ERASE, user=ceo,
                               actor=as_person(ceo)),
        lambda: privacy.for_label(order, actor=as_person(ceo)),
    ):  # fmt: skip
        with pytest.raises(ReceiverRestricted):
            call()
    assert not Reveal.objects.exists()
    evidence = keys(order)
    assert {evidence.phone_key, evidence.address_key, evidence.buyer_key, evidence.ip} == {""}
    rows = AuditRecord.objects.filter(object_id=order.pk, reason=ERASE)
    assert [row.version for row in rows] == [order.version]


def test_bp20_what_has_still_to_be_shipped_is_not_restricted(seller: Seller, ceo: User) -> None:
    order = take_one(seller.shop, draft())
    with pytest.raises(WrongState):
        restrict(order, ceo)


@pytest.mark.parametrize("role", [Role.CLERK, Role.REVIEWER, Role.IT, Role.WAREHOUSE_SUPERVISOR])
def test_bp20_few_may_restrict(seller: Seller, role: Role) -> None:
    with pytest.raises(NotAllowed):
        restrict(ended(seller), user_with(role))


def test_bp20_a_restriction_needs_a_reason(seller: Seller, ceo: User) -> None:
    with pytest.raises(BadReason):
        restrict(ended(seller), ceo, "删除")


# --- the search by phone --------------------------------------------------------------------------


def search(user: User, phone: str, reason: str = "买家来电查询订单") -> list[str]:
    found = finding.orders_by_phone(phone, reason=reason, user=user, actor=as_person(user))
    return [order.number for order in found]


@pytest.fixture
def clerk(seller: Seller) -> User:
    user = user_with(Role.CLERK)
    ShopAssignmentFactory.create(user=user, shop=seller.shop)
    return user


def test_bp19_a_whole_phone_finds_its_orders_and_is_written_nowhere(
    seller: Seller, clerk: User
) -> None:
    order = take_one(seller.shop, draft(receiver=somebody(5, phone="13800138000")))
    take_one(seller.shop, draft(receiver=somebody(6)))
    take_one(seller.shop, draft(receiver=masked(phone="138****8000")))
    assert search(clerk, "+86 138 0013 8000") == [order.number]
    record = AuditRecord.objects.get(object_type="phone_search")
    assert (record.object_id, record.change) == (clerk.pk, {"by": "phone", "found": 1})
    assert "13800138000" not in str(list(AuditRecord.objects.values()))


def test_bp19_nobody_finds_orders_of_shops_that_are_not_his(seller: Seller) -> None:
    take_one(seller.shop, draft(receiver=somebody(5, phone="13800138000")))
    assert search(user_with(Role.CLERK), "13800138000") == []


@pytest.mark.parametrize("phone", ["138", "138****8000", "", "1380013800*"])
def test_bp19_a_part_of_a_phone_finds_nothing(clerk: User, phone: str) -> None:
    with pytest.raises(InvalidInput):
        search(clerk, phone)
    assert not AuditRecord.objects.filter(object_type="phone_search").exists()


def test_bp19_searches_are_counted_by_day_and_person(
    clerk: User, boss: User, settings: Any
) -> None:
    settings.PHONE_SEARCHES_A_DAY = 2
    search(clerk, "13800138000")
    search(clerk, "13800138001")
    with pytest.raises(finding.SearchesSpent):
        search(clerk, "13800138002")
    assert search(boss, "13800138000") == []


def test_bp19_finance_searches_nobody(seller: Seller) -> None:
    with pytest.raises(NotAllowed):
        search(user_with(Role.FINANCE), "13800138000")


# --- asking again ---------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", sorted(CONNECTORS))
def test_a_wish_to_read_an_order_again_is_no_event_of_any_platform(channel: str) -> None:
    """The worker asks what a hint's bytes say besides its number: nothing."""
    with pytest.raises(Unreadable):
        intake.reader(channel).read_event(b"{}")
