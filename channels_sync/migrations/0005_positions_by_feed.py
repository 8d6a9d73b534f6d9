from django.db import migrations

FEEDS = ("orders", "refunds")


def copy(apps, schema_editor):
    cursors = apps.get_model("channels_sync", "SyncCursor").objects.all()
    feed_cursor = apps.get_model("channels_sync", "FeedCursor")
    feed_cursor.objects.bulk_create(
        [
            feed_cursor(shop_id=row.pk, feed=feed, position=row.position, last_ok_at=row.last_ok_at)
            for row in cursors
            for feed in FEEDS
        ],
        ignore_conflicts=True,
    )


class Migration(migrations.Migration):
    dependencies = [("channels_sync", "0004_whole_lines")]
    operations = [migrations.RunPython(copy, migrations.RunPython.noop)]
