"""Where this user's role has something to do: the menus, the admin's side bar, the desk."""

from dataclasses import dataclass
from typing import Any, Final

from django.apps import apps
from django.db.models import Count, Q
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from fulfillment.models import StageTask
from inventory import replenishing
from ordercenter.console.access import grants_roles, may_any
from ordercenter.console.selectors import open_holds
from ordercenter.core.policy import AnyUser, Can, Role, roles_of, sees_all
from ordercenter.orders.states import Disposition, HoldKind, Tier

WORKERS: Final = frozenset(
    {
        Role.CLERK,
        Role.FINANCE,
        Role.PICKER,
        Role.PACKER,
        Role.WAREHOUSE_SUPERVISOR,
        Role.OPERATIONS_SUPERVISOR,
    }
)
"""Who has stage tasks."""
PAPERS: Final = ("inbounds", "transfers", "adjustments", "counts", "stock_sheet")
"""The pages of the papers of the warehouse; one entry of the menu."""

RULES: Final = ("rules", "lists", "exemptions")
"""The pages of the rules and of what they ask; one entry of the menu."""


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of a menu."""

    name: str
    label: str | Promise
    icon: str
    url: str
    is_here: bool = False


# name of the page, label, icon of the admin theme, who has something to do there
_PLACES: Final[tuple[tuple[str, Promise, str, tuple[Can, ...]], ...]] = (
    ("wall", _("审核墙"), "gpp_maybe", (Can.VIEW_ORDERS,)),
    ("intercepts", _("拦截"), "front_hand", (Can.INTERCEPT,)),
    ("work", _("我的任务"), "task_alt", ()),
    ("shortages", _("缺货"), "production_quantity_limits", (Can.WORK_SHORTAGE,)),
    ("addresses", _("改地址"), "edit_location", (Can.EDIT_RECEIVER,)),
    ("scan", _("打包台"), "barcode_scanner", (Can.PACK,)),
    ("find", _("按电话找单"), "person_search", (Can.REVEAL_RECEIVER,)),
    ("approvals", _("冻结审批"), "lock_open", (Can.ASK_TIER3, Can.APPROVE_TIER3)),
    ("rules", _("规则"), "rule", (Can.VIEW_RULES,)),
    ("stock", _("库存"), "inventory_2", (Can.VIEW_STOCK,)),
    ("inbounds", _("仓库作业"), "pallet", (Can.MOVE_STOCK,)),
    ("listings", _("商品匹配"), "link", (Can.EDIT_MAPPING, Can.VIEW_HEALTH)),
    ("goods", _("货品"), "category", (Can.EDIT_MAPPING,)),
    ("gifts", _("赠品"), "redeem", (Can.REVIEW,)),
    ("warroom:board", _("作战看板"), "monitoring", (Can.VIEW_BOARD,)),
    ("warroom:health", _("店铺"), "storefront", (Can.VIEW_HEALTH,)),
    ("reveals", _("明文查看记录"), "visibility", (Can.READ_REVEALS,)),
)


def address_of(name: str) -> str:
    """The address of a page, empty where this installation has no such page."""
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""


def _works(user: AnyUser) -> bool:
    return bool(roles_of(user) & WORKERS)


def places(request: HttpRequest) -> list[Place]:
    """The pages this user can use, in the order of the menu."""
    user = request.user
    found = []
    for name, label, icon, rights in _PLACES:
        url = address_of(name)
        if url and (may_any(user, rights) if rights else _works(user)):
            is_here = _is_here(name, url, request.path)
            found.append(Place(name.rpartition(":")[2], label, icon, url, is_here))
    return found


def _is_here(name: str, url: str, path: str) -> bool:
    """Whether a page belongs to this entry: the papers of the warehouse lie below the stock."""
    if name == "work":
        return path == url
    if name == "rules":
        return any(path.startswith(address_of(page)) for page in RULES)
    on_paper = any(path.startswith(address_of(paper)) for paper in PAPERS)
    if name in {"stock", "inbounds"}:
        return path.startswith(address_of("stock")) and on_paper == (name == "inbounds")
    return path.startswith(url)


def home_of(request: HttpRequest) -> str:
    """Where a user begins: the page with his first duty."""
    roles = roles_of(request.user)
    if Role.CEO in roles:
        return address_of("approvals")
    if roles & {Role.REVIEWER, Role.WAREHOUSE_SUPERVISOR, Role.OPERATIONS_SUPERVISOR}:
        return address_of("wall")
    if roles & {Role.PACKER}:
        return address_of("scan")
    if roles & WORKERS:
        return address_of("work")
    if Role.SCREEN in roles and address_of("warroom:board"):
        return address_of("warroom:board")
    return address_of("admin:index")


# heading and (model, label, icon, who may see it) of the admin's own pages
_ADMIN: Final[tuple[tuple[Promise, tuple[tuple[str, str, tuple[Can, ...]], ...]], ...]] = (
    (
        _("订单"),
        (
            ("orders_salesorder", "receipt_long", (Can.VIEW_ORDERS,)),
            ("orders_orderhold", "block", (Can.VIEW_ORDERS,)),
            ("fulfillment_stagetask", "checklist", (Can.VIEW_ORDERS,)),
            ("fulfillment_parcel", "package_2", (Can.VIEW_ORDERS,)),
            ("fulfillment_waybill", "local_shipping", (Can.VIEW_ORDERS,)),
            ("risk_verdict", "policy", (Can.VIEW_ORDERS,)),
            ("audit_auditrecord", "history", (Can.READ_AUDIT,)),
        ),
    ),
    (
        _("货品与库存"),
        (
            ("catalog_sku", "category", (Can.EDIT_MAPPING,)),
            ("catalog_bundle", "package", (Can.EDIT_MAPPING,)),
            ("catalog_listing", "link", (Can.EDIT_MAPPING,)),
            ("catalog_giftstrategy", "redeem", (Can.EDIT_MAPPING,)),
            ("inventory_stocklevel", "inventory_2", (Can.EDIT_MAPPING, Can.VIEW_HEALTH)),
            ("inventory_reservation", "bookmark", (Can.EDIT_MAPPING, Can.VIEW_HEALTH)),
            ("inventory_stockmovement", "swap_horiz", (Can.EDIT_MAPPING, Can.VIEW_HEALTH)),
            ("inventory_channelquota", "percent", (Can.EDIT_STOCK_POLICY,)),
            ("inventory_stockslice", "lock", (Can.EDIT_STOCK_POLICY,)),
            ("inventory_clawback", "undo", (Can.EDIT_STOCK_POLICY,)),
            ("inventory_safetystock", "shield", (Can.EDIT_STOCK_POLICY,)),
            ("inventory_stockbuffer", "calculate", (Can.EDIT_STOCK_POLICY,)),
            ("inventory_stockpolicy", "tune", (Can.EDIT_STOCK_POLICY,)),
            ("inventory_inbound", "pallet", (Can.VIEW_STOCK,)),
            ("inventory_transfer", "swap_calls", (Can.VIEW_STOCK,)),
            ("inventory_adjustment", "exposure", (Can.VIEW_STOCK,)),
            ("inventory_stockcount", "inventory", (Can.VIEW_STOCK,)),
            ("inventory_stockfile", "upload_file", (Can.VIEW_STOCK,)),
            ("inventory_bin", "shelves", (Can.APPROVE_STOCK,)),
            ("inventory_warehouse", "warehouse", (Can.EDIT_MAPPING,)),
            ("inventory_virtualwarehouse", "domain", (Can.EDIT_MAPPING,)),
        ),
    ),
    (
        _("规则与环节"),
        (
            ("risk_ruleset", "rule", (Can.EDIT_RULES, Can.REVIEW)),
            ("fulfillment_stageclock", "timer", (Can.EDIT_RULES,)),
        ),
    ),
    (
        _("平台与对接"),
        (
            ("catalog_shop", "storefront", (Can.EDIT_SHOPS,)),
            ("channels_sync_carriercode", "pin", (Can.EDIT_SHOPS,)),
            ("channels_sync_fieldmap", "swap_calls", (Can.VIEW_HEALTH, Can.EDIT_SHOPS)),
            ("channels_sync_inboxmessage", "inbox", (Can.VIEW_HEALTH,)),
            ("channels_sync_outboundmessage", "outbox", (Can.VIEW_HEALTH,)),
            ("fulfillment_carrieraccount", "airport_shuttle", (Can.EDIT_SHOPS,)),
            ("notices_robot", "smart_toy", (Can.EDIT_SHOPS,)),
        ),
    ),
    (
        _("人员"),
        (
            ("auth_user", "group", ()),
            ("channels_sync_apitoken", "key", (Can.KEEP_TOKENS,)),
            ("catalog_shopassignment", "assignment_ind", (Can.EDIT_MAPPING,)),
            ("inventory_warehouseassignment", "badge", (Can.EDIT_MAPPING,)),
        ),
    ),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """What the admin theme lists at its side: what this role can use, and nothing else."""
    from_places = [
        {"title": place.label, "icon": place.icon, "link": place.url} for place in places(request)
    ]
    groups: list[dict[str, Any]] = [{"title": _("工作台"), "items": from_places}]
    for heading, models in _ADMIN:
        items = [
            {"title": _title(name), "icon": icon, "link": url}
            for name, icon, rights in models
            if (url := address_of(f"admin:{name}_changelist")) and _may_see(request, rights)
        ]
        groups.append({"title": heading, "separator": True, "items": items})
    return [group for group in groups if group["items"]]


def _may_see(request: HttpRequest, rights: tuple[Can, ...]) -> bool:
    return may_any(request.user, rights) if rights else grants_roles(request.user)


def _title(name: str) -> str:
    app_label, _sep, model = name.rpartition("_")
    return str(apps.get_model(app_label, model)._meta.verbose_name)


def desk(request: HttpRequest) -> dict[str, Any]:
    """The short numbers of the first page, within this user's rights."""
    figures: dict[str, Any] = {"places": places(request), "figures": []}
    if may_any(request.user, (Can.VIEW_ORDERS,)):
        judged = open_holds(request.user).exclude(kind=HoldKind.INTERCEPT)
        counted = judged.aggregate(
            waiting=Count("order_id", distinct=True, filter=Q(disposition=Disposition.WAITING)),
            frozen=Count("order_id", distinct=True, filter=Q(tier=Tier.FREEZE)),
            asked=Count("order_id", distinct=True, filter=Q(disposition=Disposition.ESCALATED)),
        )
        figures["figures"] += [
            (_("待审核订单"), counted["waiting"], address_of("wall"), False),
            (_("三级冻结"), counted["frozen"], address_of("approvals"), counted["frozen"] > 0),
            (_("待总经理批准"), counted["asked"], address_of("approvals"), False),
        ]
    if sees_all(request.user):
        overdue = StageTask.objects.filter(state=StageTask.State.OPEN, due_at__lt=Now()).count()
        figures["figures"].append((_("超时任务"), overdue, address_of("work"), overdue > 0))
    if may_any(request.user, (Can.MOVE_STOCK, Can.EDIT_STOCK_POLICY)):
        low = replenishing.count()
        figures["figures"].append((_("补货待办"), low, address_of("stock_low"), low > 0))
    return figures
