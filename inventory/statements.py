"""What a warehouse of others says it has, as of a moment: the difference becomes corrections.

A statement is held against what the books said at its own moment, and its difference is applied
now: what was received, reserved or shipped since is no difference. What an earlier statement
corrected is taken to have been so all along. Where somebody has counted or corrected since, a
statement of before decides nothing. SKUs it does not name are left as they are.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from inventory import adjustments, papers
from inventory.ledger import free_of, open_levels
from inventory.models import Adjustment, StockFile, StockLevel, ToldFigure, VirtualWarehouse
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import AnyUser

AHEAD: Final = timedelta(minutes=5)
"""How far another's clock may be ahead of ours."""

_BOOK: Final = """
    SELECT l.sku_id, l.on_hand - coalesce(m.since, 0), coalesce(m.corrected, false)
    FROM inventory_stocklevel l LEFT JOIN (
        SELECT level_id,
               sum(CASE WHEN reason = 'statement' THEN 0
                        WHEN source IN ('available', 'reserved')
                         AND target IN ('available', 'reserved') THEN 0
                        WHEN target IN ('available', 'reserved') THEN quantity
                        WHEN source IN ('available', 'reserved') THEN -quantity
                        ELSE 0 END) AS since,
               bool_or(reason IN ('adjust', 'count')) AS corrected
        FROM inventory_stockmovement
        WHERE created_at > %(as_of)s AND level_id IN (
            SELECT id FROM inventory_stocklevel
            WHERE virtual_warehouse_id = %(room)s AND sku_id = ANY(%(skus)s))
        GROUP BY level_id
    ) m ON m.level_id = l.id
    WHERE l.virtual_warehouse_id = %(room)s AND l.sku_id = ANY(%(skus)s)
"""


class StaleStatement(OrderCenterError):
    code = "stale_statement"
    message = gettext_lazy("这个仓已导入过 %(as_of)s 的数据，只接受更新的")


class SameStatement(OrderCenterError):
    code = "same_statement"
    message = gettext_lazy("这个文件已在 %(at)s 导入过")


@dataclass(frozen=True, slots=True)
class Difference:
    """What a statement says of one SKU, and what the books said at its moment."""

    sku_id: int
    told: int
    book: int
    problem: str = ""
    """Why it cannot be applied, in words."""

    @property
    def delta(self) -> int:
        return self.told - self.book


@dataclass(frozen=True, slots=True)
class Applied:
    """What a statement came to."""

    file: StockFile
    made: int
    waiting: int
    """Corrections too large for one person."""


def book_at(room_id: int, sku_ids: Collection[int], as_of: datetime) -> dict[int, tuple[int, bool]]:
    """(units on hand as the books said then, whether corrected by hand since) by SKU."""
    with connection.cursor() as cursor:
        cursor.execute(_BOOK, {"room": room_id, "skus": list(sku_ids), "as_of": as_of})
        return {sku: (int(units), corrected) for sku, units, corrected in cursor.fetchall()}


def check_new(room_id: int, *, as_of: datetime, digest: str, now: datetime) -> None:
    """Raise unless this file is new and younger than the last one of this virtual warehouse."""
    if as_of > now + AHEAD:
        raise InvalidInput(what=_("数据时间在将来，请核对"))
    files = StockFile.objects.filter(virtual_warehouse_id=room_id)
    if same := files.filter(digest=digest).first():
        raise SameStatement(at=f"{same.applied_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}")
    if last := files.filter(as_of__gte=as_of).order_by("-as_of").first():
        raise StaleStatement(as_of=f"{last.as_of.astimezone(SHANGHAI):%Y-%m-%d %H:%M}")


def differences(room_id: int, told: Mapping[int, int], *, as_of: datetime) -> list[Difference]:
    """Hold what is told against the books of that moment; nothing changes."""
    rows = StockLevel.objects.filter(virtual_warehouse_id=room_id, sku_id__in=told)
    return differences_of({row.sku_id: row for row in rows}, room_id, told, as_of)


def differences_of(
    levels: Mapping[int, StockLevel], room_id: int, told: Mapping[int, int], as_of: datetime
) -> list[Difference]:
    """The same, where the levels (by SKU) are in hand and, to be corrected, locked."""
    book = book_at(room_id, told, as_of)
    waiting = set(
        Adjustment.objects.filter(
            state=Adjustment.State.WAITING, from_defect=False,
            level__in=[level.pk for level in levels.values()],
        ).values_list("level__sku_id", flat=True)
    )  # fmt: skip
    found = []
    for sku, units in sorted(told.items()):
        booked, corrected = book.get(sku, (0, False))
        delta, level, problem = units - booked, levels.get(sku), ""
        if delta and sku in waiting:
            # The older difference may be a part of this one: applied both, it would count twice.
            problem = _("还有待复核的调整，处理后再导入")
        elif delta and corrected:
            problem = _("数据时间之后盘点或调整过，请用更新的数据")
        elif level is not None and delta < -max(0, free_of(level)):
            problem = _("要减 %(units)d 件，只有 %(free)d 件未占用") % {
                "units": -delta, "free": max(0, free_of(level)),
            }  # fmt: skip
        found.append(Difference(sku, units, booked, problem))
    return found


@transaction.atomic
def apply(
    room_id: int,
    told: Mapping[int, int],
    *,
    as_of: datetime,
    digest: str,
    user: AnyUser,
    actor: Actor,
    now: datetime | None = None,
) -> Applied:
    """Apply what a warehouse says it has of these SKUs: all of it or nothing.

    Differences up to the policy's limit are corrected at once, larger ones wait for a second
    person. Raises SameStatement, StaleStatement, HeldByOrders naming the orders touched, and
    InvalidInput where an older difference still waits or somebody has corrected since.
    """
    now = now or clock_now()
    papers.room_for(room_id, user)
    for units in told.values():
        papers.checked_units(units)
    papers.checked_goods(dict.fromkeys(told, 1))
    VirtualWarehouse.objects.select_for_update(no_key=True).get(pk=room_id)
    check_new(room_id, as_of=as_of, digest=digest, now=now)
    levels = {sku: level for (_room, sku), level in open_levels([room_id], told).items()}
    found = [one for one in differences_of(levels, room_id, told, as_of) if one.delta]
    papers.refuse_if_held(
        {levels[one.sku_id].pk: -one.delta for one in found if one.delta < 0},
        {level.pk: level for level in levels.values()},
    )
    if bad := [one for one in found if one.problem]:
        raise InvalidInput(what=bad[0].problem)
    file = StockFile.objects.create(
        virtual_warehouse_id=room_id, as_of=as_of, digest=digest,
        applied_by=actor.name[:80], applied_at=now,
    )  # fmt: skip
    keep_told(file, levels, told)
    reason = _("库存导入，截至 %(as_of)s") % {"as_of": f"{as_of.astimezone(SHANGHAI):%m-%d %H:%M}"}
    rows = corrections(found, levels, reason=reason, user=user, actor=actor, now=now)
    made = adjustments.book(rows, user=user, actor=actor, now=now, reason="statement")
    record(
        Action.STOCK_ADJUSTED, object_type="stock_file", object_id=file.pk, actor=actor,
        change={"as_of": as_of.isoformat(), "skus": len(told), "made": made,
                "waiting": len(rows) - made}, reason=reason,
    )  # fmt: skip
    return Applied(file, made, len(rows) - made)


def corrections(
    found: Sequence[Difference],
    levels: Mapping[int, StockLevel],
    *,
    reason: str,
    user: AnyUser,
    actor: Actor,
    now: datetime,
) -> list[Adjustment]:
    """A correction, not yet booked, for each of these differences."""
    return [
        Adjustment(
            level=levels[one.sku_id], delta=one.delta, reason=reason,
            asked_by=actor.name[:80], asked_by_id=user.pk, asked_at=now,
        )
        for one in found
    ]  # fmt: skip


def keep_told(file: StockFile, levels: Mapping[int, StockLevel], told: Mapping[int, int]) -> None:
    """Remember what was told last of each of these locked levels (by SKU)."""
    ToldFigure.objects.bulk_create(
        [
            ToldFigure(level=levels[sku], units=units, as_of=file.as_of, file=file)
            for sku, units in told.items()
        ],
        update_conflicts=True,
        unique_fields=["level"],
        update_fields=["units", "as_of", "file"],
    )
