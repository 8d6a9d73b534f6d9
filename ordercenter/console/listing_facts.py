"""What the pages of the listings show, and how they name a code and what it may stand for."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Q
from django.http import QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from fulfillment.models import Stage
from fulfillment.services import clocks
from ordercenter.catalog.matching import Matcher, Proposal
from ordercenter.catalog.models import Bundle, CodeType, Listing, ListingVersion, Shop, Sku
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.readonly import read_only
from ordercenter.pipeline import unmapped
from ordercenter.pipeline.mapping import LONGEST_CODE, wanted_of
from ordercenter.pipeline.rereading import Blast, Changed, look
from ordercenter.pipeline.unmapped import ShopCount, UnmappedCode, Wish

MOST_PAGES: Final = 100
MOST_FOUND: Final = 20
MOST_HISTORY: Final = 20
LOOKED_THROUGH: Final = 2_000
"""So many waiting codes of a shop are looked through for the one a page is about."""
PARTS_OF_A_PICK: Final = 5


@dataclass(frozen=True, slots=True)
class Offered:
    """A proposal and the text its button posts."""

    proposal: Proposal
    pick: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """One code of the queue with what it may stand for, and until when somebody should look."""

    code: UnmappedCode
    due_at: datetime
    offers: tuple[Offered, ...]


@dataclass(frozen=True, slots=True)
class QueuePage:
    """One page of the queue."""

    rows: tuple[Waiting, ...]
    shops: Sequence[ShopCount]
    shop_id: int
    number: int
    has_next: bool
    going: int
    """Orders all of whose codes are mapped and that the worker has not taken yet."""

    @property
    def codes(self) -> int:
        return sum(s.codes for s in self.shops if self.shop_id in {0, s.id})


def number_of(text: str, *, most: int, otherwise: int = 0) -> int:
    """A whole number out of an address; ``otherwise`` for anything else."""
    plain = text.isascii() and text.isdigit() and len(text) < 19  # noqa: PLR2004 - fits a key
    return min(int(text), most) if plain else otherwise


def queue_page(query: QueryDict) -> QueuePage:
    shop_id = number_of(query.get("shop", ""), most=2**62)
    number = max(1, number_of(query.get("page", ""), most=MOST_PAGES, otherwise=1))
    rows = unmapped.queue(
        shop_id=shop_id, skip=(number - 1) * unmapped.PER_PAGE, limit=unmapped.PER_PAGE + 1
    )
    return QueuePage(
        tuple(_with_offers(rows[: unmapped.PER_PAGE])), unmapped.by_shop(), shop_id, number,
        len(rows) > unmapped.PER_PAGE, len(unmapped.ready()),
    )  # fmt: skip


def _with_offers(codes: Sequence[UnmappedCode]) -> list[Waiting]:
    allowed = clocks()[Stage.FIRST_REVIEW.value]
    matcher = Matcher.for_codes([wanted_of(code) for code in codes if code.is_mappable])
    return [Waiting(code, code.since + allowed, _offers(code, matcher)) for code in codes]


def _offers(code: UnmappedCode, matcher: Matcher) -> tuple[Offered, ...]:
    if not code.is_mappable:
        return ()
    return tuple(Offered(one, pick_of(code, one)) for one in matcher.propose(wanted_of(code)))


def pick_of(code: UnmappedCode, proposal: Proposal) -> str:
    """What a ticked box posts; ``wish_of`` reads it."""
    told = [code.shop_id, code.code_type, code.code, proposal.target.key, code.title]
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def wish_of(pick: str) -> Wish:
    """The wish behind a ticked box. Raises InvalidInput for anything else."""
    try:
        told = json.loads(pick)
    except (ValueError, RecursionError):
        told = None
    well = isinstance(told, list) and len(told) == PARTS_OF_A_PICK and type(told[0]) is int
    if not well or not all(isinstance(part, str) and "\0" not in part for part in told[1:]):
        raise InvalidInput(what="勾选的内容有误，请刷新后重试")
    shop_id, kind, code, target, title = told
    if not Shop.objects.filter(pk=number_of(str(shop_id), most=2**62)).exists():
        raise NotFound(what="店铺")
    sku_id, bundle_id = target_ids(target)
    return Wish(shop_id, kind, code, sku_id, bundle_id, title=title)


def target_ids(key: str) -> tuple[int | None, int | None]:
    """(SKU, bundle) of a text such as ``sku:12``; neither where it is none."""
    kind, _, told = key.partition(":")
    pk = number_of(told, most=2**62) or None
    return (pk if kind == "sku" else None, pk if kind == "bundle" else None)


@dataclass(frozen=True, slots=True)
class Choice:
    """Something a code can be mapped to, as a page lists it."""

    key: str
    code: str
    name: str
    parts: str = ""
    """What a bundle is made of."""


def find_choices(text: str) -> list[Choice]:
    """SKUs and bundles by code, name or barcode; none for no question."""
    text = text.strip()[:60].replace("\0", "")
    if not text:
        return []
    skus = Sku.objects.filter(is_active=True).filter(
        Q(code__icontains=text) | Q(name__icontains=text) | Q(barcode=text)
    )
    bundles = Bundle.objects.filter(Q(code__icontains=text) | Q(name__icontains=text))
    found = [_sku(sku) for sku in skus.order_by("code")[:MOST_FOUND]]
    made = bundles.filter(bundle_parts__isnull=False).distinct().order_by("code")
    return found + [_bundle(bundle) for bundle in made[:MOST_FOUND]]


def choice_of(key: str) -> Choice | None:
    """The SKU or bundle of a key; None where there is none to be chosen."""
    sku_id, bundle_id = target_ids(key)
    if sku_id:
        sku = Sku.objects.filter(pk=sku_id, is_active=True).first()
        return _sku(sku) if sku else None
    if bundle_id:
        bundle = Bundle.objects.filter(pk=bundle_id, bundle_parts__isnull=False).first()
        return _bundle(bundle) if bundle else None
    return None


def _sku(sku: Sku) -> Choice:
    name = sku.name if sku.color_name in sku.name else f"{sku.name} {sku.color_name}"
    return Choice(f"sku:{sku.pk}", sku.code, name)


def _bundle(bundle: Bundle) -> Choice:
    parts = bundle.bundle_parts.values_list("sku__code", "quantity").order_by("sku__code")
    made_of = "、".join(f"{code} × {quantity}" for code, quantity in parts)
    return Choice(f"bundle:{bundle.pk}", bundle.code, bundle.name, made_of)


@dataclass(frozen=True, slots=True)
class Asked:
    """The code a page is about."""

    shop: Shop
    kind: str
    code: str

    @property
    def kind_label(self) -> str:
        return str(CodeType(self.kind).label)


def address_of(shop_id: int, kind: str, code: str) -> str:
    """The page of one code."""
    query: dict[str, str | int] = {"shop": shop_id, "type": kind, "code": code}
    return f"{reverse('listing_map')}?{urlencode(query)}"


def asked_of(told: QueryDict) -> Asked | None:
    """The code an address names; None where it names none yet.

    Raises NotFound for a shop that is not, InvalidInput for a code no order could carry.
    """
    if not told.get("code"):
        return None
    shop = Shop.objects.filter(pk=number_of(told.get("shop", ""), most=2**62)).first()
    if shop is None:
        raise NotFound(what="店铺")
    kind, code = told.get("type", ""), told.get("code", "")
    if kind not in LONGEST_CODE or len(code) > LONGEST_CODE[kind] or "\0" in code:
        raise InvalidInput(what="编码有误，请从列表进入")
    return Asked(shop, kind, code)


def listing_of(asked: Asked) -> Listing | None:
    return (
        Listing.objects.select_related("sku", "bundle")
        .filter(shop=asked.shop, code_type=asked.kind, code=asked.code)
        .first()
    )


def current_of(listing: Listing | None) -> Choice | None:
    """What a listing stands for, switched off or not."""
    if listing is None:
        return None
    if listing.bundle:
        return _bundle(listing.bundle)
    assert listing.sku is not None
    return _sku(listing.sku)


def waiting_of(asked: Asked) -> UnmappedCode | None:
    """The row of the queue this code is in, the one with most orders."""
    for code in unmapped.queue(shop_id=asked.shop.pk, limit=LOOKED_THROUGH):
        told = code.platform_sku_id if asked.kind == CodeType.SKU_ID else code.outer_code
        if told == asked.code:
            return code
    return None


def offers_of(code: UnmappedCode | None) -> list[Proposal]:
    if code is None or not code.is_mappable:
        return []
    return Matcher.for_codes([wanted_of(code)]).propose(wanted_of(code))


@dataclass(frozen=True, slots=True)
class Change:
    """One version of a listing, beside what it stood for before."""

    at: datetime
    who: str
    reason: str
    version: int
    before: str
    after: str
    key: str
    """What it stood for, as an address says it."""
    is_now: bool
    """It stands for the same at present."""


def history_of(listing: Listing) -> list[Change]:
    """Who made it stand for what and when, newest first."""
    rows = list(
        ListingVersion.objects.filter(listing=listing)
        .select_related("sku", "bundle").order_by("-version")[: MOST_HISTORY + 1]
    )  # fmt: skip
    found = []
    for at, row in enumerate(rows[:MOST_HISTORY]):
        before = _code(rows[at + 1]) if at + 1 < len(rows) else ""
        key = f"sku:{row.sku_id}" if row.sku_id else f"bundle:{row.bundle_id}"
        is_now = (row.sku_id, row.bundle_id) == (listing.sku_id, listing.bundle_id)
        found.append(
            Change(row.changed_at, row.changed_by, row.reason, row.version, before, _code(row),
                   key, is_now)
        )  # fmt: skip
    return found


def _code(row: ListingVersion) -> str:
    target = row.sku or row.bundle
    return target.code if target else ""


@read_only()
def blast_of(wishes: Sequence[Wish]) -> Blast:
    """What the wishes would do to open orders that were read before."""
    keys = [wish.key for wish in wishes]
    return look(Changed(keys, targets={wish.key: wish.target for wish in wishes}))


def left_behind(asked: Asked) -> Blast | None:
    """Open orders that were read by a listing as it was; None where there are none."""
    found = look(Changed([(asked.shop.pk, asked.kind, asked.code)]))
    return found if found.is_any else None


def shops_to_map() -> Sequence[Shop]:
    """Shops whose codes may be typed in: every one that is in use."""
    return list(Shop.objects.filter(is_active=True))
