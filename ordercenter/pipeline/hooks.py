"""Where platforms and carriers push: verify over raw bytes, store, commit, answer. Nothing else.

Not authentic: 401 and nothing stored. Authentic but broken: answered as the platform wants,
kept whole and quarantined, so that it is not sent for hours and then never again.
"""

import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    JsonResponse,
)
from django.utils.translation import gettext as _
from django.views.decorators.common import no_append_slash
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from channels_sync import services as channels
from channels_sync.connectors import CONNECTORS
from channels_sync.contracts import (
    BadSignature,
    Connector,
    MessageKind,
    RawMessage,
    WebhookReply,
    WebhookRequest,
)
from channels_sync.field_maps import map_at_the_door
from channels_sync.models import InboxMessage, ShopCredential, SyncCursor, WarningFeed
from fulfillment.carriers import CARRIERS
from fulfillment.carriers.account import speaking
from fulfillment.contracts import BadPush, CarrierPush
from fulfillment.models import CarrierAccount
from ordercenter.catalog.models import Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import OrderCenterError
from ordercenter.pipeline.interception import feeds
from ordercenter.pipeline.tally import DOORS

MAX_BODY: Final = 2 * 1024 * 1024
PUSH_STAMP: Final = timedelta(seconds=5)
LONG_AGO: Final = timedelta(days=1)
"""A push of something older is most likely a recording played again."""
WARNING_TYPES: Final = frozenset({"application/json"})
SCAN_TYPES: Final = frozenset(
    {"application/json", "application/x-www-form-urlencoded", "text/xml", "application/xml", ""}
)


class _Refused(Exception):
    """A push that is not taken; the answer says why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.answer = JsonResponse({"code": code, "message": message}, status=status)


def _bad_signature() -> _Refused:
    return _Refused(401, "bad_signature", _("签名不正确"))


def _body(request: HttpRequest, types: Collection[str]) -> bytes:
    """The raw bytes. Raises _Refused where they are not taken, whoever sent them."""
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        raise _Refused(403, "insecure", _("推送地址只能用 https"))
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise _Refused(415, "encoding", _("不接受压缩报文"))
    charset = (request.content_params or {}).get("charset", "utf-8").strip("\"'").lower()
    if (request.content_type or "") not in types or charset not in {"utf-8", "utf8"}:
        raise _Refused(415, "content_type", _("不接受的报文类型"))
    length = request.headers.get("Content-Length", "")
    said_too_much = length.isdigit() and int(length) > MAX_BODY
    body = b"" if said_too_much else request.read(MAX_BODY + 1)
    if said_too_much or len(body) > MAX_BODY:
        raise _Refused(413, "too_large", _("报文过大"))
    if not body:
        raise _Refused(400, "empty", _("报文为空"))
    if _is_gbk(body):
        raise _Refused(400, "charset", _("报文不是 UTF-8 编码"))
    return body


def _is_gbk(body: bytes) -> bool:
    """Whether this is JSON somebody wrote in GBK without saying so."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return False
    try:
        json.loads(body.decode("gbk"))
    except (ValueError, RecursionError):
        return False
    return True


@csrf_exempt
@no_append_slash
def channel_hook(request: HttpRequest, channel: str, shop_code: str) -> HttpResponse:
    """One platform's push for one shop, or its question whether this address is ours."""
    if request.method not in {"GET", "POST"}:
        return HttpResponseNotAllowed(["POST"])
    try:
        return _take_push(request, channel, shop_code)
    except _Refused as refusal:
        return refusal.answer


def _take_push(request: HttpRequest, channel: str, shop_code: str) -> HttpResponse:
    credential = (
        ShopCredential.objects.select_related("shop")
        .filter(shop__code=shop_code, shop__channel=channel)
        .first()
    )
    if credential is None or channel not in CONNECTORS:
        raise Http404
    if not credential.shop.is_active:
        DOORS.count("switched off", shop_code)
        raise _bad_signature()
    field_map = map_at_the_door(channel, credential.shop_id)
    connector = CONNECTORS[channel](credential.access(), field_map=field_map)
    now = clock_now()
    if request.method == "GET":
        return _challenge(connector, _pushed(request, b"", now)) or HttpResponseNotAllowed(["POST"])
    pushed = _pushed(request, _body(request, connector.push_types), now)
    try:
        connector.verify(pushed)
    except BadSignature as reason:
        DOORS.count("stale" if str(reason) == "stale" else "not authentic", shop_code)
        raise _bad_signature() from reason
    if (answer := _challenge(connector, pushed)) is not None:
        return answer
    new = _keep(connector.split(pushed), credential.shop, now)
    return _reply(connector.acknowledge(pushed, duplicate=not new))


def _keep(messages: Sequence[RawMessage], shop: Shop, now: datetime) -> int:
    """Commit what came; return how many messages were new."""
    with transaction.atomic():
        new = channels.store(messages, source=InboxMessage.Source.PUSH, shop_id=shop.pk, now=now)
        SyncCursor.objects.filter(pk=shop.pk).exclude(last_push_at__gt=now - PUSH_STAMP).update(
            last_push_at=now
        )
    times = [message.occurred_at for message in messages]
    if not new or any(at is not None and now - at > LONG_AGO for at in times):
        DOORS.count("played again", shop.code)
    return new


def _pushed(request: HttpRequest, body: bytes, now: datetime) -> WebhookRequest:
    return WebhookRequest(
        method=request.method or "",
        path=request.path,
        # Given twice, a parameter is neither of the two, as with headers.
        query={key: ",".join(request.GET.getlist(key)) for key in request.GET},
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        received_at=now,
    )


def _challenge(connector: Connector, pushed: WebhookRequest) -> HttpResponse | None:
    """The answer to the platform's check of this address, if it is one."""
    try:
        answer = connector.challenge(pushed)
    except BadSignature as reason:
        raise _bad_signature() from reason
    return None if answer is None else _reply(answer)


def _reply(answer: WebhookReply) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, content_type=answer.content_type)


@csrf_exempt
@no_append_slash
@require_POST
def carrier_hook(request: HttpRequest, carrier: str, token: str = "") -> HttpResponse:
    """One carrier's push of scans."""
    try:
        return _take_scans(request, carrier, token)
    except _Refused as refusal:
        return refusal.answer


def _take_scans(request: HttpRequest, carrier: str, token: str) -> HttpResponse:
    accounts = CarrierAccount.objects.filter(code=carrier, is_active=True).exclude(sealed=b"")
    account = accounts.first()
    if account is None or carrier not in CARRIERS:
        raise Http404
    body = _body(request, SCAN_TYPES)
    push = CarrierPush(
        token=token,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        peer=str(request.META.get("REMOTE_ADDR", "")),
    )
    line = speaking(account)
    try:
        line.verify_push(push)
    except BadPush as reason:
        DOORS.count("not authentic", carrier)
        raise _Refused(401, "bad_push", _("推送未通过校验")) from reason
    with transaction.atomic():
        message = RawMessage(kind=MessageKind.TRACE, body=body)
        new = channels.store([message], source=InboxMessage.Source.PUSH, carrier=carrier)
    if not new:
        DOORS.count("played again", carrier)
    answer = line.acknowledge_push(push)
    return HttpResponse(answer.body, status=answer.status, content_type=answer.content_type)


@csrf_exempt
@no_append_slash
@require_POST
def feed_hook(request: HttpRequest, code: str) -> HttpResponse:
    """One warning feed's push: signed, lately, and small."""
    try:
        return _take_warnings(request, code)
    except _Refused as refusal:
        return refusal.answer


def _take_warnings(request: HttpRequest, code: str) -> HttpResponse:
    feed = WarningFeed.objects.filter(code=code, is_active=True).first()
    if feed is None:
        raise Http404
    body = _body(request, WARNING_TYPES)
    now = clock_now()
    try:
        feeds.verify(
            feed, stamp=request.headers.get("X-Feed-Timestamp", ""),
            signature=request.headers.get("X-Feed-Signature", ""), body=body, now=now,
        )  # fmt: skip
    except feeds.BadFeedPush as reason:
        DOORS.count("not authentic", code)
        raise _bad_signature() from reason
    try:
        heard = feeds.hear_json(feed, body, now=now)
    except OrderCenterError as reason:
        raise _Refused(int(reason.http_status), reason.code, str(reason)) from reason
    return JsonResponse({"heard": heard.counts})
