from django.contrib.postgres.indexes import BrinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    """Sales of the last days are asked for by time; the ledger is written in that order."""

    atomic = False  # CONCURRENTLY cannot run in a transaction
    dependencies = [("inventory", "0005_replenishment")]
    operations = [
        AddIndexConcurrently("stockmovement", BrinIndex(fields=["created_at"], name="movement_by_time"))
    ]
