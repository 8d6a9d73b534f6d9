"""The sandbox put together: every stand-in around one book, and what runs beside them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ordercenter.sandbox.book import Book
from ordercenter.sandbox.desk import Desk
from ordercenter.sandbox.faults import Faults, FaultyLine
from ordercenter.sandbox.market import Market
from ordercenter.sandbox.platforms import jd, pinduoduo, taobao
from ordercenter.sandbox.seller import Seller

LATER: Final = (
    "platforms.douyin",
    "platforms.shopify",
    "platforms.miniprogram",
    "couriers.sf",
    "robots.dingtalk",
)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The parts of one running sandbox."""

    app: ASGIApp
    book: Book
    market: Market
    faults: Faults
    pushers: tuple[Any, ...]


def build(
    book: Book,
    seller: Seller,
    *,
    center: str,
    rate: float = 0.0,
    trouble: float = 0.0,
    seed: int = 1,
) -> Sandbox:
    """Put the stand-ins together around ``book``; nothing runs yet."""
    market = Market(book, seller, rate=rate, trouble=trouble, seed=seed)
    faults = Faults()
    routes: list[BaseRoute] = [*Desk(book, market, faults).routes()]
    pushers: list[Any] = []
    for platform in (taobao, jd, pinduoduo):
        routes += platform.routes(book)
    for name in LATER:
        module_name = f"ordercenter.sandbox.{name}"
        if find_spec(module_name.rpartition(".")[0]) is None or find_spec(module_name) is None:
            continue
        module = import_module(module_name)
        routes = [*module.routes(book), *routes]
        if hasattr(module, "Pusher"):
            pushers.append(module.Pusher(book, center))
    app = FaultyLine(Starlette(routes=routes), faults)
    return Sandbox(app, book, market, faults, tuple(pushers))
