"""The names a command may use: shops, goods, carriers, platforms, parts of the country.

Plain data, so that the grammar needs no database; ``preview.vocabulary`` reads it from one.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from functools import cache, cached_property
from typing import Final

from ordercenter.core.addresses.regions import Level, atlas, clean_name

Place = tuple[str, str, str]
"""Province, city and district in full; what is empty means all of them."""
LONGEST_NAME: Final = 40
"""Signs of a misspelled name for which others are sought."""
MOST_GOODS: Final = 200
"""Goods one name or category may stand for in a command."""


class Thing(StrEnum):
    """What kind of thing a name stands for."""

    PLACE = "place"
    SKU = "sku"
    SHOP = "shop"
    CHANNEL = "channel"
    CARRIER = "carrier"
    CATEGORY = "category"


@dataclass(frozen=True, slots=True)
class ShopWord:
    code: str
    name: str
    channel: str


@dataclass(frozen=True, slots=True)
class SkuWord:
    code: str
    name: str
    category: str = ""


@dataclass(frozen=True, slots=True)
class Name:
    """One way to write a thing, in small letters."""

    text: str
    thing: Thing
    key: str
    label: str
    """What people read of it."""


CHANNEL_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "taobao": (
        "淘宝",
        "天猫",
        "淘系",
        "淘宝天猫",
        "淘宝/天猫",
        "淘宝店",
        "天猫店",
        "taobao",
        "tmall",
    ),
    "jd": ("京东", "京东店", "jd"),
    "douyin": ("抖音", "抖店", "抖音店", "抖音小店", "抖音平台", "douyin"),
    "pinduoduo": ("拼多多", "拼多多店", "多多", "pdd", "pinduoduo"),
    "shopify": ("shopify", "独立站", "shopify独立站"),
    "wechat": ("微信小店", "视频号", "视频号小店", "微信店", "wechat"),
    "miniprogram": ("小程序", "自有小程序", "微信小程序"),
    "crm_webhook": ("私域", "私域crm", "crm"),
    "openjson": ("通用接口", "通用json接口"),
    "file": ("表格导入", "表格订单"),
}
CHANNEL_LABELS: Final[Mapping[str, str]] = {
    "taobao": "淘宝/天猫", "jd": "京东", "douyin": "抖音小店", "pinduoduo": "拼多多",
    "shopify": "Shopify", "wechat": "微信小店", "miniprogram": "自有小程序",
    "crm_webhook": "私域", "openjson": "通用接口", "file": "表格导入",
}  # fmt: skip
CARRIER_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "sf": ("顺丰", "顺丰速运", "顺丰快递", "sf"),
    "zto": ("中通", "中通快递", "zto"),
    "yto": ("圆通", "圆通速递", "圆通快递", "yto"),
    "yunda": ("韵达", "韵达快递", "yunda"),
    "sto": ("申通", "申通快递", "sto"),
    "jtsd": ("极兔", "极兔速递", "极兔快递", "j&t"),
    "jdl": ("京东物流", "京东快递", "京东速递", "jdl"),
    "ems": ("邮政", "中国邮政", "邮政快递", "ems"),
    "deppon": ("德邦", "德邦快递", "德邦物流"),
}
"""Carriers by the names people use; an installation's own accounts are added to them."""
AREAS: Final[Mapping[str, tuple[str, ...]]] = {
    "江浙沪": ("江苏省", "浙江省", "上海市"),
    "苏浙沪": ("江苏省", "浙江省", "上海市"),
    "江浙沪皖": ("江苏省", "浙江省", "上海市", "安徽省"),
    "长三角": ("江苏省", "浙江省", "上海市", "安徽省"),
    "京津冀": ("北京市", "天津市", "河北省"),
    "川渝": ("四川省", "重庆市"),
    "成渝": ("四川省", "重庆市"),
    "云贵川": ("云南省", "贵州省", "四川省"),
    "云贵": ("云南省", "贵州省"),
    "两广": ("广东省", "广西壮族自治区"),
    "两湖": ("湖北省", "湖南省"),
    "新藏": ("新疆维吾尔自治区", "西藏自治区"),
    "陕甘宁": ("陕西省", "甘肃省", "宁夏回族自治区"),
    "港澳": ("香港特别行政区", "澳门特别行政区"),
    "港澳台": ("香港特别行政区", "澳门特别行政区", "台湾省"),
    "东北": ("辽宁省", "吉林省", "黑龙江省"),
    "东三省": ("辽宁省", "吉林省", "黑龙江省"),
    "东北三省": ("辽宁省", "吉林省", "黑龙江省"),
    "华东": ("上海市", "江苏省", "浙江省", "安徽省", "福建省", "江西省", "山东省"),
    "华北": ("北京市", "天津市", "河北省", "山西省", "内蒙古自治区"),
    "华南": ("广东省", "广西壮族自治区", "海南省"),
    "华中": ("河南省", "湖北省", "湖南省"),
    "西南": ("重庆市", "四川省", "贵州省", "云南省", "西藏自治区"),
    "西北": ("陕西省", "甘肃省", "青海省", "宁夏回族自治区", "新疆维吾尔自治区"),
}
"""Parts of the country; always shown as the provinces they stand for."""


@dataclass(frozen=True)
class Vocabulary:
    """Everything a command may name, ready to be looked up."""

    shops: tuple[ShopWord, ...] = ()
    skus: tuple[SkuWord, ...] = ()
    carriers: Mapping[str, str] = field(default_factory=dict)
    """The installation's carriers, code to name."""

    @cached_property
    def by_start(self) -> Mapping[str, tuple[Name, ...]]:
        """Names by their first two signs, the longest first."""
        found: defaultdict[str, set[Name]] = defaultdict(set)
        for name in self.names:
            if len(name.text) > 1:
                found[name.text[:2]].add(name)
        return {
            start: tuple(sorted(names, key=lambda one: (-len(one.text), one.thing, one.key)))
            for start, names in found.items()
        }

    @cached_property
    def names(self) -> tuple[Name, ...]:
        """Every name there is, places aside."""
        return tuple(self._names())

    def _names(self) -> Iterator[Name]:
        for shop in self.shops:
            for text in (shop.code, shop.name):
                yield Name(plain(text), Thing.SHOP, shop.code, shop.name)
        for sku in self.skus:
            for text in (sku.code, sku.name):
                yield Name(plain(text), Thing.SKU, sku.code, f"{sku.code} {sku.name}")
        for category, skus in self.by_category.items():
            label = f"类目 {category}（{len(skus)} 种）"
            yield Name(plain(category), Thing.CATEGORY, category, label)
        for words, thing in ((CHANNEL_WORDS, Thing.CHANNEL), (self._carriers(), Thing.CARRIER)):
            for code, texts in words.items():
                label = CHANNEL_LABELS[code] if thing is Thing.CHANNEL else texts[0]
                for text in texts:
                    yield Name(plain(text), thing, code, label)

    def _carriers(self) -> Mapping[str, tuple[str, ...]]:
        own = {code: (name, code) for code, name in self.carriers.items()}
        return {**CARRIER_WORDS, **{
            code: (*CARRIER_WORDS.get(code, ()), *texts) for code, texts in own.items()
        }}  # fmt: skip

    @cached_property
    def by_category(self) -> Mapping[str, tuple[SkuWord, ...]]:
        found: defaultdict[str, list[SkuWord]] = defaultdict(list)
        for sku in self.skus:
            if sku.category:
                found[sku.category].append(sku)
        return {category: tuple(skus) for category, skus in found.items()}

    @cached_property
    def labels(self) -> Mapping[tuple[Thing, str], str]:
        """What people read of a thing, by what a condition holds of it."""
        return {(name.thing, name.key): name.label for name in self.names}

    def label(self, thing: Thing, key: str) -> str:
        return self.labels.get((thing, key), key)

    def containing(self, fragment: str) -> list[Name]:
        """Goods, categories and shops in whose name or code the fragment stands, each once."""
        part = plain(fragment)
        found: dict[tuple[Thing, str], Name] = {}
        for name in self.names:
            if name.thing in {Thing.SKU, Thing.CATEGORY, Thing.SHOP} and part in name.text:
                found.setdefault((name.thing, name.key), name)
        turn = (Thing.CATEGORY, Thing.SHOP, Thing.SKU)
        return sorted(found.values(), key=lambda one: (turn.index(one.thing), one.key))

    def resembling(self, fragment: str, *, most: int = 3) -> list[Name]:
        """Names and places that are nearly spelled like the fragment, the nearest first."""
        part = plain(fragment)
        if len(part) > LONGEST_NAME:
            return []
        # Looking closely at every one of many thousand names would take a second; what shares
        # not even half of the signs is not meant.
        signs, least = set(part), (len(set(part)) + 1) // 2
        names = {
            name.text: name
            for name in (*_place_names(), *self.names)
            if len(name.text) > 1
            and abs(len(name.text) - len(part)) <= max(2, len(part) // 2)
            and len(signs.intersection(name.text)) >= least
        }
        close = get_close_matches(part, names, n=most * 2, cutoff=0.6)
        found: dict[tuple[Thing, str], Name] = {}
        for text in close:
            found.setdefault((names[text].thing, names[text].key), names[text])
        return list(found.values())[:most]


def place_label(place: Place) -> str:
    """A place in full, without saying 北京市 twice."""
    return "".join(dict.fromkeys(part for part in place if part))


def plain(text: str) -> str:
    """One width and case, simplified, without blanks."""
    return clean_name(text)


@cache
def _place_names() -> tuple[Name, ...]:
    """Provinces and cities; of counties there are too many that look alike."""
    return tuple(_each_place())


def _each_place() -> Iterator[Name]:
    known = atlas()
    for division in known.divisions.values():
        if division.level is not Level.COUNTY:
            label = known.region(division).full_name
            yield Name(division.name, Thing.PLACE, label, label)
            for ending in ("省", "市"):
                if division.name.endswith(ending):
                    yield Name(division.name.removesuffix(ending), Thing.PLACE, label, label)
