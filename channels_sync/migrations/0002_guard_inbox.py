from django.db import migrations

GUARD = """
CREATE FUNCTION guard_inbox_bytes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the bytes of message % never change', OLD.id
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER guard_bytes BEFORE UPDATE OF body, digest, shop_id ON channels_sync_inboxmessage
    FOR EACH ROW WHEN (OLD.body <> NEW.body OR OLD.digest <> NEW.digest
                       OR OLD.shop_id IS DISTINCT FROM NEW.shop_id)
    EXECUTE FUNCTION guard_inbox_bytes();
ALTER TABLE channels_sync_inboxmessage SET (fillfactor = 85);
"""
UNDO = """
DROP TRIGGER guard_bytes ON channels_sync_inboxmessage;
DROP FUNCTION guard_inbox_bytes();
"""


class Migration(migrations.Migration):
    dependencies = [("channels_sync", "0001_initial")]
    operations = [migrations.RunSQL(GUARD, UNDO)]
