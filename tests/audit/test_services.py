"""The record is written with the change, never rewritten, and a chain shows who tried."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from ordercenter.audit.models import Action, AuditLink, AuditRecord
from ordercenter.audit.services import Entry, broken_links, link_pending, record, record_many
from ordercenter.core.actor import PIPELINE, Actor, ActorKind
from ordercenter.core.clock import now as clock_now


def write(*versions: int, order: int = 1) -> None:
    with transaction.atomic():
        record_many(
            [
                Entry(Action.ORDER_MOVED, "order", order, {"n": [v - 1, v]}, "原因", v)
                for v in versions
            ],
            actor=PIPELINE,
        )


def sql(statement: str, *values: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(statement, values)


def tamper(table: str, statement: str, *values: object) -> None:
    """Do what only somebody with the database's own password can do."""
    sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    sql(statement, *values)
    sql(f"ALTER TABLE {table} ENABLE TRIGGER USER")


@pytest.mark.django_db(transaction=True)
def test_a_record_outside_of_a_transaction_is_refused() -> None:
    with pytest.raises(RuntimeError):
        record(Action.ORDER_MOVED, object_type="order", object_id=1, actor=PIPELINE)
    assert not AuditRecord.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_record_vanishes_with_the_change_it_belongs_to() -> None:
    with transaction.atomic():
        record(Action.ORDER_MOVED, object_type="order", object_id=1, actor=PIPELINE)
        transaction.set_rollback(True)
    assert not AuditRecord.objects.exists()


@pytest.mark.django_db
def test_a_record_tells_who_did_what_to_what_in_which_role_and_why() -> None:
    actor = Actor(ActorKind.PERSON, "7", "李主管" * 60, "warehouse_supervisor", "req-1")
    record(
        Action.HOLD_RELEASED, object_type="order", object_id=9, actor=actor,
        change={"status": ["cleared", "routed"]}, reason="原因" * 300, version=3,
    )  # fmt: skip
    row = AuditRecord.objects.get()
    assert (row.object_type, row.object_id, row.version) == ("order", 9, 3)
    assert (row.actor_id, row.actor_role, row.request_id) == ("7", "warehouse_supervisor", "req-1")
    assert row.change == {"status": ["cleared", "routed"]}
    assert (len(row.actor_name), len(row.reason)) == (150, 500)


@pytest.mark.django_db
def test_one_version_of_one_object_is_recorded_once() -> None:
    write(1)
    with pytest.raises(IntegrityError, match="audit_version_once"), transaction.atomic():
        write(1)
    write(1, order=2)


@pytest.mark.django_db
@pytest.mark.parametrize("table", ["audit_auditrecord", "audit_auditlink"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET id = 9", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_the_database_refuses_to_rewrite_history(table: str, verb: str) -> None:
    write(1)
    link_pending()
    statement = verb.format(table)
    if table == "audit_auditlink":
        statement = statement.replace("SET id = 9", "SET seq = 9")
    with pytest.raises(IntegrityError, match="append-only"):
        sql(statement)


@pytest.mark.django_db
def test_every_record_gets_one_place_in_the_chain_and_the_chain_is_whole() -> None:
    write(1, 2, 3)
    assert link_pending() == 3
    write(4, 5)
    assert (link_pending(limit=1), link_pending(), link_pending()) == (1, 1, 0)
    assert list(AuditLink.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2, 3, 4, 5]
    assert broken_links() == []
    assert broken_links(chunk=2) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("reason", "别的原因"),
        ("change", '{"n": [1, 99]}'),
        ("actor_id", "somebody-else"),
        ("actor_name", "张三"),
        ("created_at", clock_now() - timedelta(days=1)),
        ("version", 77),
        ("object_id", 77),
        ("action", "hold_released"),
    ],
)
def test_an_altered_record_is_found(column: str, value: Any) -> None:
    write(1, 2, 3)
    link_pending()
    middle = AuditRecord.objects.order_by("pk")[1].pk
    tamper(
        "audit_auditrecord",
        f"UPDATE audit_auditrecord SET {column} = %s WHERE id = %s",  # noqa: S608 - own names
        value,
        middle,
    )
    assert broken_links() == ["link 2 does not fit its record"]


@pytest.mark.django_db
def test_a_link_taken_out_is_found() -> None:
    write(1, 2, 3)
    link_pending()
    tamper("audit_auditlink", "DELETE FROM audit_auditlink WHERE seq = 2")
    assert "link 2 is missing" in broken_links()


@pytest.mark.django_db
def test_two_records_that_changed_places_are_found() -> None:
    write(1, 2, 3)
    link_pending()
    tamper("audit_auditlink", "UPDATE audit_auditlink SET seq = -seq WHERE seq < 3")
    tamper("audit_auditlink", "UPDATE audit_auditlink SET seq = 3 + seq WHERE seq < 0")
    assert len(broken_links()) == 3


@pytest.mark.django_db
def test_a_back_dated_record_slipped_into_the_middle_of_the_chain_is_found() -> None:
    write(1, 2, 3)
    link_pending()
    write(1, order=2)
    slipped = AuditRecord.objects.latest("pk").pk
    tamper("audit_auditlink", "UPDATE audit_auditlink SET seq = seq + 100 WHERE seq > 1")
    tamper("audit_auditlink", "UPDATE audit_auditlink SET seq = seq - 99 WHERE seq > 100")
    tamper(
        "audit_auditlink",
        "INSERT INTO audit_auditlink (seq, record_id, previous_hash, hash) "
        "SELECT 2, %s, hash, hash FROM audit_auditlink WHERE seq = 1",
        slipped,
    )
    assert "link 2 does not fit its record" in broken_links()
