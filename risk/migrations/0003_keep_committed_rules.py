"""What was committed is what was judged by: its rules never change."""

from django.db import migrations

GUARD = """
CREATE FUNCTION risk_keep_committed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.committed_at IS NOT NULL AND (
       NEW.rules IS DISTINCT FROM OLD.rules OR NEW.version <> OLD.version
       OR NEW.committed_at IS DISTINCT FROM OLD.committed_at) THEN
    RAISE EXCEPTION 'rule set v% is committed: its rules do not change', OLD.version
      USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER keep_committed BEFORE UPDATE ON risk_ruleset
  FOR EACH ROW EXECUTE FUNCTION risk_keep_committed();
UPDATE risk_ruleset SET committed_at = created_at WHERE is_live;
"""
DROP = "DROP TRIGGER keep_committed ON risk_ruleset; DROP FUNCTION risk_keep_committed();"


class Migration(migrations.Migration):
    dependencies = [("risk", "0002_rule_life_lists_and_learning")]

    operations = [migrations.RunSQL(GUARD, DROP)]
