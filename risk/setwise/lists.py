"""Lists in SQL, as they stood when the order came in."""

from typing import Final

from django.db.models import Exists, OuterRef

from risk.models import RuleList, RuleListEntry
from risk.setwise.statement import FALSE, TRUE, Statement, Told
from risk.setwise.texts import normal_sql

Key = RuleList.Key
_BY_EVIDENCE: Final = frozenset({Key.BUYER, Key.DEVICE, Key.PHONE, Key.ADDRESS, Key.IP})
_STANDS: Final = (
    "t.added_at <= s.received_at AND "
    "COALESCE(s.received_at < LEAST(t.expires_at, t.removed_at), true)"
)


class Lists:
    """The lists of one statement, read as they are asked for."""

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self._known: dict[str, tuple[int, str]] | None = None
        self._filled: set[int] = set()

    def listed(self, code: str) -> Told:
        """Whether the order is on the list. A list that is empty or not there holds nobody."""
        found = self._find(code)
        if found is None:
            return Told(FALSE)
        pk, key = found
        if pk not in self._filled:
            return Told(FALSE, self._applies(key))
        entries = f"t.rule_list_id = {self._statement.bind(pk, 'bigint')} AND {_STANDS}"
        if key in _BY_EVIDENCE:
            return self._by_evidence(entries, key)
        if key == Key.REGION:
            return self._by_region(entries)
        if key == Key.SKU:
            return self._by_sku(entries)
        return self._by_word(entries)

    def _applies(self, key: str) -> str:
        """Where an order has what the list is of; a place or a word may be missing."""
        if key in _BY_EVIDENCE:
            return f"COALESCE({self._statement.keys()}.{key}, '') <> ''"
        return f"{self._statement.goods('count(*)')} IS NOT NULL" if key == Key.SKU else ""

    def reach(self, code: str) -> Told:
        """Whether the place is not on a list of places that no carrier serves."""
        told = self.listed(code)
        return Told(TRUE if told.value == FALSE else f"(NOT {told.value})", told.applies)

    def holds_sku(self, code: str) -> str:
        """Whether the SKU of a line ``l`` was listed when the order ``s`` came."""
        found = self._find(code)
        if found is None:
            return FALSE
        pk = self._statement.bind(found[0], "bigint")
        return (
            f"EXISTS (SELECT 1 FROM risk_rulelistentry t WHERE t.rule_list_id = {pk} "  # noqa: S608 - values are bound
            f"AND t.value = l.sku AND {_STANDS})"
        )

    def _find(self, code: str) -> tuple[int, str] | None:
        if self._known is None:
            entries = RuleListEntry.objects.filter(rule_list=OuterRef("pk"))
            rows = RuleList.objects.values_list("code", "pk", "key", Exists(entries))
            self._known = {}
            for name, pk, key, is_filled in rows:
                self._known[name] = (pk, key)
                if is_filled:
                    self._filled.add(pk)
        return self._known.get(code)

    def _is_on(self, entries: str, key: str, body: str) -> str:
        """Whether the order is among those of ``body``."""
        name = self._statement.part(("listed", entries, key), lambda: body)
        return f"({name}.order_id IS NOT NULL)"

    def _by_evidence(self, entries: str, key: str) -> Told:
        body = (
            "SELECT DISTINCT x.order_id FROM e AS x JOIN s ON s.id = x.order_id "  # noqa: S608 - own columns
            f"JOIN risk_rulelistentry t ON t.value = x.{key} AND {entries}"
        )
        return Told(self._is_on(entries, key, body), self._applies(key))

    def _by_sku(self, entries: str) -> Told:
        body = (
            "SELECT DISTINCT l.order_id FROM l JOIN s ON s.id = l.order_id "  # noqa: S608 - own columns
            f"JOIN risk_rulelistentry t ON t.value = l.sku AND {entries}"
        )
        return Told(self._is_on(entries, "sku", body), self._applies(Key.SKU))

    def _by_region(self, entries: str) -> Told:
        """By province, city or district; a place that is not given is unknown, unless the list
        was empty."""
        body = (
            f"SELECT DISTINCT s.id AS order_id FROM s CROSS JOIN LATERAL unnest({_REGIONS}) "  # noqa: S608 - own columns
            f"AS r(name) JOIN risk_rulelistentry t ON t.value = r.name AND {entries} "
            "WHERE r.name <> ''"
        )
        found = self._is_on(entries, "region", body)
        stands = f"EXISTS (SELECT 1 FROM risk_rulelistentry t WHERE {entries})"  # noqa: S608 - values are bound
        unknown = f"CASE WHEN {stands} THEN NULL ELSE false END"
        return Told(f"(CASE WHEN {_NO_REGION} THEN {unknown} ELSE {found} END)")

    def _by_word(self, entries: str) -> Told:
        remark, memo = (
            normal_sql(self._statement, f"o.{column}") for column in ("buyer_remark", "seller_memo")
        )
        body = (
            "SELECT DISTINCT s.id AS order_id FROM (SELECT o.id, o.received_at, "  # noqa: S608 - own columns, values are bound
            f"{remark} || E'\n' || {memo} AS text FROM s AS o "
            "WHERE o.buyer_remark <> '' OR o.seller_memo <> '' OFFSET 0) AS s "
            f"JOIN risk_rulelistentry t ON strpos(s.text, t.value) > 0 AND {entries}"
        )
        return Told(self._is_on(entries, "word", body))


_NO_REGION: Final = "s.province = '' AND s.city = '' AND s.district = ''"
_CITY: Final = "CASE WHEN s.city = s.province THEN '' ELSE s.city END"
_DISTRICT: Final = "CASE WHEN s.district IN (s.province, s.city) THEN '' ELSE s.district END"
_REGIONS: Final = (
    f"ARRAY[s.province, s.province || {_CITY}, s.province || {_CITY} || {_DISTRICT}]::text[]"
)
"""As ``region_values`` of ``risk/listing.py`` names them."""
