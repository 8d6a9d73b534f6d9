"""What people do to a shop's line: each needs the right, leaves a record, and may be repeated."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.db import connection

from channels_sync.contracts import ErrorClass
from channels_sync.models import FeedCursor, ShopCredential, SyncCursor, SyncWindow
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotAllowed
from ordercenter.core.policy import Role
from ordercenter.pipeline import lines, pulling
from ordercenter.pipeline.invariants import Look, look_at
from ordercenter.pipeline.invariants.run import chosen
from tests.channels_sync.platforms import Taobao
from tests.factories import ShopCredentialFactory, ShopFactory, SyncCursorFactory, user_with
from tests.pipeline.lines import connected

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def shop() -> Shop:
    made: Shop = ShopFactory.create(channel="taobao")
    ShopCredentialFactory.create(shop=made, base_url="https://gateway.example")
    SyncCursorFactory.create(shop=made)
    return made


@pytest.fixture
def it() -> User:
    return user_with(Role.IT)


def act(user: User) -> dict[str, Any]:
    return {"user": user, "actor": Actor.person(user)}


def records(action: Action = Action.LINE_CHANGED) -> int:
    return AuditRecord.objects.filter(action=action).count()


def keep(shop: Shop, it: User, **changes: Any) -> ShopCredential:
    given: dict[str, Any] = {
        "base_url": "https://gw.example",
        "app_key": "k",
        "options": {},
        "secrets": {},
        **changes,
    }
    lines.keep_access(shop.pk, **act(it), **given)
    return ShopCredential.objects.get(shop=shop)


def test_a_shop_is_connected_and_read_from_then_on(it: User) -> None:
    shop = ShopFactory.create(channel="jd")
    row = keep(shop, it, secrets={"app_secret": "s", "access_token": "t"})
    assert row.secrets() == {"app_secret": "s", "access_token": "t"}
    assert SyncCursor.objects.filter(shop=shop).exists()
    assert records(Action.SHOP_CHANGED) == 1


def test_a_secret_left_empty_stays_and_none_is_told(shop: Shop, it: User) -> None:
    row = keep(shop, it, secrets={"app_secret": "", "access_token": "  new-token "})
    assert row.secrets()["app_secret"] == "app-secret"
    assert row.secrets()["access_token"] == "new-token"
    told = str(AuditRecord.objects.get(action=Action.SHOP_CHANGED).change)
    assert "new-token" not in told
    assert "access_token" in told


def test_the_secret_before_is_good_for_pushes_for_a_day(shop: Shop, it: User) -> None:
    row = keep(shop, it, secrets={"app_secret": "the-next"})
    assert row.access().old_app_secret == "app-secret"
    assert row.access(now=clock_now() + lines.GRACE).old_app_secret == ""
    assert row.access().app_secret == "the-next"


def test_a_new_token_takes_back_that_the_shop_must_be_authorized(shop: Shop, it: User) -> None:
    ShopCredential.objects.update(refresh_expires_at=clock_now())
    assert keep(shop, it, secrets={"access_token": "new"}).refresh_expires_at is None


@pytest.mark.parametrize(
    ("answer", "klass"),
    [
        (httpx.Response(200, content=b"<html>"), ErrorClass.PLATFORM),
        (httpx.ConnectError("no"), ErrorClass.PLATFORM),
        (httpx.Response(200, json={"error_response": {"code": 25, "msg": "Invalid signature"}}),
         ErrorClass.AUTH),
    ],
)  # fmt: skip
def test_a_test_says_what_is_wrong_and_changes_nothing(
    shop: Shop, it: User, answer: Any, klass: ErrorClass
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content)

    before: dict[str, Any] = dict(SyncCursor.objects.values().get())
    with connected(handler):
        tested = lines.test_connection(shop.pk, user=it)
    assert tested.error is not None
    assert tested.error.klass is klass
    after: dict[str, Any] = dict(SyncCursor.objects.values().get())
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"broken", "open_until"}


def test_a_test_that_goes_well_says_so(shop: Shop, it: User) -> None:
    with connected(Taobao(orders=1)._handle):
        assert lines.test_connection(shop.pk, user=it).ok


def test_a_paused_shop_is_not_read_until_it_goes_on(shop: Shop, it: User) -> None:
    now = clock_now()
    for _ in range(2):
        lines.pause(shop.pk, **act(it), reason="平台升级")
    assert pulling.due_shops(now=now + MINUTE) == []
    assert not pulling.is_stale(shop.pk, now=now + timedelta(hours=1))
    for _ in range(2):
        lines.resume(shop.pk, **act(it))
    assert pulling.due_shops(now=clock_now()) == [shop.pk]
    assert records() == 2


def test_a_shop_read_by_hand_is_read_only_when_asked(shop: Shop, it: User) -> None:
    lines.set_mode(shop.pk, **act(it), mode="manual", interval_seconds=60)
    assert pulling.due_shops(now=clock_now() + timedelta(days=1)) == []
    lines.set_mode(shop.pk, **act(it), mode="timed", interval_seconds=900)
    assert pulling.due_shops(now=clock_now()) == [shop.pk]
    lines.set_mode(shop.pk, **act(it), mode="timed", interval_seconds=900)
    assert records() == 2


@pytest.mark.parametrize(("mode", "seconds"), [("event", 9), ("event", 86_401), ("often", 60)])
def test_an_interval_or_a_mode_that_is_none_is_refused(
    shop: Shop, it: User, mode: str, seconds: int
) -> None:
    with pytest.raises(InvalidInput):
        lines.set_mode(shop.pk, **act(it), mode=mode, interval_seconds=seconds)


def test_a_cursor_moved_by_hand_is_logged_and_breaks_no_invariant(shop: Shop, it: User) -> None:
    now = clock_now()
    FeedCursor.objects.create(shop=shop, feed="orders", position=now - 5 * MINUTE)
    back = now - timedelta(days=2)
    lines.reset_cursor(shop.pk, "orders", back, **act(it), reason="漏单核查")
    assert FeedCursor.objects.get().position == back
    assert SyncWindow.objects.get().reset_by == Actor.person(it).name
    assert records(Action.CURSOR_RESET) == 1
    with pytest.raises(InvalidInput):
        lines.reset_cursor(shop.pk, "orders", now + MINUTE, **act(it), reason="漏单核查")
    assert broken("I4") == []


def broken(code: str) -> list[Any]:
    with connection.cursor() as cursor:
        (outcome,) = look_at(Look(cursor, clock_now(), 20), chosen([code]))
    return outcome.broken


def test_a_window_skipped_or_a_cursor_gone_back_is_found(shop: Shop) -> None:
    """The saboteurs of I4: a gap, a step back, a position nobody logged."""
    now = clock_now() - timedelta(hours=1)
    cursor = FeedCursor.objects.create(shop=shop, feed="orders", position=now)

    def window(was: Any, position: Any, start: Any) -> None:
        SyncWindow.objects.create(
            shop=shop, feed="orders", start=start, end=position, was=was, position=position, at=now
        )
        cursor.position = position
        cursor.save()

    window(now, now + MINUTE, now - 2 * MINUTE)
    assert broken("I4") == []
    window(now + MINUTE, now + 2 * MINUTE, now + MINUTE)  # no overlap
    assert len(broken("I4")) == 1
    window(now + 2 * MINUTE, now, now - 5 * MINUTE)  # back
    assert len(broken("I4")) == 2
    FeedCursor.objects.update(position=now + 9 * MINUTE)  # moved without a word
    assert len(broken("I4")) == 3


@pytest.mark.parametrize("what", ["pause", "resume", "set_mode", "keep_access", "reset_cursor"])
def test_only_who_keeps_the_shops_touches_their_lines(shop: Shop, what: str) -> None:
    user = user_with(Role.WAREHOUSE_SUPERVISOR)
    given: dict[str, dict[str, Any]] = {
        "pause": {"reason": "x"},
        "set_mode": {"mode": "event", "interval_seconds": 60},
        "keep_access": {"base_url": "", "app_key": "", "options": {}, "secrets": {}},
        "reset_cursor": {"feed": "orders", "to": clock_now(), "reason": "x"},
    }
    with pytest.raises(NotAllowed):
        getattr(lines, what)(shop.pk, **act(user), **given.get(what, {}))
