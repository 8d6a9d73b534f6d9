"""Who may do what: the one table every door asks, and whoever is not in it may not.

Roles are Django groups named by their code. ``is_superuser`` opens nothing here: a technical
administrator stands outside the business (``reliability.md`` section 10).
"""

from collections.abc import Mapping
from typing import Final

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from ordercenter.core.errors import NotAllowed

AnyUser = AbstractBaseUser | AnonymousUser


class Role(TextChoices):
    CLERK = "cs_clerk", _("客服专员")
    FINANCE = "finance", _("财务助理")
    PICKER = "warehouse_clerk", _("仓库文员")
    PACKER = "packer", _("打包员")
    REVIEWER = "reviewer", _("审单员")
    WAREHOUSE_SUPERVISOR = "warehouse_supervisor", _("仓储主管")
    OPERATIONS_SUPERVISOR = "operations_supervisor", _("运营主管")
    IT = "it", _("IT 人员")
    CEO = "ceo", _("总经理")
    SCREEN = "screen", _("看板大屏")
    PARTNER = "partner", _("外部仓库系统")


class Can(TextChoices):
    VIEW_ORDERS = "view_orders", _("查看订单")
    FREEZE = "freeze", _("冻结订单")
    REVIEW = "review", _("审核放行（一、二级）")
    RELEASE_PAYMENT = "release_payment", _("解除核款挂起")
    ASK_TIER3 = "ask_tier3", _("申请解冻三级订单")
    APPROVE_TIER3 = "approve_tier3", _("批准解冻三级订单")
    CANCEL = "cancel", _("取消订单")
    EDIT_RECEIVER = "edit_receiver", _("修改收货信息")
    AFTER_SALES = "after_sales", _("处理售后沟通")
    CONFIRM_PAYMENT = "confirm_payment", _("确认收款")
    PICK = "pick", _("拣货")
    PACK = "pack", _("打包出库")
    VIEW_BOARD = "view_board", _("查看作战看板")
    VIEW_HEALTH = "view_health", _("查看店铺健康")
    EDIT_MAPPING = "edit_mapping", _("维护商品映射")
    EDIT_SHOPS = "edit_shops", _("维护店铺与密钥")
    EDIT_RULES = "edit_rules", _("维护风控规则")
    READ_AUDIT = "read_audit", _("查看审计记录")
    REPLAY_DEAD = "replay_dead", _("重放死信")
    WRITE_MEMO = "write_memo", _("回写平台备注")
    REVEAL_RECEIVER = "reveal_receiver", _("查看收件人明文")
    READ_REVEALS = "read_reveals", _("查看明文查看记录")
    RESTRICT_RECEIVER = "restrict_receiver", _("限制处理个人信息")
    VIEW_STOCK = "view_stock", _("查看库存")
    MOVE_STOCK = "move_stock", _("收货、调拨与盘点")
    APPROVE_STOCK = "approve_stock", _("复核库存调整")
    EDIT_STOCK_POLICY = "edit_stock_policy", _("维护配额、安全库存与锁定")
    WORK_SHORTAGE = "work_shortage", _("处理缺货订单")
    VIEW_RULES = "view_rules", _("查看风控规则")
    APPROVE_RULES = "approve_rules", _("复核并启用风控规则")
    EDIT_LISTS = "edit_lists", _("维护名单与豁免")
    INTERCEPT = "intercept", _("下达拦截指令")
    END_INTERCEPT = "end_intercept", _("解除拦截指令")
    DELEGATE_APPROVAL = "delegate_approval", _("授权他人审批")
    EXPORT_PROOF = "export_proof", _("导出审批证明")
    TELL_STOCK = "tell_stock", _("报送仓库件数")
    KEEP_TOKENS = "keep_tokens", _("维护接口令牌")
    LINK_BALANCE = "link_balance", _("关联定金单与尾款单")


class Scope(TextChoices):
    """What a token of another system may do of what its account may; what is not named is shut."""

    ORDERS_READ = "orders:read", _("读订单")
    STOCK_READ = "stock:read", _("读店铺可售提示")
    STOCK_FIGURES = "stock:figures", _("报送仓库件数")
    RULES_READ = "rules:read", _("读风控规则")
    RULES_WRITE = "rules:write", _("写风控规则草稿并申请启用")
    INTERCEPTIONS_READ = "interceptions:read", _("读拦截进度")
    INTERCEPTIONS_WRITE = "interceptions:write", _("下达与解除拦截")


_SUPERVISORS: Final = frozenset({Role.WAREHOUSE_SUPERVISOR, Role.OPERATIONS_SUPERVISOR})
_DECIDERS: Final = _SUPERVISORS | {Role.REVIEWER, Role.CEO}
_OFFICE: Final = _DECIDERS | {Role.FINANCE}

ALLOWED: Final[Mapping[Can, frozenset[Role]]] = {
    Can.VIEW_ORDERS: _OFFICE | {Role.CLERK},
    Can.FREEZE: _OFFICE | {Role.CLERK},
    Can.REVIEW: _DECIDERS,
    Can.RELEASE_PAYMENT: frozenset({Role.FINANCE}),
    Can.ASK_TIER3: _DECIDERS,
    Can.APPROVE_TIER3: frozenset({Role.CEO}),
    Can.CANCEL: _DECIDERS,
    Can.EDIT_RECEIVER: _SUPERVISORS | {Role.CLERK, Role.REVIEWER},
    Can.AFTER_SALES: _SUPERVISORS | {Role.CLERK},
    Can.CONFIRM_PAYMENT: frozenset({Role.FINANCE}),
    Can.PICK: _SUPERVISORS | {Role.PICKER},
    Can.PACK: _SUPERVISORS | {Role.PACKER},
    Can.VIEW_BOARD: frozenset(Role) - {Role.IT, Role.PARTNER},
    Can.VIEW_HEALTH: _SUPERVISORS | {Role.IT, Role.CEO},
    Can.EDIT_MAPPING: _SUPERVISORS,
    Can.EDIT_SHOPS: frozenset({Role.IT}),
    Can.EDIT_RULES: _SUPERVISORS,
    Can.READ_AUDIT: _SUPERVISORS | {Role.FINANCE, Role.CEO},
    Can.REPLAY_DEAD: _SUPERVISORS,
    Can.WRITE_MEMO: _SUPERVISORS | {Role.CLERK, Role.REVIEWER},
    Can.REVEAL_RECEIVER: _DECIDERS | {Role.CLERK},
    Can.READ_REVEALS: _SUPERVISORS | {Role.CEO},
    Can.RESTRICT_RECEIVER: frozenset({Role.OPERATIONS_SUPERVISOR, Role.CEO}),
    Can.VIEW_STOCK: _DECIDERS | {Role.FINANCE, Role.PICKER, Role.IT},
    Can.MOVE_STOCK: _SUPERVISORS | {Role.PICKER},
    Can.APPROVE_STOCK: _SUPERVISORS,
    Can.EDIT_STOCK_POLICY: _SUPERVISORS,
    Can.WORK_SHORTAGE: _SUPERVISORS | {Role.CLERK, Role.REVIEWER},
    Can.VIEW_RULES: _DECIDERS | {Role.IT},
    Can.APPROVE_RULES: _SUPERVISORS | {Role.CEO},
    Can.EDIT_LISTS: _SUPERVISORS,
    Can.INTERCEPT: _SUPERVISORS | {Role.CEO},
    Can.END_INTERCEPT: frozenset({Role.CEO}),
    Can.DELEGATE_APPROVAL: frozenset({Role.CEO}),
    Can.EXPORT_PROOF: _SUPERVISORS | {Role.CEO},
    Can.TELL_STOCK: frozenset({Role.PARTNER}),
    Can.KEEP_TOKENS: frozenset({Role.CEO}),
    Can.LINK_BALANCE: _SUPERVISORS | {Role.CLERK, Role.REVIEWER},
}

PASSED_ON: Final[Mapping[Scope, Can]] = {
    Scope.ORDERS_READ: Can.VIEW_ORDERS,
    Scope.STOCK_READ: Can.VIEW_STOCK,
    Scope.STOCK_FIGURES: Can.TELL_STOCK,
    Scope.RULES_READ: Can.VIEW_RULES,
    Scope.RULES_WRITE: Can.EDIT_RULES,
    Scope.INTERCEPTIONS_READ: Can.VIEW_ORDERS,
    Scope.INTERCEPTIONS_WRITE: Can.INTERCEPT,
}
"""The right of its account that each scope passes on; a scope gives no right of its own."""
OF_ALL_SHOPS: Final = frozenset(
    {
        Scope.RULES_READ,
        Scope.RULES_WRITE,
        Scope.INTERCEPTIONS_READ,
        Scope.INTERCEPTIONS_WRITE,
    }
)
"""Scopes over what knows no shops: a token bound to some shops cannot have them."""

SCOPED: Final = frozenset({Role.CLERK, Role.PICKER, Role.PACKER})
"""Roles that see only the shops or warehouses they are assigned to."""


def roles_of(user: AnyUser) -> frozenset[Role]:
    """The roles of an active user; empty for anybody else."""
    if not user.is_active or not user.is_authenticated:
        return frozenset()
    known = set(Role.values)
    cached: frozenset[Role] | None = getattr(user, "_order_center_roles", None)
    if cached is None:
        names = user.groups.values_list("name", flat=True)  # type: ignore[attr-defined]
        cached = frozenset(Role(name) for name in names if name in known)
        user._order_center_roles = cached  # type: ignore[attr-defined]
    return cached


def allows(user: AnyUser, what: Can) -> bool:
    return bool(roles_of(user) & ALLOWED[what])


def require(user: AnyUser, what: Can) -> None:
    """Raise NotAllowed unless one of the user's roles may."""
    if not allows(user, what):
        raise NotAllowed(what=what.label)


def sees_all(user: AnyUser) -> bool:
    """Whether the user is not bound to assigned shops and warehouses."""
    return bool(roles_of(user) & ALLOWED[Can.VIEW_ORDERS] - SCOPED)
