"""What every test may count on: a database server that runs, and races that really race."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction
from django.db.backends.postgresql.operations import DatabaseOperations
from psycopg import sql

from ordercenter.audit import seals
from ordercenter.catalog import gifts
from ordercenter.pipeline import publishing
from ordercenter.run.database import NotReady, ensure_database, is_embedded, leave_database

RACE_SECONDS = 60


def pytest_configure(config: pytest.Config) -> None:
    """Bring the server up before pytest-django wants its test database."""
    try:
        ensure_database()
    except NotReady as error:
        pytest.exit(str(error), returncode=3)


def pytest_unconfigure(config: pytest.Config) -> None:
    leave_database()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Of two processes that share the tests, one takes a whole file, and one all of the browser.

    The browser's tests come last of all, so that nothing follows them in their process.
    """
    group = "browser" if item.get_closest_marker("browser") else item.nodeid.split("::")[0]
    item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: the browser's event loop runs on in its thread, and no test
    after it could start one of its own."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.fixture(autouse=True, scope="session")
def _seals_of_tests_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests seal is not published beside the seals of the installation."""
    folder = tmp_path_factory.mktemp("seals")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seals, "seals_folder", lambda: folder)
        yield


@pytest.fixture(autouse=True)
def _new_gift_strategies() -> None:
    """No test gives by the strategies of another."""
    gifts.forget()


@pytest.fixture(autouse=True, scope="session")
def _emptying_past_the_guards() -> Iterator[None]:
    """Let the emptying between two tests, and nothing else, pass the append-only tables.

    They refuse to be emptied, as they must; no trigger fires in the one transaction in which
    Django empties the test database. Only what has rows is emptied: to truncate every table
    takes longer than most tests.
    """

    def emptying(operations: DatabaseOperations, statements: Sequence[str]) -> None:
        connection = operations.connection
        tables = [name for one in statements for name in re.findall(r'"(\w+)"', one)]
        full = " UNION ALL ".join(
            f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})"  # noqa: S608 - our own tables
            for name in tables
        )
        _let_triggers_rest(*(connection.settings_dict[key] for key in ("HOST", "PORT", "USER")))
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(full)
            for (name,) in cursor.fetchall():
                cursor.execute(f"DELETE FROM {name}")  # noqa: S608 - our own tables

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "execute_sql_flush", emptying)
        yield


@cache
def _let_triggers_rest(host: str, port: str, role: str) -> None:
    """Allow the role of the tests to set what only a superuser may.

    A server elsewhere has to allow it by itself.
    """
    if not is_embedded():
        return
    with psycopg.connect(host=host, port=port, user="postgres", dbname="postgres") as admin:
        grant = sql.SQL("GRANT SET ON PARAMETER session_replication_role TO {}")
        admin.execute(grant.format(sql.Identifier(role)))


@pytest.fixture
def run_together() -> Callable[..., list[Any]]:
    """Return what runs calls at the same moment, each in a thread and a connection of its own.

    The threads meet at one barrier. The results come in the order of the calls;
    a call that raised has its exception there instead.
    """

    def together(*calls: Callable[[], Any]) -> list[Any]:
        results: list[Any] = [None] * len(calls)
        barrier = threading.Barrier(len(calls))
        threads = [
            threading.Thread(target=_one, args=(barrier, call, results, place), daemon=True)
            for place, call in enumerate(calls)
        ]
        _finish(threads)
        return results

    return together


def _one(
    barrier: threading.Barrier, call: Callable[[], Any], results: list[Any], place: int
) -> None:
    try:
        connections["default"].ensure_connection()  # connecting takes longer than the race
        barrier.wait(RACE_SECONDS)
        results[place] = call()
    except BaseException as error:  # noqa: BLE001 - the test judges it
        results[place] = error
    finally:
        connections.close_all()


def _finish(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(RACE_SECONDS)
    if stuck := sum(thread.is_alive() for thread in threads):
        pytest.fail(f"{stuck} of {len(threads)} calls did not end within {RACE_SECONDS} s")


@pytest.fixture(autouse=True)
def _listeners_asked_anew() -> None:
    """Whether shops are told stock figures is remembered for seconds; tests take less."""
    publishing.listeners.forget()
