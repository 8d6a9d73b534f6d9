"""What each platform needs to be connected: the one table the pages of a shop are drawn from.

A channel that is not here has no page to connect it. What a platform calls a thing and where
it is found in its back office changes more often than code: words only, no rule hangs on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ordercenter.catalog.models import Channel


class Kept(StrEnum):
    """Where a field's value is kept."""

    APP_KEY = "app_key"
    SECRET = "secret"  # noqa: S105 - a kind of field
    OPTION = "option"


@dataclass(frozen=True, slots=True)
class Field:
    """One thing to type in. A secret is never shown again."""

    name: str
    label: str | Promise
    kept: Kept = Kept.OPTION
    help: str | Promise = ""
    is_required: bool = False
    choices: tuple[tuple[str, str | Promise], ...] = ()
    default: str = ""
    longest: int = 200


@dataclass(frozen=True, slots=True)
class Platform:
    """How one channel is connected."""

    channel: Channel
    needs: tuple[str | Promise, ...]
    """What to have at hand before beginning."""
    where: str | Promise
    """Where in the platform's back office it is found."""
    fields: tuple[Field, ...]
    base_url: str = ""
    base_url_help: str | Promise = ""
    has_tokens: bool = True
    """Whether somebody has to authorize: by the platform's page, a code or typed tokens."""
    own_tokens: bool = False
    """Whether the application's own secret is traded for a token."""
    push_help: str | Promise = ""
    """Where the push address is pasted; empty for platforms that push no HTTP."""


def _app(key: str | Promise, secret: str | Promise) -> tuple[Field, Field]:
    return (
        Field("app_key", key, Kept.APP_KEY, is_required=True, longest=100),
        Field("app_secret", secret, Kept.SECRET, is_required=True, longest=500),
    )


TOKEN_FIELDS: Final = (
    Field("access_token", _("访问令牌"), Kept.SECRET, longest=500),
    Field("refresh_token", _("刷新令牌"), Kept.SECRET, _("没有可不填；填了就能自动续期"),
          longest=500),
)  # fmt: skip
_CRM_SOURCE: Final = (
    Field("source", _("读取方式"), default="http",
          choices=(("http", _("接口")), ("database", _("直接读数据库")))),
    Field("database_url", _("数据库地址"), Kept.SECRET,
          _("postgresql://只读账号:密码@主机/库名；读取方式为数据库时必填"), longest=500),
)  # fmt: skip
_JSON: Final = _("JSON 模板，花括号里的名字会换成实际值")
PUSH_STOCK: Final = Field(
    "push_stock",
    _("库存回写"),
    help=_("打开后，本系统的可售数会覆盖平台上的库存；先确认商品映射与盘点无误"),
    choices=(("", _("不回写（默认）")), ("on", _("回写到平台"))),
)
STOCK_WINDOW: Final = Field(
    "stock_window",
    _("库存回写间隔（秒）"),
    help=_("同一商品两次回写至少隔这么多秒；按次收费或限频的平台可以选大一些"),
    choices=(("", _("按系统默认")), *((str(n), str(n)) for n in (1, 2, 5, 10, 30, 60, 300))),
)
AUTO_MAP: Final = Field(
    "auto_map",
    _("自动匹配"),
    help=_("只匹配与货品编码一字不差的商家编码，每次都有记录；其余仍由人匹配"),
    choices=(("", _("由人匹配（默认）")), ("exact", _("编码完全一致时自动匹配"))),
)

_ALL: Final = (
    Platform(
        Channel.TAOBAO,
        needs=(_("应用的 App Key 与 App Secret"), _("店主的淘宝主账号（授权时登录）")),
        where=_("淘宝开放平台 → 控制台 → 应用管理 → 应用详情"),
        base_url="https://gw.api.taobao.com/router/rest",
        fields=(
            *_app("App Key", "App Secret"),
            Field("shop_id", _("店主数字编号"), help=_("用来核对消息是不是这家店；授权后自动填上")),
            Field("sign_method", _("签名方式"), default="hmac-sha256",
                  choices=(("hmac-sha256", "hmac-sha256"), ("hmac", "hmac"), ("md5", "md5"))),
            Field("tmc", _("消息服务（TMC）"),
                  help=_("开通后订单变化几秒内到达；要先在应用里订阅消息"),
                  choices=(("poll", _("接收")), ("off", _("不接收"))), default="poll"),
            Field("tmc_group", _("消息分组"), help=_("每家店要有自己的分组；不填为 default")),
        ),
    ),
    Platform(
        Channel.JD,
        needs=(_("应用的 AppKey 与 AppSecret"), _("店铺主账号（授权时登录）")),
        where=_("京东宙斯开放平台 → 控制台 → 我的应用"),
        base_url="https://api.jd.com/routerjson",
        fields=(
            *_app("AppKey", "AppSecret"),
            Field("store_id", _("库房编号"), help=_("回写库存时要用；不填用商家默认库房")),
        ),
    ),
    Platform(
        Channel.DOUYIN,
        needs=(_("应用的 App Key 与 App Secret"), _("店铺 ID"),
               _("把本系统的出口 IP 加入应用的 IP 白名单")),
        where=_("抖店开放平台 → 控制台 → 应用详情；店铺 ID 在抖店后台右上角"),
        base_url="https://openapi-fxg.jinritemai.com",
        own_tokens=True,
        push_help=_("抖店开放平台 → 应用详情 → 消息推送 → 推送地址；保存时平台会立即验证"),
        fields=(
            *_app("App Key", "App Secret"),
            Field("shop_id", _("店铺 ID"), is_required=True,
                  help=_("自用型应用换取令牌要用；也用来核对推送是不是这家店")),
        ),
    ),
    Platform(
        Channel.PINDUODUO,
        needs=(_("应用的 client_id 与 client_secret"), _("店铺主账号"),
               _("把本系统的出口 IP 加入应用的 IP 白名单")),
        where=_("拼多多开放平台 → 控制台 → 应用详情"),
        base_url="https://gw-api.pinduoduo.com/api/router",
        fields=(
            *_app("client_id", "client_secret"),
            Field("shop_id", _("店铺 ID（mall_id）"),
                  help=_("用来核对消息是不是这家店；授权后自动填上")),
        ),
    ),
    Platform(
        Channel.SHOPIFY,
        needs=(_("自定义应用的 API 密钥与 API 密钥密文"), _("Admin API 访问令牌（shpat_ 开头）"),
               _("店铺域名 *.myshopify.com")),
        where=_("Shopify 后台 → 设置 → 应用和销售渠道 → 开发应用 → API 凭据"),
        base_url_help=_("形如 https://店铺名.myshopify.com"),
        push_help=_("一般由应用自动订阅；手工订阅：后台 → 设置 → 通知 → Webhook，格式选 JSON"),
        fields=(
            *_app(_("API 密钥（Client ID）"), _("API 密钥密文（Client secret）")),
            Field("shop_domain", _("店铺域名"), is_required=True,
                  help=_("形如 店铺名.myshopify.com")),
            Field("api_version", _("API 版本"), help=_("形如 2026-04；不填用系统内置版本")),
            Field("location_id", _("库存地点编号"), help=_("不填用店铺的第一个地点")),
        ),
    ),
    Platform(
        Channel.WECHAT,
        needs=(_("小店的 AppID 与 AppSecret"), _("消息推送的 Token 与 EncodingAESKey"),
               _("把本系统的出口 IP 加入 IP 白名单")),
        where=_("微信小店后台 → 服务市场 → 自研 → 开发配置"),
        base_url="https://api.weixin.qq.com",
        has_tokens=False,
        push_help=_("微信小店后台 → 开发配置 → 消息推送 → URL；请先在这里启用店铺再去保存"),
        fields=(
            *_app("AppID", "AppSecret"),
            Field("push_token", _("消息推送 Token"), Kept.SECRET, longest=100),
            Field("encoding_aes_key", "EncodingAESKey", Kept.SECRET,
                  _("安全模式必填，43 个字符"), longest=43),
        ),
    ),
    Platform(
        Channel.MINIPROGRAM,
        needs=(_("小程序的 AppID 与 AppSecret"), _("商城后端的接口地址"),
               _("微信支付商户号（回传发货用）")),
        where=_("微信公众平台 → 开发管理 → 开发设置；商城后端的地址由它的开发提供"),
        base_url_help=_("商城后端的接口地址"),
        has_tokens=False,
        push_help=_("请商城后端的开发把订单变化推送到这个地址，用 AppSecret 签名"),
        fields=(
            *_app("AppID", "AppSecret"),
            Field("wechat_url", _("微信接口地址"), default="https://api.weixin.qq.com",
                  help=_("一般不用改")),
            Field("mchid", _("微信支付商户号"), help=_("按商户单号回传发货时要用")),
            *_CRM_SOURCE,
        ),
    ),
    Platform(
        Channel.CRM,
        needs=(_("CRM 的接口地址或数据库只读账号"), _("推送签名密钥（双方约定，至少 16 位）")),
        where=_("由维护 CRM 的同事提供"),
        base_url_help=_("CRM 的接口地址；直接读数据库时填 https://localhost/"),
        has_tokens=False,
        push_help=_("请 CRM 的开发把订单变化推送到这个地址，按约定的密钥签名"),
        fields=(
            Field("app_key", _("应用标识"), Kept.APP_KEY, _("双方约定的名字"), is_required=True,
                  longest=100),
            Field("app_secret", _("签名密钥"), Kept.SECRET, is_required=True, longest=500),
            *_CRM_SOURCE,
        ),
    ),
    Platform(
        Channel.OPENJSON,
        needs=(_("对方系统的接口文档"), _("签名密钥"), _("一份样例订单 JSON")),
        where=_("由对方系统的开发提供；字段怎么对应在“字段对照表”里填写"),
        base_url_help=_("对方系统的接口地址"),
        has_tokens=False,
        push_help=_("请对方系统把订单 JSON 推送到这个地址，按约定的密钥签名"),
        fields=(
            Field("app_key", _("应用标识"), Kept.APP_KEY, _("双方约定的名字"), is_required=True,
                  longest=100),
            Field("app_secret", _("签名密钥"), Kept.SECRET, is_required=True, longest=500),
            Field("access_token", _("接口令牌"), Kept.SECRET, _("对方接口要令牌时填写"),
                  longest=500),
            Field("auth_header", _("令牌请求头"), help=_("不填为 Authorization")),
            Field("time_format", _("时间写法"), default="iso",
                  choices=(("iso", "ISO 8601"), ("china", "yyyy-MM-dd HH:mm:ss"),
                           ("unix", _("Unix 秒")), ("unix_ms", _("Unix 毫秒")))),
            Field("orders_url", _("订单列表地址"), help=_("接在接口地址后面；只收推送就不填")),
            Field("orders_query", _("订单列表参数"), longest=2_000,
                  help=_("JSON 模板，例如 {\"from\": \"{start}\", \"to\": \"{end}\", "
                         "\"page\": \"{page}\"}")),
            Field("census_query", _("对单参数"), help=_JSON, longest=2_000),
            Field("order_url", _("单张订单地址"), help=_("{number} 换成单号")),
            Field("refunds_url", _("退款列表地址")),
            Field("refunds_query", _("退款列表参数"), help=_JSON, longest=2_000),
            Field("ship_url", _("发货回传地址"), help=_("{number} 换成单号；不填就不回传")),
            Field("ship_body", _("发货回传内容"), help=_JSON, longest=2_000),
            Field("stock_url", _("库存回写地址"), help=_("不填就不回写")),
            Field("stock_body", _("库存回写内容"), help=_JSON, longest=2_000),
        ),
    ),
    Platform(
        Channel.FILE,
        needs=(_("一份订单表格（CSV）"),),
        where=_("不需要接口；用表格导入订单"),
        has_tokens=False,
        fields=(),
    ),
)  # fmt: skip
PLATFORMS: Final[Mapping[str, Platform]] = {one.channel.value: one for one in _ALL}
