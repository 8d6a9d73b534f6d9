import django.db.models.deletion
from django.db import migrations, models

GUARD = """
-- What a foreign key does, once a statement and not once a row: a batch names one hot level
-- some hundred times, and every single look-up of it cost as much as a row.
CREATE FUNCTION check_levels_named() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wanted bigint[] := ARRAY(SELECT DISTINCT level_id FROM named);
    there integer;
BEGIN
    -- KEY SHARE, as a foreign key takes it: whoever would delete one of them waits for us.
    PERFORM FROM inventory_stocklevel WHERE id = ANY(wanted) ORDER BY id FOR KEY SHARE;
    GET DIAGNOSTICS there = ROW_COUNT;
    IF there < cardinality(wanted) THEN
        RAISE EXCEPTION 'a row of % names a stock level that is not there', TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION check_level_named() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM inventory_stocklevel WHERE id = NEW.level_id FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a row of % names a stock level that is not there', TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION keep_levels_named() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- An older snapshot would not show what has been written since it was taken.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'stock levels are deleted in READ COMMITTED alone'
            USING ERRCODE = 'feature_not_supported';
    END IF;
    IF EXISTS (SELECT FROM inventory_stockmovement WHERE TG_OP = 'TRUNCATE' OR level_id = OLD.id)
       OR EXISTS (SELECT FROM inventory_reservation WHERE TG_OP = 'TRUNCATE' OR level_id = OLD.id)
    THEN
        RAISE EXCEPTION 'a stock level is still named by its ledger or by a reservation'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER levels_named AFTER INSERT ON inventory_reservation
    REFERENCING NEW TABLE AS named FOR EACH STATEMENT EXECUTE FUNCTION check_levels_named();
CREATE TRIGGER levels_named AFTER INSERT ON inventory_stockmovement
    REFERENCING NEW TABLE AS named FOR EACH STATEMENT EXECUTE FUNCTION check_levels_named();
CREATE TRIGGER level_named_anew AFTER UPDATE OF level_id ON inventory_reservation
    FOR EACH ROW WHEN (OLD.level_id <> NEW.level_id) EXECUTE FUNCTION check_level_named();
CREATE TRIGGER level_named_anew AFTER UPDATE OF level_id ON inventory_stockmovement
    FOR EACH ROW WHEN (OLD.level_id <> NEW.level_id) EXECUTE FUNCTION check_level_named();
CREATE TRIGGER levels_stay AFTER DELETE OR UPDATE OF id ON inventory_stocklevel
    FOR EACH ROW EXECUTE FUNCTION keep_levels_named();
CREATE TRIGGER levels_stay_truncate AFTER TRUNCATE ON inventory_stocklevel
    FOR EACH STATEMENT EXECUTE FUNCTION keep_levels_named();
"""
UNDO = """
DROP TRIGGER levels_stay_truncate ON inventory_stocklevel;
DROP TRIGGER levels_stay ON inventory_stocklevel;
DROP TRIGGER level_named_anew ON inventory_stockmovement;
DROP TRIGGER level_named_anew ON inventory_reservation;
DROP TRIGGER levels_named ON inventory_stockmovement;
DROP TRIGGER levels_named ON inventory_reservation;
DROP FUNCTION keep_levels_named();
DROP FUNCTION check_level_named();
DROP FUNCTION check_levels_named();
"""


def level_key() -> models.ForeignKey:
    return models.ForeignKey(
        db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT,
        to="inventory.stocklevel", verbose_name="库存",
    )  # fmt: skip


class Migration(migrations.Migration):
    """Reservations and ledger lines name levels that are there: checked by statement.

    The foreign keys go in the same transaction, so no row slips in between.
    """

    dependencies = [("inventory", "0008_told_figures")]
    operations = [
        migrations.RunSQL(GUARD, UNDO),
        migrations.AlterField("reservation", "level", level_key()),
        migrations.AlterField("stockmovement", "level", level_key()),
    ]
