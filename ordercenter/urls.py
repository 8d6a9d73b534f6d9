"""Every door over HTTP. ``tests/test_permissions.py`` walks this table."""

from django.contrib import admin
from django.urls import include, path

from ordercenter.api import health

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("ordercenter.pipeline.urls")),
    path("", include("ordercenter.warroom.urls")),
    path("", include("ordercenter.console.urls")),
    path("api/", include("ordercenter.api.urls")),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
