"""The reasons a decision is given, and how long one has to be."""

from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ordercenter.core.errors import InvalidInput

SHORTEST: Final = 5
LONGEST: Final = 500

QUICK: Final[tuple[tuple[str, Promise], ...]] = (
    ("release", _("已电话核实，客户确认下单")),
    ("release", _("活动价已核对，价格无误")),
    ("release", _("老客户正常复购，无需拦截")),
    ("return", _("地址不完整，请补充后再审")),
    ("after_sales", _("疑似重复下单，请联系买家确认")),
    ("ask", _("已核实为真实订单，申请解冻")),
    ("cancel", _("买家确认误下单，取消订单")),
)
"""One tap fills the reason and marks its button: (verb, words)."""


def quick_words() -> list[tuple[str, str]]:
    """The same in the language of this request, put into words once for a whole page."""
    return [(verb, str(words)) for verb, words in QUICK]


def checked_reason(text: str) -> str:
    """Return the reason without blanks around it, or refuse: 5 to 500 characters."""
    reason = text.strip()
    if not SHORTEST <= len(reason) <= LONGEST:
        raise InvalidInput(
            what=_("请填写原因，%(low)d 到 %(high)d 个字") % {"low": SHORTEST, "high": LONGEST}
        )
    if "\0" in reason:
        raise InvalidInput(what=_("原因中含有无法保存的字符"))
    return reason
