"""What cannot be right about an order although it can be read.

Where goods or money hang on it the order is held; else it goes on and its record is flagged.
"""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from channels_sync.connectors.values import FIRST_YEAR, LAST_YEAR
from fulfillment.models import Stage
from ordercenter.orders.contracts import OrderDraft
from ordercenter.orders.states import HoldKind, OrderStatus
from ordercenter.pipeline.work import HoldDraft, TaskDraft, Work

AHEAD: Final = timedelta(hours=1)
"""A platform's clock may be off by minutes; so much is a mistake."""
REUSED_AFTER: Final = timedelta(days=180)
"""An order does not change when it was placed: so far apart they are two."""
AGAIN: Final = "ask_again"
"""Marks a hint of our own: the platform's words of one second contradict each other."""
PLACED: Final = "placed_at"
"""The code of the hold for a time no order can have been placed at."""

OrderKey = tuple[int, str]


def is_believable(placed_at: datetime) -> bool:
    """Whether anything can have been ordered then; epoch 0, 9999 and other calendars are not."""
    return FIRST_YEAR <= placed_at.year < LAST_YEAR


def settle(work: Work, draft: OrderDraft, twins: Collection[str], *, now: datetime) -> None:
    """Hold and flag a new order for what is odd about it."""
    if not is_believable(draft.placed_at):
        if work.status is not OrderStatus.CANCELED:
            words = f"下单时间不可信（{draft.placed_at.year} 年），已按收到时间处理"
            work.hold(HoldDraft(HoldKind.INCOMPLETE, PLACED, "2", words))
            work.tasks.append(TaskDraft(Stage.FIRST_REVIEW, words))
        return
    if draft.modified_at < draft.placed_at:
        work.flags.append("修改时间早于下单时间")
    if draft.paid_at is not None and draft.paid_at < draft.placed_at:
        work.flags.append("付款时间早于下单时间")
    if draft.placed_at - now > AHEAD:
        work.flags.append("下单时间晚于收到时间")
    work.flags += [f"与订单 {twin!r} 的单号只差大小写或空格" for twin in sorted(twins)]


def is_reused(work: Work, draft: OrderDraft) -> bool:
    """Whether the platform gives a number again that we know as another order's."""
    if work.held_by_code(HoldKind.INCOMPLETE, PLACED) or not is_believable(draft.placed_at):
        return False
    return abs(draft.placed_at - work.placed_at) > REUSED_AFTER


def hold_reused(work: Work, draft: OrderDraft) -> None:
    """Leave the order as it is and give the case to a person."""
    words = (
        f"平台重复使用了单号：原订单 {work.placed_at:%Y-%m-%d} 下单，"
        f"新订单 {draft.placed_at:%Y-%m-%d} 下单，请人工建单处理"
    )
    work.hold(HoldDraft(HoldKind.CHANGED, "reused", "2", words))
    work.tasks.append(TaskDraft(Stage.AFTER_SALES, words))


def near_twins(keys: Collection[OrderKey]) -> dict[OrderKey, set[str]]:
    """Orders whose number differs from one of these by case or outer blanks only.

    Looks for the usual spellings, by the index there is.
    """
    spelt = {key: _spellings(key[1]) - {key[1]} for key in keys}
    asked = [(shop, number, one) for (shop, number), all_ in spelt.items() for one in all_]
    found: dict[OrderKey, set[str]] = {}
    if not asked:
        return found
    by_core: dict[OrderKey, set[str]] = {}
    for shop, number in keys:
        by_core.setdefault((shop, number.strip().casefold()), set()).add(number)
    for shop, number in keys:
        if others := by_core[shop, number.strip().casefold()] - {number}:
            found[shop, number] = others
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT v.shop_id, v.number, o.channel_number "
            "FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS v(shop_id, number, twin) "
            "JOIN orders_salesorder o ON o.shop_id = v.shop_id AND o.channel_number = v.twin",
            [list(column) for column in zip(*asked, strict=True)],
        )
        for shop, number, twin in cursor.fetchall():
            found.setdefault((shop, number), set()).add(twin)
    return found


def _spellings(number: str) -> set[str]:
    core = number.strip()
    cases = {core, core.upper(), core.lower(), core.title()}
    is_odd = core != number or len(cases) > 1
    return {*cases, f" {core}", f"{core} "} if is_odd else set()


def contradict(one: OrderDraft, other: OrderDraft) -> bool:
    """Whether two words of one moment say different things."""
    return one.modified_at == other.modified_at and _gist(one) != _gist(other)


def question(draft: OrderDraft) -> str:
    """Names what the platform is asked when its words contradict each other; once for each."""
    said = hashlib.blake2b(repr(_gist(draft)).encode(), digest_size=8).hexdigest()
    return f"{AGAIN}:{draft.channel_number}:{draft.modified_at.isoformat()}:{said}"


def _gist(draft: OrderDraft) -> tuple[object, ...]:
    """What goods and money hang on; a list and a push may differ in the rest."""
    lines = sorted((ln.channel_line_id, ln.quantity, ln.amount) for ln in draft.lines)
    return (draft.status, draft.payable_amount, draft.paid_amount, draft.refund_state, lines)


def disputed(works: Collection[Work], before: Mapping[int, datetime]) -> list[Work]:
    """Orders that learned something new from a word that is no newer than the last one."""
    return [
        work
        for work in works
        if before[work.id] == work.channel_modified_at and (work.changes or work.opening)
    ]
