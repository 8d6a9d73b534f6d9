"""Walk the tree of divisions along a text and weigh the ways it can be read.

What is read next must stand where the last name ended, so a 北京路 further on cannot win. Every way
through the tree is tried. Where several explain the text equally well none is chosen; what they
share is kept.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ordercenter.core.addresses.cleaning import SEPARATORS
from ordercenter.core.addresses.regions import (
    ROAD_AFTER,
    Division,
    Kind,
    Level,
    Spelling,
    atlas,
)

SEARCHED: Final = 200
"""How far into a text its first division is looked for."""
MAX_ZONES: Final = 2
MAX_BRIDGES: Final = 4
"""Names of zones and repeats one address may hold; hostile text repeats without end."""
LOOK_AHEAD: Final = 8
"""Characters behind a name that may make it part of another one."""

_COUNTRY: Final = re.compile(r"中华人民共和国|中国")
PLACEHOLDER: Final = re.compile(
    r"市辖区|(?:省|自治区)直辖县级行政(?:区划|单位)|省直辖县?|省直管|县(?!城)"
)
"""What data sets put in the place of a city or district that does not exist."""
_CONTESTED: Final = frozenset({"朝阳"})
"""Stems that mean a city and, as often, a district elsewhere."""

_BUILDING_AFTER: Final = re.compile(
    r"大厦|大楼|大学|学院|师范|中学|小学|医院|酒店|宾馆|饭店|花园|花苑|家园|家苑|小区|公寓|广场|商场|商城|"
    r"超市|银行|公司|集团|公园|机场|火车站|高铁站|[东南西北]?站|市场|名苑|名都|华庭|豪庭|人家|烤鸭|[店菜饭面]|"
    r"[市区县州盟旗省镇乡]"
)
"""What makes the stem before it the name of something else: 吉林|大厦, 长沙|县."""
_LANDMARK_AFTER: Final = re.compile(
    r"[湖山河江门桥塔寺庙祠宫城村庄苑里站港口]|.(?:路|大街|大道|街(?!道)|巷)|商务|天地|国际|中心|(?:管理|开发|示范|高新|经开|新)区"
)
"""The same for a district's stem, which more things are named after: 西湖|国际, 武侯|祠大街."""
_NAME_GOES_ON: Final = re.compile(r"路|大道|大街|巷|场(?![镇乡])")
_TOWN: Final = re.compile(
    r"([^\W\d_号]{1,6}?(?:街道办事处|街道|苏木)|[^\W\d_号]{1,6}?[镇乡])"
    r"(?!(?:[东南西北中]|[一二三四五六七八九十\d])?(?:路|大?街(?!道)|大道|巷|弄|桥))"
)
_NO_TOWN: Final = re.compile(
    r"(?:小镇|城乡|[家水故]乡|.古镇)$|.[路街巷弄].+(?:街道|[镇乡])$|路[镇乡]$"
)


@dataclass(frozen=True, slots=True)
class Path:
    """One way to read the divisions at the start of a text."""

    division: Division
    score: int
    steps: tuple[Spelling, ...]
    starts: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.starts[-1] + len(self.steps[-1].text)

    @property
    def detail_from(self) -> int:
        """Where the detail starts. A zone below which no district follows is part of it."""
        return self.starts[-1] if self.steps[-1].is_zone else self.end


@dataclass(frozen=True, slots=True)
class Reading:
    """What all the best paths agree on."""

    division: Division | None
    """None: not even the province is sure."""
    end: int
    """Behind everything that was read as a division, sure or not."""
    detail_from: int
    steps: tuple[Spelling, ...]
    seen: str = ""
    """The text with more than one meaning, or one meaning that nobody vouches for."""
    choices: tuple[Division, ...] = ()


def find_start(plain: str) -> int | None:
    """Where the first division stands: at the front, or further on where there is no doubt."""
    at = skip(plain, 0)
    if match := _COUNTRY.match(plain, at):
        at = skip(plain, match.end())
    here = list(finished(plain, at))
    if not all(_is_lone_stem(path) for path in here):
        return at
    for later in range(at + 1, min(len(plain), SEARCHED)):
        is_own_word = plain[later - 1] in SEPARATORS
        for path in finished(plain, later):
            has_full = any(one.kind is Kind.FULL for one in path.steps)
            is_rooted = len(path.steps) > 1 or path.steps[0].division.level is Level.PROVINCE
            if is_rooted and (has_full or is_own_word):
                return later
    return at if here else None


def read(plain: str, start: int) -> Reading:
    """Choose among the paths from ``start``; there is at least one (``find_start``)."""
    paths = sorted(finished(plain, start), key=lambda path: -path.score)
    best = {
        _canonical(path.division).code: path
        for path in reversed(paths)
        if path.score == paths[0].score
    }
    chosen = _outstanding(list(best.values()))
    if chosen is not None and not _is_doubtful(chosen, plain):
        return Reading(_canonical(chosen.division), chosen.end, chosen.detail_from, chosen.steps)
    rivals = [best[code] for code in sorted(best)]
    shared = _shared(rivals) if chosen is None else None
    named = [
        at + len(step.text)
        for step, at in zip(rivals[0].steps, rivals[0].starts, strict=True)
        if shared is not None and step.division.level <= shared.level
    ]
    last = rivals[0]
    return Reading(
        division=shared,
        end=last.end,
        detail_from=max(named, default=start),
        steps=last.steps[: len(named)],
        seen=last.steps[-1].text,
        choices=tuple(_canonical(path.division) for path in rivals),
    )


def finished(plain: str, at: int) -> Iterator[Path]:
    """Paths that may stop where they stop: the last name is not the start of another word."""
    for path in _paths(plain, at, None):
        last, after = path.steps[-1], plain[path.end : path.end + LOOK_AHEAD]
        is_lent = _is_part_of_a_name(last, after) or (
            len(path.steps) > 1 and _is_landmark(last, after)
        )
        if last.is_zone or not is_lent:
            yield path


def skip(plain: str, at: int) -> int:
    while at < len(plain) and plain[at] in SEPARATORS:
        at += 1
    return at


def town_at(text: str) -> str:
    """The street, town or township a text begins with, or nothing."""
    match = _TOWN.match(text)
    return "" if match is None or _NO_TOWN.search(match[1]) else match[1]


def is_within(division: Division, above: Division) -> bool:
    return above in atlas().ancestry(division)


def stray_division(plain: str, reading: Reading) -> Path | None:
    """A division that follows and does not belong to what was read (浙江省|南京市)."""
    place = reading.division
    if place is None:
        return None
    paths = sorted(finished(plain, skip(plain, reading.end)), key=lambda path: -path.score)
    if not paths:
        return None
    related = [p for p in paths if is_within(p.division, place) or is_within(place, p.division)]
    path = paths[0]
    if related or not any(step.kind is Kind.FULL and not step.is_zone for step in path.steps):
        return None
    if place.level is Level.COUNTY and all(
        step.kind is not Kind.FULL or step.division.level is Level.COUNTY for step in path.steps
    ):
        return None
    return path


def _paths(plain: str, at: int, above: Division | None, zones: int = MAX_ZONES) -> Iterator[Path]:
    for spelling, start in _next_names(plain, at, above):
        if spelling.is_zone and not zones:
            continue
        division = _lower(spelling.division, above)
        score = 2 * len(spelling.text) + {Kind.FULL: 2, Kind.FORMER: -1}.get(spelling.kind, 0)
        yield Path(division, score, (spelling,), (start,))
        after = start + len(spelling.text)
        for rest in _paths(plain, after, division, zones - spelling.is_zone):
            yield Path(
                rest.division,
                score + rest.score + 1,
                (spelling, *rest.steps),
                (start, *rest.starts),
            )


def _next_names(plain: str, at: int, above: Division | None) -> Iterator[tuple[Spelling, int]]:
    start = skip(plain, at)
    for spelling in _names_below(plain, start, above):
        yield spelling, start
    for spelling in atlas().zones:
        if plain.startswith(spelling.text, start) and _is_compatible(spelling, above):
            yield spelling, start
    if above is None:
        return
    for bridge in _bridges(plain, start, above):
        for spelling in _names_below(plain, bridge, above):
            yield spelling, bridge


def _names_below(plain: str, at: int, above: Division | None) -> Iterator[Spelling]:
    for spelling in atlas().by_start.get(plain[at : at + 2], ()):
        if not plain.startswith(spelling.text, at):
            continue
        if above is None:
            if spelling.alone:
                yield spelling
        elif spelling.division.level > above.level and above.code in spelling.scope:
            yield spelling


def _is_compatible(zone: Spelling, above: Division | None) -> bool:
    return above is None or is_within(above, zone.division) or is_within(zone.division, above)


def _lower(division: Division, above: Division | None) -> Division:
    return above if above is not None and is_within(above, division) else division


def _bridges(plain: str, at: int, above: Division) -> set[int]:
    """Ends of what may stand between two names: placeholders, and what was said already."""
    ancestry = atlas().ancestry(above)
    ends: set[int] = set()
    fresh = {at}
    for _round in range(MAX_BRIDGES):
        fresh = {
            skip(plain, here + length)
            for here in fresh
            for length in _filler(plain, here, ancestry)
        } - ends
        ends |= fresh
    return ends


def _filler(plain: str, at: int, ancestry: Sequence[Division]) -> Iterator[int]:
    if match := PLACEHOLDER.match(plain, at):
        yield len(match[0])
    for spelling in atlas().by_start.get(plain[at : at + 2], ()):
        if spelling.division in ancestry and plain.startswith(spelling.text, at):
            yield len(spelling.text)


def _is_part_of_a_name(spelling: Spelling, after: str) -> bool:
    """Whether the name only lends itself to a road or a building: 南京|东路, 吉林|大厦."""
    if spelling.kind in {Kind.FULL, Kind.FORMER} and _NAME_GOES_ON.match(after):
        return True
    if spelling.kind is Kind.FULL:
        return False
    return bool(ROAD_AFTER.match(after) or _BUILDING_AFTER.match(after))


def _is_landmark(spelling: Spelling, after: str) -> bool:
    """Whether a district only lends its stem: 武侯|祠大街. The city is sure, so nothing is lost."""
    is_stem = spelling.kind in {Kind.STEM, Kind.ALIAS} and spelling.text[-1] not in "区县旗"
    is_county = spelling.division.level is Level.COUNTY
    return is_stem and is_county and not town_at(after) and bool(_LANDMARK_AFTER.match(after))


def _canonical(division: Division) -> Division:
    """A municipality is its own city."""
    return atlas().only_city.get(division.code, division)


def _outstanding(paths: Sequence[Path]) -> Path | None:
    """The one path that claims no more than the others, or that people mean."""
    if len(paths) == 1:
        return paths[0]
    for path in paths:
        is_modest = all(is_within(other.division, path.division) for other in paths)
        if is_modest and _canonical(path.division).level is not Level.PROVINCE:
            return path
    # People say 西安 for the city and name the city before a 西安区; likewise 河北 and 河北区.
    top = min(path.division.level for path in paths)
    highest = [path for path in paths if path.division.level is top]
    levels = {path.division.level for path in paths}
    is_lone_stem = all(len(path.steps) == 1 and path.steps[0].kind is Kind.STEM for path in paths)
    is_contested = paths[0].steps[-1].text in _CONTESTED or {Level.PROVINCE, Level.CITY} <= levels
    return highest[0] if len(highest) == 1 and is_lone_stem and not is_contested else None


def _is_doubtful(path: Path, plain: str) -> bool:
    """A county's stem by itself, run into other words (东方国际…, 双河小…), is no evidence."""
    after = plain[path.end : path.end + LOOK_AHEAD]
    is_own_word = not after or after[0] in SEPARATORS or bool(town_at(after))
    return _is_lone_stem(path) and not is_own_word


def _is_lone_stem(path: Path) -> bool:
    first = path.steps[0]
    return (
        len(path.steps) == 1
        and not first.is_zone
        and first.division.level is Level.COUNTY
        and first.kind in {Kind.STEM, Kind.ALIAS}
    )


def _shared(paths: Sequence[Path]) -> Division | None:
    chains = [atlas().ancestry(path.division) for path in paths]
    shared = [level[0] for level in zip(*chains, strict=False) if len(set(level)) == 1]
    return shared[-1] if shared else None
