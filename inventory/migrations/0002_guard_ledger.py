from django.db import migrations

GUARD = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON inventory_stockmovement
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON inventory_stockmovement
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- A canceled order promises nothing, in the very transaction that closed it.
CREATE FUNCTION guard_canceled_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM inventory_reservation
               WHERE order_id = NEW.id AND state = 'active') THEN
        RAISE EXCEPTION 'canceled order % still holds stock', NEW.number
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER guard_canceled AFTER UPDATE OF status ON orders_salesorder
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status = 'canceled') EXECUTE FUNCTION guard_canceled_order();
ALTER TABLE inventory_stocklevel SET (fillfactor = 50);
"""
UNDO = """
DROP TRIGGER append_only ON inventory_stockmovement;
DROP TRIGGER append_only_truncate ON inventory_stockmovement;
DROP TRIGGER guard_canceled ON orders_salesorder;
DROP FUNCTION guard_canceled_order();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0001_initial"),
        ("orders", "0002_guard_status"),
        ("audit", "0002_append_only"),
    ]
    operations = [migrations.RunSQL(GUARD, UNDO)]
