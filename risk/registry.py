"""Every fact a rule may ask: its name, what it measures, how it may be asked.

The tables are complete enough to check a rule by, to say it in a sentence, and to draw a form
from. How a fact is computed is ``risk/facts`` (for a batch) and ``risk/setwise`` (in SQL).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, cast

from ordercenter.catalog.models import Channel
from ordercenter.core.addresses import PROVINCES

ParamValue = str | int | bool | tuple[str, ...]
FactType = Literal["count", "money", "ratio", "number", "bool", "set", "text"]
NUMBERS: Final = frozenset({"count", "money", "ratio", "number"})
MAX_WINDOW: Final = 31 * 86_400
LONGEST_BASE: Final = 366 * 86_400
LONGEST_LIKENESS: Final = 7 * 86_400
DAY: Final = 86_400
MONTH: Final = 30 * DAY
MAX_TEXTS: Final = 1_000
"""Texts in one list of a rule; more belong on a list of their own."""
MAX_KEYS: Final = 8

KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "buyer": "买家账号",
        "device": "设备",
        "phone": "手机号",
        "address": "收货地址",
        "ip": "IP",
        "sku": "货品",
    }
)
FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "name": "姓名",
        "phone": "电话",
        "province": "省份",
        "city": "城市",
        "district": "区县",
        "address": "详细地址",
        "amount": "金额",
    }
)
OP_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        ">=": "达到",
        ">": "超过",
        "<": "低于",
        "<=": "不高于",
        "==": "等于",
        "!=": "不等于",
        "is": "为",
        "in": "属于",
        "not_in": "不属于",
        "has_any": "包含任一",
    }
)
_COMPARED: Final = (">=", ">", "<", "<=", "==", "!=")
_OPS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(NUMBERS, _COMPARED),
    "bool": ("is",),
    "set": ("in", "not_in", "has_any"),
    "text": ("has_any",),
}


@dataclass(frozen=True, slots=True)
class Param:
    """One setting of a fact. ``seconds`` and ``count`` lie between ``min`` and ``max``.

    ``kind`` says how it is written and drawn: ``keys`` a list of keys or pairs of them (``a+b``),
    ``seconds`` a whole number, ``flag`` true or false, ``choice`` one of ``choices``, ``code``
    the code of a list, ``texts`` a list of texts.
    """

    name: str
    label: str
    kind: Literal["keys", "seconds", "flag", "choice", "code", "texts"]
    default: ParamValue | None = None
    choices: Mapping[str, str] = field(default_factory=dict)
    min: int = 0
    max: int = 0
    required: bool = False


@dataclass(frozen=True, slots=True)
class FactKind:
    """One fact: ``type`` decides its operators, ``unit`` is read after the value.

    Stateless facts need the order itself and the catalog only. ``choices`` are the values a set
    can have where they are known; ``words`` says exactly what is measured.
    """

    name: str
    label: str
    group: str
    type: FactType
    unit: str
    words: str
    params: tuple[Param, ...] = ()
    is_stateless: bool = True
    choices: Mapping[str, str] = field(default_factory=dict)

    @property
    def ops(self) -> tuple[str, ...]:
        return _OPS[self.type]

    def param(self, name: str) -> Param | None:
        return next((one for one in self.params if one.name == name), None)


CHANNELS: Final[Mapping[str, str]] = {one.value: cast("str", one.label) for one in Channel}
"""Labels are translated when they are read."""
_BY: Final = Param("keys", "识别依据", "keys", choices=KEYS, required=True)
_WITHIN: Final = Param(
    "window_seconds", "时间窗口", "seconds", min=1, max=MAX_WINDOW, required=True
)
_LIST: Final = Param("list", "名单", "code", default="")

_SPEED: Final = "下单频次"
_PRICE: Final = "价格与金额"
_STOCK: Final = "赠品与库存"
_WHO: Final = "识别与名单"
_PLACE: Final = "地区与来源"
_GOODS: Final = "货品"
_TEXT: Final = "留言与备注"
_KIND: Final = "订单类型与资料"


def _yes(name: str, label: str, group: str, words: str) -> FactKind:
    return FactKind(name, label, group, "bool", "", words)


def _money(name: str, label: str, words: str) -> FactKind:
    return FactKind(name, label, _PRICE, "money", "元", words)


def _count(name: str, label: str, words: str, unit: str = "件") -> FactKind:
    return FactKind(name, label, _GOODS, "count", unit, words)


def _set(
    name: str, label: str, group: str, words: str, choices: Mapping[str, str] | None = None
) -> FactKind:
    return FactKind(name, label, group, "set", "", words, choices=MappingProxyType(choices or {}))


_ALL: Final = (
    FactKind(
        "orders_in_window", "下单次数", _SPEED, "count", "次",
        "同一识别依据在 [下单时间 - 窗口, 下单时间] 内的不同订单数，含两端、含本单；"
        "多个依据取最多的一个；“不同的”改为数这些订单里某一依据有几个不同的值",
        (
            _BY, _WITHIN,
            Param("same_sku", "只数有相同货品的订单", "flag", default=False),
            Param("distinct", "数不同的", "choice", default="orders",
                  choices=MappingProxyType({"orders": "订单", **KEYS})),
        ),
        is_stateless=False,
    ),
    FactKind(
        "money_in_window", "累计金额", _SPEED, "money", "元",
        "同一识别依据在 [下单时间 - 窗口, 下单时间] 内各订单应付金额之和，含本单",
        (_BY, _WITHIN), is_stateless=False,
    ),
    FactKind(
        "day_amount", "当日累计金额", _SPEED, "money", "元",
        "同一识别依据在下单当天（北京时间）截至本单的应付金额之和，含本单",
        (_BY,), is_stateless=False,
    ),
    FactKind(
        "units_in_window", "累计购买件数", _SPEED, "count", "件",
        "同一识别依据在 [下单时间 - 窗口, 下单时间] 内购买的件数（不含赠品），含本单；"
        "可限定货品编码或货品名单",
        (_BY, _WITHIN, Param("skus", "货品编码", "texts", default=()), _LIST),
        is_stateless=False,
    ),
    FactKind(
        "price_ratio", "成交价比例", _PRICE, "ratio", "",
        "最便宜的主商品行的成交单价 ÷ 基准价；“前期均价”为该货品此前窗口内所有成交的"
        "按件数加权平均单价（不含本单时刻）",
        (
            Param("base", "基准", "choice", default="list",
                  choices=MappingProxyType({"list": "系统基准价", "running": "前期均价"})),
            Param("window_seconds", "均价窗口", "seconds", default=MONTH, min=1, max=LONGEST_BASE),
        ),
    ),
    FactKind(
        "discount_ratio", "整单折扣", _PRICE, "ratio", "", "1 - 主商品实付 ÷ 主商品基准价合计"
    ),
    _money("amount", "应付金额", "订单应付金额，含运费，订单币种"),
    _money("goods_amount", "商品金额", "主商品实付合计，不含运费"),
    _money("freight", "运费", "订单运费"),
    FactKind(
        "gift_gap", "赠品门槛差额", _STOCK, "money", "", "主商品距赠品门槛还差多少（元，或件）",
        is_stateless=False,
    ),
    FactKind(
        "gift_short", "赠品缺少件数", _STOCK, "count", "件", "未能占用库存的赠品缺几件",
        is_stateless=False,
    ),
    FactKind(
        "unlocked_available", "未锁定货品的可用库存", _STOCK, "count", "件",
        "本单没有占到库存的货品里最少的可用件数", is_stateless=False,
    ),
    FactKind(
        "likeness", "与其他店铺订单的相似度", _WHO, "ratio", "",
        "窗口内其他店铺订单与本单收货人的最高相似度：同手机号 0.5 + 0.5 × 地址相似度；"
        "仅地址相似最高 0.84",
        (
            Param("window_seconds", "时间窗口", "seconds", default=DAY, min=1,
                  max=LONGEST_LIKENESS),
            Param("address_alone", "手机号不同也按地址比较", "flag", default=False),
        ),
        is_stateless=False,
    ),
    FactKind(
        "in_list", "在名单上", _WHO, "bool", "", "本单接收时在名单上（未过期、未移除）",
        (Param("list", "名单", "code", required=True),), is_stateless=False,
    ),
    _set("province", "收货省份", _PLACE, "收货省份全称", {name: name for name in PROVINCES}),
    _set("city", "收货城市", _PLACE, "收货城市全称"),
    _set("district", "收货区县", _PLACE, "收货区县全称"),
    FactKind(
        "carrier_reach", "快递可达", _PLACE, "bool", "", "收货地区不在“不可达”地区名单上",
        (Param("list", "不可达地区名单", "code", default="no_service"),), is_stateless=False,
    ),
    _set("channel", "平台", _PLACE, "下单平台", CHANNELS),
    _set("shop", "店铺", _PLACE, "店铺编码"),
    _set("category", "类目", _GOODS, "主商品的类目"),
    _set("sku", "货品", _GOODS, "订单里的货品编码，含组合装的组成"),
    _count("units", "件数", "主商品总件数，不含赠品"),
    _count("lines", "商品行数", "主商品行数，组合装按组成计", "行"),
    _count("max_line_units", "单行件数", "件数最多的主商品行的件数"),
    _yes("is_bundle", "含组合装", _GOODS, "订单里有组合装"),
    _yes("has_gift", "含赠品", _GOODS, "订单里有赠品"),
    FactKind("remark", "买家留言", _TEXT, "text", "", "买家留言，不分全半角、大小写和空格"),
    FactKind("memo", "卖家备注", _TEXT, "text", "", "卖家备注，不分全半角、大小写和空格"),
    _yes("remark_empty", "买家留言为空", _TEXT, "买家没有留言"),
    _set("missing", "缺少的资料", _KIND, "收货人和金额里没有给出的项目", dict(FIELDS)),
    _yes("is_presale", "预售", _KIND, "预售订单"),
    _yes("is_cross_border", "跨境", _KIND, "收货地在中国内地以外"),
    _yes("is_test", "测试单", _KIND, "平台测试单"),
    _yes("is_rush", "加急", _KIND, "留言或备注要求加急"),
    FactKind("hour", "下单时刻", _KIND, "number", "点", "下单时间的小时（北京时间，0 到 23）"),
)  # fmt: skip
FACTS: Final[Mapping[str, FactKind]] = MappingProxyType({kind.name: kind for kind in _ALL})
"""By name, in the order of a pick list."""
