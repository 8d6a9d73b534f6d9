"""Refund requests as the channels tell them; the newest word of each counts."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from django.db.models import Exists, OuterRef

from fulfillment.models import RefundRequest
from ordercenter.orders.contracts import RefundDraft
from ordercenter.orders.models import SalesOrder

OrderKey = tuple[int, str]


def keep(drafts: Sequence[tuple[int, RefundDraft]], *, now: datetime) -> list[RefundRequest]:
    """Store or update refunds; return those that changed. An older word is ignored."""
    newest: dict[tuple[int, str], RefundDraft] = {}
    for shop_id, draft in drafts:
        known = newest.get((shop_id, draft.refund_id))
        if known is None or _is_newer(draft.modified_at, known.modified_at):
            newest[shop_id, draft.refund_id] = draft
    changed = []
    for (shop_id, refund_id), draft in sorted(newest.items()):
        request, made = RefundRequest.objects.select_for_update(no_key=True).get_or_create(
            shop_id=shop_id,
            refund_id=refund_id,
            defaults={**_fields(draft), "created_at": now, "order": _order(shop_id, draft)},
        )
        if not made:
            if not _is_newer(draft.modified_at, request.modified_at):
                continue
            before = (request.state, request.amount, request.version)
            for name, value in _fields(draft).items():
                setattr(request, name, value)
            if before[2] != request.version:
                request.answer = ""  # the platform asks about this version anew
            if request.order_id is None:
                request.order = _order(shop_id, draft)
            request.save()
            if before == (request.state, request.amount, request.version):
                continue
        changed.append(request)
    return changed


def _is_newer(told: datetime | None, known: datetime | None) -> bool:
    return known is None or (told is not None and told >= known)


def _fields(draft: RefundDraft) -> dict[str, object]:
    return {
        "channel_number": draft.channel_number,
        "channel_line_id": draft.channel_line_id or "",
        "amount": draft.amount,
        "state": draft.refund_state,
        "state_raw": draft.state_raw[:40],
        "return_goods": draft.return_goods,
        "intercept_shipping": draft.intercept_shipping,
        "modified_at": draft.modified_at,
        "version": draft.version[:40],
    }


def _order(shop_id: int, draft: RefundDraft) -> SalesOrder | None:
    return SalesOrder.objects.filter(shop_id=shop_id, channel_number=draft.channel_number).first()


def waiting(keys: Collection[OrderKey]) -> dict[OrderKey, list[RefundRequest]]:
    """Refunds that came before their orders; locked, so that none changes meanwhile."""
    found: dict[OrderKey, list[RefundRequest]] = defaultdict(list)
    if not keys:
        return found
    wanted = set(keys)
    rows = RefundRequest.objects.filter(
        order=None,
        shop_id__in={shop for shop, _ in wanted},
        channel_number__in={number for _, number in wanted},
    ).select_for_update(no_key=True)
    for row in rows:
        if (row.shop_id, row.channel_number) in wanted:
            found[row.shop_id, row.channel_number].append(row)
    return found


def crossed(*, since: datetime) -> list[RefundRequest]:
    """Tie refunds that know no order to orders that are there after all; return them, locked."""
    lost = (
        RefundRequest.objects.filter(order=None, created_at__gte=since)
        .filter(
            Exists(
                SalesOrder.objects.filter(
                    shop_id=OuterRef("shop_id"), channel_number=OuterRef("channel_number")
                )
            )
        )
        .select_for_update(no_key=True, skip_locked=True)
    )
    found = list(lost)
    for request in found:
        request.order = SalesOrder.objects.get(
            shop_id=request.shop_id, channel_number=request.channel_number
        )
        request.save(update_fields=["order"])
    return found


def adopt(
    found: Mapping[OrderKey, Sequence[RefundRequest]], orders: Mapping[OrderKey, int]
) -> None:
    """Tie waiting refunds to the orders that came at last."""
    for key, requests in found.items():
        if key in orders:
            RefundRequest.objects.filter(pk__in=[r.pk for r in requests]).update(
                order_id=orders[key]
            )


def still_open(order_id: int) -> bool:
    return RefundRequest.objects.filter(
        order_id=order_id, state="in_progress", intercept_shipping=True
    ).exists()
