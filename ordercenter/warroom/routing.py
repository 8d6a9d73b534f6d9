"""Where sockets connect."""

from django.urls import URLPattern, path

from ordercenter.warroom.consumers import LiveConsumer

websocket_urlpatterns: list[URLPattern] = [
    path("ws/live/", LiveConsumer.as_asgi()),
]
