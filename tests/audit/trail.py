"""A trail to look at, and the hand of somebody who holds the database's own password."""

from pathlib import Path
from typing import Any

from django.db import connection, transaction

from ordercenter.audit.chain import link_pending
from ordercenter.audit.models import Action
from ordercenter.audit.seals import publish, seal_up
from ordercenter.audit.services import Entry, record_many
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now


def write(*versions: int, order: int = 1, object_type: str = "order") -> None:
    with transaction.atomic():
        record_many(
            [
                Entry(Action.ORDER_MOVED, object_type, order, {"n": [v - 1, v]}, "原因", v)
                for v in versions
            ],
            actor=PIPELINE,
        )


def seal(folder: Path) -> None:
    """Link, seal and publish what was written."""
    link_pending()
    seal_up(now=clock_now())
    publish(folder)


def sql(statement: str, *values: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(statement, values or None)


def tamper(table: str, statement: str, *values: object) -> None:
    """Do what only the owner of the tables can do, and leave everything standing behind."""
    sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    sql(statement, *values)
    sql(f"ALTER TABLE {table} ENABLE TRIGGER USER")
