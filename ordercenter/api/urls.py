from django.urls import URLPattern, path

from ordercenter.api import views
from ordercenter.api.window import ShopWindow

app_name = "api"
urlpatterns: list[URLPattern] = [
    path("orders/", views.OrderList.as_view(), name="orders"),
    path("window/<slug:code>/", ShopWindow.as_view(), name="window"),
    path("orders/<slug:number>/", views.OrderDetail.as_view(), name="order"),
    path("<path:rest>", views.NoSuchDoor.as_view(), name="none"),
]
