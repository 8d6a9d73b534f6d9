"""What django-q2 calls: by dotted path, ids at most, a few lines each."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from ordercenter.core.clock import now as clock_now
from ordercenter.core.logs import plain_words
from ordercenter.notices import services as notices
from ordercenter.notices.senders import make_client
from ordercenter.pipeline import (
    auditing,
    backtests,
    completeness,
    couriers,
    holding,
    jobs,
    learning,
    low_stock,
    merging,
    past,
    proof,
    pulling,
    rule_life,
    scores,
    stock_watch,
    tokens,
)
from ordercenter.pipeline.interception import feeds

P = ParamSpec("P")
logger = logging.getLogger(__name__)


class TaskFailed(Exception):
    """A job failed. django-q2 keeps this text, so it holds no value of the data."""


def plainly(job: Callable[P, str]) -> Callable[P, str]:
    """Have a failure of ``job`` kept by its kind alone; where it happened is in the log."""

    @wraps(job)
    def run(*args: P.args, **kwargs: P.kwargs) -> str:
        try:
            return job(*args, **kwargs)
        except Exception as error:
            logger.exception("job %s failed", job.__name__)
            raise TaskFailed(plain_words(error)) from None

    return run


@plainly
def poll_shop(shop_id: int) -> str:
    """Poll one shop unless it was read lately; the schedule is a nudge, the cursor knows."""
    if not pulling.is_stale(shop_id, now=clock_now()):
        return "not due"
    return pulling.poll_shop(shop_id)


@plainly
def send_notices() -> str:
    with make_client() as client:
        return notices.send_due(client, now=clock_now())


@plainly
def ask_traces() -> str:
    return couriers.ask_traces()


@plainly
def void_waybills() -> str:
    return couriers.void_waybills()


@plainly
def escalate() -> str:
    return jobs.escalate()


@plainly
def expire_holds() -> str:
    return holding.expire_holds()


@plainly
def renew_tokens() -> str:
    return tokens.renew_tokens()


@plainly
def reconcile() -> str:
    return completeness.reconcile_due()


@plainly
def forget_windows() -> str:
    return pulling.forget_windows()


@plainly
def apply_rules(user_id: int, version: int, reason: str, release: list[str]) -> str:
    return rule_life.apply_asked(user_id, version, reason, release)


@plainly
def judge_past(user_id: int, shop_id: int, span: list[str], version: int, reason: str) -> str:
    return past.apply_asked(user_id, shop_id, span, version, reason)


@plainly
def find_merge_groups() -> str:
    return merging.find_merge_groups()


@plainly
def prove_stock() -> str:
    found = proof.prove_stock()
    return f"stock proven in {found.seconds} s, broken: {', '.join(found.broken) or 'nothing'}"


@plainly
def seal_audit() -> str:
    return auditing.seal_audit()


@plainly
def verify_audit() -> str:
    return auditing.verify_audit()


@plainly
def tell_low_stock() -> str:
    return low_stock.tell_low_stock()


@plainly
def tell_figures_again() -> str:
    return stock_watch.tell_again()


@plainly
def compute_buffers() -> str:
    return jobs.compute_buffers()


@plainly
def run_backtest(pk: int) -> str:
    return backtests.run_stored(pk) or "somebody else has it"


@plainly
def run_waiting_backtests() -> str:
    return backtests.run_waiting()


@plainly
def hear_feeds() -> str:
    """Files of the warning feeds, and warnings that begin or end by themselves."""
    return f"{feeds.read_folders()}; {feeds.hear_again()}"


@plainly
def propose_rules() -> str:
    return learning.propose()


@plainly
def score_orders() -> str:
    return scores.score_new()
