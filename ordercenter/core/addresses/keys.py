"""A text by which two addresses are the same, however their buyers typed them."""

import re
from typing import Final

from ordercenter.core.addresses.cleaning import has_words, tidy
from ordercenter.core.addresses.regions import Region, atlas

_DIGITS: Final = {digit: value for value, digit in enumerate("零一二三四五六七八九")} | {
    "\u3007": 0,
    "两": 2,
}
_UNITS: Final = {"十": 10, "百": 100}
_NUMERAL: Final = re.compile(
    r"[\u3007零一二两三四五六七八九十百]+"
    r"(?=[号栋幢座室户房楼层弄门期组队村路街巷]|单元|[东南西北中][路街])"
)
_COURTESY: Final = re.compile(
    r"[(\[【][^()\[\]【】]*"
    r"(?:放|送|近|旁|对面|隔壁|电话|联系|快递|驿站|门卫|代收|勿|请)"
    r"[^()\[\]【】]*[)\]】]"
)
_STREET: Final = re.compile(r"[^\W\d_]{2,6}?(?:街道办事处|街道办|街道)(?=.*[路街巷弄道]\d+号?)")
_SEPARATED: Final = re.compile(r"(?<=[0-9a-z])[^\w]+(?=[0-9a-z])")
_NOISE: Final = re.compile(r"[^\w-]|_")
_STEPS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"(?<=[0-9a-z])(?:号楼|栋楼|[栋幢座]|#楼?)"), "-"),
    (re.compile(r"(?<=[0-9a-z])(?:单元|门(?=\d))"), "-"),
    # The floor, where the room says it too.
    (re.compile(r"(?<!\d)(\d{1,2})[楼层f](?=\1\d{2}(?!\d))"), ""),
    (re.compile(r"(?<=[0-9a-z])[室房户](?!\w)"), ""),
    (re.compile(r"(?<=[路街巷弄道])(\d+)$"), r"\1号"),
    (re.compile(r"-+"), "-"),
    (re.compile(r"^-|-$|(?<![0-9a-z])-|-(?![0-9a-z])"), ""),
)


def address_key(region: Region, detail: str) -> str:
    """Normalised text, equal for equal addresses; empty when there is nothing to compare.

    Width, blanks, 號 and 号, 三号楼 and 3栋, 3-2-501 and 3栋2单元501室, a region said again in
    front and the street of a numbered road make no difference. A masked detail (``*``) has no
    key, so that strangers never share one. The key is an address still: hash it before storing.
    """
    text = tidy(detail).translate(atlas().traditional).lower()
    if "*" in text or not has_words(text):
        return ""
    place = "".join(dict.fromkeys(name for name in (*region.names, _town(region)) if name))
    house = _house(_without_region(text, region))
    return place + house if house else ""


def _town(region: Region) -> str:
    """A town given as district counts; a ring road of Beijing does not."""
    return "" if "环" in region.rest else region.rest


def _without_region(text: str, region: Region) -> str:
    """Cut what the detail says again of the region, from whichever level it starts."""
    for name in (*region.names, _town(region)):
        text = text.lstrip(" ,;、-/").removeprefix(name) if name else text
    return text


def _house(text: str) -> str:
    text = _COURTESY.sub("", text)
    text = _NOISE.sub("", _SEPARATED.sub("-", text.strip()))
    text = _NUMERAL.sub(_as_digits, text)
    if match := _STREET.match(text):
        text = text[match.end() :]
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    return text


def _as_digits(match: re.Match[str]) -> str:
    """十二 and 一二 are 12, 一百零三 is 103, 二〇一 is 201."""
    numeral = match[0]
    if not any(unit in numeral for unit in _UNITS):
        return "".join(str(_DIGITS[ch]) for ch in numeral)
    total, digit = 0, 0
    for ch in numeral:
        if ch in _UNITS:
            total += (digit or 1) * _UNITS[ch]
            digit = 0
        else:
            digit = _DIGITS[ch]
    return str(total + digit)
