from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db import connections
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _

from ordercenter.core.grants import grant_statement


def grant_after_migrate(using: str, **facts: Any) -> None:
    """Give the application its rights in the tables that were just made.

    The emptying of a test database sends the same signal, without a plan.
    """
    if "plan" in facts:
        with connections[using].cursor() as cursor:
            cursor.execute(grant_statement(settings.APP_DATABASE_ROLE))


class AuditConfig(AppConfig):
    name = "ordercenter.audit"
    verbose_name = _("审计")

    def ready(self) -> None:
        # Registers itself, and needs the models.
        from ordercenter.audit import checks  # noqa: F401, PLC0415

        post_migrate.connect(grant_after_migrate, sender=self)
