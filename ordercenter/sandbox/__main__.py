"""``python -m ordercenter.sandbox``: every stand-in on one port, and a market that sells."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from ordercenter.sandbox.app import Sandbox, build
from ordercenter.sandbox.book import Book
from ordercenter.sandbox.seller import SELLER_FILE, load_seller

log = logging.getLogger("ordercenter.sandbox")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ordercenter.sandbox", description="沙箱：各平台、快递与机器人的替身"
    )
    add = parser.add_argument
    env = os.environ.get
    add("--host", default=env("SANDBOX_HOST", "127.0.0.1"))
    add("--port", type=int, default=env("SANDBOX_PORT", "8100"))
    add("--data-dir", type=Path, default=env("SANDBOX_DATA_DIR", "var/sandbox"))
    add("--center", default=env("SANDBOX_CENTER", "http://127.0.0.1:8000"))
    add("--rate", type=float, default=env("SANDBOX_RATE", "0.5"), help="每秒卖出几单，0 为不卖")
    add("--trouble", type=float, default=env("SANDBOX_TROUBLE", "0.12"), help="异常订单占比")
    add("--seed", type=int, default=env("SANDBOX_SEED", "1"))
    add(
        "--crm-database",
        default=env("SANDBOX_CRM_DATABASE", ""),
        help="私域 CRM 表所在的 PostgreSQL（DSN），留空则不建表",
    )
    add("--seller", type=Path, default=env("SANDBOX_SELLER", str(SELLER_FILE)))
    given = parser.parse_args(argv)
    if given.rate < 0 or not 0 <= given.trouble < 0.5:
        parser.error("--rate 不能为负，--trouble 须在 0 与 0.5 之间")
    return given


def listen(host: str, port: int) -> socket.socket:
    """Take the port, or leave with one line that says what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, or asyncio leaves Nagle's algorithm on: 40 ms for every small answer.
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError as error:
        reason = error.strerror or error
        sys.exit(f"沙箱无法监听 {host}:{port}（{reason}）：请停掉占用者，或用 --port 换一个端口")
    return taken


async def serve(sandbox: Sandbox, taken: socket.socket) -> None:
    """Answer, sell and push until told to stop; a part that breaks breaks the whole."""
    server = uvicorn.Server(
        uvicorn.Config(
            sandbox.app,
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=1,
            date_header=False,  # every platform has a clock of its own
        )
    )
    async with asyncio.TaskGroup() as parts:
        running = [parts.create_task(sandbox.market.run())]
        running += [parts.create_task(pusher.run()) for pusher in sandbox.pushers]
        await server.serve(sockets=[taken])
        for task in running:
            task.cancel()


def main(argv: Sequence[str] | None = None) -> None:
    given = arguments(argv)
    taken = listen(given.host, given.port)
    seller = load_seller(given.seller)
    book = Book(seller.shops, given.data_dir)
    sandbox = build(
        book,
        seller,
        center=given.center,
        rate=given.rate,
        trouble=given.trouble,
        seed=given.seed,
        crm_database=given.crm_database,
    )
    sys.stdout.write(f"沙箱平台：http://{given.host}:{given.port}，已有订单 {book.count()} 笔\n")
    sys.stdout.flush()
    try:
        asyncio.run(serve(sandbox, taken))
    except KeyboardInterrupt:
        log.info("stopped")
    finally:
        book.close()


if __name__ == "__main__":
    main()
