"""A receiver is seen by scene, within quotas, and never without a record."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, transaction

from channels_sync.contracts import (
    Decrypted,
    DecryptRequest,
    ErrorClass,
    PlatformError,
    Rejected,
    TryLater,
)
from channels_sync.models import InboxMessage, Reveal, ShopCredential
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import Role
from ordercenter.notices.models import Notice
from ordercenter.orders.errors import BadReason
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import demo, drafts, intake, privacy, pulling
from ordercenter.pipeline.privacy import RevealQuotaSpent, RevealRefused
from tests.factories import (
    InboxMessageFactory,
    RobotFactory,
    ShopAssignmentFactory,
    ShopCredentialFactory,
    user_with,
)
from tests.pipeline.lines import SELLER, URL, ask, connected, sandbox
from tests.pipeline.seller import Seller, as_person, draft, somebody, take_one
from tests.sandbox.callers import Bench

pytestmark = pytest.mark.django_db
REASON = "买家来电核对收货地址"
MASKED = {"name": "林**", "phone": "*******0101", "address": "星湖街***", "is_masked": True}


def look(order: SalesOrder, user: User, **changes: Any) -> privacy.Receiver:
    facts = {"scene": "service", "reason": REASON, **changes}
    return privacy.reveal(order.pk, user=user, actor=as_person(user), **facts)


# --- over the wire of the sandbox -----------------------------------------------------------------


class Market:
    """The demo's shops with two paid orders each, read in; every call is counted."""

    def __init__(self, *codes: str) -> None:
        demo.load(SELLER, sandbox_url=URL, password="a-password")
        self.bench: Bench = sandbox()
        self.asked: list[httpx.Request] = []
        for code in codes:
            self.bench.sell_paid(code, 2)
        self.read(*codes)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return ask(self.bench)(request)

    def read(self, *codes: str) -> None:
        with connected(self.answer):
            for shop in Shop.objects.filter(code__in=codes):
                pulling.poll_shop(shop.pk)
        while intake.run().messages:
            pass

    def order(self, code: str) -> SalesOrder:
        return SalesOrder.objects.filter(shop__code=code).select_related("shop").order_by("pk")[0]

    def truth(self, order: SalesOrder) -> Any:
        told = self.bench.book.get(order.shop.code, order.channel_number)
        assert told is not None
        return told.receiver


@pytest.mark.parametrize("code", ["TB01", "DY01", "PD01"])
def test_a_masked_receiver_is_opened_by_its_platform_and_kept_nowhere(code: str) -> None:
    market = Market(code)
    order, user = market.order(code), User.objects.get(username="kefu")
    truth = market.truth(order)
    assert order.receiver()["is_masked"]
    before = bytes(order.receiver_sealed)
    market.asked.clear()
    with connected(market.answer):
        found = look(order, user)
    assert found.is_clear
    assert (found.name, truth.address in found.address) == (truth.name, True)
    assert found.phone.startswith(truth.phone)
    assert len(market.asked) == 1
    row = Reveal.objects.get()
    assert (row.order_id, row.scene, row.reason, row.asked_platform, row.outcome) == (
        order.pk, "service", REASON, True, "shown",
    )  # fmt: skip
    order.refresh_from_db()
    assert bytes(order.receiver_sealed) == before
    kept = str(list(AuditRecord.objects.values())) + str(list(Reveal.objects.values()))
    for secret in (truth.name, truth.phone, truth.address):
        assert secret not in kept


def test_a_virtual_number_comes_with_its_extension_and_its_end() -> None:
    market = Market("TB01")
    order = market.order("TB01")
    with connected(market.answer):
        found = look(order, User.objects.get(username="kefu"))
    assert found.is_virtual
    assert found.phone.count("-") == 1
    assert found.expires_at is not None
    assert found.expires_at > clock_now()


@pytest.mark.parametrize("code", ["SH01", "MP01", "CR01", "WX01"])
def test_a_receiver_told_in_the_clear_is_unsealed_without_a_call_and_on_record(code: str) -> None:
    market = Market(code)
    order = market.order(code)
    truth = market.truth(order)
    market.asked.clear()
    with connected(market.answer):
        found = look(order, User.objects.get(username="kefu"))
    assert (found.name.replace(" ", ""), found.phone[-4:]) == (truth.name, truth.phone[-4:])
    assert market.asked == []
    assert (Reveal.objects.get().asked_platform, Reveal.objects.get().outcome) == (False, "shown")


def test_looks_are_platform_calls_one_for_one() -> None:
    codes = ("TB01", "DY01", "PD01", "SH01")
    market = Market(*codes)
    user = User.objects.get(username="kefu")
    market.asked.clear()
    with connected(market.answer):
        for order in SalesOrder.objects.all():
            look(order, user)
            look(order, user, scene="after_sales")
    assert Reveal.objects.count() == 16
    assert len(market.asked) == Reveal.objects.filter(asked_platform=True).count() == 12


def test_a_platform_without_such_a_call_is_said_so() -> None:
    market = Market("JD01")
    order = market.order("JD01")
    with connected(market.answer), pytest.raises(RevealRefused, match="没有接入该平台的收件人解密"):
        look(order, User.objects.get(username="kefu"))
    assert Reveal.objects.get().outcome.startswith("unsupported")


def test_a_stale_id_asks_for_the_order_again_and_opens_then() -> None:
    market = Market("TB01")
    order, user = market.order("TB01"), User.objects.get(username="kefu")
    told = market.bench.book.get("TB01", order.channel_number)
    assert told is not None
    told.address_version += 1
    market.bench.book.touch(told)  # the id has changed and we have not heard
    with connected(market.answer):
        with pytest.raises(RevealRefused, match="请先刷新订单"):
            look(order, user)
        assert Reveal.objects.get().outcome == "stale:stale_oaid"
        hint = InboxMessage.objects.get(kind="event")
        assert hint.channel_number == order.channel_number
        pulling.fetch_hints()
        hint.refresh_from_db()
        assert hint.state == "done"
        while intake.run().messages:
            pass
        assert look(order, user).is_clear


def test_a_shop_whose_application_changed_is_not_asked_by_the_old_ones_id() -> None:
    market = Market("TB01")
    order, user = market.order("TB01"), User.objects.get(username="kefu")
    source = drafts.known_receiver(order.receiver_sealed).oaid_from
    assert source is not None
    assert source.app_key == ShopCredential.objects.get(shop=order.shop).app_key
    ShopCredential.objects.filter(shop=order.shop).update(app_key="another")
    market.asked.clear()
    with connected(market.answer), pytest.raises(RevealRefused, match="请先刷新订单"):
        look(order, user)
    assert market.asked == []


@pytest.mark.parametrize("code", ["TB01", "DY01", "PD01"])
def test_bp16_a_spent_platform_quota_is_said_and_loses_nothing(code: str) -> None:
    market = Market(code)
    order = market.order(code)
    market.bench.shop(code).options["decrypt_quota"] = "0"
    status = order.status
    with connected(market.answer), pytest.raises(RevealRefused, match="额度已用完，订单不受影响"):
        look(order, User.objects.get(username="kefu"))
    order.refresh_from_db()
    assert order.status == status
    assert Reveal.objects.get().outcome.startswith("quota")


def test_the_shops_own_quota_is_kept_to_before_the_platform_is_asked() -> None:
    market = Market("TB01")
    order, user = market.order("TB01"), User.objects.get(username="kefu")
    row = ShopCredential.objects.get(shop=order.shop)
    row.options = {**row.options, "decrypt_quota": "1"}
    row.save()
    with connected(market.answer):
        assert look(order, user).is_clear
        market.asked.clear()
        with pytest.raises(RevealRefused, match="额度已用完"):
            look(order, user)
    assert market.asked == []
    assert Reveal.objects.count() == 1


# --- what a platform may answer -------------------------------------------------------------------


class Platform:
    """A shop's connector that answers as the test says."""

    def __init__(self) -> None:
        self.asked: list[DecryptRequest] = []
        self.answers: list[Any] = []

    def decrypt(self, requests: list[DecryptRequest]) -> list[Decrypted]:
        self.asked += requests
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [answer(one) if callable(answer) else answer for one in requests]


def opened(one: DecryptRequest, **changes: Any) -> Decrypted:
    facts = {"name": "林小满", "phone": "19900000101", "address": "星湖街328号", **changes}
    return Decrypted(one.channel_number, **facts)


def refusing(code: str, words: str = "") -> Callable[[DecryptRequest], Decrypted]:
    error = PlatformError(ErrorClass.BUSINESS, code, words)
    return lambda one: Decrypted(one.channel_number, error=error)


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    answering = Platform()
    monkeypatch.setattr(privacy, "connector_for", lambda *_: answering)
    return answering


@pytest.fixture
def clerk(seller: Seller) -> User:
    user = user_with(Role.CLERK)
    ShopAssignmentFactory.create(user=user, shop=seller.shop)
    return user


@pytest.fixture
def order(seller: Seller, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> SalesOrder:
    """A masked order of a shop with a credential, and its bytes in the inbox."""
    ShopCredentialFactory.create(shop=seller.shop)
    told = draft(receiver=somebody(1, **MASKED, oaid="1Sbx"))
    with transaction.atomic():
        made = take_one(seller.shop, told)
    InboxMessageFactory.create(
        shop=seller.shop, kind="order", channel_number=told.channel_number, state="done"
    )
    monkeypatch.setattr(privacy, "reader", lambda *_: Reader(told))
    return made


class Reader:
    def __init__(self, told: Any) -> None:
        self.told = told

    def read(self, _body: bytes) -> Any:
        return self.told


def test_the_record_is_there_before_the_platform_is_asked(
    order: SalesOrder, clerk: User, platform: Platform
) -> None:
    def answer(one: DecryptRequest) -> Decrypted:
        row = Reveal.objects.get()
        assert (row.order_id, row.asked_platform, row.outcome) == (order.pk, True, "")
        assert AuditRecord.objects.filter(action=Action.RECEIVER_REVEALED).count() == 1
        return opened(one)

    platform.answers = [answer]
    assert look(order, clerk).is_clear


@pytest.mark.django_db(transaction=True)
def test_no_platform_is_asked_while_the_record_could_still_be_taken_back(
    order: SalesOrder, clerk: User, platform: Platform
) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        look(order, clerk)
    assert platform.asked == []


def test_a_look_that_breaks_stays_on_record(
    order: SalesOrder, clerk: User, platform: Platform
) -> None:
    platform.answers = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        look(order, clerk)
    assert Reveal.objects.get().outcome == "fault"


def test_a_record_of_a_look_can_be_neither_changed_nor_deleted(
    order: SalesOrder, clerk: User, platform: Platform
) -> None:
    platform.answers = [opened]
    look(order, clerk)
    for change in (
        lambda: Reveal.objects.update(seen_by="somebody else"),
        lambda: Reveal.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            change()


def test_bp17_a_closed_order_shows_what_is_masked_and_is_never_asked_again(
    order: SalesOrder, clerk: User, platform: Platform
) -> None:
    platform.answers = [refusing("DECRYPTION_DISABLED_BY_ORDERCLOSED")]
    first, second = look(order, clerk), look(order, clerk)
    assert first == second
    assert first.name == order.receiver_masked == "林** *******0101"
    assert (first.is_clear, bool(first.note)) == (False, True)
    assert len(platform.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        refusing("52500", "密文无效"),
        refusing("300008", "密文与订单不匹配"),
        lambda one: replace(opened(one), channel_number="another"),
    ],
)
def test_bp18_a_cipher_of_another_shop_shows_nothing_and_is_an_alarm(
    order: SalesOrder, clerk: User, platform: Platform, answer: Any
) -> None:
    RobotFactory.create()
    platform.answers = [answer]
    with pytest.raises(RevealRefused, match="已停止并告警"):
        look(order, clerk)
    assert Reveal.objects.get().outcome.startswith("foreign")
    notice = Notice.objects.get()
    assert (notice.urgency, notice.text) == ("3", order.number)


def test_bytes_of_another_order_are_never_sent_to_be_opened(
    order: SalesOrder, clerk: User, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy, "reader", lambda *_: Reader(draft()))
    with pytest.raises(RevealRefused, match="已停止并告警"):
        look(order, clerk)
    assert platform.asked == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (TryLater(PlatformError(ErrorClass.PLATFORM, "timeout", "")), ("暂时没有答复", "later")),
        (Rejected(PlatformError(ErrorClass.AUTH, "27", "Invalid session")), ("授权失效", "auth")),
        (
            Rejected(PlatformError(ErrorClass.BUSINESS, "b1", "不许")),
            ("没有给出明文：不许", "other"),
        ),
        (refusing("isv.decrypt-quota-exceeded", "x"), ("额度已用完", "quota")),
    ],
)
def test_each_refusal_is_said_in_words(
    order: SalesOrder, clerk: User, platform: Platform, answer: Any, said: tuple[str, str]
) -> None:
    platform.answers = [answer]
    words, outcome = said
    with pytest.raises(RevealRefused, match=words):
        look(order, clerk)
    assert Reveal.objects.get().outcome.partition(":")[0] == outcome


def test_a_shop_may_say_what_an_undocumented_code_means(
    order: SalesOrder, clerk: User, platform: Platform
) -> None:
    ShopCredential.objects.update(
        options={"decrypt_code.77": "closed", "scene.service": "1001"}
    )  # fmt: skip
    platform.answers = [refusing("77", "???")]
    assert not look(order, clerk).is_clear
    assert platform.asked[0].scene == "1001"


def test_no_words_of_a_look_hold_the_receiver(
    order: SalesOrder, clerk: User, platform: Platform
) -> None:
    platform.answers = [opened]
    found = look(order, clerk)
    for secret in ("林小满", "19900000101", "星湖街328号"):
        assert secret not in repr(found)
    assert "林小满" not in repr(opened(platform.asked[0]))


# --- who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.FINANCE, Role.IT, Role.SCREEN, Role.PICKER, Role.PACKER])
def test_x15_who_has_no_business_with_buyers_sees_none(
    role: Role, order: SalesOrder, platform: Platform
) -> None:
    with pytest.raises(NotAllowed):
        look(order, user_with(role))
    assert (platform.asked, Reveal.objects.count()) == ([], 0)


def test_an_order_of_another_shop_does_not_exist(order: SalesOrder, platform: Platform) -> None:
    with pytest.raises(NotFound):
        look(order, user_with(Role.CLERK))


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [({"reason": "看看"}, BadReason), ({"reason": "  1234  "}, BadReason),
     ({"scene": "label"}, InvalidInput), ({"scene": ""}, InvalidInput)],
)  # fmt: skip
def test_a_look_needs_a_scene_and_a_reason(
    order: SalesOrder, clerk: User, platform: Platform, changes: Any, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        look(order, clerk, **changes)
    assert (platform.asked, Reveal.objects.count()) == ([], 0)


def test_x31_the_look_over_the_quota_is_refused_and_the_supervisor_told(
    order: SalesOrder, clerk: User, platform: Platform, settings: Any
) -> None:
    RobotFactory.create()
    settings.REVEALS_A_DAY = 200
    facts = {"shop_id": order.shop_id, "order_id": 1, "scene": "check", "reason": REASON,
             "seen_by": "王客服", "seen_by_id": str(clerk.pk), "asked_platform": True}  # fmt: skip
    Reveal.objects.bulk_create([Reveal(**facts, at=clock_now()) for _ in range(199)])
    yesterday = clock_now() - timedelta(days=1)
    Reveal.objects.bulk_create([Reveal(**facts, at=yesterday) for _ in range(50)])
    Reveal.objects.create(**{**facts, "scene": "label"}, at=clock_now())
    platform.answers = [opened, opened]
    assert look(order, clerk).is_clear
    for _ in range(2):
        with pytest.raises(RevealQuotaSpent) as refusal:
            look(order, clerk)
    assert refusal.value.http_status == 429
    assert len(platform.asked) == 1
    assert "200" in Notice.objects.get().text
    boss = user_with(Role.WAREHOUSE_SUPERVISOR)
    assert look(order, boss).is_clear


@pytest.mark.django_db(transaction=True)
def test_two_looks_at_one_moment_do_not_both_take_the_last_of_the_quota(
    order: SalesOrder, clerk: User, platform: Platform, settings: Any,
    run_together: Callable[..., list[Any]],
) -> None:  # fmt: skip
    settings.REVEALS_A_DAY = 1
    platform.answers = [opened] * 8
    results = run_together(*[partial(look, order, clerk)] * 8)
    assert sum(isinstance(one, privacy.Receiver) for one in results) == 1
    assert sum(isinstance(one, RevealQuotaSpent) for one in results) == 7
    assert Reveal.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_control_without_the_lock_the_quota_is_overdrawn(
    order: SalesOrder, clerk: User, platform: Platform, settings: Any,
    run_together: Callable[..., list[Any]],
) -> None:  # fmt: skip
    settings.REVEALS_A_DAY = 1
    platform.answers = [opened] * 8
    real = privacy._Look._keep_to_quotas

    def slow(self: Any, **facts: Any) -> None:
        real(self, **facts)
        barrier.wait(10)

    barrier = threading.Barrier(8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(privacy, "_one_at_a_time", lambda _what: None)
        patch.setattr(privacy._Look, "_keep_to_quotas", slow)
        run_together(*[partial(look, order, clerk)] * 8)
    assert Reveal.objects.count() > 1
