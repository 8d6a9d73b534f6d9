from django.urls import URLPattern, path

from ordercenter.api import interceptions, views
from ordercenter.api.window import ShopWindow

app_name = "api"
urlpatterns: list[URLPattern] = [
    path("orders/", views.OrderList.as_view(), name="orders"),
    path("window/<slug:code>/", ShopWindow.as_view(), name="window"),
    path("interceptions/", interceptions.InterceptionList.as_view(), name="interceptions"),
    path(
        "interceptions/<int:pk>/",
        interceptions.InterceptionDetail.as_view(),
        name="interception",
    ),
    path(
        "interceptions/<int:pk>/lift/",
        interceptions.InterceptionLift.as_view(),
        name="interception-lift",
    ),
    path("orders/<slug:number>/", views.OrderDetail.as_view(), name="order"),
    path("<path:rest>", views.NoSuchDoor.as_view(), name="none"),
]
