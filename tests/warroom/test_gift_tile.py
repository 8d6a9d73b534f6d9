"""The board's gift match rate: counted from parcels that left today, red above 5 % missing."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from fulfillment.models import Parcel
from ordercenter.core.policy import Role
from ordercenter.pipeline.gift_rate import GiftMatch
from ordercenter.warroom.selectors import board
from tests.factories import OrderLineFactory, ParcelFactory, ParcelLineFactory, user_with

pytestmark = pytest.mark.django_db
NOW = datetime(2025, 11, 11, 4, 0, tzinfo=UTC)  # noon in Shanghai


def shipped(*, gifts: int, packed: int, at: datetime = NOW - timedelta(minutes=1)) -> Parcel:
    """A parcel that left, of an order that owes so many gifts of which so many lie in it."""
    parcel: Parcel = ParcelFactory.create(
        order__status="shipped", state=Parcel.State.SHIPPED, shipped_at=at
    )
    for number in range(gifts):
        line = OrderLineFactory.create(order=parcel.order, is_gift=True, line_no=number + 1)
        if number < packed:
            ParcelLineFactory.create(parcel=parcel, line=line)
    return parcel


def tile(client: Client) -> str:
    user = user_with(Role.SCREEN)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    page = client.get(reverse("warroom:board")).content.decode()
    at = page.index('id="gifts"')
    return page[page.rindex("<div", 0, at) : page.index("</div>", at)]


def test_gifts_of_today_are_counted_in_the_parcels_that_left() -> None:
    shipped(gifts=2, packed=1)
    shipped(gifts=1, packed=1)
    shipped(gifts=1, packed=0, at=NOW - timedelta(hours=13))  # yesterday
    ParcelFactory.create(order__status="routed")  # has not left
    assert board(NOW).gifts == GiftMatch(owed=3, sent=2)
    assert board(NOW).gifts.percent == "66.6%"


def test_a_dropped_gift_is_not_owed() -> None:
    parcel = shipped(gifts=2, packed=1)
    parcel.order.lines.filter(parcelline=None).update(is_dropped=True)
    assert board(NOW).gifts == GiftMatch(owed=1, sent=1)


@pytest.mark.parametrize(
    ("owed", "sent", "is_red", "percent"),
    [(0, 0, False, "—"), (20, 19, False, "95.0%"), (100, 94, True, "94.0%"),
     (3000, 2999, False, "99.9%"), (3, 3, False, "100%")],
)  # fmt: skip
def test_more_than_a_twentieth_missing_is_red(
    owed: int, sent: int, is_red: bool, percent: str
) -> None:
    match = GiftMatch(owed, sent)
    assert (match.is_red, match.percent) == (is_red, percent)


def test_the_tile_says_when_nothing_was_sent_and_is_red_when_gifts_are_missing(
    client: Client,
) -> None:
    assert "今日没有发出赠品" in tile(client)
    shipped(gifts=1, packed=0, at=datetime.now(UTC))
    shown = tile(client)
    assert "赠品匹配率 0/1" in shown
    assert 'class="figure bad"' in shown
