"""Train the risk score on what people decided; it stands beside the rules and decides nothing."""

import json
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from ordercenter.core.clock import SHANGHAI
from ordercenter.pipeline.training import train_model


class Command(BaseCommand):
    """Keep a new model and print how it did on later decisions; ``--json`` as one document.

    With too few decisions it ends with one line on stderr and changes nothing.
    """

    help = _("用人工审核的结果训练风险分，并用之后的审核结果评估；不参与放行与拦截")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--until", metavar="DATE", help=_("只学这一刻之前的审核，之后的用来评估")
        )
        parser.add_argument("--json", action="store_true", help=_("只输出一个 JSON 文档"))

    def handle(self, *args: Any, **options: Any) -> None:
        until = None
        if options["until"]:
            try:
                until = datetime.fromisoformat(options["until"])
            except ValueError as error:
                raise CommandError(_("日期应写成 2026-03-01")) from error
            if until.tzinfo is None:
                until = until.replace(tzinfo=SHANGHAI)
        done = train_model(until=until)
        if done.model is None:
            raise CommandError(done.words)
        told = {
            "version": done.model.version,
            "active": done.model.is_active,
            "learned_until": done.model.learned_until.isoformat(),
            **done.model.figures,
        }
        if options["json"]:
            self.stdout.write(json.dumps(told, ensure_ascii=False, indent=1))
            return
        self.stdout.write(done.words)
        for name in ("learned", "later", "later_stopped", "roc_auc", "average_precision", "brier",
                     "base", "hits"):  # fmt: skip
            self.stdout.write(f"{name}: {told[name]}")
