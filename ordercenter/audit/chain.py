"""The hash chains: every record has one place in the chain of its stream.

A stream is a type of object (orders, refunds, SKUs, shops, rules …). A link's hash covers the
hash before it in its stream and every column of its record.
"""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction

from ordercenter.audit.models import AuditLink
from ordercenter.audit.services import COLUMNS
from ordercenter.core.bulk import copy_rows, dumps

CHAIN_LOCK: Final = 7_205_001
LATE: Final = 20_000
"""How many younger records may be linked before one that commits late is given up on;
``verify`` shows those that have no place."""
GENESIS: Final = b"\0" * 32

_ROW: Final = "r.id, " + ", ".join(f"r.{c}" if c != "change" else "r.change::text" for c in COLUMNS)
_TYPE: Final = 1
"""Where in a row the type of its object stands."""


def text_of(row: tuple[Any, ...]) -> str:
    """A record as it is hashed: a JSON list of its id and columns, times in seconds."""
    return dumps([value.timestamp() if isinstance(value, datetime) else value for value in row])


def digest(previous: bytes, text: str) -> bytes:
    return hashlib.sha256(previous + text.encode()).digest()


@dataclass(frozen=True, slots=True)
class Link:
    """One link as it is stored, with the record it stands for; ``text`` is empty without one."""

    seq: int
    stream: str
    previous: bytes
    hash: bytes
    text: str
    object_type: str

    @property
    def fits(self) -> bool:
        """Whether its record is what it was when it was linked."""
        return bool(self.text) and digest(self.previous, self.text) == self.hash


@transaction.atomic
def link_pending(limit: int = 5000) -> int:
    """Hang the records that have no place yet onto the ends of their chains; return how many.

    Linking runs behind the writers so that they never queue for the end of a chain. A record
    may commit after a younger one was linked: it is linked when it is seen. One linker works
    at a time, and no two links can follow the same one (``chain_never_forks``).
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [CHAIN_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute("SELECT coalesce(max(seq), 0) FROM audit_auditlink")
        (seq,) = cursor.fetchone()
        cursor.execute(
            f"SELECT {_ROW} FROM audit_auditrecord r "  # noqa: S608 - constant text
            "LEFT JOIN audit_auditlink l ON l.record_id = r.id "
            "WHERE l.seq IS NULL AND r.id > "
            "(SELECT coalesce(max(record_id), 0) FROM audit_auditlink) - %s "
            "ORDER BY r.id LIMIT %s",
            [LATE, limit],
        )
        rows = cursor.fetchall()
        ends = heads({row[_TYPE] for row in rows})
    links = []
    for row in rows:
        seq += 1
        stream = row[_TYPE]
        previous = ends.get(stream, GENESIS)
        ends[stream] = digest(previous, text_of(row))
        links.append((seq, stream, row[0], previous, ends[stream]))
    return copy_rows(AuditLink, ("seq", "stream", "record_id", "previous_hash", "hash"), links)


def heads(streams: Collection[str], *, upto: int | None = None) -> dict[str, bytes]:
    """The last hash of each of these streams (as of link ``upto``), where it has any."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT s.name, l.hash FROM unnest(%s::text[]) AS s(name) CROSS JOIN LATERAL "
            "(SELECT hash FROM audit_auditlink WHERE stream = s.name AND seq <= %s "
            "ORDER BY seq DESC LIMIT 1) l",
            [list(streams), 2**62 if upto is None else upto],
        )
        return {name: bytes(last) for name, last in cursor.fetchall()}


def streams() -> list[str]:
    """The streams there are, found by hopping along the index."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH RECURSIVE hop AS (SELECT min(stream) AS name FROM audit_auditlink UNION ALL "
            "SELECT (SELECT min(stream) FROM audit_auditlink WHERE stream > hop.name) FROM hop "
            "WHERE hop.name IS NOT NULL) SELECT name FROM hop WHERE name IS NOT NULL"
        )
        return [name for (name,) in cursor.fetchall()]


def walk(*, after: int = 0, chunk: int = 20_000) -> Iterator[list[Link]]:
    """All links behind ``after`` in order, so many at a time, each with its record."""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT l.seq, l.stream, l.previous_hash, l.hash, {_ROW} "  # noqa: S608
                "FROM audit_auditlink l LEFT JOIN audit_auditrecord r ON r.id = l.record_id "
                "WHERE l.seq > %s ORDER BY l.seq LIMIT %s",
                [after, chunk],
            )
            rows = cursor.fetchall()
        links = [_link(row) for row in rows]
        if links:
            yield links
            after = links[-1].seq
        if len(rows) < chunk:
            return


def links_of(object_type: str, object_id: int) -> list[Link]:
    """The links of one object's records, in the order of the chain."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT l.seq, l.stream, l.previous_hash, l.hash, {_ROW} "  # noqa: S608
            "FROM audit_auditrecord r JOIN audit_auditlink l ON l.record_id = r.id "
            "WHERE r.object_type = %s AND r.object_id = %s ORDER BY l.seq",
            [object_type, object_id],
        )
        return [_link(row) for row in cursor.fetchall()]


def hashes(first: int, last: int) -> list[bytes]:
    """The hashes of the links from ``first`` to ``last``, both included."""
    found = AuditLink.objects.filter(seq__range=(first, last)).order_by("seq")
    return [bytes(one) for one in found.values_list("hash", flat=True)]


def _link(row: tuple[Any, ...]) -> Link:
    seq, stream, previous, own, *record = row
    known = record[0] is not None
    return Link(
        seq, stream, bytes(previous), bytes(own), text_of(tuple(record)) if known else "",
        record[_TYPE] if known else "",
    )  # fmt: skip
