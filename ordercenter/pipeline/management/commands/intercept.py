"""Stop orders, lift it again or count them, by one sentence: what the command box does."""

import getpass
import json
import sys
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import OrderCenterError
from ordercenter.orders.models import Interception
from ordercenter.pipeline.interception import acts, commands, tracking
from ordercenter.pipeline.interception.commands import (
    Choices,
    Kind,
    NotUnderstood,
    shown,
    shown_start,
)
from ordercenter.pipeline.interception.gates import Condition
from ordercenter.pipeline.interception.lookup import meant_by, read_command
from ordercenter.pipeline.interception.preview import Preview, preview

REASON: Final = "命令行下达的拦截"
ACTS: Final = frozenset({Kind.STOP, Kind.LIFT})


class Stopped(CommandError):
    """It cannot be done; ``facts`` is the document for ``--json``."""

    def __init__(self, words: str, facts: dict[str, Any]) -> None:
        super().__init__(words)
        self.facts = facts


class Command(BaseCommand):
    help = '一句话拦截：intercept "江苏省暂停发货 到明早8点" --dry-run'

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("text", help="指令，例如：江苏省暂停发货 到明早8点 顺丰除外")
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--dry-run", action="store_true", help="只预览")
        how.add_argument("--yes", action="store_true", help="不再询问，立即执行")
        parser.add_argument("--json", action="store_true", dest="as_json")
        parser.add_argument("--user", default="", help="以哪个用户的名义执行；不写则记为命令行")
        parser.add_argument("--reason", default=REASON, help="原因，5 字以上")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = self._run(options)
        except Stopped as stop:
            if options["as_json"]:
                self.stdout.write(json.dumps(stop.facts, ensure_ascii=False))
            raise
        except OrderCenterError as refusal:
            if options["as_json"]:
                error = {"code": refusal.code, "message": str(refusal)}
                self.stdout.write(json.dumps({"error": error}, ensure_ascii=False))
            raise CommandError(str(refusal)) from refusal
        if options["as_json"]:
            self.stdout.write(json.dumps(found, ensure_ascii=False))

    def _run(self, options: dict[str, Any]) -> dict[str, Any]:
        now = clock_now()
        command = _understood(options["text"], now)
        facts: dict[str, Any] = _said(command)
        say = (lambda _line: None) if options["as_json"] else self.stdout.write
        since = f"，从 {shown_start(command.begins_at)} 开始" if command.begins_at else ""
        say(command.words + since + (f"，到 {shown(command.ends_at)}" if command.ends_at else ""))
        if command.kind is Kind.LIFT:
            return facts | self._lift(command, options, say)
        seen = preview(command.condition, ends_at=command.ends_at, now=now)
        facts["preview"] = seen.stored()
        _tell(seen, say)
        if command.kind not in ACTS or not self._agreed(options, f"确认拦截 {seen.count} 单？"):
            return facts | {"done": False}
        user, actor = _who(options)
        row = acts.ask(
            acts.Wish(
                text=options["text"], condition=Condition.read(command.condition),
                words=command.words, reason=options["reason"], ends_at=command.ends_at,
                begins_at=command.begins_at, preview=seen.stored(),
            ),
            user=user, actor=actor,
        )  # fmt: skip
        say(f"#{row.pk} {row.get_state_display()}")
        return facts | {"done": True, "interception": _row(row)}

    def _lift(self, command: commands.Command, options: dict[str, Any], say: Any) -> dict[str, Any]:
        meant = meant_by(command)
        if not meant.exact:
            wider = [_row(row) for row in meant.wider]
            words = "没有只拦这些的指令" if wider else "没有正在生效的拦截符合这条指令"
            for row in meant.wider:
                say(f"更宽的：#{row.pk} {row.words}（用 “解除 #{row.pk}” 整条解除）")
            raise Stopped(words, {"error": {"code": "no_such_interception", "message": words},
                                  "wider": wider})  # fmt: skip
        for row in meant.exact:
            say(f"解除 #{row.pk} {row.words}")
        if not self._agreed(options, f"确认解除 {len(meant.exact)} 条？"):
            return {"done": False, "meant": [_row(row) for row in meant.exact]}
        user, actor = _who(options)
        end = acts.lift if user is not None else acts.ask_end
        done = [
            end(row.pk, user=user, actor=actor, reason=options["reason"])  # type: ignore[arg-type]
            for row in meant.exact
        ]
        for row in done:
            waits = "，已申请，等总经理确认" if row.state == Interception.State.ACTIVE else ""
            say(f"#{row.pk} {row.get_state_display()}{waits}")
        return {"done": True, "interceptions": [_row(row) for row in done]}

    def _agreed(self, options: dict[str, Any], question: str) -> bool:
        """Whether it is to be done. Nobody who could answer is asked: nothing is done."""
        if options["dry_run"] or options["yes"]:
            return bool(options["yes"])
        if options["as_json"] or not sys.stdin.isatty():
            return False
        return input(f"{question} 输入 yes：").strip().lower() == "yes"


def _understood(text: str, now: datetime) -> commands.Command:
    """The command; a question or what is not understood ends it with words for both readers."""
    found = read_command(text, now=now)
    if isinstance(found, Choices):
        options = [{"label": one.label, "text": one.text} for one in found.options]
        words = f"{found.question} " + "；".join(
            f"{one.label}（{one.text}）" for one in found.options
        )
        error = {"code": "ambiguous", "message": found.question}
        raise Stopped(words, {"error": error, "choices": options})
    if isinstance(found, NotUnderstood):
        understood = [chip.words for chip in found.understood]
        words = "；".join(
            part
            for part in (
                f"看懂了：{'、'.join(understood)}" if understood else "",
                f"没看懂：{'、'.join(found.rest)}" if found.rest else "",
                *found.hints,
            )
            if part
        )
        error = {"code": "not_understood", "message": words}
        raise Stopped(words, {"error": error, "understood": understood, "rest": [*found.rest]})
    return found


def _said(command: commands.Command) -> dict[str, Any]:
    return {
        "kind": command.kind.value,
        "words": command.words,
        "condition": command.condition,
        "begins_at": command.begins_at.isoformat() if command.begins_at else None,
        "ends_at": command.ends_at.isoformat() if command.ends_at else None,
    }


def _tell(seen: Preview, say: Any) -> None:
    say(f"在途 {seen.count} 单，¥{seen.value:,.2f}；到期前应发 {seen.broken} 单")
    for title, parts in (("进度", seen.statuses), ("环节", seen.stages), ("包裹", seen.parcels)):
        if parts:
            say(f"{title}：" + "，".join(f"{part.label} {part.count}" for part in parts))
    if seen.packed or seen.labels:
        say(f"已打包 {seen.packed} 件，已取面单 {seen.labels} 件")
    if seen.gone_parcels:
        say(f"近 3 天已交快递 {seen.gone_parcels} 件，拦不住")


def _who(options: dict[str, Any]) -> tuple[User | None, Actor]:
    """Whoever answers for it: a user with his rights, or who is logged in on this machine."""
    name = options["user"]
    if not name:
        return None, Actor.job(f"{acts.COMMAND}:{getpass.getuser()}")
    user = User.objects.filter(username=name, is_active=True).first()
    if user is None:
        words = f"没有用户 {name}"
        raise Stopped(words, {"error": {"code": "no_user", "message": words}})
    return user, Actor.person(user)


def _row(row: Interception) -> dict[str, Any]:
    figures = tracking.figures([row.pk])[row.pk]
    return {
        "id": row.pk, "state": row.state, "words": row.words,
        "ends_at": row.ends_at.isoformat() if row.ends_at else None,
        "held": figures.held, "stopped_at_bench": figures.at_bench, "too_late": figures.late,
        "end_asked": bool(row.end_asked_by),
    }  # fmt: skip
