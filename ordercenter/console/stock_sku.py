"""One SKU: every figure explained, down to the movements, now or as of a past moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from channels_sync.models import OutboundMessage
from inventory import explaining, health
from inventory.buffers import in_words
from inventory.models import (
    Account,
    ChannelQuota,
    Reservation,
    StockBuffer,
    StockLevel,
    StockSlice,
)
from inventory.publishable import Publishable, publishable
from ordercenter.catalog.models import Shop, Sku
from ordercenter.console import stock_facts as facts
from ordercenter.console.access import page
from ordercenter.console.listing_facts import number_of
from ordercenter.console.selectors import numbers_of
from ordercenter.core.clock import SHANGHAI, now
from ordercenter.core.policy import Can, allows

MOST_RESERVATIONS: Final = 100
PUSHES: Final = 5
"""So many of the last figures told of a listing are shown."""
LONGEST_MOMENT: Final = 40
PAPER_PAGES: Final = ("inbound", "transfer", "count")


@dataclass(frozen=True, slots=True)
class Held:
    """One active promise; the order's number only for who may know of it."""

    number: str
    place: str
    quantity: int
    slice_units: int
    since: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Steps:
    """How one shop's figure comes out, step by step."""

    shop: Shop
    figure: Publishable
    quota: ChannelQuota | None

    @property
    def base(self) -> int:
        """What is left of the free units after the safety stock."""
        return max(0, self.figure.pool - self.figure.buffer)

    @property
    def percent(self) -> Decimal:
        return self.quota.percent if self.quota else Decimal(100)

    @property
    def share(self) -> int:
        return int(self.base * self.percent / 100)

    @property
    def most(self) -> int:
        """What the shop's orders could really take."""
        return self.figure.own + self.figure.free

    @property
    def is_capped(self) -> bool:
        """Whether the rules would show more than there is."""
        return self.figure.units == self.most < self.ruled

    @property
    def ruled(self) -> int:
        """What the rules alone would show."""
        units = self.figure.own + self.share
        if self.quota is not None:
            units = max(units + self.quota.plus, self.quota.minimum or 0)
            if self.quota.maximum is not None:
                units = min(units, self.quota.maximum)
        return max(0, units)


@dataclass(frozen=True, slots=True)
class Push:
    """One figure that was to be told."""

    shop: Shop
    code: str
    quantity: Any
    version: Any
    state: str
    at: datetime
    done_at: datetime | None
    tries: int
    error: str


@require_safe
@page(Can.VIEW_STOCK)
def sku_page(request: HttpRequest, sku_id: int) -> HttpResponse:
    """Everything the figures of one SKU are made of."""
    sku = Sku.objects.filter(pk=sku_id).first()
    if sku is None:
        raise Http404
    at = now()
    typed = request.GET.get("as_of", "")[:LONGEST_MOMENT]
    as_of = moment_of(typed)
    stories = explaining.stories(sku.pk, as_of=as_of)
    asked = _asked(request, stories)
    moved = explaining.moved(sku.pk, asked, as_of=as_of)
    shown = facts.shown_by_sku([sku.pk], now=at, with_bundles=True).get(sku.pk, [])
    numbers = numbers_of(request.user, {one.order_id for one in moved.rows if one.order_id})
    context = {
        "sku": sku,
        "row": health.one_sku(sku.pk, days=health.DAYS, now=at),
        "stories": stories,
        "as_of": as_of,
        "typed": typed,
        "is_odd": bool(typed) and (as_of is None or as_of > at),
        "moved": moved,
        "ledger": [
            (one, numbers.get(one.order_id or 0, ""), paper_url(request, one.document))
            for one in moved.rows
        ],
        "asked": asked,
        "accounts": Account.choices,
        "papers": [(one, explaining.paper_words(one)) for one in explaining.documents(sku.pk)],
        "older": _older(asked, typed, moved.next_before),
        "newest": _older(asked, typed, 0),
        "now": at,
        **({} if as_of else _present(request, sku, shown)),
    }
    return render(request, "console/stock/sku.html", context)


def _present(request: HttpRequest, sku: Sku, shown: Sequence[facts.Shown]) -> dict[str, Any]:
    """What only the present has: promises, slices, the safety stock and what shops show."""
    buffer = StockBuffer.objects.filter(sku=sku).first()
    slices = StockSlice.objects.filter(level__sku=sku, is_active=True)
    return {
        "held": held(request, sku),
        "slices": slices.select_related("shop", "level__virtual_warehouse").order_by("priority"),
        "buffer": buffer,
        "buffer_words": in_words(buffer) if buffer else "",
        "shown": shown,
        "steps": steps(sku, shown),
        "pushes": pushes(shown),
    }


def paper_url(request: HttpRequest, document: str) -> str:
    """The page of the paper behind a movement, for who works with papers."""
    kind, _sep, pk = document.partition(":")
    if kind not in PAPER_PAGES or not pk.isdecimal() or not allows(request.user, Can.MOVE_STOCK):
        return ""
    return reverse(kind, args=[int(pk)])


def moment_of(text: str) -> datetime | None:
    """The moment somebody typed, by the clock of the business; None for none or nonsense."""
    try:
        told = parse_datetime(text)
    except ValueError:
        return None
    return told.replace(tzinfo=SHANGHAI) if told and told.tzinfo is None else told


def _asked(request: HttpRequest, stories: Sequence[explaining.LevelStory]) -> explaining.Asked:
    query = request.GET
    level = number_of(query.get("level", ""), most=2**62)
    account, document = query.get("account", ""), query.get("document", "")
    return explaining.Asked(
        level_id=level if level in {one.level_id for one in stories} else 0,
        account=account if account in Account.values else "",
        document=document.replace("\0", "")[:40],
        before=number_of(query.get("before", ""), most=2**62),
    )


def _older(asked: explaining.Asked, typed: str, before: int) -> str:
    told: Mapping[str, str | int] = {
        "level": asked.level_id, "account": asked.account, "document": asked.document,
        "as_of": typed, "before": before,
    }  # fmt: skip
    return "?" + urlencode({name: value for name, value in told.items() if value})


def held(request: HttpRequest, sku: Sku) -> list[Held]:
    """The active promises of a SKU, the latest first."""
    levels = list(StockLevel.objects.filter(sku=sku).values_list("pk", flat=True))
    rows = list(
        Reservation.objects.filter(
            state=Reservation.State.ACTIVE, line__sku=sku, level_id__in=levels
        )
        .select_related("level__virtual_warehouse")
        .order_by("-pk")[:MOST_RESERVATIONS]
    )
    numbers = numbers_of(request.user, {row.order_id for row in rows})
    return [
        Held(numbers.get(row.order_id, ""), row.level.virtual_warehouse.name, row.quantity,
             row.slice_units, row.created_at, row.expires_at)
        for row in rows
    ]  # fmt: skip


def steps(sku: Sku, shown: Sequence[facts.Shown]) -> list[Steps]:
    """How the figure of each shop that lists the SKU comes out."""
    shops = {one.shop.pk: one.shop for one in shown}
    figures = publishable([(pk, sku.pk) for pk in shops]) if shops else []
    ids = [one.quota_id for one in figures if one.quota_id]
    quotas = {one.pk: one for one in ChannelQuota.objects.filter(pk__in=ids)}
    return [Steps(shops[one.shop_id], one, quotas.get(one.quota_id or 0)) for one in figures]


def pushes(shown: Sequence[facts.Shown]) -> list[Push]:
    """The last figures that were to be told of these listings, the latest first."""
    by_key: dict[str, facts.Shown] = {}
    for one in shown:
        books = getattr(one.listing, "published", None)
        for version in range(books.version if books else 0, 0, -1)[:PUSHES]:
            by_key[f"stock:{one.listing.pk}:{version}"] = one
    rows = OutboundMessage.objects.filter(key__in=list(by_key)).order_by("-pk")
    return [
        Push(
            by_key[row.key].shop, by_key[row.key].listing.code, row.payload.get("quantity"),
            row.payload.get("version"), row.get_state_display(), row.created_at, row.done_at,
            row.tries, row.error,
        )
        for row in rows
    ]  # fmt: skip
