"""What django-q2 calls: by dotted path, ids at most, a few lines each."""

from ordercenter.core.clock import now as clock_now
from ordercenter.notices import services as notices
from ordercenter.notices.senders import make_client
from ordercenter.pipeline import completeness, couriers, jobs, pulling, tokens


def poll_shop(shop_id: int) -> str:
    """Poll one shop unless it was read lately; the schedule is a nudge, the cursor knows."""
    if not pulling.is_stale(shop_id, now=clock_now()):
        return "not due"
    return pulling.poll_shop(shop_id)


def send_notices() -> str:
    with make_client() as client:
        return notices.send_due(client, now=clock_now())


def ask_traces() -> str:
    return couriers.ask_traces()


def void_waybills() -> str:
    return couriers.void_waybills()


def escalate() -> str:
    return jobs.escalate()


def renew_tokens() -> str:
    return tokens.renew_tokens()


def reconcile() -> str:
    return completeness.reconcile_due()


def forget_windows() -> str:
    return pulling.forget_windows()
