"""The words of the trade a command is made of, besides names and times."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Word(StrEnum):
    """What a word does in a command."""

    STOP = "stop"
    LIFT = "lift"
    FIND = "find"
    EVERY = "every"
    NOT_BEFORE = "not_before"
    """What follows is left out: 除…"""
    NOT_AFTER = "not_after"
    """What stood before is left out: …除外"""
    OUTSIDE = "outside"
    """Ends what 除 began."""
    AND = "and"
    BREAK = "break"
    A_SKU = "a_sku"
    A_SHOP = "a_shop"
    A_CATEGORY = "a_category"
    REASON = "reason"
    NOISE = "noise"


_WORDS: Final[Mapping[Word, str]] = {
    Word.STOP: (
        "暂停发货 停止发货 暂停发出 暂停发 暂缓发货 暂缓发 停发 停止发 先不发货 先不发 "
        "先别发货 先别发 不要发货 不要发 别发货 别发 不发货 不发 禁止发货 禁发 暂停打单 "
        "停止打单 暂停打印 停打单 停打 不打单 暂停出库 停止出库 停止出货 暂停出货 停出库 "
        "暂停配送 停运停发 拦截住 拦截 拦下 拦住 扣住 扣单 压单 锁单 锁定 挂起 冻结 截停 "
        "截住 截单 暂停 停止 停单 停掉 停"
    ),
    Word.LIFT: (
        "解除拦截 解除停发 解除暂停 解除锁定 取消拦截 取消停发 取消暂停 撤销拦截 撤回拦截 "
        "结束拦截 停止拦截 恢复正常发货 恢复发货 恢复打单 恢复出库 恢复正常 恢复 解除 解封 "
        "解锁 解冻 撤销 撤回 放开 放行"
    ),
    Word.FIND: "查询 查找 查看 查一下 看一下 看看 统计 有多少单 有多少 多少单 多少 查 找",
    Word.EVERY: "所有订单 全部订单 全部 所有 一切 全国各地 全国 全平台 全渠道 全店 全站 一律 统统",
    Word.NOT_BEFORE: "但不包括 但不含 不包括 不包含 不含 除去 除了 除开 排除 除",
    Word.NOT_AFTER: (
        "除外 例外 不在内 不受影响 不用停 不停 不拦截 不拦 照常发货 照常发 照常 照发 "
        "正常发货 正常发出 正常发 正常 继续发货 继续发 可以发货 可以发 不限"
    ),
    Word.OUTSIDE: "以外的 之外的 以外 之外 外的 外",
    Word.AND: "、 以及 还有 或者 和 与 及 跟 或 +",
    Word.BREAK: ", 。 ; ! ? : | ( ) [ ] “ ” \" ' \n 但是 但 且 并且 同时",
    Word.A_SKU: "商品编码 货品编码 货号 货品 商品 款号 单品 sku",
    Word.A_SHOP: "店铺编码 店铺名 店铺 网店",
    Word.A_CATEGORY: "类目 品类 分类",
    Word.REASON: (
        "台风 暴雨 大雨 大雪 暴雪 雨雪 洪水 洪涝 水灾 地震 疫情 高温 寒潮 冰冻 封路 封控 "
        "限行 管控 爆仓 停运 断供 断货 缺货 质量问题 品质问题 质检 召回 价格错误 价格异常 "
        "标错价 物流停运 物流异常 天气 天气原因"
    ),
    Word.NOISE: (
        "请 帮我 麻烦 把 将 给我 我要 想 立即 立刻 马上 现在 赶紧 今起 先 都 全 一下 了 的 "
        "地 得 啊 吧 呢 们 发往 发到 寄往 寄到 送到 送往 收货地 收货地址 收货 目的地 地区 "
        "区域 方向 一带 境内 省内 市内 全省 全市 全境 内 发货 出货 打单 出库 配送 未发货 "
        "没发货 没发 未发 待发货 订单 单子 单 包裹 快件 快递 物流 件 货 客户 买家 含有 包含 "
        "含 里 里面 平台 渠道 店 因为 因 由于 受 影响 原因 原因是 开始 起 所在 这些 这个 这 "
        "那 是 在 对 向 往 从 中 仅限 只有 只停 仅 只 ~ - / . *"
    ),
}


def _by_first() -> Mapping[str, tuple[tuple[str, Word], ...]]:
    found: dict[str, list[tuple[str, Word]]] = {}
    for word, texts in _WORDS.items():
        for text in ["\n", *texts.split()] if word is Word.BREAK else texts.split():
            found.setdefault(text[0], []).append((text, word))
    return {
        first: tuple(sorted(texts, key=lambda one: -len(one[0]))) for first, texts in found.items()
    }


BY_FIRST: Final = _by_first()
WEAK: Final = frozenset({Word.NOISE, Word.AND, Word.OUTSIDE, Word.NOT_BEFORE, Word.BREAK})
"""Of these a single sign inside an unknown word is part of that word, unless it is a mark."""


def word_at(text: str, at: int) -> tuple[str, Word] | None:
    """The longest word of the trade that begins here."""
    for known, word in BY_FIRST.get(text[at : at + 1], ()):
        if text.startswith(known, at):
            return known, word
    return None
