"""The secrets of one installation, made on the first run and kept beside its data.

What is set in the environment goes before; settings see to that.
"""

import base64
import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from ordercenter.core.embedded import make_folder


def _key() -> str:
    """Return 32 random bytes in base64url, padding included, as AES-256 and HMAC want them."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


MAKERS: Final[Mapping[str, Callable[[], str]]] = {
    "SECRET_KEY": lambda: secrets.token_urlsafe(50),
    "ORDERCENTER_DATA_KEY": _key,
    "ORDERCENTER_INDEX_KEY": _key,
}


class SecretsFileError(Exception):
    """The secrets cannot be read or kept. The message is one line that says what to do."""


def load_or_create(path: Path) -> Mapping[str, str]:
    """Return the secrets in ``path``; make the file, mode 0600, when there is none.

    Processes that start at once all return the same secrets. A file that lacks
    one is an error, not a reason to make a new one: data encrypted under a lost
    key stays lost, and that has to be seen. Raises SecretsFileError.
    """
    try:
        if not path.exists():
            _create(path)
        found = _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SecretsFileError(
            f"无法读写密钥文件 {path}（{error.strerror}）；"
            f"请用创建它的账号运行，或用 ORDERCENTER_DATA 指定另一个数据目录"
        ) from error
    if missing := [name for name in MAKERS if not found.get(name)]:
        raise SecretsFileError(
            f"密钥文件 {path} 缺少 {', '.join(missing)}；请从备份恢复，或在环境变量中设置"
        )
    return found


def _create(path: Path) -> None:
    """Write the whole file aside, then link it into place: the first to do so has made it."""
    make_folder(path.parent)
    aside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("# 本机密钥：请备份，切勿提交或外传。\n")
            file.writelines(f"{name}={make()}\n" for name, make in MAKERS.items())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    finally:
        aside.unlink()


def _parse(text: str) -> dict[str, str]:
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}
