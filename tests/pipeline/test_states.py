"""The published graph of an order, held by the code and by the database alike."""

import re
from importlib import import_module
from itertools import pairwise, product

import pytest
from django.db import IntegrityError, connection, transaction

from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import NEXT, OPEN, OrderStatus
from tests.factories import SalesOrderFactory
from tests.pipeline.seller import Seller, draft, take_one

S = OrderStatus
IN_ONE_GO = frozenset(
    {
        (S.RECEIVED, S.RESERVED),
        (S.RECEIVED, S.CLEARED),
        (S.RECEIVED, S.ROUTED),
        (S.MAPPED, S.CLEARED),
        (S.MAPPED, S.ROUTED),
        (S.RESERVED, S.ROUTED),
    }
)
"""Steps one pass of the path may take together, writing the last."""
BACK_IN_ONE_GO = frozenset({(S.ROUTED, S.MAPPED), (S.ROUTED, S.RESERVED)})
"""And back, when an order's goods become others."""
EDGES = frozenset((was, to) for was, after in NEXT.items() for to in after)


def test_the_guard_in_the_migration_names_the_very_edges_of_the_code() -> None:
    guard = import_module("ordercenter.orders.migrations.0004_several_steps_back").GUARD
    found = {(S(was), S(to)) for was, to in re.findall(r"'([a-z]+)>([a-z]+)'", guard)}
    assert found == EDGES | IN_ONE_GO | BACK_IN_ONE_GO


def test_a_jump_is_a_walk_along_the_edges_within_the_forward_path() -> None:
    forward = [S.RECEIVED, S.MAPPED, S.RESERVED, S.CLEARED, S.ROUTED]
    for was, to in IN_ONE_GO:
        steps = forward[forward.index(was) : forward.index(to) + 1]
        assert len(steps) > 2
        assert all(b in NEXT[a] for a, b in pairwise(steps))
    for was, to in BACK_IN_ONE_GO:
        back = forward[forward.index(to) : forward.index(was) + 1][::-1]
        assert all(b in NEXT[a] for a, b in pairwise(back))


@pytest.mark.django_db
def test_the_database_lets_through_what_is_published_and_nothing_else() -> None:
    let_through = set()
    for was, to in product(S, S):
        if was is to:
            continue
        order = SalesOrderFactory.create(status=was)
        try:
            with transaction.atomic():
                SalesOrder.objects.filter(pk=order.pk).update(status=to)
        except IntegrityError:
            continue
        let_through.add((was, to))
    assert let_through == EDGES | IN_ONE_GO | BACK_IN_ONE_GO


@pytest.mark.django_db
def test_the_way_out_of_the_end_is_closed_to_raw_sql_too(seller: Seller) -> None:
    order = take_one(seller.shop, draft())
    for status in ("received", "signed"):
        with (
            pytest.raises(IntegrityError, match="may not go"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "UPDATE orders_salesorder SET status = %s WHERE id = %s", [status, order.pk]
            )


def test_every_status_is_open_or_has_left_or_is_canceled() -> None:
    assert set(S) - OPEN == {S.SHIPPED, S.SIGNED, S.CANCELED}
    assert all(S.CANCELED in NEXT[status] for status in OPEN)
    assert NEXT[S.SIGNED] == NEXT[S.CANCELED] == frozenset()
