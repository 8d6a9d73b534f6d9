"""The state machine: whatever the center is asked to do, its stock is what the model says."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import User
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inventory.adjustments import Kind
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import OrderCenterError
from ordercenter.pipeline.invariants import INVARIANTS, run_all
from tests.inventory.machine.blows import Blow, How, struck_by
from tests.inventory.machine.book import PRIORITY, Book, Sale, SliceKey
from tests.inventory.machine.center import CODES, PROVINCES, UNPAID, Center, closing, paying, wish

STOCK: list[str] = [one.code for one in INVARIANTS if one.code.startswith("S")]
START = timedelta(hours=20)
"""So long before now a run begins; it never gets as far as now."""

shops = st.sampled_from(["one", "two", "three"])
places = st.sampled_from(PROVINCES)
codes = st.sampled_from(CODES)
baskets = st.dictionaries(
    st.sampled_from([*CODES, "SET"]), st.integers(1, 2), min_size=1, max_size=2
)
some = st.integers(0, 99)
"""Which of those there are."""


class StockMachine(RuleBasedStateMachine):
    """Everything that happens to stock, with the model beside it. A step may be killed."""

    user: ClassVar[User]

    def __init__(self) -> None:
        super().__init__()
        self.center = Center(self.user)
        self.book = Book()
        self.now: datetime = clock_now() - START
        self.blow: Blow | None = None
        self.disagrees = False
        self.on_the_way: list[tuple[int, str, str, int]] = []
        self.counted: tuple[int, str, str, int] | None = None

    # --- time, and blows ---------------------------------------------------------------------

    def tick(self, seconds: float = 1) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    def do(self, act: Callable[[], Any], then: Callable[[], Any]) -> None:
        """Have the center act and the model follow; under a blow it is all or nothing.

        A step that was killed is asked again, as a message is redelivered.
        """
        blow, self.blow = self.blow, None
        if blow is not None:
            with struck_by(blow):
                act()
            if not blow.struck:
                then()
                return
            self.agree()
        act()
        then()

    def _refused(self, act: Callable[[], Any]) -> None:
        with pytest.raises(OrderCenterError):
            act()
        self.agree()

    @rule(at=st.integers(0, 8) | st.integers(0, 45), how=st.sampled_from(["error", "line"]))
    def the_next_step_is_killed(self, at: int, how: How) -> None:
        self.blow = Blow(at, how)

    @rule(minutes=st.sampled_from([1, 29, 31]))
    def time_passes(self, minutes: int) -> None:
        self.tick(minutes * 60)

    # --- goods -------------------------------------------------------------------------------

    @initialize(
        units=st.lists(st.integers(1, 6), min_size=6, max_size=6),
        aside=st.lists(st.tuples(places, codes, shops), max_size=3, unique=True),
    )
    def opening_stock(self, units: list[int], aside: list[tuple[str, str, str]]) -> None:
        shelves = [(place, code) for place in PROVINCES for code in CODES]
        for (place, code), quantity in zip(shelves, units, strict=True):
            self._put_on_shelf(place, code, quantity)
        for place, code, shop in aside:
            self._set_aside((place, code, shop), 2)

    @rule(place=places, code=codes, units=st.integers(1, 4))
    def receive(self, place: str, code: str, units: int) -> None:
        self._put_on_shelf(place, code, units)

    def _put_on_shelf(self, place: str, code: str, units: int) -> None:
        self.do(
            lambda: self.center.receive(place, code, units),
            lambda: self.book.receive(place, code, units),
        )

    @rule(place=places, code=codes, kind=st.sampled_from(list(Kind)), units=st.integers(1, 3))
    def correct(self, place: str, code: str, kind: Kind, units: int) -> None:
        if not self.book.may_correct(place, code, kind, units):
            self._refused(lambda: self.center.correct(place, code, kind, units))
            return
        self.do(
            lambda: self.center.correct(place, code, kind, units),
            lambda: self.book.correct(place, code, kind, units),
        )

    @rule(to=places, code=codes, units=st.integers(1, 3))
    def send(self, to: str, code: str, units: int) -> None:
        (source,) = set(PROVINCES) - {to}
        blow, self.blow = self.blow, None
        paper = self.center.begin_transfer(source, to, code, units)
        self.blow = blow
        if units > self.book.free(source, code):
            self._refused(lambda: self.center.send(paper))
            return
        self.do(
            lambda: self.center.send(paper),
            lambda: self.book.send(source, to, code, units),
        )
        self.on_the_way.append((paper, to, code, units))

    @precondition(lambda self: self.on_the_way)
    @rule(lost=st.integers(0, 2))
    def a_transfer_arrives(self, lost: int) -> None:
        paper, target, code, units = self.on_the_way.pop()
        lost = min(lost, units)
        self.do(
            lambda: self.center.finish_transfer(paper, units - lost, lost),
            lambda: self.book.arrive(target, code, units - lost, lost),
        )

    @precondition(lambda self: self.counted is None)
    @rule(place=places, code=codes, difference=st.integers(-2, 2))
    def somebody_counts(self, place: str, code: str, difference: int) -> None:
        there = self.book.shelf(place, code).on_hand
        found = max(0, there + difference)
        blow, self.blow = self.blow, None
        self.counted = (self.center.begin_count(place, code, found), place, code, found - there)
        self.blow = blow

    @precondition(lambda self: self.counted is not None)
    @rule()
    def the_count_is_applied(self) -> None:
        """As a difference, whatever has moved since; never what has been promised since."""
        assert self.counted is not None
        paper, place, code, difference = self.counted
        if -difference > max(0, self.book.free(place, code)):
            self._refused(lambda: self.center.finish_count(paper))
            return
        self.counted = None
        self.do(
            lambda: self.center.finish_count(paper),
            lambda: self.book.count(place, code, difference),
        )

    @rule(place=places, code=codes, shop=shops, units=st.integers(1, 5))
    def set_slice(self, place: str, code: str, shop: str, units: int) -> None:
        """As many as asked for, or what there is room for; more than that is refused."""
        self._set_aside((place, code, shop), units)

    def _set_aside(self, key: SliceKey, units: int) -> None:
        place, code, shop = key
        if not self.book.is_there(place, code):
            return
        room = self.book.to_be_had(shop, place, code)
        if units > room:
            self._refused(lambda: self.center.set_slice(key, units))
        if units := min(units, room):
            self.do(
                lambda: self.center.set_slice(key, units),
                lambda: self.book.set_slice(key, units),
            )

    @precondition(lambda self: self.book.slices)
    @rule(which=some)
    def end_slice(self, which: int) -> None:
        key = list(self.book.slices)[which % len(self.book.slices)]
        self.do(lambda: self.center.end_slice(key), lambda: self.book.end_slice(key))

    # --- buyers ------------------------------------------------------------------------------

    @rule(shop=shops, basket=baskets, near=places, paid=st.booleans())
    def buy(self, shop: str, basket: dict[str, int], near: str, paid: bool) -> None:
        self._sell([wish(shop, basket, near, paid=paid, at=self.tick())])

    @rule(shop=shops, code=codes, near=places)
    def buy_one(self, shop: str, code: str, near: str) -> None:
        """A buyer who has still to pay."""
        self._sell([wish(shop, {code: 1}, near, paid=False, at=self.tick())])

    @precondition(lambda self: self.book.slices)
    @rule(which=some, own=st.booleans(), beyond=st.integers(0, 2), paid=st.booleans())
    def buy_what_is_set_aside(self, which: int, own: bool, beyond: int, paid: bool) -> None:
        """Its own shop, or another that would have to take some of it back."""
        place, code, shop = list(self.book.slices)[which % len(self.book.slices)]
        if not own:
            shop = next(name for name in PRIORITY if name != shop)
        units = max(1, (1 if own else self.book.to_be_had(shop, place, code)) + beyond)
        self._sell([wish(shop, {code: units}, place, paid=paid, at=self.tick())])

    @rule(
        wishes=st.lists(
            st.tuples(shops, baskets, places, st.booleans()), min_size=2, max_size=4
        )
    )  # fmt: skip
    def several_buy_at_once(self, wishes: list[tuple[str, dict[str, int], str, bool]]) -> None:
        self._sell(
            [
                wish(shop, basket, near, paid=paid, at=self.tick(0.01))
                for shop, basket, near, paid in wishes
            ]
        )

    def _sell(self, sales: list[Sale]) -> None:
        now, runs_out = self.now, self.now + UNPAID

        def then() -> None:
            for sale in sales:
                self.book.place_order(sale, None if sale.paid_at else runs_out)

        self.do(lambda: self.center.tell([(s.shop, s.told) for s in sales], now=now), then)

    def _learn(self, sale: Sale, news: dict[str, Any], then: Callable[[], Any]) -> None:
        told, now = replace(sale.told, **news), self.now
        self.do(lambda: self.center.tell([(sale.shop, told)], now=now), then)
        sale.told = told

    @precondition(lambda self: self.book.unpaid())
    @rule(which=some)
    def pay(self, which: int) -> None:
        unpaid = self.book.unpaid()
        sale, at = unpaid[which % len(unpaid)], self.tick()
        self._learn(sale, paying(sale, at), lambda: self.book.pay(sale, at))

    @precondition(lambda self: self.book.unpaid())
    @rule()
    def pay_the_newest(self) -> None:
        sale, at = self.book.unpaid()[-1], self.tick()
        self._learn(sale, paying(sale, at), lambda: self.book.pay(sale, at))

    @precondition(lambda self: self.book.open_sales())
    @rule(which=some)
    def cancel(self, which: int) -> None:
        open_sales = self.book.open_sales()
        self._give_up(open_sales[which % len(open_sales)])

    def _give_up(self, sale: Sale) -> None:
        self._learn(sale, closing(sale, self.tick()), lambda: self.book.cancel(sale))

    @precondition(lambda self: self.book.sales)
    @rule(which=some)
    def the_channel_says_it_again(self, which: int) -> None:
        sale = self.book.sales[which % len(self.book.sales)]
        self._learn(sale, {}, lambda: self.book.told_again(sale))

    # --- jobs and people ---------------------------------------------------------------------

    @rule()
    def expire(self) -> None:
        self._run_out(self.tick())

    def _run_out(self, now: datetime) -> None:
        self.do(lambda: self.center.expire(now), lambda: self.book.expire(now))

    @rule()
    def work_shortages(self) -> None:
        """In two transactions: killed between them, the first has been."""
        now, steps = self.tick(), self.book.work_shortages()
        blow, self.blow = self.blow, None
        if blow is not None:
            with struck_by(blow):
                self.center.work_shortages(now)
            if blow.struck:
                self._agree_now_or_after(steps)
                steps = self.book.work_shortages()
                self.center.work_shortages(now)
        else:
            self.center.work_shortages(now)
        list(steps)

    def _agree_now_or_after(self, steps: Iterator[None]) -> None:
        try:
            self.agree()
        except AssertionError:
            next(steps)
            self.agree()

    @precondition(lambda self: self.book.ready())
    @rule(which=some)
    def ship(self, which: int) -> None:
        ready = self.book.ready()
        sale = ready[which % len(ready)]
        blow, self.blow = self.blow, None
        parcel, number = self.center.pack(sale)
        self.blow = blow
        self.do(lambda: self.center.ship(parcel, number), lambda: self.book.ship(sale))

    # --- what must be true -------------------------------------------------------------------

    @invariant()
    def agree(self) -> None:
        """The rows, the promises and the ledger say what the model says."""
        self.disagrees = True
        assert self.center.figures() == self.book.figures()
        assert self.center.slice_figures() == self.book.slice_figures()
        assert self.center.promises() == self.book.promises()
        assert self.center.ledger() == self.book.ledger()
        self.disagrees = False

    def teardown(self) -> None:
        """All invariants of the stock hold; then everybody gives up, and all of it is free."""
        try:
            if not self.disagrees:
                self._finish()
        finally:
            self.center.close()

    def _finish(self) -> None:
        self.blow = None
        self._run_out(self.tick(31 * 60))
        self.agree()
        broken = {one.code: one.broken for one in run_all(STOCK, now=self.now) if one.broken}
        assert broken == {}
        for sale in self.book.open_sales():
            self._give_up(sale)
        self.agree()
        assert self.center.promises() == {}
