"""Every figure as what it is: a sum of movements. Now, or as of any moment that is past."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection
from django.utils.translation import gettext_lazy as _

from inventory.models import Account
from ordercenter.core.actor import ActorKind

PER_PAGE: Final = 50
KEPT_ACCOUNTS: Final = (
    Account.AVAILABLE, Account.RESERVED, Account.INBOUND, Account.TRANSIT, Account.DEFECT,
)  # fmt: skip
"""Accounts whose balance a level keeps as a figure of its own."""

REASONS: Final = {
    "opening stock": _("期初库存"), "reserve": _("订单占用"), "ship": _("发货出库"),
    "expired": _("未付款到期释放"), "canceled": _("取消订单释放"), "receive": _("收货"),
    "announce": _("登记到货"), "shortfall": _("少到核销"), "adjust": _("库存调整"),
    "changed": _("订单变更释放"), "claw refused": _("回拨被平台拒绝，退回"),
    "gifts": _("赠品变更"), "in stock": _("预售转现货"), "planned anew": _("预售重新安排"),
    "shipped elsewhere": _("平台另行发货"), "count": _("盘点差异"), "sheet": _("表格导入"),
    "transfer": _("调拨"),
}  # fmt: skip
"""What the ledger's reasons mean; any other is told as it stands."""


PAPERS: Final = {
    "inbound": _("到货单"), "transfer": _("调拨单"), "adjustment": _("库存调整"),
    "count": _("盘点单"),
}  # fmt: skip
"""What kind of paper a movement's ``document`` names."""


def paper_words(document: str) -> str:
    """``inbound:12`` in words; anything else as it stands."""
    kind, _sep, number = document.partition(":")
    return f"{PAPERS[kind]} {number}" if kind in PAPERS else document


def reason_words(reason: str) -> str:
    return str(REASONS.get(reason, reason))


@dataclass(frozen=True, slots=True)
class Flow:
    """All movements of a level of one kind: from, to, why; how many, and the units together."""

    source: Account
    target: Account
    reason: str
    movements: int
    units: int

    @property
    def words(self) -> str:
        return reason_words(self.reason)


@dataclass(frozen=True, slots=True)
class Sum:
    """One figure of a level: what the ledger adds up to, beside what the level says."""

    label: str
    ledger: int
    book: int | None
    """None as of a moment that is past: a level keeps only the present."""

    @property
    def differs(self) -> bool:
        return self.book is not None and self.book != self.ledger


@dataclass(frozen=True, slots=True)
class LevelStory:
    """One level and the movements that made it."""

    level_id: int
    place: str
    warehouse: str
    flows: Sequence[Flow]
    books: Mapping[Account, int] | None

    def balance(self, account: Account) -> int:
        return sum(
            f.units * ((f.target == account) - (f.source == account)) for f in self.flows
        )  # fmt: skip

    @property
    def sums(self) -> list[Sum]:
        """现有 first, then each account the level keeps."""
        found = [
            Sum(str(one.label), self.balance(one), self.books[one] if self.books else None)
            for one in KEPT_ACCOUNTS
        ]
        free, held = found[:2]
        book = None if free.book is None or held.book is None else free.book + held.book
        return [Sum(str(_("现有")), free.ledger + held.ledger, book), *found]

    @property
    def differs(self) -> bool:
        return any(one.differs for one in self.sums)


_STORY: Final = """
    SELECT l.id, v.name, w.name, l.on_hand - l.reserved, l.reserved, l.inbound, l.in_transit,
           l.defect, m.source, m.target, m.reason, m.n, m.units
    FROM inventory_stocklevel l
    JOIN inventory_virtualwarehouse v ON v.id = l.virtual_warehouse_id
    JOIN inventory_warehouse w ON w.id = v.warehouse_id
    LEFT JOIN (
        SELECT level_id, source, target, reason, count(*) AS n, sum(quantity)::int AS units
        FROM inventory_stockmovement
        WHERE level_id IN (SELECT id FROM inventory_stocklevel WHERE sku_id = %(sku)s)
          AND (%(as_of)s::timestamptz IS NULL OR created_at <= %(as_of)s)
        GROUP BY level_id, source, target, reason
    ) m ON m.level_id = l.id
    WHERE l.sku_id = %(sku)s ORDER BY w.rank, v.code, m.source, m.target, m.units DESC
"""


def stories(sku_id: int, *, as_of: datetime | None = None) -> list[LevelStory]:
    """The levels of a SKU with the ledger's sums. One statement, so that figures and movements
    are of the same moment."""
    with connection.cursor() as cursor:
        cursor.execute(_STORY, {"sku": sku_id, "as_of": as_of})
        told = cursor.fetchall()
    flows: defaultdict[int, list[Flow]] = defaultdict(list)
    heads: dict[int, tuple[Any, ...]] = {}
    for row in told:
        heads[row[0]] = row[1:8]
        if row[8] is not None:
            source, target, reason, count, units = row[8:]
            flows[row[0]].append(Flow(Account(source), Account(target), reason, count, units))
    return [
        LevelStory(pk, place, warehouse, flows[pk],
                   None if as_of else dict(zip(KEPT_ACCOUNTS, books, strict=True)))
        for pk, (place, warehouse, *books) in heads.items()
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """Which movements of a SKU are looked at."""

    level_id: int = 0
    account: str = ""
    document: str = ""
    before: int = 0
    """Only those older than this movement: the last one of the page before."""


@dataclass(frozen=True, slots=True)
class Moved:
    """One movement, with the balance of an account of its level after it."""

    id: int
    level_id: int
    place: str
    source: Account
    target: Account
    quantity: int
    balance: int
    reason: str
    document: str
    actor: str
    at: datetime
    order_id: int | None

    @property
    def words(self) -> str:
        return reason_words(self.reason)

    @property
    def paper(self) -> str:
        return paper_words(self.document)

    @property
    def who(self) -> str:
        """The person's name, or the part of the system."""
        kind, _sep, name = self.actor.partition(":")
        return str(_("系统 %s")) % name if kind == ActorKind.JOB else name or kind


@dataclass(frozen=True, slots=True)
class MovedPage:
    rows: Sequence[Moved]
    account: Account
    """Whose balance is told."""
    next_before: int
    """0 where there is nothing older."""


_MOVED: Final = """
    SELECT m.id, m.level_id, v.name, m.source, m.target, m.quantity, m.balance, m.reason,
           m.document, m.actor, m.created_at, r.order_id
    FROM (
        SELECT *, sum(quantity * CASE %(shown)s WHEN target THEN 1 WHEN source THEN -1 ELSE 0 END)
                  OVER (PARTITION BY level_id ORDER BY id)::int AS balance
        FROM inventory_stockmovement
        WHERE level_id IN (SELECT id FROM inventory_stocklevel WHERE sku_id = %(sku)s
                           AND (%(level)s = 0 OR id = %(level)s))
          AND (%(as_of)s::timestamptz IS NULL OR created_at <= %(as_of)s)
    ) m
    JOIN inventory_stocklevel l ON l.id = m.level_id
    JOIN inventory_virtualwarehouse v ON v.id = l.virtual_warehouse_id
    LEFT JOIN inventory_reservation r ON r.id = m.reservation_id
    WHERE (%(before)s = 0 OR m.id < %(before)s)
      AND (%(account)s = '' OR %(account)s IN (m.source, m.target))
      AND (%(document)s = '' OR m.document = %(document)s)
    ORDER BY m.id DESC LIMIT %(limit)s
"""


def moved(sku_id: int, asked: Asked, *, as_of: datetime | None = None) -> MovedPage:
    """A page of a SKU's movements, the latest first, each with its level's running balance."""
    shown = Account(asked.account) if asked.account else Account.AVAILABLE
    with connection.cursor() as cursor:
        cursor.execute(
            _MOVED,
            {
                "sku": sku_id, "level": asked.level_id, "account": asked.account,
                "document": asked.document, "before": asked.before, "as_of": as_of,
                "shown": shown.value, "limit": PER_PAGE + 1,
            },
        )  # fmt: skip
        told = cursor.fetchall()
    rows = [
        Moved(pk, level, place, Account(source), Account(target), *rest)
        for pk, level, place, source, target, *rest in told[:PER_PAGE]
    ]
    return MovedPage(rows, shown, rows[-1].id if len(told) > PER_PAGE else 0)


def documents(sku_id: int) -> Collection[str]:
    """The papers behind a SKU's last movements, for a filter."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT document FROM inventory_stockmovement WHERE document <> '' "
            "AND level_id IN (SELECT id FROM inventory_stocklevel WHERE sku_id = %s) "
            "ORDER BY document LIMIT 100",
            [sku_id],
        )
        return [document for (document,) in cursor.fetchall()]
