"""Reads that may be late go to the replica; nothing else ever does."""

import pytest
from django.db import connections, router

from ordercenter.core.replica import REPLICA, ReplicaRouter, from_replica
from ordercenter.orders.models import SalesOrder


@pytest.fixture
def replica(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.databases, REPLICA, connections.databases["default"])


def test_a_read_that_may_be_late_goes_to_the_replica(replica: None) -> None:
    with from_replica():
        assert router.db_for_read(SalesOrder) == REPLICA
    assert router.db_for_read(SalesOrder) == "default"


def test_a_write_goes_to_the_primary_even_while_reading_late(replica: None) -> None:
    with from_replica():
        assert router.db_for_write(SalesOrder) == "default"


def test_without_a_replica_every_read_goes_to_the_primary() -> None:
    with from_replica():
        assert router.db_for_read(SalesOrder) == "default"


def test_no_migration_runs_on_the_replica() -> None:
    assert not ReplicaRouter().allow_migrate(REPLICA, "orders")
    assert ReplicaRouter().allow_migrate("default", "orders")
