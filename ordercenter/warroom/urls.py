from django.urls import URLPattern, path

from ordercenter.warroom import outbox, views

app_name = "warroom"
urlpatterns: list[URLPattern] = [
    path("board/", views.board, name="board"),
    path("shops/", views.health, name="health"),
    path("shops/quarantine/", views.quarantine, name="quarantine"),
    path("shops/outbox/", outbox.outbox_page, name="outbox"),
    path("shops/outbox/act/", outbox.act, name="outbox_act"),
    path("shops/quarantine/<int:message_id>/raw/", views.raw, name="raw"),
    path("shops/quarantine/<int:message_id>/replay/", views.replay, name="replay"),
]
