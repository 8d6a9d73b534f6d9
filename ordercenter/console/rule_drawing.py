"""A rule's form as its page draws it, and what the page's pick lists offer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from inventory.models import VirtualWarehouse
from ordercenter.catalog.models import Channel, Shop, Sku
from ordercenter.console.rule_boxes import Box, Choices
from ordercenter.console.rule_conditions import Group, Offers, Row, drawn
from ordercenter.console.rule_form import NAME, TAG, RuleForm
from risk.language import FILLABLE, TEMPLATES, TOLD
from risk.models import RuleList

TIERS: Final[Choices] = (
    ("0", gettext_lazy("只打标签，照常放行")),
    ("1", gettext_lazy("一级：自动补全后放行")),
    ("2", gettext_lazy("二级：挂起，等人审核")),
    ("3", gettext_lazy("三级：冻结，总经理批准")),
)
QUEUES: Final[Choices] = (
    ("", gettext_lazy("审核墙")),
    ("shortage", gettext_lazy("缺货队列（由缺货挂起拦住）")),
    ("restricted", gettext_lazy("限制地区队列")),
)
_FIELDS: Final = {"buyer_remark": gettext_lazy("买家留言"), "seller_memo": gettext_lazy("卖家备注")}
FILLS: Final[Choices] = tuple((name, _FIELDS[name]) for name in FILLABLE)
MOST_CATEGORIES: Final = 200


@dataclass(frozen=True, slots=True)
class Pair:
    """Two fields of one row."""

    left: Box
    right: Box


@dataclass(frozen=True, slots=True)
class Outline:
    """Every field of the form, as the page lays them out."""

    name: Box
    enabled: Box
    scope: Sequence[Box]
    when: Group | Row
    outcome: Sequence[Box]
    fills: Sequence[Pair]
    told: Sequence[Pair]

    @property
    def has_scope(self) -> bool:
        return any(box.value or box.error for box in self.scope)


def offers() -> Offers:
    """What a rule may name. Four questions, whatever the rule."""
    categories = (
        Sku.objects.exclude(category="").order_by("category").values_list("category", flat=True)
    )
    return Offers(
        shops=[(code, f"{name}（{code}）") for code, name
               in Shop.objects.order_by("code").values_list("code", "name")],
        categories=[(one, one) for one in categories.distinct()[:MOST_CATEGORIES]],
        lists=list(RuleList.objects.order_by("code").values_list("code", "name")),
        warehouses=list(VirtualWarehouse.objects.order_by("code").values_list("code", "name")),
        audiences=list(TOLD.items()),
        templates=list(TEMPLATES.items()),
    )  # fmt: skip


def outline(form: RuleForm, offered: Offers) -> Outline:
    """The form as it is drawn, errors beside their fields."""

    def box(kind: str, name: str, label: str | Promise, **more: Any) -> Box:
        return Box(kind, name, label, form.fields.get(name, []), error=form.errors.get(name, ""),
                   **more)  # fmt: skip

    return Outline(
        name=box("text", "name", _("规则名称"), hint=_("最多 %(n)d 个字") % {"n": NAME}),
        enabled=box("check", "enabled", _("启用")),
        scope=[
            box("many", "shops", _("店铺"), choices=offered.shops),
            box("many", "channels", _("平台"), choices=Channel.choices),
            box("many", "categories", _("类目"), choices=offered.categories),
            box("number", "from", _("应付金额从（含）"), unit=_("元")),
            box("number", "below", _("应付金额到（不含）"), unit=_("元")),
            box("time", "hours_from", _("下单时段从（含）")),
            box("time", "hours_to", _("下单时段到（不含）"),
                hint=_("北京时间；结束早于开始即跨过零点")),
        ],
        when=drawn(form.root, offered),
        outcome=[
            box("one", "tier", _("命中后"), choices=TIERS, redraws=True),
            box("text", "tag", _("标签"), hint=_("最多 %(n)d 个字") % {"n": TAG}),
            box("one", "queue", _("进入"), choices=QUEUES),
            box("number", "budget", _("同一订单最多挂起"), unit=_("次，不填不限")),
            box("number", "priority", _("优先级至少"), unit=_("不填不变")),
            box("one", "warehouse", _("优先从虚拟仓发"),
                choices=[("", _("（不指定）")), *offered.warehouses]),
        ],
        fills=_pairs(form, {"fill_field": _("项目"), "fill_value": _("填为")}, FILLS, ()),
        told=_pairs(form, {"notify_to": _("通知谁"), "notify_template": _("用哪个模板")},
                    offered.audiences, offered.templates),
    )  # fmt: skip


def _pairs(form: RuleForm, labels: Mapping[str, str], left: Choices, right: Choices) -> list[Pair]:
    """The rows of two fields, and an empty one to go on with. Without ``right`` it is typed."""
    nobody: Choices = (("", _("（无）")),)
    (name, label), (other, other_label) = labels.items()
    filled = [row for row in form.rows(name, other) if any(row)]
    error = form.errors.get(name, "")
    return [
        Pair(
            Box("one", name, label, [first], [*nobody, *left], error=error if n == 0 else ""),
            Box("one" if right else "text", other, other_label, [second],
                [*nobody, *right] if right else ()),
        )
        for n, (first, second) in enumerate([*filled, ("", "")])
    ]  # fmt: skip
