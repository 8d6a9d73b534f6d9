"""The platforms we speak to. A connector is a folder here and a line in ``CONNECTORS``."""

from collections.abc import Mapping
from typing import Final

from channels_sync.connectors.base import ConnectorFactory
from channels_sync.connectors.crm.connector import CrmConnector
from channels_sync.connectors.douyin.connector import DouyinConnector
from channels_sync.connectors.jd.connector import JdConnector
from channels_sync.connectors.miniprogram.connector import MiniProgramConnector
from channels_sync.connectors.openjson.connector import OpenJsonConnector
from channels_sync.connectors.pinduoduo.connector import PinduoduoConnector
from channels_sync.connectors.shopify.connector import ShopifyConnector
from channels_sync.connectors.spreadsheet.connector import SpreadsheetConnector
from channels_sync.connectors.taobao.connector import TaobaoConnector
from channels_sync.connectors.wechat.connector import WeChatConnector

CONNECTORS: Final[Mapping[str, ConnectorFactory]] = {
    "taobao": TaobaoConnector,
    "jd": JdConnector,
    "pinduoduo": PinduoduoConnector,
    "douyin": DouyinConnector,
    "shopify": ShopifyConnector,
    "wechat": WeChatConnector,
    "miniprogram": MiniProgramConnector,
    "crm_webhook": CrmConnector,
    "openjson": OpenJsonConnector,
    "file": SpreadsheetConnector,
}
