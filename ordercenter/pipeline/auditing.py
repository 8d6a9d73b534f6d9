"""The audit trail is sealed every ten minutes, proven every night, and its seals told to the group.

What was told cannot be untold: whoever rewrites the database still has the group against him.
"""

from datetime import datetime
from typing import Final

from ordercenter.audit import seals
from ordercenter.audit.chain import link_pending
from ordercenter.audit.models import AuditSeal
from ordercenter.audit.verify import Report, verify
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.notices import services as notices

SHOWN: Final = 10


def seal_audit(*, now: datetime | None = None) -> str:
    """Prove what came since the last seals, seal it, publish the seals outside the database.

    Once a day the group is told the last seal; at once, when something is wrong.
    """
    now = now or clock_now()
    folder = seals.seals_folder()
    while link_pending():
        pass
    report = verify(folder, recent=True)
    _alarm(report, now=now)
    made = seals.seal_up(now=now)
    published = seals.publish(folder)
    _tell_the_day(now=now)
    return f"{made} seals made, {published} published, {len(report.findings)} findings"


def verify_audit(*, now: datetime | None = None) -> str:
    """Walk the whole trail from its first record; tell the group what is wrong with it."""
    now = now or clock_now()
    report = verify(seals.seals_folder())
    _alarm(report, now=now)
    return f"{report.links} links in {report.seconds} s, {len(report.findings)} findings"


def _alarm(report: Report, *, now: datetime) -> None:
    if not report.ok:
        notices.tell(
            key=f"audit-broken:{now:%Y%m%d%H}",
            urgency="3",
            title=f"审计记录被改动：{len(report.findings)} 处不符",
            lines=[finding.words for finding in report.findings[:SHOWN]],
            now=now,
        )


def _tell_the_day(*, now: datetime) -> None:
    last = AuditSeal.objects.order_by("-number").first()
    day = now.astimezone(SHANGHAI).date()
    if last is not None:
        notices.tell(
            key=f"audit-seal:{day}",
            urgency="2",
            title=f"审计封签 {day}",
            lines=[f"第 {last.number} 封，共 {last.last_seq} 条记录", last.hash],
            now=now,
        )
