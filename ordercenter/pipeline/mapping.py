"""Tying a shop's codes to what we stock: by a person, or by a rule a person switched on.

A listing counts for what comes from now on and for what still waits. Lines that were mapped
before keep what they were mapped to, and the version they were mapped by, unless somebody asks
for them to be read again.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import OperationalError, connection, transaction
from django.utils.translation import gettext_lazy as _

from channels_sync.models import ShopCredential
from ordercenter.audit.models import Action
from ordercenter.audit.services import Entry, record_many
from ordercenter.catalog.matching import Matcher, Wanted
from ordercenter.catalog.models import Bundle, CodeType, Listing, Sku
from ordercenter.catalog.selectors import MAPPING_LOCK
from ordercenter.catalog.versions import keep_versions
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import update_rows
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.live import announce
from ordercenter.core.policy import Can, require
from ordercenter.pipeline import jobs, recoding, unmapped
from ordercenter.pipeline.drafts import clean
from ordercenter.pipeline.recoding import Recoded
from ordercenter.pipeline.rereading import Changed
from ordercenter.pipeline.unmapped import UnmappedCode, Wish

logger = logging.getLogger(__name__)
AUTO: Final = Actor.job("auto_map")
AUTO_OPTION: Final = "auto_map"
"""A shop's option; ``exact`` maps by itself what is spelled like our own code."""
AUTO_REASON: Final = "商家编码与货品编码完全一致，按店铺设置自动匹配"
MOST_AT_ONCE: Final = 5_000
LONGEST_CODE: Final = {CodeType.SKU_ID.value: 64, CodeType.OUTER_CODE.value: 100}
"""What the lines of orders keep of each."""
LONGEST_TITLE: Final = 200
NAMED: Final = 3


class StaleListing(OrderCenterError):
    code = "stale_listing"
    message = _("“%(codes)s”的对应关系已被他人改动，请刷新后重试")


class MappingBusy(OrderCenterError):
    code = "mapping_busy"
    message = _("订单正在大量进入，一时改不了对应关系，请稍后再试")


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a mapping came to."""

    made: int = 0
    changed: int = 0
    unchanged: int = 0
    """Listings that said so already: a second click, the same file again."""
    goes_on: int = 0
    """Held orders that it set free; the oldest have gone on already."""
    recoded: Recoded = field(default_factory=Recoded)
    """Open orders that were read again, where that was asked for."""


def map_codes(
    wishes: Sequence[Wish],
    *,
    user: AbstractBaseUser,
    actor: Actor,
    reason: str,
    recode: bool = False,
) -> Mapped:
    """Make the listings say what the wishes say, all of them or none. Right: EDIT_MAPPING.

    Orders that waited for nothing else go on. With ``recode`` the open orders that were read by
    these listings are read again, unless packed. Safe to repeat. Raises StaleListing when one was
    changed after the wish was made, InvalidInput for a target nothing may be mapped to.
    """
    require(user, Can.EDIT_MAPPING)
    done = _map(wishes, actor=actor, reason=reason)
    if not recode:
        return done
    changed = Changed([wish.key for wish in wishes])
    return replace(done, recoded=recoding.recode(changed, user=user, actor=actor, reason=reason))


def map_exact(*, now: datetime | None = None) -> str:
    """Map what is spelled exactly like one of our codes, in the shops that want it so."""
    shops = list(
        ShopCredential.objects.filter(
            shop__is_active=True, **{f"options__{AUTO_OPTION}": "exact"}
        ).values_list("shop_id", flat=True)
    )
    waiting = [
        code
        for shop_id in shops
        for code in unmapped.queue(shop_id=shop_id, limit=MOST_AT_ONCE)
        if code.is_mappable and code.outer_code
    ]
    if not waiting:
        return "nothing to map"
    wishes = _exact_wishes(waiting[:MOST_AT_ONCE])
    if not wishes:
        return "0 codes mapped"
    try:
        mapped = _map(wishes, actor=AUTO, reason=AUTO_REASON)
    except (StaleListing, MappingBusy):
        return "somebody else is mapping"
    return f"{mapped.made} codes mapped"


def _exact_wishes(waiting: Sequence[UnmappedCode]) -> list[Wish]:
    """One wish a code; titles that disagree about one code leave it to a person."""
    asked = [(code, wanted_of(code)) for code in waiting]
    matcher = Matcher.for_codes([wanted for _, wanted in asked])
    found: dict[tuple[int, str, str], Wish | None] = {}
    for code, wanted in asked:
        target = matcher.exact(wanted)
        wish = wish_for(code, target.kind, target.id) if target else None
        key = (code.shop_id, CodeType.OUTER_CODE.value, code.outer_code)
        found[key] = wish if found.get(key, wish) else None
    return [wish for wish in found.values() if wish]


def wanted_of(code: UnmappedCode) -> Wanted:
    return Wanted(code.shop_id, code.platform_sku_id, code.outer_code, code.title)


def wish_for(code: UnmappedCode, kind: str, pk: int) -> Wish:
    """The listing that would map a code of the queue to a SKU or a bundle."""
    target: dict[str, int] = {"sku_id": pk} if kind == "sku" else {"bundle_id": pk}
    return Wish(code.shop_id, code.code_type, code.code, title=code.title, **target)


def _map(wishes: Sequence[Wish], *, actor: Actor, reason: str) -> Mapped:
    with transaction.atomic():
        made, changed = write_listings(wishes, actor=actor, reason=reason)
        goes_on = len(unmapped.ready()) if made or changed else 0
        announce("orders", listings=made + changed)
    if goes_on:
        _let_go_on()
    return Mapped(made, changed, len(wishes) - made - changed, goes_on)


def write_listings(wishes: Sequence[Wish], *, actor: Actor, reason: str) -> tuple[int, int]:
    """The writing alone, in the caller's transaction: (made, changed). Raises as ``map_codes``."""
    _check(wishes)
    if any(wish.seen_version for wish in wishes):
        stand_alone()
    made = _insert(wishes)
    changed = _change([w for w in wishes if w.key not in made])
    keep_versions(
        [(made[w.key], 1, *w.target) for w in wishes if w.key in made]
        + [(row.pk, row.version + 1, *wish.target) for row, wish in changed],
        actor=actor, reason=reason,
    )  # fmt: skip
    record_many(
        [_entry(made[w.key], w, None, reason) for w in wishes if w.key in made]
        + [_entry(row.pk, wish, row, reason) for row, wish in changed],
        actor=actor,
    )
    return len(made), len(changed)


def stand_alone() -> None:
    """Wait until no batch of orders is being read by the listings as they are.

    In the caller's transaction, which keeps new ones waiting. Raises MappingBusy when its turn
    does not come in time.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [MAPPING_LOCK])
    except OperationalError as error:
        raise MappingBusy from error


def _let_go_on() -> None:
    """The first of them at once; the worker takes the rest, and these, should a lock be held."""
    try:
        jobs.work_unmapped()
    except OperationalError:
        logger.warning("orders whose codes were mapped are left to the worker", exc_info=True)


def _check(wishes: Sequence[Wish]) -> None:
    if not 1 <= len(wishes) <= MOST_AT_ONCE:
        raise InvalidInput(what=f"一次可处理 1 到 {MOST_AT_ONCE} 个编码")
    if len({wish.key for wish in wishes}) != len(wishes):
        raise InvalidInput(what="同一个编码出现了两次，请只留一个")
    for wish in wishes:
        if problem := code_problem(wish.code_type, wish.code):
            raise InvalidInput(what=problem)
        if (wish.sku_id is None) == (wish.bundle_id is None):
            raise InvalidInput(what="请选择一个货品或一个组合装")
    skus = {w.sku_id for w in wishes if w.sku_id is not None}
    bundles = {w.bundle_id for w in wishes if w.bundle_id is not None}
    usable = Sku.objects.filter(pk__in=skus, is_active=True).count()
    whole = Bundle.objects.filter(pk__in=bundles, bundle_parts__isnull=False).distinct().count()
    if usable != len(skus) or whole != len(bundles):
        raise InvalidInput(what="所选货品已停用，或组合装还没有组成，请重新选择")


def code_problem(code_type: str, code: str) -> str:
    """Why no order line could ever carry this code, in words; empty when one could."""
    if code_type not in LONGEST_CODE:
        return "编码类型只能是平台 SKU 编号或商家编码"
    if not code.strip():
        return "编码不能为空"
    if len(code) > LONGEST_CODE[code_type]:
        return f"编码过长，最多 {LONGEST_CODE[code_type]} 个字"
    if "\0" in code:
        return "编码中含有无法保存的字符"
    return ""


def _insert(wishes: Sequence[Wish]) -> dict[tuple[int, str, str], int]:
    """Make the listings there are not; return the keys of those made.

    In one order everywhere, so that of two people who map the same codes one waits for the other.
    """
    rows = sorted(wishes, key=lambda wish: wish.key)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO catalog_listing (shop_id, code_type, code, sku_id, bundle_id, title, "
            "platform_sku_id, platform_item_id, version) "
            "SELECT w.*, '', '', 1 FROM unnest(%s::bigint[], %s::text[], %s::text[], "
            "%s::bigint[], %s::bigint[], %s::text[]) AS w "
            "ON CONFLICT (shop_id, code_type, code) DO NOTHING "
            "RETURNING shop_id, code_type, code, id",
            [
                [w.shop_id for w in rows], [w.code_type for w in rows], [w.code for w in rows],
                [w.sku_id for w in rows], [w.bundle_id for w in rows],
                [clean(w.title, LONGEST_TITLE) for w in rows],
            ],
        )  # fmt: skip
        return {(shop, kind, code): pk for shop, kind, code, pk in cursor.fetchall()}


def _change(wishes: Sequence[Wish]) -> list[tuple[Listing, Wish]]:
    """Change the listings that say something else; return each as it was, with its wish."""
    if not wishes:
        return []
    keys = {wish.key for wish in wishes}
    there = Listing.objects.select_for_update(no_key=True).filter(
        shop_id__in={key[0] for key in keys}, code__in={key[2] for key in keys}
    )
    by_key = {(row.shop_id, row.code_type, row.code): row for row in there.order_by("pk")}
    pairs = [(by_key[wish.key], wish) for wish in wishes]
    pairs = [(row, wish) for row, wish in pairs if (row.sku_id, row.bundle_id) != wish.target]
    if stale := [wish.code for row, wish in pairs if row.version != wish.seen_version]:
        more = "等" if len(stale) > NAMED else ""
        raise StaleListing(codes="、".join(stale[:NAMED]) + more)
    update_rows(
        "catalog_listing",
        (("id", "bigint"), ("sku_id", "bigint"), ("bundle_id", "bigint"), ("version", "int")),
        [(row.pk, wish.sku_id, wish.bundle_id, row.version + 1) for row, wish in pairs],
    )
    return pairs


def _entry(pk: int, wish: Wish, was: Listing | None, reason: str) -> Entry:
    change: dict[str, Any] = {"version": [was and was.version, was.version + 1 if was else 1]}
    if was is None:
        change |= {"shop": [None, wish.shop_id], "code": [None, wish.code]}
    before: Mapping[str, Any] = {
        "sku": was and was.sku_id, "bundle": was and was.bundle_id,
    }  # fmt: skip
    after = {"sku": wish.sku_id, "bundle": wish.bundle_id}
    change |= {name: [before[name], after[name]] for name in after if before[name] != after[name]}
    return Entry(Action.CATALOG_CHANGED, "listing", pk, change, reason)
