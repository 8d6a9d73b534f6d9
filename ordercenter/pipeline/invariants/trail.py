"""The trail: every change has its record, and the walls the database itself holds still stand."""

from collections.abc import Iterator
from typing import Final

from django.utils.translation import gettext_lazy as _

from ordercenter.audit.verify import may_rewrite, owns_the_trail
from ordercenter.core.actor import ActorKind
from ordercenter.pipeline.invariants.shape import Invariant, Look, Row

A1: Final = """
    WITH trail AS (
        SELECT object_id, version, change -> 'status' ->> 0 AS before,
               change -> 'status' ->> -1 AS after,
               lag(version) OVER w AS prior, lag(change -> 'status' ->> -1) OVER w AS prior_after,
               lead(version) OVER w IS NULL AS is_last
        FROM audit_auditrecord WHERE object_type = 'order' AND version IS NOT NULL
        WINDOW w AS (PARTITION BY object_id ORDER BY version)
    )
    SELECT '版本不连续' AS why, 'order' AS kind, object_id AS id,
           jsonb_build_object('version', version, 'prior', prior) AS facts
    FROM trail WHERE version <> coalesce(prior, 0) + 1
    UNION ALL
    SELECT '前后状态接不上', 'order', object_id,
           jsonb_build_object('version', version, 'before', before, 'expected', prior_after)
    FROM trail WHERE before IS DISTINCT FROM prior_after
    UNION ALL
    SELECT '订单现状与最后一条记录不符', 'order', o.id,
           jsonb_build_object('number', o.number, 'status', o.status, 'version', o.version,
                              'recorded', t.after, 'recorded_version', t.version)
    FROM orders_salesorder o LEFT JOIN trail t ON t.object_id = o.id AND t.is_last
    WHERE t.version IS DISTINCT FROM o.version OR t.after IS DISTINCT FROM o.status
    UNION ALL
    SELECT '有记录却没有订单', 'order', t.object_id, jsonb_build_object('version', t.version)
    FROM trail t LEFT JOIN orders_salesorder o ON o.id = t.object_id
    WHERE t.is_last AND o.id IS NULL
    UNION ALL
    SELECT '记录没有写明操作者或时间', 'audit_record', r.id,
           jsonb_build_object('actor_kind', r.actor_kind, 'actor_id', r.actor_id)
    FROM audit_auditrecord r
    WHERE NOT r.actor_kind = ANY(%(actors)s) OR r.actor_id = '' OR r.actor_name = ''
"""

# The last record of each field must tell what the row holds now. Money is compared as money.
FIELDS: Final = """
    SELECT '字段与最后一条记录不符' AS why, 'order' AS kind, o.id,
           jsonb_build_object('number', o.number, 'field', t.field, 'recorded', t.after,
                              'now', to_jsonb(o) ->> t.field) AS facts
    FROM (
        SELECT DISTINCT ON (r.object_id, c.key) r.object_id, c.key AS field, c.value ->> 1 AS after
        FROM audit_auditrecord r, jsonb_each(r.change) c
        WHERE r.object_type = 'order' AND r.version IS NOT NULL AND r.change ?| %(fields)s
          AND c.key = ANY(%(fields)s) AND jsonb_typeof(c.value) = 'array'
        ORDER BY r.object_id, c.key, r.version DESC
    ) t JOIN orders_salesorder o ON o.id = t.object_id
    WHERE CASE WHEN t.field IN ('payable_amount', 'paid_amount')
               THEN (to_jsonb(o) ->> t.field)::numeric <> t.after::numeric
               ELSE to_jsonb(o) ->> t.field IS DISTINCT FROM t.after END
"""
FOLLOWED: Final = [
    "channel_status", "refund_state", "province", "city", "district", "payable_amount",
    "paid_amount",
]  # fmt: skip

TRIGGERS: Final = (
    ("audit_auditrecord", "append_only"),
    ("audit_auditrecord", "append_only_truncate"),
    ("audit_auditlink", "append_only"),
    ("audit_auditlink", "append_only_truncate"),
    ("audit_auditseal", "append_only"),
    ("audit_auditseal", "append_only_truncate"),
    ("inventory_stockmovement", "append_only"),
    ("inventory_stockmovement", "append_only_truncate"),
    ("orders_salesorder", "guard_status"),
    ("orders_salesorder", "guard_canceled"),
    ("fulfillment_waybill", "guard_live_insert"),
    ("fulfillment_waybill", "guard_live_update"),
    ("fulfillment_parcel", "guard_shipped"),
    ("channels_sync_inboxmessage", "guard_bytes"),
)
CONSTRAINTS: Final = (
    "never_oversold", "stock_level_once", "reservation_once", "reservation_positive",
    "movement_positive", "movement_moves", "order_once", "order_money_not_negative", "line_once",
    "hold_open_once", "hold_not_released_by_asker", "tier3_release_was_asked", "message_once",
    "message_state", "message_attempts", "tracking_number_once", "one_live_waybill",
    "refund_once", "audit_version_once", "chain_never_forks", "slices_fit", "stock_slice_once",
    "slice_unsold_fits", "slice_ended_is_empty", "reservation_slice_units", "claw_back_positive",
    "interception_told_once", "interception_not_approved_by_asker", "stop_of_interception_once",
)  # fmt: skip
"""Names of constraints and unique indexes; conditions make some of them indexes only."""


def fallen_walls(look: Look) -> Iterator[Row]:
    """Triggers and constraints that are gone, switched off or never validated; rights come back."""
    look.cursor.execute(
        "SELECT tgrelid::regclass::text, tgname FROM pg_trigger "
        "WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
    )
    standing = set(look.cursor.fetchall())
    for table, name in TRIGGERS:
        if (table, name) not in standing:
            yield {"why": "触发器缺失或被停用", "kind": "trigger", "id": name, "table": table}
    look.cursor.execute(
        "SELECT conname FROM pg_constraint WHERE convalidated UNION "
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE i.indisunique AND i.indisvalid"
    )
    known = {name for (name,) in look.cursor.fetchall()}
    for name in CONSTRAINTS:
        if name not in known:
            yield {"why": "约束缺失或未生效", "kind": "constraint", "id": name}
    yield from _risen_rights()


def _risen_rights() -> Iterator[Row]:
    """Rights to rewrite what is append-only that the application's role has got back.

    Where the application owns its tables (one role for all) there is nothing to get back.
    """
    if not owns_the_trail():
        for table, verb in may_rewrite():
            yield {"why": "应用角色可以改写只增表", "kind": "right", "id": f"{verb} {table}"}


def differing_fields(look: Look) -> list[Row]:
    return look.rows(FIELDS, fields=FOLLOWED)


INVARIANTS: Final = (
    Invariant(
        "A1",
        _("每次变更恰有一条审计：版本从 1 连续，前后相接，最后一条等于现状，写明操作者"),
        A1,
        also=differing_fields,
        params={"actors": [kind.value for kind in ActorKind]},
    ),
    Invariant("W1", _("数据库自身的防线（触发器、约束、应用权限）都在且生效"), also=fallen_walls),
)
