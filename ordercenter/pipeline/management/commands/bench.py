"""Measure the hot paths beside their baselines in one run."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ordercenter.pipeline.bench import ingest, reserve, wall
from ordercenter.pipeline.bench.scratch import durability, scratch_database

NAMES = ("ingest", "reserve_hot", "wall")


class Command(BaseCommand):
    help = "在独立的临时数据库里测量关键路径，与同一次运行的基线对比"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("names", nargs="+", choices=NAMES)
        parser.add_argument("--orders", type=int, default=20_000)
        parser.add_argument("--batch", type=int, default=500)
        parser.add_argument("--rounds", type=int, default=5)
        parser.add_argument("--workers", type=int, default=2)
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="wall：运行中的演示系统")
        parser.add_argument("--pushes", type=int, default=200)
        parser.add_argument("--rate", type=float, default=4.0)
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["orders"] < options["rounds"] * 100:
            raise CommandError("--orders 太少，每轮至少 100 单")
        found: dict[str, Any] = {}
        for name in options["names"]:
            if name == "wall":
                found[name] = wall.run(
                    url=options["url"], count=options["pushes"], rate=options["rate"]
                )
                continue
            with scratch_database():
                found[name] = self.measure(name, options) | {"settings": durability()}
        if options["as_json"]:
            self.stdout.write(json.dumps(found, ensure_ascii=False))
            return
        for name, figures in found.items():
            self.stdout.write(name)
            for key, value in figures.items():
                self.stdout.write(f"  {key:40} {value}")

    def measure(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        if name == "reserve_hot":
            return reserve.run(orders=options["orders"], rounds=options["rounds"])
        return ingest.run(
            orders=options["orders"],
            batch=options["batch"],
            rounds=options["rounds"],
            workers=options["workers"],
        )
