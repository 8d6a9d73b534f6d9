"""Low-stock to-dos: worked out live from what there is, what comes and what is sold.

No row is kept of a to-do. It is there while a SKU is below the policy's line, and goes when goods
come, are announced, or somebody puts it off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Final

from django.db import connection, transaction

from inventory.health import DEMAND, Alarm, cover, daily, days_on_record
from inventory.models import ReplenishSnooze, StockPolicy
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.catalog.models import Sku
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.core.policy import AnyUser, Can, require

PACE_DAYS: Final = 14
"""The daily sales are those of so many days."""
LONGEST_SNOOZE: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class ToDo:
    """One SKU that is running low, and what to order of it.

    ``coming`` is announced or on its way between warehouses and promised to no presale order.
    """

    sku_id: int
    code: str
    name: str
    available: int
    coming: int
    safety: int
    sold: int
    days: Decimal
    lead_days: int
    alarm: Alarm
    snoozed_until: datetime | None
    snoozed_by: str
    snooze_reason: str

    @property
    def daily(self) -> Decimal:
        return daily(self.sold, self.days)

    @property
    def cover(self) -> Decimal | None:
        return cover(self.available, self.sold, self.days)

    @property
    def proposed(self) -> int:
        """Daily sales for the time the goods need, plus the safety stock, less what there is and
        what comes; never below 0."""
        units = int((self.daily * self.lead_days).to_integral_value(ROUND_CEILING))
        return max(0, units + self.safety - self.available - self.coming)


_LOW: Final = f"""
    WITH {DEMAND}, stock AS (
        SELECT l.sku_id, sum(l.on_hand - l.reserved)::int AS available,
               sum(l.inbound + l.in_transit)::int AS coming,
               greatest(coalesce(sum(d.units), 0), 0)::int AS sold
        FROM inventory_stocklevel l LEFT JOIN demand d ON d.level_id = l.id GROUP BY l.sku_id
    ), ahead AS (
        SELECT n.sku_id, sum(p.quantity)::int AS units
        FROM inventory_presalepromise p JOIN inventory_inboundline n ON n.id = p.inbound_line_id
        WHERE p.state = 'active' GROUP BY n.sku_id
    )
    SELECT s.id, s.code, s.name, s.color_name, coalesce(k.available, 0),
           greatest(0, coalesce(k.coming, 0) - coalesce(a.units, 0)), coalesce(b.units, 0),
           coalesce(k.sold, 0), z.until, coalesce(z.by, ''), coalesce(z.reason, '')
    FROM catalog_sku s LEFT JOIN stock k ON k.sku_id = s.id
    LEFT JOIN ahead a ON a.sku_id = s.id
    LEFT JOIN inventory_stockbuffer b ON b.sku_id = s.id
    LEFT JOIN inventory_replenishsnooze z ON z.sku_id = s.id AND z.until > %(now)s
    WHERE s.is_active AND coalesce(k.available, 0) < %(line)s
"""  # noqa: S608 - own constant text


def to_dos(*, now: datetime | None = None, snoozed: bool = False) -> list[ToDo]:
    """One to-do a SKU below the line: those that need goods by their cover, then the others.

    A SKU whose coming goods lift it over the line needs nobody. ``snoozed``: those put off.
    """
    now = now or clock_now()
    policy, days = StockPolicy.current(), days_on_record(PACE_DAYS, now=now)
    with connection.cursor() as cursor:
        cursor.execute(
            _LOW,
            {
                "since": now - timedelta(days=PACE_DAYS),
                "now": now,
                "line": policy.replenish_below,
            },
        )
        told = cursor.fetchall()
    found = []
    for sku_id, code, name, color, available, coming, safety, sold, *put_off in told:
        full = name if color in name else f"{name} {color}"
        todo = ToDo(
            sku_id, code, full, available, coming, safety, sold, days, policy.lead_days,
            _alarm(available, policy), *put_off,
        )  # fmt: skip
        enough = available + coming >= policy.replenish_below and not todo.proposed
        if not enough and (todo.snoozed_until is not None) == snoozed:
            found.append(todo)
    return sorted(found, key=_urgency)


def _alarm(available: int, policy: StockPolicy) -> Alarm:
    if available < policy.danger_below:
        return Alarm.DANGER
    return Alarm.FEW if available < policy.few_below else Alarm.REPLENISH


def _urgency(todo: ToDo) -> tuple[bool, Decimal, int, str]:
    return (not todo.proposed, todo.cover or Decimal(0), todo.available, todo.code)


def count(*, now: datetime | None = None) -> int:
    """How many to-dos are open."""
    return len(to_dos(now=now))


@transaction.atomic
def snooze(
    sku_id: int,
    *,
    days: int,
    reason: str,
    user: AnyUser,
    actor: Actor,
    now: datetime | None = None,
) -> ReplenishSnooze:
    """Remind nobody of this SKU for so many days; 0 ends it. Repeatable. On record.

    Raises NotAllowed without EDIT_STOCK_POLICY, NotFound, InvalidInput for a strange span.
    """
    require(user, Can.EDIT_STOCK_POLICY)
    now = now or clock_now()
    span = timedelta(days=days)
    if not timedelta() <= span <= LONGEST_SNOOZE:
        raise InvalidInput(what=f"请选择 0 到 {LONGEST_SNOOZE.days} 天")
    if not Sku.objects.filter(pk=sku_id).exists():
        raise NotFound(what="货品")
    row, _made = ReplenishSnooze.objects.update_or_create(
        sku_id=sku_id,
        defaults={
            "until": now + span, "reason": reason[:200], "by": actor.name[:80], "at": now,
        },
    )  # fmt: skip
    record(
        Action.STOCK_POLICY_CHANGED, object_type="sku", object_id=sku_id, actor=actor,
        reason=reason, change={"replenish_snoozed_until": [None, row.until.isoformat()]},
    )  # fmt: skip
    return row


def digest(todos: Sequence[ToDo], *, most: int = 10) -> list[str]:
    """The to-dos in a few lines for a chat."""
    lines = [
        f"{one.code} {one.alarm.label}：可用 {one.available}，在途 {one.coming}，"
        f"日均 {one.daily}，" + (f"建议补 {one.proposed}" if one.proposed else "暂不用补")
        for one in todos[:most]
    ]
    return lines + ([f"另有 {len(todos) - most} 种"] if len(todos) > most else [])
