from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations
from django.db.models import Index, Q


class Migration(migrations.Migration):
    atomic = False  # CONCURRENTLY cannot run in a transaction
    dependencies = [("channels_sync", "0002_guard_inbox")]
    operations = [
        AddIndexConcurrently(
            "outboundmessage", Index(fields=["id"], name="outbound_dead", condition=Q(state="dead"))
        )
    ]
