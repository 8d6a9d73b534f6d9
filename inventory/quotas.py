"""What may be said in quotas and safety stock. A rule that contradicts the stock is refused."""

from typing import Final

from django.db import connection
from django.db.models import F, Sum
from django.utils.translation import gettext_lazy as _

from inventory.models import ChannelQuota, SafetyStock, StockLevel
from ordercenter.core.errors import InvalidInput, OrderCenterError

RULES_LOCK: Final = 7_205_012
"""Two minima saved at once would each find room for itself."""
MOST_PERCENT: Final = 100


class StaleRule(OrderCenterError):
    code = "stale_rule"
    message = _("%(what)s 已被他人更新，请刷新后重试")


def check_quota(row: ChannelQuota) -> None:
    """Refuse (InvalidInput) a quota out of bounds, and minima that sum above what there is.

    Within a transaction: nobody else saves one until it ends. Minima of a SKU's own rules and
    what is locked for shops must fit together into what is promised to no order; the shops'
    rules for all goods are met as far as there is stock.
    """
    if not 0 <= row.percent <= MOST_PERCENT:
        raise InvalidInput(what=_("比例应在 0 到 100 之间"))
    if row.minimum is not None and row.maximum is not None and row.minimum > row.maximum:
        raise InvalidInput(what=_("最少不能大于最多"))
    if row.sku_id is None or not row.minimum or not row.is_active:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [RULES_LOCK])
    others = ChannelQuota.objects.filter(sku_id=row.sku_id, is_active=True).exclude(pk=row.pk)
    taken = others.aggregate(n=Sum("minimum"))["n"] or 0
    levels = StockLevel.objects.filter(sku_id=row.sku_id)
    free = levels.aggregate(n=Sum(F("on_hand") - F("reserved") - F("locked")))["n"] or 0
    if taken + row.minimum > free:
        raise InvalidInput(
            what=_("各店最少合计 %(sum)d 件，超过可用 %(free)d 件（已扣除占用与店铺锁定）")
            % {"sum": taken + row.minimum, "free": free}
        )


def check_safety(row: SafetyStock) -> None:
    """Refuse (InvalidInput) safety stock of more than all there is: 150 %, units above on hand."""
    if row.method == SafetyStock.Method.PERCENT and not 0 <= row.value <= MOST_PERCENT:
        raise InvalidInput(what=_("安全库存比例应在 0 到 100 之间"))
    if row.value < 0:
        raise InvalidInput(what=_("安全库存不能小于 0"))
    if row.cap is not None and row.cap < row.floor:
        raise InvalidInput(what=_("上限不能小于下限"))
    if row.sku_id is None or not row.is_active:
        return
    on_hand = StockLevel.objects.filter(sku_id=row.sku_id).aggregate(n=Sum("on_hand"))["n"] or 0
    units = row.value if row.method == SafetyStock.Method.UNITS else 0
    if max(units, row.floor) > on_hand:
        raise InvalidInput(
            what=_("安全库存 %(units)s 件大于现有 %(on_hand)d 件")
            % {"units": max(units, row.floor).__format__("f"), "on_hand": on_hand}
        )


def take_version(row: ChannelQuota, *, seen: int) -> None:
    """Count one more version of a stored quota, unless it is not the one that was seen.

    Raises StaleRule; of two who change the same picture one succeeds.
    """
    if not ChannelQuota.objects.filter(pk=row.pk, version=seen).update(version=seen + 1):
        raise StaleRule(what=row)
    row.version = seen + 1
