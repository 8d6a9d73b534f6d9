"""Accounts and roles. Roles are groups; nobody gives himself one."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelMultipleChoiceField
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from ordercenter.audit.models import Action
from ordercenter.console.access import grants_roles
from ordercenter.console.admin_base import ReferenceAdmin
from ordercenter.core.policy import Role

if TYPE_CHECKING:
    from django.contrib.auth.forms import (
        AdminPasswordChangeForm,
        AdminUserCreationForm,
        UserChangeForm,
    )
else:
    from unfold.forms import AdminPasswordChangeForm, UserChangeForm
    from unfold.forms import UserCreationForm as AdminUserCreationForm

with contextlib.suppress(NotRegistered):
    admin.site.unregister(User)


class RolesField(ModelMultipleChoiceField[Group]):
    """Groups by the names people know them by."""

    def label_from_instance(self, obj: Any) -> str:
        return str(Role(obj.name).label)


@admin.register(User)
class PersonAdmin(ReferenceAdmin[User], UserAdmin[User]):
    """Kept by who grants roles. Technical administrators are not kept here at all."""

    form = UserChangeForm  # type: ignore[assignment]
    add_form = AdminUserCreationForm
    change_password_form = AdminPasswordChangeForm
    audit_action = Action.ACCESS_CHANGED
    list_display = ("username", "first_name", "roles", "is_active", "last_login")
    list_filter = ("groups", "is_active")
    search_fields = ("username", "first_name")
    filter_horizontal = ("groups",)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("人员"), {"fields": ("first_name", "email", "is_active", "groups")}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "usable_password", "password1", "password2")}),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).filter(is_superuser=False).prefetch_related("groups")

    def has_view_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return grants_roles(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return grants_roles(request.user)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return grants_roles(request.user) and not (obj and obj.is_superuser)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """One's own roles and standing are for others to change."""
        return ("groups", "is_active") if obj is not None and obj.pk == request.user.pk else ()

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "groups":
            kwargs["queryset"] = Group.objects.filter(name__in=Role.values).order_by("name")
            kwargs["label"] = _("角色")
            kwargs["form_class"] = RolesField
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def before_save(
        self, request: HttpRequest, obj: User, form: Any, change: bool
    ) -> Sequence[str]:
        if change:
            return ()
        obj.is_staff = True  # whoever has an account logs in at the one door there is
        return ("password",)

    def user_change_password(
        self,
        request: HttpRequest,
        id: str,  # noqa: A002 - Django's name
        form_url: str = "",
    ) -> HttpResponse:
        """A new password for somebody; on record, like every change of access."""
        with transaction.atomic():
            answer = super().user_change_password(request, id, form_url)
            person = self.get_object(request, id)
            if request.method == "POST" and answer.status_code == 302 and person:  # noqa: PLR2004
                self.keep_record(request, person, {"password": ["***", "***"]})
        return answer

    @admin.display(description=_("角色"))
    def roles(self, person: User) -> str:
        known = dict(Role.choices)
        return "、".join(str(known.get(group.name, group.name)) for group in person.groups.all())
