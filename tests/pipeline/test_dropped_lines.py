"""A line that is not shipped any more takes no stock and keeps nothing waiting."""

import pytest
from django.db import connection, transaction

from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import OrderLine, SalesOrder
from ordercenter.pipeline.invariants import Look, look_at
from ordercenter.pipeline.path import take
from ordercenter.pipeline.work import load
from tests.pipeline.seller import Seller, draft, holds, line, promised, take_one

pytestmark = pytest.mark.django_db


def drop(order: SalesOrder, code: str) -> None:
    """As the people do who work a shortage: drop the line, go on with the rest."""
    with transaction.atomic():
        (work,) = load([order.pk])
        (gone,) = [ln for ln in work.lines if ln.outer_code == code]
        work.drop(gone)
        take([work], actor=PIPELINE, now=clock_now())


def red() -> set[str]:
    with connection.cursor() as cursor:
        return {one.code for one in look_at(Look(cursor, clock_now(), 20)) if not one.holds}


def test_the_rest_of_an_order_goes_on_without_a_dropped_line(seller: Seller) -> None:
    order = take_one(seller.shop, draft(line("SOFA"), line("LAMP", 101)))
    assert holds(order) == {"shortage:shortage", "rule:address_day_5000", "rule:high_value"}
    assert promised(order) == {}
    drop(order, "LAMP")
    assert promised(order) == {"SOFA": 1}
    assert "shortage:shortage" not in holds(order)
    assert red() == set()


def test_a_dropped_bundle_is_dropped_with_all_its_parts(seller: Seller) -> None:
    order = take_one(seller.shop, draft(line("SOFA"), line("SET", 101)))
    drop(order, "SET")
    rows = OrderLine.objects.filter(order=order).values_list("outer_code", "is_dropped")
    assert sorted(rows) == [("", True), ("", True), ("SET", True), ("SOFA", False)]
    assert promised(order) == {"SOFA": 1}


def test_a_dropped_line_that_holds_stock_is_found(seller: Seller) -> None:
    order = take_one(seller.shop, draft(line("SOFA"), line("LAMP")))
    OrderLine.objects.filter(order=order, outer_code="LAMP").update(is_dropped=True)
    assert "S9" in red()
