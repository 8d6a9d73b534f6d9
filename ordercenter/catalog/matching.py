"""What a shop's unknown code may stand for: proposals with a reason, never a decision.

Codes are folded for comparing only (case, full width, blanks and dashes); a look-alike letter of
another script stays another letter. Titles are compared by the rare words they share. Whatever
finds a candidate, a colour or a size that contradicts the title ends it.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import log
from typing import Final

from django.db import connection
from django.utils.translation import gettext as _

from ordercenter.catalog.models import Bundle, CodeType, Sku
from ordercenter.catalog.traits import contradict, plain, traits_of

MOST: Final = 3
"""So many proposals a code gets at most."""
LIKE_ENOUGH: Final = 0.6
"""The share of a name's weight that a title must have."""
SHORTEST_FOLDED: Final = 3
"""Shorter codes have to be spelled alike to mean the same."""

EXACT_ELSEWHERE: Final = 100
EXACT_CODE: Final = 98
EXACT_BARCODE: Final = 96
FOLDED_ELSEWHERE: Final = 92
FOLDED_CODE: Final = 90
SAME_TITLE: Final = 86
TITLE_TOP: Final = 85
DISPUTED: Final = 30
"""Taken off what two goods are equally proposed by."""
SURE: Final = 90
"""From here on a proposal rests on a code nobody disputes."""

# Coarser than ``fold``, for the database: what may be the same, to be looked at again here.
_FULL_WIDTH: Final = {chr(0xFF01 + n): chr(0x21 + n) for n in range(94)}
_LOWER: Final = {chr(n): chr(n + 32) for n in range(ord("A"), ord("Z") + 1)}
_JOINTS: Final = "-_ \t\u00a0\u3000\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_FOLDED: Final = {
    **{wide: _LOWER.get(narrow, narrow) for wide, narrow in _FULL_WIDTH.items()},
    **_LOWER,
    **dict.fromkeys(_JOINTS, "-"),
} | {"\uff0d": "-", "\uff3f": "-"}
_FOLDING: Final = str.maketrans(_FOLDED)
_JOINT: Final = re.compile(r"-+")
_LOOSE_JOINT: Final = re.compile(r"(?<![0-9])-|-(?![0-9])")
_KEPT: Final = {old: new for old, new in _FOLDED.items() if new != "-"}
_DROPPED: Final = "".join(old for old, new in _FOLDED.items() if new == "-")
_WORD: Final = re.compile(r"[0-9a-z.]+|[\u4e00-\u9fff]+")


def fold(code: str) -> str:
    """``code`` as it is compared. A joint between two digits stays: 1-12 is not 11-2."""
    return _LOOSE_JOINT.sub("", _JOINT.sub("-", code.strip().translate(_FOLDING)))


def _coarse(code: str) -> str:
    return fold(code).replace("-", "")


@dataclass(frozen=True, slots=True)
class Target:
    """What we stock that a code may stand for."""

    kind: str
    """sku or bundle."""
    id: int
    code: str
    name: str

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A code nobody has mapped, as the orders tell it."""

    shop_id: int
    platform_sku_id: str
    outer_code: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a code may stand for, why, and how far that goes (0 to 100)."""

    target: Target
    score: int
    reason: str

    @property
    def is_sure(self) -> bool:
        return self.score >= SURE


@dataclass(frozen=True, slots=True)
class Known:
    """A listing of some shop that speaks for a target."""

    shop_id: int
    shop: str
    code_type: str
    code: str
    title: str
    key: str


class Matcher:
    """The catalog, read once for a page of codes or a whole sheet."""

    def __init__(self, targets: Iterable[tuple[Target, str]], known: Iterable[Known] = ()) -> None:
        """``targets`` come with their barcode, empty where there is none."""
        self._targets: dict[str, Target] = {}
        self._by_code: dict[str, list[Target]] = defaultdict(list)
        self._by_barcode: dict[str, list[Target]] = defaultdict(list)
        self._known_codes: dict[str, list[Known]] = defaultdict(list)
        self._known_titles: dict[str, list[Known]] = defaultdict(list)
        for target, barcode in targets:
            self._targets[target.key] = target
            self._by_code[fold(target.code)].append(target)
            if barcode:
                self._by_barcode[barcode].append(target)
        for one in known:
            if one.code_type == CodeType.OUTER_CODE:
                self._known_codes[fold(one.code)].append(one)
            if one.title:
                self._known_titles[one.title].append(one)
        self._names = _Names(self._targets.values())

    @classmethod
    def for_codes(cls, wanted: Collection[Wanted]) -> "Matcher":
        """Read what these codes may have to do with, in three statements."""
        return cls(_targets(), _known(wanted))

    def propose(self, wanted: Wanted) -> list[Proposal]:
        """The best few, best first; none where nothing speaks for anything."""
        best: dict[str, Proposal] = {}
        said = traits_of(wanted.title)
        for found in self._candidates(wanted):
            if contradict(said, traits_of(found.target.name)):
                continue
            if found.target.key not in best or best[found.target.key].score < found.score:
                best[found.target.key] = found
        ranked = sorted(best.values(), key=lambda p: (-p.score, p.target.code))
        return _disputed(ranked)[:MOST]

    def exact(self, wanted: Wanted) -> Target | None:
        """The one target whose code is the merchant's code, letter for letter.

        None where another shop uses the code for something else, or the title contradicts.
        """
        same = [t for t in self._by_code.get(fold(wanted.outer_code), ())
                if t.code == wanted.outer_code]  # fmt: skip
        if len(same) != 1 or contradict(traits_of(wanted.title), traits_of(same[0].name)):
            return None
        others = {one.key for one in self._elsewhere(wanted) if one.code == wanted.outer_code}
        return same[0] if others <= {same[0].key} else None

    def _candidates(self, wanted: Wanted) -> Iterator[Proposal]:
        yield from self._mapped_elsewhere(wanted)
        yield from self._own_codes(wanted)
        for one in self._known_titles.get(wanted.title, ()) if wanted.title else ():
            if target := self._targets.get(one.key):
                words = _("标题与 %(shop)s 已匹配的商品相同") % {"shop": one.shop}
                yield Proposal(target, SAME_TITLE, words)
        for key, share in self._names.like(wanted.title):
            percent = round(share * 100)
            words = _("标题与货品名称相似 %(percent)d%%") % {"percent": percent}
            yield Proposal(self._targets[key], round(share * TITLE_TOP), words)

    def _elsewhere(self, wanted: Wanted) -> list[Known]:
        if not wanted.outer_code:
            return []
        return [one for one in self._known_codes.get(fold(wanted.outer_code), ())
                if one.shop_id != wanted.shop_id or one.code != wanted.outer_code]  # fmt: skip

    def _mapped_elsewhere(self, wanted: Wanted) -> Iterator[Proposal]:
        for one in self._elsewhere(wanted):
            target = self._targets.get(one.key)
            if target is None:
                continue
            if one.code == wanted.outer_code:
                words = _("%(shop)s 的同一商家编码已匹配到它") % {"shop": one.shop}
                yield Proposal(target, EXACT_ELSEWHERE, words)
            elif len(fold(one.code)) >= SHORTEST_FOLDED:
                words = _("%(shop)s 的商家编码 %(code)s 只差大小写、空格或横线") % {
                    "shop": one.shop, "code": one.code,
                }  # fmt: skip
                yield Proposal(target, FOLDED_ELSEWHERE, words)

    def _own_codes(self, wanted: Wanted) -> Iterator[Proposal]:
        told = wanted.outer_code or wanted.platform_sku_id
        for target in self._by_code.get(fold(told), ()) if told else ():
            if target.code == told:
                yield Proposal(target, EXACT_CODE, _("编码与货品编码完全一致"))
            elif len(fold(told)) >= SHORTEST_FOLDED:
                yield Proposal(
                    target, FOLDED_CODE, _("编码与货品编码只差大小写、全半角、空格或横线")
                )
        for target in self._by_barcode.get(wanted.outer_code, ()) if wanted.outer_code else ():
            yield Proposal(target, EXACT_BARCODE, _("商家编码就是货品条码"))


def _disputed(ranked: Sequence[Proposal]) -> list[Proposal]:
    """Codes that speak for two goods speak surely for none."""
    if len([p for p in ranked if p.is_sure]) < 2:  # noqa: PLR2004 - a dispute takes two
        return list(ranked)
    words = _("；另有货品同样匹配，请核对")
    return [
        Proposal(p.target, p.score - DISPUTED, p.reason + words) if p.is_sure else p for p in ranked
    ]


class _Names:
    """The names of all targets by the words in them; a rare word weighs more."""

    def __init__(self, targets: Iterable[Target]) -> None:
        self._grams = {target.key: _grams(target.name) for target in targets}
        found = Counter(gram for grams in self._grams.values() for gram in grams)
        self._weight = {g: log((len(self._grams) + 1) / n) + 0.1 for g, n in found.items()}
        self._total = {key: self._sum(grams) for key, grams in self._grams.items()}
        self._with: dict[str, list[str]] = defaultdict(list)
        for key, grams in self._grams.items():
            for gram in grams:
                self._with[gram].append(key)

    def _sum(self, grams: Iterable[str]) -> float:
        return sum(self._weight[gram] for gram in grams)

    def like(self, title: str) -> list[tuple[str, float]]:
        """(key, share of its name's weight that the title has) of every name like enough."""
        shared: dict[str, float] = defaultdict(float)
        for gram in _grams(title):
            for key in self._with.get(gram, ()):
                shared[key] += self._weight[gram]
        shares = ((key, weight / self._total[key]) for key, weight in shared.items())
        return [(key, share) for key, share in shares if share >= LIKE_ENOUGH]


def _grams(text: str) -> set[str]:
    """Words of letters and figures as they are, Chinese in pairs of characters."""
    grams: set[str] = set()
    for word in _WORD.findall(plain(text)):
        if word[0] < "\u4e00" or len(word) == 1:
            grams.add(word)
        else:
            grams |= {word[at : at + 2] for at in range(len(word) - 1)}
    return grams


# --- reading --------------------------------------------------------------------------------------


def _targets() -> Iterator[tuple[Target, str]]:
    """Everything a code may be mapped to, with its barcode; what is switched off is not."""
    rows = Sku.objects.filter(is_active=True).values_list(
        "id", "code", "name", "color_name", "barcode"
    )
    for pk, code, name, color, barcode in rows:
        called = name if color in name else f"{name} {color}"
        yield Target("sku", pk, code, called), barcode
    bundles = Bundle.objects.filter(bundle_parts__isnull=False).distinct()
    for pk, code, name in bundles.values_list("id", "code", "name"):
        yield Target("bundle", pk, code, name), ""


def _known(wanted: Collection[Wanted]) -> Iterator[Known]:
    """Listings under these codes, or nearly, or under these titles."""
    codes = sorted({_coarse(one.outer_code) for one in wanted if one.outer_code})
    titles = sorted({one.title for one in wanted if one.title})
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.shop_id, s.name, c.code_type, c.code, c.title, "
            "CASE WHEN c.sku_id IS NOT NULL THEN 'sku:' || c.sku_id "
            "ELSE 'bundle:' || c.bundle_id END "
            "FROM catalog_listing c JOIN catalog_shop s ON s.id = c.shop_id "
            "WHERE (c.code_type = 'outer_code' AND translate(c.code, %s, %s) = ANY(%s)) "
            "OR (c.title <> '' AND c.title = ANY(%s)) ORDER BY c.id",
            ["".join(_KEPT) + _DROPPED, "".join(_KEPT.values()), codes, titles],
        )
        for row in cursor.fetchall():
            yield Known(*row)
