"""Rules and clocks."""

import json

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from fulfillment.models import StageClock
from ordercenter.audit.models import Action
from ordercenter.console.admin_base import ReferenceAdmin, ReviewAdmin
from ordercenter.core.policy import Can
from ordercenter.orders.models import InterceptionPolicy
from risk.models import RuleSet


@admin.register(RuleSet)
class RuleSetAdmin(ReviewAdmin[RuleSet]):
    """Versions are only ever added, by the service that checks them."""

    view_rights = (Can.EDIT_RULES, Can.REVIEW)
    list_display = ("version", "is_live", "note", "created_at")
    list_filter = ("is_live",)
    ordering = ("-version",)
    fields = ("version", "is_live", "note", "created_at", "text")
    readonly_fields = ("text",)

    @admin.display(description=_("规则"))
    def text(self, row: RuleSet) -> str:
        return json.dumps(row.rules, ensure_ascii=False, indent=2)


@admin.register(StageClock)
class StageClockAdmin(ReferenceAdmin[StageClock]):
    edit_rights = (Can.EDIT_RULES,)
    audit_action = Action.RULES_CHANGED
    list_display = ("stage", "minutes")


@admin.register(InterceptionPolicy)
class InterceptionPolicyAdmin(ReferenceAdmin[InterceptionPolicy]):
    """From which size on an interception needs a second person, and whom carriers bring back.

    Kept by the CEO: whoever starts interceptions does not say when he needs somebody else.
    """

    view_rights = (Can.INTERCEPT,)
    edit_rights = (Can.END_INTERCEPT,)
    audit_action = Action.RULES_CHANGED
    list_display = ("__str__", "most_orders", "most_value", "call_back_hours")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """There is one row; it is made once and then changed."""
        return super().has_add_permission(request) and not InterceptionPolicy.objects.exists()
