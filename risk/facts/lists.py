"""Who or what of a batch stands on the lists the rules ask, as the lists stood when it came in.

Every list that is asked is read in one statement. A list that is not there holds nobody; whoever
commits a rule set sees to it that its lists exist.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.db import connection

from ordercenter.core.bulk import text_array
from risk.contracts import NOT_APPLICABLE, Seen, Subject
from risk.facts.told import NO, NO_MATTER, YES, Column
from risk.listing import region_values
from risk.models import RuleList
from risk.words import normal

Key = RuleList.Key
READ_WHOLE: Final = (Key.SKU.value, Key.REGION.value, Key.WORD.value)
"""Lists that are read as a whole; of the others only what the batch may be found by."""
_READ: Final = """
    SELECT l.code, l.key, e.value, e.added_at, least(e.expires_at, e.removed_at)
    FROM risk_rulelist l LEFT JOIN risk_rulelistentry e ON e.rule_list_id = l.id
      AND (l.key = ANY(%s) OR e.value = ANY(%s::text[]))
    WHERE l.code = ANY(%s)
"""
Span = tuple[datetime, datetime | None]


@dataclass(slots=True)
class _Named:
    key: str
    spans: dict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))


class Lists:
    """The lists of one batch."""

    def __init__(self, subjects: Sequence[Subject], codes: Collection[str]) -> None:
        self._subjects = subjects
        self._lists: dict[str, _Named] = {}
        if codes:
            self._read(codes)

    def _read(self, codes: Collection[str]) -> None:
        keys = {
            one for s in self._subjects for one in (s.buyer, s.device, s.phone, s.address, s.ip)
        }
        with connection.cursor() as cursor:
            cursor.execute(_READ, [list(READ_WHOLE), text_array(keys - {""}), sorted(codes)])
            for code, key, value, since, until in cursor.fetchall():
                named = self._lists.setdefault(code, _Named(key))
                if value is not None:
                    named.spans[value].append((since, until))

    def holds(self, code: str, value: str, at: datetime) -> bool:
        """Whether this value stands on the list at that moment."""
        named = self._lists.get(code)
        return named is not None and _stands(named.spans, value, at)

    def listed(self, code: str) -> Column:
        """Whether each order is on the list, by what the list is of.

        An order that has no such key is none of its business. A place that is not known is
        unknown, unless the list is empty.
        """
        named = self._lists.get(code)
        if named is not None and named.spans:
            return [self._on_list(subject, named) for subject in self._subjects]
        if named is None or named.key in {Key.REGION, Key.WORD}:
            return [NO] * len(self._subjects)
        return [NO if _values(s, named.key) else NO_MATTER for s in self._subjects]

    def reach(self, code: str) -> Column:
        """Whether each place is not on a list of places that no carrier serves."""
        return [
            (YES if seen is NO else Seen(not seen.value, detail=seen.detail))
            if isinstance(seen.value, bool)
            else seen
            for seen in self.listed(code)
        ]

    def _on_list(self, subject: Subject, named: _Named) -> Seen:
        at = subject.listed_at
        if named.key == Key.WORD:
            text = normal(subject.remark) + "\n" + normal(subject.memo)
            found = [w for w in named.spans if w in text and _stands(named.spans, w, at)]
            return Seen(bool(found), detail="、".join(found))
        values = _values(subject, named.key)
        if not values:
            is_region = named.key == Key.REGION
            unknown = None if any(_stands(named.spans, v, at) for v in named.spans) else False
            return Seen(unknown if is_region else NOT_APPLICABLE)
        found = [one for one in values if _stands(named.spans, one, at)]
        shown = found if named.key in READ_WHOLE else ()
        return Seen(bool(found), detail="、".join(shown)) if found else NO


def _stands(spans: Mapping[str, Sequence[Span]], value: str, at: datetime) -> bool:
    return any(
        since <= at and (until is None or at < until) for since, until in spans.get(value, ())
    )


def _values(subject: Subject, key: str) -> Sequence[str]:
    if key == Key.REGION:
        return region_values(subject.province, subject.city, subject.district)
    if key == Key.SKU:
        return sorted({line.sku_code for line in subject.lines})
    value = subject.key(key)
    return (value,) if value else ()
