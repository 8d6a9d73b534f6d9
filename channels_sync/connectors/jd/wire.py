"""How JOS speaks: signature, ``responce`` envelopes and refusals (``channels.md`` 2a)."""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from channels_sync.connectors.values import CHINA, Node
from channels_sync.contracts import ErrorClass, PlatformError

SUCCESS: Final = frozenset({"0", "10100000", "success", ""})
RATE_CODES: Final = frozenset({"2"})
AUTH_CODES: Final = frozenset(
    {"7", "8", "11", "12", "18", "19", "20", "21", "24", "25", "64", "73", "79", "80", "88", "89"}
)
PLATFORM_CODES: Final = frozenset({"43", "65", "66", "67", "10100046"})
INNER_CODES: Final = ("errorCode", "numberCode", "error_code", "resultCode")
INNER_WORDS: Final = (
    "chineseErrCode",
    "chinese_err_code",
    "errorDesc",
    "errorMessage",
    "englishErrCode",
    "english_err_code",
    "msg",
)


def sign(params: Mapping[str, str], secret: str) -> str:
    """Sign as open.jd.com listId=2643: md5 over sorted ``name + value`` wrapped in the secret.

    ``360buy_param_json`` is one value, byte for byte the text that is sent.
    """
    joined = "".join(f"{k}{v}" for k, v in sorted(params.items()) if k != "sign")
    wrapped = f"{secret}{joined}{secret}".encode()
    return hashlib.md5(wrapped, usedforsecurity=False).hexdigest().upper()


def china_text(moment: datetime) -> str:
    """Spell a moment as JOS does: Beijing time without a zone."""
    return moment.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")


def response_key(method: str) -> str:
    return method.replace(".", "_") + "_responce"


def classify(payload: Any) -> PlatformError | None:
    """Tell whether an answer is a refusal, at whichever level it hides.

    ``error_response``, flat ``{code, errorMessage}``, the token endpoint's ``{code, msg}``,
    and the success flags inside ``*_responce``, whose outer "0" says nothing.
    """
    if not isinstance(payload, Mapping):
        return None
    if "error_response" in payload:
        error = Node.of(payload["error_response"], "error_response")
        return _refusal(error.text("code"), error.first_text("zh_desc", "en_desc"))
    flat = Node(payload)
    if "errorMessage" in payload and flat.text("code") not in SUCCESS:
        return _refusal(flat.text("code"), flat.first_text("errorMessage"))
    if {"code", "msg"} <= payload.keys() and "access_token" not in payload:
        return PlatformError(ErrorClass.AUTH, flat.text("code"), flat.text("msg"))
    answers = [value for key, value in payload.items() if key.endswith("_responce")]
    return next((found for answer in answers if (found := _inner_refusal(answer))), None)


def _inner_refusal(answer: Any) -> PlatformError | None:
    if not isinstance(answer, Mapping):
        return None
    outer = Node(answer)
    if (code := outer.text("code")) not in SUCCESS:
        return _refusal(code, outer.first_text("zh_desc", "errorMessage", "en_desc"))
    for flags in _flags(answer):
        if _says_no(flags):
            code = flags.first_text(*INNER_CODES) or "0"
            return _refusal(code, flags.first_text(*INNER_WORDS))
    return None


def _flags(answer: Mapping[str, Any]) -> Iterator[Node]:
    """Wherever a business result may say how it went: here, one level in, ``apiResult``."""
    yield Node(answer)
    for result in answer.values():
        if isinstance(result, Mapping):
            inner = result.get("apiResult", result.get("api_jos_result", result))
            if isinstance(inner, Mapping):
                yield Node(inner)


def _says_no(flags: Node) -> bool:
    if "success" in flags.data:
        return flags.get("success") in (False, "false")
    return flags.text("numberCode") not in SUCCESS


def _refusal(code: str, message: str | None) -> PlatformError:
    klass = ErrorClass.BUSINESS
    if code in RATE_CODES:
        klass = ErrorClass.RATE_LIMITED
    elif code in AUTH_CODES:
        klass = ErrorClass.AUTH
    elif code in PLATFORM_CODES:
        klass = ErrorClass.PLATFORM
    return PlatformError(klass, code, message or "")
