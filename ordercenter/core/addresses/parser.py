"""Read an address typed in one line, and say so when it can be read in more than one way."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ordercenter.core.addresses.cleaning import SEPARATORS, Cleaned, clean, has_words, tidy
from ordercenter.core.addresses.reading import (
    PLACEHOLDER,
    Reading,
    find_start,
    read,
    skip,
    stray_division,
    town_at,
)
from ordercenter.core.addresses.regions import Division, Kind, Level, Region, atlas

MAX_LENGTH: Final = 200
"""Characters of an address that carriers take and a label holds."""

_NO_CITY_NEEDED: Final = ("81", "82")
"""Hong Kong and Macao have no cities."""
_BRACKETS: Final = ("()", "[]", "【】", "{}", "<>", "《》")
_TRIMMED: Final = "".join(SEPARATORS - frozenset("".join(_BRACKETS)))
_EMPTY_WORDS: Final = frozenset(
    ["无", "同上", "不知道", "随便", "测试", "没有", "保密", "暂无", "不详", "未知"]
)
_OF_THE_CITY: Final = re.compile(r"区(?=[^\s])")
"""长沙市区五一大道 is in 长沙市."""


class ProblemCode(StrEnum):
    EMPTY = "empty"
    EMOJI_ONLY = "emoji_only"
    TOO_LONG = "too_long"
    UNKNOWN_PROVINCE = "unknown_province"
    NO_CITY = "no_city"
    AMBIGUOUS = "ambiguous"
    CITY_PROVINCE_CONFLICT = "city_province_conflict"
    DISTRICT_CITY_CONFLICT = "district_city_conflict"
    NO_DETAIL = "no_detail"


_WORDS: Final[dict[ProblemCode, Promise]] = {
    ProblemCode.EMPTY: _("没有填写地址"),
    ProblemCode.EMOJI_ONLY: _("地址里只有表情或符号，没有文字"),
    ProblemCode.TOO_LONG: _("地址过长：%(seen)s 个字，面单最多 %(limit)s 个字"),
    ProblemCode.UNKNOWN_PROVINCE: _("认不出省份，请补全省、市、区"),
    ProblemCode.NO_CITY: _("只认出“%(seen)s”，缺少城市"),
    ProblemCode.AMBIGUOUS: _("“%(seen)s”可能是：%(choices)s，请确认"),
    ProblemCode.CITY_PROVINCE_CONFLICT: _("“%(seen)s”与前面写的省市不一致"),
    ProblemCode.DISTRICT_CITY_CONFLICT: _("“%(seen)s”不属于前面写的省市"),
    ProblemCode.NO_DETAIL: _("缺少详细地址（街道、门牌号）"),
}


@dataclass(frozen=True, slots=True)
class AddressProblem:
    """Why an address needs a person."""

    code: ProblemCode
    seen: str = ""
    choices: tuple[str, ...] = ()
    """The full names it may mean, in the order of their codes."""

    @property
    def message(self) -> str:
        """In words, for people."""
        facts = {"seen": self.seen, "choices": "、".join(self.choices), "limit": MAX_LENGTH}
        return str(_WORDS[self.code]) % facts


@dataclass(frozen=True, slots=True)
class ParsedAddress:
    """What one line of text says. Empty is "not said" or not certain; see ``problems``."""

    province: str = ""
    city: str = ""
    district: str = ""
    town: str = ""
    detail: str = ""
    code: str = ""
    """Of the deepest division read."""
    problems: tuple[AddressProblem, ...] = ()
    former_names: tuple[str, ...] = ()
    """Names in the text that today's divisions have replaced."""
    name: str = ""
    phone: str = ""

    @property
    def is_clear(self) -> bool:
        return not self.problems

    @property
    def region(self) -> Region | None:
        """As ``normalize_region`` gives it from three fields; None without a province."""
        return atlas().region(atlas().divisions[self.code]) if self.code else None


def parse_address(text: str) -> ParsedAddress:
    """Read province, city, district, town and detail; never guess between two readings.

    What all readings share is kept, the rest stays untouched in ``detail``. A phone and a name
    that are certainly no part of the address are returned beside it.
    """
    tidied = tidy(text)
    if not has_words(tidied):
        code = ProblemCode.EMOJI_ONLY if text.strip() else ProblemCode.EMPTY
        return ParsedAddress(problems=(AddressProblem(code),))
    cleaned = clean(tidied)
    parsed = _parse(cleaned)
    if len(cleaned.body) > MAX_LENGTH:
        too_long = AddressProblem(ProblemCode.TOO_LONG, seen=str(len(cleaned.body)))
        parsed = replace(parsed, problems=(*parsed.problems, too_long))
    return replace(parsed, name=cleaned.name, phone=cleaned.phone)


def _parse(cleaned: Cleaned) -> ParsedAddress:
    body = cleaned.body
    plain = body.translate(atlas().traditional)
    start = find_start(plain)
    if start is None:
        unknown = AddressProblem(ProblemCode.UNKNOWN_PROVINCE)
        return ParsedAddress(detail=_trim(body), problems=(unknown,))
    reading = read(plain, start)
    parsed = _place(reading)
    rest = _after_repeats(body, plain, reading)
    if reading.division is not None and reading.division.level is not Level.PROVINCE:
        town = parsed.town or town_at(rest)
        parsed = replace(parsed, town=town)
        rest = _trim(rest.removeprefix(town))
    before = _trim(body[:start]).removesuffix("中国").removesuffix("中华人民共和国")
    parsed = replace(parsed, detail=f"{rest} {before}".strip())
    return replace(parsed, problems=tuple(_problems(plain, reading, parsed)))


def _place(reading: Reading) -> ParsedAddress:
    division = reading.division
    if division is None:
        return ParsedAddress()
    region = atlas().region(division)
    former = tuple(step.text for step in reading.steps if step.kind is Kind.FORMER)
    return ParsedAddress(
        province=region.province,
        city=region.city,
        district="" if division.is_town else region.district,
        town=region.district if division.is_town else "",
        code=region.code,
        former_names=former,
    )


def _after_repeats(body: str, plain: str, reading: Reading) -> str:
    """The text behind the divisions, without the same divisions said all over again."""
    at = reading.detail_from
    place = reading.division
    if place is None or reading.choices:
        return _trim(body[at:])
    if place.level is Level.CITY and place.name.endswith("市") and plain[:at].endswith("市"):
        match = _OF_THE_CITY.match(plain, at)
        at = match.end() if match else at
    match = PLACEHOLDER.match(plain, skip(plain, at))
    if match and match[0] != "县":
        at = match.end()
    names = [division.name for division in atlas().ancestry(place)]
    for first in range(len(names)):
        repeat = "".join(dict.fromkeys(names[first:]))
        here = skip(plain, at)
        said_at_length = len(names) - first > 1 or place.level is Level.COUNTY
        if said_at_length and plain.startswith(repeat, here):
            return _trim(body[here + len(repeat) :])
    return _trim(body[at:])


def _problems(plain: str, reading: Reading, parsed: ParsedAddress) -> Iterator[AddressProblem]:
    if reading.choices:
        choices = tuple(atlas().region(one).full_name for one in reading.choices)
        yield AddressProblem(ProblemCode.AMBIGUOUS, seen=reading.seen, choices=choices)
    elif reading.division is not None:
        if stray := stray_division(plain, reading):
            seen = "".join(step.text for step in stray.steps)
            is_low = all(step.division.level is Level.COUNTY for step in stray.steps)
            code = (
                ProblemCode.DISTRICT_CITY_CONFLICT if is_low else ProblemCode.CITY_PROVINCE_CONFLICT
            )
            yield AddressProblem(code, seen=seen)
        elif _needs_city(reading.division):
            yield AddressProblem(ProblemCode.NO_CITY, seen=parsed.province)
    if _is_blank(parsed.detail):
        yield AddressProblem(ProblemCode.NO_DETAIL)


def _needs_city(division: Division) -> bool:
    return division.level is Level.PROVINCE and not division.code.startswith(_NO_CITY_NEEDED)


def _is_blank(detail: str) -> bool:
    """Nothing a courier could find: signs only, one character over and over, 同上."""
    told = [ch for ch in detail if ch.isalnum() or ch == "*"]
    return len(set(told)) <= (0 if "*" in told else 1) or "".join(told) in _EMPTY_WORDS


def _trim(text: str) -> str:
    """Cut separators at both ends, but no half of a pair of brackets."""
    text = text.strip(_TRIMMED)
    for opening, closing in _BRACKETS:
        if text.count(opening) < text.count(closing):
            text = text.removeprefix(closing).strip(_TRIMMED)
        elif text.count(opening) > text.count(closing):
            text = text.removesuffix(opening).strip(_TRIMMED)
    return text
