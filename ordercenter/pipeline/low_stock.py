"""The morning's digest of what is running low."""

from datetime import datetime
from typing import Final

from inventory import replenishing
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.notices import services as notices

FROM_HOUR: Final = 9
"""By the clock of the business; the day's digest goes out at the first look after it."""


def tell_low_stock(*, now: datetime | None = None) -> str:
    """Queue one digest a day of the low-stock to-dos; a day without any has none."""
    now = now or clock_now()
    local = now.astimezone(SHANGHAI)
    if local.hour < FROM_HOUR:
        return "too early for the digest"
    todos = replenishing.to_dos(now=now)
    if not todos:
        return "nothing is running low"
    told = notices.tell(
        key=f"low-stock:{local:%Y%m%d}",
        urgency="2",
        title=f"低库存 {len(todos)} 种",
        lines=replenishing.digest(todos),
        now=now,
    )
    return f"{len(todos)} SKUs run low, {told} notices"
