"""Figures of a warehouse of others as its own system tells them, row by row.

What is told is held against the books of its own moment, as a stock sheet is: rows that can be
applied are, and each other row is answered in words and changes nothing.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from django.db import transaction
from django.db.models import TextChoices
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from inventory import adjustments, papers, statements
from inventory.ledger import LevelKey, open_levels
from inventory.models import (
    Adjustment,
    StockFile,
    StockLevel,
    ToldFigure,
    VirtualWarehouse,
    Warehouse,
)
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.catalog.models import Sku
from ordercenter.core.actor import Actor
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound, OrderCenterError
from ordercenter.core.policy import AnyUser, Can, require
from ordercenter.notices import services as notices

LONGEST_CODE: Final = 40
OLDEST: Final = timedelta(days=7)
MOST_NAMED: Final = 20
"""Refused SKUs that a record or a notice names."""


class Outcome(TextChoices):
    """What became of one row."""

    APPLIED = "applied", gettext_lazy("已调整")
    WAITS = "waits", gettext_lazy("待第二人复核")
    SAME = "same", gettext_lazy("相符")
    REFUSED = "refused", gettext_lazy("未采用")


class ReferenceUsed(OrderCenterError):
    code = "reference_used"
    message = gettext_lazy("编号 %(reference)s 已用于另一份数据")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it was told: a SKU's code and the units on the shelf, or what is wrong with it."""

    sku: str
    units: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one row came to. ``book`` are the units our books had at the moment told of."""

    sku: str
    units: int | None
    outcome: str
    message: str = ""
    book: int | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a whole telling came to."""

    file: StockFile
    is_new: bool

    @property
    def answer(self) -> Mapping[str, Any]:
        assert self.file.answer is not None
        answer: Mapping[str, Any] = self.file.answer
        return answer


def read_row(entry: object) -> Row:
    """One entry of a body as a row; what it lacks is its problem."""
    if not isinstance(entry, Mapping):
        return Row("", 0, _("每一行应是一个对象，含 sku 与 units"))
    code, units = entry.get("sku"), entry.get("units")
    if not isinstance(code, str) or not 0 < len(code) <= LONGEST_CODE or "\0" in code:
        return Row("", 0, _("sku 应为 1 到 40 个字的货品编码"))
    if extra := sorted(set(map(str, entry)) - {"sku", "units"}):
        return Row(code, 0, _("不认识的字段 %(name)s") % {"name": extra[0][:40]})
    if not isinstance(units, int) or isinstance(units, bool) or not 0 <= units <= papers.MOST_UNITS:
        return Row(code, 0, _("units 应为 0 到 %(most)d 的整数") % {"most": papers.MOST_UNITS})
    return Row(code, units)


@transaction.atomic
def tell(
    room_code: str,
    rows: Sequence[Row],
    *,
    as_of: datetime,
    reference: str,
    warehouses: Collection[int],
    user: AnyUser,
    actor: Actor,
    now: datetime | None = None,
) -> Told:
    """Take what one of ``warehouses`` says it had of these SKUs at ``as_of``, row by row.

    A row becomes a correction of its difference, at once up to the policy's limit, else when a
    second person agrees. Refused is a row that is wrong, is older than what was told of its SKU,
    or would take what is promised. The same ``reference`` with the same rows changes nothing and
    is answered as it was; with others it raises ReferenceUsed. Raises NotFound for a warehouse
    that is not among ``warehouses``.
    """
    now = now or clock_now()
    require(user, Can.TELL_STOCK)
    room = _room(room_code, warehouses)
    digest = _digest(reference, as_of, rows)
    if before := StockFile.objects.filter(virtual_warehouse=room, reference=reference).first():
        if before.digest != digest:
            raise ReferenceUsed(reference=reference)
        return Told(before, is_new=False)
    if as_of > now + statements.AHEAD:
        raise InvalidInput(what=_("数据时间在将来，请核对"))
    if as_of < now - OLDEST:
        raise InvalidInput(what=_("数据时间早于 %(days)d 天前，请报新的") % {"days": OLDEST.days})
    file = StockFile.objects.create(
        virtual_warehouse=room, as_of=as_of, digest=digest, applied_by=actor.name[:80],
        applied_at=now, source=StockFile.Source.API, reference=reference,
    )  # fmt: skip
    answers = _take(file, rows, user=user, actor=actor, now=now)
    counts = Counter(one.outcome for one in answers)
    file.answer = {
        "reference": reference, "warehouse": room.code, "as_of": as_of.isoformat(),
        **{outcome.value: counts[outcome.value] for outcome in Outcome},
        "rows": [asdict(one) for one in answers],
    }  # fmt: skip
    file.save(update_fields=["answer"])
    _tell_of(file, room, answers, counts, actor=actor, now=now)
    return Told(file, is_new=True)


def _room(code: str, warehouses: Collection[int]) -> VirtualWarehouse:
    """The virtual warehouse that may be told of, locked: of two tellings one comes after."""
    room = (
        VirtualWarehouse.objects.filter(code=code, warehouse__in=warehouses)
        .filter(warehouse__is_active=True)
        .exclude(warehouse__kind=Warehouse.Kind.OWN)
        .select_for_update(no_key=True, of=("self",))
        .first()
    )
    if room is None:
        raise NotFound(what=_("仓库 %(code)s") % {"code": code})
    return room


def _digest(reference: str, as_of: datetime, rows: Sequence[Row]) -> str:
    told = [reference, as_of.isoformat(), *([row.sku, row.units, row.problem] for row in rows)]
    return sha256(json.dumps(told, ensure_ascii=False).encode()).hexdigest()


def _take(
    file: StockFile, rows: Sequence[Row], *, user: AnyUser, actor: Actor, now: datetime
) -> list[Answer]:
    """Apply the rows that can be; what became of each, in their order."""
    skus = dict(Sku.objects.filter(code__in={row.sku for row in rows}).values_list("code", "pk"))
    times = Counter(row.sku for row in rows)
    problems = [row.problem or _problem(row, skus, times) for row in rows]
    told = {
        skus[row.sku]: row.units for row, wrong in zip(rows, problems, strict=True) if not wrong
    }
    levels = _by_sku(open_levels([file.virtual_warehouse_id], told)) if told else {}
    stale = _stale(levels, file.as_of)
    fresh = {sku: units for sku, units in told.items() if sku not in stale}
    found = {
        one.sku_id: one
        for one in statements.differences_of(levels, file.virtual_warehouse_id, fresh, file.as_of)
    }
    good = [one for one in found.values() if one.delta and not one.problem]
    reason = _("对方报数，截至 %(as_of)s") % {
        "as_of": f"{file.as_of.astimezone(SHANGHAI):%m-%d %H:%M}"
    }
    booked = statements.corrections(good, levels, reason=reason, user=user, actor=actor, now=now)
    adjustments.book(booked, user=user, actor=actor, now=now, reason="statement")
    statements.keep_told(file, levels, fresh)
    waits = {row.level_id for row in booked if row.state == Adjustment.State.WAITING}
    answers = []
    for row, wrong in zip(rows, problems, strict=True):
        if wrong:
            units = None if row.problem else row.units
            answers.append(Answer(row.sku, units, Outcome.REFUSED.value, wrong))
            continue
        sku = skus[row.sku]
        one = found.get(sku)
        answers.append(_answer(row, one, stale.get(sku, ""), levels[sku].pk in waits))
    return answers


def _by_sku(levels: Mapping[LevelKey, StockLevel]) -> dict[int, StockLevel]:
    return {sku: level for (_room_id, sku), level in levels.items()}


def _problem(row: Row, skus: Mapping[str, int], times: Mapping[str, int]) -> str:
    if row.sku not in skus:
        return _("没有货品 %(code)s") % {"code": row.sku}
    return _("同一货品有多行") if times[row.sku] > 1 else ""


def _stale(levels: Mapping[int, StockLevel], as_of: datetime) -> dict[int, str]:
    """Why what is told now is older than what is known, by SKU."""
    younger = ToldFigure.objects.filter(
        level__in=[level.pk for level in levels.values()], as_of__gte=as_of
    ).values_list("level__sku_id", "as_of")
    return {
        sku: _("已有截至 %(as_of)s 的数据，只接受更新的")
        % {"as_of": f"{at.astimezone(SHANGHAI):%m-%d %H:%M:%S}"}
        for sku, at in younger
    }


def _answer(row: Row, one: statements.Difference | None, stale: str, waits: bool) -> Answer:
    if one is None:
        return Answer(row.sku, row.units, Outcome.REFUSED.value, stale)
    outcome, words = Outcome.APPLIED, ""
    if one.problem:
        outcome, words = Outcome.REFUSED, one.problem
    elif not one.delta:
        outcome = Outcome.SAME
    elif waits:
        outcome, words = Outcome.WAITS, _("相差 %(n)+d 件，须第二人复核") % {"n": one.delta}
    return Answer(row.sku, row.units, outcome.value, words, one.book)


def _tell_of(
    file: StockFile,
    room: VirtualWarehouse,
    answers: Sequence[Answer],
    counts: Mapping[str, int],
    *,
    actor: Actor,
    now: datetime,
) -> None:
    """Put it on record; people hear of what was not taken, as a shelf may be emptier than ours."""
    refused = [one for one in answers if one.outcome == Outcome.REFUSED]
    record(
        Action.STOCK_ADJUSTED, object_type="stock_file", object_id=file.pk, actor=actor,
        change={
            "as_of": file.as_of.isoformat(), "skus": len(answers), "reference": file.reference,
            "made": counts.get(Outcome.APPLIED, 0), "waiting": counts.get(Outcome.WAITS, 0),
            "refused": [one.sku for one in refused[:MOST_NAMED]],
        },
        reason=_("接口报数"),
    )  # fmt: skip
    if refused:
        named = [f"{one.sku}：{one.message}" for one in refused[:MOST_NAMED]]
        notices.tell(
            key=f"figures:{room.pk}:{now:%Y%m%d%H}", urgency="2",
            title=_("%(room)s 报数有 %(n)d 行未采用") % {"room": room.name, "n": len(refused)},
            lines=named, now=now,
        )  # fmt: skip
