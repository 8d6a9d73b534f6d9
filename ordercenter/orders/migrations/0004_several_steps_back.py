from django.db import migrations

GUARD = """
CREATE OR REPLACE FUNCTION guard_order_status() RETURNS trigger LANGUAGE plpgsql AS $$
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
        'mapped>cleared', 'mapped>routed', 'reserved>routed',
        -- and where the goods changed, several back
        'routed>reserved', 'routed>mapped'
    ]) THEN
        RAISE EXCEPTION 'order % may not go from % to %', OLD.number, OLD.status, NEW.status
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
"""
UNDO = """
CREATE OR REPLACE FUNCTION guard_order_status() RETURNS trigger LANGUAGE plpgsql AS $$
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
"""


class Migration(migrations.Migration):
    """An order whose goods changed goes back from its parcel to be reserved anew, in one pass."""

    dependencies = [("orders", "0003_gifts_and_presale")]
    operations = [migrations.RunSQL(GUARD, UNDO)]
