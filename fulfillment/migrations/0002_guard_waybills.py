from django.db import migrations

# The second wall behind the services: no label and no shipment of an order that must stand still.
GUARD = """
CREATE FUNCTION guard_parcel_order(parcel bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found record;
BEGIN
    SELECT o.id, o.number, o.status INTO found
    FROM fulfillment_parcel p JOIN orders_salesorder o ON o.id = p.order_id WHERE p.id = parcel;
    IF found.status = 'canceled' THEN
        RAISE EXCEPTION 'order % is canceled', found.number
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF EXISTS (SELECT 1 FROM orders_orderhold
               WHERE order_id = found.id AND released_at IS NULL) THEN
        RAISE EXCEPTION 'order % is held', found.number
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
END $$;
CREATE FUNCTION guard_live_waybill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM guard_parcel_order(NEW.parcel_id);
    RETURN NULL;
END $$;
CREATE TRIGGER guard_live_insert AFTER INSERT ON fulfillment_waybill
    FOR EACH ROW WHEN (NEW.state IN ('intent', 'live')) EXECUTE FUNCTION guard_live_waybill();
CREATE TRIGGER guard_live_update AFTER UPDATE OF state ON fulfillment_waybill
    FOR EACH ROW WHEN (NEW.state = 'live' AND OLD.state <> 'live')
    EXECUTE FUNCTION guard_live_waybill();
CREATE FUNCTION guard_shipped_parcel() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM guard_parcel_order(NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER guard_shipped AFTER UPDATE OF state ON fulfillment_parcel
    FOR EACH ROW WHEN (NEW.state = 'shipped' AND OLD.state <> 'shipped')
    EXECUTE FUNCTION guard_shipped_parcel();
"""
UNDO = """
DROP TRIGGER guard_live_insert ON fulfillment_waybill;
DROP TRIGGER guard_live_update ON fulfillment_waybill;
DROP TRIGGER guard_shipped ON fulfillment_parcel;
DROP FUNCTION guard_shipped_parcel();
DROP FUNCTION guard_live_waybill();
DROP FUNCTION guard_parcel_order(bigint);
"""


class Migration(migrations.Migration):
    dependencies = [("fulfillment", "0001_initial"), ("orders", "0002_guard_status")]
    operations = [migrations.RunSQL(GUARD, UNDO)]
