from django.urls import URLPattern, path

from ordercenter.api import interceptions, rule_sets, views
from ordercenter.api.stock_figures import StockFigures
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
    path("rule-sets/", rule_sets.RuleSetList.as_view(), name="rule_sets"),
    path("rule-sets/<int:version>/", rule_sets.RuleSetDetail.as_view(), name="rule_set"),
    path("rule-sets/<int:version>/commit/", rule_sets.RuleSetCommit.as_view(), name="rule_commit"),
    path("rule-sets/<int:version>/ask/", rule_sets.RuleSetActivation.as_view(), name="rule_ask"),
    path("stock-figures/", StockFigures.as_view(), name="stock_figures"),
    path("<path:rest>", views.NoSuchDoor.as_view(), name="none"),
]
