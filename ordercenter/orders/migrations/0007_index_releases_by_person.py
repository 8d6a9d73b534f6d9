from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("orders", "0006_interceptions_and_claims")]
    operations = [
        migrations.AddIndex(
            "orderhold",
            models.Index(
                fields=["released_by", "released_at"],
                name="hold_released_by_person",
                condition=Q(released_by__startswith="person:", interception=None),
            ),
        ),
    ]
