"""Ask the buyer: a question goes to customer service, the answer comes back to the card.

No platform of ours takes a message to a buyer over its interface, so a person sends it: the
question is a task of after-sales with the words to send, and the answer is what that person
records when he finishes it.
"""

from collections.abc import Mapping
from typing import Final

from django.contrib.auth.models import AbstractBaseUser
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from fulfillment.models import Stage
from ordercenter.audit.models import Action
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import Disposition
from ordercenter.pipeline.decisions import hand_over
from ordercenter.pipeline.publishing import telling_stock

LONGEST: Final = 300
ASK: Final = "请询问买家："

QUESTIONS: Final[Mapping[str, Promise]] = {
    "duplicate": _(
        "您好，订单 %(number)s 与您的另一张订单内容相同，请问是否重复下单？需要都发货吗？"
    ),
    "price": _(
        "您好，订单 %(number)s 的成交价与标价相差较大，我们正在核对，请问您是在哪个页面下单的？"
    ),
    "address": _("您好，订单 %(number)s 的收货地址不完整，请补充街道与门牌号。"),
    "gift": _("您好，订单 %(number)s 的赠品有变动，请问是否接受更换或不带赠品先发？"),
    "bulk": _("您好，订单 %(number)s 购买数量较多，请问是否为企业采购？需要开票或分批发货吗？"),
}
"""Words to begin with; whoever asks may change them. They name the platform's own number."""


def question_for(code: str, order: SalesOrder) -> str:
    """The words of one template for this order; empty for a code there is not."""
    words = QUESTIONS.get(code)
    return str(words) % {"number": order.channel_number} if words else ""


@telling_stock()
def ask_customer(
    order_id: int, text: str, *, user: AbstractBaseUser, actor: Actor, seen_version: int
) -> None:
    """Have customer service send ``text`` to the buyer; the order stands until they answer.

    The question is on record; asked again, it takes the place of the open one. Raises
    InvalidInput for words that are too short or too long.
    """
    text = " ".join(text.split())
    if len(text) > LONGEST:
        raise InvalidInput(what=_("问题最多 %(most)d 个字") % {"most": LONGEST})
    hand_over(
        order_id, user=user, actor=actor, seen_version=seen_version, reason=text,
        note=f"{ASK}{text}", disposition=Disposition.AFTER_SALES, stage=Stage.AFTER_SALES,
        action=Action.CUSTOMER_ASKED,
    )  # fmt: skip
