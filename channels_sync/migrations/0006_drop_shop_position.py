from django.db import migrations

GUARD = """
CREATE FUNCTION refuse_reveal_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what was seen stays on record'
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER reveal_stays BEFORE DELETE OR UPDATE OF shop_id, order_id, scene, reason, seen_by,
    seen_by_id, asked_platform, at ON channels_sync_reveal
    FOR EACH ROW EXECUTE FUNCTION refuse_reveal_change();
"""
UNDO = """
DROP TRIGGER reveal_stays ON channels_sync_reveal;
DROP FUNCTION refuse_reveal_change();
"""


class Migration(migrations.Migration):
    dependencies = [("channels_sync", "0005_positions_by_feed")]
    operations = [
        migrations.RemoveField("synccursor", "position"),
        migrations.RunSQL(GUARD, UNDO),
    ]
