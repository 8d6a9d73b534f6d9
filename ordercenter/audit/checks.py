"""What ``manage.py check --deploy`` says of the database's role."""

from collections.abc import Sequence
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.db import Error as DatabaseTrouble
from django.utils.translation import gettext as _

from ordercenter.audit.verify import may_rewrite, owns_the_trail


@register(Tags.security, deploy=True)
def the_role_cannot_rewrite_the_trail(**_options: Any) -> Sequence[CheckMessage]:
    """Warn where the role of the application owns the audit trail or may change it.

    Without a database at hand nothing is said: ``verify_audit`` and the invariant W1 ask again.
    """
    try:
        if owns_the_trail():
            words = _("应用使用的数据库角色拥有审计表，可以改写审计记录")
        elif rights := may_rewrite():
            words = _("应用使用的数据库角色可以改写只增表：%(what)s") % {
                "what": "、".join(f"{verb} {table}" for table, verb in rights)
            }
        else:
            return []
    except DatabaseTrouble:
        return []
    hint = _("为应用另建角色，并设置 DATABASE_OWNER_URL，见 docs/audit.md")
    return [checks.Warning(words, hint=hint, id="audit.W001")]
