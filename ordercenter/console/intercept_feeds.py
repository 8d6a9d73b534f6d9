"""Warnings from outside: who may speak, what was said, what was made of it."""

import tempfile
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.core.validators import validate_slug
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from channels_sync.models import FeedWarning, WarningFeed
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.console.access import me, page
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can, allows, require
from ordercenter.pipeline.interception import feeds
from ordercenter.pipeline.interception.warned import MOST_BYTES

SHOWN: Final = 60
LEVELS: Final = tuple(feeds.LEVEL_WORDS.items())
OBJECT: Final = "warning_feed"


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.INTERCEPT, Can.EDIT_SHOPS)
def feeds_page(request: HttpRequest) -> HttpResponse:
    """The feeds and their latest warnings; IT sets a feed up, the CEO says what it may do."""
    if request.method != "POST":
        return _draw(request)
    require(me(request), Can.EDIT_SHOPS)
    try:
        feed, secret = _make(request)
    except InvalidInput as refusal:
        return _draw(request, error=str(refusal), status=refusal.http_status)
    return _draw(request, secret=secret, secret_of=feed)


def _draw(
    request: HttpRequest,
    *,
    error: str = "",
    status: int = HTTPStatus.OK,
    secret: str = "",
    secret_of: WarningFeed | None = None,
) -> HttpResponse:
    told = FeedWarning.objects.select_related("feed", "interception")
    context = {
        "feeds": WarningFeed.objects.all(),
        "warnings": told.order_by("-heard_at", "-pk")[:SHOWN],
        "kinds": WarningFeed.Kind.choices, "policies": WarningFeed.Policy.choices,
        "levels": LEVELS, "error": error, "secret": secret, "secret_of": secret_of,
        "typed": request.POST,
        "may_set_up": allows(request.user, Can.EDIT_SHOPS),
        "may_decide": allows(request.user, Can.END_INTERCEPT),
        "may_upload": allows(request.user, Can.INTERCEPT),
        "most_kib": MOST_BYTES // 1024,
    }  # fmt: skip
    return render(request, "console/intercept/feeds.html", context, status=int(status))


@transaction.atomic
def _make(request: HttpRequest) -> tuple[WarningFeed, str]:
    code, name, kind = (request.POST.get(key, "").strip() for key in ("code", "name", "kind"))
    try:
        validate_slug(code)
    except ValidationError:
        raise InvalidInput(what=_("编码只能用字母、数字、连字符")) from None
    if len(code) > 32 or not 0 < len(name) <= 60 or "\0" in name:  # noqa: PLR2004 - the columns
        raise InvalidInput(what=_("请填写编码（32 字内）与名称（60 字内）"))
    if kind not in WarningFeed.Kind.values:
        raise InvalidInput(what=_("请选择种类"))
    feed, is_new = WarningFeed.objects.get_or_create(
        code=code, defaults={"name": name, "kind": kind}
    )
    if not is_new:
        raise InvalidInput(what=_("已有编码 %(code)s") % {"code": code})
    secret = feeds.new_secret(feed)
    _told(request, feed, {"made": [None, f"{name} {kind}"]})
    return feed, secret


def _told(request: HttpRequest, feed: WarningFeed, change: dict[str, Any]) -> None:
    record(
        Action.RULES_CHANGED, object_type=OBJECT, object_id=feed.pk, actor=Actor.of(request),
        change=change,
    )  # fmt: skip


@require_POST
@page(Can.INTERCEPT, Can.EDIT_SHOPS)
def act(request: HttpRequest, code: str) -> HttpResponse:
    """Change a feed, give it a new secret, or hand in what it says."""
    feed = get_object_or_404(WarningFeed, code=code)
    try:
        right, verb = VERBS[request.POST.get("verb", "")]
    except KeyError:
        raise Http404 from None
    require(me(request), right)
    try:
        return verb(request, feed)
    except OrderCenterError as refusal:
        return _draw(request, error=str(refusal), status=refusal.http_status)


def _back(request: HttpRequest, words: str) -> HttpResponse:
    messages.success(request, words)
    return HttpResponseRedirect(reverse("intercept_feeds"))


@transaction.atomic
def _rotate(request: HttpRequest, feed: WarningFeed) -> HttpResponse:
    secret = feeds.new_secret(feed)
    _told(request, feed, {"secret": ["…", "…"]})
    return _draw(request, secret=secret, secret_of=feed)


@transaction.atomic
def _switch(request: HttpRequest, feed: WarningFeed) -> HttpResponse:
    is_active = request.POST.get("to") == "on"
    _told(request, feed, {"is_active": [feed.is_active, is_active]})
    feed.is_active = is_active
    feed.save(update_fields=["is_active"])
    return _back(request, _("已启用") if is_active else _("已停用"))


@transaction.atomic
def _decide(request: HttpRequest, feed: WarningFeed) -> HttpResponse:
    policy, level = request.POST.get("policy", ""), request.POST.get("level", "")
    if policy not in WarningFeed.Policy.values or level not in {str(one) for one, _words in LEVELS}:
        raise InvalidInput(what=_("请选择处理方式与最低级别"))
    was = [feed.policy, feed.least_level]
    feed.policy, feed.least_level = policy, int(level)
    feed.save(update_fields=["policy", "least_level"])
    _told(request, feed, {"policy": [was, [policy, int(level)]]})
    return _back(request, _("已保存"))


@transaction.atomic
def _told_in_its_own(request: HttpRequest, feed: WarningFeed, keys: list[str]) -> None:
    """Who handed a file in, before anything comes of it."""
    _told(request, feed, {"uploaded": [None, keys]})


def _upload(request: HttpRequest, feed: WarningFeed) -> HttpResponse:
    upload = request.FILES.get("file")
    if not isinstance(upload, UploadedFile):
        raise InvalidInput(what=_("请选择预警文件（JSON、CSV 或 Excel）"))
    if (upload.size or 0) > MOST_BYTES:
        raise InvalidInput(what=_("文件超过 %(most)d KiB") % {"most": MOST_BYTES // 1024})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload"
        path.write_bytes(upload.read())
        told = feeds.read_file(path, str(upload.name))
    _told_in_its_own(request, feed, [one.key for one in told])
    heard = feeds.hear(feed, told)
    return _back(request, _("已处理：%(what)s") % {"what": heard})


VERBS: Final[Mapping[str, tuple[Can, Callable[[HttpRequest, WarningFeed], HttpResponse]]]] = {
    "rotate": (Can.EDIT_SHOPS, _rotate),
    "switch": (Can.EDIT_SHOPS, _switch),
    "decide": (Can.END_INTERCEPT, _decide),
    "upload": (Can.INTERCEPT, _upload),
}
