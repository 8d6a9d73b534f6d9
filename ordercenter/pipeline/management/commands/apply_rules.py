"""Judge every open order again by the live rules, after a preview."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from rich.console import Console
from rich.progress import Progress

from ordercenter.core.errors import OrderCenterError
from ordercenter.pipeline import rule_life
from ordercenter.pipeline.rule_life import Effect, Preview


class Command(BaseCommand):
    """Say what the live rules would do to the orders inside; with ``--yes`` do it.

    Holds whose rule does not hit any more are released for the rules named with ``--release``
    only; all others wait for a person on the wall.
    """

    help = _("按生效规则重新判定在途订单：先预览，--yes 才执行")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--yes", action="store_true", help=_("执行"))
        parser.add_argument("--user", default="", metavar="NAME", help=_("以谁的权限执行"))
        parser.add_argument("--reason", default="", help=_("原因，5 字以上"))
        parser.add_argument("--release", action="append", default=[], metavar="CODE",
                            help=_("不再命中时解除这条规则的挂起（三级除外）"))  # fmt: skip
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal) as bars:
            task = bars.add_task(_("判定在途订单"), total=None)

            def show(done: int, total: int) -> None:
                bars.update(task, completed=done, total=total)

            try:
                if options["yes"]:
                    found: Any = rule_life.apply_inside(
                        user=_user(options["user"]), reason=options["reason"],
                        release=options["release"], progress=show,
                    )  # fmt: skip
                else:
                    found = rule_life.preview(progress=show)
            except OrderCenterError as refusal:
                raise CommandError(str(refusal)) from refusal
        told = asdict(found) | {"applied": options["yes"]}
        if options["as_json"]:
            self.stdout.write(json.dumps(told, ensure_ascii=False, default=str))
        elif isinstance(found, Preview):
            self._show(found)
        else:
            self.stdout.write(
                _("判定 %(orders)d 单：新挂起 %(opened)d，解除 %(released)d，待人解除 %(proposed)d")
                % told
            )

    def _show(self, found: Preview) -> None:
        self.stdout.write(
            _("规则集 v%(version)d，在途 %(orders)d 单：会新挂起 %(held)d 单，金额 %(value)s")
            % {"version": found.version, "orders": found.orders, "held": found.newly_held,
               "value": found.held_value}
        )  # fmt: skip
        for sign, effects in (("+", found.gains), ("-", found.losses)):
            for effect in sorted(effects.values(), key=lambda one: -one.orders):
                self._effect(sign, effect)

    def _effect(self, sign: str, effect: Effect) -> None:
        numbers = " ".join(effect.examples[:5])
        self.stdout.write(f"  {sign} {effect.code} {effect.orders} ¥{effect.value} {numbers}")


def _user(name: str) -> User:
    found = User.objects.filter(username=name, is_active=True).first()
    if found is None:
        raise CommandError(_("请用 --user 指明以哪位启用的用户的权限执行"))
    return found
