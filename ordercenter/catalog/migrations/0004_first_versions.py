from django.db import migrations

FIRST = """
INSERT INTO catalog_listingversion
    (listing_id, version, sku_id, bundle_id, reason, changed_by, changed_at)
SELECT id, version, sku_id, bundle_id, '', '', now() FROM catalog_listing
"""


class Migration(migrations.Migration):
    """Listings there were before versions were kept begin with the one they have."""

    dependencies = [("catalog", "0003_more_goods")]
    operations = [migrations.RunSQL(FIRST, migrations.RunSQL.noop)]
