from django.urls import path

from ordercenter.console import approvals, orders, wall, work

urlpatterns = [
    path("", wall.home, name="home"),
    path("wall/", wall.wall_page, name="wall"),
    path("approvals/", approvals.approvals_page, name="approvals"),
    path("orders/<str:number>/", orders.order_page, name="order"),
    path("orders/<str:number>/decide/", orders.decide, name="decide"),
    path("orders/<str:number>/receiver/", orders.edit_receiver, name="edit_receiver"),
    path("work/", work.work_page, name="work"),
    path("work/<int:pk>/", work.task_page, name="task"),
    path("work/<int:pk>/claim/", work.claim, name="claim"),
    path("work/<int:pk>/done/", work.finish, name="finish"),
    path("work/scan/", work.scan_page, name="scan"),
    path("work/parcels/<int:pk>/label/", work.label, name="label"),
    path("work/parcels/<int:pk>/ship/", work.ship, name="ship"),
]
