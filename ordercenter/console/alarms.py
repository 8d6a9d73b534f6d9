"""The alarms that stand over the review wall, until somebody has taken note of them."""

from typing import Final

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from ordercenter.console.access import back_of, me, page
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import AnyUser, Can, allows
from ordercenter.notices import alarms
from ordercenter.notices.models import Alarm

MOST_SHOWN: Final = 5


def shown_to(user: AnyUser) -> list[Alarm]:
    """What stands over this user's wall; its examples name orders of every shop."""
    if not allows(user, Can.REVIEW):
        return []
    return alarms.standing(now=clock_now(), most=MOST_SHOWN)


@require_POST
@page(Can.REVIEW)
def seen(request: HttpRequest, pk: int) -> HttpResponse:
    """Take note of an alarm; pressed twice, or by two people, it is noted once."""
    alarms.acknowledge(pk, user=me(request), now=clock_now())
    return HttpResponseRedirect(back_of(request) or reverse("wall"))
