"""The rows of rule sets: read, locked, checked and put on record."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.db import connection
from django.db.models import Max

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor, names_of
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.orders.errors import BadReason
from risk.defaults import default_rules
from risk.errors import WrongRuleState
from risk.language import read_rules
from risk.models import RuleSet

SETS_LOCK: Final = 7_205_032
RULE_SET: Final = "rule_set"
MOST_BYTES: Final = 1024 * 1024
FORMAT: Final = "ordercenter-rules"
LONGEST_NOTE: Final = 200
_REASON: Final = range(5, 501)

Rules = Sequence[Mapping[str, Any]]


def lock_sets() -> None:
    """One at a time: versions are counted, and one set is live."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SETS_LOCK])


def next_version() -> int:
    highest: int | None = RuleSet.objects.aggregate(highest=Max("version"))["highest"]
    return (highest or 0) + 1


def rules_of(version: int) -> tuple[int, list[dict[str, Any]]]:
    if version == 0:
        return 0, default_rules()
    row = RuleSet.objects.filter(version=version).values_list("version", "rules").first()
    if row is None:
        raise NotFound(what=f"规则集 v{version}")
    return row


def _row(pk: int) -> RuleSet:
    row = RuleSet.objects.select_for_update(no_key=True).filter(pk=pk).first()
    if row is None:
        raise NotFound(what=f"规则集 {pk}")
    return row


def row_in(pk: int, *states: RuleSet.State, what: str) -> RuleSet:
    """Lock a set that is in one of these states. Raises WrongRuleState, NotFound."""
    row = _row(pk)
    if row.state not in states:
        raise WrongRuleState(version=row.version, state=row.state.label, what=what)
    return row


def last_editor(row: RuleSet) -> str:
    name = (
        AuditRecord.objects.filter(object_type=RULE_SET, object_id=row.pk)
        .order_by("-pk")
        .values_list("actor_name", flat=True)
        .first()
    )
    return name or names_of([row.author]).get(row.author, "")


def checked_note(text: str) -> str:
    text = text.strip()
    if len(text) > LONGEST_NOTE or "\0" in text:
        raise InvalidInput(what=f"说明最多 {LONGEST_NOTE} 个字")
    return text


def checked_reason(reason: str) -> str:
    reason = reason.strip()
    if len(reason) not in _REASON or "\0" in reason:
        raise BadReason(what="")
    return reason


def keep(
    row: RuleSet,
    who: Actor,
    change: Mapping[str, Any],
    *,
    action: Action = Action.RULES_CHANGED,
    reason: str = "",
) -> None:
    """Put on record what was done to a set."""
    record(
        action, object_type=RULE_SET, object_id=row.pk, actor=who, change=change,
        reason=reason.replace("\0", ""),
    )  # fmt: skip


def last_told(row: RuleSet, action: Action, **change: Any) -> datetime | None:
    """When the record last said this of a set."""
    told = AuditRecord.objects.filter(
        object_type=RULE_SET,
        object_id=row.pk,
        action=action,
        **{f"change__{name}": value for name, value in change.items()},
    )
    return told.order_by("-pk").values_list("created_at", flat=True).first()


def imported_rules(data: Any) -> list[dict[str, Any]]:
    """The rules of a document, checked: ``export_set``'s, or a plain list of rules."""
    if isinstance(data, Mapping):
        if "format" in data and data.get("format") != FORMAT:
            raise InvalidInput(what="这不是规则集的导出文件")
        data = data.get("rules")
    return checked_rules(data, 0)


def checked_rules(rules: Any, version: int) -> list[dict[str, Any]]:
    """The rules as plain JSON values. Raises InvalidInput naming the rule and its fault."""
    if not isinstance(rules, list | tuple):
        raise InvalidInput(what="规则集必须是规则的列表")
    try:
        text = json.dumps(rules, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(what="规则集含有无法保存的内容") from error
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise InvalidInput(what=f"规则集超过 {MOST_BYTES // 1024**2} MiB")
    if "\\u0000" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise InvalidInput(what="规则集含有无法保存的字符")
    plain: list[dict[str, Any]] = json.loads(text)
    read_rules(version, plain)
    return plain
