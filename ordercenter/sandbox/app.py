"""The sandbox put together: every stand-in around one book, and what runs beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ordercenter.sandbox import wishes
from ordercenter.sandbox.book import Book
from ordercenter.sandbox.couriers import sf
from ordercenter.sandbox.desk import Desk
from ordercenter.sandbox.faults import Faults, FaultyLine
from ordercenter.sandbox.ledger import Ledger
from ordercenter.sandbox.market import Market
from ordercenter.sandbox.platforms import crm, crm_tables, miniprogram
from ordercenter.sandbox.platforms.douyin import gateway as douyin
from ordercenter.sandbox.platforms.douyin import pushing as douyin_pushing
from ordercenter.sandbox.platforms.jd import gateway as jd
from ordercenter.sandbox.platforms.pinduoduo import gateway as pinduoduo
from ordercenter.sandbox.platforms.shopify import admin as shopify
from ordercenter.sandbox.platforms.shopify import webhooks as shopify_webhooks
from ordercenter.sandbox.platforms.taobao import gateway as taobao
from ordercenter.sandbox.platforms.wechat import pushing as wechat_pushing
from ordercenter.sandbox.platforms.wechat import shop as wechat
from ordercenter.sandbox.robots import dingtalk
from ordercenter.sandbox.seller import Seller


class Pusher(Protocol):
    """What a platform sends by itself, until canceled."""

    async def run(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The parts of one running sandbox."""

    app: ASGIApp
    book: Book
    market: Market
    faults: Faults
    pushers: tuple[Pusher, ...]


def build(
    book: Book,
    seller: Seller,
    *,
    center: str,
    rate: float = 0.0,
    trouble: float = 0.0,
    seed: int = 1,
    crm_database: str = "",
) -> Sandbox:
    """Put the stand-ins together around ``book``; nothing runs yet.

    ``crm_database``: where the CRM keeps its tables; empty for nowhere.
    """
    market = Market(book, seller, rate=rate, trouble=trouble, seed=seed)
    faults = Faults()
    courier = seller.couriers[0]
    routes: list[BaseRoute] = [
        *Ledger(book).routes(),
        *Desk(book, market, faults).routes(),
        *wishes.routes(market),
        *sf.routes(book, courier),
        *dingtalk.routes(book, seller.robots),
    ]
    for platform in (taobao, jd, douyin, pinduoduo, shopify, wechat, miniprogram, crm):
        routes += platform.routes(book)
    pushers: tuple[Pusher, ...] = (
        douyin_pushing.Pusher(book, center),
        shopify_webhooks.Pusher(book, center),
        wechat_pushing.Pusher(book, center),
        crm.Pusher(book, center),
        sf.Pusher(book, center, courier),
        *([crm_tables.Tables(book, crm_database, seed=seed)] if crm_database else []),
    )
    app = FaultyLine(Starlette(routes=routes), faults, book)
    return Sandbox(app, book, market, faults, pushers)
