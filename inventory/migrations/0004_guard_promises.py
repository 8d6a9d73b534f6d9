from django.db import migrations

GUARD = """
CREATE OR REPLACE FUNCTION guard_canceled_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM inventory_reservation
               WHERE order_id = NEW.id AND state = 'active')
       OR EXISTS (SELECT 1 FROM inventory_presalepromise
                  WHERE order_id = NEW.id AND state = 'active') THEN
        RAISE EXCEPTION 'canceled order % still holds stock', NEW.number
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
"""
UNDO = """
CREATE OR REPLACE FUNCTION guard_canceled_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM inventory_reservation
               WHERE order_id = NEW.id AND state = 'active') THEN
        RAISE EXCEPTION 'canceled order % still holds stock', NEW.number
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    """A canceled order is promised nothing that is still to come, either."""

    dependencies = [("inventory", "0003_slices_and_documents")]
    operations = [migrations.RunSQL(GUARD, UNDO)]
