from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # CONCURRENTLY cannot run in a transaction
    dependencies = [("orders", "0004_several_steps_back")]
    operations = [
        AddIndexConcurrently(
            "orderline",
            models.Index(
                fields=["gift_strategy", "order"],
                name="line_given",
                condition=~models.Q(gift_strategy__in=["", "platform"])
                & models.Q(is_dropped=False),
            ),
        )
    ]
