from django.urls import path

from ordercenter.console import (
    addresses,
    approvals,
    orders,
    reveals,
    shop_authorize,
    shop_setup,
    shops,
    wall,
    work,
)

urlpatterns = [
    path("", wall.home, name="home"),
    path("wall/", wall.wall_page, name="wall"),
    path("approvals/", approvals.approvals_page, name="approvals"),
    path("orders/<str:number>/", orders.order_page, name="order"),
    path("orders/<str:number>/decide/", orders.decide, name="decide"),
    path("orders/<str:number>/receiver/", orders.edit_receiver, name="edit_receiver"),
    path("orders/<str:number>/memo/", orders.write_memo, name="write_memo"),
    path("orders/<str:number>/reveal/", reveals.reveal, name="reveal"),
    path("orders/<str:number>/restrict/", reveals.restrict, name="restrict"),
    path("reveals/", reveals.reveals_page, name="reveals"),
    path("find/", reveals.find_page, name="find"),
    path("addresses/", addresses.addresses_page, name="addresses"),
    path("addresses/<int:pk>/answer/", addresses.answer_address, name="answer_address"),
    path("work/", work.work_page, name="work"),
    path("work/<int:pk>/", work.task_page, name="task"),
    path("work/<int:pk>/claim/", work.claim, name="claim"),
    path("work/<int:pk>/done/", work.finish, name="finish"),
    path("work/scan/", work.scan_page, name="scan"),
    path("work/parcels/<int:pk>/label/", work.label, name="label"),
    path("work/parcels/<int:pk>/ship/", work.ship, name="ship"),
    path("shops/new/", shop_setup.new_page, name="shop_new"),
    # Whatever else is under shops/ is listed before: a code is any slug.
    path("shops/<slug:code>/", shops.shop_page, name="shop"),
    path("shops/<slug:code>/act/", shops.act, name="shop_act"),
    path("shops/<slug:code>/setup/", shop_setup.continue_page, name="shop_setup"),
    path("shops/<slug:code>/setup/<slug:step>/", shop_setup.step_page, name="shop_step"),
    path("shops/<slug:code>/authorize/", shop_authorize.go_authorize, name="shop_authorize"),
    path("shops/<slug:code>/authorized/", shop_authorize.authorized, name="shop_authorized"),
]
