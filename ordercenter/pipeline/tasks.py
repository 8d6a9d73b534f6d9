"""What django-q2 calls: by dotted path, ids at most, a few lines each."""

from ordercenter.core.clock import now as clock_now
from ordercenter.notices import services as notices
from ordercenter.notices.senders import make_client
from ordercenter.pipeline import jobs, outward


def poll_shop(shop_id: int) -> str:
    """Poll one shop unless it was read lately; the schedule is a nudge, the cursor knows."""
    if not outward.is_stale(shop_id, now=clock_now()):
        return "not due"
    return outward.poll_shop(shop_id)


def send_notices() -> str:
    with make_client() as client:
        return notices.send_due(client, now=clock_now())


def ask_traces() -> str:
    return outward.ask_traces()


def void_waybills() -> str:
    return outward.void_waybills()


def escalate() -> str:
    return jobs.escalate()
