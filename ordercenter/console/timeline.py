"""The time line of an order: everything on record of it, in sentences, by day and by kind."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any, Final

from django.db.models import Q
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from channels_sync.contracts import StopOutcome
from fulfillment.models import RefundRequest, Stage
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.console.intercept_facts import names_of
from ordercenter.console.selectors import ORDER
from ordercenter.console.words import plain
from ordercenter.core.actor import ActorKind
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.masking import mask_numbers
from ordercenter.orders.states import HoldKind, Leaves, OrderStatus, Tier
from ordercenter.pipeline import telling
from ordercenter.pipeline.interception.tracking import Met, met_by

LONGEST: Final = 300
"""So many of the latest records are shown."""
REFUND: Final = "refund"
A: Final = Action
GROUPS: Final[Mapping[str, tuple[Promise, frozenset[str]]]] = {
    "decisions": (
        gettext_lazy("人工决定"),
        frozenset(
            {A.HOLD_RELEASED, A.HOLD_RETURNED, A.HOLD_HANDED, A.RELEASE_ASKED, A.RELEASE_REFUSED,
             A.HOLD_SNOOZED, A.CUSTOMER_ASKED, A.ORDER_CANCELED, A.PROOF_EXPORTED,
             A.ADDRESS_ANSWERED, A.APPROVAL_DELEGATED}
        ),
    ),
    "holds": (
        gettext_lazy("挂起与拦截"),
        frozenset(
            {A.HOLD_OPENED, A.HOLD_RELEASED, A.HOLD_EXPIRED, A.PARCEL_STOPPED, A.INTERCEPT_STARTED,
             A.INTERCEPT_ENDED, A.STOP_ANSWERED}
        ),
    ),
    "goods": (
        gettext_lazy("配货与发货"),
        frozenset(
            {A.STAGE_DONE, A.PARCEL_SHIPPED, A.PARCEL_STOPPED, A.WAYBILL_ISSUED, A.WAYBILL_VOIDED,
             A.ORDER_SIGNED, A.LINE_SWAPPED, A.LINE_DROPPED, A.GIFTS_GIVEN, A.PRESALE_PROMISED,
             A.ORDER_PARTED, A.LABEL_REPRINTED}
        ),
    ),
    "platform": (
        gettext_lazy("平台往来"),
        frozenset(
            {A.ORDER_TAKEN, A.ORDER_UPDATED, A.ORDER_PAID, A.WRITE_BACK_DONE, A.STOP_ANSWERED,
             A.MEMO_WRITTEN, A.ADDRESS_ANSWERED}
        ),
    ),
    "people": (
        gettext_lazy("收件人信息"),
        frozenset({A.RECEIVER_EDITED, A.RECEIVER_REVEALED, A.ACCESS_REFUSED}),
    ),
}  # fmt: skip
"""What a reader may want to see alone. An entry that opened or closed a hold counts as one."""

FIELDS: Final[Mapping[str, Promise]] = {
    "paid_amount": gettext_lazy("已付"),
    "payable_amount": gettext_lazy("应付"),
    "freight": gettext_lazy("运费"),
    "paid_at": gettext_lazy("付款时间"),
    "deposit_amount": gettext_lazy("定金"),
    "deposit_paid_at": gettext_lazy("定金付款时间"),
    "promised_at": gettext_lazy("承诺发货"),
    "balance_of": gettext_lazy("定金单"),
    "balance": gettext_lazy("尾款单"),
    "channel_status": gettext_lazy("平台状态"),
    "refund_state": gettext_lazy("退款状态"),
    "seller_memo": gettext_lazy("备注"),
    "buyer_remark": gettext_lazy("留言"),
    "province": gettext_lazy("省"),
    "city": gettext_lazy("市"),
    "district": gettext_lazy("区县"),
    "receiver_masked": gettext_lazy("收货人"),
    "receiver_sealed": gettext_lazy("收货人"),
    "receiver_oaid": gettext_lazy("收件人标识"),
    "priority": gettext_lazy("优先级"),
    "tier": gettext_lazy("判定级别"),
    "rules": gettext_lazy("规则版本"),
    "parcel": gettext_lazy("包裹"),
    "waybill": gettext_lazy("快递单号"),
    "answer": gettext_lazy("答复"),
    "gifts": gettext_lazy("赠品"),
    "flags": gettext_lazy("标记"),
    "auto": gettext_lazy("自动完成"),
    "fingerprint": gettext_lazy("证明指纹"),
    "characters": gettext_lazy("字数"),
    "version": gettext_lazy("平台版本"),
    "scene": gettext_lazy("场景"),
}
OF_LINE: Final[Mapping[str, Promise]] = {
    "leaves": gettext_lazy("第 %(n)s 行"),
    "dropped": gettext_lazy("第 %(n)s 行不再发"),
    "quantity": gettext_lazy("第 %(n)s 行数量"),
    "amount": gettext_lazy("第 %(n)s 行金额"),
    "sku": gettext_lazy("第 %(n)s 行货品"),
    "line": gettext_lazy("第 %(n)s 行货品"),
}
"""Fields of one line, by the word before its number."""
LISTS: Final = frozenset({"auto", "flags", "gifts"})
"""Fields that hold a list and not what was and what is."""
TYPED: Final = frozenset({"seller_memo", "buyer_remark", "words", "note"})
"""Fields a person filled with words."""
SILENT: Final = frozenset({"channel_modified_at"})
"""Changes that say nothing to a reader."""
WHO: Final[Mapping[str, Promise]] = {
    ActorKind.PERSON: gettext_lazy("人工"),
    ActorKind.JOB: gettext_lazy("系统"),
    ActorKind.PLATFORM: gettext_lazy("平台"),
    ActorKind.RULE: gettext_lazy("规则"),
    ActorKind.TOKEN: gettext_lazy("接口"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as a reader sees it: who did what when and why, and what changed by it."""

    at: datetime
    what: str
    who: str
    role: str
    by_person: bool
    why: str
    changes: tuple[str, ...]
    version: int | None
    groups: frozenset[str]
    interceptions: tuple[int, ...] = ()
    """The interceptions it names."""


@dataclass(frozen=True, slots=True)
class Day:
    day: date
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Choice:
    """A kind of entries to look at alone, and how many there are."""

    code: str
    label: str | Promise
    count: int
    is_on: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    days: list[Day]
    choices: list[Choice]
    total: int
    has_more: bool


def timeline_of(order_id: int, *, wanted: str = "") -> Timeline:
    """What is on record of an order and its refunds, the latest day first; one kind or all."""
    rows = _rows(order_id)
    entries = [_entry(row) for row in rows[:LONGEST]]
    entries += _intercepted(order_id, rows)
    entries.sort(key=lambda entry: entry.at, reverse=True)
    wanted = wanted if wanted in GROUPS else ""
    shown = [entry for entry in entries if not wanted or wanted in entry.groups]
    days = [
        Day(day, list(some))
        for day, some in groupby(shown, key=lambda entry: entry.at.astimezone(SHANGHAI).date())
    ]
    choices = [Choice("", _("全部"), len(entries), not wanted)]
    for code, (label, _actions) in GROUPS.items():
        count = sum(code in entry.groups for entry in entries)
        if count:
            choices.append(Choice(code, label, count, code == wanted))
    return Timeline(days, choices, len(entries), len(rows) > LONGEST)


def _rows(order_id: int) -> Sequence[AuditRecord]:
    refunds = list(RefundRequest.objects.filter(order_id=order_id).values_list("pk", flat=True))
    about = Q(object_type=ORDER, object_id=order_id)
    if refunds:
        about |= Q(object_type=REFUND, object_id__in=refunds)
    return list(AuditRecord.objects.filter(about).order_by("-pk")[: LONGEST + 1])


def _intercepted(order_id: int, rows: Sequence[AuditRecord]) -> list[Entry]:
    """What interceptions did to the order and no record of its own tells."""
    told = {(row.version, pk) for row in rows for pk in _named(row.change)}
    found = [
        one for one in met_by(order_id)
        if one.is_parcel or (one.version, one.interception_id) not in told
    ]  # fmt: skip
    names = names_of({one.step.who for one in found})
    return [_of_interception(one, names[one.step.who]) for one in found]


def _of_interception(met: Met, who: str) -> Entry:
    action = A.PARCEL_STOPPED if met.is_parcel else A.HOLD_RELEASED if met.is_end else A.HOLD_OPENED
    words = met.step.what
    return Entry(
        at=met.step.at,
        what=str(action.label),
        who=who,
        role="",
        by_person=met.step.who.startswith(f"{ActorKind.PERSON}:"),
        why="" if met.is_parcel else mask_numbers(words),
        changes=(words,) if met.is_parcel else (),
        version=met.version,
        groups=frozenset({"holds", "goods"} if met.is_parcel else {"holds"}),
        interceptions=(met.interception_id,),
    )


def _named(change: Any) -> tuple[int, ...]:
    """The interceptions whose holds a record opened or closed."""
    if not isinstance(change, dict):
        return ()
    keys = [str(key) for name in ("held", "released") for key in change.get(name) or ()]
    prefix = f"{HoldKind.INTERCEPT}:i"
    found = (key.removeprefix(prefix) for key in keys if key.startswith(prefix))
    return tuple(dict.fromkeys(int(pk) for pk in found if pk.isascii() and pk.isdigit()))


def _entry(row: AuditRecord) -> Entry:
    change = row.change if isinstance(row.change, dict) else {}
    groups = {code for code, (_label, actions) in GROUPS.items() if row.action in actions}
    if change.get("held") or change.get("released"):
        groups.add("holds")
    if row.actor_kind == ActorKind.PERSON and row.action == A.HOLD_OPENED:
        groups.add("decisions")
    by_person = row.actor_kind == ActorKind.PERSON
    who = row.actor_name if by_person else f"{WHO.get(row.actor_kind, '')} {row.actor_name}"
    return Entry(
        at=row.created_at,
        what=row.get_action_display(),
        who=who.strip(),
        role=row.actor_role,
        by_person=by_person,
        why=mask_numbers(row.reason),
        changes=tuple(_sentences(change)),
        version=row.version,
        groups=frozenset(groups),
        interceptions=_named(change),
    )


def _sentences(change: Mapping[str, Any]) -> Iterator[str]:
    """What a record's change says, line by line, the status first."""
    steps = change.get("status")
    path = [step for step in steps if step] if isinstance(steps, list) else []
    if len(path) > 1:
        yield _("状态：%(path)s") % {"path": " → ".join(_status(step) for step in path)}
    for name, words in (("held", _("挂起：%(what)s")), ("released", _("解除：%(what)s"))):
        if change.get(name):
            yield words % {"what": "、".join(_hold(one) for one in change[name])}
    if "stage" in change:
        yield _("环节：%(stage)s") % {"stage": _label(Stage, change["stage"])}
    told = {"status", "held", "released", "stage", *SILENT}
    for name in sorted(change.keys() - told, key=_place_of):
        yield _field(name, change[name])


def _place_of(name: str) -> tuple[int, str]:
    """Known fields in the order of their table, the others after them."""
    known = list(FIELDS)
    return (known.index(name) if name in known else len(known), name)


def _field(name: str, value: Any) -> str:
    of_line, _sep, number = name.partition(" ")
    label = str(FIELDS.get(name, name))
    if number and of_line in OF_LINE:
        label = OF_LINE[of_line] % {"n": number}
    if of_line == "leaves" and isinstance(value, list):
        value = [_label(Leaves, str(part)) for part in value]
    if name == "tier":
        return f"{label}：{_label(Tier, str(value))}"
    if name in LISTS and isinstance(value, list):
        return f"{label}：{'、'.join(_one_of(name, part) for part in value)}"
    if value in ("***", ["***", "***"]):
        return _("%(field)s已变更（不显示内容）") % {"field": label}
    if isinstance(value, list) and len(value) == 2 and not isinstance(value[0], dict | list):  # noqa: PLR2004
        before, after = (_shown(name, part) for part in value)
        if value[0] in {None, ""}:
            return f"{label}：{after}"
        return f"{label}：{before} → {after}"
    return f"{label}：{_shown(name, value)}"


def _shown(name: str, value: Any) -> str:
    """One value; numbers of people are hidden in what people typed, tracking numbers are not."""
    if name == "answer":
        return telling.WORDS[StopOutcome(value)] if value in set(StopOutcome) else plain(value)
    return mask_numbers(plain(value)) if name in TYPED else plain(value)


def _one_of(name: str, value: Any) -> str:
    """One of a list: a stage, a field that was filled in, or what was written."""
    if name == "auto":
        return _label(Stage, value)
    kind, _colon, rest = str(value).partition(":")
    if kind == "filled":
        field, _colon, _rule = rest.partition(":")
        return _("自动补填%(field)s") % {"field": FIELDS.get(field, field)}
    return plain(value)


def _status(value: Any) -> str:
    return _label(OrderStatus, value)


def _hold(key: Any) -> str:
    kind, _colon, code = str(key).partition(":")
    label = _label(HoldKind, kind)
    return label if code in {"", kind} else f"{label}（{code}）"


def _label(choices: Any, value: Any) -> str:
    """The words for a stored value; the value where nobody knows it any more."""
    return str(dict(choices.choices).get(value, value))
