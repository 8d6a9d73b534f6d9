"""The application's role reads and adds to the trail; nothing it says can change it (A2)."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from ordercenter.audit.chain import link_pending
from ordercenter.audit.checks import the_role_cannot_rewrite_the_trail
from ordercenter.audit.seals import seal_up
from ordercenter.audit.verify import may_rewrite, owns_the_trail, verify
from ordercenter.core.clock import now as clock_now
from ordercenter.core.grants import APPEND_ONLY
from tests.audit.trail import write

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def application() -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
    """The test database as the order center itself would reach it."""
    chosen = connection.settings_dict
    with psycopg.connect(
        host=chosen["HOST"], port=chosen["PORT"], dbname=chosen["NAME"],
        user=settings.APP_DATABASE_ROLE, autocommit=True,
    ) as line:  # fmt: skip
        yield line


def test_the_application_is_neither_superuser_nor_owner_of_anything(
    application: "psycopg.Connection[tuple[Any, ...]]",
) -> None:
    row = application.execute(
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles "
        "WHERE rolname = current_user"
    ).fetchone()
    assert row == (False, False, False, False)
    owned = "SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole"
    assert application.execute(owned).fetchone() == (0,)
    member = "SELECT count(*) FROM pg_auth_members WHERE member = current_user::regrole"
    assert application.execute(member).fetchone() == (0,)


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET {} = {}",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "ALTER TABLE {} DISABLE TRIGGER append_only",
        "DROP TABLE {}",
        "DROP TRIGGER append_only ON {}",
        "GRANT ALL ON {} TO CURRENT_USER WITH GRANT OPTION",
    ],
)
def test_the_application_cannot_touch_what_is_append_only(
    application: "psycopg.Connection[tuple[Any, ...]]", table: str, statement: str
) -> None:
    key = {"audit_auditlink": "seq", "audit_auditseal": "number"}.get(table, "id")
    text = statement.format(table, key, key)
    if statement.startswith("GRANT"):
        application.execute(text.encode())  # a warning, and no right comes of it
        assert may_rewrite() == []
        return
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        application.execute(text.encode())


def test_the_application_cannot_step_round_the_triggers(
    application: "psycopg.Connection[tuple[Any, ...]]",
) -> None:
    for text in (
        "SET session_replication_role = replica",
        "SET ROLE ordercenter",
        "SET SESSION AUTHORIZATION postgres",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN RETURN NEW; END'",
        "CREATE TABLE public.other (id int)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            application.execute(text.encode())


def test_the_application_may_do_all_its_work(
    application: "psycopg.Connection[tuple[Any, ...]]",
) -> None:
    """Every table of ours can be read and added to; all but those can be changed, too."""
    rows = application.execute(
        "SELECT relname, has_table_privilege(oid, 'SELECT'), has_table_privilege(oid, 'INSERT'), "
        "has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE') "
        "FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    ).fetchall()
    assert len(rows) > 100
    for name, reads, adds, changes in rows:
        assert (reads, adds) == (True, True), name
        assert changes == (name not in APPEND_ONLY), name
    lost = application.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND "
        "CASE WHEN relkind = 'S' THEN NOT has_sequence_privilege(oid, 'USAGE') END"
    ).fetchall()
    assert lost == []


def test_the_application_adds_records_links_and_seals(tmp_path: Any) -> None:
    """As it does in the field: the same services over a connection of the application's role."""
    write(1)
    chosen = connection.settings_dict["USER"]
    connection.close()
    connection.settings_dict["USER"] = settings.APP_DATABASE_ROLE
    try:
        write(2)
        assert link_pending() == 2
        assert seal_up(now=clock_now()) == 1
        assert verify(tmp_path).links == 2
    finally:
        connection.close()
        connection.settings_dict["USER"] = chosen


def test_a_deployment_with_two_roles_passes_the_check_and_one_with_one_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not owns_the_trail()
    assert the_role_cannot_rewrite_the_trail() == []
    with connection.cursor() as cursor:
        cursor.execute(f"GRANT UPDATE ON audit_auditrecord TO {settings.APP_DATABASE_ROLE}")
    try:
        (told,) = the_role_cannot_rewrite_the_trail()
        assert "UPDATE audit_auditrecord" in told.msg
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"REVOKE UPDATE ON audit_auditrecord FROM {settings.APP_DATABASE_ROLE}")
    monkeypatch.setattr(settings, "APP_DATABASE_ROLE", connection.settings_dict["USER"])
    assert owns_the_trail()
    (told,) = the_role_cannot_rewrite_the_trail()
    assert told.id == "audit.W001"
