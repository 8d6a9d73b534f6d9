"""One shop's line as every worker shares it: turns, the breaker, and a token that holds.

All of it lives in the database, so that several workers and nodes keep one limit together.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.db.models import F

from channels_sync.contracts import (
    Budget,
    ConnectorError,
    ErrorClass,
    Limit,
    PlatformError,
    Rejected,
    Tokens,
    TryLater,
)
from channels_sync.models import CallBudget, ShopCredential, SyncCursor
from ordercenter.core.clock import now as clock_now

logger = logging.getLogger(__name__)
WHOLE_SHOP: Final = "*"
PATIENCE: Final = 5.0
"""Seconds a caller waits for his turn; a longer wait is TryLater."""
REPEATS: Final = 2
LONGEST_MOMENT: Final = 3.0
FIRST_PAUSE: Final = timedelta(seconds=1)
LONG_BAN: Final = 300
"""A stated wait of so many seconds is the application's, not the interface's."""
SLOWER: Final = 0.7
SLOWEST: Final = 0.05
"""Of the connector's own limit, however often the platform complains."""
RECOVERS: Final = 0.01
"""Of the connector's own limit a second, after the platform complained."""
BREAKS_AFTER: Final = 5
FIRST_BREAK: Final = 10.0
LONGEST_BREAK: Final = 120.0
PROBE: Final = timedelta(seconds=35)
"""How long one call may try whether the platform is back; longer than any call lasts."""
NO_ANSWER: Final = frozenset({"timeout", "network", "bad_body"})
RENEWING: Final = timedelta(seconds=40)
RENEW_PATIENCE: Final = 30.0
LOOK: Final = 0.1
PLAIN: Final = Limit(50, 50)
"""Where a connector states none."""
_GONE: Final = "greatest(0, extract(epoch FROM %(now)s - b.counted_at)::float)"
_TAKE: Final = f"""
    INSERT INTO channels_sync_callbudget AS b
        (shop_id, interface, per_second, burst, tokens, counted_at)
    VALUES (%(shop)s, %(interface)s, %(rate)s, %(burst)s, %(burst)s - %(cost)s, %(now)s)
    ON CONFLICT (shop_id, interface) DO UPDATE SET
        tokens = least(b.burst, b.tokens + b.per_second * {_GONE}) - %(cost)s,
        per_second = greatest(b.per_second,
            least(%(rate)s, b.per_second + %(rate)s * %(recovers)s * {_GONE})),
        counted_at = greatest(b.counted_at, %(now)s)
    RETURNING tokens, per_second, greatest(b.blocked_until, (
        SELECT w.blocked_until FROM channels_sync_callbudget w
        WHERE w.shop_id = %(shop)s AND w.interface = %(whole)s)),
        coalesce((SELECT c.broken FROM channels_sync_synccursor c WHERE c.shop_id = %(shop)s), 0),
        (SELECT c.open_until FROM channels_sync_synccursor c WHERE c.shop_id = %(shop)s)
"""  # noqa: S608 - own constant text


@dataclass(frozen=True, slots=True)
class _Turn:
    """One look at the bucket of an interface, and at the breaker of its shop."""

    interface: str
    cost: float
    at: datetime
    tokens: float
    """What is left after ``cost`` was taken; debt below nothing."""
    per_second: float
    blocked_until: datetime | None
    broken: int
    open_until: datetime | None

    def wait(self, tokens: float) -> float:
        """Seconds until a bucket with so many ``tokens`` is out of debt, and nothing blocked."""
        owed = -tokens / self.per_second if tokens < 0 else 0.0
        blocked = (self.blocked_until - self.at).total_seconds() if self.blocked_until else 0.0
        return max(owed, blocked, 0.0)


class ShopLine:
    """The ``Line`` of one shop. ``refresh`` is set once the connector is made."""

    def __init__(
        self,
        shop_id: int,
        *,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.shop_id = shop_id
        self.patience = patience
        self.refresh: Callable[[str], Tokens] | None = None
        self._sleep = sleep
        self._broken = 0
        self._taken: dict[str, int] = {}
        self._lock = threading.Lock()

    # --- turns ------------------------------------------------------------------------------

    def enter(self, interface: str, limit: Limit | None, *, cost: float = 1.0) -> None:
        """Take the turn: wait for it, or raise TryLater where the wait would be long."""
        if cost == 1.0 and self._was_taken(interface):
            return
        turn = self._take_turn(interface, limit or PLAIN, cost)
        self._probes(turn)
        self._wait(turn.wait(turn.tokens), interface, cost)

    def ahead(self, interface: str, limit: Limit | None, wanted: int) -> int:
        """Take the turns of up to ``wanted`` calls together; return how many, one at least.

        As many as are due now; where none is, one is waited for, or TryLater raised. While
        nobody knows whether the platform is there, one call tries.
        """
        limit = limit or PLAIN
        wanted = min(wanted, max(1, int(limit.burst)))
        turn = self._take_turn(interface, limit, wanted)
        short = math.ceil(-turn.tokens) if turn.tokens < 0 else 0
        granted = 1 if self._probes(turn) else max(1, wanted - short)
        if granted < wanted:
            self._give_turn_back(interface, wanted - granted)
        self._wait(turn.wait(turn.tokens + wanted - granted), interface, granted)
        with self._lock:
            self._taken[interface] = granted
        return granted

    def _was_taken(self, interface: str) -> bool:
        """Use one of the turns that were taken ahead, if any is left."""
        with self._lock:
            left = self._taken.get(interface, 0)
            self._taken[interface] = max(0, left - 1)
        return left > 0

    def _wait(self, seconds: float, interface: str, cost: float) -> None:
        if seconds > self.patience:
            self._give_turn_back(interface, cost)
            raise TryLater(_limited("turn", "等待平台限流，稍后自动继续", seconds))
        if seconds > 0:
            self._sleep(seconds)

    def _take_turn(self, interface: str, limit: Limit, cost: float) -> "_Turn":
        """Take ``cost`` out of the bucket, into debt if need be; tell how the breaker stands."""
        now = clock_now()
        with connection.cursor() as cursor:
            cursor.execute(
                _TAKE,
                {
                    "shop": self.shop_id,
                    "interface": interface[:80],
                    "rate": limit.per_second,
                    "burst": max(limit.burst, cost),
                    "cost": cost,
                    "now": now,
                    "recovers": RECOVERS,
                    "whole": WHOLE_SHOP,
                },
            )
            turn = _Turn(interface, cost, now, *cursor.fetchone())
        self._broken = turn.broken
        return turn

    def _give_turn_back(self, interface: str, cost: float) -> None:
        CallBudget.objects.filter(shop_id=self.shop_id, interface=interface[:80]).update(
            tokens=F("tokens") + cost
        )

    # --- how calls went ---------------------------------------------------------------------

    def passed(self, interface: str, budget: Budget | None = None) -> None:
        """The platform is there; what it says of its own limit is kept."""
        self._is_there()
        if budget is not None and budget.restore_per_second > 0:
            CallBudget.objects.filter(shop_id=self.shop_id, interface=interface[:80]).update(
                tokens=budget.available,
                burst=budget.maximum,
                per_second=budget.restore_per_second,
                counted_at=clock_now(),
            )

    def failed(self, interface: str, error: ConnectorError) -> None:
        """Keep to a stated wait and slow down; count what met no platform at all.

        A refusal is an answer: were a probe that hears "token expired" none, the breaker would
        refuse the very call that renews the token, for ever.
        """
        fault = error.error
        if fault.klass is ErrorClass.PLATFORM and _is_silence(fault):
            self._count_silence()
            return
        self._is_there()
        if fault.klass is ErrorClass.RATE_LIMITED:
            self._slow_down(interface, fault)

    def _is_there(self) -> None:
        if self._broken:
            SyncCursor.objects.filter(pk=self.shop_id).update(broken=0, open_until=None)
            self._broken = 0

    def _slow_down(self, interface: str, fault: PlatformError) -> None:
        wait = fault.retry_after_seconds
        until = clock_now() + (FIRST_PAUSE if wait is None else timedelta(seconds=wait))
        whole = wait is not None and wait >= LONG_BAN
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO channels_sync_callbudget AS b "
                "(shop_id, interface, per_second, burst, tokens, counted_at, blocked_until) "
                "VALUES (%s, %s, 50, 50, 0, %s, %s) ON CONFLICT (shop_id, interface) DO UPDATE "
                "SET blocked_until = greatest(b.blocked_until, excluded.blocked_until), "
                "per_second = greatest(b.burst * %s, b.per_second * %s), "
                "tokens = least(b.tokens, 0)",
                [self.shop_id, WHOLE_SHOP if whole else interface[:80], clock_now(), until,
                 SLOWEST, SLOWER],
            )  # fmt: skip

    def _count_silence(self) -> None:
        """One more call met nobody; from ``BREAKS_AFTER`` in a row on nobody calls for a while."""
        now = clock_now()
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE channels_sync_synccursor SET broken = least(broken + 1, 1000), "
                "open_until = CASE WHEN broken + 1 >= %s THEN %s + interval '1 second' * "
                "least(%s, %s * 2 ^ least(broken + 1 - %s, 6)) ELSE open_until END "
                "WHERE shop_id = %s RETURNING broken",
                [BREAKS_AFTER, now, LONGEST_BREAK, FIRST_BREAK, BREAKS_AFTER, self.shop_id],
            )
            row = cursor.fetchone()
        self._broken = row[0] if row else 0

    def _probes(self, turn: "_Turn") -> bool:
        """Whether this is the one call that may try if the platform is back. Raises TryLater
        while the breaker is open."""
        until = turn.open_until
        if turn.broken < BREAKS_AFTER or until is None:
            return False
        if until <= turn.at:
            mine = SyncCursor.objects.filter(pk=self.shop_id, open_until=until).update(
                open_until=turn.at + PROBE
            )
            if mine:
                return True
            until = turn.at + PROBE
        self._give_turn_back(turn.interface, turn.cost)
        wait = max(1, int((until - turn.at).total_seconds()))
        raise TryLater(
            PlatformError(
                ErrorClass.PLATFORM, "breaker", "平台连续没有应答，暂停调用，稍后自动试探",
                retry_after_seconds=wait,
            )
        )  # fmt: skip

    def again(self, attempt: int, error: TryLater) -> bool:
        """Repeat a call twice, when the platform asks for no longer wait than a moment."""
        wait = error.wait if error.wait is not None else 0.2 * 2**attempt
        if attempt > REPEATS or error.error.code == "breaker" or wait > LONGEST_MOMENT:
            return False
        self._sleep(wait)
        return True

    # --- tokens -----------------------------------------------------------------------------

    def renew(self, stale_token: str) -> str:
        """Return a token that is not ``stale_token``: another worker's, or a fresh one.

        Exactly one worker asks the platform; the others wait for what it gets. Raises Rejected
        where only the seller can authorize again, TryLater where the platform does not answer.
        """
        until = time.monotonic() + RENEW_PATIENCE
        while True:
            token, refresh_token, is_mine = self._lease(stale_token)
            if token:
                return token
            if is_mine:
                return self._renew(refresh_token)
            if time.monotonic() > until:
                raise TryLater(
                    PlatformError(ErrorClass.PLATFORM, "renewing", "正在续期授权，稍后自动继续")
                )
            self._sleep(LOOK)

    def _lease(self, stale_token: str) -> tuple[str, str, bool]:
        """(a token that will do, the refresh token, whether it is ours to renew)."""
        now = clock_now()
        with transaction.atomic():
            row = ShopCredential.objects.select_for_update(no_key=True).get(pk=self.shop_id)
            secrets = row.secrets()
            token = secrets.get("access_token", "")
            if token and token != stale_token:
                return token, "", False
            if row.refresh_expires_at and row.refresh_expires_at <= now:
                raise Rejected(_must_authorize())
            if row.refreshing_until and row.refreshing_until > now:
                return "", "", False
            row.refreshing_until = now + RENEWING
            row.save(update_fields=["refreshing_until"])
            return "", secrets.get("refresh_token", ""), True

    def _renew(self, refresh_token: str) -> str:
        refresh = self.refresh or _nobody_refreshes
        try:
            tokens = refresh(refresh_token)
        except Rejected as refusal:
            # Only the seller can help: nobody asks again until he has.
            self._release(refresh_expires_at=clock_now())
            logger.warning("shop %s must be authorized again", self.shop_id)
            if refusal.error.klass is ErrorClass.AUTH:
                raise
            raise Rejected(_must_authorize()) from refusal
        except BaseException:
            self._release()
            raise
        keep_tokens(self.shop_id, tokens)
        return tokens.access_token

    def _release(self, **changes: object) -> None:
        ShopCredential.objects.filter(pk=self.shop_id).update(refreshing_until=None, **changes)


@transaction.atomic
def keep_tokens(shop_id: int, tokens: Tokens) -> None:
    """Seal what an authorization gave; what it did not give stays."""
    row = ShopCredential.objects.select_for_update(no_key=True).get(pk=shop_id)
    changes = {"access_token": tokens.access_token}
    if tokens.refresh_token:
        changes["refresh_token"] = tokens.refresh_token
    row.change_secrets(**changes)
    row.expires_at = tokens.expires_at
    row.refresh_expires_at = tokens.refresh_expires_at
    row.write_expires_at = tokens.write_expires_at
    row.refreshing_until = None
    row.save()


def _is_silence(fault: PlatformError) -> bool:
    return fault.code in NO_ANSWER or fault.code.startswith("http_5")


def _limited(code: str, words: str, wait: float) -> PlatformError:
    seconds = max(1, int(wait + 0.999))
    return PlatformError(ErrorClass.RATE_LIMITED, code, words, retry_after_seconds=seconds)


def _nobody_refreshes(_refresh_token: str) -> Tokens:
    raise Rejected(_must_authorize())


def _must_authorize() -> PlatformError:
    return PlatformError(ErrorClass.AUTH, "reauthorize", "授权已失效，请店主重新授权")
