from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CatalogConfig(AppConfig):
    name = "ordercenter.catalog"
    verbose_name = _("货品中心")
