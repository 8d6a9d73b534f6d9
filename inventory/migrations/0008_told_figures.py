import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("inventory", "0007_sign_for_counts_and_corrections"),
    ]

    operations = [
        migrations.AddField(
            model_name="stockfile",
            name="source",
            field=models.CharField(choices=[("sheet", "表格"), ("api", "接口")], db_default="sheet", default="sheet", max_length=5, verbose_name="来源"),
        ),
        migrations.AddField(
            model_name="stockfile",
            name="reference",
            field=models.CharField(db_default="", default="", max_length=80, verbose_name="对方编号"),
        ),
        migrations.AddField(
            model_name="stockfile",
            name="answer",
            field=models.JSONField(null=True, verbose_name="逐行结果"),
        ),
        migrations.AddField(
            model_name="stockpolicy",
            name="told_hours",
            field=models.PositiveSmallIntegerField(db_default=24, default=24, verbose_name="第三方报数多久算过时（小时）"),
        ),
        migrations.AddConstraint(
            model_name="stockfile",
            constraint=models.UniqueConstraint(condition=models.Q(("reference", ""), _negated=True), fields=("virtual_warehouse", "reference"), name="stock_file_referred_once"),
        ),
        migrations.CreateModel(
            name="ToldFigure",
            fields=[
                ("level", models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, serialize=False, to="inventory.stocklevel", verbose_name="库存")),
                ("units", models.PositiveIntegerField(verbose_name="报数（件）")),
                ("as_of", models.DateTimeField(verbose_name="数据时间")),
                ("file", models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="inventory.stockfile", verbose_name="来自")),
            ],
            options={"verbose_name": "对方报数", "verbose_name_plural": "对方报数"},
        ),
    ]
