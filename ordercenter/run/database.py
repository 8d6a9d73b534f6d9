"""See to it that the database the settings name can be reached."""

import os
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from psycopg import pq
from psycopg.conninfo import make_conninfo

from ordercenter.core.embedded import (
    EmbeddedServerError,
    connection_settings,
    ensure_server,
    leave_server,
)
from ordercenter.core.secrets_file import SecretsFileError

PATIENCE: Final = 5  # seconds to wait for a server elsewhere


class NotReady(Exception):
    """The order center cannot start. The message is one line that says what to do."""


def data_dir() -> Path:
    """Load the settings and return the folder of all data. Raises NotReady."""
    try:
        return Path(settings.DATA_DIR)
    except SecretsFileError as error:
        raise NotReady(str(error)) from error
    except ImproperlyConfigured as error:
        raise NotReady(f"配置有误：{error}") from error


def is_embedded() -> bool:
    """Say whether the settings name the embedded server, not one elsewhere."""
    folder = data_dir()
    return bool(settings.DATABASES["default"]["HOST"] == connection_settings(folder)["HOST"])


def ensure_database() -> None:
    """Start or attach to the embedded server; only ask for one configured elsewhere.

    Raises NotReady.
    """
    if not is_embedded():
        _ask_elsewhere()
        return
    try:
        ensure_server(data_dir())
    except EmbeddedServerError as error:
        raise NotReady(str(error)) from error


def _ask_elsewhere() -> None:
    chosen = settings.DATABASES["default"]
    target = make_conninfo(
        host=chosen["HOST"] or None, port=chosen["PORT"] or None, connect_timeout=PATIENCE
    )
    if pq.PGconn.ping(target.encode()) != pq.Ping.OK:
        raise NotReady(
            f"连接不上 DATABASE_URL 指定的 {where()}；"
            f"请检查地址与网络，并确认该数据库已启动，或去掉 DATABASE_URL 使用内嵌数据库"
        )


def leave_database() -> None:
    """Stop using the embedded server; the last to leave stops it."""
    try:
        leave_server(data_dir())
    except EmbeddedServerError as error:
        raise NotReady(str(error)) from error


def short(path: Path) -> str:
    """Name a path from here when it is below here, in full otherwise."""
    near = os.path.relpath(path)
    return str(path) if near.startswith(os.pardir) else near


def where() -> str:
    """Name the database for people, without its password."""
    chosen = settings.DATABASES["default"]
    if is_embedded():
        return f"内嵌 PostgreSQL，数据在 {short(data_dir() / 'pg')}"
    port = f":{chosen['PORT']}" if chosen["PORT"] else ""
    return f"PostgreSQL（{chosen['HOST'] or '本机'}{port}，库 {chosen['NAME']}）"
