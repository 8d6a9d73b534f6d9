"""What people do to a shop's line: connect, test, pause, set how it is read, read the past again.

Every change needs the right, leaves a record, and may be asked for twice.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import BadSignature, ConnectorError, PlatformError, Tokens, Unsupported
from channels_sync.line import keep_tokens
from channels_sync.models import (
    GRACED,
    Backfill,
    FeedCursor,
    ShopCredential,
    SyncCursor,
    SyncWindow,
)
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.catalog.models import Shop
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.live import announce
from ordercenter.core.policy import Can, require
from ordercenter.pipeline import pulling
from ordercenter.pipeline.calling import connector_for, own_fault
from ordercenter.pipeline.schedules import connect_shop, sync_schedules

logger = logging.getLogger(__name__)
GRACE: Final = timedelta(hours=24)
"""So long pushes signed with the secret before the last one are still taken."""
LONGEST_BACKFILL: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Tested:
    """How a shop's platform answered. ``error`` is None when all is well."""

    seconds: float
    error: PlatformError | None = None

    @property
    def ok(self) -> bool:
        return self.error is None


def _cursor(shop_id: int) -> SyncCursor:
    row = SyncCursor.objects.select_for_update().select_related("shop").filter(pk=shop_id).first()
    if row is None:
        raise NotFound(what=f"店铺线路 {shop_id}")
    return row


def _record(shop_id: int, action: Action, actor: Actor, change: Mapping[str, object],
            reason: str = "") -> None:  # fmt: skip
    record(action, object_type="shop", object_id=shop_id, actor=actor, change=change, reason=reason)
    announce("shops")


# --- connecting -----------------------------------------------------------------------------


@transaction.atomic
def keep_access(
    shop_id: int,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    base_url: str,
    app_key: str,
    options: Mapping[str, object],
    secrets: Mapping[str, str],
) -> None:
    """Store how a shop is spoken for. Right: EDIT_SHOPS.

    Empty secrets stay as they are. A new secret of those that prove pushes leaves the old one
    good for pushes for a day. The shop is read from now on; one that is read already goes on.
    """
    require(user, Can.EDIT_SHOPS)
    shop = Shop.objects.select_for_update().filter(pk=shop_id).first()
    if shop is None or shop.channel not in CONNECTORS:
        raise NotFound(what=f"店铺 {shop_id}")
    row = ShopCredential.objects.filter(shop=shop).first()
    given = {name: text.strip() for name, text in secrets.items() if text.strip()}
    was = {"base_url": row.base_url, "app_key": row.app_key, "options": row.options} if row else {}
    if row is None:
        row = ShopCredential(shop=shop)
        row.set_secrets(app_secret=given.get("app_secret", ""))
    former = _begin_grace(row, given)
    if given:
        row.change_secrets(**former, **given)
        if "refresh_token" in given or "access_token" in given:
            row.expires_at = row.refresh_expires_at = row.write_expires_at = None
            row.refreshing_until = None
    row.base_url, row.app_key, row.options = base_url.strip(), app_key.strip(), dict(options)
    row.save()
    now_is = {"base_url": row.base_url, "app_key": row.app_key, "options": row.options}
    change: dict[str, object] = {
        name: [was.get(name), value] for name, value in now_is.items() if was.get(name) != value
    }
    change |= {name: ["***", "***"] for name in given}
    if change:
        _record(shop_id, Action.SHOP_CHANGED, actor, change)
    connect_shop(shop_id)


def _begin_grace(row: ShopCredential, given: Mapping[str, str]) -> dict[str, str]:
    """The former secrets to keep beside ``given``; a grace that is over is not begun again."""
    now, known = clock_now(), row.secrets()
    changed = [n for n in GRACED if n in given and known.get(n) not in {None, "", given[n]}]
    if not changed:
        return {}
    is_over = row.old_secret_until is None or row.old_secret_until <= now
    former = {name: "" for name in known if name.startswith("old_")} if is_over else {}
    row.old_secret_until = now + GRACE
    return former | {f"old_{name}": known[name] for name in changed}


def test_connection(shop_id: int, *, user: AbstractBaseUser) -> Tested:
    """Ask the shop's platform whether it knows us. Right: EDIT_SHOPS. Changes nothing."""
    require(user, Can.EDIT_SHOPS)
    began = time.monotonic()
    try:
        with make_client() as client:
            connector_for(shop_id, client).test()
    except ConnectorError as refusal:
        return Tested(time.monotonic() - began, refusal.error)
    except Exception as error:
        logger.exception("testing shop %s failed", shop_id)
        return Tested(time.monotonic() - began, own_fault(error))
    return Tested(time.monotonic() - began)


def authorize_url(
    shop_id: int, *, user: AbstractBaseUser, redirect_uri: str, state: str
) -> str | None:
    """Where the shop's owner allows us in; None where the platform has no such page."""
    require(user, Can.EDIT_SHOPS)
    with make_client() as client:
        try:
            return connector_for(shop_id, client).authorize_url(redirect_uri, state)
        except Unsupported:
            return None


def authorize(
    shop_id: int,
    *,
    user: AbstractBaseUser,
    actor: Actor,
    code: str,
    callback: Mapping[str, str] | None = None,
) -> Tokens:
    """Trade the code the owner came back with for tokens. Raises ConnectorError.

    ``callback`` is the whole query of his way back, where there was one; a platform that signs
    it is taken at its word only. Raises InvalidInput for a forged one.
    """
    require(user, Can.EDIT_SHOPS)
    with make_client() as client:
        connector = connector_for(shop_id, client)
        if callback is not None:
            try:
                connector.check_callback(callback)
            except BadSignature as error:
                raise InvalidInput(what="授权回调不是平台发来的，请回到店铺页重新授权") from error
        tokens = connector.exchange_code(code.strip())
    keep_tokens(shop_id, tokens)
    with transaction.atomic():
        change = {"access_token": ["***", "***"], "expires_at": [None, str(tokens.expires_at)]}
        _record(shop_id, Action.SHOP_CHANGED, actor, change)
        _poll_now(shop_id)
    return tokens


# --- how it is read -------------------------------------------------------------------------


@transaction.atomic
def pause(shop_id: int, *, user: AbstractBaseUser, actor: Actor, reason: str) -> None:
    """Stop reading the shop and telling it things; its pushes are still kept. Right: EDIT_SHOPS."""
    require(user, Can.EDIT_SHOPS)
    row = _cursor(shop_id)
    if row.paused_at is not None:
        return
    row.paused_at, row.paused_by = clock_now(), actor.name[:150]
    row.save(update_fields=["paused_at", "paused_by"])
    _record(shop_id, Action.LINE_CHANGED, actor, {"paused": [False, True]}, reason)


@transaction.atomic
def resume(shop_id: int, *, user: AbstractBaseUser, actor: Actor) -> None:
    """Go on where the shop was paused: what happened meanwhile is read first."""
    require(user, Can.EDIT_SHOPS)
    row = _cursor(shop_id)
    if row.paused_at is None:
        return
    row.paused_at, row.paused_by = None, ""
    row.save(update_fields=["paused_at", "paused_by"])
    _poll_now(shop_id)
    _record(shop_id, Action.LINE_CHANGED, actor, {"paused": [True, False]})


@transaction.atomic
def set_mode(
    shop_id: int, *, user: AbstractBaseUser, actor: Actor, mode: str, interval_seconds: int
) -> None:
    """Say how fresh the shop is kept (Q118), and how often it is polled: 10 s to a day."""
    require(user, Can.EDIT_SHOPS)
    if mode not in SyncCursor.Mode.values or not 10 <= interval_seconds <= 86_400:  # noqa: PLR2004
        raise InvalidInput(what="同步方式不对，或轮询间隔不在 10 秒到 24 小时之间")
    row = _cursor(shop_id)
    was = [row.mode, row.interval_seconds]
    if was == [mode, interval_seconds]:
        return
    row.mode, row.interval_seconds = mode, interval_seconds
    row.save(update_fields=["mode", "interval_seconds"])
    if mode != SyncCursor.Mode.MANUAL:
        _poll_now(shop_id)
    sync_schedules()
    _record(
        shop_id, Action.LINE_CHANGED, actor,
        {"mode": [was[0], mode], "interval_seconds": [was[1], interval_seconds]},
    )  # fmt: skip


@transaction.atomic
def poll_now(shop_id: int, *, user: AbstractBaseUser) -> None:
    """Have the shop read at once, whatever its mode; the worker does it. Right: VIEW_HEALTH."""
    require(user, Can.VIEW_HEALTH)
    _cursor(shop_id)
    _poll_now(shop_id)


def _poll_now(shop_id: int) -> None:
    SyncCursor.objects.filter(pk=shop_id).update(next_due_at=clock_now(), open_until=None, broken=0)


def pull_one(shop_id: int, channel_number: str, *, user: AbstractBaseUser, actor: Actor) -> bool:
    """Fetch one order by the platform's number; True where it said something new.

    Right: VIEW_HEALTH. Raises ConnectorError in the platform's own words.
    """
    require(user, Can.VIEW_HEALTH)
    number = channel_number.strip()
    if not 1 <= len(number) <= 64:  # noqa: PLR2004 - as long as a number may be
        raise InvalidInput(what="请填写平台单号")
    found = pulling.pull_one(shop_id, number)
    with transaction.atomic():
        _record(shop_id, Action.LINE_CHANGED, actor, {"pulled": [None, number]})
    return found


@transaction.atomic
def reset_cursor(
    shop_id: int, feed: str, to: datetime, *, user: AbstractBaseUser, actor: Actor, reason: str
) -> None:
    """Move a feed's cursor by hand, also backwards. Right: EDIT_SHOPS."""
    require(user, Can.EDIT_SHOPS)
    row = FeedCursor.objects.select_for_update().filter(shop_id=shop_id, feed=feed).first()
    now = clock_now()
    if row is None:
        raise NotFound(what=f"接口 {feed}")
    if to > now:
        raise InvalidInput(what="读取进度不能在将来")
    SyncWindow.objects.create(
        shop_id=shop_id, feed=feed, start=to, end=to, was=row.position, position=to,
        reset_by=actor.name[:150], at=now,
    )  # fmt: skip
    change = {feed: [row.position.isoformat(), to.isoformat()]}
    row.position = to
    row.save(update_fields=["position"])
    _record(shop_id, Action.CURSOR_RESET, actor, change, reason)


# --- reading the past again -----------------------------------------------------------------


@transaction.atomic
def ask_backfill(
    shop_id: int,
    *,
    start: datetime,
    end: datetime,
    user: AbstractBaseUser,
    actor: Actor,
    reason: str = "",
) -> Backfill:
    """Have everything that changed from ``start`` to ``end`` read again, behind live orders.

    Right: EDIT_SHOPS. One at a time a shop: a second wish is refused while one runs.
    """
    require(user, Can.EDIT_SHOPS)
    _cursor(shop_id)
    now = clock_now()
    if not start < end or start >= now:
        raise InvalidInput(what="补拉的开始时间要早于结束时间，且不能在将来")
    if end - start > LONGEST_BACKFILL:
        raise InvalidInput(what=f"一次最多补拉 {LONGEST_BACKFILL.days} 天")
    open_ones = Backfill.objects.filter(shop_id=shop_id, state__in=["waiting", "running"])
    if open_ones.exists():
        raise InvalidInput(what="这家店铺已有补拉任务在进行，请等它完成或先取消")
    made = Backfill.objects.create(
        shop_id=shop_id, start=start, end=min(end, now), position=start,
        asked_by=actor.name[:150], reason=reason[:500], created_at=now,
    )  # fmt: skip
    _record(
        shop_id, Action.LINE_CHANGED, actor,
        {"backfill": [None, f"{start.isoformat()}/{made.end.isoformat()}"]}, reason,
    )  # fmt: skip
    return made


@transaction.atomic
def cancel_backfill(backfill_id: int, *, user: AbstractBaseUser, actor: Actor) -> None:
    """Stop a back-fill; what it has read stays."""
    require(user, Can.EDIT_SHOPS)
    row = Backfill.objects.select_for_update().filter(pk=backfill_id).first()
    if row is None:
        raise NotFound(what=f"补拉任务 {backfill_id}")
    if row.state not in {Backfill.State.WAITING, Backfill.State.RUNNING}:
        return
    row.state, row.done_at = Backfill.State.CANCELED, clock_now()
    row.save(update_fields=["state", "done_at"])
    _record(row.shop_id, Action.LINE_CHANGED, actor, {"backfill": [backfill_id, None]})
