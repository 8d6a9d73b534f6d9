"""Time as the business sees it. ``now`` is an argument elsewhere; this is its default."""

from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from django.utils import timezone

SHANGHAI: Final = ZoneInfo("Asia/Shanghai")


def now() -> datetime:
    return timezone.now()


def shanghai_day(moment: datetime) -> str:
    """The calendar day of Asia/Shanghai, ``YYYY-MM-DD``."""
    return moment.astimezone(SHANGHAI).date().isoformat()
