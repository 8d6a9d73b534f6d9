"""The lists that the shipped rules ask, empty."""

from django.db import migrations

LISTS = (
    ("blacklist", "黑名单", "black", "phone"),
    ("blacklist_freeze", "黑名单（冻结）", "black", "phone"),
    ("restricted_regions", "限制地区", "other", "region"),
    ("regional_limit_regions", "限购地区", "other", "region"),
    ("no_service", "快递不可达地区", "other", "region"),
    ("trusted", "信任买家", "trusted", "phone"),
)


def forward(apps, schema_editor):
    rule_list = apps.get_model("risk", "RuleList")
    rule_list.objects.bulk_create(
        [rule_list(code=code, name=name, kind=kind, key=key) for code, name, kind, key in LISTS],
        ignore_conflicts=True,
    )


class Migration(migrations.Migration):
    dependencies = [("risk", "0004_rules_in_groups")]

    operations = [migrations.RunPython(forward, migrations.RunPython.noop)]
