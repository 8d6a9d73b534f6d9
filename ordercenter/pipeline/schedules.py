"""The standing jobs: one tuple, written into django-q2's table by ``sync_schedules``.

django-q2 counts in minutes and looks twice a minute; a shop that is to be read more often is
nudged by ``manage.py work`` as well. Whoever nudges, the shop's cursor decides what is due.
"""

from dataclasses import dataclass
from typing import Final

from django.db import transaction
from django_q.models import Schedule

from channels_sync.models import SyncCursor
from ordercenter.core.clock import now as clock_now
from ordercenter.pipeline.pulling import POLL_SECONDS

PREFIX: Final = "oc:"


@dataclass(frozen=True, slots=True)
class Job:
    """Call ``func`` every so many minutes."""

    name: str
    func: str
    minutes: int


JOBS: Final = (
    Job("notices", "ordercenter.pipeline.tasks.send_notices", 1),
    Job("traces", "ordercenter.pipeline.tasks.ask_traces", 5),
    Job("void-waybills", "ordercenter.pipeline.tasks.void_waybills", 2),
    Job("renew-tokens", "ordercenter.pipeline.tasks.renew_tokens", 5),
    Job("reconcile", "ordercenter.pipeline.tasks.reconcile", 10),
    Job("forget-windows", "ordercenter.pipeline.tasks.forget_windows", 60),
    Job("merge-groups", "ordercenter.pipeline.tasks.find_merge_groups", 5),
    Job("safety-stock", "ordercenter.pipeline.tasks.compute_buffers", 10),
    Job("tell-figures-again", "ordercenter.pipeline.tasks.tell_figures_again", 10),
    Job("escalate", "ordercenter.pipeline.tasks.escalate", 1),
    Job("warning-feeds", "ordercenter.pipeline.tasks.hear_feeds", 1),
    Job("low-stock", "ordercenter.pipeline.tasks.tell_low_stock", 30),
    Job("backtests", "ordercenter.pipeline.tasks.run_waiting_backtests", 1),
    Job("expire-holds", "ordercenter.pipeline.tasks.expire_holds", 1),
    Job("prove-stock", "ordercenter.pipeline.tasks.prove_stock", 10),
    Job("seal-audit", "ordercenter.pipeline.tasks.seal_audit", 10),
    Job("propose-rules", "ordercenter.pipeline.tasks.propose_rules", 24 * 60),
    Job("train-risk", "ordercenter.pipeline.training.train_nightly", 24 * 60),
    Job("score-orders", "ordercenter.pipeline.tasks.score_orders", 1),
    Job("verify-audit", "ordercenter.pipeline.tasks.verify_audit", 24 * 60),
)


@transaction.atomic
def sync_schedules() -> int:
    """Make django-q2's table say what ``JOBS`` and the shops say; return how many schedules."""
    wanted: dict[str, tuple[str, str, str | None, int]] = {
        f"{PREFIX}{job.name}": (job.func, "", None, job.minutes) for job in JOBS
    }  # fmt: skip
    as_long_as_a_poll = f"{{'q_options': {{'timeout': {POLL_SECONDS}}}}}"
    polled = SyncCursor.objects.select_related("shop").filter(shop__is_active=True)
    for cursor in polled.exclude(mode=SyncCursor.Mode.MANUAL):
        minutes = max(1, cursor.interval_seconds // 60)
        wanted[f"{PREFIX}poll:{cursor.shop.code}"] = (
            "ordercenter.pipeline.tasks.poll_shop", f"({cursor.shop_id},)", as_long_as_a_poll,
            minutes,
        )  # fmt: skip
    Schedule.objects.filter(name__startswith=PREFIX).exclude(name__in=wanted).delete()
    for name, (func, args, kwargs, minutes) in wanted.items():
        Schedule.objects.update_or_create(
            name=name,
            defaults={
                "func": func, "args": args or None, "kwargs": kwargs, "minutes": minutes,
                "schedule_type": Schedule.MINUTES, "repeats": -1,
            },
        )  # fmt: skip
    return len(wanted)


@transaction.atomic
def connect_shop(shop_id: int) -> None:
    """A shop that can be spoken for is read from now on; one that is read already goes on."""
    now = clock_now()
    SyncCursor.objects.get_or_create(shop_id=shop_id, defaults={"next_due_at": now})
    sync_schedules()
