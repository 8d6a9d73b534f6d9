"""Write the standing jobs into the queue's table."""

from typing import Any

from django.core.management.base import BaseCommand

from ordercenter.pipeline.schedules import sync_schedules


class Command(BaseCommand):
    help = "按店铺与任务清单更新定时任务"

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{sync_schedules()} schedules")
