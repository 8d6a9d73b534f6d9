"""Every admin page of the order center, and none of the libraries'.

django-q2's pages would queue any function and run a done job again; group pages would hand out
rights past the policy (``reliability.md`` section 3, traps 4 and 5).
"""

import contextlib

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.auth.models import Group, User

from ordercenter.console.admin import (
    catalog,
    field_maps,
    gifts,
    lines,
    orders,
    papers,
    people,
    quotas,
    rules,
    slices,
    stock,
    tokens,
)

__all__ = [
    "catalog",
    "field_maps",
    "gifts",
    "lines",
    "orders",
    "papers",
    "people",
    "quotas",
    "rules",
    "slices",
    "stock",
    "tokens",
]

OTHERS = ("django_q", "axes")


def remove_other_pages() -> None:
    """Take the pages of libraries out of the admin."""
    for app_label in OTHERS:
        for model in apps.get_app_config(app_label).get_models(include_auto_created=True):
            with contextlib.suppress(NotRegistered):
                admin.site.unregister(model)
    with contextlib.suppress(NotRegistered):
        admin.site.unregister(Group)


remove_other_pages()
assert isinstance(admin.site._registry.get(User), people.PersonAdmin)
