"""Live pages: drawn from the database, drawn again when nudged."""

from http import HTTPStatus
from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from ordercenter.core.actor import Actor
from ordercenter.core.clock import now
from ordercenter.core.errors import NotFound
from ordercenter.core.policy import Can, allows
from ordercenter.core.replica import from_replica
from ordercenter.pipeline import health as lines
from ordercenter.pipeline import intake
from ordercenter.warroom import quarantine as dead
from ordercenter.warroom import selectors
from ordercenter.warroom.access import is_fragment, page, person
from ordercenter.warroom.shared import Shared

REASON: Final = range(5, 501)


def _figures() -> selectors.Board:
    with from_replica():
        return selectors.board(now())


_board: Final = Shared(_figures)
_health: Final = Shared(lambda: lines.health(now()))


@require_safe
@page(Can.VIEW_BOARD)
def board(request: HttpRequest) -> HttpResponse:
    """Show the war-room board; the same figures for everybody who may see it."""
    name = "warroom/parts/board.html" if is_fragment(request) else "warroom/board.html"
    return render(request, name, {"board": _board.get()})


@require_safe
@page(Can.VIEW_HEALTH)
def health(request: HttpRequest) -> HttpResponse:
    """Show how the line to each shop is doing, and what to do about it."""
    name = "warroom/parts/health.html" if is_fragment(request) else "warroom/health.html"
    context = {
        "health": _health.get(),
        "may_replay": allows(request.user, Can.REPLAY_DEAD),
        "may_edit": allows(request.user, Can.EDIT_SHOPS),
    }
    return render(request, name, context)


@require_safe
@page(Can.REPLAY_DEAD)
def quarantine(request: HttpRequest) -> HttpResponse:
    """Show the messages that could not be worked, bytes and all."""
    before = request.GET.get("before", "")
    known = before.isascii() and before.isdigit() and len(before) < 19  # noqa: PLR2004 - bigint
    return _quarantine(request, before=int(before) if known else None)


def _quarantine(
    request: HttpRequest, *, before: int | None = None, status: int = HTTPStatus.OK, **more: object
) -> HttpResponse:
    context = {"quarantine": dead.quarantine(before), **more}
    return render(request, "warroom/quarantine.html", context, status=status)


@require_POST
@page(Can.REPLAY_DEAD)
def raw(request: HttpRequest, message_id: int) -> HttpResponse:
    """Show one message byte for byte, in this answer alone; the look is on record."""
    reason = request.POST.get("reason", "")
    text = dead.raw_text(message_id, user=person(request), actor=Actor.of(request), reason=reason)
    return render(request, "warroom/raw.html", {"message_id": message_id, "text": text})


@require_POST
@page(Can.REPLAY_DEAD)
def replay(request: HttpRequest, message_id: int) -> HttpResponse:
    """Put one message back into the inbox, with a reason that goes on record.

    Pressed twice it is put back once.
    """
    reason = request.POST.get("reason", "").strip()
    if len(reason) not in REASON:
        return _quarantine(
            request,
            before=message_id + 1,
            status=HTTPStatus.UNPROCESSABLE_ENTITY,
            refused_id=message_id,
            refusal=_("请填写 5 到 500 个字的原因"),
            typed=reason,
        )
    try:
        intake.replay(message_id, user=person(request), actor=Actor.of(request), reason=reason)
    except NotFound:
        if not dead.was_replayed(message_id):
            raise
    messages.success(request, _("消息 %(id)d 已放回收件箱，稍后自动处理") % {"id": message_id})
    return HttpResponseRedirect(reverse("warroom:quarantine"))
