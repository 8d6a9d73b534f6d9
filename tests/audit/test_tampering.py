"""Twelve kinds of tampering and two more, each by somebody who owns the database: all are found.

He can switch triggers off, change and delete rows, and compute every hash anew. What he does
not have: the key that signs the seals, and the files outside.
"""

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from ordercenter.audit import chain, seals
from ordercenter.audit.chain import link_pending
from ordercenter.audit.models import AuditLink, AuditRecord, AuditSeal
from ordercenter.audit.seals import publish, seal_up
from ordercenter.audit.verify import ON_ITS_WAY, WORDS, verify
from ordercenter.core.clock import now as clock_now
from tests.audit.trail import seal, sql, tamper, write

pytestmark = pytest.mark.django_db
RECORDS, LINKS, SEALS = "audit_auditrecord", "audit_auditlink", "audit_auditseal"
OTHER_KEYS = {1: "b3RoZXIta2V5LW90aGVyLWtleS1vdGhlci1rZXkhISE="}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two streams, three seals, all of it published."""
    folder = tmp_path / "seals"
    write(1, 2, 3)
    write(1, 2, order=9, object_type="rule_set")
    seal(folder)
    write(4, 5)
    seal(folder)
    write(1, 2, 3, order=2)
    seal(folder)
    return folder


def kinds(folder: Path, *, recent: bool = False) -> set[str]:
    later = clock_now() + ON_ITS_WAY + timedelta(minutes=1)
    return {finding.kind for finding in verify(folder, recent=recent, now=later).findings}


def test_a_trail_nobody_touched_is_whole(folder: Path) -> None:
    report = verify(folder)
    assert report.document()["findings"] == []
    assert (report.ok, report.links, report.seals, report.published) == (True, 10, 3, 3)
    write(6)
    assert verify(folder).ok, "a record that is not linked yet is no finding"
    link_pending()
    assert verify(folder).ok, "nor is a link that is not sealed yet"
    seal_up(now=clock_now())
    assert verify(folder).ok, "nor a seal that is on its way out"


def test_an_empty_trail_is_whole(tmp_path: Path) -> None:
    assert verify(tmp_path / "nothing").ok


def record_at(place: int) -> int:
    return AuditRecord.objects.order_by("pk").values_list("pk", flat=True)[place]


def a_changed_value() -> None:
    tamper(RECORDS, "UPDATE audit_auditrecord SET change = '{}' WHERE id = %s", record_at(1))


def a_changed_actor() -> None:
    tamper(RECORDS, "UPDATE audit_auditrecord SET actor_name = '李四' WHERE id = %s", record_at(1))


def a_changed_time() -> None:
    tamper(
        RECORDS,
        "UPDATE audit_auditrecord SET created_at = created_at - interval '1s' WHERE id = %s",
        record_at(1),
    )  # fmt: skip


def drop(*places: int) -> None:
    pks = [record_at(place) for place in places]
    tamper(LINKS, "DELETE FROM audit_auditlink WHERE record_id = ANY(%s)", pks)
    tamper(RECORDS, "DELETE FROM audit_auditrecord WHERE id = ANY(%s)", pks)


def a_deleted_middle() -> None:
    drop(1)


def a_deleted_tail() -> None:
    drop(9)


def relink() -> None:
    """Compute every hash anew over what stands there now, as the linker would."""
    tamper(LINKS, "DELETE FROM audit_auditlink")
    while link_pending():
        pass


def an_inserted_record() -> None:
    """Back-dated, between two others: the chain is made anew around it."""
    write(1, order=77)
    last = AuditRecord.objects.latest("pk")
    tamper(LINKS, "DELETE FROM audit_auditlink")
    tamper(
        RECORDS, "UPDATE audit_auditrecord SET id = -1, created_at = %s WHERE id = %s",
        clock_now() - timedelta(days=30), last.pk,
    )  # fmt: skip
    while link_pending():
        pass


def two_swapped() -> None:
    one, two = record_at(0), record_at(1)
    tamper(LINKS, "UPDATE audit_auditlink SET seq = -seq WHERE record_id = ANY(%s)", [one, two])
    tamper(LINKS, "UPDATE audit_auditlink SET seq = 3 + seq WHERE seq < 0")


def a_truncated_chain() -> None:
    """All of it gone, the seals in the database included."""
    tamper(LINKS, "DELETE FROM audit_auditlink")
    tamper(RECORDS, "DELETE FROM audit_auditrecord")
    tamper(SEALS, "DELETE FROM audit_auditseal")


def a_chain_linked_anew() -> None:
    """A value changed, and every hash after it computed anew."""
    a_changed_value()
    relink()


def seal_anew() -> None:
    tamper(SEALS, "DELETE FROM audit_auditseal")
    seal_up(now=clock_now())


def seals_replaced() -> None:
    """Chain and seals made anew, signed with a key of his own."""
    a_chain_linked_anew()
    with override_settings(ORDERCENTER_DATA_KEYS=OTHER_KEYS):
        seal_anew()


def seals_replaced_with_our_own_key() -> None:
    """He got at the key as well: only what is outside is against him."""
    a_chain_linked_anew()
    seal_anew()


def a_trigger_left_off() -> None:
    sql("ALTER TABLE audit_auditrecord DISABLE TRIGGER append_only")
    sql("UPDATE audit_auditrecord SET reason = '别的' WHERE id = %s", record_at(4))


def a_version_twice() -> None:
    sql("DROP INDEX audit_version_once")
    write(2)
    link_pending()


def a_record_taken_before_it_had_a_place() -> None:
    write(6, 7)
    tamper(RECORDS, "DELETE FROM audit_auditrecord WHERE object_id = 1 AND version = 6")
    link_pending()


def a_record_in_another_chain() -> None:
    """Hidden where nobody looks: a rule's record hung onto another stream."""
    tamper(LINKS, "UPDATE audit_auditlink SET stream = 'sku' WHERE stream = 'rule_set'")


TAMPERINGS: list[tuple[Callable[[], None], set[str]]] = [
    (a_changed_value, {"record_altered"}),
    (a_changed_actor, {"record_altered"}),
    (a_changed_time, {"record_altered"}),
    (a_deleted_middle, {"link_missing", "chain_broken", "version_gap", "seal_root"}),
    (a_deleted_tail, {"seal_root"}),
    (an_inserted_record, {"seal_root"}),
    (two_swapped, {"chain_broken", "seal_root"}),
    (a_truncated_chain, {"seal_lost"}),
    (a_chain_linked_anew, {"seal_root"}),
    (seals_replaced, {"seal_forged", "seal_differs", "seal_lost"}),
    (seals_replaced_with_our_own_key, {"seal_differs", "seal_lost"}),
    (a_trigger_left_off, {"guard_down", "record_altered"}),
    (a_version_twice, {"version_twice"}),
    (a_record_taken_before_it_had_a_place, {"version_gap"}),
    (a_record_in_another_chain, {"stream_wrong", "seal_root"}),
]


@pytest.mark.parametrize(
    ("hand", "found"), TAMPERINGS, ids=[hand.__name__ for hand, _ in TAMPERINGS]
)
def test_every_kind_of_tampering_is_found(
    folder: Path, hand: Callable[[], None], found: set[str]
) -> None:
    hand()
    assert kinds(folder) == found


def test_an_old_backup_restored_does_not_match_what_is_outside(folder: Path) -> None:
    """X60: what was decided after it is gone, chain and seals fit each other perfectly."""
    last = AuditSeal.objects.latest("number")
    pks = list(AuditLink.objects.filter(seq__gte=last.first_seq).values_list("record", flat=True))
    tamper(SEALS, "DELETE FROM audit_auditseal WHERE number = %s", last.number)
    tamper(LINKS, "DELETE FROM audit_auditlink WHERE seq >= %s", last.first_seq)
    tamper(RECORDS, "DELETE FROM audit_auditrecord WHERE id = ANY(%s)", pks)
    assert kinds(folder) == {"seal_lost"}


def test_an_old_backup_that_went_on_living_is_found_as_well(folder: Path) -> None:
    test_an_old_backup_restored_does_not_match_what_is_outside(folder)
    write(1, 2, 3, order=3)
    seal(folder)
    assert kinds(folder) == {"seal_differs"}


@pytest.mark.parametrize("what", ["all", "one line", "nonsense"])
def test_files_outside_that_were_taken_away_or_spoiled_are_missed(folder: Path, what: str) -> None:
    (path,) = folder.glob("*.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text({"all": "", "one line": lines[0] + lines[2], "nonsense": "{}\n"}[what])
    wanted = {"seal_unreadable", "seal_unpublished"} if what == "nonsense" else {"seal_unpublished"}
    assert kinds(folder) == wanted
    assert verify(folder).ok == (what != "nonsense"), "a young seal may still be on its way"


def test_a_right_that_came_back_is_a_finding(folder: Path, settings: Any) -> None:
    sql(f"GRANT DELETE ON audit_auditlink TO {settings.APP_DATABASE_ROLE}")
    assert kinds(folder) == {"rights"}


def test_an_old_record_without_a_place_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "LATE", 0)
    write(1, order=5)
    tamper(RECORDS, "UPDATE audit_auditrecord SET id = -5 WHERE object_id = 5")
    assert kinds(folder) == {"record_unlinked"}


def test_the_quick_look_covers_what_came_since_the_last_seal_but_one(folder: Path) -> None:
    report = verify(folder, recent=True)
    assert (report.ok, report.since, report.links) == (True, 7, 3)
    tamper(RECORDS, "UPDATE audit_auditrecord SET reason = '' WHERE id = %s", record_at(1))
    assert kinds(folder, recent=True) == set()
    tamper(RECORDS, "UPDATE audit_auditrecord SET reason = '' WHERE id = %s", record_at(8))
    assert kinds(folder, recent=True) == {"record_altered"}


def test_sealing_again_seals_and_publishes_nothing_twice(folder: Path) -> None:
    assert (seal_up(now=clock_now()), publish(folder)) == (0, 0)
    write(6)
    link_pending()
    assert (seal_up(now=clock_now()), publish(folder), publish(folder)) == (1, 1, 0)


def test_many_links_take_several_seals(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "MOST_A_SEAL", 2)
    write(*range(1, 6), order=30)
    link_pending()
    assert seal_up(now=clock_now()) == 3
    publish(folder)
    assert verify(folder).ok


def test_the_command_says_what_it_found_in_json_and_in_words(folder: Path) -> None:
    out = StringIO()
    call_command("verify_audit", "--json", seals=str(folder), stdout=out)
    told = json.loads(out.getvalue())
    assert (told["ok"], told["links"], told["findings"]) == (True, 10, [])
    a_changed_value()
    out = StringIO()
    with pytest.raises(CommandError, match="1"):
        call_command("verify_audit", "--json", seals=str(folder), stdout=out)
    (finding,) = json.loads(out.getvalue())["findings"]
    assert (finding["kind"], finding["where"]) == ("record_altered", "#2")
    assert str(WORDS["record_altered"]) in finding["words"]
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("verify_audit", seals=str(folder), stdout=out)
    assert "#2" in out.getvalue()


def test_the_walk_reads_in_pieces_not_record_by_record(
    folder: Path, django_assert_max_num_queries: Any
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    with django_assert_max_num_queries(8):
        verify(folder)
