"""Shipped rules that have to be told of say whom, in the stored sets that are or may come live.

A rule of the same code and tier that names nobody gets what the shipped one says; whoever named
somebody himself keeps it. Sets that are over stay as they decided.
"""

import json

from django.db import migrations

TOLD = {
    "same_sku_5m": "2",
    "phone_burst_10m": "3",
    "gift_dependency": "2",
    "half_price_60": "3",
    "price_address_velocity": "3",
    "likeness_85": "2",
    "blacklist_freeze": "3",
}


def with_notify(rule):
    if not isinstance(rule, dict) or not isinstance(rule.get("outcome"), dict):
        return rule
    outcome = rule["outcome"]
    if outcome.get("tier") != TOLD.get(rule.get("code"), "") or "notify" in outcome:
        return rule
    return {**rule, "outcome": {**outcome, "notify": [{"to": "supervisors"}]}}


def forward(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, rules FROM risk_ruleset "
            "WHERE is_live OR asked_at IS NOT NULL OR activated_at IS NULL"
        )
        stored = [(pk, json.loads(told) if isinstance(told, str) else told)
                  for pk, told in cursor.fetchall()]
        changed = [(pk, [with_notify(rule) for rule in rules]) for pk, rules in stored]
        changed = [(pk, rules) for (pk, rules), (_, before) in zip(changed, stored)
                   if rules != before]
        if not changed:
            return
        cursor.execute("ALTER TABLE risk_ruleset DISABLE TRIGGER keep_committed")
        for pk, rules in changed:
            cursor.execute(
                "UPDATE risk_ruleset SET rules = %s WHERE id = %s", [json.dumps(rules), pk]
            )
        cursor.execute("ALTER TABLE risk_ruleset ENABLE TRIGGER keep_committed")


class Migration(migrations.Migration):
    dependencies = [("risk", "0005_shipped_lists")]

    operations = [migrations.RunPython(forward, migrations.RunPython.noop)]
