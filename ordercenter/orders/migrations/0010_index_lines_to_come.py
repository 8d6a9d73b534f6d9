from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # CONCURRENTLY cannot run in a transaction
    dependencies = [("orders", "0009_lines_that_leave_later")]
    operations = [
        AddIndexConcurrently(
            "orderline",
            models.Index(
                fields=["order"],
                name="line_to_come",
                condition=models.Q(leaves="later", is_dropped=False),
            ),
        )
    ]
