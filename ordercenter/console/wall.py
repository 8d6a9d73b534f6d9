"""The review wall: every held order in one queue, worst first."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ordercenter.console.access import fragment_of, page
from ordercenter.console.navigation import home_of
from ordercenter.console.reasons import QUICK
from ordercenter.console.selectors import WallFilter, wall
from ordercenter.core.policy import Can


@require_safe
@page()
def home(request: HttpRequest) -> HttpResponse:
    """Send everybody to the page with his first duty."""
    return HttpResponseRedirect(home_of(request))


@require_safe
@page(Can.VIEW_ORDERS)
def wall_page(request: HttpRequest) -> HttpResponse:
    """The queue; with ``?fragment=1`` only its changing part, by the same rights."""
    wanted = WallFilter.read(request.GET)
    context = {
        "wall": wall(request.user, wanted),
        "quick": QUICK,
        "back": request.path + wanted.query(),
        "fragment": fragment_of(request),
    }
    part = "fragment" in request.GET
    return render(request, "console/parts/wall.html" if part else "console/wall.html", context)
