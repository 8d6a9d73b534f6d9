"""Reference tables as plain data: rows by codes people know, never by keys of this database.

A row is ``{field: text}``; what it points at is named by its code. Nothing is ever removed: a row
that only this installation has stays.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models

from channels_sync.models import CarrierCode
from fulfillment.models import StageClock
from inventory import buffers, quotas
from inventory.models import ChannelQuota, SafetyStock, StockPolicy
from ordercenter.audit.models import Action
from ordercenter.catalog import gifts
from ordercenter.catalog.models import GiftStrategy, GiftTier, Shop, Sku
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Can

Row = Mapping[str, Any]
Key = tuple[str, ...]


def _nothing(*_: Any) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Table:
    """One reference table and how its rows are told."""

    name: str
    label: str
    model: type[models.Model]
    key: tuple[str, ...]
    """Fields that tell its rows apart; empty for a table of one row."""
    fields: tuple[str, ...]
    right: Can
    action: Action
    many: tuple[str, ...] = ()
    """Ties to many others, as sorted lists of codes."""
    only_changes: bool = False
    """Rows that are not there are not made."""
    check: Callable[[Any], None] = _nothing
    """Refuses a row as its admin page does (InvalidInput)."""
    follow: Callable[[], object] = _nothing
    """What a change of any row asks for."""

    def read(self) -> dict[Key, dict[str, Any]]:
        """Every row by its key, in few statements."""
        ties = [name for name in (*self.key, *self.fields) if self._is_tie(name)]
        rows = self.model._default_manager.select_related(*ties).prefetch_related(*self.many)
        found = {}
        for row in rows.order_by("pk"):
            told = {name: self._told(row, name) for name in (*self.key, *self.fields)}
            told |= {name: sorted(one.code for one in getattr(row, name).all())
                     for name in self.many}  # fmt: skip
            found[tuple(str(told[name] or "") for name in self.key)] = told
        return found

    def key_of(self, row: Row) -> Key:
        return tuple(str(row.get(name) or "") for name in self.key)

    def write(self, row: Row) -> models.Model:
        """Make or change one row, checked as its form would check it. Raises InvalidInput."""
        named = {name: self._value(name, row.get(name)) for name in self.key}
        there = self.model._default_manager.filter(
            **{f"{name}__isnull" if value is None else name: True if value is None else value
               for name, value in named.items()}
        )  # fmt: skip
        one = there.select_for_update(of=("self",)).first()
        if one is None:
            if self.only_changes:
                raise InvalidInput(what="这里没有")
            one = self.model(**named) if self.key else self.model(pk=1)
        for name in self.fields:
            if name in row:
                setattr(one, name, self._value(name, row[name]))
        ties = {name: self._many(name, row[name]) for name in self.many if name in row}
        try:
            one.full_clean()
        except ValidationError as error:
            raise InvalidInput(what="；".join(error.messages)) from error
        self.check(one)
        one.save()
        for name, others in ties.items():
            getattr(one, name).set(others)
        return one

    def _is_tie(self, name: str) -> bool:
        return isinstance(self.model._meta.get_field(name), models.ForeignKey)

    def _told(self, row: models.Model, name: str) -> Any:
        value = getattr(row, name)
        if self._is_tie(name):
            return value.code if value is not None else None
        return value if value is None or isinstance(value, bool | int) else str(value)

    def _value(self, name: str, told: Any) -> Any:
        field = self.model._meta.get_field(name)
        if told is None:
            return None
        if isinstance(field, models.ForeignKey):
            found = field.related_model._default_manager.filter(code=str(told)).first()
            if found is None:
                raise InvalidInput(what=f"这里没有{field.verbose_name} {str(told)[:40]}")
            return found
        try:
            return field.to_python(told)  # type: ignore[union-attr]
        except ValidationError as error:
            raise InvalidInput(what="；".join(error.messages)) from error

    def _many(self, name: str, codes: Any) -> list[Any]:
        related: Any = self.model._meta.get_field(name).related_model
        wanted = list(map(str, codes)) if isinstance(codes, list) else []
        found = {one.code: one for one in related._default_manager.filter(code__in=wanted)}
        if missing := [code for code in wanted if code not in found]:
            raise InvalidInput(what=f"这里没有{related._meta.verbose_name} {missing[0][:40]}")
        return list(found.values())


class GiftTable(Table):
    """Gift strategies with their steps, which are nobody else's."""

    def read(self) -> dict[Key, dict[str, Any]]:
        found = super().read()
        steps: dict[str, list[list[Any]]] = {}
        told = GiftTier.objects.order_by("min_amount", "min_quantity").values_list(
            "strategy__code", "min_amount", "min_quantity", "gift_sku__code", "quantity"
        )
        for code, amount, pieces, gift, quantity in told:
            steps.setdefault(code, []).append([str(amount), pieces, gift, quantity])
        return {key: {**row, "tiers": steps.get(key[0], [])} for key, row in found.items()}

    def write(self, row: Row) -> models.Model:
        one = super().write(row)
        assert isinstance(one, GiftStrategy)
        if "tiers" in row:
            one.tiers.all().delete()
            for amount, pieces, gift, quantity in self._steps(row["tiers"]):
                tier = GiftTier(strategy=one, min_amount=amount, min_quantity=pieces,
                                gift_sku=gift, quantity=quantity)  # fmt: skip
                try:
                    tier.full_clean()
                except ValidationError as error:
                    raise InvalidInput(what="；".join(error.messages)) from error
                tier.save()
        return one

    def _steps(self, told: Any) -> Iterable[tuple[Any, Any, Sku, Any]]:
        if not isinstance(told, list):
            raise InvalidInput(what="阶梯应为列表")
        for step in told:
            if not isinstance(step, list) or len(step) != 4:  # noqa: PLR2004 - money, pieces, gift, units
                raise InvalidInput(what="阶梯的写法不认识")
            gift = Sku.objects.filter(code=str(step[2])).first()
            if gift is None:
                raise InvalidInput(what=f"这里没有货品 {str(step[2])[:40]}")
            yield step[0], step[1], gift, step[3]


TABLES: Final = (
    Table("stages", "环节时限", StageClock, ("stage",), ("minutes",),
          Can.EDIT_RULES, Action.RULES_CHANGED),
    Table("shop_policies", "店铺策略", Shop, ("code",),
          ("unpaid_hold_minutes", "sells_ahead", "handling_hours", "shortage_days",
           "balance_days", "most_parcels"),
          Can.EDIT_SHOPS, Action.SHOP_CHANGED, only_changes=True),
    Table("carrier_codes", "平台快递编码", CarrierCode, ("channel", "carrier"), ("code",),
          Can.EDIT_SHOPS, Action.SHOP_CHANGED),
    Table("stock_policy", "库存策略", StockPolicy, (),
          ("hot_percent", "slow_percent", "replenish_below", "few_below", "danger_below",
           "few_most_per_order", "lead_days", "two_person_units", "unpaid_units_per_buyer",
           "unpaid_units_per_address", "unpaid_ip_percent"),
          Can.EDIT_STOCK_POLICY, Action.STOCK_POLICY_CHANGED, follow=buffers.compute_buffers),
    Table("safety_stock", "安全库存", SafetyStock, ("sku",),
          ("method", "value", "floor", "cap", "hot_until", "is_active"),
          Can.EDIT_STOCK_POLICY, Action.STOCK_POLICY_CHANGED, check=quotas.check_safety,
          follow=buffers.compute_buffers),
    Table("quotas", "渠道配额", ChannelQuota, ("shop", "sku"),
          ("percent", "plus", "minimum", "maximum", "priority", "is_active"),
          Can.EDIT_STOCK_POLICY, Action.STOCK_POLICY_CHANGED, many=("warehouses",),
          check=quotas.check_quota, follow=lambda: buffers.note_moved_skus(None)),
    GiftTable("gift_strategies", "赠品策略", GiftStrategy, ("code",),
              ("name", "kind", "gift_sku", "quantity", "min_amount", "min_quantity", "starts_at",
               "ends_at", "first_orders", "per_buyer", "substitute", "is_active"),
              Can.EDIT_MAPPING, Action.CATALOG_CHANGED, many=("shops", "main_skus"),
              follow=gifts.forget),
)  # fmt: skip
BY_NAME: Final[Mapping[str, Table]] = {table.name: table for table in TABLES}
