"""The proof badge tells the truth: green while young and whole, red with the code, never stale."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from inventory.models import StockLevel, StockProof
from ordercenter.core.clock import now as clock_now
from ordercenter.notices.models import Notice
from ordercenter.pipeline import proof, tasks
from ordercenter.pipeline.proof import MOST_ROWS, Standing
from tests.factories import RobotFactory
from tests.pipeline.seller import draft, line, open_seller, take

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _stock_with_orders() -> None:
    """Ten levels, three orders that hold stock."""
    shop = open_seller().shop
    with transaction.atomic():
        take(shop, draft(), draft(line("LAMP", 3)), draft(line("SET")))


def break_a_level() -> None:
    """Somebody changes a figure past the services."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE inventory_stocklevel SET on_hand = on_hand + 7 "
            "WHERE id = (SELECT min(id) FROM inventory_stocklevel)"
        )


def test_before_the_first_check_nothing_is_claimed() -> None:
    assert proof.badge().standing is Standing.NEVER


def test_a_whole_stock_is_proven_with_what_was_looked_at() -> None:
    found = proof.prove_stock()
    badge = proof.badge()
    assert badge.standing is Standing.GOOD
    assert badge.proof == found
    assert found.levels == StockLevel.objects.count() == 10
    assert found.movements == 10 + 4
    assert badge.checks >= 10


def test_a_level_broken_behind_the_codes_back_turns_the_badge_red_and_names_the_code() -> None:
    proof.prove_stock()
    break_a_level()
    assert proof.badge().standing is Standing.GOOD  # nobody has looked yet
    proof.prove_stock()
    badge = proof.badge()
    assert badge.standing is Standing.BROKEN
    assert [(one.code, one.rows) for one in badge.broken] == [("S2", 1)]
    assert "流水" in badge.broken[0].words


def test_a_break_is_told_once_an_hour_and_a_new_one_at_once() -> None:
    RobotFactory.create(min_tier="3")
    now = clock_now().replace(minute=5)
    break_a_level()
    proof.prove_stock(now=now)
    proof.prove_stock(now=now + timedelta(minutes=10))
    assert [n.title for n in Notice.objects.all()] == ["库存核对不符：S2"]
    StockLevel.objects.filter(reserved__gt=0).update(reserved=0)
    proof.prove_stock(now=now + timedelta(minutes=20))
    assert Notice.objects.count() == 2
    proof.prove_stock(now=now + timedelta(minutes=65))
    assert Notice.objects.count() == 3


def test_an_old_check_is_stale_and_never_green() -> None:
    proof.prove_stock()
    later = clock_now() + proof.STALE_AFTER
    assert proof.badge(now=later + timedelta(minutes=1)).standing is Standing.STALE
    assert proof.badge(now=later - timedelta(minutes=1)).standing is Standing.GOOD


def test_an_old_break_stays_red() -> None:
    break_a_level()
    proof.prove_stock()
    assert proof.badge(now=clock_now() + timedelta(days=1)).standing is Standing.BROKEN


def test_a_break_that_was_mended_is_green_at_the_next_check() -> None:
    break_a_level()
    proof.prove_stock()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE inventory_stocklevel SET on_hand = on_hand - 7 "
            "WHERE id = (SELECT min(id) FROM inventory_stocklevel)"
        )
    proof.prove_stock()
    assert proof.badge().is_good


def test_a_check_that_fails_leaves_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(proof, "look_at", fail)
    with pytest.raises(tasks.TaskFailed):
        tasks.prove_stock()
    assert not StockProof.objects.exists()


def test_the_command_says_it_as_a_document_and_by_its_status() -> None:
    out = StringIO()
    call_command("prove_stock", "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert told["green"] is True
    assert told["broken"] == {}
    assert {"S1", "S2", "S3", "S11"} <= set(told["checks"])
    break_a_level()
    out = StringIO()
    with pytest.raises(CommandError, match="S2"):
        call_command("prove_stock", "--json", stdout=out)
    assert json.loads(out.getvalue())["broken"] == {"S2": 1}


def test_proofs_are_kept_for_longer_than_a_year_and_not_for_ever() -> None:
    now = clock_now()
    proof.prove_stock(now=now - timedelta(days=399))
    proof.prove_stock(now=now - timedelta(days=401))
    proof.prove_stock(now=now)
    assert StockProof.objects.count() == 2


def test_a_code_with_too_many_rows_says_more() -> None:
    (one,) = proof.broken_codes({"S3": MOST_ROWS})
    assert one.is_more
