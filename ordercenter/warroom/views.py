"""Live pages: drawn from the database, drawn again when nudged."""

from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ordercenter.core.clock import now
from ordercenter.core.policy import Can
from ordercenter.warroom import selectors
from ordercenter.warroom.access import is_fragment, page
from ordercenter.warroom.shared import Shared

_board: Final = Shared(lambda: selectors.board(now()))


@require_safe
@page(Can.VIEW_BOARD)
def board(request: HttpRequest) -> HttpResponse:
    """Show the war-room board; the same figures for everybody who may see it."""
    name = "warroom/parts/board.html" if is_fragment(request) else "warroom/board.html"
    return render(request, name, {"board": _board.get()})
