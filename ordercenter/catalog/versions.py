"""The history of what listings stand for: one row for each version, whoever made it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from ordercenter.catalog.models import ListingVersion
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import copy_rows
from ordercenter.core.clock import now as clock_now

LONGEST_REASON: Final = 200
LONGEST_NAME: Final = 80


def keep_versions(
    rows: Iterable[tuple[int, int, int | None, int | None]],
    *,
    actor: Actor,
    reason: str,
    at: datetime | None = None,
) -> int:
    """Write (listing, version, SKU, bundle) of what was just made or changed.

    In the transaction that changes the listing. Raises IntegrityError for a version there is.
    """
    at = at or clock_now()
    who, why = actor.name[:LONGEST_NAME], reason[:LONGEST_REASON].replace("\0", "")
    return copy_rows(
        ListingVersion,
        ("listing_id", "version", "sku_id", "bundle_id", "reason", "changed_by", "changed_at"),
        ((pk, version, sku, bundle, why, who, at) for pk, version, sku, bundle in rows),
    )
