"""Two batches side by side: one gives stock back after judging while the other takes some."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, transaction

from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now
from ordercenter.orders.contracts import ChannelStatus
from ordercenter.pipeline import cancel, intake, path, screening
from risk import services as risk
from tests.pipeline.seller import draft, line, open_seller
from tests.races.tools import Gap

pytestmark = pytest.mark.django_db(transaction=True)
BUYING, JUDGED = "buying", "judged"


def side_by_side(
    run_together: Callable[..., list[Any]], patch: pytest.MonkeyPatch, gap: Gap
) -> list[Any]:
    """A batch closes one order and takes another; a second batch buys the first one's SKU.

    The first waits, before it gives stock back, for the second to have locked that stock.
    """
    seller = open_seller()
    old = draft(line())
    with transaction.atomic():
        intake.take_drafts([(seller.shop.pk, old)], actor=PIPELINE, now=now())
    later = old.modified_at + timedelta(seconds=5)
    closed = replace(old, status=ChannelStatus.CLOSED, modified_at=later)
    role = threading.local()
    plain_finish, plain_reserve = cancel.finish, path.reserve

    def finish(*args: Any, **facts: Any) -> None:
        gap.happened(JUDGED)
        gap.wait_for(BUYING)
        plain_finish(*args, **facts)

    def reserve(*args: Any, **facts: Any) -> None:
        buys = getattr(role, "buys", False)
        if buys:
            gap.wait_for(JUDGED)
        plain_reserve(*args, **facts)
        if buys:
            gap.happened(BUYING)

    patch.setattr(cancel, "finish", finish)
    patch.setattr(path, "reserve", reserve)

    def close_and_take() -> None:
        drafts = [(seller.shop.pk, closed), (seller.shop.pk, draft(line("LAMP")))]
        with transaction.atomic():
            intake.take_drafts(drafts, actor=PIPELINE, now=now())

    def buy() -> None:
        role.buys = True
        with transaction.atomic():
            intake.take_drafts([(seller.shop.pk, draft(line()))], actor=PIPELINE, now=now())

    return run_together(close_and_take, buy)


def test_a_batch_that_gives_stock_back_and_one_that_takes_it_both_end(
    run_together: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert side_by_side(run_together, monkeypatch, Gap()) == [None, None]


def test_with_the_judging_lock_taken_after_the_stock_they_wait_for_each_other(
    run_together: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = screening.screen
    queue_up = risk.queue_up
    monkeypatch.setattr(risk, "queue_up", lambda: None)

    def lock_late(works: Any, program: Any, shelf: Any, *, now: Any) -> None:
        queue_up()
        plain(works, program, shelf, now=now)

    monkeypatch.setattr(screening, "screen", lock_late)
    outcomes = side_by_side(run_together, monkeypatch, Gap(patience=10))
    assert any(isinstance(outcome, OperationalError) for outcome in outcomes)
