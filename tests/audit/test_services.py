"""The record is written with the change and never rewritten."""

import pytest
from django.db import IntegrityError, transaction

from ordercenter.audit.chain import link_pending
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.audit.seals import seal_up
from ordercenter.audit.services import record
from ordercenter.core.actor import PIPELINE, Actor, ActorKind
from ordercenter.core.clock import now as clock_now
from tests.audit.trail import sql, write


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


KEYS = {"audit_auditrecord": "id", "audit_auditlink": "seq", "audit_auditseal": "number"}


@pytest.mark.django_db
@pytest.mark.parametrize("table", list(KEYS))
@pytest.mark.parametrize("verb", ["UPDATE {} SET {} = 9", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_the_database_refuses_to_rewrite_history(table: str, verb: str) -> None:
    write(1)
    link_pending()
    seal_up(now=clock_now())
    with pytest.raises(IntegrityError, match="append-only"):
        sql(verb.format(table, KEYS[table]))
