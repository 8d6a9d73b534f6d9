"""A low-stock to-do that somebody has put off. The to-dos themselves are worked out live."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from ordercenter.catalog.models import Sku


class ReplenishSnooze(models.Model):
    """Until then nobody is reminded of this SKU."""

    sku = models.OneToOneField(Sku, models.CASCADE, primary_key=True, verbose_name=_("货品"))
    until = models.DateTimeField(_("推迟到"))
    reason = models.CharField(_("原因"), max_length=200, blank=True)
    by = models.CharField(_("推迟人"), max_length=80)
    at = models.DateTimeField(_("推迟时间"))

    class Meta:
        verbose_name = _("推迟的补货提醒")
        verbose_name_plural = _("推迟的补货提醒")

    def __str__(self) -> str:
        return f"{self.sku_id} {self.until:%Y-%m-%d}"
