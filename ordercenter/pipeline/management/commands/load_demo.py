"""Load the demo seller: goods, shops, warehouses, rules and people. No orders."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ordercenter.pipeline import demo

SELLER = Path(__file__).parents[3] / "sandbox" / "seller.json"


class Command(BaseCommand):
    help = "载入演示商家（货品、店铺、仓库、规则、账号）；订单由沙箱平台经接口送来"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--seller", type=Path, default=SELLER)
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["seller"].is_file():
            raise CommandError(f"找不到商家文件 {options['seller']}")
        made = demo.load(options["seller"], sandbox_url=demo.sandbox_url())
        logins = _remembered([asdict(login) for login in made])
        if options["as_json"]:
            self.stdout.write(json.dumps({"logins": logins}, ensure_ascii=False))
            return
        for login in logins:
            self.stdout.write(f"{login['role']}  {login['username']}  {login['password']}")


def _remembered(made: list[dict[str, str]]) -> list[dict[str, str]]:
    """Demo passwords are made up once and kept beside the data, readable by its owner only."""
    path = settings.DATA_DIR / "demo_logins.json"
    known: list[dict[str, str]] = (
        json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    )
    fresh = {login["username"] for login in made}
    logins = [login for login in known if login["username"] not in fresh] + made
    if made:
        path.touch(mode=0o600)
        path.write_text(json.dumps(logins, ensure_ascii=False, indent=1), encoding="utf-8")
    return logins
