"""The jobs that seal the trail and prove it, and what the group is told of it (X59)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ordercenter.audit import seals
from ordercenter.audit.chain import link_pending
from ordercenter.audit.models import AuditSeal
from ordercenter.audit.verify import verify
from ordercenter.notices.models import Notice
from ordercenter.pipeline import auditing, tasks
from ordercenter.pipeline.schedules import JOBS
from tests.audit.trail import tamper, write
from tests.factories import RobotFactory

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "seals"
    monkeypatch.setattr(seals, "seals_folder", lambda: place)
    RobotFactory.create(min_tier="0")
    return place


def told(prefix: str) -> list[Notice]:
    return list(Notice.objects.filter(key__startswith=prefix).order_by("pk"))


def test_what_was_written_is_linked_sealed_and_published_by_one_job(folder: Path) -> None:
    write(1, 2, 3)
    assert auditing.seal_audit(now=NOW) == "1 seals made, 1 published, 0 findings"
    assert auditing.seal_audit(now=NOW) == "0 seals made, 0 published, 0 findings"
    (path,) = folder.glob("*.jsonl")
    assert path.name == "2026-11-22.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    assert verify(folder).ok


def test_the_group_is_told_one_seal_a_day() -> None:
    for hours in (0, 1, 13, 14):
        write(1, order=hours + 1)
        auditing.seal_audit(now=NOW + timedelta(hours=hours))
    first, second = told("audit-seal:")
    assert first.text.endswith(AuditSeal.objects.get(number=1).hash)
    assert "2026-11-22" in first.title
    assert "2026-11-23" in second.title, "the day is Beijing's"


def test_a_record_changed_by_hand_is_told_at_the_next_run_and_loudly() -> None:
    write(1, 2, 3)
    auditing.seal_audit(now=NOW)
    assert auditing.verify_audit(now=NOW).endswith("0 findings")
    tamper("audit_auditrecord", "UPDATE audit_auditrecord SET reason = '别的' WHERE version = 2")
    assert auditing.verify_audit(now=NOW).endswith("1 findings")
    auditing.verify_audit(now=NOW + timedelta(minutes=10))
    (notice,) = told("audit-broken:")
    assert notice.urgency == "3"
    assert "#2" in notice.text


def test_a_record_changed_before_it_was_sealed_is_told_by_the_sealing_job() -> None:
    write(1, 2, 3)
    link_pending()
    tamper("audit_auditrecord", "UPDATE audit_auditrecord SET reason = '别的' WHERE version = 2")
    assert auditing.seal_audit(now=NOW).endswith("1 findings")
    assert told("audit-broken:")


def test_both_are_standing_jobs() -> None:
    every = {job.func.rpartition(".")[2]: job.minutes for job in JOBS}
    assert (every["seal_audit"], every["verify_audit"]) == (10, 24 * 60)
    assert tasks.seal_audit().startswith("0 seals")
    assert tasks.verify_audit().startswith("0 links")
