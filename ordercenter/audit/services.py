"""Write the record, in the transaction of what it records."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import connection

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import copy_rows, dumps
from ordercenter.core.clock import now as clock_now

COLUMNS: Final = (
    "object_type",
    "object_id",
    "version",
    "action",
    "actor_kind",
    "actor_id",
    "actor_name",
    "actor_role",
    "request_id",
    "reason",
    "change",
    "created_at",
)
"""What of a record is written, and hashed, in this order."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record to be written. ``change`` is ``{field: [before, after]}``; no receiver data."""

    action: Action
    object_type: str
    object_id: int
    change: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    version: int | None = None


def record_many(entries: Iterable[Entry], *, actor: Actor, at: datetime | None = None) -> int:
    """Write records in the caller's transaction; refuse to run outside one."""
    if not connection.in_atomic_block:
        message = "an audit record belongs into the transaction of what it records"
        raise RuntimeError(message)
    at = at or clock_now()
    who = (actor.kind.value, actor.id, actor.name[:150], actor.role[:200], actor.request_id)
    return copy_rows(
        AuditRecord,
        COLUMNS,
        (
            (e.object_type, e.object_id, e.version, e.action.value, *who, e.reason[:500],
             dumps(e.change), at)
            for e in entries
        ),
    )  # fmt: skip


def record(
    action: Action,
    *,
    object_type: str,
    object_id: int,
    actor: Actor,
    change: Mapping[str, Any] | None = None,
    reason: str = "",
    version: int | None = None,
) -> None:
    """Write one record in the caller's transaction."""
    record_many([Entry(action, object_type, object_id, change or {}, reason, version)], actor=actor)
