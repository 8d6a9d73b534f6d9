"""Say why an order was stopped or let through, now or as of a moment."""

import json
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from ordercenter.core.clock import SHANGHAI, now
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import hindsight
from ordercenter.pipeline.hindsight import Then
from risk.explaining import Explained


class Command(BaseCommand):
    """Explain NUMBER as of ``--at``: state, holds, every rule and what was nearest to a hit."""

    help = _("说明订单为何被拦下或放行；--at 查看当时")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("number", metavar="NUMBER")
        parser.add_argument("--at", default="", metavar="2026-11-11T10:30")
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *args: Any, **options: Any) -> None:
        number = options["number"].replace("\0", "")
        pk = SalesOrder.objects.filter(number=number).values_list("pk", flat=True).first()
        if pk is None:
            raise CommandError(_("没有订单 %s") % number)
        then = hindsight.as_of(pk, _moment(options["at"]) if options["at"] else now())
        rules = hindsight.explained(then.verdict) if then.verdict else []
        if options["as_json"]:
            self.stdout.write(json.dumps(_document(then, rules), ensure_ascii=False, default=str))
            return
        self._show(then, rules)

    def _show(self, then: Then, rules: list[Explained]) -> None:
        status = then.status.label if then.status else _("尚未进入系统")
        self.stdout.write(f"{then.order.number} v{then.version} {status}")
        for hold in then.holds:
            self.stdout.write(f"  ⏸ {hold.get_tier_display()} {hold.words}")
        for one in rules:
            mark = "!" if one.fired else "-"
            words = one.words or one.skipped_words
            near = "；".join(change.words for change in one.flip)
            self.stdout.write(f"  {mark} {one.name} {words} {f'（{near}）' if near else ''}")


def _document(then: Then, rules: list[Explained]) -> dict[str, Any]:
    verdict = then.verdict
    replay = hindsight.replay(verdict) if verdict else None
    return {
        "number": then.order.number,
        "at": then.at.isoformat(),
        "version": then.version,
        "status": then.status.value if then.status else None,
        "fields": dict(then.fields),
        "holds": [{"kind": one.kind, "code": one.code, "tier": one.tier, "words": one.words}
                  for one in then.holds],
        "verdict": verdict and {
            "rules": verdict.rule_set_version, "tier": verdict.tier, "tags": verdict.tags,
            "at": verdict.created_at.isoformat(),
        },
        "replay": replay and {
            "possible": replay.can_replay, "identical": replay.is_identical,
            "digest": replay.stored, "again": replay.again, "today": replay.today_version,
            "otherwise": [{"code": one.code, "before": one.before, "after": one.after,
                           "because": one.because} for one in replay.today],
            "unknown_today": list(replay.unknown_today),
        },
        "rules": [_rule(one) for one in rules],
    }  # fmt: skip


def _rule(one: Explained) -> dict[str, Any]:
    return {
        "code": one.code, "name": one.name, "tier": one.tier, "fired": one.fired,
        "skipped": one.skipped, "words": one.words,
        "conditions": [
            {"fact": part.words, "seen": part.seen, "limit": part.limit, "holds": part.truth,
             "distance": None if part.distance is None else str(part.distance),
             "negated": part.is_negated}
            for part in one.conditions
        ],
        "flip": [change.words for change in one.flip],
    }  # fmt: skip


def _moment(text: str) -> datetime:
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise CommandError(_("看不懂时间 %s，请写成 2026-11-11T10:30") % text)
    return found if found.tzinfo else found.replace(tzinfo=SHANGHAI)
