"""Prove the trail whole, or say what was done to it.

Reads only. Writers may go on meanwhile: what is outside is read before what is inside, seals
before links, and links stand one behind the other.
"""

import hmac
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ordercenter.audit import chain, merkle, seals, signing
from ordercenter.core.clock import now as clock_now
from ordercenter.core.grants import APPEND_ONLY, REWRITING, RIGHTS

MOST_FINDINGS: Final = 100
RECENT: Final = 300
"""How many of the newest seals the quick look compares: two days of them."""
TRAIL: Final = ("audit_auditrecord", "audit_auditlink", "audit_auditseal")
GUARDS: Final = tuple(
    (table, guard) for table in TRAIL for guard in ("append_only", "append_only_truncate")
)
ON_ITS_WAY: Final = timedelta(minutes=15)
"""A seal is in the database a moment before it is outside."""
WORDS: Final[Mapping[str, Promise]] = {
    "record_altered": _("记录内容与入链时不同"),
    "record_missing": _("链上有位置，记录已不在"),
    "record_unlinked": _("旧记录不在链上"),
    "link_missing": _("链上缺少一环"),
    "chain_broken": _("与前一环接不上"),
    "stream_wrong": _("记录在别的链上"),
    "version_gap": _("版本号有缺失"),
    "version_twice": _("同一版本有两条记录"),
    "seal_broken": _("封签与前一封签接不上"),
    "seal_forged": _("封签不是本系统签发"),
    "seal_root": _("链与封签不符"),
    "seal_lost": _("外部留存的封签在库中已不存在（可能恢复了旧备份）"),
    "seal_differs": _("库中封签与外部留存不同"),
    "seal_unpublished": _("库中封签在外部没有留存"),
    "seal_unreadable": _("外部封签文件有一行无法读取"),
    "guard_down": _("防改触发器缺失或被停用"),
    "rights": _("应用的数据库角色可以改写"),
}
"""Every kind of finding there is."""


@dataclass(frozen=True, slots=True)
class Finding:
    kind: str
    where: str

    @property
    def words(self) -> str:
        return f"{WORDS[self.kind]}：{self.where}"


@dataclass(slots=True)
class Report:
    """What was looked at and what is wrong. Empty ``findings``: nothing is."""

    links: int = 0
    seals: int = 0
    published: int = 0
    since: int = 0
    """Links up to this one were taken as sealed."""
    role: str = ""
    one_role: bool = False
    """The application owns its tables: the rights of the database protect nothing."""
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.findings

    def document(self) -> dict[str, Any]:
        found = {name: value for name, value in asdict(self).items() if name != "findings"}
        told = [{"kind": one.kind, "where": one.where, "words": one.words} for one in self.findings]
        return {"ok": self.ok, **found, "findings": told}


def verify(folder: Path, *, recent: bool = False, now: datetime | None = None) -> Report:
    """Walk the chains and compare them with the seals in the database and in ``folder``.

    ``recent``: only what came after the last seal but one. Ends early once there are
    ``MOST_FINDINGS``.
    """
    began = time.monotonic()
    report = Report(role=settings.APP_DATABASE_ROLE)
    published, inside = _all_seals(folder, recent=recent)
    report.seals, report.published = len(inside), len(published)
    trusted = inside[-2] if recent and len(inside) > 1 else None
    checks: list[Iterable[Finding]] = [
        _guards(),
        _rights(report),
        _seals(inside, beyond=recent and len(inside) == RECENT),
        _outside(inside, published, before=(now or clock_now()) - ON_ITS_WAY),
        _links(inside, trusted, report),
    ]
    if not recent:
        checks += [_unlinked(), _versions()]
    for check in checks:
        for finding in check:
            report.findings.append(finding)
            if len(report.findings) >= MOST_FINDINGS:
                break
    report.seconds = round(time.monotonic() - began, 3)
    return report


def _all_seals(folder: Path, *, recent: bool) -> tuple[list[seals.Published], list[dict[str, Any]]]:
    """What is outside, and then what is inside: all of it, or of the last days."""
    if not recent:
        return list(seals.outside(folder)), seals.in_database()
    since = next((seal["sealed_at"][:10] for seal in seals.in_database(RECENT)), "")
    told = list(seals.outside(folder, since=since))
    inside = seals.in_database(RECENT)
    first = inside[0]["number"] if inside else 1
    return [one for one in told if not 0 < one.number < first], inside


def _guards() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger "
            "WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
        )
        standing = set(cursor.fetchall())
    for guard in GUARDS:
        if guard not in standing:
            yield Finding("guard_down", ".".join(guard))


def may_rewrite() -> list[tuple[str, str]]:
    """What the application's role may do to append-only tables and must not: (table, verb)."""
    role = settings.APP_DATABASE_ROLE
    with connection.cursor() as cursor:
        cursor.execute(RIGHTS, [[*APPEND_ONLY], [*REWRITING], role, role])
        return [(table, verb) for table, verb in cursor.fetchall()]


def owns_the_trail() -> bool:
    """Whether the application's role could give itself every right: it owns the table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper OR pg_has_role(r.oid, c.relowner, 'MEMBER') FROM pg_roles r, "
            "pg_class c WHERE r.rolname = %s AND c.oid = to_regclass(%s)",
            [settings.APP_DATABASE_ROLE, TRAIL[0]],
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def _rights(report: Report) -> Iterator[Finding]:
    """Where the application owns the tables that is said; else a right that came back is wrong."""
    report.one_role = owns_the_trail()
    if not report.one_role:
        for table, verb in may_rewrite():
            yield Finding("rights", f"{report.role} {verb} {table}")


def _seals(inside: Sequence[seals.Document], *, beyond: bool) -> Iterator[Finding]:
    """``beyond``: there are older ones than those looked at."""
    keys = signing.own_keys()
    before, end, last_hash = 0, 0, seals.FIRST
    for place, seal in enumerate(inside):
        where = f"#{seal['number']}"
        follows = (seal["number"], seal["first_seq"]) == (before + 1, end + 1)
        if not (follows and seal["previous_hash"] == last_hash) and (place or not beyond):
            yield Finding("seal_broken", where)
        if not seals.is_genuine(seal, keys):
            yield Finding("seal_forged", where)
        before, end, last_hash = seal["number"], seal["last_seq"], seal["hash"]


def _outside(
    inside: Sequence[seals.Document], published: Sequence[seals.Published], *, before: datetime
) -> Iterator[Finding]:
    """``before``: what was sealed by then must be outside; what is younger is on its way."""
    own = {seal["number"]: seal for seal in inside}
    told = {one.number for one in published}
    for one in published:
        if not one.number:
            yield Finding("seal_unreadable", one.where)
        elif one.number not in own:
            yield Finding("seal_lost", f"#{one.number} {one.where}")
        elif not hmac.compare_digest(str(one.seal["hash"]), own[one.number]["hash"]):
            yield Finding("seal_differs", f"#{one.number} {one.where}")
    for number, seal in own.items():
        if number not in told and datetime.fromisoformat(seal["sealed_at"]) < before:
            yield Finding("seal_unpublished", f"#{number}")


def _links(
    inside: Sequence[seals.Document], trusted: seals.Document | None, report: Report
) -> Iterator[Finding]:
    """Follow every chain; at the end of each seal compare its root and the ends it tells of."""
    ends: dict[str, str] = dict(trusted["heads"]) if trusted else {}
    report.since = seq = trusted["last_seq"] if trusted else 0
    due = [seal for seal in inside if seal["last_seq"] > seq]
    row: list[bytes] = []
    for links in chain.walk(after=seq):
        for link in links:
            if link.seq != seq + 1:
                yield Finding("link_missing", f"#{seq + 1}")
            seq = link.seq
            report.links += 1
            yield from _fit(link, ends)
            ends[link.stream] = link.hash.hex()
            row.append(link.hash)
            if due and seq >= due[0]["last_seq"]:
                seal = due.pop(0)
                if merkle.root_of(row).hex() != seal["root"] or ends != seal["heads"]:
                    yield Finding("seal_root", f"#{seal['number']}")
                row = []
    for seal in due:
        yield Finding("seal_root", f"#{seal['number']}")


def _fit(link: chain.Link, ends: Mapping[str, str]) -> Iterator[Finding]:
    where = f"#{link.seq}"
    if not link.text:
        yield Finding("record_missing", where)
    elif not link.fits:
        yield Finding("record_altered", where)
    elif link.stream not in {"", link.object_type}:
        yield Finding("stream_wrong", where)
    if link.previous.hex() != ends.get(link.stream, chain.GENESIS.hex()):
        yield Finding("chain_broken", where)


def _unlinked() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT r.id FROM audit_auditrecord r LEFT JOIN audit_auditlink l "
            "ON l.record_id = r.id WHERE l.seq IS NULL AND r.id <= "
            "(SELECT coalesce(max(record_id), 0) FROM audit_auditlink) - %s ORDER BY r.id LIMIT %s",
            [chain.LATE, MOST_FINDINGS],
        )
        found = cursor.fetchall()
    for (pk,) in found:
        yield Finding("record_unlinked", str(pk))


def _versions() -> Iterator[Finding]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT object_type, object_id, count(*) > count(DISTINCT version) "
            "FROM audit_auditrecord WHERE version IS NOT NULL GROUP BY object_type, object_id "
            "HAVING count(*) <> max(version) OR min(version) <> 1 "
            "OR count(*) > count(DISTINCT version) ORDER BY 1, 2 LIMIT %s",
            [MOST_FINDINGS],
        )
        found = cursor.fetchall()
    for object_type, object_id, twice in found:
        kind = "version_twice" if twice else "version_gap"
        yield Finding(kind, f"{object_type} {object_id}")
