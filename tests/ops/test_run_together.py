import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection

Together = Callable[..., list[Any]]


@pytest.mark.django_db(transaction=True)
def test_calls_run_at_the_same_moment_each_on_its_own_connection(run_together: Together) -> None:
    meeting = threading.Barrier(3)

    def call() -> int:
        meeting.wait(10)  # breaks unless all three are under way
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pid: int = cursor.fetchone()[0]
            return pid

    assert len(set(run_together(call, call, call))) == 3


@pytest.mark.django_db(transaction=True)
def test_a_call_that_raises_has_its_exception_in_its_place(run_together: Together) -> None:
    def fail() -> None:
        raise KeyError("lost")

    first, second = run_together(lambda: 1, fail)
    assert first == 1
    assert isinstance(second, KeyError)


@pytest.mark.django_db(transaction=True)
def test_after_the_emptying_between_tests_the_guards_stand_again() -> None:
    call_command("flush", interactive=False, verbosity=0)
    with connection.cursor() as cursor, pytest.raises(IntegrityError, match="append-only"):
        cursor.execute("TRUNCATE audit_auditrecord CASCADE")
