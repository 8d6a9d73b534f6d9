from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("orders", "0011_planned_interceptions"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="salesorder",
            index=models.Index(condition=models.Q(("balance_of__isnull", False)), fields=["balance_of"], name="order_balances"),
        ),
        migrations.AddConstraint(
            model_name="salesorder",
            constraint=models.UniqueConstraint(condition=models.Q(("balance_of__isnull", False), models.Q(("status", "canceled"), _negated=True)), fields=("balance_of",), name="balance_once"),
        ),
    ]
