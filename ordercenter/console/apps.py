from django.apps import AppConfig, apps
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class ConsoleConfig(AppConfig):
    name = "ordercenter.console"
    verbose_name = _("工作台")

    def ready(self) -> None:
        from ordercenter.console.access import ensure_groups_after_migrate  # noqa: PLC0415
        from ordercenter.console.step_up import remember_password  # noqa: PLC0415

        user_logged_in.connect(remember_password)

        # told once every table is there; an app without models is told nothing
        post_migrate.connect(ensure_groups_after_migrate, sender=apps.get_app_config("auth"))
