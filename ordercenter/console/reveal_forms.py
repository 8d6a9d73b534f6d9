"""What the order page offers about its receiver."""

from ordercenter.core.policy import AnyUser, Can, allows
from ordercenter.orders.models import SalesOrder
from ordercenter.orders.states import OPEN
from ordercenter.pipeline import privacy


def reveal_form(user: AnyUser) -> list[tuple[str, str]]:
    """The scenes a user may choose from; empty for who may not look."""
    if not allows(user, Can.REVEAL_RECEIVER):
        return []
    return [(scene.value, str(scene.label)) for scene in privacy.SCENES]


def may_restrict(user: AnyUser, order: SalesOrder) -> bool:
    """Whether the user may have the receiver of this ended order opened to nobody any more."""
    return order.status not in OPEN and allows(user, Can.RESTRICT_RECEIVER)
