"""The web server's door: pages and hooks over HTTP, live hints over WebSocket."""

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ordercenter.settings.base")

import django
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponseBase

django.setup(set_prefix=False)

from ordercenter.warroom.routing import websocket_urlpatterns  # noqa: E402 - apps must be ready


class OneThread(ASGIHandler):
    """Django's handler, with a request's middleware and view all run in one thread in one go.

    Django would run them by turns in the loop and in a thread: of our middleware some can only
    be waited for, and no view of ours is a coroutine.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        answer: Any = await sync_to_async(self.get_response, thread_sensitive=True)(request)
        return answer  # type: ignore[no-any-return]


application = ProtocolTypeRouter(
    {
        "http": OneThread(),
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
        ),
    }
)
