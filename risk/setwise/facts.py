"""Every fact in SQL. What each measures is said in the registry; ``risk/facts`` is the other form.

Each becomes an expression over one order, or a column of a part that is joined to it.
"""

from collections.abc import Callable, Mapping
from typing import Final

from ordercenter.core.addresses import PROVINCES
from risk.facts.plain import OVER_CUSTOMS
from risk.language import FactSpec
from risk.setwise import prices
from risk.setwise.likeness import likeness
from risk.setwise.lists import Lists
from risk.setwise.recorded import RECORDED, Recorded
from risk.setwise.statement import Statement, Told
from risk.setwise.texts import BLANKS, normal_text
from risk.setwise.windows import Windows

_MAIN: Final = "FILTER (WHERE NOT is_gift)"
_SUMS: Final[Mapping[str, str]] = {
    "goods_amount": f"sum(amount) {_MAIN}",
    "units": f"sum(quantity) {_MAIN}",
    "lines": f"count(*) {_MAIN}",
}
"""Nothing for no goods."""
_ANY: Final[Mapping[str, str]] = {"is_bundle": "bool_or(is_part)", "has_gift": "bool_or(is_gift)"}
_SETS: Final[Mapping[str, str]] = {
    "category": f"array_remove(array_agg(category::text) {_MAIN}, '')",
    "sku": "array_agg(sku::text)",
}
_COLUMNS: Final[Mapping[str, str]] = {
    "amount": "s.amount",
    "freight": "s.freight",
    "is_presale": "s.is_presale",
    "is_test": "s.is_test",
    "is_rush": "s.is_rush",
    "hour": "extract(hour FROM s.placed_at AT TIME ZONE 'Asia/Shanghai')",
}
_TEXTS: Final[Mapping[str, str]] = {"remark": "buyer_remark", "memo": "seller_memo"}
_PLACES: Final = frozenset({"province", "city", "district", "channel", "shop"})


class Facts:
    """The facts of one statement, each made once."""

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self._windows = Windows(statement)
        self._lists = Lists(statement)
        recorded = Recorded(statement)
        self._known: dict[FactSpec, Told] = {}
        self._makers: Final[Mapping[str, Callable[[FactSpec], Told]]] = {
            **dict.fromkeys(RECORDED, recorded.told),
            **dict.fromkeys(_COLUMNS, lambda spec: Told(_COLUMNS[spec.name])),
            **dict.fromkeys(_PLACES, _place),
            **dict.fromkeys(_SUMS, self._over_goods(_SUMS, "0")),
            **dict.fromkeys(_ANY, self._over_goods(_ANY, "false")),
            **dict.fromkeys(_SETS, self._over_goods(_SETS, "'{}'")),
            **dict.fromkeys(_TEXTS, self._text),
            "orders_in_window": self._windows.orders,
            "money_in_window": self._windows.money,
            "day_amount": self._windows.day,
            "units_in_window": self._units,
            "price_ratio": lambda spec: prices.price_ratio(statement, spec),
            "discount_ratio": lambda _: prices.discount_ratio(statement),
            "likeness": lambda spec: likeness(statement, spec, recorded),
            "in_list": lambda spec: self._lists.listed(spec.param("list")),
            "carrier_reach": lambda spec: self._lists.reach(spec.param("list")),
            "max_line_units": self._max_line_units,
            "remark_empty": self._remark_empty,
            "is_cross_border": self._is_cross_border,
        }

    def told(self, spec: FactSpec) -> Told:
        """The fact as an expression over one order."""
        if spec not in self._known:
            self._known[spec] = self._makers[spec.name](spec)
        return self._known[spec]

    def _over_goods(self, figures: Mapping[str, str], nothing: str) -> Callable[[FactSpec], Told]:
        """A figure over the goods; ``nothing`` for an order without any."""
        goods = self._statement.goods
        return lambda spec: Told(f"COALESCE({goods(figures[spec.name])}, {nothing})")

    def _max_line_units(self, _: FactSpec) -> Told:
        most = self._statement.goods(f"max(quantity) {_MAIN}")
        return Told(most, f"{most} IS NOT NULL")

    def _text(self, spec: FactSpec) -> Told:
        return Told(f"COALESCE({normal_text(self._statement, _TEXTS[spec.name])}, '')")

    def _remark_empty(self, _: FactSpec) -> Told:
        blanks = self._statement.bind(BLANKS, "text")
        return Told(f"(translate(s.buyer_remark, {blanks}, '') = '')")

    def _is_cross_border(self, _: FactSpec) -> Told:
        """A place beyond the customs, or without a Chinese sign in its name. What province it
        is tells most: a pattern takes much longer to match."""
        bind = self._statement.bind
        inside = bind(sorted(set(PROVINCES) - OVER_CUSTOMS), "text[]")
        beyond = bind(sorted(OVER_CUSTOMS), "text[]")
        chinese = bind("[\u4e00-\u9fff]", "text")
        is_beyond = f"(s.province = ANY({beyond}) OR s.province !~ {chinese})"
        return Told(f"(s.province <> ALL({inside}) AND {is_beyond})", "s.province <> ''")

    def _units(self, spec: FactSpec) -> Told:
        """Pieces of these goods, or of what was listed when the order came."""
        named, code = spec.param("skus", ()), spec.param("list", "")
        wanted = "true"
        if named:
            wanted = f"l.sku = ANY({self._statement.bind(sorted(named), 'text[]')})"
        if not code:
            return self._windows.units(spec, wanted)
        return self._windows.units_listed(spec, f"{wanted} AND {self._lists.holds_sku(code)}")


def _place(spec: FactSpec) -> Told:
    """A text as a set of one; unknown where nothing is given."""
    return Told(f"(CASE WHEN s.{spec.name} <> '' THEN ARRAY[s.{spec.name}::text] END)")
