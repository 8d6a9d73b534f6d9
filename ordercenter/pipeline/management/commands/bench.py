"""Measure the hot paths beside their baselines in one run."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ordercenter.pipeline.bench import (
    hooks,
    ingest,
    intercept,
    poll,
    replay,
    reserve,
    screen,
    stock_push,
    wall,
    wall_page,
)
from ordercenter.pipeline.bench.scratch import durability, scratch_database

Options = Mapping[str, Any]


def _ingest(options: Options) -> dict[str, Any]:
    with scratch_database():
        found = ingest.run(
            orders=options["orders"] or 20_000,
            batch=options["batch"],
            rounds=options["rounds"] or 5,
            workers=options["workers"],
        )
        return found | {"settings": durability()}


def _reserve_hot(options: Options) -> dict[str, Any]:
    quick = options["quick"]
    with scratch_database():
        found = reserve.run_hot(
            orders=options["orders"] or (1_000 if quick else 20_000),
            rounds=options["rounds"] or (1 if quick else 5),
        )
        return found | {"settings": durability()}


def _reserve_spread(options: Options) -> dict[str, Any]:
    quick = options["quick"]
    with scratch_database():
        found = reserve.run_spread(
            orders=options["orders"] or (1_000 if quick else 20_000),
            rounds=options["rounds"] or (1 if quick else 5),
        )
        return found | {"settings": durability()}


def _reserve_path(options: Options) -> dict[str, Any]:
    with scratch_database():
        found = reserve.run_path(
            seconds=options["seconds"] or (3 if options["quick"] else 60),
            rate=options["rate"] or 20.0,
        )
        return found | {"settings": durability()}


def _wall(options: Options) -> dict[str, Any]:
    return wall.run(url=options["url"], count=options["pushes"], rate=options["rate"] or 4.0)


def _wall_page(options: Options) -> dict[str, Any]:
    quick = options["quick"]
    with scratch_database():
        found = wall_page.run(
            orders=options["orders"] or (20_000 if quick else 1_000_000),
            cards=500 if quick else 5_000,
            turns=options["rounds"] or (5 if quick else 100),
        )
        return found | {"settings": durability()}


def _poll(options: Options) -> dict[str, Any]:
    quick = options["quick"]
    return poll.run(
        channels=options["channels"] or ["taobao", "douyin"],
        orders=options["orders"] or (250 if quick else 10_000),
        rounds=options["rounds"] or (1 if quick else 3),
    )


def _push(options: Options) -> dict[str, Any]:
    quick = options["quick"]
    return hooks.run(
        seconds=options["seconds"] or (4 if quick else 60),
        rate=options["rate"] or 20.0,
        flat_seconds=1 if quick else 10,
        rounds=options["rounds"] or (1 if quick else 3),
    )


def _replay(options: Options) -> dict[str, Any]:
    quick = options["quick"]
    return replay.run(
        orders=options["orders"] or (100 if quick else 23_000),
        hours=2 if quick else 23,
        rate=options["rate"] or 4.0,
        seconds=options["seconds"] or (10 if quick else 120),
        say=lambda words: sys.stderr.write(f"{words}\n"),
    )


def _stock_push(options: Options) -> dict[str, Any]:
    quick = options["quick"]
    return stock_push.run(
        rate=options["rate"] or 20.0,
        seconds=options["seconds"] or (5 if quick else 60),
        say=lambda words: sys.stderr.write(f"{words}\n"),
    )


def _intercept(options: Options) -> dict[str, Any]:
    quick = options["quick"]
    with scratch_database():
        found = intercept.run(
            orders=options["orders"] or (20_000 if quick else 400_000),
            rounds=options["rounds"] or (1 if quick else 3),
        )
        return found | {"settings": durability()}


def _screen(options: Options) -> dict[str, Any]:
    quick = options["quick"]
    with scratch_database():
        found = screen.run(
            orders=options["orders"] or (5_000 if quick else 1_000_000),
            workers=options["workers"],
            rounds=options["rounds"] or (1 if quick else 3),
            say=lambda words: sys.stderr.write(f"{words}\n"),
        )
        return found | {"settings": durability()}


MEASURES: Final[Mapping[str, Callable[[Options], dict[str, Any]]]] = {
    "ingest": _ingest,
    "reserve_hot": _reserve_hot,
    "reserve_spread": _reserve_spread,
    "reserve_path": _reserve_path,
    "screen": _screen,
    "wall": _wall,
    "wall_page": _wall_page,
    "poll": _poll,
    "push": _push,
    "replay": _replay,
    "stock_push": _stock_push,
    "intercept": _intercept,
}
LEAST_A_ROUND: Final = 100


class Command(BaseCommand):
    help = "在独立的临时数据库里测量关键路径，与同一次运行的基线对比"

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("names", nargs="+", choices=list(MEASURES))
        add(
            "--quick",
            action="store_true",
            help="小规模，只看能否跑通",
        )
        add("--orders", type=int, help="订单数，缺省由各项决定")
        add("--batch", type=int, default=500)
        add("--rounds", type=int, help="轮数，取中位数")
        add("--workers", type=int, default=2)
        add("--channels", nargs="+", choices=poll.CHANNELS, help="poll：哪些平台")
        add("--url", default="http://127.0.0.1:8000", help="wall：运行中的演示系统")
        add("--pushes", type=int, default=200)
        add("--rate", type=float, help="wall、push、replay、stock_push、reserve_path：每秒几单")
        add("--seconds", type=float, help="push、replay、stock_push、reserve_path：每段测多少秒")
        add("--json", action="store_true", dest="as_json")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["orders"] and options["orders"] < (options["rounds"] or 1) * LEAST_A_ROUND:
            raise CommandError("--orders 太少，每轮至少 100 单")
        found = {name: MEASURES[name](options) for name in options["names"]}
        for figures in found.values():
            figures["cores"] = os.cpu_count()
        if options["as_json"]:
            self.stdout.write(json.dumps(found, ensure_ascii=False))
            return
        for name, figures in found.items():
            self.stdout.write(name)
            self._show(figures, 2)

    def _show(self, figures: Mapping[str, Any], depth: int) -> None:
        for key, value in figures.items():
            if isinstance(value, dict) and key != "settings":
                self.stdout.write(f"{'':{depth}}{key}")
                self._show(value, depth + 2)
            else:
                self.stdout.write(f"{'':{depth}}{key:40} {value}")
