"""The web server's door: pages and hooks over HTTP, live hints over WebSocket."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ordercenter.settings.base")

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.core.asgi import get_asgi_application

http = get_asgi_application()

from ordercenter.warroom.routing import websocket_urlpatterns  # noqa: E402 - apps must be ready

application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
        ),
    }
)
