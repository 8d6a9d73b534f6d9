"""Whatever happens to stock, in whatever order and with steps killed in the middle: the figures,
the promises and the ledger are what a small model says, and the invariants hold."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import psycopg
import pytest
from django.db import IntegrityError
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from ordercenter.core.policy import Role
from ordercenter.pipeline import stages
from tests.factories import user_with
from tests.inventory.machine.breaks import BREAKS
from tests.inventory.machine.machine import StockMachine
from tests.pipeline.seller import Carrier

pytestmark = pytest.mark.django_db(transaction=True)
PLAIN = settings(
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
    stateful_step_count=25,
    phases=[Phase.generate],  # shrinking takes minutes here; print_blob repeats what failed
)


@pytest.fixture(autouse=True)
def _people_and_a_carrier(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(stages, "_ask_carrier", Carrier())
    StockMachine.user = user_with(Role.WAREHOUSE_SUPERVISOR)
    yield
    del StockMachine.user


def test_fifty_runs_end_as_the_model_says() -> None:
    run_state_machine_as_test(
        StockMachine, settings=settings(PLAIN, max_examples=50, derandomize=True)
    )


@pytest.mark.nightly
def test_a_thousand_runs_end_as_the_model_says() -> None:
    run_state_machine_as_test(StockMachine, settings=settings(PLAIN, max_examples=1_000))


@pytest.mark.parametrize("planted", BREAKS, ids=lambda planted: planted.__name__)
def test_a_planted_bug_is_found(planted: Callable[[], AbstractContextManager[None]]) -> None:
    """By the model, or by a constraint that refuses what follows from it.

    A step committed half-way may break a deferred key, which the driver tells and not Django.
    """
    refusals = (AssertionError, IntegrityError, psycopg.IntegrityError)
    with planted(), pytest.raises(refusals):
        run_state_machine_as_test(
            StockMachine, settings=settings(PLAIN, max_examples=60, derandomize=True)
        )
