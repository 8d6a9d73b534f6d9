from django.db import migrations

# The edges of ordercenter.orders.states.NEXT; migration 0004 names two more.
GUARD = """
CREATE FUNCTION guard_order_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = OLD.status THEN RETURN NEW; END IF;
    IF NOT (OLD.status || '>' || NEW.status) = ANY (ARRAY[
        'received>mapped', 'received>canceled',
        'mapped>reserved', 'mapped>canceled',
        'reserved>cleared', 'reserved>mapped', 'reserved>canceled',
        'cleared>routed', 'cleared>reserved', 'cleared>mapped', 'cleared>canceled',
        'routed>shipped', 'routed>cleared', 'routed>canceled',
        'shipped>signed',
        -- one pass of the path may take several steps and write the last
        'received>reserved', 'received>cleared', 'received>routed',
        'mapped>cleared', 'mapped>routed', 'reserved>routed'
    ]) THEN
        RAISE EXCEPTION 'order % may not go from % to %', OLD.number, OLD.status, NEW.status
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER guard_status BEFORE UPDATE OF status ON orders_salesorder
    FOR EACH ROW EXECUTE FUNCTION guard_order_status();
ALTER TABLE orders_salesorder SET (fillfactor = 85);
ALTER TABLE orders_orderline SET (fillfactor = 90);
"""
UNDO = """
DROP TRIGGER guard_status ON orders_salesorder;
DROP FUNCTION guard_order_status();
"""


class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]
    operations = [migrations.RunSQL(GUARD, UNDO)]
