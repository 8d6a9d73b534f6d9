from django.db import migrations

APPEND_ONLY = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_auditseal
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON audit_auditseal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""
UNDO = """
DROP TRIGGER append_only ON audit_auditseal;
DROP TRIGGER append_only_truncate ON audit_auditseal;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0008_streams_and_seals")]
    operations = [migrations.RunSQL(APPEND_ONLY, UNDO)]
