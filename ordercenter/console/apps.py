from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class ConsoleConfig(AppConfig):
    name = "ordercenter.console"
    verbose_name = _("工作台")

    def ready(self) -> None:
        from ordercenter.console.access import ensure_groups_after_migrate  # noqa: PLC0415

        # told once every table is there; an app without models is told nothing
        post_migrate.connect(ensure_groups_after_migrate, sender=apps.get_app_config("auth"))
