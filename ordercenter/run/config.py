"""What the environment says about a run."""

import errno
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ordercenter.run.children import Program
from ordercenter.run.database import NotReady

BASE_DIR: Final = Path(__file__).resolve().parent.parent.parent
MANAGE: Final = (sys.executable, str(BASE_DIR / "manage.py"))
REST: Final = ("sending", "gates", "outward", "stock", "backfill", "housekeeping")
"""What runs beside the intake, in a process of its own: threads of one would share one core."""
ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound


@dataclass(frozen=True, slots=True)
class RunConfig:
    host: str
    port: int
    sandbox_port: int
    web_workers: int
    workers: int
    reload: bool

    @property
    def reachable_host(self) -> str:
        """The address at which a process of this machine finds the web server."""
        return ANY_ADDRESS.get(self.host, self.host)

    @property
    def center_url(self) -> str:
        host = self.reachable_host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def sandbox_url(self) -> str:
        return f"http://127.0.0.1:{self.sandbox_port}"


def read_config(environment: Mapping[str, str], *, reload: bool) -> RunConfig:
    """Read the environment. Raises NotReady naming the variable that makes no sense."""

    def number(name: str, default: int, low: int, high: int) -> int:
        text = environment.get(name) or str(default)
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise NotReady(f"环境变量 {name} 应为 {low} 到 {high} 的整数，现在是 {text!r}")
        return int(text)

    config = RunConfig(
        host=environment.get("HOST") or "127.0.0.1",
        port=number("PORT", 8000, 1, 65535),
        sandbox_port=number("SANDBOX_PORT", 8100, 1, 65535),
        web_workers=number("WEB_WORKERS", 1, 1, 64),
        workers=number("WORKERS", 1, 1, 64),
        reload=reload,
    )
    if config.port == config.sandbox_port:
        raise NotReady(f"PORT 与 SANDBOX_PORT 都是 {config.port}；请让它们不同")
    return config


def require_free_ports(config: RunConfig) -> None:
    """Raise NotReady naming the first port that is taken."""
    for host, port, name in (
        (config.host, config.port, "PORT"),
        ("127.0.0.1", config.sandbox_port, "SANDBOX_PORT"),
    ):
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        except OSError as error:
            raise NotReady(f"HOST={host} 不是可用的地址；请改为 127.0.0.1 或本机地址") from error
        with socket.socket(found[0], found[1]) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(found[4])
            except PermissionError as error:
                raise NotReady(f"没有权限使用端口 {port}；请改用 {name}=8000 以上") from error
            except OSError as error:
                taken = error.errno == errno.EADDRINUSE
                why = "已被占用" if taken else f"不可用（{error.strerror}）"
                raise NotReady(
                    f"端口 {port} {why}；请停止占用它的程序，"
                    f"或换一个端口：{name}={port + 1} make run"
                ) from error


def programs(config: RunConfig, data_dir: Path) -> list[Program]:
    """Return what a run consists of, in the order of starting."""
    web = [sys.executable, "-m", "uvicorn", "ordercenter.asgi:application"]
    web += ["--host", config.host, "--port", str(config.port)]
    web += ["--workers", str(config.web_workers), "--timeout-graceful-shutdown", "4"]
    web += ["--no-access-log", "--no-server-header", "--lifespan", "off"]
    # A socket frame of ours is a few bytes; whose address a request has is decided by Django's
    # PROXY_COUNT, never by a header that the client writes.
    web += ["--ws-max-size", "65536", "--no-proxy-headers"]
    web += ["--http", "ordercenter.serve:GuardedProtocol"]
    sandbox = [sys.executable, "-m", "ordercenter.sandbox", "--port", str(config.sandbox_port)]
    sandbox += ["--data-dir", str(data_dir / "sandbox"), "--center", config.center_url]
    found = [
        Program("sandbox", "沙箱平台", sandbox, rank=1, grace=4),
        Program("web", "网页服务", web, rank=2, grace=6),
        Program("queue", "定时任务", [*MANAGE, "qcluster"], rank=3),
        Program("listen", "消息接收", [*MANAGE, "listen"], rank=3),
    ]
    for index in range(config.workers):
        suffix = "" if config.workers == 1 else f"-{index + 1}"
        intake, others = [*MANAGE, "work", "--loops", "intake"], [*MANAGE, "work", "--loops", *REST]
        found.append(Program(f"intake{suffix}", f"订单流水线{suffix}", intake, rank=3))
        found.append(Program(f"work{suffix}", f"外发与时限{suffix}", others, rank=3))
    return found


def child_environment(config: RunConfig, environment: Mapping[str, str]) -> dict[str, str]:
    settings = "ordercenter.settings.dev" if config.reload else "ordercenter.settings.base"
    return {
        "DJANGO_SETTINGS_MODULE": settings,
        **environment,
        "PYTHONPATH": _join(str(BASE_DIR), environment.get("PYTHONPATH", "")),
        "PYTHONUNBUFFERED": "1",
        "SANDBOX_URL": environment.get("SANDBOX_URL") or config.sandbox_url,
    }


def _join(*paths: str) -> str:
    return os.pathsep.join(path for path in paths if path)


def newest_change(folders: Sequence[Path]) -> float:
    """Return when the newest source or template was changed; for ``make dev``."""
    files = (path for folder in folders for path in folder.rglob("*"))
    return max(
        (path.stat().st_mtime for path in files if path.suffix in {".py", ".html"}), default=0.0
    )
