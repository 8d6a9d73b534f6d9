"""Stage pages: my tasks with their clocks, one big button each, and the packing bench."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import messages
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe

from fulfillment.models import Parcel, RefundRequest, Stage, StageTask, Waybill
from inventory import replenishing
from inventory.bins import Places, places_of
from ordercenter.catalog.models import Sku
from ordercenter.console import selectors
from ordercenter.console.access import fragment_of, me, page, refused
from ordercenter.console.navigation import WORKERS
from ordercenter.console.orders import RECEIVER_FIELDS
from ordercenter.console.reasons import checked_reason
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import Can, allows, roles_of
from ordercenter.pipeline import catching, stages
from ordercenter.pipeline.reprinting import Why, reprint_label

TASKS_A_PAGE: Final = 60
LONGEST_CODE: Final = 64
OUTCOMES: Final = ("resume", "cancel")
BUTTONS: Final = {
    Stage.FIRST_REVIEW: _("资料已补全，完成初审"),
    Stage.FINANCE_CHECK: _("核对无误，确认收款"),
    Stage.PICK: _("已拣齐，交打包"),
    Stage.PACK: _("去打包台"),
    Stage.NOTIFY: _("已通知客户"),
    Stage.AFTER_SALES: _("记录处理结果"),
    Stage.PUT_BACK: _("已放回货位"),
}


def _only_workers(request: HttpRequest) -> None:
    if not roles_of(request.user) & WORKERS:
        raise Http404


@require_safe
@page()
def work_page(request: HttpRequest) -> HttpResponse:
    """My open tasks, the most urgent first."""
    _only_workers(request)
    mine: QuerySet[StageTask] = stages.tasks_for(me(request))
    wanted = request.GET.get("stage", "")
    shown = mine.filter(stage=wanted) if wanted in Stage.values else mine
    counts = (
        mine.order_by()
        .values_list("stage")
        .annotate(n=Count("pk"), late=Count("pk", filter=Q(due_at__lt=Now())))
    )
    context = {
        "tasks": shown.select_related("order__shop", "parcel", "warehouse", "assignee").defer(
            "order__receiver_sealed"
        )[:TASKS_A_PAGE],
        "stages": [
            {"stage": stage, "label": Stage(stage).label, "count": n, "late": late}
            for stage, n, late in counts
        ],
        "wanted": wanted,
        "now": now(),
        "back": request.path + (f"?stage={wanted}" if wanted in Stage.values else ""),
        "fragment": fragment_of(request),
    }
    if "fragment" in request.GET:
        return render(request, "console/parts/tasks.html", context)
    low = replenishing.count() if allows(request.user, Can.EDIT_STOCK_POLICY) else 0
    return render(request, "console/work.html", {**context, "low_stock": low})


def _task(request: HttpRequest, pk: int) -> StageTask:
    """An open task of mine; 404 for everything else."""
    task = stages.tasks_for(me(request)).filter(pk=pk).select_related(
        "order__shop", "parcel__warehouse", "warehouse", "assignee"
    ).defer("order__receiver_sealed").first()  # fmt: skip
    if task is None:
        raise Http404
    found: StageTask = task
    return found


@require_safe
@page()
def task_page(request: HttpRequest, pk: int) -> HttpResponse:
    return _draw(request, _task(request, pk))


def _draw(request: HttpRequest, task: StageTask, *, error: str = "", status: int = 200
          ) -> HttpResponse:  # fmt: skip
    context: dict[str, Any] = {
        "task": task,
        "order": task.order,
        "now": now(),
        "button": BUTTONS[Stage(task.stage)],
        "holds": task.order.holds.filter(released_at=None).order_by("-tier"),
        "error": error,
        "reason": request.POST.get("reason", ""),
        "back": reverse("work"),
        **_about(request, task),
    }
    return render(request, "console/task.html", context, status=status)


def _about(request: HttpRequest, task: StageTask) -> dict[str, Any]:
    """What this stage has to look at."""
    if task.stage in {Stage.PICK, Stage.PACK, Stage.PUT_BACK}:
        return {"goods": goods_of(task.parcel)} if task.parcel else {}
    lines = selectors.lines_by_order([task.order_id])[task.order_id]
    about: dict[str, Any] = {"lines": lines}
    if task.stage == Stage.FIRST_REVIEW and allows(request.user, Can.EDIT_RECEIVER):
        about["receiver_fields"] = [
            {"name": name, "label": label, "longest": longest, "typed": ""}
            for name, label, longest in RECEIVER_FIELDS
        ]
    if task.stage == Stage.FINANCE_CHECK:
        figures = stages.amounts(task.order)
        about["amounts"] = figures
        about["lines_amount"] = figures["goods"] + figures["freight"]
    if task.stage == Stage.AFTER_SALES:
        about["refunds"] = RefundRequest.objects.filter(order_id=task.order_id).order_by("pk")
    return about


@dataclass(frozen=True, slots=True)
class Goods:
    """One line of a parcel, and where it lies."""

    sku: Sku
    quantity: int
    places: Places
    is_gift: bool


def goods_of(parcel: Parcel) -> list[Goods]:
    """What belongs into a parcel, in the order of the way past the shelves."""
    lines = list(parcel.parcel_lines.select_related("sku", "line"))
    places = places_of(parcel.warehouse_id, [line.sku_id for line in lines])
    goods = [
        Goods(row.sku, row.quantity, places[row.sku_id], row.line.is_gift or row.sku.is_gift)
        for row in lines
    ]
    return sorted(goods, key=lambda one: (*one.places.turn, one.sku.code))


@require_POST
@page()
def claim(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a task; who pressed a moment earlier keeps it."""
    stages.claim_task(_task(request, pk).pk, user=me(request))
    return HttpResponseRedirect(reverse("task", args=[pk]))


@require_POST
@page()
def finish(request: HttpRequest, pk: int) -> HttpResponse:
    """Do what the one button says, and go on with the next task."""
    task = stages.tasks_for(me(request)).filter(pk=pk).first()
    if task is None:
        if _mine_and_done(request, pk):
            return HttpResponseRedirect(reverse("work"))  # pressed twice
        raise Http404
    try:
        answer = _answer(request, Stage(task.stage))
        stages.finish_task(pk, user=me(request), actor=Actor.of(request), answer=answer)
    except OrderCenterError as refusal:
        if int(refusal.http_status) == HTTPStatus.UNPROCESSABLE_ENTITY:
            return _draw(request, _task(request, pk), error=str(refusal), status=422)
        if _mine_and_done(request, pk):
            return HttpResponseRedirect(reverse("work"))
        return refused(request, refusal)
    messages.success(request, _("%(stage)s完成") % {"stage": Stage(task.stage).label})
    return HttpResponseRedirect(reverse("work"))


def _mine_and_done(request: HttpRequest, pk: int) -> bool:
    task = StageTask.objects.filter(pk=pk, state=StageTask.State.DONE).first()
    return task is not None and task.done_by == Actor.of(request).name


def _answer(request: HttpRequest, stage: Stage) -> dict[str, str]:
    if stage != Stage.AFTER_SALES:
        return {}
    outcome = request.POST.get("outcome", "")
    if outcome not in OUTCOMES:
        raise Http404
    return {"outcome": outcome, "note": checked_reason(request.POST.get("reason", ""))}


def _scanned(text: str) -> str:
    """What a scanner gun typed, without what no code holds."""
    return text.replace("\0", "").strip()[:LONGEST_CODE]


@require_safe
@page(Can.PACK)
def scan_page(request: HttpRequest) -> HttpResponse:
    """The packing bench: scan a parcel, see what goes in, or a stop nobody can overlook."""
    code = _scanned(request.GET.get("code", ""))
    if "fragment" in request.GET:
        found = stages.scan(code, user=me(request))
        return render(request, "console/parts/halt.html", {"stopped": found.stopped})
    if not code:
        return render(request, "console/scan.html", {"back": request.path})
    return _draw_scan(request, code)


def _draw_scan(
    request: HttpRequest, code: str, *, refusal: OrderCenterError | None = None
) -> HttpResponse:
    """The bench with this parcel on it; a refusal is shown above it, with its status."""
    context: dict[str, Any] = {"code": code, "back": request.path}
    try:
        found = stages.scan(code, user=me(request))
    except OrderCenterError as unknown:
        found, refusal = None, refusal or unknown
    context["error"] = str(refusal) if refusal else ""
    status = int(refusal.http_status) if refusal else HTTPStatus.OK
    if found is None:
        return render(request, "console/scan.html", context, status=status)
    context |= {"scan": found, "parcel": found.parcel, "order": found.order}
    context |= {"fragment": f"{reverse('scan')}?{urlencode({'code': code, 'fragment': 1})}"}
    if found.stopped:
        context["to_catch"] = catching.can_be_caught(found)
        return render(request, "console/stop.html", context, status=status)
    if found.parcel:
        live = found.parcel.waybills.filter(state__in=[Waybill.State.INTENT, Waybill.State.LIVE])
        context |= {"goods": goods_of(found.parcel), "waybill": live.first()}
        context["reprints"] = Why.choices
    return render(request, "console/scan.html", context, status=status)


def _parcel(request: HttpRequest, pk: int) -> Parcel:
    """A parcel of a warehouse of mine; 404 for others."""
    parcel = Parcel.objects.filter(pk=pk).first()
    if parcel is None:
        raise Http404
    stages.scan(parcel.number, user=me(request))  # refuses what is not mine
    return parcel


@require_POST
@page(Can.PACK)
def label(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask the carrier for a label; asked again it is the same label."""
    parcel = _parcel(request, pk)
    try:
        stages.request_label(pk, user=me(request), actor=Actor.of(request))
    except OrderCenterError as refusal:
        return _draw_scan(request, parcel.number, refusal=refusal)
    return HttpResponseRedirect(f"{reverse('scan')}?code={parcel.number}")


@require_POST
@page(Can.PACK)
def reprint(request: HttpRequest, pk: int) -> HttpResponse:
    """Print the label that is there once more, for a reason; pressed twice it is once."""
    parcel = _parcel(request, pk)
    why = request.POST.get("why", "")
    try:
        waybill = reprint_label(pk, why=why, user=me(request), actor=Actor.of(request))
    except OrderCenterError as refusal:
        return _draw_scan(request, parcel.number, refusal=refusal)
    messages.success(request, _("补打面单 %(number)s，已记录原因") % {"number": waybill.number})
    return HttpResponseRedirect(f"{reverse('scan')}?code={parcel.number}")


@require_POST
@page(Can.PACK)
def caught(request: HttpRequest, pk: int) -> HttpResponse:
    """The parcel of a refund is off the bench; pressed twice it is off the bench once."""
    parcel = _parcel(request, pk)
    try:
        catching.catch_parcel(pk, user=me(request), actor=Actor.of(request))
    except OrderCenterError as refusal:
        return _draw_scan(request, parcel.number, refusal=refusal)
    messages.success(request, _("%(number)s 已拦下，请放回货位") % {"number": parcel.number})
    return HttpResponseRedirect(reverse("scan"))


@require_POST
@page(Can.PACK)
def ship(request: HttpRequest, pk: int) -> HttpResponse:
    """The label on the box is scanned: the parcel leaves, unless it must be stopped."""
    parcel = _parcel(request, pk)
    tracking_number = _scanned(request.POST.get("tracking_number", ""))
    try:
        stages.ship_parcel(
            pk, user=me(request), actor=Actor.of(request), tracking_number=tracking_number
        )
    except OrderCenterError as refusal:
        shipped = Parcel.objects.filter(pk=pk, state=Parcel.State.SHIPPED).exists()
        if shipped and parcel.waybills.filter(number=tracking_number).exists():
            return HttpResponseRedirect(reverse("scan"))  # scanned twice
        return _draw_scan(request, parcel.number, refusal=refusal)
    messages.success(request, _("%(number)s 已出库") % {"number": parcel.number})
    return HttpResponseRedirect(reverse("scan"))
