from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations
from django.db.models import Index, Q


class Migration(migrations.Migration):
    atomic = False  # CONCURRENTLY cannot run in a transaction
    dependencies = [("fulfillment", "0002_guard_waybills")]
    operations = [
        AddIndexConcurrently(
            "parcel",
            Index(
                fields=["shipped_at"],
                name="parcel_shipped",
                condition=Q(shipped_at__isnull=False),
            ),
        )
    ]
