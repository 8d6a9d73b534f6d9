"""What every test may count on: a database server that runs, and races that really race."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.core.management.commands import flush
from django.db import connections
from django.db.backends.postgresql.operations import DatabaseOperations
from pytest_django import DjangoDbBlocker

from ordercenter.audit import seals
from ordercenter.catalog import gifts
from ordercenter.core.bulk import collect_seldom
from ordercenter.pipeline import publishing
from ordercenter.run.database import NotReady, ensure_database, leave_database
from tests.emptying import Ground
from tests.sharing import by_group, longest_first

RACE_SECONDS = 60


def pytest_configure(config: pytest.Config) -> None:
    """Bring the server up before pytest-django wants its test database."""
    try:
        ensure_database()
    except NotReady as error:
        pytest.exit(str(error), returncode=3)


def pytest_unconfigure(config: pytest.Config) -> None:
    leave_database()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = longest_first(items)


def pytest_collection_finish() -> None:
    collect_seldom()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return by_group(config, log)


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


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Before every test that needs it the database is as the migrations left it."""
    with django_db_blocker.unblock():
        ground = Ground.found()

    def emptying(operations: DatabaseOperations, statements: Sequence[str]) -> None:
        ground.empty(operations.connection, statements)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "execute_sql_flush", emptying)
        patch.setattr(flush, "emit_post_migrate_signal", lambda *_, **__: None)
        yield


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
