"""The divisions of China and every way platforms and people spell them.

Names and codes are ``@vant/area-data`` (``data/README.md``). Beside the full names the atlas
knows stems (浙江, 义乌), short forms of autonomous divisions (凉山州), former names (下城区) and
development zones; each spelling says how sure it is and within which divisions it holds.
"""

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(__file__).parent / "data"
MAX_FIELD: Final = 40
"""Characters of a province, city or district field; longer ones are no division."""

_PROVINCE_SUFFIX: Final = re.compile(r"(?:省|市|(?:壮族|回族|维吾尔)?自治区|特别行政区)$")
_AUTONOMOUS: Final = re.compile(r"自治[州县旗]$")
_PEOPLES: Final = re.compile(
    r"(?<=..)(?:蒙古族?|维吾尔族?|哈萨克族?|柯尔克孜族?|达斡尔族?|锡伯族?|塔吉克族?|"
    r"布依族|朝鲜族|土家族|哈尼族|傈僳族|拉祜族|纳西族|景颇族|仫佬族|仡佬族|布朗族|撒拉族|毛南族|"
    r"保安族|东乡族|独龙族|裕固族|普米族|阿昌族|德昂族|门巴族|鄂温克族|鄂伦春族|"
    r"[回藏苗彝壮满侗瑶白傣黎佤畲水土羌怒京各]族)+$"
)
_UNIT_SUFFIX: Final = re.compile(r"(?<=..)(?:新区|林区|特区|地区|市|区|县|州|盟|旗)$")
_TOWN_SUFFIX: Final = re.compile(r"(?:街道办事处|街道|镇|乡)$")
_ZONE_NAME: Final = re.compile(
    r"(?:开发区|高新区|工业园区|产业园区|化工园区|示范区|管理区|管委会|名胜区|实验区|新城|新区)$"
)
_ZONE_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "high tech": (
        "高新区",
        "高新技术产业开发区",
        "高新技术开发区",
        "高新技术产业园区",
        "高新技术区",
    ),
    "economic": ("经开区", "经济技术开发区", "经济开发区", "开发区"),
    "park": ("工业园区",),
}
_CLEAR: Final = 3
"""Characters from which a county's name is one by itself."""
_SHORTEST: Final = 2
"""Characters of a stem; 和, 单 and 易 are words before they are counties."""
_NO_CITY: Final = frozenset(
    {
        "市辖区",
        "市辖县",
        "县",
        "省直辖县",
        "省直辖",
        "省直管",
        "省直辖县级行政区划",
        "省直辖县级行政单位",
        "自治区直辖县级行政区划",
        "自治区直辖县级行政单位",
        "直辖县",
        "其它区",
        "其他",
        "其它",
    }
)
_TOWNS_ONLY: Final = frozenset({"441900", "442000", "460400"})
"""Prefecture cities without districts; their towns stand in the district's place."""
_NO_FORMER: Final = re.compile(r"^(?:新城|城[中东西南北关]|河[东西]|市[中南北])$")
"""Districts whose stem is an everyday word: 新城市, 城中市 are no former names."""


class Kind(IntEnum):
    """How much a spelling says by itself, the surest highest."""

    FORMER = 0
    STEM = 1
    ALIAS = 2
    FULL = 3


class Level(IntEnum):
    PROVINCE = 1
    CITY = 2
    COUNTY = 3


@dataclass(frozen=True, slots=True)
class Division:
    """One division. ``parent`` is the code above it, empty for a province."""

    code: str
    name: str
    level: Level
    parent: str
    is_town: bool = False
    """A street or town that stands where others have districts (东莞市长安镇)."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """One way to write a division, and the divisions within which it holds."""

    text: str
    division: Division
    kind: Kind
    scope: frozenset[str]
    alone: bool = True
    """May be read without anything above it having been named."""
    is_zone: bool = False
    """A zone that is no division (雄安新区); ``division`` is the lowest that surely holds it."""


@dataclass(frozen=True, slots=True)
class Region:
    """Province, city and district in their full official names; what is not known is empty.

    A county that answers to its province directly (仙桃市, 文昌市) has an empty city. ``code`` is
    that of the deepest division known.
    """

    code: str
    province: str
    city: str = ""
    district: str = ""
    conflict: bool = False
    """The city is not one of the province's, or the district belongs somewhere else."""
    rest: str = ""
    """What was given below and is no division: a town, a ring of Beijing, a new zone."""

    @property
    def full_name(self) -> str:
        """Written without saying 北京市 twice."""
        return "".join(dict.fromkeys(part for part in self.names if part))

    @property
    def names(self) -> tuple[str, str, str]:
        return self.province, self.city, self.district


@dataclass(frozen=True, slots=True)
class Atlas:
    """Everything known, ready to be looked up."""

    divisions: Mapping[str, Division]
    by_start: Mapping[str, tuple[Spelling, ...]]
    """Spellings by their first two characters, longest first."""
    provinces: Mapping[str, str]
    """A province field, as anybody spells it, to its code."""
    cities: Mapping[tuple[str, str], tuple[Division, ...]]
    """(province code, spelling) to the cities surest meant."""
    counties: Mapping[tuple[str, str], tuple[Division, ...]]
    """(province or city code, spelling) to the counties surest meant."""
    full_counties: frozenset[str]
    only_city: Mapping[str, Division]
    """The city of each municipality, which is the municipality."""
    zones: tuple[Spelling, ...]
    traditional: Mapping[int, str] = field(default_factory=dict)

    def ancestry(self, division: Division) -> tuple[Division, ...]:
        """From the province down to the division itself."""
        chain = [division]
        while chain[0].parent:
            chain.insert(0, self.divisions[chain[0].parent])
        return tuple(chain)

    def region(self, division: Division) -> Region:
        named = {one.level: one.name for one in self.ancestry(division)}
        return Region(
            division.code,
            named[Level.PROVINCE],
            named.get(Level.CITY, ""),
            named.get(Level.COUNTY, ""),
        )


def _load(name: str) -> Any:
    return json.loads((DATA / name).read_text(encoding="utf-8"))


_PUBLISHED: Final[dict[str, Any]] = _load("divisions.json")
DATA_VERSION: Final = f"{_PUBLISHED['source']} {_PUBLISHED['version']}"
PROVINCES: Final[tuple[str, ...]] = tuple(
    name for code, name in _PUBLISHED["divisions"].items() if code.endswith("0000")
)
"""The 34 full names in the order of their codes."""


def normalize_region(province: str, city: str = "", district: str = "") -> Region | None:
    """Read three fields of a platform, with or without suffixes; None without a province.

    Former names come back as today's. A county in the city's place (重庆 / 云阳县, 湖北 / 仙桃市)
    is put where it belongs. A province may be in Latin letters, as Shopify has it. Names that
    contradict each other are flagged, and the region is left empty from the first contradiction
    on. Repeats are answered from memory.
    """
    return _read_fields(province, city, district)


def province_of(text: str) -> str | None:
    """The full name of the one province a field or a sentence names, or None.

    ``苏``, ``江苏`` and ``江苏省暂停发货`` are all 江苏省. A name that begins the text wins; inside
    it a single province must be named. 江苏路 is a road, 吉林市 a city: neither names a province.
    """
    cleaned = clean_name(text)
    if code := atlas().provinces.get(cleaned):
        return atlas().divisions[code].name
    found = list(_provinces_inside(cleaned))
    if not found:
        return None
    if found[0][0] == 0:
        return found[0][1]
    names = {name for _, name in found}
    return names.pop() if len(names) == 1 else None


def clean_name(text: str) -> str:
    """One width and case, simplified, without blanks and invisible characters."""
    plain = unicodedata.normalize("NFKC", text).translate(atlas().traditional).lower()
    return "".join(ch for ch in plain if not ch.isspace() and unicodedata.category(ch) != "Cf")


ROAD_AFTER: Final = re.compile(
    r"(?:[东南西北中上下内外前后新老]|[一二三四五六七八九十\d]){0,3}"
    r"(?:路|大街|街(?!道|口)|大道|巷|弄|胡同|道(?=\d|[一二三四五六七八九十]|号|口|$))"
)
"""What makes the name before it the name of a road: 北京|路, 南京|东路."""


def _provinces_inside(text: str) -> Iterator[tuple[int, str]]:
    """Leftmost, longest, not overlapping: 青海南部 holds no 海南."""
    at = 0
    while at < len(text):
        for spelling in atlas().by_start.get(text[at : at + 2], ()):
            after = at + len(spelling.text)
            if not text.startswith(spelling.text, at):
                continue
            if spelling.division.level is Level.PROVINCE and not _names_other(
                spelling, text[after:]
            ):
                yield at, spelling.division.name
            at = after - 1
            break
        at += 1


def _names_other(spelling: Spelling, after: str) -> bool:
    return spelling.kind is not Kind.FULL and (
        ROAD_AFTER.match(after) is not None or after[:1] in {"市", "州", "县", "镇", "乡"}
    )


@lru_cache(maxsize=16_384)
def _read_fields(province: str, city: str, district: str) -> Region | None:
    if max(len(province), len(city), len(district)) > MAX_FIELD:
        return None
    known = atlas()
    code = known.provinces.get(clean_name(province))
    if code is None:
        return None
    city_name, district_name = clean_name(city), clean_name(district)
    if district_name in _NO_CITY:
        district_name = ""
    place, conflict = _city_or_county(known, code, city_name)
    if conflict:
        read = _with_rest if city_name.isascii() else _flagged
        return read(known.region(known.divisions[code]), city_name + district_name)
    if not district_name or _is_spelled(known, place, district_name):
        return known.region(place)
    if place.level is Level.COUNTY:
        return _with_rest(known.region(place), district_name)
    return _read_district(known, place, district_name)


def _city_or_county(known: Atlas, province: str, name: str) -> tuple[Division, bool]:
    """The division the city field means, and whether it contradicts the province."""
    top = known.divisions[province]
    if name:
        for found in (known.cities.get((province, name)), known.counties.get((province, name))):
            if found is not None and len(found) == 1:
                return found[0], False
    if not name or name in _NO_CITY or known.provinces.get(name) == province:
        return known.only_city.get(province, top), False
    return top, True


def _read_district(known: Atlas, place: Division, name: str) -> Region:
    found = known.counties.get((place.code, name), ())
    if len(found) == 1:
        return known.region(found[0])
    region = known.region(place)
    is_elsewhere = name in known.full_counties and place.code not in _TOWNS_ONLY
    if is_elsewhere and not found:
        return _flagged(region, name)
    return _with_rest(region, name)


def _is_spelled(known: Atlas, place: Division, name: str) -> bool:
    """Whether the field only says again what is known: 北京市 / 北京市, 文昌市 / 文昌市."""
    if known.provinces.get(name) == place.code:
        return True
    if name == place.name:
        return (place.code, name) not in known.counties
    if place.level is Level.COUNTY:
        return place in known.counties.get((place.parent, name), ())
    own_stem = place.level is Level.CITY and place in known.cities.get((place.parent, name), ())
    return own_stem and (place.code, name) not in known.counties


def _flagged(region: Region, rest: str) -> Region:
    return Region(region.code, *region.names, conflict=True, rest=rest)


def _with_rest(region: Region, rest: str) -> Region:
    return Region(region.code, *region.names, conflict=region.conflict, rest=rest)


@cache
def atlas() -> Atlas:
    """Build the lookups once; some 30 ms."""
    aliases = _load("aliases.json")
    changes: list[dict[str, str]] = _load("changes.json")
    divisions = _divisions(_PUBLISHED["divisions"], changes)
    zones = _zone_spellings(divisions)
    divisions = {code: one for code, one in divisions.items() if zones.get(code) != {}}
    spellings = list(_all_spellings(divisions, zones, aliases, changes))
    by_start: defaultdict[str, list[Spelling]] = defaultdict(list)
    for one in spellings:
        if len(one.text) > 1 and not one.text.isascii():  # Guangdong only as a whole field
            by_start[one.text[:2]].append(one)
    letters = aliases["traditional"]
    return Atlas(
        divisions=divisions,
        by_start={
            start: tuple(sorted(some, key=lambda one: (-len(one.text), -one.kind)))
            for start, some in by_start.items()
        },
        provinces={
            one.text: one.division.code for one in spellings if one.division.level is Level.PROVINCE
        },
        cities=_lookup(one for one in spellings if one.division.level is Level.CITY),
        counties=_lookup(one for one in spellings if one.division.level is Level.COUNTY),
        full_counties=frozenset(
            one.text
            for one in spellings
            if one.kind is Kind.FULL and one.alone and one.division.level is Level.COUNTY
        ),
        only_city={
            one.parent: one
            for one in divisions.values()
            if one.level is Level.CITY and one.name == divisions[one.parent].name
        },
        zones=tuple(
            Spelling(
                text, divisions[code], Kind.ALIAS, _scope(divisions, divisions[code]), is_zone=True
            )
            for text, code in aliases["zones"].items()
        ),
        traditional={ord(a): b for a, b in zip(letters[::2], letters[1::2], strict=True)},
    )


def _divisions(
    published: Mapping[str, str], changes: Iterable[Mapping[str, str]]
) -> dict[str, Division]:
    """Cut the placeholders and the abolished out of the published list."""
    gone = {(row["under"], row["old"]) for row in changes if row["old"] != published[row["now"]]}
    divisions: dict[str, Division] = {}
    for code, name in published.items():
        city, province = code[:4] + "00", code[:2] + "0000"
        if code == province:
            divisions[code] = Division(code, name, Level.PROVINCE, "")
        elif name in _NO_CITY or (city, name) in gone:
            continue
        elif code == city:
            divisions[code] = Division(code, name, Level.CITY, province)
        else:
            parent = "500100" if city == "500200" else city
            is_town = parent in _TOWNS_ONLY or (
                province != "710000" and _TOWN_SUFFIX.search(name) is not None
            )
            above = parent if parent in divisions else province
            divisions[code] = Division(code, name, Level.COUNTY, above, is_town)
    return divisions


def _lookup(spellings: Iterable[Spelling]) -> dict[tuple[str, str], tuple[Division, ...]]:
    """Keep, for each context and text, the divisions of the surest kind."""
    best: dict[tuple[str, str], tuple[Kind, dict[str, Division]]] = {}
    for one in spellings:
        for context in one.scope:
            key = (context, one.text)
            kind, found = best.get(key, (one.kind, {}))
            if one.kind > kind:
                best[key] = (one.kind, {one.division.code: one.division})
            elif one.kind == kind:
                best[key] = (kind, {**found, one.division.code: one.division})
    return {key: tuple(found.values()) for key, (_, found) in best.items()}


def _all_spellings(
    divisions: Mapping[str, Division],
    zones: Mapping[str, dict[str, Kind]],
    aliases: Mapping[str, Any],
    changes: Iterable[Mapping[str, str]],
) -> Iterator[Spelling]:
    present = {one.name for one in divisions.values()}
    for code, division in divisions.items():
        table = aliases["provinces" if division.level is Level.PROVINCE else "divisions"]
        names = dict.fromkeys(table.get(code, ()), Kind.ALIAS)
        is_zone = code in zones
        for text, kind in zones[code].items() if is_zone else _derived(division, present):
            names.setdefault(text, kind)
        scope = _scope(divisions, division)
        for text, kind in names.items():
            alone = not is_zone and _stands_alone(division, text)
            yield Spelling(text, division, kind, scope, alone)
    for row in changes:
        division = divisions[row["now"]]
        above = divisions[row["under"]]
        scope = _scope(divisions, above) | {above.code}
        yield Spelling(
            row["old"], division, Kind.FORMER, scope, alone=_stands_alone(division, row["old"])
        )


def _scope(divisions: Mapping[str, Division], division: Division) -> frozenset[str]:
    codes = set()
    while division.parent:
        division = divisions[division.parent]
        codes.add(division.code)
    return frozenset(codes)


def _stands_alone(division: Division, text: str) -> bool:
    """Whether the text means the division before anything above it has been named.

    和县 does. A town and a 东区 do not, and 海南 or 河南 means the province first.
    """
    if division.level is Level.PROVINCE or len(text) >= _CLEAR:
        return not division.is_town
    is_province = text + "省" in PROVINCES and _AUTONOMOUS.search(division.name) is not None
    return not (is_province or division.is_town or text[-1] == "区")


def _derived(division: Division, present: set[str]) -> Iterator[tuple[str, Kind]]:
    """The full name, the short forms people use, and the forms a plain upgrade left behind."""
    name = division.name
    yield name, Kind.FULL
    if division.level is Level.PROVINCE:
        yield _PROVINCE_SUFFIX.sub("", name), Kind.STEM
        return
    if division.is_town:
        yield from ((text, Kind.ALIAS) for text in _town_forms(name))
        return
    stem = _stem(name)
    match = _AUTONOMOUS.search(name)
    if len(stem) >= _SHORTEST and stem != name:
        yield stem, Kind.STEM
    if match:
        yield stem + match[0][-1], Kind.ALIAS
    for suffix in _former_suffixes(division, stem):
        if stem + suffix not in present:
            yield stem + suffix, Kind.FORMER


def _stem(name: str) -> str:
    if not _AUTONOMOUS.search(name):
        return "" if name.endswith("矿区") and len(name) >= _CLEAR else _UNIT_SUFFIX.sub("", name)
    return _PEOPLES.sub("", _AUTONOMOUS.sub("", name))


def _former_suffixes(division: Division, stem: str) -> tuple[str, ...]:
    if (
        len(stem) < _SHORTEST
        or _NO_FORMER.match(stem)
        or division.code.startswith(("71", "81", "82"))
    ):
        return ()
    if division.level is Level.CITY:
        return ("地区",) if division.name.endswith("市") else ()
    return {"区": ("县", "市"), "市": ("县",)}.get(division.name[-1], ())


def _town_forms(name: str) -> Iterator[str]:
    for suffix in ("街道办事处", "街道", "镇", "乡"):
        stem = name.removesuffix(suffix)
        if stem != name and len(stem) > 1:
            yield from (stem, stem + "镇", stem + "街道")
            return


def _zone_spellings(divisions: Mapping[str, Division]) -> dict[str, dict[str, Kind]]:
    """Development zones by code; of several listings of one zone all but one are empty."""
    plain: defaultdict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    zones: dict[str, dict[str, Kind]] = {}
    for code, division in divisions.items():
        if not _is_zone(division):
            continue
        zones[code] = {division.name: Kind.FULL}
        rest = _without_city(divisions, division)
        zones[code].setdefault(rest, Kind.ALIAS)
        for kind, names in _ZONE_KINDS.items():
            if rest in names:
                plain[division.parent, kind].append((division.name, code))
    for (city, kind), listed in plain.items():
        code = max(listed, key=lambda entry: len(entry[0]))[1]
        for name, other in listed:
            if other != code:
                zones[other] = {}
                zones[code][name] = Kind.FULL
        stem = _stem(divisions[city].name)
        for name in _ZONE_KINDS[kind]:
            for text in (name, stem + name, divisions[city].name + name):
                zones[code].setdefault(text, Kind.ALIAS)
    return zones


def _is_zone(division: Division) -> bool:
    if division.level is not Level.COUNTY or division.is_town or division.code[:2] == "71":
        return False
    number = int(division.code[4:])
    is_listed_late = 70 <= number <= 79 or number >= 90  # noqa: PLR2004
    return is_listed_late and _ZONE_NAME.search(division.name) is not None


def _without_city(divisions: Mapping[str, Division], zone: Division) -> str:
    """合肥高新技术产业开发区 without 合肥, 河北邢台经济开发区 without 河北邢台."""
    name = zone.name
    above = divisions[zone.parent]
    while above.parent:
        province = divisions[above.parent]
        for prefix in (province.name, _PROVINCE_SUFFIX.sub("", province.name)):
            name = name.removeprefix(prefix)
        above = province
    city = divisions[zone.parent]
    return name.removeprefix(city.name).removeprefix(_stem(city.name))
