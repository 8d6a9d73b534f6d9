"""The two kinds of admin class: one that reads and acts, one that keeps reference data.

Rights come from ``core.policy`` alone, so that neither ``is_superuser`` nor a permission row
opens anything here. The eleven traps of ``reliability.md`` section 3 are why each guard exists.
"""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from django import forms
from django.contrib import messages
from django.contrib.admin import ShowFacets, helpers
from django.contrib.admin.utils import get_fields_from_path
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.paginator import Paginator
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.console.access import may_any
from ordercenter.console.reasons import LONGEST, SHORTEST, checked_reason
from ordercenter.core.actor import Actor
from ordercenter.core.errors import OrderCenterError
from ordercenter.core.policy import SCOPED, Can, roles_of, sees_all
from ordercenter.orders.models import SalesOrder

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
else:
    from unfold.admin import ModelAdmin, TabularInline

__all__ = ["Guarded", "ReferenceAdmin", "ReviewAdmin", "TabularInline"]

_M = TypeVar("_M", bound=models.Model)

MOST_ROWS: Final = 200
"""So many rows one action takes at most; more is a filter typed wrong."""
MOST_REFUSALS: Final = 20
FOUR: Final = 4
"""Digits a number of inline forms does not reach."""
COUNTED: Final = 10_000
"""Rows are counted up to here; nobody turns more pages."""

Service = Callable[[HttpRequest, Any, int, str], None]
"""(request, row, version seen, reason); raises OrderCenterError to refuse."""


class CappedPaginator(Paginator[Any]):
    """Counts no further than ``COUNTED``, so that a list of millions opens at once."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        assert isinstance(rows, models.QuerySet)
        return rows.order_by().values("pk")[:COUNTED].count()


class Guarded(ModelAdmin[_M], Generic[_M]):
    """What both kinds share: scope, rights from the policy, a closed query string."""

    view_rights: ClassVar[tuple[Can, ...]] = ()
    order_path: ClassVar[str] = ""
    """The path to the order that decides who may know of a row."""
    shop_path: ClassVar[str] = ""
    """The same for rows that belong to a shop without an order."""

    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    paginator = CappedPaginator

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in cls.actions or ():
            action = getattr(cls, name) if isinstance(name, str) else name
            if not getattr(action, "allowed_permissions", ()):
                message = f"{cls.__name__}.{name} is an action without a right"
                raise TypeError(message)

    # Who

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: _M | None = None) -> bool:
        return may_any(request.user, self.view_rights)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[_M]:
        """What this user may know of; everything else does not exist."""
        rows = super().get_queryset(request)
        visible_to = getattr(rows, "visible_to", None)
        if visible_to is not None:
            visible: models.QuerySet[_M] = visible_to(request.user)
            return visible
        if self.order_path and not sees_all(request.user):
            orders = SalesOrder.objects.visible_to(request.user)
            return rows.filter(**{f"{self.order_path}__in": orders.values("pk")})
        if self.shop_path and roles_of(request.user) <= SCOPED:
            return rows.filter(**{f"{self.shop_path}__shopassignment__user": request.user})
        return rows

    # What the address may ask

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Only what a filter of this list offers: any other column would be an oracle."""
        return lookup in self._offered_lookups(request)

    def _offered_lookups(self, request: HttpRequest | None) -> set[str]:
        offered: set[str] = set()
        filters = self.get_list_filter(request) if request else self.list_filter
        for item in filters:
            path = item[0] if isinstance(item, list | tuple) else item
            if isinstance(path, str):
                offered |= _lookups_of(self.model, path)
            else:
                offered.add(str(getattr(path, "parameter_name", "")))
        if self.date_hierarchy:
            offered |= {f"{self.date_hierarchy}__{part}" for part in ("year", "month", "day")}
        return offered

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        _refuse_unsaid(request)
        asked = {name for name in request.POST.getlist("action") if name}
        if asked - set(self.get_actions(request)):
            raise PermissionDenied
        return super().changelist_view(request, extra_context)

    # What does not exist for this user is not found, here as everywhere

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> HttpResponse:
        raise Http404

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """There is none: the audit is the history."""
        raise Http404

    # The admin's own log is no audit trail: what is to be remembered, ``record`` remembers.

    def log_addition(self, *args: Any, **kwargs: Any) -> Any:
        return None

    def log_change(self, *args: Any, **kwargs: Any) -> Any:
        return None

    def log_deletions(self, *args: Any, **kwargs: Any) -> Any:
        return None


def _lookups_of(model: type[models.Model], path: str) -> set[str]:
    """The lookups the filter for one column writes into the address."""
    field = get_fields_from_path(model, path)[-1]
    target = getattr(field, "target_field", None)
    exact = f"{path}__{target.name}__exact" if target is not None else f"{path}__exact"
    offered = {exact, f"{path}__isnull"}
    if isinstance(field, models.DateField):
        offered |= {f"{path}__gte", f"{path}__lt"}
    return offered


def _refuse_unsaid(request: HttpRequest) -> None:
    """A NUL cannot be in any text of the database; asking for one is not a question."""
    if any("\0" in text for values in request.GET.lists() for text in (values[0], *values[1])):
        message = "NUL in the address"
        raise SuspiciousOperation(message)


class ReviewAdmin(Guarded[_M], Generic[_M]):
    """Reads, and changes things only by actions that call a service."""

    actions_selection_counter = True
    list_disable_select_all = True

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: _M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: _M | None = None) -> bool:
        return False

    def act_on_each(
        self,
        request: HttpRequest,
        queryset: models.QuerySet[_M],
        service: Service,
        *,
        title: Any,
    ) -> HttpResponse | None:
        """Run ``service`` on each ticked row, after the user has seen how many and said why.

        The second page names the rows and carries their versions, so a row that changed
        meanwhile is refused by its service. Refusals are shown, the rest is counted.
        """
        rows = list(queryset.order_by("pk")[: MOST_ROWS + 1])
        if not rows or len(rows) > MOST_ROWS:
            messages.error(request, _("一次可处理 1 到 %(most)d 行，请缩小范围后重试")
                           % {"most": MOST_ROWS})  # fmt: skip
            return None
        form = EachForm(request.POST if "confirmed" in request.POST else None, rows=len(rows))
        if not form.is_valid():
            return self._ask_first(request, rows, form, title)
        seen = _versions_seen(request)
        refusals = []
        for row in rows:
            try:
                service(request, row, seen.get(str(row.pk), 0), form.cleaned_data["reason"])
            except OrderCenterError as refusal:
                refusals.append(f"{row}：{refusal}")
        self._report(request, len(rows) - len(refusals), refusals)
        return None

    def _ask_first(
        self, request: HttpRequest, rows: Sequence[_M], form: "EachForm", title: Any
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "rows": [(row, getattr(row, "version", 0)) for row in rows],
            "form": form,
            "action": request.POST.get("action", ""),
            "checkbox": helpers.ACTION_CHECKBOX_NAME,
        }
        status = HTTPStatus.UNPROCESSABLE_ENTITY if form.is_bound else HTTPStatus.OK
        return TemplateResponse(request, "admin/act_on_each.html", context, status=status)

    def _report(self, request: HttpRequest, done: int, refusals: Sequence[str]) -> None:
        if done:
            messages.success(request, _("已处理 %(n)d 行") % {"n": done})
        for refusal in refusals[:MOST_REFUSALS]:
            messages.error(request, refusal)
        if len(refusals) > MOST_REFUSALS:
            messages.error(request, _("另有 %(n)d 行未能处理")
                           % {"n": len(refusals) - MOST_REFUSALS})  # fmt: skip


def _versions_seen(request: HttpRequest) -> Mapping[str, int]:
    """The versions the second page was drawn from; 0, which no order has, where it is unsaid."""
    pairs = (text.partition(":") for text in request.POST.getlist("seen"))
    return {pk: int(version) for pk, _sep, version in pairs if version.isdecimal()}


class EachForm(forms.Form):
    """Why, and how many: a filter typed wrong shows in the number."""

    reason = forms.CharField(
        label=_("原因"),
        min_length=SHORTEST,
        max_length=LONGEST,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    count = forms.IntegerField(label=_("请输入行数以确认"), required=False, localize=False)

    def __init__(self, data: Any, *, rows: int) -> None:
        super().__init__(data)
        self.rows = rows

    def clean_reason(self) -> str:
        try:
            return checked_reason(self.cleaned_data["reason"])
        except OrderCenterError as refusal:
            raise forms.ValidationError(str(refusal)) from refusal

    def clean_count(self) -> int | None:
        count: int | None = self.cleaned_data["count"]
        if self.rows > 1 and count != self.rows:
            raise forms.ValidationError(_("行数不符，请核对后重新输入"))
        return count


class ReferenceAdmin(Guarded[_M], Generic[_M]):
    """Keeps master data. Who may is in the policy; every change leaves a record.

    Only the fields a form changed are written, so two people who edit one row do not undo
    each other. Nothing is deleted unless ``may_delete``: what others point at is switched off.
    """

    edit_rights: ClassVar[tuple[Can, ...]] = ()
    may_delete: ClassVar[bool] = False
    audit_action: ClassVar[Action]
    never_told: ClassVar[frozenset[str]] = frozenset({"password"})
    """Fields whose values no record holds, only that they changed."""

    def has_view_permission(self, request: HttpRequest, obj: _M | None = None) -> bool:
        return may_any(request.user, (*self.view_rights, *self.edit_rights))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return may_any(request.user, self.edit_rights)

    def has_change_permission(self, request: HttpRequest, obj: _M | None = None) -> bool:
        return may_any(request.user, self.edit_rights)

    def has_delete_permission(self, request: HttpRequest, obj: _M | None = None) -> bool:
        return self.may_delete and may_any(request.user, self.edit_rights)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """No deleting by the dozen: it would leave no record."""
        found = super().get_actions(request)
        found.pop("delete_selected", None)
        return found

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        for name, value in request.POST.items():
            if name.endswith("-TOTAL_FORMS") and not _is_small(str(value)):
                message = "more inline forms than a page has"
                raise SuspiciousOperation(message)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: _M, form: Any, change: bool) -> None:
        form.was = self._facts(obj.pk) if change else {}
        form.secrets_changed = self.before_save(request, obj, form, change)
        if not change:
            obj.save()
        elif fields := self._changed_fields(obj, form):
            obj.save(update_fields=fields)

    def before_save(self, request: HttpRequest, obj: _M, form: Any, change: bool) -> Sequence[str]:
        """Last touches to a row; return the names of secrets that changed."""
        return ()

    def _changed_fields(self, obj: _M, form: Any) -> list[str]:
        columns = {field.name for field in obj._meta.concrete_fields if not field.primary_key}
        touched = set(form.changed_data) & columns
        if touched or form.secrets_changed:
            touched |= {
                field.name
                for field in obj._meta.concrete_fields
                if getattr(field, "auto_now", False) or isinstance(field, models.BinaryField)
            }
        return sorted(touched)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        obj = form.instance
        facts = self._facts(obj.pk)
        difference = {
            name: [form.was.get(name), facts.get(name)]
            for name in sorted({*form.was, *facts})
            if form.was.get(name) != facts.get(name)
        }
        difference |= {name: ["***", "***"] for name in form.secrets_changed}
        if difference:
            self.keep_record(request, obj, difference)

    def delete_model(self, request: HttpRequest, obj: _M) -> None:
        with transaction.atomic():
            gone = {name: [value, None] for name, value in self._facts(obj.pk).items()}
            self.keep_record(request, obj, gone)
            obj.delete()

    def keep_record(self, request: HttpRequest, obj: _M, change: Mapping[str, Any]) -> None:
        record(
            self.audit_action,
            object_type=str(obj._meta.model_name),
            object_id=obj.pk,
            actor=Actor.of(request),
            change=change,
        )

    def _facts(self, pk: Any) -> dict[str, Any]:
        """A row as the audit tells it: columns, ties to others, and what inlines hold."""
        row = self.model._default_manager.filter(pk=pk).first()
        if row is None:
            return {}
        facts: dict[str, Any] = {
            field.name: _plain(field.value_from_object(row))
            for field in row._meta.concrete_fields
            if not isinstance(field, models.BinaryField)
            and not getattr(field, "auto_now", False)
            and field.name not in self.never_told
        }
        for many in row._meta.many_to_many:
            if many.name not in self.never_told and many.remote_field.through._meta.auto_created:  # type: ignore[union-attr]
                facts[many.name] = sorted(str(other) for other in getattr(row, many.name).all())
        return facts | dict(self.more_facts(row))

    def more_facts(self, row: _M) -> Mapping[str, Any]:
        """What belongs to a row and lives in another table."""
        return {}


def _is_small(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < FOUR


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str | list | dict):
        return value
    return str(value)
