"""Every invariant holds over a healthy world, and goes red for the break planted for it alone."""

import pytest
from django.db import connection, transaction

from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import OrderHold
from ordercenter.pipeline.invariants import INVARIANTS, Look, Outcome, look_at
from tests.invariants.saboteurs import SABOTEURS, Saboteur
from tests.invariants.world import World


def look() -> list[Outcome]:
    with connection.cursor() as cursor:
        return look_at(Look(cursor, clock_now(), 20))


def test_the_world_holds_what_the_invariants_speak_of(world: World) -> None:
    statuses = {
        name: getattr(world, name).status for name in vars(world) if name not in {"shop", "people"}
    }
    assert statuses == {
        "expired": "mapped", "set_expired": "mapped", "routed": "routed", "second": "routed",
        "labelled": "routed", "shipped": "shipped", "reviewed": "shipped", "pardoned": "routed",
        "unpaid": "cleared", "paid_later": "routed", "short": "mapped", "frozen": "routed",
        "canceled": "canceled", "bundle": "routed",
    }  # fmt: skip
    assert OrderHold.objects.open().count() == 2


def test_a_healthy_world_is_green(world: World) -> None:
    assert {one.code: one.broken for one in look() if not one.holds} == {}


@pytest.mark.parametrize("saboteur", SABOTEURS, ids=lambda saboteur: saboteur.name)
def test_a_planted_break_turns_its_invariant_red_and_no_other(
    world: World, saboteur: Saboteur
) -> None:
    with transaction.atomic():
        named = saboteur.strike(world)
        outcomes = {one.code: one for one in look()}
        transaction.set_rollback(True)
    red = {code: one.broken for code, one in outcomes.items() if not one.holds}
    assert set(red) == saboteur.red, red
    assert named in {(row["kind"], row["id"]) for row in red[saboteur.code]}


def test_every_invariant_has_a_saboteur() -> None:
    assert {one.code for one in INVARIANTS} == {saboteur.code for saboteur in SABOTEURS}


def test_the_codes_asked_for_are_all_there() -> None:
    asked = "S1 S2 S3 S4 S5 S6 S8 S9 S10 I1 I3 I4 I6 I8 R1 R2 R3 R4 R5 R6 A1"
    assert set(asked.split()) <= {one.code for one in INVARIANTS}
