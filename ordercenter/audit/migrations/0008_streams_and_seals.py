from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("audit", "0007_risk_actions"),
    ]

    operations = [
        migrations.AddField(
            model_name="auditlink",
            name="stream",
            field=models.CharField(db_default="", default="", max_length=32, verbose_name="链"),
        ),
        migrations.AddConstraint(
            model_name="auditlink",
            constraint=models.UniqueConstraint(
                fields=("stream", "previous_hash"), name="chain_never_forks"
            ),
        ),
        migrations.AddIndex(
            model_name="auditlink",
            index=models.Index(fields=["stream", "-seq"], name="chain_head"),
        ),
        migrations.CreateModel(
            name="AuditSeal",
            fields=[
                ("number", models.PositiveIntegerField(primary_key=True, serialize=False, verbose_name="序号")),
                ("first_seq", models.BigIntegerField(verbose_name="起")),
                ("last_seq", models.BigIntegerField(verbose_name="止")),
                ("root", models.CharField(max_length=64, verbose_name="根哈希")),
                ("heads", models.JSONField(verbose_name="各链末端")),
                ("previous_hash", models.CharField(max_length=64, verbose_name="前一封签")),
                ("hash", models.CharField(max_length=64, verbose_name="封签")),
                ("key", models.CharField(max_length=64, verbose_name="公钥")),
                ("signature", models.CharField(max_length=128, verbose_name="签名")),
                ("sealed_at", models.DateTimeField(verbose_name="时间")),
            ],
            options={
                "verbose_name": "审计封签",
                "verbose_name_plural": "审计封签",
            },
        ),
    ]
