"""One shop's line as all its workers share it: turns, the breaker, one renewal of the token."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from channels_sync import line as lines
from channels_sync.contracts import (
    Budget,
    ErrorClass,
    Limit,
    PlatformError,
    Rejected,
    Tokens,
    TryLater,
)
from channels_sync.line import BREAKS_AFTER, ShopLine
from channels_sync.models import CallBudget, ShopCredential, SyncCursor
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from tests.factories import ShopCredentialFactory, ShopFactory, SyncCursorFactory

pytestmark = pytest.mark.django_db
LIST = "trades.get"


class World:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = clock_now()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)

    def read(self) -> datetime:
        return self.now


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(lines, "clock_now", made.read)
    return made


@pytest.fixture
def shop() -> Shop:
    made: Shop = ShopFactory.create()
    ShopCredentialFactory.create(shop=made)
    SyncCursorFactory.create(shop=made)
    return made


@pytest.fixture
def line(shop: Shop, world: World) -> ShopLine:
    return ShopLine(shop.pk, sleep=world.sleep)


def limited(wait: int | None = None) -> TryLater:
    return TryLater(
        PlatformError(ErrorClass.RATE_LIMITED, "7", "call limited", retry_after_seconds=wait)
    )


def silence(code: str = "timeout") -> TryLater:
    return TryLater(PlatformError(ErrorClass.PLATFORM, code, "no answer"))


# --- turns ----------------------------------------------------------------------------------


def test_calls_go_as_often_as_the_platform_lets_them(line: ShopLine, world: World) -> None:
    for _ in range(30):
        line.enter(LIST, Limit(per_second=10, burst=5))
    assert sum(world.slept) == pytest.approx(2.5, abs=0.01)  # 25 beyond the burst, ten a second


def test_two_workers_keep_one_limit_together(shop: Shop, world: World) -> None:
    one, other = (ShopLine(shop.pk, sleep=world.sleep) for _ in range(2))
    for _ in range(10):
        one.enter(LIST, Limit(10, 5))
        other.enter(LIST, Limit(10, 5))
    assert sum(world.slept) == pytest.approx(1.5, abs=0.01)


def test_one_interface_does_not_use_up_the_turns_of_another(line: ShopLine, world: World) -> None:
    for _ in range(5):
        line.enter(LIST, Limit(1, 5))
    line.enter("detail", Limit(1, 5))
    assert world.slept == []


def test_a_stated_wait_is_kept_to(line: ShopLine, world: World) -> None:
    line.enter(LIST, Limit(10, 10))
    line.failed(LIST, limited(wait=4))
    line.enter(LIST, Limit(10, 10))
    assert world.slept == [pytest.approx(4, abs=0.11)]


def test_a_long_wait_is_said_and_costs_no_turn(line: ShopLine, world: World) -> None:
    line.enter(LIST, Limit(10, 10))
    line.failed(LIST, limited(wait=60))
    before = CallBudget.objects.get(interface=LIST).tokens
    with pytest.raises(TryLater) as refusal:
        line.enter(LIST, Limit(10, 10))
    assert 55 <= (refusal.value.wait or 0) <= 61
    assert CallBudget.objects.get(interface=LIST).tokens == pytest.approx(before)
    assert world.slept == []
    line.enter("detail", Limit(10, 10))  # the other interface is free


def test_the_ban_of_a_whole_application_stops_every_interface(line: ShopLine) -> None:
    line.failed(LIST, limited(wait=7_200))
    for interface in (LIST, "detail"):
        with pytest.raises(TryLater) as refusal:
            line.enter(interface, Limit(10, 10))
        assert (refusal.value.wait or 0) > 7_000


def test_who_was_called_too_often_is_called_less_and_bit_by_bit_more(
    line: ShopLine, world: World
) -> None:
    line.enter(LIST, Limit(10, 10))
    for _ in range(3):
        line.failed(LIST, limited())
    slow = CallBudget.objects.get(interface=LIST).per_second
    assert slow == pytest.approx(10 * 0.7**3)
    world.now += timedelta(seconds=200)
    line.enter(LIST, Limit(10, 10))
    assert CallBudget.objects.get(interface=LIST).per_second == pytest.approx(10)


def test_what_the_platform_says_is_left_counts(line: ShopLine, world: World) -> None:
    line.enter("graphql", Limit(50, 1000), cost=100)
    line.passed("graphql", Budget(available=20, restore_per_second=100, maximum=2000))
    line.enter("graphql", Limit(50, 1000), cost=120)
    assert world.slept == [pytest.approx(1.0, abs=0.05)]


# --- the breaker ----------------------------------------------------------------------------


def broken(line: ShopLine, times: int = BREAKS_AFTER) -> None:
    for _ in range(times):
        line.failed(LIST, silence())


def test_a_platform_that_does_not_answer_is_left_alone_for_a_while(
    line: ShopLine, world: World
) -> None:
    broken(line, BREAKS_AFTER - 1)
    line.enter(LIST, None)
    broken(line, 1)
    with pytest.raises(TryLater, match="breaker") as refusal:
        line.enter(LIST, None)
    assert refusal.value.wait
    assert not refusal.value.outcome_unknown


def test_one_call_tries_and_the_others_wait_for_what_it_finds(
    shop: Shop, line: ShopLine, world: World
) -> None:
    broken(line)
    world.now += timedelta(seconds=lines.FIRST_BREAK + 1)
    other = ShopLine(shop.pk, sleep=world.sleep)
    line.enter(LIST, None)  # the probe
    with pytest.raises(TryLater, match="breaker"):
        other.enter(LIST, None)
    line.passed(LIST)
    other.enter(LIST, None)
    assert SyncCursor.objects.get().broken == 0


def test_a_probe_that_meets_nobody_lengthens_the_wait(line: ShopLine, world: World) -> None:
    broken(line)
    world.now += timedelta(seconds=lines.FIRST_BREAK + 1)
    line.enter(LIST, None)
    line.failed(LIST, silence("http_503"))
    until = SyncCursor.objects.get().open_until
    assert until is not None
    assert (until - world.now).total_seconds() == pytest.approx(2 * lines.FIRST_BREAK)


def test_a_probe_that_hears_of_a_stale_token_may_renew_it(line: ShopLine, world: World) -> None:
    broken(line)
    world.now += timedelta(seconds=lines.FIRST_BREAK + 1)
    line.enter(LIST, None)
    line.failed(LIST, Rejected(PlatformError(ErrorClass.AUTH, "42001", "token expired")))
    line.enter("token", None)
    assert (SyncCursor.objects.get().broken, SyncCursor.objects.get().open_until) == (0, None)


def test_a_refusal_is_an_answer_and_breaks_nothing(line: ShopLine) -> None:
    for _ in range(20):
        line.failed(LIST, limited(wait=0))
        line.failed(LIST, Rejected(PlatformError(ErrorClass.BUSINESS, "15", "isv.x")))
        line.failed(LIST, TryLater(PlatformError(ErrorClass.PLATFORM, "15", "isp.x")))
    assert SyncCursor.objects.get().broken == 0


def test_a_shop_whose_platform_is_down_holds_up_no_other(line: ShopLine, world: World) -> None:
    broken(line, 50)
    other = ShopFactory.create()
    SyncCursorFactory.create(shop=other)
    ShopLine(other.pk, sleep=world.sleep).enter(LIST, None)
    assert world.slept == []


# --- repeating ------------------------------------------------------------------------------


def test_a_call_that_had_no_effect_is_made_again_at_once_twice(
    line: ShopLine, world: World
) -> None:
    assert [line.again(n, silence()) for n in (1, 2, 3)] == [True, True, False]
    assert not line.again(1, limited(wait=30))
    assert sum(world.slept) < 2


# --- tokens ---------------------------------------------------------------------------------


def token() -> str:
    return ShopCredential.objects.get().secrets()["access_token"]


def test_a_stale_token_is_renewed_and_sealed(line: ShopLine) -> None:
    end = clock_now() + timedelta(days=1)
    line.refresh = lambda _: Tokens("new-token", end, "new-refresh")
    assert line.renew("access-token") == "new-token"
    row = ShopCredential.objects.get()
    assert (row.secrets()["access_token"], row.secrets()["refresh_token"]) == (
        "new-token", "new-refresh",
    )  # fmt: skip
    assert row.expires_at == end
    assert b"new-token" not in bytes(row.sealed)
    assert row.refreshing_until is None


def test_a_token_somebody_else_has_renewed_is_taken(line: ShopLine) -> None:
    line.refresh = lambda _: pytest.fail("asked for a token that was there")
    assert line.renew("a-token-before-that") == "access-token"


def test_a_platform_that_is_away_leaves_the_renewal_to_the_next(line: ShopLine) -> None:
    def away(_: str) -> Tokens:
        raise silence()

    line.refresh = away
    with pytest.raises(TryLater):
        line.renew("access-token")
    line.refresh = lambda _: Tokens("new-token")
    assert line.renew("access-token") == "new-token"


def test_who_must_be_authorized_again_is_not_asked_for_over_and_over(line: ShopLine) -> None:
    asked = []

    def refused(refresh_token: str) -> Tokens:
        asked.append(refresh_token)
        raise Rejected(PlatformError(ErrorClass.AUTH, "50001", "no"))

    line.refresh = refused
    for _ in range(3):
        with pytest.raises(Rejected) as refusal:
            line.renew("access-token")
        assert refusal.value.error.klass is ErrorClass.AUTH
    assert len(asked) == 1


class Authority:
    """Gives a new token for the old; a second one for the same would void the first."""

    def __init__(self) -> None:
        self.given = 0
        self.lock = threading.Lock()

    def refresh(self, _: str) -> Tokens:
        with self.lock:
            self.given += 1
            number = self.given
        threading.Event().wait(0.3)
        return Tokens(f"token-{number}", refresh_token="again")


@pytest.fixture
def threads() -> Iterator[list[threading.Thread]]:
    started: list[threading.Thread] = []
    yield started
    for thread in started:
        thread.join(timeout=30)


def _renew_together(shop: Shop, authority: Authority, threads: list[threading.Thread]) -> list[str]:
    got: list[str] = []
    gate = threading.Barrier(6)

    def worker() -> None:
        try:
            line = ShopLine(shop.pk)
            line.refresh = authority.refresh
            gate.wait()
            got.append(line.renew("access-token"))
        finally:
            connection.close()

    threads.extend(threading.Thread(target=worker) for _ in range(6))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return got


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_renews_and_all_go_on_with_its_token(
    shop: Shop, threads: list[threading.Thread]
) -> None:
    authority = Authority()
    assert _renew_together(shop, authority, threads) == ["token-1"] * 6
    assert authority.given == 1


@pytest.mark.django_db(transaction=True)
def test_without_the_lease_they_would_all_ask(
    shop: Shop, threads: list[threading.Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    def everybody(self: ShopLine, stale: str) -> tuple[str, str, bool]:
        return "", "refresh", True

    monkeypatch.setattr(ShopLine, "_lease", everybody)
    authority = Authority()
    _renew_together(shop, authority, threads)
    assert authority.given > 1


def test_a_bucket_gives_what_it_holds_and_no_more(shop: Shop) -> None:
    """Each turn is taken in the statement that counts it."""
    CallBudget.objects.all().delete()
    slept: list[float] = []
    for _ in range(20):
        ShopLine(shop.pk, sleep=slept.append).enter(LIST, Limit(0.001, 20))
    assert slept == []
    with pytest.raises(TryLater):
        ShopLine(shop.pk, sleep=slept.append).enter(LIST, Limit(0.001, 20))


# --- turns of several calls ----------------------------------------------------------------------


def queries_of(line: ShopLine, calls: int) -> int:
    with CaptureQueriesContext(connection) as seen:
        for _ in range(calls):
            line.enter(LIST, Limit(5, 10))
            line.passed(LIST)
    return len(seen)


def test_turns_taken_ahead_are_found_taken(line: ShopLine, world: World) -> None:
    assert line.ahead(LIST, Limit(5, 10), 6) == 6
    assert queries_of(line, 6) == 0
    assert queries_of(line, 1) == 1
    assert world.slept == []


def test_no_more_turns_are_taken_ahead_than_are_due(line: ShopLine, world: World) -> None:
    assert line.ahead(LIST, Limit(5, 10), 16) == 10
    assert queries_of(line, 10) == 0
    assert line.ahead(LIST, Limit(5, 10), 16) == 1
    assert world.slept == [pytest.approx(0.2)]
    world.now += timedelta(seconds=1)
    assert line.ahead(LIST, Limit(5, 10), 16) == 5


def test_without_giving_turns_back_the_shop_would_wait_for_calls_nobody_makes(
    line: ShopLine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(ShopLine, "_give_turn_back", lambda *_: None)
    for _ in range(3):
        line.ahead(LIST, Limit(5, 10), 16)
    assert world.slept[-1] > 1


def test_where_a_turn_is_far_off_none_is_taken(shop: Shop, world: World) -> None:
    line = ShopLine(shop.pk, sleep=world.sleep)
    assert line.ahead(LIST, Limit(0.01, 1), 4) == 1
    with pytest.raises(TryLater) as failure:
        line.ahead(LIST, Limit(0.01, 1), 4)
    assert failure.value.error.code == "turn"
    assert world.slept == []
    assert CallBudget.objects.get(interface=LIST).tokens == pytest.approx(0)


def test_of_several_calls_one_tries_whether_the_platform_is_back(
    line: ShopLine, shop: Shop, world: World
) -> None:
    for _ in range(BREAKS_AFTER):
        line.failed(LIST, silence())
    with pytest.raises(TryLater) as failure:
        line.ahead(LIST, Limit(5, 10), 4)
    assert failure.value.error.code == "breaker"
    world.now += timedelta(seconds=11)
    assert line.ahead(LIST, Limit(5, 10), 4) == 1
    with pytest.raises(TryLater):
        ShopLine(shop.pk, sleep=world.sleep).ahead(LIST, Limit(5, 10), 4)
    assert CallBudget.objects.get(interface=LIST).tokens == pytest.approx(9)
