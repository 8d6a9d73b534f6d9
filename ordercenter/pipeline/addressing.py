"""When orders teach the catalog what a stock figure is addressed to: seldom, and never in their
way."""

import time
from collections.abc import Collection
from typing import Final

from django.db import transaction

from ordercenter.catalog.learning import Address, learn_addresses
from ordercenter.core.actor import PIPELINE
from ordercenter.orders.contracts import OrderDraft

FORGETS: Final = 600.0
"""Seconds after which lines are offered again: a listing may have come since, or been in hand."""


class Lesson:
    """What this process has offered lately; a line of those costs nothing."""

    def __init__(self) -> None:
        self._offered: set[Address] = set()
        self._since = time.monotonic()

    def learn(self, drafts: Collection[tuple[int, OrderDraft]]) -> None:
        """Have the listings learn from these orders, once the caller's transaction is through."""
        if time.monotonic() - self._since >= FORGETS:
            self._offered.clear()
            self._since = time.monotonic()
        told = {
            (shop_id, line.outer_code or "", line.platform_sku_id or "",
             line.platform_item_id or "")
            for shop_id, draft in drafts
            for line in draft.lines
        }  # fmt: skip
        if new := told - self._offered:
            transaction.on_commit(lambda: self._teach(new), robust=True)

    def _teach(self, new: Collection[Address]) -> None:
        with transaction.atomic():
            learn_addresses(new, actor=PIPELINE)
        self._offered.update(new)


_lesson: Final = Lesson()


def learn(drafts: Collection[tuple[int, OrderDraft]]) -> None:
    """Offer what these orders tell of their shops' listings."""
    _lesson.learn(drafts)
