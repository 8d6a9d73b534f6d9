"""What the stock refuses."""

from django.utils.translation import gettext_lazy as _

from ordercenter.core.errors import OrderCenterError


class NotReserved(OrderCenterError):
    code = "not_reserved"
    message = _("出库数量与占用不符，请刷新后重试")


class StaleStock(OrderCenterError):
    code = "stale_stock"
    message = _("%(what)s 已被他人更新，请刷新后重试")
