from django.urls import URLPattern, path

from ordercenter.api import views

app_name = "api"
urlpatterns: list[URLPattern] = [
    path("orders/", views.OrderList.as_view(), name="orders"),
    path("orders/<slug:number>/", views.OrderDetail.as_view(), name="order"),
]
