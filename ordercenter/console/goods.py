"""What we sell, for those who keep it: the list of goods, and what bundles are made of."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from ordercenter.catalog.models import Bundle, Sku
from ordercenter.console import goods_facts as facts
from ordercenter.console.access import me, page
from ordercenter.console.listing_facts import number_of
from ordercenter.console.listings import recoded_words
from ordercenter.console.reasons import LONGEST, checked_reason
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can
from ordercenter.core.readonly import read_only
from ordercenter.pipeline.bundles import MOST_PARTS, MOST_PIECES, Recipe, change_parts, parts_of
from ordercenter.pipeline.rereading import Blast, Changed, look
from ordercenter.pipeline.sku_merge import merge_skus, preview

MORE_ROWS: Final = 3
"""Empty lines below the parts of a bundle."""
SALT: Final = "goods.bundle"
MOST_BUNDLES: Final = 200


@require_safe
@page(Can.EDIT_MAPPING)
def goods_page(request: HttpRequest) -> HttpResponse:
    """SKUs by code, name or barcode, and those that lack something."""
    found = facts.goods_page(request.GET, now=now())
    here = {name: text for name, text in (("q", found.search), ("gap", found.gap)) if text}
    context = {
        "goods": found,
        "next": "?" + urlencode(here | {"page": str(found.number + 1)}),
        "before": "?" + urlencode(here | {"page": str(found.number - 1)}),
    }
    return render(request, "console/goods/list.html", context)


@require_safe
@page(Can.EDIT_MAPPING)
def bundles_page(request: HttpRequest) -> HttpResponse:
    search = facts.search_of(request.GET)
    rows = list(facts.bundles_of(search)[: MOST_BUNDLES + 1])
    context = {
        "bundles": rows[:MOST_BUNDLES],
        "search": search,
        "most": MOST_BUNDLES,
        "has_more": len(rows) > MOST_BUNDLES,
    }
    return render(request, "console/goods/bundles.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.EDIT_MAPPING)
def bundle_page(request: HttpRequest, pk: int) -> HttpResponse:
    """What a bundle is made of; a change is looked at before it is made."""
    bundle = get_object_or_404(Bundle, pk=pk)
    if request.method != "POST":
        return _draw(request, bundle)
    try:
        if request.POST.get("verb") != "save":
            return _draw(request, bundle, wanted=_parts_typed(request.POST))
        return _save(request, bundle)
    except InvalidInput as refusal:
        return _draw(request, bundle, status=refusal.http_status, error=str(refusal))
    except OrderCenterError as refusal:
        if refusal.http_status != HTTPStatus.CONFLICT:
            raise
        return _draw(request, bundle, status=refusal.http_status, error=str(refusal))


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.EDIT_MAPPING)
def merge_page(request: HttpRequest) -> HttpResponse:
    """Two SKUs that are one thing: what merging them would do, and doing it."""
    told = request.POST if request.method == "POST" else request.GET
    codes = [told.get(name, "").strip()[:40].replace("\0", "") for name in ("old", "kept")]
    context: dict[str, Any] = {
        "old": codes[0], "kept": codes[1], "reason": told.get("reason", "")[:LONGEST],
        "most": LONGEST,
    }  # fmt: skip
    status = HTTPStatus.OK
    if any(codes):
        try:
            ids = [_sku_id(code) for code in codes]
            if request.method == "POST":
                return _merge(request, ids)
            context["plan"] = preview(*ids)
        except OrderCenterError as refusal:
            context["error"], status = str(refusal), refusal.http_status
            if refusal.http_status == HTTPStatus.FORBIDDEN:
                raise
    return render(request, "console/goods/merge.html", context, status=int(status))


def _sku_id(code: str) -> int:
    found = Sku.objects.filter(code=code).first()
    if found is None:
        raise InvalidInput(what=_("没有货品 %(code)s") % {"code": code or "—"})
    return found.pk


def _merge(request: HttpRequest, ids: list[int]) -> HttpResponse:
    reason = checked_reason(request.POST.get("reason", ""))
    done = merge_skus(ids[0], ids[1], user=me(request), actor=Actor.of(request), reason=reason)
    messages.success(
        request,
        _("%(old)s 已并入 %(kept)s：%(orders)d 张订单、%(units)d 件库存跟着走")
        % {"old": done.old.code, "kept": done.kept.code, "orders": done.orders,
           "units": done.units},
    )  # fmt: skip
    return HttpResponseRedirect(f"{reverse('goods')}?{urlencode({'q': done.kept.code})}")


def _save(request: HttpRequest, bundle: Bundle) -> HttpResponse:
    try:
        told = signing.loads(request.POST.get("plan", ""), salt=SALT, max_age=3600)
    except signing.BadSignature:
        told = {}
    if told.get("user") != me(request).pk or told.get("bundle") != bundle.pk:
        raise InvalidInput(what=_("预览已过期，请重新查看影响"))
    reason = checked_reason(request.POST.get("reason", ""))
    done = change_parts(
        [Recipe(bundle.pk, dict(told["parts"]), dict(told["seen"]))],
        user=me(request), actor=Actor.of(request), reason=reason,
        recode=request.POST.get("scope") == "open",
    )  # fmt: skip
    said = _("组成已修改") if done.changed else _("组成已是如此，没有要改的")
    again = recoded_words(done.recoded)
    messages.success(request, f"{said}；{again}" if again else said)
    return HttpResponseRedirect(reverse("goods_bundle", args=[bundle.pk]))


def _typed(told: QueryDict) -> list[facts.Row]:
    codes, pieces = told.getlist("code"), told.getlist("pieces")
    return [
        facts.Row(code.strip(), count.strip())
        for code, count in zip(codes, pieces, strict=False)
        if code.strip() or count.strip()
    ][: MOST_PARTS + 1]


def _parts_typed(told: QueryDict) -> dict[int, int]:
    """Pieces of each SKU as typed. Raises InvalidInput naming what is wrong."""
    rows = _typed(told)
    codes = {row.code.replace("\0", "") for row in rows}
    ids = dict(Sku.objects.filter(code__in=codes).values_list("code", "pk"))
    bundles = set(Bundle.objects.filter(code__in=codes).values_list("code", flat=True))
    parts: dict[int, int] = {}
    for row in rows:
        pieces = number_of(row.pieces, most=10**9)
        if row.code in bundles:
            raise InvalidInput(
                what=_("%(code)s 是组合装，组合装里不能再放组合装") % {"code": row.code}
            )
        if row.code not in ids:
            raise InvalidInput(what=_("没有货品 %(code)s") % {"code": row.code or "—"})
        if not 1 <= pieces <= MOST_PIECES:
            raise InvalidInput(
                what=_("%(code)s 的件数应为 1 到 %(most)d")
                % {"code": row.code, "most": MOST_PIECES}
            )
        if ids[row.code] in parts:
            raise InvalidInput(what=_("%(code)s 填了两次，请合成一行") % {"code": row.code})
        parts[ids[row.code]] = pieces
    if not 1 <= len(parts) <= MOST_PARTS:
        raise InvalidInput(what=_("组合装应有 1 到 %(most)d 种货品") % {"most": MOST_PARTS})
    return parts


def _draw(
    request: HttpRequest,
    bundle: Bundle,
    *,
    wanted: Mapping[int, int] | None = None,
    status: int = HTTPStatus.OK,
    error: str = "",
) -> HttpResponse:
    seen = parts_of([bundle.pk])[bundle.pk]
    now_is = bundle.bundle_parts.select_related("sku").order_by("pk")
    typed = _typed(request.POST) if request.method == "POST" else []
    rows = typed or [facts.Row(part.sku.code, str(part.quantity)) for part in now_is]
    context: dict[str, Any] = {
        "bundle": bundle,
        "parts": now_is,
        "rows": rows + [facts.Row("", "")] * MORE_ROWS,
        "reason": request.POST.get("reason", "")[:LONGEST],
        "most": LONGEST,
        "error": error,
    }
    if wanted is not None:
        told = {"user": me(request).pk, "bundle": bundle.pk, "parts": list(wanted.items()),
                "seen": list(seen.items())}  # fmt: skip
        context |= {
            "is_same": dict(wanted) == seen,
            "blast": _blast(bundle, wanted),
            "plan": signing.dumps(told, salt=SALT),
            "wanted": _words(wanted),
        }
    return render(request, "console/goods/bundle.html", context, status=int(status))


@read_only()
def _blast(bundle: Bundle, wanted: Mapping[int, int]) -> Blast:
    return look(Changed(bundles=[bundle.pk], parts={bundle.pk: wanted}))


def _words(parts: Mapping[int, int]) -> str:
    codes = dict(Sku.objects.filter(pk__in=parts).values_list("pk", "code"))
    return "、".join(f"{codes[sku]} × {pieces}" for sku, pieces in parts.items())
