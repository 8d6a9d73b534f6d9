"""The door everybody could write: an ASGI view with one INSERT and a commit, nothing checked.

Run by uvicorn like the web server; ``DATABASE_URL`` says where the table ``bench_bare`` is.
"""

import os
from typing import Any, Final

from psycopg_pool import AsyncConnectionPool

TABLE: Final = "CREATE TABLE bench_bare (id bigserial PRIMARY KEY, at timestamptz, body bytea)"
_pool: AsyncConnectionPool | None = None


async def _opened() -> AsyncConnectionPool:
    global _pool  # noqa: PLW0603 - one pool a process, opened in its own loop
    if _pool is None:
        _pool = AsyncConnectionPool(
            os.environ["DATABASE_URL"], min_size=4, max_size=20, open=False,
            kwargs={"autocommit": True},
        )  # fmt: skip
        await _pool.open()
    return _pool


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Keep the body, then say 200."""
    body = b""
    while True:
        told = await receive()
        body += told.get("body", b"")
        if not told.get("more_body"):
            break
    pool = await _opened()
    async with pool.connection() as line:
        await line.execute("INSERT INTO bench_bare (at, body) VALUES (now(), %s)", [body])
    said = b"ok"
    length = str(len(said)).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}
    )
    await send({"type": "http.response.body", "body": said})
