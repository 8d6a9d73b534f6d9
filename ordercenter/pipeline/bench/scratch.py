"""A database of its own for a measurement, thrown away afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import connection

from inventory import services as inventory
from inventory.models import VirtualWarehouse
from ordercenter.catalog.models import Sku
from ordercenter.core.actor import Actor
from ordercenter.pipeline import demo
from ordercenter.pipeline.management.commands.load_demo import SELLER

NAME: Final = "ordercenter_bench"
PLENTY: Final = 10_000_000


@contextmanager
def scratch_database(*, sandbox_url: str = "http://127.0.0.1:9") -> Iterator[None]:
    """Work in an empty, migrated database with the demo seller and more stock than needed.

    The shops' platforms lie at ``sandbox_url``, by default nowhere. On the server of the
    installation, with its own durability settings; gone afterwards.
    """
    usual = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = NAME
    _clear()
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        demo.load(SELLER, sandbox_url=sandbox_url, password="bench-only")  # noqa: S106 - gone with the database
        places = VirtualWarehouse.objects.values_list("pk", flat=True)
        skus = list(Sku.objects.values_list("pk", flat=True))
        for place in places:
            inventory.receive(
                [(place, sku, PLENTY) for sku in skus], actor=Actor.job("bench"), reason="bench"
            )
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        yield
    finally:
        connection.settings_dict["NAME"] = usual
        connection.close()
        _clear()


def _clear() -> None:
    """Drop the scratch database, also one that a killed run left with its sessions."""
    with connection._nodb_cursor() as cursor:
        # Not WITH (FORCE): that would want to end an autovacuum worker, too, and may not.
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = %s AND usename = current_user AND pid <> pg_backend_pid()",
            [NAME],
        )
        cursor.execute(f"DROP DATABASE IF EXISTS {NAME}")


def durability() -> dict[str, str]:
    """The settings a figure is void without."""
    found = {}
    with connection.cursor() as cursor:
        for name in ("fsync", "synchronous_commit", "full_page_writes", "server_version"):
            cursor.execute(f"SHOW {name}")
            found[name] = cursor.fetchone()[0]
    return found
