"""The demo seller: master data and accounts only. Its orders come over the wire.

``seller.json`` is a data file of the sandbox; this reads it as it would read any export.
Loading twice changes nothing, except that new entries are added.
"""

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from django.contrib.auth.models import Group, User

from channels_sync.models import ShopCredential, SyncCursor
from fulfillment.carriers.account import seal_secrets as seal_carrier
from fulfillment.models import CarrierAccount
from inventory import services as inventory
from inventory.models import StockLevel, VirtualWarehouse, Warehouse, WarehouseAssignment
from ordercenter.catalog.models import (
    Bundle,
    BundlePart,
    GiftStrategy,
    Listing,
    Shop,
    ShopAssignment,
    Sku,
)
from ordercenter.catalog.versions import keep_versions
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.policy import Role
from ordercenter.notices import services as notices
from ordercenter.notices.models import Robot
from ordercenter.pipeline.publishing import telling_stock
from ordercenter.pipeline.schedules import sync_schedules
from risk.lists import ensure_lists
from risk.sets import ensure_default

Seller = Mapping[str, Any]
ACTOR: Final = Actor.job("load_demo")
PEOPLE: Final = (
    (Role.OPERATIONS_SUPERVISOR, "yunying", "周运营"),
    (Role.WAREHOUSE_SUPERVISOR, "zhuguan", "李主管"),
    (Role.CEO, "zongjingli", "陈总"),
    (Role.REVIEWER, "shendan", "孙审单"),
    (Role.CLERK, "kefu", "王客服"),
    (Role.FINANCE, "caiwu", "赵财务"),
    (Role.PICKER, "jianhuo", "钱拣货"),
    (Role.PACKER, "dabao", "吴打包"),
    (Role.IT, "it", "郑工程师"),
    (Role.SCREEN, "daping", "办公室大屏"),
)


@dataclass(frozen=True, slots=True)
class Login:
    """One demo account. The password is told only when the account is made."""

    role: str
    username: str
    password: str


def load(path: Path, *, sandbox_url: str, password: str = "") -> list[Login]:
    """Load the seller; return the demo log-ins."""
    seller: Seller = json.loads(path.read_text(encoding="utf-8"))
    with telling_stock():
        _catalog(seller)
        _warehouses(seller)
        _shops(seller, sandbox_url)
        _partners(seller, sandbox_url)
        ensure_lists()
        ensure_default(ACTOR)
        logins = _people(password)
        sync_schedules()
    return logins


def _catalog(seller: Seller) -> None:
    Sku.objects.bulk_create(
        [
            Sku(
                code=s["code"], name=s["name"], category=s["category"],
                base_price=Decimal(s["base_price"]), weight_grams=s["weight_grams"],
                color_name=s["color_name"], color_hex=s["color_hex"], barcode=s["barcode"],
                is_gift=s["is_gift"],
            )
            for s in seller["skus"]
        ],
        ignore_conflicts=True,
    )  # fmt: skip
    skus = dict(Sku.objects.values_list("code", "pk"))
    for told in seller["bundles"]:
        bundle, _ = Bundle.objects.get_or_create(code=told["code"], defaults={"name": told["name"]})
        for part in told["parts"]:
            BundlePart.objects.get_or_create(
                bundle=bundle, sku_id=skus[part["sku"]], defaults={"quantity": part["quantity"]}
            )
    for told in seller["gift_strategies"]:
        GiftStrategy.objects.get_or_create(
            code=told["code"],
            defaults={
                "name": told["name"], "gift_sku_id": skus[told["gift_sku"]],
                "min_amount": Decimal(told["min_amount"]),
            },
        )  # fmt: skip


def _warehouses(seller: Seller) -> None:
    places: dict[str, int] = {}
    for rank, told in enumerate(seller["warehouses"]):
        warehouse, _ = Warehouse.objects.get_or_create(
            code=told["code"],
            defaults={
                name: told[name]
                for name in ("name", "province", "city", "district", "address", "contact",
                             "phone", "covers")
            } | {"rank": rank},
        )  # fmt: skip
        virtual, _ = VirtualWarehouse.objects.get_or_create(
            code=told["code"].lower(), defaults={"name": told["name"], "warehouse": warehouse}
        )
        places[told["code"]] = virtual.pk
    if StockLevel.objects.exists():
        return
    skus = dict(Sku.objects.values_list("code", "pk"))
    inventory.receive(
        [(places[s["warehouse"]], skus[s["sku"]], s["quantity"]) for s in seller["stock"]],
        actor=ACTOR,
        reason="opening stock",
    )


def _shops(seller: Seller, sandbox_url: str) -> None:
    skus = dict(Sku.objects.values_list("code", "pk"))
    bundles = dict(Bundle.objects.values_list("code", "pk"))
    now = clock_now()
    for told in seller["shops"]:
        shop, _ = Shop.objects.get_or_create(
            code=told["code"],
            defaults={"name": told["name"], "channel": told["channel"],
                      "currency": told["currency"]},
        )  # fmt: skip
        credential = ShopCredential.objects.filter(shop=shop).first() or ShopCredential(shop=shop)
        credential.base_url = sandbox_url + told["base_url"]
        credential.app_key = told["app_key"]
        credential.options = _options(told, sandbox_url)
        credential.set_secrets(
            app_secret=told["app_secret"], access_token=told["access_token"],
            refresh_token=told.get("refresh_token", ""), **told.get("secrets", {}),
        )  # fmt: skip
        credential.save()
        SyncCursor.objects.get_or_create(
            shop=shop,
            defaults={
                "next_due_at": now, "interval_seconds": told["poll_interval_seconds"],
            },
        )  # fmt: skip
        _listings(shop, seller["listings"].get(told["code"], []), skus, bundles)


def _options(told: Seller, sandbox_url: str) -> dict[str, Any]:
    """A shop's options; what it knows by address lies in the sandbox, too."""
    port = sandbox_url.partition("://")[2]
    addresses = {
        name: f"ws://{port}{path}" if name.startswith("message") else sandbox_url + path
        for name, path in told.get("urls", {}).items()
    }
    return {"push_stock": "on", "answer_refunds": "on", **told["options"], **addresses}


def _listings(
    shop: Shop, rows: Sequence[Seller], skus: Mapping[str, int], bundles: Mapping[str, int]
) -> None:
    Listing.objects.bulk_create(
        [
            Listing(
                shop=shop, code_type=row["code_type"], code=row["code"],
                sku_id=skus.get(row.get("sku", "")), bundle_id=bundles.get(row.get("bundle", "")),
            )
            for row in rows
        ],
        ignore_conflicts=True,
    )  # fmt: skip
    fresh = Listing.objects.filter(shop=shop, versions=None)
    keep_versions(
        fresh.values_list("pk", "version", "sku_id", "bundle_id"), actor=ACTOR, reason="demo"
    )


def _partners(seller: Seller, sandbox_url: str) -> None:
    told = (
        seller["couriers"]["sf"] if isinstance(seller["couriers"], dict) else seller["couriers"][0]
    )
    options = {k: str(v) for k, v in told.items() if k in {"monthly_card", "express_type"}}
    # The sandbox's courier stands for a platform's own label service, which knows who is behind
    # the masks; a carrier of one's own does not, and has the receiver opened for each label.
    options["takes_masked"] = "yes"
    CarrierAccount.objects.update_or_create(
        code="sf",
        defaults={
            "name": told["name"], "base_url": sandbox_url + told["base_url"],
            "account": told["partner_id"],
            "sealed": seal_carrier(
                secret=told["checkword"], push_token=told["push_token"]
            ),
            "options": options | {"company": seller["name"]},
        },
    )  # fmt: skip
    told = (
        seller["robots"]["dingtalk"] if isinstance(seller["robots"], dict) else seller["robots"][0]
    )
    Robot.objects.update_or_create(
        code="warehouse",
        defaults={
            "name": told["name"], "kind": Robot.Kind.DINGTALK,
            "base_url": sandbox_url + told["base_url"],
            "sealed": notices.seal_secrets(
                access_token=told["access_token"], secret=told["secret"],
                keyword=told["keyword"],
            ),
        },
    )  # fmt: skip


def _people(password: str) -> list[Login]:
    logins = []
    for role, username, name in PEOPLE:
        user = User.objects.filter(username=username).first()
        if user is None:
            word = password or secrets.token_urlsafe(9)
            user = User.objects.create_user(
                username, password=word, first_name=name,
                is_staff=True,
            )  # fmt: skip
            logins.append(Login(str(role.label), username, word))
        group, _ = Group.objects.get_or_create(name=role.value)
        user.groups.add(group)
        _assign(user, role)
    return logins


def _assign(user: User, role: Role) -> None:
    if role is Role.CLERK:
        for shop in Shop.objects.all():
            ShopAssignment.objects.get_or_create(user=user, shop=shop)
    elif role in {Role.PICKER, Role.PACKER}:
        for warehouse in Warehouse.objects.all():
            WarehouseAssignment.objects.get_or_create(user=user, warehouse=warehouse)


def sandbox_url() -> str:
    port = os.environ.get("SANDBOX_PORT", "8100")
    return os.environ.get("SANDBOX_URL", f"http://127.0.0.1:{port}").rstrip("/")
