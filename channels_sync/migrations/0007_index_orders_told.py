from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # CONCURRENTLY cannot run in a transaction
    dependencies = [("channels_sync", "0006_drop_shop_position")]
    operations = [
        AddIndexConcurrently(
            "inboxmessage",
            models.Index(
                fields=["shop", "channel_number"],
                name="message_of_order",
                condition=models.Q(kind="order"),
            ),
        )
    ]
