"""One chain a stream, one place a record, and no two ways on from any link (K26)."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.db.backends.utils import CursorWrapper

from ordercenter.audit import chain
from ordercenter.audit.chain import link_pending
from ordercenter.audit.models import AuditLink, AuditRecord
from ordercenter.core.clock import now as clock_now
from tests.audit.trail import tamper, write


def follows() -> dict[str, list[bool]]:
    """For each stream, link by link: whether it follows the one before it."""
    found: dict[str, list[bool]] = {}
    ends: dict[str, bytes] = {}
    for links in chain.walk():
        for link in links:
            fits = link.fits and link.previous == ends.get(link.stream, chain.GENESIS)
            found.setdefault(link.stream, []).append(fits)
            ends[link.stream] = link.hash
    return found


@pytest.mark.django_db
def test_every_record_gets_one_place_in_the_chain_of_its_stream() -> None:
    write(1, 2, 3)
    write(1, 2, object_type="sku")
    assert link_pending() == 5
    write(4, 5)
    assert (link_pending(limit=1), link_pending(), link_pending()) == (1, 1, 0)
    assert list(AuditLink.objects.order_by("seq").values_list("seq", flat=True)) == [*range(1, 8)]
    assert follows() == {"order": [True] * 5, "sku": [True] * 2}
    assert chain.streams() == ["order", "sku"]
    assert [len(links) for links in chain.walk(chunk=3)] == [3, 3, 1]


@pytest.mark.django_db
def test_each_stream_begins_anew_and_goes_on_where_it_ended() -> None:
    write(1)
    link_pending()
    write(1, object_type="sku")
    write(2)
    link_pending()
    first, sku, second = AuditLink.objects.order_by("seq")
    assert bytes(sku.previous_hash) == chain.GENESIS
    assert bytes(second.previous_hash) == bytes(first.hash)
    ends = chain.heads(["order", "sku", "none"])
    assert ends == {"order": bytes(second.hash), "sku": bytes(sku.hash)}
    assert chain.heads(["order"], upto=2) == {"order": bytes(first.hash)}


@pytest.mark.django_db
def test_a_chain_from_before_there_were_streams_still_stands() -> None:
    """Its links have no stream; the streams begin beside it."""
    write(1, 2)
    link_pending()
    tamper("audit_auditlink", "UPDATE audit_auditlink SET stream = ''")
    write(3)
    link_pending()
    assert follows() == {"": [True, True], "order": [True]}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("reason", "别的原因"),
        ("change", '{"n": [1, 99]}'),
        ("actor_id", "somebody-else"),
        ("actor_kind", "person"),
        ("actor_name", "张三"),
        ("actor_role", "ceo"),
        ("request_id", "other"),
        ("created_at", clock_now() - timedelta(days=1)),
        ("version", 77),
        ("object_id", 77),
        ("object_type", "sku"),
        ("action", "hold_released"),
    ],
)
def test_no_column_of_a_linked_record_can_be_changed_unseen(column: str, value: Any) -> None:
    write(1, 2, 3)
    link_pending()
    middle = AuditRecord.objects.order_by("pk")[1].pk
    tamper(
        "audit_auditrecord",
        f"UPDATE audit_auditrecord SET {column} = %s WHERE id = %s",  # noqa: S608 - own names
        value,
        middle,
    )
    assert follows() == {"order": [True, False, True]}


# --- K26: two who append --------------------------------------------------------------------


def append(links: int) -> int:
    return sum(link_pending(limit=5) for _ in range(links))


@pytest.mark.django_db(transaction=True)
def test_k26_linkers_and_writers_at_once_make_no_fork_and_miss_nothing(run_together: Any) -> None:
    write(*range(1, 41))
    writers = [lambda n=n: write(*range(1, 21), order=n) for n in (2, 3)]
    results = run_together(*writers, *[lambda: append(12)] * 4)
    assert not any(isinstance(result, Exception) for result in results), results
    while link_pending():
        pass
    assert follows() == {"order": [True] * 80}
    previous = list(AuditLink.objects.values_list("previous_hash", flat=True))
    assert len({bytes(one) for one in previous}) == 80


@pytest.mark.django_db(transaction=True)
def test_k26_control_without_the_linkers_lock_the_second_is_refused_by_the_database(
    run_together: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two read the same end; no chain forks, because nothing may follow one link twice."""
    write(1, 2)
    execute = CursorWrapper.execute

    def without_the_lock(self: CursorWrapper, statement: Any, params: Any = None) -> Any:
        if "pg_try_advisory_xact_lock" in str(statement):
            statement, params = "SELECT true", None
        return execute(self, statement, params)

    both = threading.Barrier(2)
    plain = chain.heads

    def heads(*args: Any, **more: Any) -> Any:
        found = plain(*args, **more)
        both.wait(20)
        return found

    monkeypatch.setattr(chain, "heads", heads)
    monkeypatch.setattr(CursorWrapper, "execute", without_the_lock)
    results = run_together(link_pending, link_pending)
    assert sorted(type(one).__name__ for one in results) == ["IntegrityError", "int"], results
    assert isinstance(next(one for one in results if not isinstance(one, int)), IntegrityError)
    assert follows() == {"order": [True, True]}
