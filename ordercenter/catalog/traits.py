"""Colours, sizes and counts in a name: what may not contradict when two texts mean one thing.

Rather one proposal too few: a word that may be a colour counts as one. ``1.8米`` is a length, so
the colour of rice needs a second character.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

Traits = Mapping[str, frozenset[str]]

_NARROW: Final = str.maketrans(
    {chr(0xFF01 + n): chr(0x21 + n) for n in range(94)}
    | {chr(n): chr(n + 32) for n in range(ord("A"), ord("Z") + 1)}
    | {chr(0xFF21 + n): chr(ord("a") + n) for n in range(26)}
    | {"\u3000": " ", "×": "x", "*": "x", "\uff0a": "x"}
)
_COLORS: Final = {
    "red": r"红|\bred\b",
    "orange": r"橙|橘|\borange\b",
    "yellow": r"黄|\byellow\b",
    "green": r"绿|\bgreen\b",
    "blue": r"蓝|藏青|\bblue\b|\bnavy\b",
    "purple": r"紫|\bpurple\b|\bviolet\b",
    "black": r"黑|\bblack\b",
    "white": r"白|\bwhite\b",
    "gray": r"灰|\bgr[ae]y\b",
    "pink": r"粉|\bpink\b",
    "brown": r"棕|褐|咖|焦糖|驼|奶茶|茶色|\bbrown\b|\bkhaki\b|卡其",
    "beige": r"米(?=[白色黄灰咖杏])|杏色|米杏|\bbeige\b",
    "gold": r"金色|香槟|\bgold\b",
    "silver": r"银色|\bsilver\b",
    "cyan": r"青色|\bcyan\b",
}
_WORDS: Final = (
    ("color", tuple((name, re.compile(pattern)) for name, pattern in _COLORS.items())),
    ("shade", (("light", re.compile(r"[浅淡]")), ("deep", re.compile(r"深")))),
    (
        "grade",
        (
            ("small", re.compile(r"小号")),
            ("middle", re.compile(r"中号")),
            ("large", re.compile(r"大号")),
            ("extra", re.compile(r"加大|特大")),
        ),
    ),
)
_LETTER_SIZE: Final = re.compile(
    r"(?<![0-9a-z])(x{1,4}s|x{1,4}l|[2-6]xl|[2-4]xs|[sml])(?![0-9a-z])"
)
_BY: Final = re.compile(r"(\d+(?:\.\d+)?)\s*x\s*(\d+(?:\.\d+)?)")
_NUMERALS: Final = {"一": "1", "二": "2", "两": "2", "三": "3", "四": "4", "五": "5", "六": "6",
                    "七": "7", "八": "8", "九": "9", "十": "10"}  # fmt: skip
_UNITS: Final = {
    "厘米": "cm", "公分": "cm", "cm": "cm", "毫米": "mm", "mm": "mm", "毫升": "ml", "ml": "ml",
    "千克": "kg", "公斤": "kg", "kg": "kg", "英寸": "inch", "件套": "set", "米": "m", "m": "m",
    "升": "l", "l": "l", "克": "g", "g": "g", "斤": "jin", "寸": "inch", "码": "size",
    "件装": "pieces", "只装": "pieces", "片装": "pieces", "个装": "pieces", "条装": "pieces",
    "支装": "pieces", "瓶装": "pieces", "包装": "packs", "盒装": "boxes", "双装": "pairs",
    "对装": "pairs", "只": "pieces", "片": "pieces", "个": "pieces", "条": "pieces",
    "支": "pieces", "瓶": "pieces", "包": "packs", "盒": "boxes", "双": "pairs", "对": "pairs",
}  # fmt: skip
_MEASURE: Final = re.compile(
    r"(\d+(?:\.\d+)?|[一二两三四五六七八九十])\s*("
    + "|".join(sorted(_UNITS, key=len, reverse=True))
    + r")(?![a-z])"
)


def plain(text: str) -> str:
    """``text`` with narrow small letters, for comparing only."""
    return text.translate(_NARROW)


@lru_cache(maxsize=8192)
def traits_of(text: str) -> Traits:
    """What a name says of colour, shade, size and count, by kind."""
    told = plain(text)
    found: dict[str, set[str]] = {}
    for kind, words in _WORDS:
        if said := {name for name, pattern in words if pattern.search(told)}:
            found[kind] = said
    for size in _LETTER_SIZE.findall(told):
        found.setdefault("letter", set()).add(_letter(size))
    for sides in _BY.findall(told):
        found.setdefault("sides", set()).add("x".join(sorted(map(_figure, sides))))
    for figure, unit in _MEASURE.findall(told):
        found.setdefault(_UNITS[unit], set()).add(_figure(_NUMERALS.get(figure, figure)))
    return {kind: frozenset(values) for kind, values in found.items()}


def contradict(one: Traits, other: Traits) -> bool:
    """Whether both name something of a kind and nothing in common."""
    return any(one[kind].isdisjoint(other[kind]) for kind in one.keys() & other.keys())


def _letter(size: str) -> str:
    """``xxl`` is ``2xl``."""
    crosses = size.count("x")
    return f"{crosses}x{size[-1]}" if crosses > 1 else size


def _figure(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
