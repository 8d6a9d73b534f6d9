"""Hold the message lines of the platforms that have one (Taobao TMC, Pinduoduo PMC)."""

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from ordercenter.pipeline.listening import listen_to_all


class Command(BaseCommand):
    help = "持续接收平台消息服务（淘宝 TMC、拼多多 PMC）"

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.set())
        listen_to_all(stop)
