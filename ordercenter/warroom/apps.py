from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class WarroomConfig(AppConfig):
    name = "ordercenter.warroom"
    verbose_name = _("作战看板")
