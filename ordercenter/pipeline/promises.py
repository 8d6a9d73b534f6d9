"""What is still to come, promised to orders that wait for it (presale).

A promise is a row on the line of an arrival, as a reservation is one on a level: ``promised``
of the line is their sum, and the database refuses to promise more than is expected. It ends
once: met when the order gets stock, or released.

Locks: order rows, stock levels, then the lines of arrivals, each by primary key.

Only an order that has money in is promised anything, and only whole: what it lacks has to come
to one virtual warehouse, whatever else it wants has to lie there now. That rest is not kept for
it: it is taken from the shelf on the day.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection

from fulfillment.models import Stage
from inventory.models import PresalePromise
from inventory.selectors import SourceMap
from ordercenter.audit.models import Action
from ordercenter.core.actor import Actor
from ordercenter.core.bulk import copy_rows, update_rows
from ordercenter.core.clock import SHANGHAI
from ordercenter.orders.states import OPEN, HoldKind, OrderStatus
from ordercenter.pipeline.work import HoldDraft, HoldKey, TaskDraft, Work

WAITS: Final[HoldKey] = (HoldKind.SHORTAGE.value, "presale")
"""The hold of an order that is promised what is to come."""
SHORT: Final[HoldKey] = (HoldKind.SHORTAGE.value, "shortage")
GOES_WITH: Final = (HoldKind.SHORTAGE, "deposit")
"""The hold of a shortage that is none: the goods go with the order of the balance."""
OVERDUE: Final = timedelta(days=1)
"""So long after its time an arrival names no date any more, until somebody gives it a new one."""
Place = tuple[int, int]
"""(virtual warehouse, SKU)."""


@dataclass(slots=True)
class Coming:
    """A line of an arrival that is locked, with the units nobody has been promised."""

    pk: int
    number: str
    expected_at: datetime
    units: int
    is_overdue: bool

    @property
    def order(self) -> tuple[bool, datetime, int]:
        """The earliest first; those whose date has passed last."""
        return (self.is_overdue, self.expected_at, self.pk)


@dataclass(frozen=True, slots=True)
class Draw:
    """So many units of a SKU out of one line of an arrival."""

    sku_id: int
    source: Coming
    units: int


def settle(works: Sequence[Work], sources: SourceMap, *, now: datetime) -> None:
    """After stock was tried: end the promises that were met, and promise what is to come.

    Asks the database nothing while no order of the batch is short.
    """
    had = [w for w in works if WAITS in w.open_holds and w.status in OPEN]
    met = [w.id for w in had if WAITS in w.closing and w.status is not OrderStatus.MAPPED]
    if met:
        end(met, state=PresalePromise.State.MET, reason="in stock", now=now)
    anew = [w.id for w in had if WAITS in w.closing and w.status is OrderStatus.MAPPED]
    if anew:
        release(anew, reason="planned anew", now=now)
    waiting = [w for w in had if w.status is OrderStatus.MAPPED and WAITS not in w.closing]
    gone = [w for w in waiting if w.held_by_code(HoldKind.CHANNEL, "shipped_elsewhere")]
    if gone:
        release([w.id for w in gone], reason="shipped elsewhere", now=now)
    for work in waiting:
        work.opening.pop(SHORT, None)  # what it lacks is known, and promised
        if work in gone:
            work.unhold(_code(WAITS)[0], "平台显示已发货", code=WAITS[1])
    short = [w for w in works if _is_short(w)]
    if not short:
        return
    rules = _shop_rules()
    wanting = [
        w
        for w in short
        if w.is_presale or w.may_wait or WAITS in w.open_holds or rules[w.shop_id].sells_ahead
    ]
    if wanting:
        hours = {shop: rule.handling_hours for shop, rule in rules.items()}
        _promise(sorted(wanting, key=lambda w: w.rank), sources, hours, now=now)


def _is_short(work: Work) -> bool:
    if work.status is not OrderStatus.MAPPED or work.is_test or not work.has_money:
        return False
    if work.held_by_code(HoldKind.CHANNEL, "shipped_elsewhere"):
        return False
    return work.held_by_code(*_code(SHORT)) and not work.held_by_code(*_code(WAITS))


def _code(key: HoldKey) -> tuple[HoldKind, str]:
    return HoldKind(key[0]), key[1]


@dataclass(frozen=True, slots=True)
class _Rule:
    sells_ahead: bool
    handling_hours: int


def _shop_rules() -> dict[int, _Rule]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, sells_ahead, handling_hours FROM catalog_shop")
        return {pk: _Rule(ahead, hours) for pk, ahead, hours in cursor.fetchall()}


def _promise(
    works: Sequence[Work], sources: SourceMap, hours: Mapping[int, int], *, now: datetime
) -> None:
    """Give each, in this order, what is to come for it; who gets nothing is said so."""
    skus = {line.sku_id for work in works for line in work.to_send if line.sku_id}
    places = {vw for work in works for vw in sources.for_order(work.shop_id, work.province)}
    coming = look_ahead(places, skus, now=now)
    shelf = _Shelf(places, skus) if coming else None
    codes = _codes(skus) if coming else {}
    rows: list[tuple[Any, ...]] = []
    taken = Counter[int]()
    for work in works:
        tried = sources.for_order(work.shop_id, work.province)
        draws = _draws(_wanted(work), work.shop_id, tried, shelf, coming) if shelf else None
        if draws is None:
            _left_without(work)
            continue
        for draw in draws:
            draw.source.units -= draw.units
            taken[draw.source.pk] += draw.units
        rows += _rows(work, draws, now=now)
        _tell(work, draws, codes, hours[work.shop_id])
    _write(rows, taken)


def look_ahead(
    places: Collection[int], skus: Collection[int], *, now: datetime, lock: bool = True
) -> dict[Place, list[Coming]]:
    """What is announced of these SKUs for these places and not promised; the earliest first.

    Locks the lines. Their papers are not locked: who receives of one, or closes it, needs the
    levels of its goods, which are the caller's by now.
    """
    found: dict[Place, list[Coming]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT l.id, i.virtual_warehouse_id, l.sku_id, i.number, i.expected_at, "
            "greatest(l.expected - l.received - l.defect, 0) - l.promised "
            "FROM inventory_inboundline l JOIN inventory_inbound i ON i.id = l.inbound_id "
            "AND i.state IN ('expected', 'partly') AND i.virtual_warehouse_id = ANY(%s) "
            "WHERE l.sku_id = ANY(%s) ORDER BY l.id" + (" FOR NO KEY UPDATE OF l" if lock else ""),
            [list(places), list(skus)],
        )
        for pk, place, sku, number, expected_at, units in cursor.fetchall():
            late = expected_at + OVERDUE < now
            found[place, sku].append(Coming(pk, number, expected_at, units, late))
    for lines in found.values():
        lines.sort(key=lambda one: one.order)
    return dict(found)


class _Shelf:
    """What is free on the levels now, and what of it only one shop may take."""

    def __init__(self, places: Collection[int], skus: Collection[int]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT l.virtual_warehouse_id, l.sku_id, s.shop_id, s.unsold, "
                "l.on_hand - l.reserved - l.locked FROM inventory_stocklevel l "
                "LEFT JOIN inventory_stockslice s ON s.level_id = l.id AND s.is_active "
                "AND s.unsold > 0 "
                "WHERE l.virtual_warehouse_id = ANY(%s) AND l.sku_id = ANY(%s)",
                [list(places), list(skus)],
            )
            rows = cursor.fetchall()
        self._free = {(place, sku): free for place, sku, _, _, free in rows}
        self._own = {(place, sku, shop): unsold for place, sku, shop, unsold, _ in rows if shop}

    def free(self, place: int, sku: int, shop: int) -> int:
        """Units an order of this shop could take there."""
        common: int = self._free.get((place, sku), 0)
        return common + int(self._own.get((place, sku, shop), 0))


def _wanted(work: Work) -> Counter[int]:
    wanted = Counter[int]()
    for line in work.to_send:
        if line.sku_id:
            wanted[line.sku_id] += line.quantity
    return wanted


def _draws(
    wanted: Mapping[int, int],
    shop_id: int,
    places: Sequence[int],
    shelf: _Shelf,
    coming: Mapping[Place, Sequence[Coming]],
) -> list[Draw] | None:
    """Where all that is wanted will lie first, and what of which arrival is needed there."""
    best: tuple[tuple[bool, datetime, int], list[Draw]] | None = None
    for place in places:
        short = {sku: n for sku, n in wanted.items() if shelf.free(place, sku, shop_id) < n}
        if not short:
            return None  # it could be had by now: the next try takes it
        drawn = [_draw(sku, n, coming.get((place, sku), ())) for sku, n in short.items()]
        if not all(drawn):
            continue
        draws = [draw for one in drawn for draw in one]
        ready = max(draw.source.order for draw in draws)
        if best is None or ready < best[0]:
            best = (ready, draws)
    return best[1] if best else None


@dataclass(frozen=True, slots=True)
class Outlook:
    """When an order could leave if it waited for what is announced; nothing is promised yet."""

    ready_at: datetime | None
    """None: the arrival it would wait for is overdue."""
    draws: tuple[Draw, ...]


def outlook(
    wanted: Mapping[int, int], *, shop_id: int, province: str, now: datetime
) -> Outlook | None:
    """What waiting would come to for so many units of each SKU; None where nothing suffices."""
    places = SourceMap().for_order(shop_id, province)
    coming = look_ahead(places, wanted, now=now, lock=False)
    draws = _draws(wanted, shop_id, places, _Shelf(places, wanted), coming) if coming else None
    if draws is None:
        return None
    return Outlook(_ready(draws, _shop_rules()[shop_id].handling_hours), tuple(draws))


def _ready(draws: Sequence[Draw], hours: int) -> datetime | None:
    last = max((draw.source for draw in draws), key=lambda one: one.order)
    return None if last.is_overdue else last.expected_at + timedelta(hours=hours)


def _draw(sku_id: int, units: int, lines: Sequence[Coming]) -> list[Draw]:
    """Units out of the earliest lines, or nothing where they do not suffice."""
    found = []
    for line in lines:
        if line.units > 0 and units:
            found.append(Draw(sku_id, line, min(line.units, units)))
            units -= found[-1].units
    return [] if units else found


def _rows(work: Work, draws: Iterable[Draw], *, now: datetime) -> list[tuple[Any, ...]]:
    """The draws as promises to the order's lines, line by line."""
    left = {id(draw): draw.units for draw in draws}
    rows = []
    for line in work.to_send:
        wants = line.quantity
        for draw in draws:
            if draw.sku_id != line.sku_id or not (units := min(left[id(draw)], wants)):
                continue
            left[id(draw)] -= units
            wants -= units
            rows.append((line.id, work.id, draw.source.pk, units, "active", now, ""))
    return rows


def _write(rows: Sequence[tuple[Any, ...]], taken: Mapping[int, int]) -> None:
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE inventory_inboundline t SET promised = t.promised + v.n "
            "FROM unnest(%s::bigint[], %s::int[]) AS v(id, n) WHERE t.id = v.id",
            [list(taken), list(taken.values())],
        )
    columns = (
        "line_id", "order_id", "inbound_line_id", "quantity", "state", "created_at", "close_reason",
    )  # fmt: skip
    copy_rows(PresalePromise, columns, rows)


def _tell(work: Work, draws: Sequence[Draw], codes: Mapping[int, str], hours: int) -> None:
    """Hold the order with its date in words, and give customer service what got worse."""
    ready = _ready(draws, hours)
    late = "、".join(sorted({d.source.number for d in draws if d.source.is_overdue}))
    what = "预售" if work.is_presale else "缺货，等待到货"
    when = f"预计 {day(ready)} 发货" if ready else f"到货单 {late} 已逾期，等待新的到货时间"
    promised = [[codes[d.sku_id], d.units, d.source.number, d.source.expected_at] for d in draws]
    was = work.promised_at
    is_again = WAITS in work.open_holds
    if is_again and (ready is None or (was is not None and ready > was)):
        words = f"到货有变，原承诺 {day(was)} 发货，现{when}，请告知买家"
        work.tasks.append(TaskDraft(Stage.AFTER_SALES, words))
    work.unhold(_code(SHORT)[0], "已承诺到货", code=SHORT[1])
    work.opening[WAITS] = HoldDraft(
        HoldKind.SHORTAGE, WAITS[1], "1", f"{what}，{when}", {"promise": promised}
    )
    work.change("promised_at", ready)
    work.changes["promise"] = [None, promised]
    if work.action is Action.ORDER_MOVED:
        work.action = Action.PRESALE_PROMISED


def _left_without(work: Work) -> None:
    """Nothing that is to come is left for it. Who had been promised something hears of it."""
    if WAITS not in work.open_holds:
        return
    words = f"到货有变，原承诺 {day(work.promised_at)} 发货，暂无其他到货可承诺，请联系买家"
    work.tasks.append(TaskDraft(Stage.AFTER_SALES, words))
    work.change("promised_at", None)


def day(at: datetime | None) -> str:
    """A date as people here read it."""
    return f"{at.astimezone(SHANGHAI):%m-%d}" if at else "—"


def end(
    order_ids: Collection[int],
    *,
    state: PresalePromise.State,
    reason: str,
    now: datetime,
    line_ids: Collection[int] | None = None,
) -> int:
    """End what these locked orders (these lines of them) are promised; return how many rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT l.id FROM inventory_inboundline l WHERE l.id IN ("
            "SELECT inbound_line_id FROM inventory_presalepromise "
            "WHERE order_id = ANY(%s) AND state = 'active') ORDER BY l.id FOR NO KEY UPDATE",
            [list(order_ids)],
        )
        if not cursor.fetchall():
            return 0
        cursor.execute(
            "WITH ended AS (UPDATE inventory_presalepromise SET state = %s, closed_at = %s, "
            "close_reason = %s WHERE order_id = ANY(%s) AND state = 'active' "
            "AND (%s::bigint[] IS NULL OR line_id = ANY(%s)) RETURNING inbound_line_id, quantity), "
            "back AS (UPDATE inventory_inboundline l SET promised = l.promised - e.n "
            "FROM (SELECT inbound_line_id, sum(quantity)::int AS n FROM ended GROUP BY 1) e "
            "WHERE l.id = e.inbound_line_id) SELECT count(*) FROM ended",
            [state.value, now, reason[:32], list(order_ids),
             None if line_ids is None else list(line_ids), list(line_ids or ())],
        )  # fmt: skip
        return int(cursor.fetchone()[0])


def release(order_ids: Collection[int], *, reason: str, now: datetime) -> int:
    """Give back what these locked orders are promised of what is to come. Repeatable."""
    return end(order_ids, state=PresalePromise.State.RELEASED, reason=reason, now=now)


def _codes(skus: Iterable[int]) -> dict[int, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, code FROM catalog_sku WHERE id = ANY(%s)", [list(skus)])
        return dict(cursor.fetchall())


def retire(works: Iterable[Work], *, actor: Actor, reason: str, now: datetime) -> None:
    """End what says that goods are short, or to come: the next try has words of its own."""
    closed = []
    for work in works:
        if WAITS in work.open_holds:
            work.closing[WAITS] = reason
        if pk := work.open_holds.pop(SHORT, None):
            by = f"{actor.kind}:{actor.id}"[:64]
            closed.append((pk, now, by, reason[:500], work.version + 1))
        work.row_changed = True
    update_rows(
        "orders_orderhold",
        [("id", "bigint"), ("released_at", "timestamptz"), ("released_by", "text"),
         ("release_reason", "text"), ("closed_version", "int")],
        closed,
        where="t.released_at IS NULL",
    )  # fmt: skip
