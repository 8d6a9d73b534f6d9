"""What went wrong with a shop's line, and what to do about it, in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_sync.contracts import ErrorClass

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
    _("这家店铺还没有填写授权"), _("IT 人员在“店铺授权”中填写接口地址、应用标识与密钥")
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

BY_CLASS: Final[Mapping[str, Advice]] = {
    ErrorClass.AUTH: Advice(
        _("授权失效：密钥不对、令牌过期，或店铺取消了授权"),
        _("店主重新授权应用，IT 人员在“店铺授权”中更新令牌；更新后会从上次的位置补读，不丢单"),
    ),
    ErrorClass.RATE_LIMITED: Advice(
        _("调用次数超过平台的限制"),
        _("不用处理，系统会按平台要求的时间重试；经常出现时请调大轮询间隔或申请更高额度"),
    ),
    ErrorClass.PLATFORM: Advice(
        _("平台暂时不可用或答复不完整"),
        _("不用处理，系统会逐步拉长间隔重试；超过 30 分钟请查看平台的故障公告"),
    ),
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
        _("在“店铺授权”中把接口地址改为以 https:// 开头"),
    ),
    "unknown_carrier": Advice(
        _("快递公司没有对应的平台编码"),
        _("在店铺授权的平台参数中填写 carrier.快递代码，再重试回传"),
    ),
    "http_401": BY_CLASS[ErrorClass.AUTH],
    "http_403": Advice(
        _("平台拒绝访问：令牌无效、应用没有这项权限，或本机地址不在白名单"),
        _("核对应用权限与平台的 IP 白名单，必要时重新授权"),
    ),
    "http_404": Advice(_("接口地址不存在"), _("核对“店铺授权”中的接口地址，平台可能已更换网关")),
}


def advice(error_class: str, error_code: str) -> Advice:
    """Say what a failure means: by its code where we know it, else by its class."""
    return BY_CODE.get(error_code) or BY_CLASS.get(error_class) or UNKNOWN
