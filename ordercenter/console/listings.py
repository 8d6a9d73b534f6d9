"""Codes nobody has mapped, and what each code of a shop stands for."""

from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ordercenter.catalog.models import CodeType
from ordercenter.console import listing_facts as facts
from ordercenter.console.access import me, page
from ordercenter.console.reasons import LONGEST, checked_reason
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can, allows
from ordercenter.pipeline import unmapped
from ordercenter.pipeline.mapping import Mapped, map_codes
from ordercenter.pipeline.recoding import Recoded, recode
from ordercenter.pipeline.rereading import Changed
from ordercenter.pipeline.unmapped import Wish

READERS: Final = (Can.VIEW_HEALTH, Can.EDIT_MAPPING)
MOST_TICKED: Final = 200
ACCEPTED: Final = "采纳建议"
CHOSEN: Final = "人工匹配"


@require_safe
@page(*READERS)
def queue_page(request: HttpRequest) -> HttpResponse:
    """The queue, or how far the orders set free have come."""
    if request.GET.get("fragment") == "going":
        context = _progress(request.GET, len(unmapped.ready()))
        return render(request, "console/listings/parts/going.html", context)
    return _draw_queue(request)


def _progress(query: QueryDict, going: int) -> dict[str, Any]:
    """How many of the orders set free have gone on; of how many, the address says."""
    of = facts.number_of(query.get("of", ""), most=10**7)
    return {"going": going, "of": of, "gone": max(0, of - going)}


def _draw_queue(
    request: HttpRequest, *, status: int = HTTPStatus.OK, refusal: str = ""
) -> HttpResponse:
    found = facts.queue_page(request.GET)
    here = {"shop": found.shop_id} if found.shop_id else {}
    progress = _progress(request.GET, found.going)
    context = {
        "queue": found,
        "may_edit": allows(request.user, Can.EDIT_MAPPING),
        "refusal": refusal,
        "here": _address(**here),
        "next": _address(**here, page=found.number + 1),
        "before": _address(**here, page=found.number - 1),
        "fragment": _address(fragment="going", of=progress["of"]),
        "now": now(),
        **progress,
    }
    return render(request, "console/listings/queue.html", context, status=int(status))


def _address(**query: str | int) -> str:
    return reverse("listings") + ("?" + urlencode(query) if query else "")


@require_POST
@page(Can.EDIT_MAPPING)
def accept(request: HttpRequest) -> HttpResponse:
    """Map one code as proposed, or all that are ticked; all of them or none."""
    picks = [request.POST["one"]] if "one" in request.POST else request.POST.getlist("pick")
    try:
        if not 1 <= len(picks) <= MOST_TICKED:
            raise InvalidInput(what=_("请先勾选要采纳的建议"))
        wishes = {(wish.key, wish.target): wish for wish in map(facts.wish_of, picks)}
        done = map_codes(
            list(wishes.values()), user=me(request), actor=Actor.of(request), reason=ACCEPTED
        )
    except OrderCenterError as refusal:
        return _draw_queue(request, status=refusal.http_status, refusal=str(refusal))
    messages.success(request, told_of(done))
    return to_queue(done, shop=facts.number_of(request.POST.get("shop", ""), most=2**62))


def told_of(done: Mapped) -> str:
    """What a mapping came to, in words."""
    if not done.made and not done.changed and not done.recoded.orders:
        return _("没有要改的：%(n)d 个编码已是如此") % {"n": done.unchanged}
    said = []
    if done.made:
        said.append(_("新建 %(n)d 个对应关系") % {"n": done.made})
    if done.changed:
        said.append(_("修改 %(n)d 个") % {"n": done.changed})
    going = _("%(n)d 张等待的订单自动继续") % {"n": done.goes_on}
    said = ["，".join(said), going if done.goes_on else _("没有订单在等待")]
    return "；".join(one for one in (*said, recoded_words(done.recoded)) if one)


def recoded_words(done: Recoded) -> str:
    """How many open orders were read again; empty where none was."""
    if done.goes_on:
        return _("已改写 %(n)d 张在途订单，其余由后台继续") % {"n": done.orders}
    return _("已改写 %(n)d 张在途订单") % {"n": done.orders} if done.orders else ""


def to_queue(done: Mapped, *, shop: int = 0) -> HttpResponse:
    query = ({"shop": shop} if shop else {}) | ({"of": done.goes_on} if done.goes_on else {})
    return HttpResponseRedirect(_address(**query))


@require_http_methods(["GET", "HEAD", "POST"])
@page(*READERS)
def map_page(request: HttpRequest) -> HttpResponse:
    """One code: what it stands for, what it may stand for, what a change would do."""
    told = request.POST if request.method == "POST" else request.GET
    asked = facts.asked_of(told)
    if asked is None:
        context = {"shops": facts.shops_to_map(), "kinds": CodeType.choices}
        return render(request, "console/listings/new.html", context)
    if request.method != "POST":
        return _draw_code(request, asked, told)
    try:
        if told.get("verb") == "recode":
            return _recode(request, asked)
        done = _map(request, asked)
    except InvalidInput as refusal:
        return _draw_code(request, asked, told, status=refusal.http_status, error=str(refusal))
    except OrderCenterError as refusal:
        if refusal.http_status != HTTPStatus.CONFLICT:
            raise
        return _draw_code(request, asked, told, status=refusal.http_status, error=str(refusal))
    messages.success(request, told_of(done))
    return to_queue(done)


def _map(request: HttpRequest, asked: facts.Asked) -> Mapped:
    seen = facts.number_of(request.POST.get("version", ""), most=2**31)
    reason = request.POST.get("reason", "").strip()
    if seen or reason:
        reason = checked_reason(reason)
    sku_id, bundle_id = facts.target_ids(request.POST.get("to", ""))
    waiting = facts.waiting_of(asked)
    wish = Wish(
        asked.shop.pk, asked.kind, asked.code, sku_id, bundle_id, seen_version=seen,
        title=waiting.title if waiting else "",
    )  # fmt: skip
    return map_codes(
        [wish], user=me(request), actor=Actor.of(request), reason=reason or CHOSEN,
        recode=request.POST.get("scope") == "open",
    )  # fmt: skip


def _recode(request: HttpRequest, asked: facts.Asked) -> HttpResponse:
    """Read the orders again that were read by an older version of this listing."""
    reason = checked_reason(request.POST.get("reason", ""))
    key = (asked.shop.pk, asked.kind, asked.code)
    done = recode(Changed([key]), user=me(request), actor=Actor.of(request), reason=reason)
    messages.success(request, recoded_words(done) or _("没有要改写的订单"))
    return HttpResponseRedirect(facts.address_of(*key))


def _draw_code(
    request: HttpRequest,
    asked: facts.Asked,
    told: QueryDict,
    *,
    status: int = HTTPStatus.OK,
    error: str = "",
) -> HttpResponse:
    listing, waiting = facts.listing_of(asked), facts.waiting_of(asked)
    choice, current = facts.choice_of(told.get("to", "")), facts.current_of(listing)
    wishes = [_wish(asked, choice.key)] if choice else []
    context = {
        "asked": asked,
        "listing": listing,
        "current": current,
        "waiting": waiting,
        "offers": facts.offers_of(waiting),
        "search": told.get("q", "")[:60].replace("\0", ""),
        "found": facts.find_choices(told.get("q", "")),
        "choice": choice,
        "effects": unmapped.effects(wishes) if wishes else None,
        "blast": facts.blast_of(wishes) if listing and wishes else None,
        "old": facts.left_behind(asked) if listing and not wishes else None,
        "is_same": bool(choice and current and choice.key == current.key),
        "history": facts.history_of(listing) if listing and _may_look_back(request) else None,
        "may_edit": allows(request.user, Can.EDIT_MAPPING),
        "other_address": _other_address(asked, waiting),
        "code_address": facts.address_of(asked.shop.pk, asked.kind, asked.code),
        "reason": told.get("reason", "")[:LONGEST],
        "error": error,
    }
    return render(request, "console/listings/code.html", context, status=int(status))


def _other_address(asked: facts.Asked, waiting: unmapped.UnmappedCode | None) -> str:
    """The page of the waiting line's other code, where it has one."""
    if waiting is None or not (waiting.platform_sku_id and waiting.outer_code):
        return ""
    by_code = asked.kind == CodeType.OUTER_CODE
    kind = CodeType.SKU_ID if by_code else CodeType.OUTER_CODE
    code = waiting.platform_sku_id if by_code else waiting.outer_code
    return facts.address_of(asked.shop.pk, kind.value, code)


def _may_look_back(request: HttpRequest) -> bool:
    return allows(request.user, Can.READ_AUDIT)


def _wish(asked: facts.Asked, key: str) -> Wish:
    return Wish(asked.shop.pk, asked.kind, asked.code, *facts.target_ids(key))
