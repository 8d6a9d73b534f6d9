from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models
import django.db.models.deletion


class Migration(migrations.Migration):

    dependencies = [
        ("catalog", "0005_shop_shortage_policy"),
        ("channels_sync", "0009_warning_feeds"),
        ("inventory", "0007_sign_for_counts_and_corrections"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ApiToken",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=60, verbose_name="用途")),
                ("digest", models.CharField(editable=False, max_length=64, unique=True)),
                ("hint", models.CharField(editable=False, max_length=8, verbose_name="开头")),
                ("scopes", ArrayField(base_field=models.CharField(choices=[("orders:read", "读订单"), ("stock:read", "读店铺可售提示"), ("stock:figures", "报送仓库件数"), ("rules:read", "读风控规则"), ("rules:write", "写风控规则草稿并申请启用"), ("interceptions:read", "读拦截进度"), ("interceptions:write", "下达与解除拦截")], max_length=32), default=list, size=None, verbose_name="权限范围")),
                ("all_shops", models.BooleanField(default=False, verbose_name="账号能看到的所有店铺")),
                ("expires_at", models.DateTimeField(null=True, verbose_name="到期时间")),
                ("is_active", models.BooleanField(default=True, verbose_name="启用")),
                ("created_by", models.CharField(editable=False, max_length=80, verbose_name="创建人")),
                ("created_at", models.DateTimeField(editable=False, verbose_name="创建时间")),
                ("used_at", models.DateTimeField(editable=False, null=True, verbose_name="最近使用")),
                ("shops", models.ManyToManyField(blank=True, to="catalog.shop", verbose_name="只限这些店铺")),
                ("user", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="api_tokens", to=settings.AUTH_USER_MODEL, verbose_name="账号")),
                ("warehouses", models.ManyToManyField(blank=True, to="inventory.warehouse", verbose_name="可报送件数的仓库")),
            ],
            options={"verbose_name": "接口令牌", "verbose_name_plural": "接口令牌", "ordering": ["-pk"]},
        ),
        migrations.AddConstraint(
            model_name="apitoken",
            constraint=models.UniqueConstraint(fields=("user", "name"), name="token_name_once", violation_error_message="这个账号已有同名的令牌"),
        ),
    ]
