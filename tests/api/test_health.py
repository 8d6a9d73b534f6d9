"""Alive is not ready, and readiness is told to the inner network only."""

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client, override_settings

from ordercenter.api import health


def test_alive_touches_nothing_but_the_process(client: Client) -> None:
    # No django_db mark: any query would fail the test.
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


@pytest.mark.django_db
def test_ready_names_each_check(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["checks"] == {"database": "ok", "migrations": "ok", "keys": "ok"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("peer", "status"),
    [
        ("127.0.0.1", 200),
        ("10.2.3.4", 200),
        ("192.168.1.9", 200),
        ("::1", 200),
        ("::ffff:10.0.0.1", 200),
        ("8.8.8.8", 404),
        ("::ffff:8.8.8.8", 404),
        ("2400:3200::1", 404),
        ("", 404),
        ("nonsense", 404),
    ],
)
def test_only_the_inner_network_is_told(client: Client, peer: str, status: int) -> None:
    assert client.get("/readyz", REMOTE_ADDR=peer).status_code == status


@pytest.mark.django_db
@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_what_a_front_server_passed_on_is_not_inner(client: Client, header: str) -> None:
    assert client.get("/readyz", headers={header: "127.0.0.1"}).status_code == 404


def test_without_a_database_it_is_not_ready_and_still_alive(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise OperationalError("no server")

    monkeypatch.setattr(connection, "cursor", gone)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] == "failed"
    assert "no server" not in answer.content.decode()
    assert client.get("/healthz").status_code == 200


@pytest.mark.django_db
def test_a_migration_that_is_not_applied_is_not_ready(client: Client) -> None:
    (newest,) = MigrationLoader(connection).graph.leaf_nodes("orders")
    MigrationRecorder(connection).record_unapplied(*newest)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"database": "ok", "migrations": "failed", "keys": "ok"}


@pytest.mark.django_db
@pytest.mark.parametrize("keys", [{}, {1: "not base64!"}, {1: "c2hvcnQ="}])
def test_a_missing_or_broken_key_is_not_ready(client: Client, keys: dict[int, str]) -> None:
    with override_settings(ORDERCENTER_DATA_KEYS=keys):
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["keys"] == "failed"


def test_every_check_is_asked() -> None:
    assert set(health.CHECKS) == {"database", "migrations", "keys"}
