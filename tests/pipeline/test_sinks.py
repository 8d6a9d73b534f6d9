"""A3: a receiver and a secret that go through everything leave no trace where none belongs.

What holds them by design is named here: the raw bytes of the inbox, sealed columns, the answer
to a recorded look. Everything else is searched: every column of every table, every log line,
every page, every live hint, every failure a job leaves behind.
"""

import io
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from channels_sync.contracts import Decrypted, DecryptRequest
from channels_sync.models import InboxMessage, ShopCredential
from fulfillment.contracts import Issued, WaybillRequest
from fulfillment.models import CarrierAccount
from ordercenter.audit.models import AuditRecord
from ordercenter.console import selectors
from ordercenter.core.logs import PlainFormatter, plain_traceback
from ordercenter.core.policy import Role
from ordercenter.orders.models import OrderHold, OrderLine, SalesOrder
from ordercenter.pipeline import intake, privacy, pulling, stages, tasks
from ordercenter.settings.base import LOGGING
from tests.channels_sync.contract_cases import OPEN_ORDER
from tests.doors.doors import SECRET, OpenJson
from tests.factories import RobotFactory, user_with
from tests.pipeline.seller import Seller, as_person, open_seller, pick

pytestmark = pytest.mark.django_db
NAME, PHONE, ADDRESS = "金丝雀子", "13912345678", "金丝雀路777号"
LATIN: Final = "Canaria Birdsong"
OAID: Final = "1CanaryOaid0123456789"
TOKEN: Final = "canary-access-token"
RECEIVER: Final = {
    "name": NAME, "phone": PHONE, "province": "江苏省", "city": "苏州市", "district": "虎丘区",
    "town": "", "address": ADDRESS,
}  # fmt: skip
BY_DESIGN: Final = {("channels_sync.inboxmessage", "body")}
REASON: Final = "买家来电核对收货地址"


def leaks(text: str | bytes, *more: str) -> list[str]:
    """Which canaries sing in there, as they are or as JSON and addresses spell them."""
    told = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    canaries = (NAME, PHONE, ADDRESS, LATIN, OAID, TOKEN, SECRET, *more)
    spelled = {one: (one, json.dumps(one)[1:-1]) for one in canaries}
    return [one for one, ways in spelled.items() if any(way in told for way in ways)]


def in_tables() -> dict[tuple[str, str], list[str]]:
    """Every column of every table in which a canary sings."""
    found: dict[tuple[str, str], list[str]] = {}
    for model in apps.get_models(include_auto_created=True):
        for row in model._default_manager.all().values():
            for column, value in row.items():
                told = bytes(value) if isinstance(value, memoryview | bytes) else str(value)
                if heard := leaks(told):
                    found[model._meta.label_lower, column] = heard
    return found


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything anybody logs, at any level, as the center's own handler writes it."""
    written, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(written)
    line: dict[str, str] = LOGGING["formatters"]["line"]  # type: ignore[index]
    assert line["()"] == f"{PlainFormatter.__module__}.{PlainFormatter.__qualname__}"
    handler.setFormatter(PlainFormatter(line["fmt"]))
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield written
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def seller() -> Seller:
    """A shop that is pushed to, with a secret and a token of its own."""
    made = open_seller(channel="openjson")
    row = ShopCredential(shop=made.shop, base_url="http://127.0.0.1:1/", app_key="app")
    row.set_secrets(app_secret=SECRET, access_token=TOKEN)
    row.save()
    RobotFactory.create()
    return made


def push(seller: Seller, **changes: Any) -> Any:
    """The canary's order comes through the door."""
    order = {
        **OPEN_ORDER, "status": "paid", "receiver": RECEIVER, "freight_amount": "0.00",
        "total_amount": "100.00", "payable_amount": "100.00", "paid_amount": "100.00",
        "discount_amount": "0.00",
        "items": [{"line_no": "1", "sku_code": "SOFA", "title": "沙发", "qty": 1,
                   "unit_price": "100.00", "paid_amount": "100.00"}],
        **changes,
    }  # fmt: skip
    door = OpenJson(path=f"/hooks/openjson/{seller.shop.code}/")
    event = f"e-{InboxMessage.objects.count()}"
    return door.push(json.dumps({"event_id": event, "order": order}).encode()).post()


def take_in(seller: Seller, **changes: Any) -> SalesOrder:
    answer = push(seller, **changes)
    assert answer.status_code == 200
    assert leaks(answer.content) == []
    intake.run()
    return SalesOrder.objects.get()


class Carrier:
    """The one who has to be told."""

    def __init__(self) -> None:
        self.told: list[WaybillRequest] = []

    def create(self, request: WaybillRequest) -> Issued:
        self.told.append(request)
        return Issued("SF0000000000001", request.client_reference, {"destRouteLabel": "512"})


@contextmanager
def browsing(user: User) -> Iterator[Client]:
    client = Client(raise_request_exception=False)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    yield client


@pytest.fixture
def boss() -> User:
    return user_with(Role.OPERATIONS_SUPERVISOR, Role.WAREHOUSE_SUPERVISOR)


def pages_of(order: SalesOrder) -> list[str]:
    parcel = order.parcels.first()
    return [
        f"/orders/{order.number}/", "/wall/", "/work/", "/addresses/", "/board/", "/shops/",
        "/shops/quarantine/", "/shops/outbox/", "/reveals/", "/find/", "/admin/",
        f"/work/scan/?code={parcel.number if parcel else order.number}",
        f"/api/orders/{order.number}/", "/api/orders/",
        "/admin/orders/salesorder/", f"/admin/orders/salesorder/{order.pk}/change/",
        "/admin/orders/orderhold/", "/admin/fulfillment/parcel/", "/admin/fulfillment/waybill/",
        "/admin/channels_sync/inboxmessage/", "/admin/channels_sync/outboundmessage/",
        "/admin/audit/auditrecord/",
        *(f"/admin/channels_sync/inboxmessage/{row.pk}/change/"
          for row in InboxMessage.objects.all()),
    ]  # fmt: skip


# --- the straight way -----------------------------------------------------------------------------


def test_a_canary_that_is_pushed_looked_at_and_shipped_sings_nowhere(
    seller: Seller, boss: User, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = Carrier()
    CarrierAccount.objects.create(
        code="sf", name="顺丰", base_url="http://127.0.0.1:9", account="A", sealed=b"x"
    )
    monkeypatch.setattr(stages, "speaking", lambda *_: carrier)
    with CaptureQueriesContext(connection) as queries, browsing(boss) as client:
        order = take_in(seller)
        seen = client.post(
            f"/orders/{order.number}/reveal/", {"scene": "service", "reason": REASON}
        )
        assert leaks(seen.content) == [NAME, PHONE, ADDRESS]
        assert "no-store" in seen.headers["Cache-Control"]
        assert seen.headers["Referrer-Policy"] == "no-referrer"
        parcel = pick(order, boss)
        label = client.post(f"/work/parcels/{parcel.pk}/label/")
        client.post(f"/work/parcels/{parcel.pk}/ship/", {"tracking_number": "SF0000000000001"})
        found = client.post("/find/", {"phone": PHONE, "reason": REASON})
        assert order.number in found.content.decode()
        assert leaks(found.content) == leaks(label.content) == []
        order.refresh_from_db()
        assert order.status == "shipped"
        for path in pages_of(order):
            page = client.get(path)
            assert page.status_code == 200, path
            assert leaks(page.content) == [], path
            assert leaks(str(page.headers)) == [], path
    assert carrier.told[0].receiver.phone == PHONE
    assert in_tables().keys() == BY_DESIGN
    hints = [one["sql"] for one in queries.captured_queries if "pg_notify" in one["sql"]]
    assert hints
    assert leaks("".join(hints)) == []
    assert leaks(logged.getvalue()) == []


def test_a_canary_behind_a_mask_sings_in_one_answer_only(
    boss: User, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    seller = open_seller(channel="openjson")
    row = ShopCredential(shop=seller.shop, base_url="http://127.0.0.1:1/", app_key="app")
    row.set_secrets(app_secret=SECRET, access_token=TOKEN)
    row.save()
    hidden = {**RECEIVER, "name": "金**", "phone": "139****5678", "address": "金丝雀路***"}

    class Opener:
        def decrypt(self, requests: list[DecryptRequest]) -> list[Decrypted]:
            return [Decrypted(requests[0].channel_number, NAME, PHONE, ADDRESS)]

    monkeypatch.setattr(privacy, "connector_for", lambda *_: Opener())
    with browsing(boss) as client:
        order = take_in(seller, receiver=hidden)
        assert order.receiver()["is_masked"]
        seen = client.post(f"/orders/{order.number}/reveal/", {"scene": "check", "reason": REASON})
        assert leaks(seen.content) == [NAME, PHONE, ADDRESS]
        for path in pages_of(order):
            assert leaks(client.get(path).content) == [], path
    assert in_tables() == {}
    assert leaks(logged.getvalue()) == []


# --- when something breaks ------------------------------------------------------------------------


def says_it(*_args: Any, **_kwargs: Any) -> Any:
    message = f"{NAME} {PHONE} {ADDRESS} {LATIN} {OAID} {TOKEN}"
    raise ValueError(message)


def a_row_the_database_quotes(*_args: Any, **_kwargs: Any) -> Any:
    """PostgreSQL's DETAIL says the failing row, whatever is in it."""
    order = SalesOrder.objects.get()
    OrderLine.objects.create(
        order=order, line_no=99, title=f"{NAME} {PHONE}", quantity=0, unit_price=1, amount=1,
        is_gift=False, channel_line_id=ADDRESS, platform_sku_id=LATIN, outer_code=OAID,
        refund_state="none",
    )  # fmt: skip


def deep_within(*_args: Any, **_kwargs: Any) -> Any:
    try:
        says_it()
    except ValueError as error:
        message = "worse than before"
        raise KeyError(message) from error


BREAKS: Final = [says_it, a_row_the_database_quotes, deep_within]


@pytest.mark.parametrize("broken", BREAKS)
def test_a_message_that_breaks_our_code_is_parked_without_a_song(
    seller: Seller, boss: User, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch,
    broken: Callable[..., Any],
) -> None:  # fmt: skip
    take_in(seller)
    monkeypatch.setattr(intake, "take", broken)
    push(seller, updated_at="2026-03-02T09:00:00+08:00")
    for _ in range(10):
        InboxMessage.objects.update(leased_until=None)
        intake.run()
    message = InboxMessage.objects.get(state="dead")
    assert leaks(message.error) == []
    assert in_tables().keys() == BY_DESIGN
    told = logged.getvalue()
    assert leaks(told) == []
    assert "test_sinks.py" in told  # where it broke is said
    with browsing(boss) as client:
        for path in ("/shops/quarantine/", *pages_of(SalesOrder.objects.get())):
            assert leaks(client.get(path).content) == [], path


def test_control_the_plain_formatter_of_python_would_have_sung(seller: Seller) -> None:
    take_in(seller)
    for broken in BREAKS:
        with pytest.raises(Exception) as caught, transaction.atomic():  # noqa: PT011 - any
            broken()
        error = caught.value
        assert leaks("".join(traceback.format_exception(error))), broken
        assert leaks(plain_traceback(error)) == [], broken
        assert type(error).__name__ in plain_traceback(error)


@pytest.mark.parametrize("broken", BREAKS)
def test_a_page_that_breaks_shows_and_logs_no_song(
    seller: Seller, boss: User, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch,
    broken: Callable[..., Any],
) -> None:  # fmt: skip
    order = take_in(seller)
    monkeypatch.setattr(selectors, "cards", broken)
    monkeypatch.setattr(privacy, "known_receiver", broken)
    with browsing(boss) as client:
        for answer in (
            client.get(f"/orders/{order.number}/"),
            client.post(f"/orders/{order.number}/reveal/", {"scene": "check", "reason": REASON}),
        ):
            assert answer.status_code == 500
            assert leaks(answer.content) == []
            assert leaks(str(answer.headers)) == []
    told = logged.getvalue()
    assert "Internal Server Error" in told
    assert leaks(told) == []


@pytest.mark.parametrize(
    ("path", "status"),
    [(f"/orders/{LATIN.replace(' ', '')}/", 404), (f"/orders/{NAME}/", 404),
     (f"/reveals/{PHONE}/", 404)],
)  # fmt: skip
def test_an_address_nobody_knows_is_not_said_back(boss: User, path: str, status: int) -> None:
    with browsing(boss) as client:
        page = client.get(path)
    assert page.status_code == status
    assert leaks(page.content, LATIN.replace(" ", "")) == []


def test_a_refused_form_does_not_say_the_phone_back(seller: Seller, boss: User) -> None:
    with browsing(boss) as client:
        page = client.post("/find/", {"phone": PHONE, "reason": "短"})
    assert page.status_code == 422
    assert leaks(page.content) == []


def test_a_job_that_breaks_leaves_its_kind_and_no_song(
    logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """django-q2 keeps ``str(error)`` and the whole traceback in a table."""
    monkeypatch.setattr(pulling, "is_stale", says_it)
    with pytest.raises(tasks.TaskFailed) as failure:
        tasks.poll_shop(1)
    kept = "".join(traceback.format_exception(failure.value))
    assert "ValueError" in kept
    assert leaks(kept) == []
    assert leaks(logged.getvalue()) == []


def test_every_job_of_the_schedule_fails_plainly() -> None:
    jobs = [
        job for name, job in vars(tasks).items()
        if callable(job) and getattr(job, "__module__", "") == tasks.__name__
        and name not in {"plainly", "TaskFailed"}
    ]  # fmt: skip
    assert len(jobs) >= 8
    assert all(hasattr(job, "__wrapped__") for job in jobs)


# --- the bytes of quarantine ----------------------------------------------------------------------


def test_the_bytes_of_a_dead_message_are_for_who_says_why(
    seller: Seller, boss: User, logged: io.StringIO
) -> None:
    push(seller, created_at="no time at all")
    intake.run()
    message = InboxMessage.objects.get()
    assert message.state == "dead"
    path = f"/shops/quarantine/{message.pk}/raw/"
    with browsing(boss) as client:
        page = client.get("/shops/quarantine/")
        assert leaks(page.content) == []
        assert str(OPEN_ORDER["order_no"]) in page.content.decode()
        refused = client.post(path, {"reason": "看"})
        assert (refused.status_code, leaks(refused.content)) == (422, [])
        shown = client.post(path, {"reason": "核对平台发来的原文"})
    assert leaks(shown.content) == [NAME, PHONE, ADDRESS]
    assert shown.headers["Cache-Control"] == "no-store"
    record = AuditRecord.objects.get(object_type="message")
    assert (record.action, record.object_id, record.reason) == (
        "receiver_revealed", message.pk, "核对平台发来的原文",
    )  # fmt: skip


def test_holds_quote_no_receiver(seller: Seller) -> None:
    take_in(seller, receiver={**RECEIVER, "phone": "见备注 13912345678"})
    words = str(list(OrderHold.objects.values_list("words", "evidence")))
    assert leaks(words) == []


def test_nobody_s_name_is_in_what_we_print_of_our_own_objects(boss: User) -> None:
    found = privacy.Receiver(NAME, PHONE, ADDRESS)
    asked = DecryptRequest("1", "", "label", RECEIVER["name"].encode())
    assert leaks(f"{found!r} {Decrypted('1', NAME, PHONE, ADDRESS)!r} {asked!r}") == []
    assert leaks(str(as_person(boss))) == []
