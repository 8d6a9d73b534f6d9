from django.db import migrations, models


class Migration(migrations.Migration):
    """An order may leave in parts: each line knows when."""

    dependencies = [("orders", "0008_interception_settings")]
    operations = [
        migrations.AddField(
            "orderline",
            "leaves",
            models.CharField(
                "分批发货",
                blank=True,
                choices=[("", "随整单"), ("first", "先发"), ("later", "待补发"), ("gone", "已发出")],
                db_default="",
                default="",
                max_length=5,
            ),
        ),
    ]
