"""Take out of a pasted address what is certainly not address: labels, phones, names, pictures."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from ordercenter.core.addresses.regions import Level, atlas

CUT: Final = "\0"
"""Stands where a phone or a label was taken out; no buyer can type it past the cleaning."""
SEPARATORS: Final = frozenset(" \t\r\n,;、/\\|>·:_-.。!~()[]{}<【】《》\"'" + CUT)

_PHONE: Final = re.compile(
    r"(?<![\d*])(?:"
    r"(?:\+?86[- ]?)?1[3-9]\d(?:[- ]?\d{4}){2}|1[3-9]\d\*{4}\d{4}|"
    r"\(?0\d{2,3}\)?[- ]\d{7,8}|\(0\d{2,3}\)\d{7,8}|400-?\d{3}-?\d{4}|"
    r"\+?(?:852|853|886)[- ]\d{3,4}[- ]?\d{4,6}"
    r")(?:(?:转|#|ext\.?|分机)\s*\d{1,6}|-\d{3,6}(?![号栋幢单楼室弄]))?(?![\d*])",
    re.IGNORECASE,
)
_PHONE_LABEL: Final = re.compile(
    rf"(?:联系电话|联系方式|手机号码|手机号|手机|电话号码|电话|tel|phone|mobile)\s*[:.]?\s*(?={CUT})",
    re.IGNORECASE,
)
_NAME_LABEL: Final = re.compile(
    r"(?:收件人姓名|收货人姓名|收件人|收货人|联系人|姓名)(?:\s*:\s*|\s+)"
    rf"([^\s,;:、。{CUT}]{{1,12}}?)"
    rf"(?=$|[\s,;、。{CUT}]|手机|电话|联系|地址|收货|收件|详细|所在)"
)
_ADDRESS_LABEL: Final = re.compile(
    r"(?:(?:收货|收件|详细|家庭|单位|邮寄)?地址|所在地区|所在区域|省市区|地区|详细)\s*:|"
    r"^\s*(?:(?:收货|收件|详细)?地址|寄到|送到|寄往|发到|发往)\s*"
)
_POSTCODE: Final = re.compile(
    r"邮(?:政编)?[编码]+\s*:?\s*\d{6}(?!\d)|[(\[]\d{6}[)\]]|(?<!\d)000000(?!\d)"
)
_SURNAMES: Final = frozenset(
    "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜戚谢邹喻柏窦章苏潘葛奚范彭郎"
    "鲁韦昌马苗凤方俞任袁柳鲍史唐费廉岑薛雷贺倪汤滕殷罗毕郝邬安常乐于时傅皮卞齐康伍余元卜顾孟黄穆萧"
    "尹姚邵汪祁毛禹狄米贝明臧计成戴宋茅庞熊纪舒屈项祝董梁杜阮蓝闵席季麻强贾路娄危江童颜郭梅盛林刁钟"
    "徐邱骆高夏蔡田樊胡凌霍虞万支柯管卢莫房裘缪干解应宗丁宣邓郁单杭洪包诸左石崔吉龚程邢裴陆荣翁荀羊"
    "甄曲封储靳焦巴侯车宓全班秋仲伊宫宁仇甘厉祖武符刘景詹束龙叶幸司黎白怀蒲索赖卓屠蒙池乔阴闻党翟谭"
    "贡劳姬申扶冉宰桑桂牛寿边燕尚农温庄晏柴瞿阎连习艾鱼容向古易廖耿满匡文寇广东欧沃利越师巩聂晁敖冷"
    "辛阚那简饶曾沙丰关相查荆红游权盖益桓公肖闫岳代谷兰佟蔺仝鞠滑褟涂"
)
_COMPOUND: Final = re.compile(r"欧阳|上官|司马|诸葛|东方|皇甫|尉迟|公孙|令狐|慕容|司徒|夏侯|端木")
_PLACE_END: Final = frozenset(
    "省市区县旗盟州镇乡村庄屯寨组队路街道巷弄里号楼栋幢座室层院园苑城湾港口桥坊社厂店铺厦井校所站岛山湖河江海"
)
_TITLE: Final = re.compile(r"(?:先生|女士|小姐|老师|收|\(收\))$")
_HAN: Final = re.compile(r"[\u3400-\u9fff]+")
_NAME_AT_THE_END: Final = re.compile(r"(?<=[号室栋幢座元])([\u3400-\u9fff]{2,4})$")
_ADDRESS_END: Final = re.compile(r"[号室楼层栋座幢元户店铺柜\da-z]$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What is left of a text once labels, phones and certain names are out of it."""

    body: str
    name: str = ""
    phone: str = ""


def tidy(text: str) -> str:
    """One width, no pictures, nothing invisible; line ends become blanks."""
    kept = []
    for ch in unicodedata.normalize("NFKC", text):
        if ch.isspace():
            kept.append(" ")
        elif unicodedata.category(ch) not in {"Cf", "Cc", "Cs", "Co", "Cn", "So", "Sk", "Mn", "Me"}:
            kept.append(ch)
    return "".join(kept)


def has_words(text: str) -> bool:
    return any(ch.isalnum() for ch in text)


def clean(text: str) -> Cleaned:
    """Take labels, phones and certain names out of a text that is ``tidy`` already."""
    phone, name = "", ""
    if match := _PHONE.search(text):
        phone = match[0].strip()
    text = _PHONE_LABEL.sub(CUT, _PHONE.sub(CUT, text))
    if match := _NAME_LABEL.search(text):
        name = match[1]
        text = text[: match.start()] + " " + text[match.end() :]
    text = _ADDRESS_LABEL.sub(" ", _POSTCODE.sub(" ", text))
    segments = _segments(text)
    for cut in (_cut_leading_name, _cut_trailing_name):
        if not name:
            name = cut(segments)
    body = "".join(segments).strip()
    return Cleaned(body.replace(CUT, " ").strip(), name, phone)


def _segments(text: str) -> list[str]:
    """Words and the separators between them, in turn; joined they are the text."""
    return [part for part in re.split(rf"([\s,;、|]+|{CUT})", text) if part]


def _is_blank(segment: str) -> bool:
    return segment == CUT or all(ch in SEPARATORS for ch in segment)


def _words(segments: list[str]) -> list[int]:
    return [at for at, segment in enumerate(segments) if segment == CUT or not _is_blank(segment)]


def _cut_leading_name(segments: list[str]) -> str:
    """张三 13800138000 浙江省…: the word before the address, when a phone or a province tells."""
    words = _words(segments)
    texts = [at for at in words if segments[at] != CUT]
    if len(texts) < 2:  # noqa: PLR2004 - a name and an address
        return ""
    first, second = texts[0], texts[1]
    by_phone = CUT in segments[:second]
    opens = _opens_with_province(segments[second])
    if not _is_name(segments[first]) or not (by_phone or opens):
        return ""
    if _is_place(segments[first]) and not (by_phone and opens):
        return ""
    name, segments[first] = segments[first], ""
    return _TITLE.sub("", name)


def _cut_trailing_name(segments: list[str]) -> str:
    """…1号 张三 13800138000 and …1号13800138000张三: only behind a finished house number."""
    words = _words(segments)
    if CUT not in segments or len(words) < 2:  # noqa: PLR2004 - address and phone
        return ""
    last, before = words[-1], words[-2]
    at = before if segments[last] == CUT else last
    if segments[last] == CUT and (match := _NAME_AT_THE_END.search(segments[before])):
        if _is_name(match[1]):
            segments[before] = segments[before][: match.start()]
            return _TITLE.sub("", match[1])
        return ""
    is_beside = segments[last] == CUT or segments[before] == CUT
    earlier = [one for one in words if one < at and segments[one] != CUT]
    if not is_beside or not earlier or not _is_name(segments[at]) or _is_place(segments[at]):
        return ""
    if not _ADDRESS_END.search(segments[earlier[-1]]):
        return ""
    name, segments[at] = segments[at], ""
    return _TITLE.sub("", name)


def _is_name(word: str) -> bool:
    name = _TITLE.sub("", word)
    if not _HAN.fullmatch(name) or name[-1] in _PLACE_END:
        return False
    if _COMPOUND.match(name):
        return 3 <= len(name) <= 4  # noqa: PLR2004 - one or two given characters
    return name[0] in _SURNAMES and 2 <= len(name) <= 3  # noqa: PLR2004


def _is_place(word: str) -> bool:
    return any(word.startswith(one.text) for one in atlas().by_start.get(word[:2], ()))


def _opens_with_province(word: str) -> bool:
    return any(
        one.division.level is Level.PROVINCE and word.startswith(one.text)
        for one in atlas().by_start.get(word[:2], ())
    )
