from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """A level's newest ledger line goes to the end of its part of the index.

    Put before all others, as it was, every full page was halved and stayed half empty.
    """

    atomic = False  # CONCURRENTLY cannot run in a transaction
    dependencies = [("inventory", "0009_check_levels_by_statement")]
    operations = [
        AddIndexConcurrently(
            "stockmovement", models.Index(fields=["level", "id"], name="movement_by_level")
        ),
        RemoveIndexConcurrently("stockmovement", "movement_of_level"),
    ]
