"""Judge a stretch of a shop's past by the live rules, after a preview."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

from ordercenter.catalog.models import Shop
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.errors import OrderCenterError
from ordercenter.pipeline import past


class Command(BaseCommand):
    """Say what the live rules find in orders that were read in afterwards; ``--yes`` keeps it."""

    help = _(
        "按生效规则判定补拉进来的历史订单：先预览，--yes 才执行；已结束的只记判定，在途的才挂起"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--shop", required=True, metavar="CODE", help=_("店铺编码"))
        parser.add_argument("--since", required=True, help=_("下单时间从，例如 2026-10-01"))
        parser.add_argument("--until", required=True, help=_("到（不含）"))
        parser.add_argument("--yes", action="store_true", help=_("执行"))
        parser.add_argument("--user", default="", metavar="NAME", help=_("以谁的权限执行"))
        parser.add_argument("--reason", default="", help=_("原因，5 字以上"))
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *args: Any, **options: Any) -> None:
        shop = Shop.objects.filter(code=options["shop"]).first()
        if shop is None:
            raise CommandError(_("没有店铺 %s") % options["shop"])
        since, until = _moment(options["since"]), _moment(options["until"])
        try:
            stretch = past.Stretch(shop, since, until)
            if options["yes"]:
                user = _user(options["user"])
                found = past.apply(stretch, user=user, reason=options["reason"])
            else:
                found = past.preview(stretch)
        except OrderCenterError as refusal:
            raise CommandError(str(refusal)) from refusal
        told = asdict(found) | {"applied": options["yes"]}
        if options["as_json"]:
            self.stdout.write(json.dumps(told, ensure_ascii=False, default=str))
            return
        self.stdout.write(
            _("已结束 %(over)d 单只记判定，在途 %(still_open)d 单，其中新挂起 %(opened)d；"
              "商品未匹配、看不了的 %(left_out)d 单") % told
        )  # fmt: skip
        for effect in sorted(found.hits.values(), key=lambda one: -one.orders):
            numbers = " ".join(effect.examples[:5])
            self.stdout.write(f"  {effect.code} {effect.orders} ¥{effect.value} {numbers}")


def _moment(text: str) -> datetime:
    try:
        day, moment = parse_date(text), parse_datetime(text)
    except ValueError:
        day = moment = None
    if moment is None and day is not None:
        moment = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)
    if moment is None:
        raise CommandError(_("时间写成 2026-10-01 或 2026-10-01T08:00：%s") % text)
    return moment if moment.tzinfo else moment.replace(tzinfo=SHANGHAI)


def _user(name: str) -> User:
    found = User.objects.filter(username=name, is_active=True).first()
    if found is None:
        raise CommandError(_("请用 --user 指明以哪位启用的用户的权限执行"))
    return found
