from django.urls import URLPattern, path

from ordercenter.warroom import views

app_name = "warroom"
urlpatterns: list[URLPattern] = [
    path("board/", views.board, name="board"),
]
