"""What went wrong with a shop's line, and what to do about it, in words."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_sync.contracts import ErrorClass
from ordercenter.catalog.models import Channel

Words = str | Promise


@dataclass(frozen=True, slots=True)
class Advice:
    """Why it stands still and who does what now."""

    cause: Words
    cure: Words


UNKNOWN: Final = Advice(
    _("平台返回了无法归类的错误"),
    _("把错误代码与说明发给平台技术支持；系统会继续重试，订单不会丢失"),
)
NO_CREDENTIAL: Final = Advice(
    _("这家店铺还没有填写接口授权"), _("IT 人员打开店铺页，在“接口凭据”中填写地址、应用标识与密钥")
)
NEVER_READ: Final = Advice(
    _("这家店铺还没有读取过"),
    _("几分钟后仍如此，请检查定时任务（qcluster）是否在运行，店铺是否启用"),
)
SILENT: Final = Advice(
    _("没有报错，但很久没有读取成功"),
    _("检查定时任务（qcluster）与后台进程是否在运行；恢复后会从上次的位置补读"),
)
DEAD_LETTERS: Final = Advice(
    _("有消息没有送达平台，已停止重试"),
    _("按错误说明在平台后台手工处理这些订单，再请 IT 人员查明原因"),
)

_EXPIRED: Final = Advice(
    _("授权已过期：访问令牌失效，自动续期没有成功"),
    _("IT 人员打开店铺页点“重新授权”，由店主登录平台确认；之后会从上次的位置补读，不丢单"),
)
_CLOSED: Final = Advice(
    _("授权已关闭：店主在平台取消了授权，或应用服务已到期、被停用"),
    _("先在平台服务市场确认应用已订购且未到期，再打开店铺页点“重新授权”"),
)
_NO_PERMISSION: Final = Advice(
    _("应用没有这个接口的权限"),
    _("在平台开放平台为应用申请所需的接口权限包，批准后请店主重新授权一次"),
)
_IP: Final = Advice(
    _("平台不信任本机的 IP 地址"),
    _("把本系统的出口 IP 加入平台应用的 IP 白名单，保存几分钟后点“测试连接”"),
)
_SIGNATURE: Final = Advice(
    _("签名不正确：应用标识与应用密钥不配套，或密钥已在平台重置"),
    _("从平台后台重新复制应用标识与密钥，在店铺页“接口凭据”中更新，再点“测试连接”"),
)
_CLOCK: Final = Advice(
    _("时间戳超出平台允许的偏差：本机时钟不准"),
    _("校准服务器时间（启用 NTP），再点“测试连接”"),
)
_APP: Final = Advice(
    _("应用标识不正确，或应用已被平台停用"),
    _("在平台开放平台核对应用标识与应用状态，在店铺页“接口凭据”中更正"),
)
_TOO_OFTEN: Final = Advice(
    _("调用次数超过平台的限制"),
    _("不用处理，系统会按平台要求的时间重试；经常出现时请调大轮询间隔或申请更高额度"),
)
_DAY_QUOTA: Final = Advice(
    _("今天的调用额度已经用完"),
    _("额度到零点恢复，系统会自动继续并补读；需要今天恢复请向平台申请提高额度"),
)
_BUSY: Final = Advice(
    _("平台暂时不可用或答复不完整"),
    _("不用处理，系统会逐步拉长间隔重试；超过 30 分钟请查看平台的故障公告"),
)
_DEGRADED: Final = Advice(
    _("平台把这个接口降级了（常见于大促）"),
    _("不用处理，系统会放慢并自动恢复；推送照常接收"),
)
_PARAMETER: Final = Advice(
    _("平台不接受请求里的参数"),
    _("核对店铺页“接口凭据”里的平台参数；没有改过请把错误代码发给我们"),
)
_RETIRED: Final = Advice(
    _("平台已下线这个接口或版本"), _("升级本系统或在平台参数里换用新版本；其他接口不受影响")
)
_FROZEN: Final = Advice(
    _("店铺在平台被冻结、锁定或欠费"), _("店主登录平台后台处理店铺状态，恢复后自动补读")
)

BY_CLASS: Final[Mapping[str, Advice]] = {
    ErrorClass.AUTH: Advice(
        _("授权失效：密钥不对、令牌过期，或店铺取消了授权"),
        _("IT 人员打开店铺页核对凭据，必要时由店主重新授权；之后会从上次的位置补读，不丢单"),
    ),
    ErrorClass.RATE_LIMITED: _TOO_OFTEN,
    ErrorClass.PLATFORM: _BUSY,
    ErrorClass.BUSINESS: Advice(
        _("平台不接受这个请求"),
        _("按错误说明核对店铺资料与应用权限；改正后下一次轮询自动恢复"),
    ),
}
BY_CODE: Final[Mapping[str, Advice]] = {
    "timeout": Advice(
        _("平台没有在 30 秒内答复"),
        _("不用处理，会自动重试；持续出现时请检查本机到平台的网络"),
    ),
    "network": Advice(
        _("连接不上平台：网络中断、域名解析失败，或地址、端口不对"),
        _("检查本机能否访问外网、接口地址是否正确；恢复后会从上次的位置补读"),
    ),
    "bad_body": Advice(
        _("平台的答复不完整，或不是应有的格式（例如返回了网页）"),
        _("会自动重试；持续出现时请检查接口地址是否指向平台网关，中间是否有代理或登录页"),
    ),
    "incomplete": Advice(
        _("平台给出的订单数与分页内容不一致"),
        _("会重读这段时间，位置没有前进；持续出现时请把时间段告诉平台技术支持"),
    ),
    "page_cap": Advice(
        _("这段时间的订单超过平台的翻页上限"),
        _("系统会自动缩小时间段；仍然失败时请 IT 人员联系平台导出这段时间的订单，用表格导入"),
    ),
    "cursor": Advice(
        _("平台的翻页标记不连续"), _("会从这段时间的开头重读；持续出现时请联系平台技术支持")
    ),
    "insecure_url": Advice(
        _("接口地址不是 https，密钥不会发往这样的地址"),
        _("在店铺页“接口凭据”中把接口地址改为以 https:// 开头"),
    ),
    "unknown_carrier": Advice(
        _("快递公司没有对应的平台编码"),
        _("在后台“平台快递编码”中填写这家快递在该平台的编码，再重试回传"),
    ),
    "no_credential": NO_CREDENTIAL,
    "no_refresh": _EXPIRED,
    "reauthorize": _EXPIRED,
    "renewing": Advice(_("正在向平台续期授权"), _("不用处理，续期完成后自动继续")),
    "turn": Advice(_("排队等候平台的调用额度"), _("不用处理，轮到后自动继续")),
    "breaker": Advice(
        _("平台连续没有应答，已暂停调用"),
        _("不用处理，系统会自动试探，平台恢复即继续并补读；超过 30 分钟请查看平台公告与本机网络"),
    ),
    "stock_locked": Advice(
        _("商品正在参加平台活动，活动期间不能下调库存"),
        _("不用处理，系统会隔一段时间再报；急需下调请在平台后台退出活动"),
    ),
    "unsupported": Advice(_("该平台没有这个接口"), _("请在平台后台手工处理")),
    "http_401": _EXPIRED,
    "http_403": Advice(
        _("平台拒绝访问：令牌无效、应用没有这项权限，或本机地址不在白名单"),
        _("核对应用权限与平台的 IP 白名单，必要时重新授权"),
    ),
    "http_404": Advice(
        _("接口地址不存在"), _("核对店铺页“接口凭据”里的接口地址，平台可能已更换网关")
    ),
    "http_402": _FROZEN,
    "http_423": _FROZEN,
    "http_429": _TOO_OFTEN,
}


def _alike(channel: Channel, found: Advice, codes: Iterable[str]) -> dict[tuple[str, str], Advice]:
    return {(channel.value, code): found for code in codes}


BY_PLATFORM: Final[Mapping[tuple[str, str], Advice]] = {
    **_alike(Channel.TAOBAO, _SIGNATURE, ["25"]),
    **_alike(Channel.TAOBAO, _EXPIRED, ["26", "27", "invalid-sessionkey"]),
    **_alike(Channel.TAOBAO, _NO_PERMISSION, ["22", "23"]),
    **_alike(Channel.TAOBAO, _APP, ["28", "29"]),
    **_alike(Channel.TAOBAO, _PARAMETER, ["40", "41"]),
    **_alike(Channel.TAOBAO, _TOO_OFTEN, ["7", "accesscontrol.limited-by-api-access-count",
                                          "accesscontrol.limited-by-app-api-access-count"]),
    **_alike(Channel.TAOBAO, _DAY_QUOTA, ["accesscontrol.limited-by-app-access-count"]),
    **_alike(Channel.TAOBAO, _BUSY, ["15", "530", "ism.json-decode-error", "ism.demo-error"]),
    **_alike(Channel.JD, _TOO_OFTEN, ["2"]),
    **_alike(Channel.JD, _CLOCK, ["7", "8"]),
    **_alike(Channel.JD, _SIGNATURE, ["11", "12"]),
    **_alike(Channel.JD, _RETIRED, ["14", "15", "23", "28"]),
    **_alike(Channel.JD, _EXPIRED, ["18", "19"]),
    **_alike(Channel.JD, _NO_PERMISSION,
             ["20", "21", "24", "25", "64", "73", "79", "80", "88", "89"]),
    **_alike(Channel.JD, _BUSY, ["43", "65", "66", "67", "10100046"]),
    **_alike(Channel.JD, _PARAMETER, ["60", "61", "62", "63", "68"]),
    **_alike(Channel.DOUYIN, _CLOSED, ["30001", "isv.access-token-no-existed"]),
    **_alike(Channel.DOUYIN, _IP, ["30002"]),
    **_alike(Channel.DOUYIN, _SIGNATURE, ["isv.signature-invalid"]),
    **_alike(Channel.DOUYIN, _EXPIRED, ["isv.access-token-expired", "50001"]),
    **_alike(Channel.DOUYIN, _CLOCK, ["isv.timestamp-invalid"]),
    **_alike(Channel.DOUYIN, _PARAMETER, ["40002", "40004"]),
    **_alike(Channel.DOUYIN, _TOO_OFTEN, ["60000"]),
    **_alike(Channel.DOUYIN, _RETIRED, ["70000"]),
    **_alike(Channel.DOUYIN, _BUSY, ["20000", "20001", "90000"]),
    **_alike(Channel.PINDUODUO, _PARAMETER, ["10001"]),
    **_alike(Channel.PINDUODUO, _EXPIRED, ["10019"]),
    **_alike(Channel.PINDUODUO, _SIGNATURE, ["20004"]),
    **_alike(Channel.PINDUODUO, _IP, ["20005"]),
    **_alike(Channel.PINDUODUO, _NO_PERMISSION, ["20031", "70036"]),
    **_alike(Channel.PINDUODUO, _TOO_OFTEN, ["52101", "70031"]),
    **_alike(Channel.PINDUODUO, _DEGRADED, ["52102", "52103", "70033"]),
    **_alike(Channel.PINDUODUO, _BUSY, ["50000", "50001", "50002", "52001", "52002"]),
    **_alike(Channel.SHOPIFY, _TOO_OFTEN, ["THROTTLED"]),
    **_alike(Channel.SHOPIFY, _PARAMETER, ["MAX_COST_EXCEEDED"]),
    **_alike(Channel.SHOPIFY, _NO_PERMISSION, ["ACCESS_DENIED"]),
    **_alike(Channel.SHOPIFY, _BUSY, ["INTERNAL_SERVER_ERROR"]),
    **{
        (channel.value, code): found
        for channel in (Channel.WECHAT, Channel.MINIPROGRAM)
        for code, found in {
            "40001": _EXPIRED, "40014": _EXPIRED, "42001": _EXPIRED, "40013": _APP,
            "40125": _SIGNATURE, "40164": _IP, "48001": _NO_PERMISSION, "45009": _DAY_QUOTA,
            "45011": _TOO_OFTEN, "-1": _BUSY, "40097": _PARAMETER,
        }.items()
    },
}  # fmt: skip
"""The tables of ``channels.md`` 1a, 2a, 3a, 4a, 5a and 6a. One number means different things
on different platforms."""

_PREFIXES: Final = (("isp.", _BUSY),)
_SPOKEN: Final[tuple[tuple[re.Pattern[str], Advice], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), found)
    for pattern, found in (
        (r"(?<![a-z])ip(?![a-z])|白名单", _IP),
        (r"关闭|取消授权|解除授权|未订购|到期停用|closed|revoked", _CLOSED),
        (r"过期|expired|失效", _EXPIRED),
        (r"签名|signature", _SIGNATURE),
        (r"时间戳|timestamp", _CLOCK),
        (r"权限|permission|scope", _NO_PERMISSION),
    )
)
"""For refusals of the ``auth`` class whose code we do not know: platforms say it in words."""


def advice(error_class: str, error_code: str, *, channel: str = "", message: str = "") -> Advice:
    """Say what a failure means.

    By the platform's own code where it is known, by ours, by the words of a refused
    authorization, and else by its class.
    """
    known = BY_PLATFORM.get((channel, error_code)) or BY_CODE.get(error_code)
    if known is None:
        known = next((found for start, found in _PREFIXES if error_code.startswith(start)), None)
    if known is None and error_class == ErrorClass.AUTH:
        told = f"{error_code} {message}"
        known = next((found for pattern, found in _SPOKEN if pattern.search(told)), None)
    return known or BY_CLASS.get(error_class) or UNKNOWN
