"""The next card, for who has just dealt with one."""

from typing import Final
from urllib.parse import urlsplit

from django.http import HttpRequest, QueryDict
from django.urls import reverse

from ordercenter.console.access import me
from ordercenter.console.wall_facts import WallFilter, next_card
from ordercenter.core.policy import Can, allows
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline.claims import CardTaken, claim_card

TRIES: Final = 5
"""So many cards are asked for where others are quicker."""


def filter_in(address: str) -> WallFilter:
    """The part of the queue an address of the wall names; all of it for any other address."""
    return WallFilter.read(QueryDict(urlsplit(address).query))


def address_of_next(request: HttpRequest, back: str, *, but: int = 0) -> str:
    """Claim the first free card of the part of the queue ``back`` names; the address of its page.

    ``back`` itself where there is none, or where the user does not review.
    """
    user = me(request)
    if not allows(user, Can.REVIEW):
        return back
    wanted = filter_in(back)
    for _try in range(TRIES):
        order_id = next_card(user, wanted, but=but)
        if order_id is None:
            return back
        try:
            claim_card(order_id, user=user)
        except CardTaken:
            continue
        number = SalesOrder.objects.values_list("number", flat=True).get(pk=order_id)
        return reverse("wall_card", args=[number]) + wanted.query(pages=1)
    return back
