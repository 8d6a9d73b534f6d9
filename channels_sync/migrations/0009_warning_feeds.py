import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("channels_sync", "0008_published_stock_pushed"),
        ("orders", "0006_interceptions_and_claims"),
    ]

    operations = [
        migrations.CreateModel(
            name="WarningFeed",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.SlugField(max_length=32, unique=True, verbose_name="编码")),
                ("name", models.CharField(max_length=60, verbose_name="名称")),
                ("kind", models.CharField(choices=[("weather", "天气"), ("supplier", "供应商"), ("logistics", "物流")], max_length=10, verbose_name="种类")),
                ("policy", models.CharField(choices=[("propose", "只提议，由人确认"), ("start", "界限以内自动拦截")], default="propose", max_length=8, verbose_name="处理")),
                ("least_level", models.PositiveSmallIntegerField(default=3, verbose_name="最低级别")),
                ("sealed", models.BinaryField(default=b"", verbose_name="密钥")),
                ("is_active", models.BooleanField(default=True, verbose_name="启用")),
                ("heard_at", models.DateTimeField(null=True, verbose_name="上次收到")),
            ],
            options={"verbose_name": "预警来源", "verbose_name_plural": "预警来源", "ordering": ["code"]},
        ),
        migrations.CreateModel(
            name="FeedWarning",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=64, verbose_name="预警编号")),
                ("level", models.PositiveSmallIntegerField(verbose_name="级别")),
                ("words", models.CharField(max_length=300, verbose_name="内容")),
                ("body", models.JSONField(default=dict, verbose_name="范围")),
                ("starts_at", models.DateTimeField(null=True, verbose_name="开始")),
                ("ends_at", models.DateTimeField(null=True, verbose_name="结束")),
                ("state", models.CharField(choices=[("waiting", "未到开始时间"), ("heard", "处理中"), ("asked", "待人确认"), ("started", "已拦截"), ("noted", "仅记录"), ("failed", "无法处理"), ("ended", "已结束")], default="heard", max_length=8, verbose_name="状态")),
                ("note", models.CharField(default="", max_length=300, verbose_name="说明")),
                ("heard_at", models.DateTimeField(verbose_name="收到时间")),
                ("feed", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="warnings", to="channels_sync.warningfeed")),
                ("interception", models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="orders.interception", verbose_name="拦截指令")),
            ],
            options={"verbose_name": "外部预警", "verbose_name_plural": "外部预警"},
        ),
        migrations.AddIndex(
            model_name="feedwarning",
            index=models.Index(fields=["-heard_at"], name="warning_recent"),
        ),
        migrations.AddIndex(
            model_name="feedwarning",
            index=models.Index(condition=models.Q(("state__in", ["waiting", "heard"])), fields=["starts_at"], name="warning_due"),
        ),
        migrations.AddConstraint(
            model_name="feedwarning",
            constraint=models.UniqueConstraint(fields=("feed", "key"), name="warning_told_once"),
        ),
    ]
