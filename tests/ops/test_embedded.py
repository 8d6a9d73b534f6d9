"""The embedded server on a data folder of the test's own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ordercenter.core import embedded
from ordercenter.core.embedded import (
    APP_ROLE,
    SOCKET_DIR_LIMIT,
    EmbeddedServerError,
    connection_settings,
    ensure_server,
    leave_server,
)

STAY = """
import sys, time
from pathlib import Path
from ordercenter.core.embedded import ensure_server
ensure_server(Path(sys.argv[1]))
print("attached", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def data_dir(open_folder: Path) -> Iterator[Path]:
    folder = open_folder / "v"
    yield folder
    leave_server(folder)


def ask(data_dir: Path, question: str = "SELECT 'alive'") -> object:
    with connected(data_dir) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


def tell(data_dir: Path, statement: str) -> None:
    with connected(data_dir) as connection:
        connection.execute(statement.encode())


def connected(data_dir: Path) -> "psycopg.Connection[tuple[object, ...]]":
    found = connection_settings(data_dir)
    return psycopg.connect(
        host=found["HOST"], port=found["PORT"], user=found["USER"], dbname=found["NAME"]
    )


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "pg/cluster/postmaster.pid").read_text().split("\n")[0])


def is_up(data_dir: Path) -> bool:
    try:
        return ask(data_dir) == "alive"
    except psycopg.OperationalError:
        return False


def neighbor(data_dir: Path) -> "subprocess.Popen[str]":
    """Start another process that uses the server until its stdin closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", STAY, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "attached"
    return process


def test_a_fresh_folder_becomes_a_server_that_answers(data_dir: Path) -> None:
    ensure_server(data_dir)
    assert ask(data_dir) == "alive"
    assert ask(data_dir, "SHOW server_encoding") == "UTF8"
    assert ask(data_dir, "SELECT upper('é')") == "É"


def test_no_tcp_port_is_opened_and_commits_are_durable(data_dir: Path) -> None:
    ensure_server(data_dir)
    assert ask(data_dir, "SHOW listen_addresses") == ""
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        assert ask(data_dir, f"SHOW {name}") == "on"


def test_the_role_of_the_center_may_create_databases_but_is_no_superuser(data_dir: Path) -> None:
    ensure_server(data_dir)
    question = "SELECT rolcreatedb AND NOT rolsuper FROM pg_roles WHERE rolname = current_user"
    assert ask(data_dir, question) is True


def test_what_was_written_is_there_after_the_server_was_stopped(data_dir: Path) -> None:
    ensure_server(data_dir)
    tell(data_dir, "CREATE TABLE kept AS SELECT 7 AS n")
    leave_server(data_dir)
    assert not is_up(data_dir)
    ensure_server(data_dir)
    assert ask(data_dir, "SELECT n FROM kept") == 7


def test_many_processes_share_one_server_and_the_last_to_leave_stops_it(data_dir: Path) -> None:
    others = [neighbor(data_dir) for _ in range(2)]
    pid = postmaster(data_dir)
    ensure_server(data_dir)
    assert postmaster(data_dir) == pid
    leave_server(data_dir)
    others[0].communicate()
    assert is_up(data_dir)
    others[1].communicate()
    assert not is_up(data_dir)


def test_a_killed_process_does_not_keep_the_server_for_ever(data_dir: Path) -> None:
    other = neighbor(data_dir)
    ensure_server(data_dir)
    other.kill()
    other.communicate()
    leave_server(data_dir)
    assert not is_up(data_dir)


def test_a_killed_server_comes_back_with_its_data(data_dir: Path) -> None:
    ensure_server(data_dir)
    tell(data_dir, "CREATE TABLE kept AS SELECT 7 AS n")
    killed = postmaster(data_dir)
    os.kill(killed, signal.SIGKILL)
    ensure_server(data_dir)
    assert postmaster(data_dir) != killed
    assert ask(data_dir, "SELECT n FROM kept") == 7


@pytest.mark.parametrize("leftover", ["a zombie", "another living process", "a free number"])
def test_the_record_of_a_dead_server_does_not_keep_the_next_from_starting(
    data_dir: Path, leftover: str
) -> None:
    ensure_server(data_dir)
    record = (data_dir / "pg/cluster/postmaster.pid").read_text()
    leave_server(data_dir)
    # As the account of the data, whose numbers postgres takes for living servers.
    owner = (data_dir / "pg/cluster").stat().st_uid
    command = ["sleep", "60"] if leftover == "another living process" else ["true"]
    process = subprocess.Popen(command, user=owner if os.geteuid() == 0 else None)
    try:
        if leftover == "a free number":
            process.wait()
        elif leftover == "a zombie":
            time.sleep(0.3)
        path = data_dir / "pg/cluster/postmaster.pid"
        path.write_text("\n".join([str(process.pid), *record.split("\n")[1:]]))
        os.chown(path, owner, -1)
        ensure_server(data_dir)
        assert ask(data_dir) == "alive"
    finally:
        process.kill()
        process.wait()


def test_a_server_that_lost_its_socket_is_started_again(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_server(data_dir)
    tell(data_dir, "CREATE TABLE kept AS SELECT 7 AS n")
    for path in Path(str(connection_settings(data_dir)["HOST"])).iterdir():
        path.unlink()
    monkeypatch.setattr(embedded, "DEAF_SECONDS", 0.5)
    ensure_server(data_dir)
    assert ask(data_dir, "SELECT n FROM kept") == 7


def test_the_settings_of_one_folder_are_the_same_before_and_after_the_start(
    data_dir: Path,
) -> None:
    before = connection_settings(data_dir)
    ensure_server(data_dir)
    assert connection_settings(data_dir) == before


def test_a_long_data_path_still_has_a_socket_path_that_fits(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 6)
    assert len(str(connection_settings(deep)["HOST"])) <= SOCKET_DIR_LIMIT
    assert connection_settings(deep) != connection_settings(deep / "other")
    assert not deep.exists()


def test_without_any_postgresql_one_line_says_what_to_do(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_candidates", lambda: iter([]))
    with pytest.raises(EmbeddedServerError, match="make install") as caught:
        ensure_server(data_dir)
    assert "\n" not in str(caught.value)


def test_a_refused_row_does_not_carry_its_receiver_into_the_log(data_dir: Path) -> None:
    ensure_server(data_dir)
    tell(data_dir, "CREATE TABLE strict (phone text CHECK (phone = ''))")
    with pytest.raises(psycopg.errors.CheckViolation):
        tell(data_dir, "INSERT INTO strict VALUES ('19900001234')")
    time.sleep(0.3)
    logs = list((data_dir / "pg/cluster/log").glob("*.log"))
    text = "".join(path.read_text() for path in logs)
    assert "violates check constraint" in text
    assert "19900001234" not in text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another account")
def test_data_below_a_closed_folder_is_kept_where_the_account_can_reach_it(
    data_dir: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = open_folder / "lib"
    monkeypatch.setattr(embedded, "ELSEWHERE", elsewhere)
    closed = data_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    inside = closed / "v"
    before = connection_settings(inside)
    ensure_server(inside)
    try:
        assert connection_settings(inside) == before
        assert ask(inside) == "alive"
        assert (inside / "pg/cluster").readlink().is_relative_to(elsewhere)
    finally:
        leave_server(inside)


# --- two roles ----------------------------------------------------------------------------------


def as_role(data_dir: Path, role: str, statement: str) -> object:
    found = connection_settings(data_dir)
    with psycopg.connect(
        host=found["HOST"], port=found["PORT"], user=role, dbname=found["NAME"], autocommit=True
    ) as connection:
        cursor = connection.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def test_the_application_has_a_role_of_its_own_that_owns_nothing(data_dir: Path) -> None:
    ensure_server(data_dir)
    question = "SELECT rolcreatedb OR rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = %s"
    assert as_role(data_dir, APP_ROLE, question.replace("%s", "current_user")) is False
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_role(data_dir, APP_ROLE, "CREATE TABLE mine (n int)")


def test_a_running_server_from_before_there_were_two_roles_learns_of_the_second(
    data_dir: Path,
) -> None:
    """Its tables are given to the application as well, all but what is append-only."""
    ensure_server(data_dir)
    tell(data_dir, "CREATE TABLE kept AS SELECT 7 AS n")
    tell(data_dir, "CREATE TABLE audit_auditrecord AS SELECT 8 AS n")
    as_role(data_dir, "postgres", f"DROP OWNED BY {APP_ROLE}")
    as_role(data_dir, "postgres", f"DROP ROLE {APP_ROLE}")
    names = data_dir / "pg/cluster/pg_ident.conf"
    kept = [text for text in names.read_text().splitlines() if APP_ROLE not in text]
    names.write_text("\n".join(kept) + "\n")
    as_role(data_dir, "postgres", "SELECT pg_reload_conf()")
    ensure_server(data_dir)
    deadline = time.monotonic() + 10
    while True:
        try:
            assert as_role(data_dir, APP_ROLE, "UPDATE kept SET n = 9 RETURNING n") == 9
            break
        except psycopg.OperationalError:  # the server reads its files a moment later
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert as_role(data_dir, APP_ROLE, "SELECT n FROM audit_auditrecord") == 8
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_role(data_dir, APP_ROLE, "UPDATE audit_auditrecord SET n = 9")
