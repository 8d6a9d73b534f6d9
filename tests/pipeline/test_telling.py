"""What the platforms are told: parcels, stopped refunds, memos, answers to buyers."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from channels_sync.contracts import (
    VIRTUAL_CARRIER,
    AddressAnswer,
    ErrorClass,
    MessageKind,
    PlatformError,
    RawMessage,
    ShipLine,
    ShipNotice,
    StopOutcome,
    TryLater,
)
from channels_sync.models import InboxMessage, OutboundMessage
from channels_sync.services import store
from fulfillment.models import AddressRequest, Parcel, RefundRequest, StageTask, Waybill
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import Sku
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed, NotFound
from ordercenter.core.policy import Role
from ordercenter.orders.contracts import AddressChangeDraft, ChannelStatus, EventDraft, OrderDraft
from ordercenter.orders.errors import OrderHeld
from ordercenter.orders.models import OrderLine, SalesOrder
from ordercenter.pipeline import decisions, jobs, pulling, sending, stages, telling, wishes, wording
from ordercenter.pipeline.virtual import ship_virtual
from tests.factories import ShopAssignmentFactory, ShopFactory, WaybillFactory, user_with
from tests.pipeline.seller import (
    REASON,
    Carrier,
    Seller,
    again,
    as_person,
    draft,
    holds,
    line,
    open_seller,
    print_label,
    refund,
    ship,
    somebody,
    take_one,
    take_refund,
)
from tests.races.tools import red

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


class Platform:
    """Takes what it is told; ``answers`` may be exceptions."""

    repeatable: frozenset[type] = frozenset()

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.answers: list[Any] = []

    def _tell(self, told: Any) -> None:
        self.told.append(told)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer

    ship = answer_stop = write_memo = answer_address = _tell

    def knows(self, _told: Any) -> bool | None:
        return None


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = Platform()
    monkeypatch.setattr(sending, "connector_for", lambda *_: made)
    return made


def queued(kind: str) -> list[OutboundMessage]:
    return list(OutboundMessage.objects.filter(kind=kind).order_by("pk"))


def said(message: OutboundMessage) -> Any:
    return wording.read(message)


# --- parcels --------------------------------------------------------------------------------


def part_of(order: SalesOrder, *rows: tuple[int, int]) -> Parcel:
    """A packed second parcel with so much of these reservations, as a split would leave it."""
    first = order.parcels.get()
    made = Parcel.objects.create(
        order=order, number=f"{order.number}-2", warehouse=first.warehouse, state="packed",
        created_at=clock_now(),
    )  # fmt: skip
    for pk, units in rows:
        row = first.parcel_lines.get(pk=pk)
        made.parcel_lines.create(
            line=row.line, sku=row.sku, reservation=row.reservation, quantity=units
        )
        if row.quantity == units:
            row.delete()
        else:
            row.quantity -= units
            row.save()
    return made


def test_a_whole_order_in_one_parcel_needs_no_lines(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    order = take_one(seller.shop, draft(line("SOFA"), line("SET", 1, "300")))
    ship(order, boss)
    (message,) = queued("ship")
    notice = said(message)
    assert (notice.lines, notice.others) == ((), ())


def test_a_second_parcel_names_its_lines_and_the_one_before(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = draft(line("SOFA", 3), line("RUG"))
    order = take_one(seller.shop, told)
    sofa = order.parcels.get().parcel_lines.get(sku__code="SOFA")
    second = part_of(order, (sofa.pk, 2))
    first = ship_one(order.parcels.exclude(pk=second.pk).get(), boss)
    order.refresh_from_db()
    assert order.status == "routed"
    waybill = WaybillFactory.create(parcel=second, state="live", number="SF2", carrier="sf")
    telling.shipped(
        order, second, carrier="sf", tracking_number=waybill.number, is_last=True, now=clock_now()
    )
    one, two = (said(message) for message in queued("ship"))
    ids = [told.lines[0].channel_line_id, told.lines[1].channel_line_id]
    assert set(one.lines) == {ShipLine(ids[0], 1), ShipLine(ids[1], 1)}
    assert two.lines == (ShipLine(ids[0], 2),)
    assert (one.others, two.others) == ((), (first.number,))


def ship_one(parcel: Parcel, boss: User) -> Waybill:
    actor = as_person(boss)
    task = StageTask.objects.get(parcel=parcel, stage="pick", state="open")
    stages.finish_task(task.pk, user=boss, actor=actor)
    waybill = stages.request_label(parcel.pk, user=boss, actor=actor)
    stages.ship_parcel(parcel.pk, user=boss, actor=actor, tracking_number=waybill.number)
    return waybill


def test_a_set_in_two_parcels_is_named_on_both(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    """Two sets are four lamps and two rugs: the rugs leave first."""
    told = draft(line("SET", 2, "600"))
    order = take_one(seller.shop, told)
    lamps = order.parcels.get().parcel_lines.get(sku__code="LAMP")
    second = part_of(order, (lamps.pk, 3))
    ship_one(order.parcels.exclude(pk=second.pk).get(), boss)
    telling.shipped(
        order, second, carrier="sf", tracking_number="SF2", is_last=True, now=clock_now()
    )
    one, two = (said(message) for message in queued("ship"))
    pk = told.lines[0].channel_line_id
    assert one.lines == two.lines == (ShipLine(pk, 2),)


def test_a_parcel_of_gifts_the_platform_does_not_know_is_no_whole_order(
    seller: Seller, boss: User, platform: Platform
) -> None:
    order = take_one(seller.shop, draft(line("SOFA"), line("TOWEL")))
    OrderLine.objects.filter(order=order, sku__code="TOWEL").update(channel_line_id="")
    towel = order.parcels.get().parcel_lines.get(sku__code="TOWEL")
    second = part_of(order, (towel.pk, 1))
    telling.shipped(
        order, second, carrier="sf", tracking_number="SF2", is_last=False, now=clock_now()
    )
    assert not StageTask.objects.filter(order=order, stage="notify").exists()
    sending.send_out()
    (message,) = queued("ship")
    assert message.state == "superseded"
    assert platform.told == []


def test_an_order_from_a_sheet_has_nobody_to_tell(boss: User, carrier: Carrier) -> None:
    from_sheet = take_one_of_channel("file")
    ship(from_sheet, boss)
    assert queued("ship") == []


def take_one_of_channel(channel: str) -> SalesOrder:
    return take_one(open_seller(channel=channel).shop, draft(line(), channel=channel))


def test_goods_without_weight_are_handed_over_without_a_parcel(
    seller: Seller, boss: User, platform: Platform
) -> None:
    Sku.objects.update(weight_grams=0)
    order = take_one(seller.shop, draft(line("SOFA", 2)))
    for _ in range(2):
        ship_virtual(order.pk, user=boss, actor=as_person(boss))
    order.refresh_from_db()
    assert order.status == "shipped"
    assert order.parcels.get().state == "shipped"
    sending.send_out()
    (notice,) = platform.told
    assert isinstance(notice, ShipNotice)
    assert (notice.carrier, notice.tracking_number, notice.lines) == (VIRTUAL_CARRIER, "", ())
    assert not StageTask.objects.filter(order=order, state="open").exists()


def test_what_has_weight_or_is_held_is_not_handed_over(seller: Seller, boss: User) -> None:
    Sku.objects.update(weight_grams=300)
    order = take_one(seller.shop, draft(line()))
    actor = as_person(boss)
    with pytest.raises(InvalidInput):
        ship_virtual(order.pk, user=boss, actor=actor)
    Sku.objects.update(weight_grams=0)
    decisions.freeze_order(order.pk, user=boss, actor=actor, reason=REASON)
    with pytest.raises(OrderHeld):
        ship_virtual(order.pk, user=boss, actor=actor)
    packer = user_with(Role.PACKER)
    with pytest.raises(NotFound):
        ship_virtual(order.pk, user=packer, actor=as_person(packer))
    clerk = user_with(Role.CLERK)
    with pytest.raises(NotAllowed):
        ship_virtual(order.pk, user=clerk, actor=as_person(clerk))


# --- refunds that stop a parcel -------------------------------------------------------------


def outcomes() -> list[str]:
    return [message.payload["outcome"] for message in queued("stop")]


def test_a_refund_before_the_label_is_answered_with_stopped(
    seller: Seller, platform: Platform
) -> None:
    told = draft(line())
    order = take_one(seller.shop, told)
    take_refund(
        seller.shop, refund(told, version="17", channel_line_id=told.lines[0].channel_line_id)
    )
    assert outcomes() == ["stopped"]
    request = RefundRequest.objects.get()
    assert request.answer == ""
    sending.send_out()
    request.refresh_from_db()
    assert request.answer == "stopped"
    (answer,) = platform.told
    assert (answer.refund_id, answer.version, answer.amount) == (
        f"R{told.channel_number}", "17", told.payable_amount,
    )  # fmt: skip
    assert answer.channel_number == told.channel_number
    record = AuditRecord.objects.get(action="stop_answered")
    assert (record.object_type, record.object_id) == ("refund", request.pk)
    assert "refund:refund" in holds(order)


def test_an_answer_is_given_once(seller: Seller) -> None:
    told = draft(line())
    take_one(seller.shop, told)
    for seconds in range(3):
        later = told.modified_at + timedelta(seconds=seconds)
        take_refund(seller.shop, refund(told, modified_at=later))
    assert outcomes() == ["stopped"]


def test_a_new_version_of_a_refund_is_answered_anew(seller: Seller, platform: Platform) -> None:
    told = draft(line())
    take_one(seller.shop, told)
    take_refund(seller.shop, refund(told, version="1"))
    sending.send_out()
    take_refund(seller.shop, refund(told, version="2"))
    assert RefundRequest.objects.get().answer == ""
    assert [m.payload["version"] for m in queued("stop")] == ["1", "2"]


def test_with_a_label_printed_it_says_so_and_more_once_it_is_stopped(
    seller: Seller, boss: User, carrier: Carrier
) -> None:
    told = draft(line())
    order = take_one(seller.shop, told)
    waybill = print_label(order, boss)
    take_refund(seller.shop, refund(told))
    assert outcomes() == ["label_printed"]
    assert queued("stop")[0].payload["tracking_number"] == waybill.number
    order.refresh_from_db()
    decisions.cancel_order(
        order.pk, user=boss, actor=as_person(boss), seen_version=order.version, reason=REASON
    )
    assert outcomes() == ["label_printed", "stopped"]
    assert [m.state for m in queued("stop")] == ["superseded", "waiting"]


def test_what_has_left_has_left(seller: Seller, boss: User, carrier: Carrier) -> None:
    told = draft(line())
    order = take_one(seller.shop, told)
    parcel = ship(order, boss)
    take_refund(seller.shop, refund(told))
    (message,) = queued("stop")
    assert message.payload["outcome"] == "shipped"
    assert message.payload["tracking_number"] == parcel.waybills.get().number


def test_less_is_never_said_after_more(
    seller: Seller, monkeypatch: pytest.MonkeyPatch, boss: User
) -> None:
    told = draft(line())
    order = take_one(seller.shop, told)
    take_refund(seller.shop, refund(told))
    monkeypatch.setattr(
        telling, "_outcome", lambda _request: telling._Found(StopOutcome.LABEL_PRINTED)
    )
    assert telling.answer_stops([order.pk], actor=as_person(boss), now=clock_now()) == 0
    assert outcomes() == ["stopped"]


def test_a_refund_without_its_order_is_answered_and_answered_better(seller: Seller) -> None:
    told = draft(line())
    take_refund(seller.shop, refund(told))
    now = clock_now()
    assert telling.answer_unknown(now=now).startswith("0 ")
    assert telling.answer_unknown(now=now + telling.NOT_SYNCED_AFTER).startswith("1 ")
    assert telling.answer_unknown(now=now + 2 * telling.NOT_SYNCED_AFTER).startswith("0 ")
    take_one(seller.shop, told)
    assert outcomes() == ["not_synced", "stopped"]


def test_a_refund_that_crossed_its_order_is_answered_when_they_meet(seller: Seller) -> None:
    told = draft(line())
    take_refund(seller.shop, refund(told))
    RefundRequest.objects.update(channel_number="elsewhere")
    take_one(seller.shop, told)
    RefundRequest.objects.update(channel_number=told.channel_number)
    assert outcomes() == []
    jobs.tie_refunds()
    assert outcomes() == ["stopped"]


def test_returns_and_withdrawn_refunds_want_no_answer(seller: Seller) -> None:
    told = draft(line())
    take_one(seller.shop, told)
    take_refund(seller.shop, refund(told, return_goods=True, intercept_shipping=False))
    take_refund(seller.shop, refund(told, "closed", refund_id="other"))
    assert outcomes() == []


# --- memos ----------------------------------------------------------------------------------


def memo(order: SalesOrder, user: User, text: str = "送到前台", flag: int | None = 1) -> bool:
    return telling.write_memo(
        order.pk, text, flag, user=user, actor=as_person(user), seen_version=order.version
    )


def test_a_memo_is_queued_once_a_click(seller: Seller, boss: User, platform: Platform) -> None:
    order = take_one(seller.shop, draft(line()))
    assert memo(order, boss, " 送到\n前台 ")
    assert not memo(order, boss, "送到 前台")
    sending.send_out()
    (told,) = platform.told
    assert (told.channel_number, told.text, told.flag) == (order.channel_number, "送到 前台", 1)
    version = order.version
    order.refresh_from_db()
    assert order.version == version + 1
    record = AuditRecord.objects.get(action="memo_written")
    assert "前台" not in str(record.change)
    assert memo(order, boss, "送到 前台")  # said again on purpose


@pytest.mark.parametrize(
    ("channel", "text", "flag"),
    [
        ("taobao", "长" * 334, None),
        ("jd", "长" * 501, None),
        ("douyin", "长" * 61, None),
        ("taobao", "", None),
        ("taobao", "好", 6),
        ("pinduoduo", "好", 0),
        ("taobao", "坏\0", None),
        ("file", "好", None),
    ],
)
def test_what_a_platform_would_not_take_is_refused_at_once(
    boss: User, channel: str, text: str, flag: int | None
) -> None:
    order = take_one_of_channel(channel)
    with pytest.raises(InvalidInput):
        memo(order, boss, text, flag)
    assert queued("memo") == []


def test_only_who_may_writes_memos(seller: Seller) -> None:
    order = take_one(seller.shop, draft(line()))
    with pytest.raises(NotAllowed):
        memo(order, user_with(Role.FINANCE))
    with pytest.raises(NotFound):
        memo(order, user_with(Role.CLERK))


# --- another address ------------------------------------------------------------------------


def wish(hours: float | None = 24, asked_at: datetime | None = None) -> AddressChangeDraft:
    asked = asked_at or clock_now()
    by = None if hours is None else asked + timedelta(hours=hours)
    return AddressChangeDraft(asked, by, somebody(name="李小红", city="南京市", district="玄武区"))


def asking(seller: Seller, **changes: Any) -> tuple[OrderDraft, SalesOrder, AddressRequest]:
    told = draft(line())
    take_one(seller.shop, told)
    told = again(told, address_change=wish(**changes))
    order = take_one(seller.shop, told)
    return told, order, AddressRequest.objects.get()


def test_a_wish_stops_the_order_and_shows_no_secret(seller: Seller) -> None:
    _, order, request = asking(seller)
    assert holds(order) == {"address_change:asked"}
    assert (request.state, request.order_id) == ("open", order.pk)
    assert "南京市" in request.shown
    assert "李小红" not in request.shown


def test_a_wish_told_again_is_one_wish(seller: Seller) -> None:
    told, order, request = asking(seller)
    take_one(seller.shop, again(told, 2))
    assert AddressRequest.objects.get().pk == request.pk
    assert holds(order) == {"address_change:asked"}


def test_an_older_word_opens_no_wish(seller: Seller) -> None:
    told = draft(line())
    order = take_one(seller.shop, told)
    take_one(seller.shop, again(told, -60, address_change=wish()))
    assert not AddressRequest.objects.exists()
    assert holds(order) == set()


def test_an_order_born_with_a_wish_waits_for_it(seller: Seller) -> None:
    order = take_one(seller.shop, draft(line(), address_change=wish()))
    assert order.status == "reserved"
    assert AddressRequest.objects.get().order_id == order.pk


def test_a_yes_is_told_in_time_and_the_new_address_frees_the_order(
    seller: Seller, boss: User, platform: Platform
) -> None:
    told, order, request = asking(seller)
    wishes.answer(request.pk, approve=True, reason="", user=boss, actor=as_person(boss))
    (message,) = queued("address")
    assert message.answer_by == request.answer_by
    sending.send_out()
    assert platform.told == [AddressAnswer(f"address:{request.pk}", order.channel_number, True, "")]
    assert holds(order) == {"address_change:asked"}
    take_one(seller.shop, again(told, 5))  # still shown: answered, but not done
    assert AddressRequest.objects.count() == 1
    moved = again(told, 9, address_change=None, receiver=somebody(name="李小红", city="南京市"))
    take_one(seller.shop, moved)
    assert "address_change:asked" not in holds(order)


def test_a_no_needs_a_reason_and_lets_the_order_go(seller: Seller, boss: User) -> None:
    told, order, request = asking(seller)
    actor = as_person(boss)
    with pytest.raises(InvalidInput):
        wishes.answer(request.pk, approve=False, reason=" ", user=boss, actor=actor)
    wishes.answer(request.pk, approve=False, reason="包裹已打包", user=boss, actor=actor)
    assert holds(order) == set()
    assert queued("address")[0].payload == {
        "channel_number": order.channel_number, "approve": False, "words": "包裹已打包",
    }  # fmt: skip
    take_one(seller.shop, again(told, 5))  # the platform shows it a while longer
    assert holds(order) == set()
    assert AddressRequest.objects.get().state == "refused"
    newer = again(told, 9, address_change=wish(asked_at=clock_now() + HOUR))
    take_one(seller.shop, newer)
    assert holds(order) == {"address_change:asked"}
    assert AddressRequest.objects.count() == 2
    record = AuditRecord.objects.get(action="address_answered")
    assert record.reason == "包裹已打包"


def test_a_clerk_may_answer_for_his_shops_only_and_once(seller: Seller) -> None:
    _, _, request = asking(seller)
    clerk, stranger = (user_with(Role.CLERK, username=name) for name in ("own", "other"))
    ShopAssignmentFactory.create(user=clerk, shop=seller.shop)
    with pytest.raises(NotFound):
        wishes.answer(request.pk, approve=True, reason="", user=stranger, actor=as_person(stranger))
    finance = user_with(Role.FINANCE)
    with pytest.raises(NotAllowed):
        wishes.answer(request.pk, approve=True, reason="", user=finance, actor=as_person(finance))
    actor = as_person(clerk)
    wishes.answer(request.pk, approve=False, reason="已发出", user=clerk, actor=actor)
    with pytest.raises(wishes.Answered):
        wishes.answer(request.pk, approve=True, reason="", user=clerk, actor=actor)
    assert len(queued("address")) == 1


def test_a_wish_that_is_shown_no_more_is_gone(seller: Seller) -> None:
    told, order, request = asking(seller)
    take_one(seller.shop, again(told, 5, address_change=None))
    request.refresh_from_db()
    assert request.state == "gone"
    assert holds(order) == set()


def test_a_canceled_order_has_no_wish_left(seller: Seller) -> None:
    told, _, request = asking(seller)
    take_one(seller.shop, again(told, 5, status=ChannelStatus.CLOSED))
    request.refresh_from_db()
    assert request.state == "gone"


def test_what_nobody_answered_lapses_and_still_stops_the_parcel(seller: Seller) -> None:
    _, order, request = asking(seller)
    assert wishes.lapse(now=clock_now()).startswith("0 ")
    assert wishes.lapse(now=clock_now() + 25 * HOUR).startswith("1 ")
    request.refresh_from_db()
    assert request.state == "lapsed"
    assert holds(order) == {"address_change:asked"}


def event(seller: Seller, number: str) -> None:
    message = RawMessage(MessageKind.EVENT, b"{}", number, "e1")
    store([message], source=InboxMessage.Source.PUSH, shop_id=seller.shop.pk)


@pytest.fixture
def hinted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A platform whose message alone tells the wish; ``number`` is the order's."""
    facts: dict[str, Any] = {"change": replace(wish(), answer_by=None)}

    class Reader:
        def read_event(self, _body: bytes) -> EventDraft:
            return EventDraft("douyin", "e1", "111", facts["number"], None, facts["change"])

    class Connector:
        def fetch(self, number: str) -> RawMessage:
            return RawMessage(MessageKind.ORDER, b"{}", number)

    monkeypatch.setattr(pulling, "reader", lambda *_: Reader())
    monkeypatch.setattr(pulling, "connector_for", lambda *_: Connector())
    return facts


def test_a_wish_that_only_a_message_tells_is_heard(
    seller: Seller, hinted: dict[str, Any], boss: User
) -> None:
    told = draft(line())
    order = take_one(seller.shop, told)
    hinted["number"] = told.channel_number
    event(seller, told.channel_number)
    pulling.fetch_hints()
    assert holds(order) == {"address_change:asked_by_message"}
    assert InboxMessage.objects.get(kind="event").state == "done"
    take_one(seller.shop, again(told, 5))  # the order's own words say nothing of it
    assert holds(order) == {"address_change:asked_by_message"}
    request = AddressRequest.objects.get()
    wishes.answer(request.pk, approve=True, reason="", user=boss, actor=as_person(boss))
    take_one(seller.shop, again(told, 9, receiver=somebody(name="李小红", city="南京市")))
    assert "address_change:asked_by_message" not in holds(order)


def test_a_wish_for_an_order_on_its_way_waits_for_it(
    seller: Seller, hinted: dict[str, Any]
) -> None:
    told = draft(line())
    hinted["number"] = told.channel_number
    event(seller, told.channel_number)
    pulling.fetch_hints()
    assert InboxMessage.objects.get(kind="event").state == "new"
    order = take_one(seller.shop, told)
    pulling.fetch_hints(now=clock_now() + timedelta(minutes=5))
    assert holds(order) == {"address_change:asked_by_message"}


def test_a_late_answer_is_still_tried(seller: Seller, boss: User, platform: Platform) -> None:
    _, _, request = asking(seller, hours=1)
    wishes.answer(request.pk, approve=True, reason="", user=boss, actor=as_person(boss))
    platform.answers = [TryLater(PlatformError(ErrorClass.PLATFORM, "50", "忙"))]
    sending.send_out()
    sending.send_out(now=clock_now() + 2 * HOUR)
    assert queued("address")[0].state == "done"


def test_another_shops_refund_is_not_ours(seller: Seller) -> None:
    told = draft(line())
    take_one(seller.shop, told)
    take_refund(ShopFactory.create(), refund(told))
    assert outcomes() == []


@pytest.mark.django_db(transaction=True)
def test_whoever_ends_a_wish_the_books_stand(seller: Seller) -> None:
    """A clerk's no, the platform's own word, and goods without a parcel break no invariant."""
    clerk = user_with(Role.CLERK)
    ShopAssignmentFactory.create(user=clerk, shop=seller.shop)
    boss = user_with(Role.WAREHOUSE_SUPERVISOR)
    for ending in ("refused", "gone"):
        with transaction.atomic():
            told, _, request = asking(seller)
        if ending == "refused":
            wishes.answer(
                request.pk, approve=False, reason="已打包", user=clerk, actor=as_person(clerk)
            )
        else:
            with transaction.atomic():
                take_one(seller.shop, again(told, 5, address_change=None))
        AddressRequest.objects.all().delete()
    Sku.objects.update(weight_grams=0)
    with transaction.atomic():
        order = take_one(seller.shop, draft(line("SOFA", 2)))
    ship_virtual(order.pk, user=boss, actor=as_person(boss))
    order.refresh_from_db()
    memo(order, boss)
    assert red() == set()
