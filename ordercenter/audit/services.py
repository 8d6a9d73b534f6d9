"""Write the record, link the chain, prove it whole."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction

from ordercenter.audit.models import Action, AuditLink, AuditRecord
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import copy_rows, dumps
from ordercenter.core.clock import now as clock_now

CHAIN_LOCK: Final = 7_205_001
LATE: Final = 20_000
"""How many younger records may be linked before one that commits late is given up on; the
invariant over unlinked records would show it."""
GENESIS: Final = b"\0" * 32

_COLUMNS: Final = (
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
        _COLUMNS,
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


def _digest(previous: bytes, row: tuple[Any, ...]) -> bytes:
    text = dumps([value.timestamp() if isinstance(value, datetime) else value for value in row])
    return hashlib.sha256(previous + text.encode()).digest()


_ROW: Final = "r.id, " + ", ".join(
    f"r.{c}" if c != "change" else "r.change::text" for c in _COLUMNS
)


@transaction.atomic
def link_pending(limit: int = 5000) -> int:
    """Hang the records that have no place in the chain yet onto its end; return how many.

    Linking runs behind the writers so that they never queue for the end of the chain. A
    record may commit after a younger one was linked: it is linked when it is seen.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [CHAIN_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute("SELECT seq, hash FROM audit_auditlink ORDER BY seq DESC LIMIT 1")
        last = cursor.fetchone()
        seq, previous = (last[0], bytes(last[1])) if last else (0, GENESIS)
        cursor.execute(
            f"SELECT {_ROW} FROM audit_auditrecord r "  # noqa: S608 - constant text
            "LEFT JOIN audit_auditlink l ON l.record_id = r.id "
            "WHERE l.seq IS NULL AND r.id > "
            "(SELECT coalesce(max(record_id), 0) FROM audit_auditlink) - %s "
            "ORDER BY r.id LIMIT %s",
            [LATE, limit],
        )
        links = []
        for row in cursor.fetchall():
            seq += 1
            current = _digest(previous, row)
            links.append((seq, row[0], previous, current))
            previous = current
    return copy_rows(AuditLink, ("seq", "record_id", "previous_hash", "hash"), links)


def broken_links(*, chunk: int = 20_000) -> list[str]:
    """Walk the whole chain; return what is wrong with it in words, empty when whole."""
    wrong: list[str] = []
    previous, expected = GENESIS, 1
    with transaction.atomic(), connection.cursor() as cursor:
        while True:
            cursor.execute(
                f"SELECT l.seq, l.previous_hash, l.hash, {_ROW} FROM audit_auditlink l "  # noqa: S608
                "LEFT JOIN audit_auditrecord r ON r.id = l.record_id "
                "WHERE l.seq >= %s ORDER BY l.seq LIMIT %s",
                [expected, chunk],
            )
            rows = cursor.fetchall()
            for seq, before, own, *row in rows:
                if seq != expected:
                    wrong.append(f"link {expected} is missing")
                elif bytes(before) != previous or _digest(previous, tuple(row)) != bytes(own):
                    wrong.append(f"link {seq} does not fit its record")
                previous, expected = bytes(own), seq + 1
            if len(rows) < chunk or len(wrong) > 100:  # noqa: PLR2004 - enough to know
                return wrong
