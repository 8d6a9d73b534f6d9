"""N04: a courier's system prints ten thousand labels and tries its token at every order door.

What it may do moves no stock: levels, slices, reservations and the ledger are the same to the
byte before and after, and so are the orders.
"""

import secrets
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import httpx
from django.contrib.auth.models import User
from django.db import connection

from channels_sync.models import ApiToken
from fulfillment.models import Parcel, Stage, StageTask
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import OrderCenterError
from ordercenter.pipeline import stages
from ordercenter.pipeline.drill.center import Center
from ordercenter.pipeline.drill.desk import Desk, Say, wait_for

STOCK: Final = (
    "inventory_stocklevel",
    "inventory_stockslice",
    "inventory_reservation",
    "inventory_stockmovement",
    "inventory_presalepromise",
)
ORDERS: Final = ("orders_salesorder", "orders_orderline", "orders_orderhold")
SHOPS: Final = ("TB01", "DY01", "WX01", "SH01")
PARCELS: Final = 40
LINES: Final = 8
SETTLE: Final = timedelta(minutes=10)
DOORS: Final = (
    ("POST", "/api/orders/"),
    ("POST", "/api/orders/{number}/"),
    ("PUT", "/api/orders/{number}/"),
    ("PATCH", "/api/orders/{number}/"),
    ("POST", "/api/orders/simulate/"),
    ("POST", "/api/stock/reserve/"),
    ("POST", "/api/stock-figures/"),
    ("GET", "/api/orders/"),
    ("POST", "/hooks/douyin/DY01/"),
    ("POST", "/orders/{number}/decide/"),
)
"""Where a simulated order, or a reservation without one, might be tried."""


@dataclass(slots=True)
class Result:
    """What came of it."""

    prints: int = 0
    parcels: int = 0
    calls: int = 0
    seconds: float = 0.0
    printed: dict[str, int] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        refused = all(status.rpartition(" ")[2][0] == "4" for status in self.answered)
        return not self.changed and refused and self.printed == {"200": self.prints}


def rehearse(center: Center, *, prints: int, say: Say) -> Result:
    """Run N04 on a center that is up: so many prints, and as many tries at a door."""
    desk = Desk(center.sandbox)
    placed = [o for shop in SHOPS for o in desk.sell(shop, count=PARCELS // len(SHOPS))]
    # Nobody pays, closes or asks for money back while the sums are compared.
    desk.post("/control/rate", {"rate": 0, "still": True})
    wait_for(placed, at_most=SETTLE, say=say)
    parcels, result = _picked(), Result(prints=prints)
    result.parcels = len(parcels)
    base = f"http://127.0.0.1:{center.port}"
    stock = _sums(STOCK)
    with closing(_bench(base)) as bench:
        for pk in parcels:  # the first print of each is noted on its order
            _print(bench, pk)
        before = _sums(ORDERS)
        say(f"{len(parcels)} 个包裹，开始打印 {prints} 次")
        began = time.monotonic()
        numbers = list(
            Parcel.objects.filter(pk__in=parcels).values_list("order__number", flat=True)
        )
        token = _courier_token()
        with httpx.Client(base_url=base, timeout=60, trust_env=False) as courier:
            courier.headers["Authorization"] = f"Token {token}"

            def once(turn: int) -> tuple[str, str]:
                method, door = DOORS[turn % len(DOORS)]
                path = door.format(number=numbers[turn % len(numbers)])
                answer = courier.request(method, path, json={"sku": "JZ-1001", "quantity": 1})
                printed = _print(bench, parcels[turn % len(parcels)])
                return printed, f"{method} {door} {answer.status_code}"

            with ThreadPoolExecutor(LINES) as crew:
                told = list(crew.map(once, range(prints)))
    result.seconds, result.calls = round(time.monotonic() - began, 1), len(told)
    result.printed = dict(Counter(printed for printed, _ in told))
    result.answered = dict(sorted(Counter(answer for _, answer in told).items()))
    after = _sums(STOCK) | _sums(ORDERS)
    result.changed = [name for name, facts in (stock | before).items() if after[name] != facts]
    result.rows = {name: count for name, (count, _) in after.items()}
    return result


def _picked() -> list[int]:
    """Pick what is to be picked; return the parcels that may have a label."""
    user = User.objects.get(username="zhuguan")
    for pk in StageTask.objects.filter(stage=Stage.PICK, state="open").values_list("pk", flat=True):
        try:
            stages.finish_task(pk, user=user, actor=Actor.person(user))
        except OrderCenterError:
            continue  # held: nothing is printed for it
    return list(
        Parcel.objects.filter(state=Parcel.State.PICKED).order_by("pk").values_list("pk", flat=True)
    )


def _bench(base: str) -> httpx.Client:
    """The packing bench, logged in as the packer."""
    word = secrets.token_urlsafe(16)
    user = User.objects.get(username="dabao")
    user.set_password(word)
    user.save(update_fields=["password"])
    client = httpx.Client(base_url=base, timeout=60, trust_env=False)
    client.get("/admin/login/").raise_for_status()
    form = {
        "username": user.username, "password": word,
        "csrfmiddlewaretoken": client.cookies["csrftoken"], "next": "/work/",
    }  # fmt: skip
    client.post("/admin/login/", data=form)
    client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
    return client


def _print(bench: httpx.Client, parcel: int) -> str:
    """Ask for a parcel's label once more and follow to the page that shows it; the status."""
    return str(bench.post(f"/work/parcels/{parcel}/label/", follow_redirects=True).status_code)


def _courier_token() -> str:
    """A token like the one the courier's system holds: an account without any role or scope."""
    user, _ = User.objects.get_or_create(username="courier-system")
    token = ApiToken(user=user, name="快递系统", created_at=clock_now())
    key = token.mint()
    token.save()
    return key


def _sums(tables: tuple[str, ...]) -> dict[str, tuple[int, str]]:
    """(rows, checksum over all of them) of each table."""
    found: dict[str, tuple[int, str]] = {}
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(
                f"SELECT count(*), coalesce(md5(string_agg(md5(t::text), '' ORDER BY id)), '') "  # noqa: S608 - own names
                f"FROM {table} t"
            )
            count, checksum = cursor.fetchone()
            found[table] = (count, checksum)
    return found
