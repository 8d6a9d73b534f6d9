"""What the platforms, couriers and robots say when they are broken or asked too often."""

from __future__ import annotations

from typing import Any, Final

HTML: Final = (
    "<!DOCTYPE html><html><head><title>502</title></head>"
    "<body><h1>系统繁忙，请稍后再试</h1></body></html>"
)

# What each platform itself says when it is broken, and when it is asked too often.
_TOP = "16sandbox0015"
PLATFORM_ERRORS: Final[dict[str, dict[str, Any]]] = {
    "taobao": {
        "error_response": {
            "code": 15,
            "msg": "Remote service error",
            "sub_code": "isp.top-remote-connection-timeout",
            "sub_msg": "服务调用超时",
            "request_id": _TOP,
        }
    },
    "jd": {
        "error_response": {
            "code": "66",
            "zh_desc": "平台连接后端服务不可用",
            "en_desc": "platform to connect to the back-end service not available",
        }
    },
    "douyin": {
        "code": 20000,
        "msg": "服务不可用",
        "sub_code": "isp.service-error",
        "sub_msg": "服务暂时不可用，请重试",
        "log_id": "sandboxlog20000",
        "data": {},
    },
    "pinduoduo": {
        "error_response": {
            "error_msg": "服务异常，请稍后重试",
            "sub_msg": "服务异常，请稍后重试",
            "sub_code": "52001",
            "error_code": 52001,
            "request_id": "sandbox52001",
        }
    },
    "shopify": {
        "errors": [
            {
                "message": "Internal error. Looks like something went wrong on our end.",
                "extensions": {"code": "INTERNAL_SERVER_ERROR"},
            }
        ]
    },
    "miniprogram": {"errcode": -1, "errmsg": "system error rid: sandbox-0002"},
    "wechat": {"errcode": -1, "errmsg": "system error rid: sandbox-0002"},
    "crm_webhook": {"error": "database is not available, try again"},
    "sf": {
        "apiErrorMsg": "系统异常",
        "apiResponseID": "sandboxA1099",
        "apiResultCode": "A1099",
        "apiResultData": "",
    },
    "dingtalk": {"errcode": -1, "errmsg": "系统繁忙"},
}
THROTTLES: Final[dict[str, dict[str, Any]]] = {
    "taobao": {
        "error_response": {
            "code": 7,
            "msg": "App Call Limited",
            "sub_code": "accesscontrol.limited-by-api-access-count",
            "sub_msg": "This ban will last for 1 more seconds",
            "request_id": "16sandbox0007",
        }
    },
    "jd": {
        "error_response": {
            "code": "2",
            "zh_desc": "限制时间内调用失败次数",
            "en_desc": "App Call Limited",
        }
    },
    "douyin": {
        "code": 60000,
        "msg": "请求过于频繁，请稍后再试",
        "sub_code": "isp.rate-limit",
        "sub_msg": "接口限流",
        "log_id": "sandboxlog60000",
        "data": {},
    },
    "pinduoduo": {
        "error_response": {
            "error_msg": "调用过于频繁，请调整调用频率",
            "sub_msg": "调用过于频繁，请调整调用频率",
            "sub_code": "70031",
            "error_code": 70031,
            "request_id": "sandbox70031",
        }
    },
    "shopify": {
        "errors": [
            {
                "message": "Throttled",
                "extensions": {
                    "code": "THROTTLED",
                    "documentation": "https://shopify.dev/api/usage/limits",
                },
            }
        ],
        "extensions": {
            "cost": {
                "requestedQueryCost": 752,
                "actualQueryCost": None,
                "throttleStatus": {
                    "maximumAvailable": 2000.0,
                    "currentlyAvailable": 152,
                    "restoreRate": 100.0,
                },
            }
        },
    },
    "miniprogram": {"errcode": 45011, "errmsg": "api freq out of limit rid: sandbox-0003"},
    "wechat": {"errcode": 45011, "errmsg": "api freq out of limit rid: sandbox-0003"},
    "crm_webhook": {"error": "too many requests"},
    "sf": {
        "apiErrorMsg": "流量受控",
        "apiResponseID": "sandboxA1005",
        "apiResultCode": "A1005",
        "apiResultData": "",
    },
    "dingtalk": {"errcode": 130101, "errmsg": "send too fast, exceed 20 times per minute"},
}
