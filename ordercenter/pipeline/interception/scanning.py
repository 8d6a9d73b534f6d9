"""A command cut into what each stretch of it says: names, places, times, words, the rest.

At every place the longest thing known wins, so 京东快递 is a carrier and 江苏旗舰店 a shop.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from ordercenter.core.addresses.reading import Reading, finished, read
from ordercenter.core.addresses.regions import atlas
from ordercenter.pipeline.interception.moments import TimeSaid, time_at
from ordercenter.pipeline.interception.vocabulary import (
    AREAS,
    Place,
    Thing,
    Vocabulary,
    place_label,
)
from ordercenter.pipeline.interception.wordlist import WEAK, Word, word_at

_CODE: Final = re.compile(r"[0-9a-z][0-9a-z_./#-]*", re.IGNORECASE)
_CODE_SIGN: Final = re.compile(r"[0-9a-z_-]", re.IGNORECASE)
_NUMBER: Final = re.compile(r"#\s?(\d{1,9})(?!\d)|第(\d{1,9})[号条]")
_TRADE: Final = str.maketrans(
    "攔暫發貨緩凍鎖點時後豐韻達圓極郵獨號頻淘貓寶", "拦暂发货缓冻锁点时后丰韵达圆极邮独号频淘猫宝"
)
_SHORT: Final = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云滇藏陕甘青新台港澳"
"""Provinces by one sign, where several stand together; 宁 is Nanjing as often as Ningxia."""
_SHORTS: Final = re.compile(f"[{_SHORT}]{{2,}}")
_AFTER_A_PLACE: Final = re.compile(
    r"$|[的和与及跟或除都也先内等]|地区|方向|一带|境内|全[省市境]|客户|买家|订单|包裹|单|所有|全部"
)
"""What may follow the bare stem of a county (昆山) in a command."""


@dataclass(frozen=True, slots=True)
class Mention:
    """One thing a command names. ``places`` has several members where the name does."""

    thing: Thing
    key: str
    label: str
    start: int
    end: int
    places: tuple[Place, ...] = ()
    is_choice: bool = False
    """Of ``places`` or of ``rivals`` one is meant."""
    rivals: tuple[tuple[Thing, str, str], ...] = ()
    """Other things of exactly this name: (thing, key, label)."""


@dataclass(frozen=True, slots=True)
class Said:
    """One stretch of a command."""

    start: int
    end: int
    word: Word | None = None
    mention: Mention | None = None
    time: TimeSaid | None = None
    number: int = 0
    """Of an interception: #12."""
    text: str = ""
    """What was not understood, or the sign of a word."""


@dataclass(slots=True)
class Cut:
    """A command in its stretches, in order."""

    text: str
    parts: list[Said] = field(default_factory=list)


def tidy(text: str) -> str:
    """One width, simplified, nothing invisible, single blanks; the case stays."""
    wide = unicodedata.normalize("NFKC", text).translate(atlas().traditional).translate(_TRADE)
    kept = [
        " " if sign.isspace() else sign
        for sign in wide
        if sign.isspace() or unicodedata.category(sign) not in {"Cf", "Cc", "Cs", "Co", "Cn"}
    ]
    return " ".join("".join(kept).split())


def cut(text: str, vocabulary: Vocabulary, now: datetime) -> Cut:
    """Cut a tidy command up. Every sign but the blanks belongs to exactly one stretch."""
    small = "".join(sign.lower() if len(sign.lower()) == 1 else sign for sign in text)
    found = Cut(text)
    at = begin = 0
    while at < len(small):
        said = _known_at(small, at, vocabulary, now, inside=begin < at)
        if said is None:
            at += max(1, _code_length(small, at))
            continue
        if begin < at:
            found.parts.extend(_rest(text, begin, at))
        found.parts.append(said)
        at = begin = said.end
    if begin < at:
        found.parts.extend(_rest(text, begin, at))
    return found


def _rest(text: str, begin: int, end: int) -> Iterator[Said]:
    if stripped := text[begin:end].strip():
        yield Said(begin, end, text=stripped)


def _code_length(small: str, at: int) -> int:
    match = _CODE.match(small, at)
    return len(match[0]) if match else 0


def _known_at(
    small: str, at: int, vocabulary: Vocabulary, now: datetime, *, inside: bool
) -> Said | None:
    """The longest thing known that begins here; ``inside`` an unknown word weak ones do not."""
    if small[at] == " ":
        return Said(at, at + 1, Word.BREAK, text=" ")
    if match := _NUMBER.match(small, at):
        return Said(at, match.end(), number=int(match[1] or match[2]))
    options = [
        _name_at(small, at, vocabulary),
        _place_at(small, at, vocabulary, now),
        _time_said(small, at, now),
        _word_said(small, at, inside=inside),
    ]
    known = [one for one in options if one is not None]
    # Of equally long ones the first of the list wins: a name, then a place.
    return max(known, key=lambda one: one.end, default=None)


def _time_said(small: str, at: int, now: datetime) -> Said | None:
    time = time_at(small, at, now)
    return Said(at, at + time.length, time=time) if time else None


def _word_said(small: str, at: int, *, inside: bool) -> Said | None:
    known = word_at(small, at)
    if known is None:
        return None
    text, word = known
    if inside and len(text) == 1 and word in WEAK and text.isalnum():
        return None
    return Said(at, at + len(text), word, text=text)


def _name_at(small: str, at: int, vocabulary: Vocabulary) -> Said | None:
    """A shop, a SKU, a category, a platform or a carrier by its whole name or code."""
    best = [
        name
        for name in vocabulary.by_start.get(small[at : at + 2], ())
        if small.startswith(name.text, at) and _ends_well(small, at + len(name.text))
    ]
    if not best:
        return None
    first = best[0]
    alike = [name for name in best if name.text == first.text]
    shops = [name for name in alike if name.thing is Thing.SHOP]
    if shops and len({name.key for name in shops}) == 1:
        alike = [name for name in alike if name.thing not in {Thing.CHANNEL, Thing.SHOP}]
        alike.insert(0, shops[0])
        first = shops[0]
    end = at + len(first.text)
    rivals = tuple((name.thing, name.key, name.label) for name in alike)
    mention = Mention(
        first.thing, first.key, first.label, at, end,
        is_choice=len(set(rivals)) > 1, rivals=rivals if len(set(rivals)) > 1 else (),
    )  # fmt: skip
    return Said(at, end, mention=mention)


def _ends_well(small: str, end: int) -> bool:
    """Whether a code does not go on: JZ-1001 is not the beginning of JZ-10015."""
    if not _CODE_SIGN.match(small[end - 1]):
        return True
    return end >= len(small) or not _CODE_SIGN.match(small[end])


def _place_at(small: str, at: int, vocabulary: Vocabulary, now: datetime) -> Said | None:
    for length in (4, 3, 2):
        area = small[at : at + length]
        if len(area) == length and (provinces := AREAS.get(area)):
            return _placed(at, at + length, area, tuple((name, "", "") for name in provinces))
    if match := _SHORTS.match(small, at):
        known = atlas()
        provinces = tuple(
            known.divisions[known.provinces[sign]].name for sign in dict.fromkeys(match[0])
        )
        if small[at : at + 2] not in known.by_start:
            return _placed(at, match.end(), match[0], tuple((one, "", "") for one in provinces))
    if small[at : at + 2] not in atlas().by_start:
        return None
    chunk = small[at : _until_next_word(small, at, vocabulary, now)]
    if not any(True for _ in finished(chunk, 0)):
        return None
    return _as_read(chunk, at, read(chunk, 0))


def _until_next_word(small: str, at: int, vocabulary: Vocabulary, now: datetime) -> int:
    """Where the text a place may reach into ends: at a verb, a list mark, a time, a name."""
    for end in range(at + 2, min(len(small), at + 40)):
        known = word_at(small, end)
        if known and known[1] is not Word.NOISE and (len(known[0]) > 1 or known[1] not in WEAK
                                                     or not known[0].isalnum()):  # fmt: skip
            return end
        if time_at(small, end, now) or _name_at(small, end, vocabulary):
            return end
    return min(len(small), at + 40)


def _as_read(chunk: str, at: int, reading: Reading) -> Said | None:
    known = atlas()
    if any(step.is_zone for step in reading.steps[-1:]):
        return None
    divisions = reading.choices or ((reading.division,) if reading.division else ())
    if not divisions:
        return None
    if (
        len(divisions) == 1
        and reading.choices
        and not _AFTER_A_PLACE.match(chunk[reading.end :].strip())
    ):
        return None
    places = tuple(dict.fromkeys(_triple(known.region(one).names) for one in divisions))
    text = chunk[: reading.end]
    said = _placed(at, at + len(text), text, places)
    assert said.mention is not None
    return replace(said, mention=replace(said.mention, is_choice=len(places) > 1))


def _triple(names: Place) -> Place:
    """A municipality whole is its province; below it its city stays named."""
    province, city, district = names
    return (province, "", "") if province == city and not district else names


def _placed(start: int, end: int, text: str, places: tuple[Place, ...]) -> Said:
    label = place_label(places[0]) if len(places) == 1 else text
    return Said(start, end, mention=Mention(Thing.PLACE, label, label, start, end, places))
