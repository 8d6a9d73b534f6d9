"""Where platforms and carriers push: verify over raw bytes, store, commit, answer. Nothing else.

Not authentic: 401 and nothing stored. Authentic but broken: answered as the platform wants,
kept whole and quarantined, so that it is not sent for hours and then never again.
"""

from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    JsonResponse,
)
from django.utils.translation import gettext as _
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
from channels_sync.models import InboxMessage, ShopCredential, SyncCursor
from fulfillment.carriers import CARRIERS
from fulfillment.carriers.account import speaking
from fulfillment.contracts import BadPush, CarrierPush
from fulfillment.models import CarrierAccount
from ordercenter.core.clock import now as clock_now

MAX_BODY: Final = 2 * 1024 * 1024
PUSH_STAMP: Final = timedelta(seconds=5)
JSON_TYPES: Final = ("application/json", "application/x-www-form-urlencoded", "text/xml", "")


def _refuse(status: int, code: str, message: str) -> JsonResponse:
    return JsonResponse({"code": code, "message": message}, status=status)


def _body(request: HttpRequest) -> bytes | HttpResponse:
    """The raw bytes, or why they are not taken."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        return _refuse(415, "encoding", _("不接受压缩报文"))
    if (request.content_type or "") not in JSON_TYPES:
        return _refuse(415, "content_type", _("不接受的报文类型"))
    length = request.headers.get("Content-Length")
    if length and length.isdigit() and int(length) > MAX_BODY:
        return _refuse(413, "too_large", _("报文过大"))
    body = request.read(MAX_BODY + 1)
    if len(body) > MAX_BODY:
        return _refuse(413, "too_large", _("报文过大"))
    if not body:
        return _refuse(400, "empty", _("报文为空"))
    return body


@csrf_exempt
def channel_hook(request: HttpRequest, channel: str, shop_code: str) -> HttpResponse:
    """One platform's push for one shop, or its question whether this address is ours."""
    if request.method not in {"GET", "POST"}:
        return HttpResponseNotAllowed(["POST"])
    credential = (
        ShopCredential.objects.select_related("shop")
        .filter(shop__code=shop_code, shop__channel=channel, shop__is_active=True)
        .first()
    )
    if credential is None or channel not in CONNECTORS:
        raise Http404
    field_map = map_at_the_door(channel, credential.shop_id)
    connector = CONNECTORS[channel](credential.access(), field_map=field_map)
    now = clock_now()
    if request.method == "GET":
        return _challenge(connector, _pushed(request, b"", now)) or HttpResponseNotAllowed(["POST"])
    body = _body(request)
    if isinstance(body, HttpResponse):
        return body
    pushed = _pushed(request, body, now)
    try:
        connector.verify(pushed)
    except BadSignature:
        return _refuse(401, "bad_signature", _("签名不正确"))
    if (answer := _challenge(connector, pushed)) is not None:
        return answer
    messages = connector.split(pushed)
    with transaction.atomic():
        new = channels.store(
            messages, source=InboxMessage.Source.PUSH, shop_id=credential.shop_id, now=now
        )
        SyncCursor.objects.filter(pk=credential.shop_id).exclude(
            last_push_at__gt=now - PUSH_STAMP
        ).update(last_push_at=now)
    return _reply(connector.acknowledge(pushed, duplicate=not new))


def _pushed(request: HttpRequest, body: bytes, now: datetime) -> WebhookRequest:
    return WebhookRequest(
        method=request.method or "",
        path=request.path,
        query={key: request.GET[key] for key in request.GET},
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        received_at=now,
    )


def _challenge(connector: Connector, pushed: WebhookRequest) -> HttpResponse | None:
    """The answer to the platform's check of this address, if it is one."""
    try:
        answer = connector.challenge(pushed)
    except BadSignature:
        return _refuse(401, "bad_signature", _("签名不正确"))
    return None if answer is None else _reply(answer)


def _reply(answer: WebhookReply) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, content_type=answer.content_type)


@csrf_exempt
@require_POST
def carrier_hook(request: HttpRequest, carrier: str, token: str = "") -> HttpResponse:
    """One carrier's push of scans."""
    accounts = CarrierAccount.objects.filter(code=carrier, is_active=True).exclude(sealed=b"")
    account = accounts.first()
    if account is None or carrier not in CARRIERS:
        raise Http404
    body = _body(request)
    if isinstance(body, HttpResponse):
        return body
    push = CarrierPush(
        token=token,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        peer=str(request.META.get("REMOTE_ADDR", "")),
    )
    line = speaking(account)
    try:
        line.verify_push(push)
    except BadPush:
        return _refuse(401, "bad_push", _("推送未通过校验"))
    with transaction.atomic():
        message = RawMessage(kind=MessageKind.TRACE, body=body)
        channels.store([message], source=InboxMessage.Source.PUSH, carrier=carrier)
    answer = line.acknowledge_push(push)
    return HttpResponse(answer.body, status=answer.status, content_type=answer.content_type)
