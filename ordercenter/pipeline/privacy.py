"""Receivers in the clear: by scene, within quotas, each look on record before it is taken.

What a platform opens is shown or printed once; it is never stored and never logged. A look is
a ``Reveal`` row, committed before the platform is asked, so there is one for every call.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import httpx
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import connection, transaction
from django.utils.translation import gettext_lazy as _

from channels_sync import services as channels
from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.base import BaseConnector
from channels_sync.connectors.exchange import make_client
from channels_sync.contracts import (
    ConnectorError,
    Decrypted,
    DecryptRequest,
    ErrorClass,
    MessageKind,
    PlatformError,
    RawMessage,
    Rejected,
    TryLater,
    Unreadable,
)
from channels_sync.models import InboxMessage, Reveal, ShopCredential
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound, OrderCenterError
from ordercenter.core.masking import mask_numbers
from ordercenter.core.policy import Can, require
from ordercenter.notices import services as notices
from ordercenter.orders.contracts import ReceiverDraft
from ordercenter.orders.errors import BadReason
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline.calling import connector_for
from ordercenter.pipeline.drafts import Known, is_hidden, known_receiver, shown_hidden
from ordercenter.pipeline.intake import reader

logger = logging.getLogger(__name__)
REASON: Final = range(5, 501)
SCENES: Final = (Reveal.Scene.SERVICE, Reveal.Scene.AFTER_SALES, Reveal.Scene.CHECK)
"""What a person may look for; labels are printed without anybody looking."""
PARTS: Final = ("name", "phone", "address")
FOREIGN_ALARM: Final = "收件人密文与店铺不符"


class RevealRefused(OrderCenterError):
    code = "reveal_refused"
    message = _("%(why)s")


class RevealQuotaSpent(OrderCenterError):
    code = "reveal_quota"
    message = _("今日查看明文已达上限 %(most)d 次，请明日再查看或联系主管")
    http_status = 429  # type: ignore[assignment]


class ReceiverRestricted(OrderCenterError):
    code = "receiver_restricted"
    message = _("订单 %(number)s 的收件人信息已按本人要求限制处理，不再提供")


class Why(StrEnum):
    """Why a platform opened nothing. The words of each platform are told apart by ``MARKS``."""

    CLOSED = "closed"
    QUOTA = "quota"
    STALE = "stale"
    FOREIGN = "foreign"
    AUTH = "auth"
    LATER = "later"
    UNSUPPORTED = "unsupported"
    OTHER = "other"


MARKS: Final[Mapping[Why, tuple[str, ...]]] = {
    Why.CLOSED: ("DECRYPTION_DISABLED_BY_ORDERCLOSED",),
    Why.STALE: ("stale_oaid",),
    Why.QUOTA: ("quota", "额度", "次数已达", "QUOTA"),
    Why.FOREIGN: ("foreign_cipher", "密文无效", "密文与订单不匹配"),
    Why.UNSUPPORTED: ("unsupported",),
}
"""Where in a refusal's code, sub-code or message to look. Codes are not documented by every
platform: the shop's option ``decrypt_code.<code>`` names a reason and goes first."""

WORDS: Final[Mapping[Why, str]] = {
    Why.CLOSED: "订单已关闭，平台不再提供明文",
    Why.QUOTA: "该店的平台解密额度已用完，订单不受影响；额度恢复后再试",
    Why.STALE: "收件人标识已失效，请先刷新订单（已安排重新拉取，稍后再试）",
    Why.FOREIGN: "收件人密文与本店或本单不符，已停止并告警，请联系主管",
    Why.AUTH: "店铺授权失效，平台不提供明文，请联系 IT 重新授权",
    Why.LATER: "平台暂时没有答复，请稍后再试",
    Why.UNSUPPORTED: "本系统没有接入该平台的收件人解密，请到平台后台查看",
}


@dataclass(frozen=True, slots=True)
class Receiver:
    """One receiver for one look. ``note`` says why some of it is still masked."""

    name: str = field(repr=False)
    phone: str = field(repr=False)
    address: str = field(repr=False)
    """Below the region."""
    is_virtual: bool = False
    """The phone is lent by the platform until ``expires_at``."""
    expires_at: datetime | None = None
    note: str = ""

    @property
    def is_clear(self) -> bool:
        texts = (self.name, self.phone, self.address)
        return not self.note and all(text.strip() and "*" not in text for text in texts)


def reveal(
    order_id: int,
    *,
    scene: str,
    reason: str,
    user: AbstractBaseUser,
    actor: Actor,
    client: httpx.Client | None = None,
) -> Receiver:
    """Open one receiver for one person. Right: REVEAL_RECEIVER, within the user's shops.

    Clear data we hold lawfully is unsealed, other shops' by their platform. Either counts
    against the person's quota of the day (RevealQuotaSpent), a call against the shop's
    (option ``decrypt_quota``). A closed order shows what is masked. Raises RevealRefused with
    the reason in words. Where the platform is asked it must not be called within a transaction.
    """
    require(user, Can.REVEAL_RECEIVER)
    if len(reason.strip()) not in REASON or "\0" in reason:
        raise BadReason(what="")
    if scene not in SCENES:
        raise InvalidInput(what=_("请选择查看场景"))
    order = SalesOrder.objects.visible_to(user).select_related("shop").filter(pk=order_id).first()
    if order is None:
        raise NotFound(what=f"订单 {order_id}")
    look = _Look(order, Reveal.Scene(scene), reason.strip(), actor, settings.REVEALS_A_DAY)
    return look.take(client)


def for_label(
    order: SalesOrder, *, actor: Actor, client: httpx.Client | None = None
) -> ReceiverDraft:
    """The receiver as a carrier needs it: clear and whole, or RevealRefused.

    Nobody sees it, so it counts against the shop's quota only.
    """
    known = known_receiver(order.receiver_sealed)
    if known.is_restricted:
        raise ReceiverRestricted(number=order.number)
    if not _has_hidden(known.receiver):
        return known.receiver
    found = _Look(order, Reveal.Scene.LABEL, "打印面单", actor, None).take(client)
    if not found.is_clear:
        raise RevealRefused(why=found.note or "平台没有给出完整的收件人，不能打面单")
    return replace(
        known.receiver, name=found.name, phone=found.phone, address=found.address, is_masked=False
    )


def _has_hidden(receiver: ReceiverDraft) -> bool:
    return receiver.is_masked or any("*" in getattr(receiver, part) for part in PARTS)


class NotOpened(Exception):
    """A platform opened nothing."""

    def __init__(self, why: Why, code: str = "", words: str = "") -> None:
        super().__init__(why)
        self.why, self.code = why, code
        self.words = words or WORDS.get(why, "平台没有给出明文")


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at one order: recorded, then taken."""

    order: SalesOrder
    scene: Reveal.Scene
    reason: str
    actor: Actor
    most: int | None
    """The person's quota of the day."""

    def take(self, client: httpx.Client | None) -> Receiver:
        known = known_receiver(self.order.receiver_sealed)
        if known.is_restricted:
            raise ReceiverRestricted(number=self.order.number)
        asks = _has_hidden(known.receiver)
        if asks and _was_closed(self.order):
            return _masked(self.order, WORDS[Why.CLOSED])
        credential = ShopCredential.objects.filter(pk=self.order.shop_id).first()
        row = self._record(asks=asks, credential=credential)
        if not asks:
            return _stored(known.receiver)
        try:
            found = self._ask(known, credential, client)
        except NotOpened as nothing:
            return self._refused(row, nothing)
        except ConnectorError as error:
            return self._refused(row, _refusal(error, credential))
        except Exception:
            _end(row, "fault")
            raise
        _end(row, "shown")
        return _put_together(known, found)

    def _record(self, *, asks: bool, credential: ShopCredential | None) -> Reveal:
        """Commit the record of this look, or refuse it for a quota."""
        now = clock_now()
        try:
            with transaction.atomic(durable=asks):
                self._keep_to_quotas(asks=asks, credential=credential, now=now)
                row = Reveal.objects.create(
                    shop_id=self.order.shop_id, order_id=self.order.pk, scene=self.scene,
                    reason=self.reason, seen_by=self.actor.name[:150], seen_by_id=self.actor.id,
                    asked_platform=asks, outcome="" if asks else "shown", at=now,
                )  # fmt: skip
                record(
                    Action.RECEIVER_REVEALED, object_type="order", object_id=self.order.pk,
                    actor=self.actor, reason=self.reason,
                    change={"scene": self.scene.value, "asked_platform": asks},
                )  # fmt: skip
        except RevealQuotaSpent:
            _tell(
                f"reveals:{self.actor.id}:{now.astimezone(SHANGHAI):%Y%m%d}",
                "查看明文次数达到上限",
                [f"{self.actor.name} 今日查看收件人明文已达 {self.most} 次"],
            )
            raise
        return row

    def _keep_to_quotas(
        self, *, asks: bool, credential: ShopCredential | None, now: datetime
    ) -> None:
        today = now.astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
        _one_at_a_time(f"reveals-of-{self.actor.id}")
        if self.most is not None:
            looks = Reveal.objects.filter(seen_by_id=self.actor.id, at__gte=today)
            if looks.exclude(scene=Reveal.Scene.LABEL).count() >= self.most:
                raise RevealQuotaSpent(most=self.most)
        told = str(credential.options.get("decrypt_quota", "")) if credential else ""
        if asks and told.isascii() and told.isdigit():
            _one_at_a_time(f"reveals-at-{self.order.shop_id}")
            asked = Reveal.objects.filter(shop_id=self.order.shop_id, at__gte=today)
            if asked.filter(asked_platform=True).count() >= int(told):
                raise RevealRefused(why=WORDS[Why.QUOTA])

    def _ask(
        self, known: Known, credential: ShopCredential | None, client: httpx.Client | None
    ) -> Decrypted:
        """Ask the platform with the order as it came last."""
        order = self.order
        raw = _newest(order)
        if credential is None:
            raise NotOpened(Why.AUTH, "no_credential")
        if raw is None:
            raise NotOpened(Why.STALE, "no_raw")
        oaid = _oaid_of(order, raw, known)
        source = known.oaid_from
        if (
            source
            and source.app_key not in {"", credential.app_key}
            and oaid == known.receiver.oaid
        ):
            raise NotOpened(Why.STALE, "other_app")
        scene = str(credential.options.get(f"scene.{self.scene.value}", self.scene.value))
        request = DecryptRequest(order.channel_number, oaid, scene, raw)
        with client or make_client() as line:
            (found,) = connector_for(order.shop_id, line).decrypt([request])
        if found.channel_number != order.channel_number:
            raise NotOpened(Why.FOREIGN, "other_order")
        if found.error is not None:
            raise _refusal(Rejected(found.error), credential)
        return found

    def _refused(self, row: Reveal, nothing: NotOpened) -> Receiver:
        """Note what came of the look; what a closed order still shows is masked."""
        _end(row, nothing.why.value + (f":{nothing.code}" if nothing.code else ""))
        if nothing.why is Why.CLOSED:
            return _masked(self.order, nothing.words)
        if nothing.why is Why.STALE:
            refresh(self.order, again=row.pk)
        if nothing.why is Why.FOREIGN:
            _tell(f"foreign-cipher:{self.order.pk}", FOREIGN_ALARM, [self.order.number])
        raise RevealRefused(why=nothing.words)


def _one_at_a_time(what: str) -> None:
    """Two looks at one moment count each other; ends with the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [what])


def _was_closed(order: SalesOrder) -> bool:
    """Whether the platform has said for good that it opens this order no more."""
    looks = Reveal.objects.filter(shop_id=order.shop_id, order_id=order.pk)
    return looks.filter(outcome__startswith=Why.CLOSED.value).exists()


def _newest(order: SalesOrder) -> bytes | None:
    """The order as it came last."""
    rows = InboxMessage.objects.filter(
        shop_id=order.shop_id, channel_number=order.channel_number, kind=MessageKind.ORDER.value
    )
    body = rows.order_by("-pk").values_list("body", flat=True).first()
    return None if body is None else bytes(body)


def _oaid_of(order: SalesOrder, raw: bytes, known: Known) -> str:
    """The receiver's id by the platform's last word; it holds for a week at most."""
    try:
        draft = reader(order.shop.channel, order.shop_id).read(raw)
    except Unreadable as error:
        raise NotOpened(Why.OTHER, "unreadable", "保存的订单原文无法读取，请先刷新订单") from error
    if draft.channel_number != order.channel_number:
        raise NotOpened(Why.FOREIGN, "other_order")
    return (draft.receiver.oaid if draft.receiver else "") or known.receiver.oaid


def _refusal(error: ConnectorError, credential: ShopCredential | None) -> NotOpened:
    """What a refusal means for the person who asked."""
    fault = error.error
    code = fault.sub_code or fault.code
    why = _why(fault, credential.options if credential else {})
    if why is Why.OTHER and isinstance(error, TryLater):
        why = Why.LATER
    words = WORDS.get(why) or f"平台没有给出明文：{mask_numbers(fault.message)[:120]}"
    return NotOpened(why, code[:60], words)


def _why(fault: PlatformError, options: Mapping[str, Any]) -> Why:
    codes = [code for code in (fault.sub_code, fault.code) if code]
    for code in codes:
        told = options.get(f"decrypt_code.{code}")
        if told in set(Why):
            return Why(told)
    said = " ".join([*codes, fault.message])
    for why, marks in MARKS.items():
        if any(mark in said for mark in marks):
            return why
    return Why.AUTH if fault.klass is ErrorClass.AUTH else Why.OTHER


def _end(row: Reveal, outcome: str) -> None:
    Reveal.objects.filter(pk=row.pk).update(outcome=outcome[:80])


def _tell(key: str, title: str, lines: list[str]) -> None:
    with transaction.atomic():
        notices.tell(key=key, urgency="3", title=title, lines=lines, now=clock_now())


def refresh(order: SalesOrder, *, again: int) -> None:
    """Have one order asked for again, as if its platform had hinted at it; once for ``again``."""
    factory = CONNECTORS.get(order.shop.channel)
    if factory is None or getattr(factory, "fetch", None) is BaseConnector.fetch:
        return
    hint = RawMessage(
        MessageKind.EVENT, b"{}", order.channel_number, event_id=f"refresh:{order.pk}:{again}"
    )
    channels.store([hint], source=InboxMessage.Source.FETCH, shop_id=order.shop_id)


def _stored(receiver: ReceiverDraft) -> Receiver:
    return Receiver(receiver.name, receiver.phone, f"{receiver.town}{receiver.address}")


def _masked(order: SalesOrder, note: str) -> Receiver:
    """What anybody may see."""
    return Receiver(order.receiver_masked, "", "***", note=note)


def _put_together(known: Known, found: Decrypted) -> Receiver:
    """What somebody here has put right goes before what the platform opened."""
    texts: dict[str, str] = {}
    for part in PARTS:
        own, opened = getattr(known.receiver, part), getattr(found, part).strip()
        mended = known.is_ours and not is_hidden(own)
        texts[part] = own if mended else opened or shown_hidden(own)
    return Receiver(**texts, is_virtual=found.is_virtual, expires_at=found.expires_at)
