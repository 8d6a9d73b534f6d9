"""Which orders may share a parcel: the platform is asked, or its sign of one receiver counts.

Comparing masked text, or Taobao's receiver ids as text, is no test of that (``channels.md``
1c, 8.12). Nothing is merged here: a group is a hint for people, and it runs out.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.base import BaseConnector
from channels_sync.connectors.exchange import make_client
from channels_sync.connectors.receivers import same_receiver
from channels_sync.contracts import (
    Connector,
    ConnectorError,
    DecryptRequest,
    ErrorClass,
    Rejected,
)
from channels_sync.models import MergeGroup
from ordercenter.catalog.models import Channel, Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import AnyUser
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import OPEN
from ordercenter.pipeline.calling import connector_for, own_fault
from ordercenter.pipeline.drafts import known_receiver

logger = logging.getLogger(__name__)
VALID: Final = timedelta(minutes=30)
AT_ONCE: Final = 100
MOST: Final = 1_000
"""Orders of one shop that a pass looks at, the oldest first."""
BY_ID: Final = frozenset({Channel.WECHAT.value})
"""No call to ask by, but an id that tells same receivers (WeChat ``hash_code``, 6c)."""
SAME_ID: Final = frozenset({Channel.DOUYIN.value, Channel.PINDUODUO.value}) | BY_ID
"""Where a group means: the same receiver id in this shop. Elsewhere the platform said so."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One open order that has a neighbor."""

    pk: int
    region: tuple[str, str, str]
    request: DecryptRequest


@dataclass(frozen=True, slots=True)
class Group:
    """The other orders that may go with one, as far as the user may know of them."""

    numbers: tuple[str, ...]
    asked_at: datetime
    by_id: bool
    """Concluded from the same receiver id; the platform was not asked."""


def find_merge_groups(*, now: datetime | None = None) -> str:
    """Ask again for every shop whose platform tells; return what was found.

    The groups of a shop are replaced as a whole, so an order that went or moved is in none
    after the next pass. A shop that cannot be asked keeps its groups until they run out.
    """
    now = now or clock_now()
    MergeGroup.objects.filter(valid_until__lt=now).delete()
    shops = Shop.objects.filter(is_active=True, channel__in=_channels(), credential__isnull=False)
    found = 0
    for shop in shops.exclude(cursor__paused_at__isnull=False).order_by("pk"):
        candidates = _candidates(shop.pk)
        try:
            groups = _ask(shop, candidates) if candidates else []
        except ConnectorError as error:
            logger.warning("shop %s: merge groups not told: %s", shop.pk, error.error.code)
            continue
        except Exception as error:
            logger.exception("shop %s: merge groups failed: %s", shop.pk, own_fault(error).code)
            continue
        found += _keep(shop.pk, candidates, groups, now=now)
    return f"{found} merge groups"


def _channels() -> list[str]:
    asked = [
        channel
        for channel, factory in CONNECTORS.items()
        if getattr(factory, "merge_groups", None) is not BaseConnector.merge_groups
    ]
    return [*asked, *BY_ID]


def _candidates(shop_id: int) -> list[Candidate]:
    """Paid, open orders of which another is for the same region, neighbors side by side."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT o.id, o.channel_number, o.province, o.city, o.district, o.receiver_sealed "
            "FROM (SELECT x.*, count(*) OVER (PARTITION BY province, city, district) AS near "
            "FROM orders_salesorder x WHERE x.shop_id = %s AND x.status = ANY(%s) "
            "AND x.paid_at IS NOT NULL AND x.province <> '') o WHERE o.near > 1 "
            "ORDER BY o.id LIMIT %s",
            [shop_id, [status.value for status in OPEN], MOST],
        )
        rows = cursor.fetchall()
    found = []
    for pk, number, province, city, district, sealed in rows:
        receiver = known_receiver(sealed).receiver
        if receiver.oaid:
            request = DecryptRequest(number, receiver.oaid, "merge", b"")
            found.append(Candidate(pk, (province, city, district), request))
    return found


def _packs(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """At most ``AT_ONCE`` orders a call; a region is in one call as long as it fits."""
    regions: dict[tuple[str, str, str], list[Candidate]] = defaultdict(list)
    for one in candidates:
        regions[one.region].append(one)
    pack: list[Candidate] = []
    for near in regions.values():
        if len(near) < 2:  # noqa: PLR2004 - its neighbor has no id
            continue
        if len(pack) + len(near) > AT_ONCE and pack:
            yield pack
            pack = []
        for start in range(0, len(near), AT_ONCE):
            part = near[start : start + AT_ONCE]
            if len(pack) + len(part) > AT_ONCE:
                yield pack
                pack = []
            pack = pack + part
    if pack:
        yield pack


def _ask(shop: Shop, candidates: Sequence[Candidate]) -> list[tuple[str, ...]]:
    if shop.channel in BY_ID:
        return same_receiver([one.request for one in candidates])
    groups: list[tuple[str, ...]] = []
    with make_client() as client:
        connector = connector_for(shop.pk, client)
        for pack in _packs(candidates):
            groups += _told(connector, [one.request for one in pack])
    return groups


def _told(connector: Connector, requests: Sequence[DecryptRequest]) -> list[tuple[str, ...]]:
    """Ask for one pack. One stale id has the platform refuse them all: the pack is halved until
    it stands alone."""
    if len(requests) < 2:  # noqa: PLR2004 - nobody to go with
        return []
    try:
        return connector.merge_groups(requests)
    except Rejected as refusal:
        if refusal.error.klass in {ErrorClass.AUTH, ErrorClass.RATE_LIMITED}:
            raise
        middle = len(requests) // 2
        return _told(connector, requests[:middle]) + _told(connector, requests[middle:])


@transaction.atomic
def _keep(
    shop_id: int,
    candidates: Sequence[Candidate],
    groups: Sequence[Sequence[str]],
    *,
    now: datetime,
) -> int:
    """Put these groups in the place of what the shop had; orders nobody asked about are left
    out of them."""
    known = {one.request.channel_number: one.pk for one in candidates}
    rows = []
    for group in groups:
        ids = sorted({known[number] for number in group if number in known})
        if len(ids) > 1:
            rows.append(
                MergeGroup(shop_id=shop_id, order_ids=ids, asked_at=now, valid_until=now + VALID)
            )
    MergeGroup.objects.filter(shop_id=shop_id).delete()
    MergeGroup.objects.bulk_create(rows)
    return len(rows)


def group_of(order: SalesOrder, user: AnyUser, *, now: datetime | None = None) -> Group | None:
    """What an open order may go with now; None where nothing is known."""
    now = now or clock_now()
    if order.status not in OPEN:
        return None
    row = (
        MergeGroup.objects.filter(
            shop_id=order.shop_id, valid_until__gt=now, order_ids__contains=[order.pk]
        )
        .order_by("-asked_at")
        .first()
    )
    if row is None:
        return None
    others = SalesOrder.objects.visible_to(user).filter(pk__in=row.order_ids, status__in=OPEN)
    numbers = others.exclude(pk=order.pk).order_by("pk").values_list("number", flat=True)
    if not numbers:
        return None
    return Group(tuple(numbers), row.asked_at, order.shop.channel in SAME_ID)
