"""Who may do what, door by door.

The resolver is walked: a door without a row in ``DOORS``, ``ADMIN_DOORS`` or ``MODELS`` fails.
Each row is tried as a stranger, as every role, as a member of staff without one and as a
technical administrator, on real rows, and the whole answer is compared with the table. The
expectations are written out here and not taken from ``core.policy``: two readings of
``reliability.md`` section 10.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection, models, transaction
from django.template.response import SimpleTemplateResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from channels_sync.models import ApiToken, Backfill, CarrierCode, FeedCursor, WarningFeed
from fulfillment.carriers.account import seal_secrets
from fulfillment.models import Parcel, Stage, StageTask
from inventory.models import (
    Adjustment,
    Bin,
    ChannelQuota,
    ClawBack,
    Inbound,
    SafetyStock,
    StockBuffer,
    StockCount,
    StockFile,
    StockPolicy,
    StockSlice,
    Transfer,
)
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.audit.services import record
from ordercenter.catalog.models import Bundle
from ordercenter.core.actor import PIPELINE
from ordercenter.core.policy import Role
from ordercenter.orders.models import Interception, InterceptionPolicy, OrderHold, SalesOrder
from ordercenter.orders.states import Disposition, HoldKind, OrderStatus, Tier
from risk.models import RuleList, RuleListEntry
from tests import factories as make

ANON: Final = "anon"
NO_ROLE: Final = "no role"
ROOT: Final = "superuser"
PEOPLE: Final = (ANON, *(role.value for role in Role), NO_ROLE, ROOT)
"""``ROOT`` is ``is_superuser`` without a role: break-glass, and not above the business."""

SUPERVISORS: Final = {Role.WAREHOUSE_SUPERVISOR, Role.OPERATIONS_SUPERVISOR}
DECIDERS: Final = SUPERVISORS | {Role.REVIEWER, Role.CEO}
OFFICE: Final = DECIDERS | {Role.FINANCE}
SEERS: Final = OFFICE | {Role.CLERK}
EVERYBODY: Final = set(Role)
BOARD: Final = EVERYBODY - {Role.IT, Role.PARTNER}
HEALTH: Final = SUPERVISORS | {Role.IT, Role.CEO}
STOCK_SEERS: Final = DECIDERS | {Role.FINANCE, Role.PICKER, Role.IT}
IT: Final = {Role.IT}
SHORTAGE: Final = SUPERVISORS | {Role.CLERK, Role.REVIEWER}
RULE_SEERS: Final = DECIDERS | {Role.IT}
STOCK: Final = DECIDERS | {Role.FINANCE, Role.PICKER, Role.IT}
INTERCEPTORS: Final = SUPERVISORS | {Role.CEO}
STOP_READERS: Final = SEERS | {Role.PICKER, Role.PACKER}
PROVERS: Final = SUPERVISORS | {Role.CEO}
WORKERS: Final = SUPERVISORS | {Role.CLERK, Role.FINANCE, Role.PICKER, Role.PACKER}

Answers = Mapping[str, int]
BROWSER: Final = Client()
"""One for all: each new one would load the middleware again."""


def answers(
    allowed: set[Role] | frozenset[Role],
    *,
    yes: int = 200,
    no: int = 403,
    anon: int = 302,
    **others: int,
) -> Answers:
    """``yes`` for the allowed roles, ``no`` for all other people but strangers and ``others``."""
    table = dict.fromkeys(PEOPLE, no)
    table |= {role.value: yes for role in allowed}
    table |= {ANON: anon}
    table |= {Role[name.upper()].value: status for name, status in others.items()}
    return table


def all_alike(status: int, **others: int) -> Answers:
    return {person: others.get(person, status) for person in PEOPLE}


@dataclass
class World:
    """One of everything, in the scope of every scoped user."""

    users: dict[str, User] = field(default_factory=dict)
    things: dict[str, Any] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)

    def log_in(self) -> None:
        """Log everybody in, once: it takes as long as most pages."""
        for person, user in self.users.items():
            BROWSER.cookies.clear()
            BROWSER.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
            self.cookies[person] = BROWSER.cookies[settings.SESSION_COOKIE_NAME].value

    def browser_of(self, person: str) -> Client:
        """The browser with the cookies of ``person`` and no others."""
        BROWSER.cookies.clear()
        if person != ANON:
            BROWSER.cookies[settings.SESSION_COOKIE_NAME] = self.cookies[person]
        return BROWSER

    def __getattr__(self, name: str) -> Any:
        try:
            return self.things[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class Door:
    """One way in: how it is tried, and who gets which answer."""

    label: str
    expected: Answers
    path: Callable[[World], str]
    method: str = "get"
    data: Callable[[World], dict[str, Any]] = lambda _world: {}
    extra: Mapping[str, Any] = field(default_factory=dict)


def decide(verb: str, expected: Answers, order: str = "held", **more: Any) -> Door:
    """One decision on the order page, as its form would post it."""

    def data(world: World) -> dict[str, Any]:
        chosen: SalesOrder = world.things[order]
        holds = [hold.pk for hold in chosen.holds.all()]
        facts = {"verb": verb, "version": chosen.version, "hold": holds, "reason": "核实无误放行"}
        return {**facts, **more}

    return Door(
        f"{verb} {order}", expected, lambda w: f"/orders/{w.things[order].number}/decide/",
        "post", data,
    )  # fmt: skip


def reveal(order: str, expected: Answers, scene: str = "service") -> Door:
    """One look at the receiver of an order, as its form would post it."""
    return Door(
        f"{scene} {order}",
        expected,
        lambda w: f"/orders/{w.things[order].number}/reveal/",
        "post",
        lambda _w: {"scene": scene, "reason": "买家来电核对地址"},
    )


def to_a_line(verb: str, expected: Answers, **more: str) -> Door:
    """One thing done to the line of the own shop, as its page would post it."""

    def data(world: World) -> dict[str, Any]:
        facts = {"verb": verb, **more}
        if "backfill" in more:
            facts["backfill"] = world.backfill.pk
        return facts

    return Door(verb, expected, fixed("/shops/own-shop/act/"), "post", data)


def to_the_feed(verb: str, expected: Answers, **more: str) -> Door:
    """One thing done to the warning feed, as its page would post it."""
    return Door(
        verb, expected, fixed("/intercept/feeds/cma/act/"), "post",
        lambda _w: {"verb": verb, **more},
    )  # fmt: skip


def code_of(world: World) -> str:
    """A code of the own shop, as an address names it."""
    return f"shop={world.shop.pk}&type=outer_code&code=NEW-1"


def set_of_one() -> Bundle:
    return make.BundlePartFactory.create().bundle


def on_record(order: SalesOrder) -> SalesOrder:
    """The order with a record of its freeze, as the real path would have left it."""
    with transaction.atomic():
        record(Action.HOLD_OPENED, object_type="order", object_id=order.pk, actor=PIPELINE)
    return order


def fixed(path: str) -> Callable[[World], str]:
    return lambda _world: path


def to_a_paper(kind: str, verb: str, expected: Answers, **more: str) -> Door:
    """One act on a paper of the own warehouse, or of a foreign one."""

    def path(world: World) -> str:
        folder = kind.removeprefix("foreign_")
        page = {"transfer": "transfers", "count": "counts"}.get(folder, folder)
        return f"/stock/{page}/{world.things[kind].pk}/act/"

    return Door(f"{verb} {kind}", expected, path, "post", lambda _w: {"verb": verb, **more})


def of_rules(page: str) -> Callable[[World], str]:
    """A page of the draft set of rules."""
    return lambda world: f"/rules/{world.rule_set.version}/{page}"


AS_JSON: Final = {"content_type": "application/json"}
OWN_TASK: Final = SUPERVISORS | {Role.PICKER}
MOVERS: Final = SUPERVISORS | {Role.PICKER}

DOORS: Final[Mapping[str, tuple[Door, ...]]] = {
    "": (Door("home", answers(EVERYBODY, yes=302, no=302), fixed("/")),),
    "wall/": (
        Door("wall", answers(SEERS), fixed("/wall/")),
        Door("put off", answers(SEERS), fixed("/wall/?place=snoozed&fragment=1")),
    ),
    "wall/next/": (
        Door("get", all_alike(405), fixed("/wall/next/")),
        Door("the next card", answers(DECIDERS, yes=302), fixed("/wall/next/"), "post"),
    ),
    "wall/search/": (
        Door("a number", answers(SEERS, yes=302), fixed("/wall/search/?number=X")),
        Door("nothing", answers(SEERS, yes=302), fixed("/wall/search/")),
    ),
    "wall/bulk/": (
        Door("get", all_alike(405), fixed("/wall/bulk/")),
        Door("nothing ticked", answers(DECIDERS, yes=422), fixed("/wall/bulk/"), "post"),
        Door(
            "one ticked",
            answers(DECIDERS),
            fixed("/wall/bulk/"),
            "post",
            lambda w: {"pick": f"{w.held.number}:{w.held.version}"},
        ),
        Door(
            "released",
            answers(DECIDERS),
            fixed("/wall/bulk/"),
            "post",
            lambda w: {"pick": f"{w.held.number}:{w.held.version}", "verb": "release",
                       "count": 1, "reason": "核实无误放行"},
        ),
        Door(
            "no such verb",
            answers(DECIDERS, yes=404),
            fixed("/wall/bulk/"),
            "post",
            lambda _w: {"verb": "approve"},
        ),
    ),
    "wall/alarms/<int:pk>/seen/": (
        Door("get", all_alike(405), fixed("/wall/alarms/1/seen/")),
        Door("noted", answers(DECIDERS, yes=302), fixed("/wall/alarms/1/seen/"), "post"),
    ),
    "wall/<str:number>/": (
        Door("in scope", answers(SEERS), lambda w: f"/wall/{w.held.number}/"),
        Door("who has it", answers(SEERS), lambda w: f"/wall/{w.held.number}/?fragment=1"),
        Door("out of scope", answers(OFFICE, clerk=404), lambda w: f"/wall/{w.foreign.number}/"),
    ),
    "wall/<str:number>/claim/": (
        Door("get", all_alike(405), lambda w: f"/wall/{w.held.number}/claim/"),
        Door("take", answers(DECIDERS, yes=302), lambda w: f"/wall/{w.held.number}/claim/", "post"),
        Door(
            "no such order",
            answers(DECIDERS, yes=404),
            fixed("/wall/NONE/claim/"),
            "post",
        ),
    ),
    "wall/<str:number>/leave/": (
        Door("get", all_alike(405), lambda w: f"/wall/{w.held.number}/leave/"),
        Door("give", answers(DECIDERS, yes=302), lambda w: f"/wall/{w.held.number}/leave/", "post"),
    ),
    "approvals/": (Door("approvals", answers(DECIDERS), fixed("/approvals/")),),
    "approvals/password/": (
        Door("form", answers({Role.CEO}), fixed("/approvals/password/")),
        Door("wrong", answers({Role.CEO}, yes=422), fixed("/approvals/password/"), "post",
             lambda _w: {"password": "not this one"}),
    ),
    "approvals/delegations/": (
        Door("list", answers({Role.CEO}), fixed("/approvals/delegations/")),
        Door("nobody", answers({Role.CEO}, yes=422), fixed("/approvals/delegations/"), "post"),
    ),
    "approvals/delegations/<int:pk>/end/": (
        Door("get", all_alike(405), fixed("/approvals/delegations/1/end/")),
        Door("none such", answers({Role.CEO}, yes=302), fixed("/approvals/delegations/1/end/"),
             "post"),
    ),
    "orders/<str:number>/": (
        Door("in scope", answers(SEERS), lambda w: f"/orders/{w.held.number}/"),
        Door(
            "out of scope",
            answers(OFFICE, clerk=404),
            lambda w: f"/orders/{w.foreign.number}/",
        ),
    ),
    "orders/<str:number>/decide/": (
        Door("get", all_alike(405), lambda w: f"/orders/{w.held.number}/decide/"),
        decide("release", answers(DECIDERS, yes=302)),
        decide("release", answers({Role.FINANCE}, yes=302), "unpaid"),
        decide("release", answers({Role.CEO}, yes=409), "frozen"),
        decide("return", answers(DECIDERS, yes=302)),
        decide("after_sales", answers(DECIDERS, yes=302)),
        decide("freeze", answers(SEERS, yes=302)),
        decide("freeze", answers(OFFICE, yes=302, clerk=404), "foreign"),
        decide("cancel", answers(DECIDERS, yes=302)),
        decide("ask", answers(DECIDERS, yes=302), "frozen"),
        decide("ask_customer", answers(DECIDERS, yes=302), template="duplicate"),
        decide("trust", answers(SUPERVISORS, yes=422), key="buyer", days="7"),
        decide("snooze", answers(DECIDERS, yes=302), **{"for": "1d"}),
        decide("hold", answers(SEERS, yes=302), ahead="2"),
        decide("hold", answers(OFFICE, yes=302, clerk=404), "foreign", ahead="2"),
        decide("withdraw", answers({Role.REVIEWER}, yes=302, warehouse_supervisor=409,
                                   operations_supervisor=409, ceo=409), "asked"),
        decide("approve", answers({Role.CEO}, yes=302), "asked"),
        decide("refuse", answers({Role.CEO}, yes=302), "asked"),
        decide("approve", answers(set()), "asked_by_ceo"),
        decide("give_gift", answers(DECIDERS, yes=422), gift="no such gift"),
        decide("drop_gift", answers(SUPERVISORS | {Role.CLERK, Role.REVIEWER}, yes=404), line=1),
        decide("no such verb", answers(SEERS, yes=404)),
    ),
    "orders/<str:number>/receiver/": (
        Door(
            "edit",
            answers(SUPERVISORS | {Role.CLERK, Role.REVIEWER}, yes=302),
            lambda w: f"/orders/{w.held.number}/receiver/",
            "post",
            lambda w: {"version": w.held.version, "name": "李四"},
        ),
    ),
    "orders/<str:number>/balance/": (
        Door("form", answers(SHORTAGE), lambda w: f"/orders/{w.held.number}/balance/"),
        Door("out of scope", answers(SHORTAGE, clerk=404),
             lambda w: f"/orders/{w.foreign.number}/balance/"),
        Door("no such order", answers(SHORTAGE, yes=404),
             lambda w: f"/orders/{w.held.number}/balance/", "post",
             lambda w: {"other": "NONE", "version": w.held.version, "reason": "平台写明的预售"}),
    ),
    "orders/<str:number>/balance/undo/": (
        Door("get", all_alike(405), lambda w: f"/orders/{w.held.number}/balance/undo/"),
        Door("not tied", answers(SHORTAGE, yes=422),
             lambda w: f"/orders/{w.held.number}/balance/undo/", "post",
             lambda w: {"version": w.held.version, "reason": "关联错了订单"}),
    ),
    "orders/<str:number>/memo/": (
        Door(
            "note",
            answers(SUPERVISORS | {Role.CLERK, Role.REVIEWER}, yes=302),
            lambda w: f"/orders/{w.held.number}/memo/",
            "post",
            lambda w: {"version": w.held.version, "text": "送到前台"},
        ),
        Door(
            "out of scope",
            answers(SUPERVISORS | {Role.REVIEWER}, yes=302, clerk=404),
            lambda w: f"/orders/{w.foreign.number}/memo/",
            "post",
            lambda w: {"version": w.foreign.version, "text": "送到前台"},
        ),
    ),
    "orders/<str:number>/proof/": (
        Door("get", all_alike(405), lambda w: f"/orders/{w.frozen.number}/proof/"),
        Door(
            "of a frozen order",
            answers(PROVERS),
            lambda w: f"/orders/{on_record(w.frozen).number}/proof/",
            "post",
            lambda _w: {"kind": "json"},
        ),
        Door(
            "never frozen",
            answers(PROVERS, yes=422),
            lambda w: f"/orders/{w.held.number}/proof/",
            "post",
            lambda _w: {"kind": "json"},
        ),
        Door(
            "no such kind",
            answers(PROVERS, yes=404),
            lambda w: f"/orders/{w.frozen.number}/proof/",
            "post",
            lambda _w: {"kind": "exe"},
        ),
    ),
    "orders/<str:number>/reveal/": (
        Door("get", all_alike(405), lambda w: f"/orders/{w.held.number}/reveal/"),
        reveal("held", answers(DECIDERS | {Role.CLERK})),
        reveal("foreign", answers(DECIDERS, clerk=404)),
        reveal("held", answers(DECIDERS | {Role.CLERK}, yes=422), scene="label"),
    ),
    "orders/<str:number>/restrict/": (
        Door(
            "an open order",
            answers({Role.OPERATIONS_SUPERVISOR, Role.CEO}, yes=409),
            lambda w: f"/orders/{w.held.number}/restrict/",
            "post",
            lambda _w: {"reason": "买家要求删除个人信息"},
        ),
    ),
    "rules/": (Door("live set", answers(RULE_SEERS), fixed("/rules/")),),
    "rules/new/": (
        Door("get", all_alike(405), fixed("/rules/new/")),
        Door("draft", answers(SUPERVISORS, yes=302), fixed("/rules/new/"), "post"),
        Door("of no set", answers(SUPERVISORS, yes=404), fixed("/rules/new/"), "post",
             lambda _w: {"based_on": "987"}),
    ),
    "rules/import/": (
        Door("page", answers(SUPERVISORS), fixed("/rules/import/")),
        Door("no file", answers(SUPERVISORS, yes=422), fixed("/rules/import/"), "post"),
        Door("nothing seen", answers(SUPERVISORS, yes=422), fixed("/rules/import/"), "post",
             lambda _w: {"verb": "draft", "plan": "x"}),
    ),
    "rules/proposals/": (Door("proposals", answers(RULE_SEERS), fixed("/rules/proposals/")),),
    "rules/proposals/<int:pk>/": (
        Door("get", all_alike(405), fixed("/rules/proposals/1/")),
        Door("no such verb", answers(SUPERVISORS, yes=404), fixed("/rules/proposals/1/"), "post"),
        Door("take none", answers(SUPERVISORS, yes=404), fixed("/rules/proposals/987/"), "post",
             lambda _w: {"verb": "take"}),
        Door("refuse none", answers(SUPERVISORS, yes=404), fixed("/rules/proposals/987/"), "post",
             lambda _w: {"verb": "refuse", "reason": "只在大促期间成立"}),
    ),
    "rules/<int:version>/": (
        Door("page", answers(RULE_SEERS), of_rules("")),
        Door("no such set", answers(RULE_SEERS, yes=404), fixed("/rules/99999999999/")),
    ),
    "rules/<int:version>/rules.json": (
        Door("file", answers(RULE_SEERS), of_rules("rules.json")),
        Door("no such set", answers(RULE_SEERS, yes=404), fixed("/rules/987/rules.json")),
    ),
    "rules/<int:version>/return/": (
        Door("get", all_alike(405), of_rules("return/")),
        Door("a draft", answers(SUPERVISORS, yes=409), of_rules("return/"), "post"),
    ),
    "rules/<int:version>/edit/": (
        Door("page", answers(SUPERVISORS), of_rules("edit/")),
        Door("stale", answers(SUPERVISORS, yes=409), of_rules("edit/"), "post",
             lambda _w: {"verb": "commit", "edits": "77"}),
        Door("no such verb", answers(SUPERVISORS, yes=404), of_rules("edit/"), "post"),
    ),
    "rules/<int:version>/add/": (
        Door("form", answers(SUPERVISORS), of_rules("add/")),
        Door("empty", answers(SUPERVISORS, yes=422), of_rules("add/"), "post",
             lambda _w: {"verb": "save", "edits": "0"}),
    ),
    "rules/<int:version>/edit/<str:code>/": (
        Door("form", answers(SUPERVISORS), of_rules("edit/no_rule/")),
        Door("no such verb", answers(SUPERVISORS, yes=404), of_rules("edit/no_rule/"), "post"),
    ),
    "rules/<int:version>/look/": (
        Door("get", all_alike(405), of_rules("look/")),
        Door("unfinished", answers(SUPERVISORS), of_rules("look/"), "post",
             lambda _w: {"verb": "count"}),
    ),
    "rules/<int:version>/report/": (
        Door("page", answers(RULE_SEERS), of_rules("report/")),
        Door("progress", answers(RULE_SEERS), of_rules("report/?fragment=progress")),
    ),
    "rules/<int:version>/report/act/": (
        Door("get", all_alike(405), of_rules("report/act/")),
        Door("backtest", answers(SUPERVISORS, yes=302), of_rules("report/act/"), "post",
             lambda _w: {"verb": "backtest", "days": "1"}),
        Door("activate a draft", answers(SUPERVISORS, yes=409), of_rules("report/act/"), "post",
             lambda _w: {"verb": "activate"}),
        Door("approve a draft", answers(SUPERVISORS | {Role.CEO}, yes=409),
             of_rules("report/act/"), "post", lambda _w: {"verb": "approve"}),
        Door("refuse a draft", answers(SUPERVISORS | {Role.CEO}, yes=409),
             of_rules("report/act/"), "post", lambda _w: {"verb": "refuse", "reason": "先不启用"}),
        Door("try a draft", answers(SUPERVISORS, yes=409), of_rules("report/act/"), "post",
             lambda _w: {"verb": "shadow"}),
        Door("end no trial", answers(SUPERVISORS, yes=302), of_rules("report/act/"), "post",
             lambda _w: {"verb": "unshadow"}),
        Door("label nothing", answers(SUPERVISORS, yes=422), of_rules("report/act/"), "post",
             lambda _w: {"verb": "label", "label": "right"}),
        Door("no such verb", answers(SUPERVISORS | {Role.CEO}, yes=404),
             of_rules("report/act/"), "post"),
    ),
    "lists/": (
        Door("all", answers(RULE_SEERS), fixed("/lists/")),
        Door("make", answers(SUPERVISORS, yes=302), fixed("/lists/"), "post",
             lambda _w: {"code": "vip", "name": "老客户", "kind": "trusted", "key": "phone"}),
    ),
    "lists/<slug:code>/": (
        Door("entries", answers(RULE_SEERS), lambda w: f"/lists/{w.rule_list.code}/"),
        Door("no such list", answers(RULE_SEERS, yes=404), fixed("/lists/none/")),
        Door("put on", answers(SUPERVISORS, yes=302), lambda w: f"/lists/{w.rule_list.code}/",
             "post", lambda _w: {"text": "13812345678", "reason": "恶意退款"}),
    ),
    "lists/<slug:code>/<int:pk>/remove/": (
        Door("get", all_alike(405), fixed("/lists/none/1/remove/")),
        Door("take off", answers(SUPERVISORS, yes=302),
             lambda w: f"/lists/{w.rule_list.code}/{w.rule_list.entries.get().pk}/remove/", "post",
             lambda _w: {"reason": "核实后为误报"}),
        Door("of another list", answers(SUPERVISORS, yes=404),
             lambda w: f"/lists/none/{w.rule_list.entries.get().pk}/remove/", "post"),
    ),
    "exemptions/": (
        Door("all", answers(RULE_SEERS), fixed("/exemptions/")),
        Door("of no order", answers(SUPERVISORS, yes=404), fixed("/exemptions/"), "post"),
    ),
    "exemptions/<int:pk>/end/": (
        Door("get", all_alike(405), fixed("/exemptions/1/end/")),
        Door("of none", answers(SUPERVISORS, yes=404), fixed("/exemptions/1/end/"), "post",
             lambda _w: {"reason": "近期多次退款"}),
    ),
    "gifts/": (
        Door("strategies", answers(SEERS), fixed("/gifts/")),
        Door("on an order", answers(SEERS), lambda w: f"/gifts/?order={w.held.number}"),
        Door("on no order", answers(SEERS), fixed("/gifts/?order=nothing")),
    ),
    "reveals/": (Door("log of looks", answers(SUPERVISORS | {Role.CEO}), fixed("/reveals/")),),
    "find/": (
        Door("form", answers(DECIDERS | {Role.CLERK}), fixed("/find/")),
        Door(
            "search",
            answers(DECIDERS | {Role.CLERK}),
            fixed("/find/"),
            "post",
            lambda _w: {"phone": "13800138000", "reason": "买家来电查询订单"},
        ),
    ),
    "addresses/": (
        Door(
            "wishes", answers(SUPERVISORS | {Role.CLERK, Role.REVIEWER}), fixed("/addresses/")
        ),
    ),
    "addresses/<int:pk>/answer/": (
        Door(
            "refuse",
            answers(SUPERVISORS | {Role.CLERK, Role.REVIEWER}, yes=302),
            lambda w: f"/addresses/{w.wish.pk}/answer/",
            "post",
            lambda _w: {"verb": "refuse", "reason": "包裹已打包"},
        ),
        Door(
            "of a foreign order",
            answers(SUPERVISORS | {Role.REVIEWER}, yes=302, clerk=404),
            lambda w: f"/addresses/{w.foreign_wish.pk}/answer/",
            "post",
            lambda _w: {"verb": "approve"},
        ),
    ),
    "shortages/": (
        Door("queue", answers(SHORTAGE), fixed("/shortages/")),
        Door("balances", answers(SHORTAGE), fixed("/shortages/?state=balance&fragment=1")),
    ),
    "shortages/bulk/": (
        Door("one SKU", answers(SHORTAGE), fixed("/shortages/bulk/?sku=JZ-1001")),
        Door(
            "nothing ticked",
            answers(SHORTAGE, yes=422),
            fixed("/shortages/bulk/"),
            "post",
            lambda _w: {"sku": "JZ-1001", "verb": "wait"},
        ),
    ),
    "shortages/<str:number>/": (
        Door("in scope", answers(SHORTAGE), lambda w: f"/shortages/{w.held.number}/"),
        Door(
            "out of scope",
            answers(SHORTAGE - {Role.CLERK}, clerk=404),
            lambda w: f"/shortages/{w.foreign.number}/",
        ),
    ),
    "shortages/<str:number>/act/": (
        Door(
            "of an order that is not short",
            answers(SHORTAGE, yes=409),
            lambda w: f"/shortages/{w.held.number}/act/",
            "post",
            lambda w: {"verb": "retry", "version": w.held.version},
        ),
        Door(
            "out of scope",
            answers(SHORTAGE - {Role.CLERK}, yes=409, clerk=404),
            lambda w: f"/shortages/{w.foreign.number}/act/",
            "post",
            lambda w: {"verb": "wait", "version": w.foreign.version},
        ),
    ),
    "intercept/": (
        Door("box", answers(STOP_READERS), fixed("/intercept/")),
        Door("with a command", answers(STOP_READERS), fixed("/intercept/?q=江苏停发")),
        Door("running", answers(STOP_READERS), fixed("/intercept/?fragment=1")),
    ),
    "intercept/parse/": (
        Door("read", answers(INTERCEPTORS), fixed("/intercept/parse/?q=江苏停发")),
    ),
    "intercept/start/": (
        Door("get", all_alike(405), fixed("/intercept/start/")),
        Door("nothing seen", answers(INTERCEPTORS, yes=422), fixed("/intercept/start/"), "post"),
    ),
    "intercept/banner/": (Door("lines", answers(STOP_READERS), fixed("/intercept/banner/")),),
    "intercept/history/": (Door("over", answers(SEERS), fixed("/intercept/history/")),),
    "intercept/policy/": (
        Door("limits", answers(INTERCEPTORS), fixed("/intercept/policy/")),
        Door(
            "change",
            answers({Role.CEO}, yes=302),
            fixed("/intercept/policy/"),
            "post",
            lambda _w: {"most_orders": "1", "most_value": "1", "call_back_hours": "0",
                        "reason": "旺季收紧界限"},
        ),
    ),
    "intercept/feeds/": (
        Door("list", answers(INTERCEPTORS | IT), fixed("/intercept/feeds/")),
        Door("make", answers(IT), fixed("/intercept/feeds/"), "post",
             lambda _w: {"code": "new", "name": "气象台", "kind": "weather"}),
    ),
    "intercept/feeds/<slug:code>/act/": (
        Door("get", all_alike(405), fixed("/intercept/feeds/cma/act/")),
        to_the_feed("rotate", answers(IT)),
        to_the_feed("switch", answers(IT, yes=302), to="off"),
        to_the_feed("decide", answers({Role.CEO}, yes=302), policy="start", level="4"),
        to_the_feed("upload", answers(INTERCEPTORS, yes=422)),
        to_the_feed("no such verb", answers(INTERCEPTORS | IT, yes=404)),
    ),
    "intercept/<int:pk>/": (
        Door("one", answers(SEERS), lambda w: f"/intercept/{w.stop.pk}/?place=held"),
        Door("none", answers(SEERS, yes=404), fixed("/intercept/0/")),
    ),
    "intercept/<int:pk>/act/": (
        Door("get", all_alike(405), lambda w: f"/intercept/{w.stop.pk}/act/"),
        Door("refuse", answers(INTERCEPTORS, yes=302), lambda w: f"/intercept/{w.stop.pk}/act/",
             "post", lambda _w: {"verb": "refuse", "reason": "天气已经转好"}),
        Door("no such verb", answers(INTERCEPTORS, yes=404),
             lambda w: f"/intercept/{w.stop.pk}/act/", "post"),
    ),
    "intercept/<int:pk>/orders.csv": (
        Door("report", answers(SEERS), lambda w: f"/intercept/{w.stop.pk}/orders.csv"),
    ),
    "intercept/<int:pk>/<str:number>/": (
        Door("in scope", answers(SEERS), lambda w: f"/intercept/{w.stop.pk}/{w.held.number}/"),
        Door("out of scope", answers(OFFICE, clerk=404),
             lambda w: f"/intercept/{w.stop.pk}/{w.foreign.number}/"),
    ),
    "listings/": (
        Door("queue", answers(HEALTH), fixed("/listings/")),
        Door("progress", answers(HEALTH), fixed("/listings/?fragment=going&of=3")),
    ),
    "listings/accept/": (
        Door("get", all_alike(405), fixed("/listings/accept/")),
        Door("nothing ticked", answers(SUPERVISORS, yes=422), fixed("/listings/accept/"), "post"),
    ),
    "listings/map/": (
        Door("which code", answers(HEALTH), fixed("/listings/map/")),
        Door("a code", answers(HEALTH), lambda w: f"/listings/map/?{code_of(w)}"),
        Door("no such shop", answers(HEALTH, yes=404), fixed("/listings/map/?code=1&shop=0")),
        Door(
            "map",
            answers(SUPERVISORS, yes=302),
            fixed("/listings/map/"),
            "post",
            lambda w: {"shop": w.shop.pk, "type": "outer_code", "code": "NEW-1",
                       "to": f"sku:{make.SkuFactory.create().pk}", "version": "0"},
        ),
    ),
    "listings/sheet/": (
        Door("page", answers(SUPERVISORS), fixed("/listings/sheet/")),
        Door("no file", answers(SUPERVISORS, yes=422), fixed("/listings/sheet/"), "post"),
    ),
    "listings/sheet/apply/": (
        Door("nothing seen", answers(SUPERVISORS, yes=422), fixed("/listings/sheet/apply/"),
             "post"),
    ),
    "listings/sheet/queue.<slug:kind>": (
        Door("excel", answers(SUPERVISORS), fixed("/listings/sheet/queue.xlsx")),
        Door("csv", answers(SUPERVISORS), fixed("/listings/sheet/queue.csv")),
        Door("no such kind", answers(SUPERVISORS, yes=404), fixed("/listings/sheet/queue.exe")),
    ),
    "stock/": (
        Door("page", answers(STOCK), fixed("/stock/")),
        Door("fragment", answers(STOCK), fixed("/stock/?fragment=1")),
    ),
    "stock/export.<slug:kind>": (
        Door("csv", answers(STOCK), fixed("/stock/export.csv")),
        Door("no such kind", answers(STOCK, yes=404), fixed("/stock/export.exe")),
    ),
    "stock/low/": (Door("to-dos", answers(STOCK), fixed("/stock/low/")),),
    "stock/low/<int:sku_id>/snooze/": (
        Door("get", all_alike(405), fixed("/stock/low/1/snooze/")),
        Door(
            "put off",
            answers(SUPERVISORS, yes=302),
            lambda _w: f"/stock/low/{make.SkuFactory.create().pk}/snooze/",
            "post",
            lambda _w: {"days": "7"},
        ),
    ),
    "stock/proof/": (Door("page", answers(STOCK), fixed("/stock/proof/")),),
    "stock/<int:sku_id>/": (
        Door("page", answers(STOCK), lambda _w: f"/stock/{make.SkuFactory.create().pk}/"),
        Door("no such SKU", answers(STOCK, yes=404), fixed("/stock/999999999/")),
    ),
    "stock/inbound/": (
        Door("to come", answers(MOVERS), fixed("/stock/inbound/")),
        Door("all", answers(MOVERS), fixed("/stock/inbound/?state=all&page=x")),
    ),
    "stock/inbound/new/": (
        Door("form", answers(MOVERS), fixed("/stock/inbound/new/?sku=A&units=3")),
        Door(
            "announce",
            answers(MOVERS, yes=302),
            fixed("/stock/inbound/new/"),
            "post",
            lambda w: {"room": w.room.pk, "goods": f"{w.good.code} 3", "expected": "2026-12-01"},
        ),
        Door(
            "announce elsewhere",
            answers(SUPERVISORS, yes=302, picker=404),
            fixed("/stock/inbound/new/"),
            "post",
            lambda w: {"room": w.foreign_room.pk, "goods": w.good.code, "expected": "2026-12-01"},
        ),
    ),
    "stock/inbound/<int:pk>/": (
        Door("own", answers(MOVERS), lambda w: f"/stock/inbound/{w.inbound.pk}/"),
        Door(
            "foreign",
            answers(SUPERVISORS, picker=404),
            lambda w: f"/stock/inbound/{w.foreign_inbound.pk}/",
        ),
    ),
    "stock/inbound/<int:pk>/act/": (
        Door("get", all_alike(405), lambda w: f"/stock/inbound/{w.inbound.pk}/act/"),
        to_a_paper("inbound", "receive", answers(MOVERS, yes=422)),
        to_a_paper("inbound", "close", answers(MOVERS, yes=302), reason="不来了"),
        to_a_paper("foreign_inbound", "close", answers(SUPERVISORS, yes=302, picker=404),
                   reason="不来了"),
        to_a_paper("inbound", "no such verb", answers(MOVERS, yes=404)),
    ),
    "stock/transfers/": (
        Door("open", answers(MOVERS), fixed("/stock/transfers/")),
        Door("all", answers(MOVERS), fixed("/stock/transfers/?state=all")),
    ),
    "stock/transfers/new/": (
        Door("form", answers(MOVERS), fixed("/stock/transfers/new/")),
        Door(
            "draft",
            answers(MOVERS, yes=302),
            fixed("/stock/transfers/new/"),
            "post",
            lambda w: {"source": w.room.pk, "target": w.foreign_room.pk, "goods": w.good.code},
        ),
        Door(
            "to itself",
            answers(MOVERS, yes=422),
            fixed("/stock/transfers/new/"),
            "post",
            lambda w: {"source": w.room.pk, "target": w.room.pk, "goods": w.good.code},
        ),
    ),
    "stock/transfers/<int:pk>/": (
        Door("own", answers(MOVERS), lambda w: f"/stock/transfers/{w.transfer.pk}/"),
        Door(
            "foreign",
            answers(SUPERVISORS, picker=404),
            lambda w: f"/stock/transfers/{w.foreign_transfer.pk}/",
        ),
    ),
    "stock/transfers/<int:pk>/act/": (
        Door("get", all_alike(405), lambda w: f"/stock/transfers/{w.transfer.pk}/act/"),
        to_a_paper("transfer", "send", answers(MOVERS, yes=409)),
        to_a_paper("transfer", "cancel", answers(MOVERS, yes=302)),
        to_a_paper("foreign_transfer", "cancel", answers(SUPERVISORS, yes=302, picker=404)),
        to_a_paper("transfer", "no such verb", answers(MOVERS, yes=404)),
    ),
    "stock/adjust/": (
        Door("page", answers(MOVERS), fixed("/stock/adjust/")),
        Door("nothing chosen", answers(MOVERS, yes=422), fixed("/stock/adjust/"), "post"),
        Door(
            "found one",
            answers(MOVERS, yes=302),
            fixed("/stock/adjust/"),
            "post",
            lambda w: {"room": w.room.pk, "sku": w.good.code, "kind": "found", "units": "1",
                       "reason": "退回上架"},
        ),
    ),
    "stock/adjust/<int:pk>/decide/": (
        Door(
            "agree",
            answers(SUPERVISORS, yes=302),
            lambda w: f"/stock/adjust/{w.adjustment.pk}/decide/",
            "post",
            lambda _w: {"verb": "agree"},
        ),
        Door(
            "no such verb",
            answers(SUPERVISORS, yes=404),
            lambda w: f"/stock/adjust/{w.adjustment.pk}/decide/",
            "post",
        ),
    ),
    "stock/counts/": (Door("page", answers(MOVERS), fixed("/stock/counts/?days=90")),),
    "stock/counts/new/": (
        Door("form", answers(MOVERS), fixed("/stock/counts/new/")),
        Door(
            "begin",
            answers(MOVERS, yes=302),
            fixed("/stock/counts/new/"),
            "post",
            lambda w: {"room": w.room.pk, "goods": w.good.code},
        ),
    ),
    "stock/counts/<int:pk>/": (
        Door("own", answers(MOVERS), lambda w: f"/stock/counts/{w.count.pk}/"),
        Door("differences", answers(MOVERS), lambda w: f"/stock/counts/{w.count.pk}/?compare=1"),
        Door("no such code", answers(MOVERS, yes=422),
             lambda w: f"/stock/counts/{w.count.pk}/?code=NOTHING"),
        Door(
            "foreign",
            answers(SUPERVISORS, picker=404),
            lambda w: f"/stock/counts/{w.foreign_count.pk}/",
        ),
    ),
    "stock/counts/<int:pk>/act/": (
        Door("get", all_alike(405), lambda w: f"/stock/counts/{w.count.pk}/act/"),
        to_a_paper("count", "submit", answers(MOVERS, yes=422)),
        to_a_paper("count", "approve", answers(SUPERVISORS, yes=409)),
        to_a_paper("count", "cancel", answers(MOVERS, yes=302), reason="改期再盘"),
        to_a_paper("foreign_count", "cancel", answers(SUPERVISORS, yes=302, picker=404),
                   reason="改期再盘"),
        to_a_paper("count", "no such verb", answers(MOVERS, yes=404)),
    ),
    "goods/": (Door("list", answers(SUPERVISORS), fixed("/goods/?q=1&gap=cost")),),
    "goods/bundles/": (Door("list", answers(SUPERVISORS), fixed("/goods/bundles/")),),
    "goods/bundles/<int:pk>/": (
        Door("page", answers(SUPERVISORS), lambda _w: f"/goods/bundles/{set_of_one().pk}/"),
        Door("no such bundle", answers(SUPERVISORS, yes=404), fixed("/goods/bundles/0/")),
        Door("nothing seen", answers(SUPERVISORS, yes=422),
             lambda _w: f"/goods/bundles/{set_of_one().pk}/", "post", lambda _w: {"verb": "save"}),
    ),
    "goods/merge/": (
        Door("page", answers(SUPERVISORS), fixed("/goods/merge/")),
        Door("no such SKU", answers(SUPERVISORS, yes=422), fixed("/goods/merge/?old=x&kept=y")),
        Door("merge", answers(SUPERVISORS, yes=302), fixed("/goods/merge/"), "post",
             lambda _w: {"old": make.SkuFactory.create().code, "reason": "同一货品建了两次",
                         "kept": make.SkuFactory.create().code}),
    ),
    "goods/sheet/": (
        Door("page", answers(SUPERVISORS), fixed("/goods/sheet/")),
        Door("no file", answers(SUPERVISORS, yes=422), fixed("/goods/sheet/"), "post"),
    ),
    "goods/sheet/apply/": (
        Door("nothing seen", answers(SUPERVISORS, yes=422), fixed("/goods/sheet/apply/"), "post"),
    ),
    "goods/sheet/<slug:what>.<slug:kind>": (
        Door("excel", answers(SUPERVISORS), fixed("/goods/sheet/skus.xlsx")),
        Door("csv", answers(SUPERVISORS), fixed("/goods/sheet/bundles.csv")),
        Door("no such kind", answers(SUPERVISORS, yes=404), fixed("/goods/sheet/skus.exe")),
    ),
    "stock/sheet/": (
        Door("page", answers(MOVERS), fixed("/stock/sheet/")),
        Door("no file", answers(MOVERS, yes=422), fixed("/stock/sheet/"), "post",
             lambda w: {"room": w.room.pk, "as_of": "2026-11-01T10:00"}),
        Door("elsewhere", answers(SUPERVISORS, yes=422, picker=404), fixed("/stock/sheet/"), "post",
             lambda w: {"room": w.foreign_room.pk, "as_of": "2026-11-01T10:00"}),
    ),
    "stock/sheet/apply/": (
        Door("nothing seen", answers(MOVERS, yes=422), fixed("/stock/sheet/apply/"), "post"),
    ),
    "stock/sheet/stock.<slug:kind>": (
        Door("excel", answers(MOVERS), lambda w: f"/stock/sheet/stock.xlsx?room={w.room.pk}"),
        Door("csv", answers(MOVERS), lambda w: f"/stock/sheet/stock.csv?room={w.room.pk}"),
        Door("no such kind", answers(MOVERS, yes=404), fixed("/stock/sheet/stock.exe")),
        Door("elsewhere", answers(SUPERVISORS, picker=404),
             lambda w: f"/stock/sheet/stock.csv?room={w.foreign_room.pk}"),
    ),
    "work/": (Door("my tasks", answers(WORKERS, no=404), fixed("/work/")),),
    "work/<int:pk>/": (
        Door("own", answers(OWN_TASK, no=404), lambda w: f"/work/{w.pick.pk}/"),
        Door(
            "of another warehouse",
            answers(SUPERVISORS, no=404),
            lambda w: f"/work/{w.foreign_pick.pk}/",
        ),
    ),
    "work/<int:pk>/claim/": (
        Door(
            "own", answers(OWN_TASK, yes=302, no=404), lambda w: f"/work/{w.pick.pk}/claim/", "post"
        ),
    ),
    "work/<int:pk>/done/": (
        Door(
            "own", answers(OWN_TASK, yes=302, no=404), lambda w: f"/work/{w.pick.pk}/done/", "post"
        ),
    ),
    "work/scan/": (
        Door("bench", answers(SUPERVISORS | {Role.PACKER}), fixed("/work/scan/")),
    ),
    "work/parcels/<int:pk>/label/": (
        Door(
            "label",
            answers(SUPERVISORS | {Role.PACKER}, yes=302),
            lambda w: f"/work/parcels/{w.parcel.pk}/label/",
            "post",
        ),
        Door(
            "label of a held order",
            answers(SUPERVISORS | {Role.PACKER}, yes=409),
            lambda w: f"/work/parcels/{w.held_parcel.pk}/label/",
            "post",
        ),
        Door(
            "label in another warehouse",
            answers(SUPERVISORS, yes=302, packer=404),
            lambda w: f"/work/parcels/{w.foreign_parcel.pk}/label/",
            "post",
        ),
    ),
    "work/parcels/<int:pk>/reprint/": (
        Door(
            "no reason",
            answers(SUPERVISORS | {Role.PACKER}, yes=422),
            lambda w: f"/work/parcels/{w.parcel.pk}/reprint/",
            "post",
        ),
        Door(
            "of a held order",
            answers(SUPERVISORS | {Role.PACKER}, yes=409),
            lambda w: f"/work/parcels/{w.held_parcel.pk}/reprint/",
            "post",
            lambda _w: {"why": "torn"},
        ),
        Door(
            "in another warehouse",
            answers(SUPERVISORS, yes=422, packer=404),
            lambda w: f"/work/parcels/{w.foreign_parcel.pk}/reprint/",
            "post",
        ),
    ),
    "work/parcels/<int:pk>/caught/": (
        Door(
            "no refund, nothing to catch",
            answers(SUPERVISORS | {Role.PACKER}, yes=409),
            lambda w: f"/work/parcels/{w.parcel.pk}/caught/",
            "post",
        ),
        Door(
            "in another warehouse",
            answers(SUPERVISORS, yes=409, packer=404),
            lambda w: f"/work/parcels/{w.foreign_parcel.pk}/caught/",
            "post",
        ),
    ),
    "work/parcels/<int:pk>/ship/": (
        Door(
            "ship",
            answers(SUPERVISORS | {Role.PACKER}, yes=302),
            lambda w: f"/work/parcels/{w.parcel.pk}/ship/",
            "post",
            lambda w: {"tracking_number": w.waybill.number},
        ),
    ),
    "board/": (
        Door("page", answers(BOARD), fixed("/board/")),
        Door("fragment", answers(BOARD), fixed("/board/?fragment=1")),
    ),
    "shops/": (Door("health", answers(HEALTH), fixed("/shops/")),),
    "shops/outbox/": (Door("dead letters", answers(HEALTH), fixed("/shops/outbox/")),),
    "shops/outbox/act/": (
        Door(
            "resend",
            answers(SUPERVISORS, yes=302),
            fixed("/shops/outbox/act/"),
            "post",
            lambda w: {"verb": "resend", "message": w.letter.pk, "reason": "平台已恢复，重新发送"},
        ),
        Door(
            "settle",
            answers(SUPERVISORS, yes=302),
            fixed("/shops/outbox/act/"),
            "post",
            lambda w: {"verb": "settle", "message": w.letter.pk, "reason": "已在后台补填单号"},
        ),
        Door("no such verb", answers(SUPERVISORS, yes=404), fixed("/shops/outbox/act/"), "post"),
    ),
    "shops/quarantine/": (Door("dead", answers(SUPERVISORS), fixed("/shops/quarantine/")),),
    "shops/quarantine/<int:message_id>/replay/": (
        Door(
            "replay",
            answers(SUPERVISORS, yes=302),
            lambda w: f"/shops/quarantine/{w.dead.pk}/replay/",
            "post",
            lambda _w: {"reason": "映射已补好，重新处理"},
        ),
    ),
    "shops/quarantine/<int:message_id>/raw/": (
        Door(
            "bytes",
            answers(SUPERVISORS),
            lambda w: f"/shops/quarantine/{w.dead.pk}/raw/",
            "post",
            lambda _w: {"reason": "核对平台发来的原文"},
        ),
    ),
    "shops/new/": (
        Door("platforms", answers(IT), fixed("/shops/new/")),
        Door("name", answers(IT), fixed("/shops/new/?channel=jd")),
        Door(
            "make",
            answers(IT, yes=302),
            fixed("/shops/new/?channel=jd"),
            "post",
            lambda _w: {"code": "JD09", "name": "京东二店", "currency": "CNY"},
        ),
    ),
    "shops/<slug:code>/": (
        Door("page", answers(HEALTH), fixed("/shops/own-shop/")),
        Door("line", answers(HEALTH), fixed("/shops/own-shop/?fragment=1")),
        Door("records", answers(HEALTH), fixed("/shops/own-shop/?fragment=records")),
        Door("progress", answers(HEALTH), fixed("/shops/own-shop/?fragment=backfill")),
        Door("no such shop", answers(HEALTH, yes=404), fixed("/shops/none/")),
    ),
    "shops/<slug:code>/act/": (
        Door("get", all_alike(405), fixed("/shops/own-shop/act/")),
        to_a_line("poll", answers(HEALTH, yes=302)),
        to_a_line("pull", answers(HEALTH, yes=422), number=""),
        to_a_line("reconcile", answers(HEALTH, yes=422), hour="never"),
        to_a_line("test", answers(IT, yes=422)),
        to_a_line("pause", answers(IT, yes=302), reason="平台维护，先停一停"),
        to_a_line("resume", answers(IT, yes=302)),
        to_a_line("start", answers(IT, yes=302)),
        to_a_line("mode", answers(IT, yes=302), mode="timed", interval="900"),
        to_a_line("backfill", answers(IT, yes=302), start="2025-11-01T00:00",
                  end="2025-11-01T01:00"),
        to_a_line("cancel_backfill", answers(IT, yes=302), backfill="backfill"),
        to_a_line("reset", answers(IT, yes=302), feed="orders", to="2025-11-01T00:00",
                  reason="平台补发了旧订单"),
        to_a_line("no such verb", answers(HEALTH, yes=404)),
    ),
    "shops/<slug:code>/setup/": (
        Door("go on", answers(IT, yes=302), fixed("/shops/own-shop/setup/")),
    ),
    "shops/<slug:code>/setup/<slug:step>/": (
        Door("credentials", answers(IT), fixed("/shops/own-shop/setup/access/")),
        Door("authorization", answers(IT), fixed("/shops/own-shop/setup/authorize/")),
        Door("test", answers(IT), fixed("/shops/own-shop/setup/test/")),
        Door("no such step", answers(IT, yes=404), fixed("/shops/own-shop/setup/none/")),
        Door(
            "keep tokens",
            answers(IT, yes=302),
            fixed("/shops/own-shop/setup/authorize/"),
            "post",
            lambda _w: {"verb": "tokens", "access_token": "t"},
        ),
        Door(
            "keep credentials",
            answers(IT, yes=302),
            fixed("/shops/own-shop/setup/access/"),
            "post",
            lambda _w: {"base_url": "https://gw.example.com/", "app_key": "k"},
        ),
    ),
    "shops/<slug:code>/authorize/": (
        Door("to the platform", answers(IT, yes=302), fixed("/shops/own-shop/authorize/")),
    ),
    "shops/<slug:code>/authorized/": (
        Door("not asked for", answers(IT, yes=422), fixed("/shops/own-shop/authorized/?code=1")),
    ),
    "orders/<str:number>/why/": (
        Door("in scope", answers(SEERS), lambda w: f"/orders/{w.held.number}/why/"),
        Door("then", answers(SEERS), lambda w: f"/orders/{w.held.number}/why/?at=2026-01-01T00:00"),
        Door(
            "out of scope", answers(OFFICE, clerk=404), lambda w: f"/orders/{w.foreign.number}/why/"
        ),
    ),
    "rules/inside/": (
        Door("look", answers(RULE_SEERS), fixed("/rules/inside/")),
        Door("apply unseen", answers(SUPERVISORS, yes=422, reviewer=403, ceo=403, it=403),
             fixed("/rules/inside/"), "post", lambda _w: {"reason": "新规则适用在途订单"}),
    ),
    "rules/past/": (
        Door("look", answers(RULE_SEERS), fixed("/rules/past/")),
        Door("no shop", answers(RULE_SEERS, yes=422), fixed("/rules/past/?shop=NONE")),
        Door("judge unseen", answers(SUPERVISORS, yes=422, reviewer=403, ceo=403, it=403),
             fixed("/rules/past/"), "post", lambda _w: {"reason": "补拉后补判历史"}),
    ),
    "api/rule-sets/": (
        Door("list", answers(RULE_SEERS, anon=401), fixed("/api/rule-sets/")),
        Door("new", answers(SUPERVISORS, yes=201, anon=401), fixed("/api/rule-sets/"), "post",
             lambda _w: {"rules": []}, AS_JSON),
    ),
    "api/rule-sets/<int:version>/": (
        Door("one", answers(RULE_SEERS, anon=401),
             lambda w: f"/api/rule-sets/{w.closed_rules.version}/"),
        Door("save what is closed", answers(SUPERVISORS, yes=409, anon=401),
             lambda w: f"/api/rule-sets/{w.closed_rules.version}/", "put",
             lambda _w: {"rules": [], "edits": 0}, AS_JSON),
    ),
    "api/rule-sets/<int:version>/commit/": (
        Door("commit again", answers(SUPERVISORS, yes=409, anon=401),
             lambda w: f"/api/rule-sets/{w.closed_rules.version}/commit/", "post", extra=AS_JSON),
    ),
    "api/rule-sets/<int:version>/ask/": (
        Door("no report", answers(SUPERVISORS, yes=409, anon=401),
             lambda w: f"/api/rule-sets/{w.closed_rules.version}/ask/", "post", extra=AS_JSON),
    ),
    "api/orders/": (Door("list", answers(SEERS, anon=401), fixed("/api/orders/")),),
    "api/window/<slug:code>/": (
        Door(
            "few left", answers(STOCK_SEERS, anon=401), lambda w: f"/api/window/{w.shop.code}/"
        ),
    ),
    "api/interceptions/": (
        Door("list", answers(SEERS, anon=401), fixed("/api/interceptions/")),
        Door("nothing said", answers(INTERCEPTORS, yes=422, anon=401),
             fixed("/api/interceptions/"), "post", lambda _w: {}, AS_JSON),
    ),
    "api/interceptions/<int:pk>/": (
        Door("one", answers(SEERS, anon=401), lambda w: f"/api/interceptions/{w.stop.pk}/"),
    ),
    "api/interceptions/<int:pk>/lift/": (
        Door("get", answers(SEERS, yes=405, anon=401),
             lambda w: f"/api/interceptions/{w.stop.pk}/lift/"),
        Door("no reason", answers(INTERCEPTORS, yes=422, anon=401),
             lambda w: f"/api/interceptions/{w.stop.pk}/lift/", "post", lambda _w: {}, AS_JSON),
    ),
    "api/orders/<slug:number>/": (
        Door("in scope", answers(SEERS, anon=401), lambda w: f"/api/orders/{w.held.number}/"),
        Door(
            "out of scope",
            answers(OFFICE, anon=401, clerk=404),
            lambda w: f"/api/orders/{w.foreign.number}/",
        ),
    ),
    "api/stock-figures/": (
        Door("get", all_alike(401), fixed("/api/stock-figures/")),
        Door("no session comes in", all_alike(401), fixed("/api/stock-figures/"), "post",
             lambda _w: {}, AS_JSON),
    ),
    "api/<path:rest>": (
        Door("nothing there", answers(SEERS, yes=404, anon=401), fixed("/api/stock/reserve/")),
        Door("nothing to send", answers(SEERS, yes=404, anon=401), fixed("/api/simulate/"), "post",
             extra=AS_JSON),
    ),
    "hooks/feeds/<slug:code>/": (
        Door("unsigned", all_alike(401), fixed("/hooks/feeds/cma/"), "post", extra=AS_JSON),
        Door("no such feed", all_alike(404), fixed("/hooks/feeds/none/"), "post"),
        Door("get", all_alike(405), fixed("/hooks/feeds/cma/")),
    ),
    # Platforms and carriers prove themselves by signature; a session opens nothing there.
    "hooks/<slug:channel>/<slug:shop_code>/": (
        Door("unsigned", all_alike(401), lambda w: f"/hooks/taobao/{w.shop.code}/", "post",
             extra=AS_JSON),
        Door("no such shop", all_alike(404), fixed("/hooks/taobao/none/"), "post"),
        Door("get", all_alike(405), lambda w: f"/hooks/taobao/{w.shop.code}/"),
    ),
    "hooks/carrier/<slug:carrier>/": (
        Door("unsigned", all_alike(401), fixed("/hooks/carrier/sf/"), "post",
             extra=AS_JSON),
    ),
    "hooks/carrier/<slug:carrier>/<slug:token>/": (
        Door("wrong token", all_alike(401), fixed("/hooks/carrier/sf/guess/"), "post",
             extra=AS_JSON),
        Door("no such carrier", all_alike(404), fixed("/hooks/carrier/none/guess/"), "post"),
    ),
    "healthz": (Door("alive", all_alike(200), fixed("/healthz")),),
    "readyz": (
        Door("from inside", all_alike(200), fixed("/readyz")),
        Door("from outside", all_alike(404), fixed("/readyz"), extra={"REMOTE_ADDR": "8.8.8.8"}),
    ),
}  # fmt: skip

STAFF: Final = answers(EVERYBODY, no=200)
"""Everybody with an account logs in at the admin; what he then sees is his role's."""

ADMIN_DOORS: Final[Mapping[str, tuple[Door, ...]]] = {
    "admin/": (Door("index", STAFF, fixed("/admin/")),),
    "admin/login/": (Door("form", all_alike(302, anon=200), fixed("/admin/login/")),),
    "admin/logout/": (Door("leave", STAFF, fixed("/admin/logout/"), "post"),),
    "admin/password_change/": (Door("own", STAFF, fixed("/admin/password_change/")),),
    "admin/password_change/done/": (Door("own", STAFF, fixed("/admin/password_change/done/")),),
    "admin/jsi18n/": (Door("words", STAFF, fixed("/admin/jsi18n/")),),
    "admin/search/": (Door("find", STAFF, fixed("/admin/search/?s=0")),),
    "admin/autocomplete/": (
        Door("nothing named", answers(set()), fixed("/admin/autocomplete/")),
        Door(
            "orders of a hold",
            answers(SEERS),
            fixed(
                "/admin/autocomplete/?app_label=orders&model_name=orderhold"
                "&field_name=order&term=1"
            ),
        ),
    ),
    "admin/r/<path:content_type_id>/<path:object_id>/": (
        Door("elsewhere", answers(set(), no=404), lambda w: f"/admin/r/1/{w.held.pk}/"),
    ),
    "admin/(?P<url>.*)$": (Door("unknown", answers(set(), no=404), fixed("/admin/none/")),),
    "admin/auth/user/<id>/password/": (
        Door("of another", answers({Role.CEO}),
             lambda w: f"/admin/auth/user/{w.users[NO_ROLE].pk}/password/"),
        Door("of a technical administrator", answers({Role.CEO}, yes=404),
             lambda w: f"/admin/auth/user/{w.users[ROOT].pk}/password/"),
    ),
    "admin/orders/salesorder/<path:object_id>/change/": (
        Door("out of scope", answers(OFFICE, clerk=404),
             lambda w: f"/admin/orders/salesorder/{w.foreign.pk}/change/"),
    ),
    "admin/orders/salesorder/": (
        Door("by a hidden column", answers(SEERS, yes=400),
             fixed("/admin/orders/salesorder/?receiver_masked__startswith=1")),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Rights:
    """Who may look at a model's admin pages, and who may keep its rows."""

    view: set[Role]
    edit: set[Role] = field(default_factory=set)
    delete: bool = False
    add: bool = True
    save: int = 200
    """What an empty form is answered with: 200 where a field is missing, 302 where none is."""


SHELVES: Final = SUPERVISORS | HEALTH
MODELS: Final[Mapping[str, Rights]] = {
    "orders.salesorder": Rights(SEERS),
    "orders.orderhold": Rights(SEERS),
    "fulfillment.stagetask": Rights(SEERS),
    "fulfillment.parcel": Rights(SEERS),
    "fulfillment.waybill": Rights(SEERS),
    "risk.verdict": Rights(SEERS),
    "audit.auditrecord": Rights(SUPERVISORS | {Role.FINANCE, Role.CEO}),
    "catalog.sku": Rights(SUPERVISORS, SUPERVISORS, save=422),
    "catalog.bundle": Rights(SUPERVISORS, SUPERVISORS, save=422),
    "catalog.listing": Rights(SUPERVISORS, SUPERVISORS, add=False, save=302),
    "catalog.giftstrategy": Rights(SUPERVISORS, SUPERVISORS),
    "catalog.shop": Rights(HEALTH, {Role.IT}, add=False),
    "catalog.shopassignment": Rights(SUPERVISORS, SUPERVISORS, delete=True),
    "channels_sync.carriercode": Rights({Role.IT}, {Role.IT}, delete=True),
    "channels_sync.fieldmap": Rights(HEALTH, {Role.IT}),
    "channels_sync.inboxmessage": Rights(HEALTH),
    "channels_sync.outboundmessage": Rights(HEALTH),
    "fulfillment.carrieraccount": Rights({Role.IT}, {Role.IT}),
    "fulfillment.stageclock": Rights(SUPERVISORS, SUPERVISORS),
    "notices.robot": Rights({Role.IT}, {Role.IT}),
    "risk.ruleset": Rights(DECIDERS),
    "inventory.warehouse": Rights(SHELVES, SUPERVISORS),
    "inventory.virtualwarehouse": Rights(SHELVES, SUPERVISORS),
    "inventory.warehouseassignment": Rights(SUPERVISORS, SUPERVISORS, delete=True),
    "inventory.stocklevel": Rights(SHELVES),
    "inventory.reservation": Rights(SHELVES),
    "inventory.stockmovement": Rights(SHELVES),
    "inventory.inbound": Rights(STOCK_SEERS),
    "inventory.transfer": Rights(STOCK_SEERS),
    "inventory.adjustment": Rights(STOCK_SEERS),
    "inventory.stockcount": Rights(STOCK_SEERS),
    "inventory.stockfile": Rights(STOCK_SEERS),
    "inventory.bin": Rights(SUPERVISORS, SUPERVISORS),
    "inventory.channelquota": Rights(STOCK_SEERS, SUPERVISORS, delete=True),
    "inventory.safetystock": Rights(STOCK_SEERS, SUPERVISORS, delete=True),
    "inventory.stockpolicy": Rights(STOCK_SEERS, SUPERVISORS, add=False),
    "orders.interceptionpolicy": Rights(SUPERVISORS | {Role.CEO}, {Role.CEO}, add=False),
    "inventory.stockbuffer": Rights(STOCK_SEERS),
    "inventory.stockslice": Rights(STOCK_SEERS, SUPERVISORS),
    "inventory.clawback": Rights(SUPERVISORS),
    "auth.user": Rights({Role.CEO}, {Role.CEO}),
    "channels_sync.apitoken": Rights({Role.CEO}, {Role.CEO}),
}


def model_doors(rights: Rights, base: str, key: object) -> Iterator[Door]:
    """The pages every admin model has, and the two writes nobody may sneak in."""
    view, edit = answers(rights.view), answers(rights.edit)
    yield Door("list", view, fixed(base))
    yield Door("add", edit if rights.add else answers(set()), fixed(f"{base}add/"))
    yield Door("change", view, fixed(f"{base}{key}/change/"))
    yield Door("old address", answers(EVERYBODY, yes=302, no=302), fixed(f"{base}{key}/"))
    yield Door(
        "delete", answers(rights.edit if rights.delete else set()), fixed(f"{base}{key}/delete/")
    )
    yield Door("history", answers(set(), no=404), fixed(f"{base}{key}/history/"))
    yield Door("save", answers(rights.edit, yes=rights.save), fixed(f"{base}{key}/change/"), "post")
    yield Door(
        "delete by the dozen",
        answers(set()),
        fixed(base),
        "post",
        lambda _w: {"action": "delete_selected", "_selected_action": str(key), "index": "0"},
    )


def registered() -> dict[str, type[models.Model]]:
    return {model._meta.label_lower: model for model in admin.site._registry}


def routes(patterns: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Every door there is: its whole route and its name."""
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            assert isinstance(pattern, URLPattern)
            yield route, pattern.name or ""


def in_admin(route: str) -> bool:
    return route.startswith("admin/")


def test_every_door_has_a_row_and_every_row_a_door() -> None:
    found = {route for route, _name in routes(get_resolver().url_patterns) if not in_admin(route)}
    assert found == set(DOORS)


MODEL_PAGES: Final = ("", "add/", "<path:object_id>/history/", "<path:object_id>/delete/",
                      "<path:object_id>/change/", "<path:object_id>/")  # fmt: skip


def test_every_admin_page_has_a_row() -> None:
    assert set(registered()) == set(MODELS)
    bases = [f"admin/{label.replace('.', '/')}/" for label in MODELS]
    rows = {base + page for base in bases for page in MODEL_PAGES} | set(ADMIN_DOORS)
    found = {route for route, _name in routes(get_resolver().url_patterns) if in_admin(route)}
    app_lists = {route for route in found if route.startswith("admin/^(?P<app_label>")}
    assert found - app_lists == rows
    assert len(app_lists) == 1


APPS: Final = sorted({label.partition(".")[0] for label in MODELS})


@pytest.mark.django_db
@pytest.mark.parametrize("app", APPS)
def test_an_apps_page_is_there_for_who_sees_one_of_its_models(app: str, world: World) -> None:
    seers = set().union(*(rights.view for label, rights in MODELS.items()
                          if label.startswith(f"{app}.")))  # fmt: skip
    door = Door(app, answers(seers, no=404), fixed(f"/admin/{app}/"))
    assert try_door(door, world) == door.expected


@pytest.mark.django_db
@pytest.mark.parametrize("label", sorted(MODELS))
def test_each_admin_page_answers_each_person_as_the_table_says(
    label: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = a_row_of(registered()[label], world).pk
    base = f"/admin/{label.replace('.', '/')}/"
    doors = list(model_doors(MODELS[label], base, key))
    with monkeypatch.context() as patch:  # drawing 2,000 pages takes minutes and shows no more
        patch.setattr(SimpleTemplateResponse, "rendered_content", "")
        found = {door.label: try_door(door, world) for door in doors}
    assert found == {door.label: door.expected for door in doors}
    for door in doors:
        if opened := [person for person, status in door.expected.items() if status == 200]:
            assert enter(door, opened[0], world) == 200


def a_row_of(model: type[models.Model], world: World) -> models.Model:
    """A row of the model in everybody's scope, as small as can be."""
    label = model._meta.label_lower
    if label == "auth.user":
        return world.users[NO_ROLE]
    if label == "audit.auditrecord":
        return AuditRecord.objects.create(
            object_type="order",
            object_id=world.held.pk,
            action=Action.ORDER_TAKEN,
            actor_kind="job",
            change={},
            created_at=timezone.now(),
        )
    if label in REST:
        return REST[label](world)
    found = model._default_manager.order_by("pk").first()
    assert found is not None, f"the world has no {label}"
    return found


def a_slice(world: World) -> StockSlice:
    return StockSlice.objects.create(
        level=make.StockLevelFactory.create(), shop=world.shop, quantity=0, unsold=0,
        is_active=False,
    )  # fmt: skip


REST: Final[Mapping[str, Callable[[World], models.Model]]] = {
    "orders.salesorder": lambda w: w.held,
    "orders.orderhold": lambda w: w.held.holds.get(),
    "fulfillment.parcel": lambda w: w.parcel,
    "fulfillment.waybill": lambda w: w.waybill,
    "fulfillment.stagetask": lambda w: w.pick,
    "fulfillment.stageclock": lambda _w: make.StageClockFactory.create(),
    "risk.verdict": lambda w: make.VerdictFactory.create(order=w.held),
    "risk.ruleset": lambda _w: make.RuleSetFactory.create(),
    "catalog.bundle": lambda _w: make.BundleFactory.create(),
    "catalog.listing": lambda _w: make.ListingFactory.create(),
    "catalog.giftstrategy": lambda _w: make.GiftStrategyFactory.create(),
    "channels_sync.apitoken": lambda w: ApiToken.objects.create(
        user=w.users[Role.REVIEWER], name="ERP", digest="0" * 64, created_at=timezone.now()
    ),
    "channels_sync.fieldmap": lambda _w: make.FieldMapFactory.create(),
    "channels_sync.outboundmessage": lambda w: make.OutboundMessageFactory.create(shop=w.shop),
    "channels_sync.carriercode": lambda _w: CarrierCode.objects.create(
        channel="jd", carrier="sf", code="467"
    ),
    "notices.robot": lambda _w: make.RobotFactory.create(),
    "inventory.stockmovement": lambda _w: make.StockMovementFactory.create(),
    "inventory.inbound": lambda w: w.inbound,
    "inventory.transfer": lambda w: w.transfer,
    "inventory.adjustment": lambda w: w.adjustment,
    "inventory.stockcount": lambda w: w.count,
    "inventory.stockfile": lambda w: StockFile.objects.create(
        virtual_warehouse=w.room, as_of=timezone.now(), digest="0", applied_at=timezone.now()
    ),
    "inventory.bin": lambda w: Bin.objects.create(warehouse=w.warehouse, code="A-01"),
    "inventory.channelquota": lambda w: ChannelQuota.objects.create(shop=w.shop),
    "inventory.safetystock": lambda _w: SafetyStock.objects.create(),
    "inventory.stockpolicy": lambda _w: StockPolicy.objects.create(),
    "orders.interceptionpolicy": lambda _w: InterceptionPolicy.objects.create(),
    "inventory.stockslice": a_slice,
    "inventory.clawback": lambda w: ClawBack.objects.create(
        line=make.OrderLineFactory.create(order=w.held),
        order_id=w.held.pk,
        slice=a_slice(w),
        quantity=1,
        amount=1,
        currency="CNY",
        taken_at=timezone.now(),
    ),
    "inventory.stockbuffer": lambda _w: StockBuffer.objects.create(
        sku=make.SkuFactory.create(), units=3, basis={"way": "units"}, computed_at=timezone.now()
    ),
}


RELEASES: Final = frozenset(
    {"release held", "release unpaid", "approve asked", "cancel held", "released"}
)
"""The doors that may end a hold: each kind's own release, and the end of the order."""


def standing() -> set[int]:
    return set(OrderHold.objects.open().values_list("pk", flat=True))


def enter(door: Door, person: str, world: World) -> int:
    """Try a door as ``person``; whatever it changed is undone.

    No door ends a hold that is not its own release, and nothing that is held leaves the house.
    """
    browser = world.browser_of(person)
    call = getattr(browser, door.method)
    held = standing()
    with transaction.atomic():
        status: int = call(door.path(world), door.data(world), **door.extra).status_code
        ended = held - standing()
        left = Parcel.objects.filter(state=Parcel.State.SHIPPED, order__holds__in=held - ended)
        round_it = (ended if door.label not in RELEASES else set()) or left.exists()
        transaction.set_rollback(True)
    assert not round_it, f"{door.label} as {person} went round a hold"
    return status


def try_door(door: Door, world: World) -> dict[str, int]:
    return {person: enter(door, person, world) for person in PEOPLE}


ROWS: Final = [
    pytest.param(door, id=f"{route or '/'} {door.label}")
    for route, doors in {**DOORS, **ADMIN_DOORS}.items()
    for door in doors
]


@pytest.mark.django_db
@pytest.mark.parametrize("door", ROWS)
def test_each_door_answers_each_person_as_the_table_says(door: Door, world: World) -> None:
    assert try_door(door, world) == door.expected


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """The world of the module, never committed; what a test adds or a door changes is undone."""
    with django_db_blocker.unblock(), transaction.atomic():
        made = build()
        made.log_in()
        connection.check_constraints()
        yield made
        transaction.set_rollback(True)


def build() -> World:
    users = {role.value: make.user_with(role) for role in Role}
    users[NO_ROLE] = make.UserFactory.create(username="nobody")
    users[ROOT] = make.UserFactory.create(username="root", is_superuser=True)
    shop = make.ShopFactory.create(code="own-shop")
    warehouse = make.WarehouseFactory.create()
    things: dict[str, Any] = {"shop": shop, "warehouse": warehouse, "clerk": users[Role.CLERK]}
    make.ShopCredentialFactory.create(shop=shop)
    make.SyncCursorFactory.create(shop=shop)
    now = timezone.now()
    FeedCursor.objects.create(shop=shop, feed="orders", position=now)
    things["backfill"] = Backfill.objects.create(
        shop=shop, start=now - timedelta(days=1), end=now, position=now, created_at=now,
        state=Backfill.State.DONE,
    )  # fmt: skip
    secrets = seal_secrets(secret="s" * 16, push_token="t" * 32)
    make.CarrierAccountFactory.create(code="sf", sealed=secrets)
    make.ShopAssignmentFactory.create(user=users[Role.CLERK], shop=shop)
    for role in (Role.PICKER, Role.PACKER):
        make.WarehouseAssignmentFactory.create(user=users[role], warehouse=warehouse)
    things |= held_orders(shop, users)
    things |= warehouse_work(shop, warehouse)
    things |= warehouse_papers(warehouse)
    things["stop"] = Interception.objects.create(
        text="江苏停发", condition={"places": [["江苏省", "", ""]]}, words="江苏省暂停发货",
        reason="台风预警，暂停发货", state="asked", asked_by="person:0", asked_at=now,
    )  # fmt: skip
    things["feed"] = WarningFeed.objects.create(code="cma", name="气象台", kind="weather")
    things["dead"] = make.InboxMessageFactory.create(shop=shop, state="dead", error="坏了")
    things["letter"] = make.OutboundMessageFactory.create(
        shop=shop, order_id=things["held"].pk, state="dead", error="订单已退款"
    )
    make.OrderHoldFactory.create(
        order=things["foreign"], kind=HoldKind.ADDRESS_CHANGE, code="asked"
    )
    things["rule_set"] = make.RuleSetFactory.create()
    things["rule_list"] = RuleList.objects.create(code="black", name="黑名单", key="phone")
    RuleListEntry.objects.create(
        rule_list=things["rule_list"], value="k", shown="138****5678", added_by="boss", added_at=now
    )
    things["wish"], things["foreign_wish"] = (
        make.AddressRequestFactory.create(order=things[name]) for name in ("held", "foreign")
    )
    things["closed_rules"] = make.RuleSetFactory.create(committed_at=now)
    return World(users, things)


def held_orders(shop: Any, users: Mapping[str, User]) -> dict[str, Any]:
    """Orders that stand still for each reason that has its own right."""

    def order(**hold: Any) -> SalesOrder:
        fields = {"shop": shop, "status": OrderStatus.RESERVED}
        made: SalesOrder = make.SalesOrderFactory.create(**fields)
        make.ReservationFactory.create(line=make.OrderLineFactory.create(order=made))
        make.OrderHoldFactory.create(order=made, **hold)
        return made

    asked = {"tier": Tier.FREEZE, "disposition": Disposition.ESCALATED}
    foreign = make.SalesOrderFactory.create(status=OrderStatus.RESERVED)
    make.OrderLineFactory.create(order=foreign)
    return {
        "held": order(),
        "unpaid": order(kind=HoldKind.PAYMENT, code="payment"),
        "frozen": order(tier=Tier.FREEZE),
        "asked": order(**asked, asked_by=f"person:{users[Role.REVIEWER].pk}"),
        "asked_by_ceo": order(**asked, asked_by=f"person:{users[Role.CEO].pk}"),
        "foreign": foreign,
    }


def warehouse_papers(warehouse: Any) -> dict[str, Any]:
    """An arrival, a transfer, a correction and a count, here and in a warehouse elsewhere."""
    at = timezone.now()
    good = make.SkuFactory.create()
    room, foreign, third = (
        make.VirtualWarehouseFactory.create(warehouse=place)
        for place in (warehouse, make.WarehouseFactory.create(), make.WarehouseFactory.create())
    )
    things: dict[str, Any] = {"good": good, "room": room, "foreign_room": foreign}
    signed = {"created_by": "somebody", "created_at": at}
    for prefix, place, other in (("", room, foreign), ("foreign_", foreign, third)):
        inbound = Inbound.objects.create(
            number=f"RK-{place.pk}", virtual_warehouse=place, expected_at=at, **signed
        )
        inbound.lines.create(sku=good, expected=1)
        transfer = Transfer.objects.create(
            number=f"DB-{place.pk}", source=place, target=other, **signed
        )
        transfer.lines.create(sku=good, quantity=1)
        count = StockCount.objects.create(
            number=f"PD-{place.pk}", virtual_warehouse=place, **signed
        )
        level = make.StockLevelFactory.create(virtual_warehouse=place, sku=good, inbound=1)
        count.lines.create(level=level, snapshot=0)
        things |= {f"{prefix}inbound": inbound, f"{prefix}transfer": transfer,
                   f"{prefix}count": count}  # fmt: skip
        if not prefix:
            things["adjustment"] = Adjustment.objects.create(
                level=level, delta=50, reason="盘盈", asked_by="somebody", asked_at=at
            )
    return things


def warehouse_work(shop: Any, warehouse: Any) -> dict[str, Any]:
    """Parcels at the bench and tasks at the shelf, in this warehouse and in another."""
    now = timezone.now()

    def parcel(place: Any, state: str) -> Parcel:
        order = make.SalesOrderFactory.create(shop=shop, status=OrderStatus.ROUTED)
        made: Parcel = make.ParcelFactory.create(order=order, warehouse=place, state=state)
        make.ParcelLineFactory.create(parcel=made)
        return made

    def task(stage: Stage, made: Parcel) -> StageTask:
        found: StageTask = make.StageTaskFactory.create(
            order=made.order,
            parcel=made,
            warehouse=made.warehouse,
            stage=stage,
            opened_at=now,
            due_at=now + timedelta(hours=2),
        )
        return found

    elsewhere = make.WarehouseFactory.create()
    packed = parcel(warehouse, Parcel.State.PACKED)
    foreign = parcel(elsewhere, Parcel.State.PICKED)
    held = parcel(warehouse, Parcel.State.PICKED)
    for made in (packed, foreign, held):
        task(Stage.PACK, made)
    things = {
        "parcel": packed,
        "foreign_parcel": foreign,
        "held_parcel": held,
        "waybill": make.WaybillFactory.create(parcel=packed),
        "foreign_waybill": make.WaybillFactory.create(parcel=foreign),
        "pick": task(Stage.PICK, parcel(warehouse, Parcel.State.PLANNED)),
        "foreign_pick": task(Stage.PICK, parcel(elsewhere, Parcel.State.PLANNED)),
    }
    make.OrderHoldFactory.create(order=held.order)
    return things
