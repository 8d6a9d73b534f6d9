"""Seals: the state of the chains, signed and put down where the database's owner does not reach.

Who can rewrite the whole database can compute every hash in it anew. He cannot change the lines
that were appended to ``ORDERCENTER_DATA/seals/`` and told to the group meanwhile: ``verify``
compares with them. Seals are documents (plain dicts) wherever they leave the database.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction

from ordercenter.audit import chain, merkle, signing
from ordercenter.audit.models import AuditSeal

SEAL_LOCK: Final = 7_205_004
MOST_A_SEAL: Final = 200_000
"""How many links one seal covers at most: the way from a record to it stays quick to compute."""
FIRST: Final = "0" * 64
COVERED: Final = (
    "number", "first_seq", "last_seq", "root", "heads", "sealed_at", "previous_hash",
)  # fmt: skip
"""What a seal's own hash covers."""
Document = Mapping[str, Any]


def seals_folder() -> Path:
    """Where the seals of the database in use are published on this machine."""
    return Path(settings.DATA_DIR) / "seals" / str(connection.settings_dict["NAME"])


def hash_of(seal: Document) -> str:
    """The hash a seal must have for what it says."""
    said = {name: seal[name] for name in COVERED}
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def is_genuine(seal: Document, keys: frozenset[str]) -> bool:
    """Whether a seal says what it said when one of these keys signed it."""
    return (
        seal["key"] in keys
        and hash_of(seal) == seal["hash"]
        and signing.is_signed(
            bytes.fromhex(seal["hash"]), key=seal["key"], signature=seal["signature"]
        )
    )


def document(seal: AuditSeal) -> dict[str, Any]:
    names = (*COVERED, "hash", "key", "signature")
    found = {name: getattr(seal, name) for name in names}
    return {**found, "sealed_at": seal.sealed_at.astimezone(UTC).isoformat()}


def in_database(newest: int | None = None) -> list[dict[str, Any]]:
    """All seals, or so many of the newest, in the order of their numbers."""
    found = AuditSeal.objects.order_by("-number")[:newest]
    return [document(seal) for seal in found][::-1]


@transaction.atomic
def seal_up(*, now: datetime) -> int:
    """Seal every link that has no seal yet; return how many seals that took."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SEAL_LOCK])
        cursor.execute("SELECT coalesce(max(seq), 0) FROM audit_auditlink")
        (end,) = cursor.fetchone()
    last = AuditSeal.objects.order_by("-number").first()
    made = 0
    while (sealed := last.last_seq if last else 0) < end:
        last = _make(last, first=sealed + 1, last_seq=min(end, sealed + MOST_A_SEAL), now=now)
        made += 1
    return made


def _make(before: AuditSeal | None, *, first: int, last_seq: int, now: datetime) -> AuditSeal:
    heads = chain.heads(chain.streams(), upto=last_seq)
    seal = AuditSeal(
        number=before.number + 1 if before else 1,
        first_seq=first,
        last_seq=last_seq,
        root=merkle.root_of(chain.hashes(first, last_seq)).hex(),
        heads={stream: last.hex() for stream, last in heads.items()},
        previous_hash=before.hash if before else FIRST,
        key=signing.public_key(),
        sealed_at=now,
    )
    seal.hash = hash_of(document(seal))
    seal.signature = signing.sign(bytes.fromhex(seal.hash))
    seal.save(force_insert=True)
    return seal


def publish(folder: Path) -> int:
    """Append the seals that are not outside yet to this folder's files, one a day of UTC.

    Nothing that stands there is ever written again. Returns how many lines were added.
    """
    known = _last_published(folder)
    fresh = [document(s) for s in AuditSeal.objects.filter(number__gt=known).order_by("number")]
    if not fresh:
        return 0
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for seal in fresh:
        path = folder / f"{seal['sealed_at'][:10]}.jsonl"
        line = json.dumps(seal, ensure_ascii=False, sort_keys=True) + "\n"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line.encode())
            os.fsync(handle)
        finally:
            os.close(handle)
    return len(fresh)


@dataclass(frozen=True, slots=True)
class Published:
    """One line of the files outside; ``seal`` is empty where it cannot be read."""

    where: str
    number: int
    seal: Document


def _last_published(folder: Path) -> int:
    for path in sorted(folder.glob("*.jsonl"), reverse=True):
        if number := max((found.number for found in _lines(path)), default=0):
            return number
    return 0


def outside(folder: Path, *, since: str = "") -> Iterator[Published]:
    """Every line that was published to this folder, file by file, from the day ``since`` on."""
    for path in sorted(folder.glob("*.jsonl")):
        if path.stem >= since:
            yield from _lines(path)


def _lines(path: Path) -> Iterator[Published]:
    for place, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{path.name}:{place}"
        try:
            seal = json.loads(line)
            number = seal["number"]
            complete = all(name in seal for name in (*COVERED, "hash", "key", "signature"))
        except (ValueError, TypeError, KeyError):
            complete = False
        if complete and isinstance(number, int):
            yield Published(where, number, seal)
        else:
            yield Published(where, 0, {})
