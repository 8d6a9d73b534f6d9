"""Standing weather: what goes wrong at a platform by chance, for as long as it lasts.

A spell is one kind of trouble on one platform (``*``: every platform without a spell of its
own of that kind). It strikes with its ``share``, or in a storm with 0.9 for ``storm`` seconds
out of ``every``, until ``seconds`` have passed. What strikes is decided by seeded dice, one
for each platform and kind, so that one spell does not change another's luck. Every strike is
counted: a drill has to prove that its trouble happened.

Kinds on the line, served by ``faults.FaultyLine`` to any call: ``throttle`` (``how``: ``own``
code, ``429``, ``429_retry`` with Retry-After, or ``mix``; ``limit_per_second``: a true limit
beside the chance), ``error5xx``, ``half_body``, ``half_write`` (writes only: the effect stays,
the answer does not come), ``html_200``, ``platform_error``, ``slow_drip``, ``silence``,
``reset``.

Kinds inside the platform: ``token_expiry`` (by ``share`` of calls, or after every ``calls``),
``moving_rows`` (a list call changes ``share`` of the orders it saw, ``most`` at a time),
``late_detail`` (of ``share`` of the orders the detail is not there for ``late`` seconds),
``odd_shapes``, ``duplicates`` (``times`` as many), ``shuffle`` (a push waits up to ``late``
seconds), ``silent_webhooks``, ``clock_skew`` (``offset`` seconds, in what is stamped and in
what is accepted), ``promotion`` (``share`` of the goods may not be lowered in stock),
``reset_socket`` (a message line is hung up, by ``share`` of looks, twenty a second).
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from ordercenter.sandbox.wire import digest

CHANNELS: Final = (
    "taobao",
    "jd",
    "douyin",
    "pinduoduo",
    "shopify",
    "miniprogram",
    "wechat",
    "crm_webhook",
)
EVERYWHERE: Final = "*"
NO_REFRESH: Final = frozenset({"shopify", "crm_webhook"})
"""Where no program gets a new token by itself: there tokens die by name only, never by ``*``."""
# In this order they are tried; the first that strikes is served.
LINE_KINDS: Final = (
    "throttle",
    "error5xx",
    "reset",
    "silence",
    "slow_drip",
    "html_200",
    "platform_error",
    "half_write",
    "half_body",
)
INNER_KINDS: Final = (
    "token_expiry",
    "moving_rows",
    "late_detail",
    "odd_shapes",
    "duplicates",
    "shuffle",
    "silent_webhooks",
    "clock_skew",
    "promotion",
    "reset_socket",
)
KINDS: Final = frozenset(LINE_KINDS + INNER_KINDS)
WHOLLY: Final = frozenset({"silent_webhooks", "clock_skew"})
"""Kinds that hold for everything while they last, unless a share is given."""
HOWS: Final = ("own", "429", "429_retry")
NUMBERS: Final[Mapping[str, float]] = {
    "limit_per_second": 0.0,
    "retry_after": 2.0,
    "storm": 0.0,
    "every": 60.0,
    "calls": 0.0,
    "most": 20.0,
    "late": 5.0,
    "times": 3.0,
    "offset": 600.0,
    "hold": 300.0,
    "drip": 1.0,
}
"""What a spell may be told beside its share, and what holds when it is not."""
STORM_SHARE: Final = 0.9

# ``POST /control/nasty {"level": "all"}``: everything at once, and yet so that a center which
# does everything right comes through. (platform, kind, what the spell is told)
NASTY: Final[tuple[tuple[str, str, Mapping[str, Any]], ...]] = (
    ("*", "throttle", {"share": 0.03, "how": "mix", "limit_per_second": 60}),
    ("*", "error5xx", {"share": 0.01, "storm": 4, "every": 75}),
    ("*", "reset", {"share": 0.01}),
    ("*", "silence", {"share": 0.002, "hold": 40}),
    ("*", "slow_drip", {"share": 0.002}),
    ("*", "html_200", {"share": 0.01}),
    ("*", "platform_error", {"share": 0.02}),
    ("*", "half_write", {"share": 0.05}),
    ("*", "half_body", {"share": 0.01}),
    ("*", "token_expiry", {"calls": 500}),
    ("*", "moving_rows", {"share": 0.02, "most": 5}),
    ("*", "late_detail", {"share": 0.05, "late": 8}),
    ("*", "odd_shapes", {"share": 0.2}),
    ("*", "duplicates", {"share": 0.2, "times": 3}),
    ("*", "shuffle", {"share": 0.3, "late": 20}),
    ("*", "silent_webhooks", {"share": 0.0, "storm": 20, "every": 150}),
    ("taobao", "clock_skew", {"offset": 90}),
    ("jd", "clock_skew", {"offset": -90}),
    ("pinduoduo", "clock_skew", {"offset": -45}),
    ("*", "promotion", {"share": 0.02}),
    ("pinduoduo", "reset_socket", {"share": 0.001}),
)


@dataclass(frozen=True, slots=True)
class Spell:
    """One kind of trouble on one platform. Times are Unix seconds; no ``until``: for good."""

    platform: str
    kind: str
    share: float
    since: float
    until: float | None = None
    how: str = "mix"
    numbers: Mapping[str, float] = field(default_factory=dict)

    def number(self, name: str) -> float:
        return self.numbers.get(name, NUMBERS[name])

    def chance(self, now: float) -> float:
        """The share of ``now``: a storm's while it blows."""
        storm = self.number("storm")
        if storm and (now - self.since) % self.number("every") < storm:
            return 1.0 if self.kind in WHOLLY else STORM_SHARE
        return self.share

    def body(self, now: float) -> dict[str, Any]:
        left = None if self.until is None else round(self.until - now, 1)
        told: dict[str, Any] = {"platform": self.platform, "kind": self.kind, "share": self.share}
        return told | {"how": self.how, "seconds_left": left, **self.numbers}


class Weather:
    """All spells, and how often each has struck."""

    def __init__(self, clock: Callable[[], float] = time.time, seed: int = 1) -> None:
        self.clock = clock
        self.seed = seed
        self.served: Counter[tuple[str, str]] = Counter()
        self._spells: dict[tuple[str, str], Spell] = {}
        self._dice: dict[tuple[str, str], Random] = {}
        self._calls: Counter[str] = Counter()
        self._hits: dict[str, deque[float]] = {}

    # Setting

    def order(
        self,
        platform: str,
        kind: str,
        *,
        share: float | None = None,
        seconds: float | None = None,
        how: str = "mix",
        **numbers: float,
    ) -> Spell:
        """Let ``kind`` hold at ``platform``, in place of what held there; ValueError if unknown."""
        known = platform == EVERYWHERE or platform in CHANNELS or kind in LINE_KINDS
        if not known or kind not in KINDS or how not in {*HOWS, "mix"}:
            message = f"no weather {kind!r} ({how}) for {platform!r}"
            raise ValueError(message)
        if strange := numbers.keys() - NUMBERS.keys():
            message = f"no number {', '.join(sorted(strange))}"
            raise ValueError(message)
        if share is None:
            share = 1.0 if kind in WHOLLY and "storm" not in numbers else 0.0
        if not 0 <= share <= 1:
            message = f"share {share} is not between 0 and 1"
            raise ValueError(message)
        now = self.clock()
        until = None if seconds is None else now + float(seconds)
        told = {name: float(value) for name, value in numbers.items()}
        spell = Spell(platform, kind, float(share), now, until, how, told)
        self._spells[platform, kind] = spell
        return spell

    def nasty(self, level: str, *, seconds: float | None = None, seed: int | None = None) -> None:
        """Set the whole profile, or clear everything; ValueError for another level."""
        if level not in {"all", "off"}:
            message = f"no level {level!r}"
            raise ValueError(message)
        self.clear()
        if seed is not None:
            self.seed = seed
        if level == "all":
            for platform, kind, told in NASTY:
                self.order(platform, kind, seconds=seconds, **told)

    def clear(self, platform: str | None = None, kind: str | None = None) -> None:
        """End the spells of ``platform`` and ``kind``; None means any."""
        for place, what in list(self._spells):
            if platform in {None, place} and kind in {None, what}:
                del self._spells[place, what]
        self._dice.clear()

    # Asking

    def spell(self, platform: str, kind: str) -> Spell | None:
        """What holds of ``kind`` at ``platform`` now."""
        found = self._spells.get((platform, kind))
        if found is None and platform in CHANNELS:
            found = self._spells.get((EVERYWHERE, kind))
        if found is None or (found.until is not None and found.until <= self.clock()):
            return None
        return found

    def standing(self) -> list[dict[str, Any]]:
        now = self.clock()
        every = self._spells.values()
        return [s.body(now) for s in every if s.until is None or s.until > now]

    def dice(self, platform: str, kind: str) -> Random:
        if (platform, kind) not in self._dice:
            self._dice[platform, kind] = Random(f"{self.seed}/{platform}/{kind}")
        return self._dice[platform, kind]

    def count(self, platform: str, kind: str, times: int = 1) -> None:
        self.served[platform, kind] += times

    def strikes(self, platform: str, kind: str) -> Spell | None:
        """The spell of ``kind``, if the dice say that it strikes this time. Counted."""
        spell = self.spell(platform, kind)
        if spell is None or self.dice(platform, kind).random() >= spell.chance(self.clock()):
            return None
        self.count(platform, kind)
        return spell

    def on_the_line(self, platform: str) -> Spell | None:
        """What goes wrong with this call, if anything. Counted, but for writes (see faults)."""
        if (limit := self._over_limit(platform)) is not None:
            return limit
        for kind in LINE_KINDS:
            if kind == "half_write":
                spell = self.spell(platform, kind)
                chance = 0.0 if spell is None else spell.chance(self.clock())
                if self.dice(platform, kind).random() < chance:
                    return spell
            elif (struck := self.strikes(platform, kind)) is not None:
                return struck
        return None

    def expires_token(self, platform: str) -> bool:
        """Whether with this call the tokens of ``platform`` die."""
        spell = self.spell(platform, "token_expiry")
        if spell is None or (spell.platform == EVERYWHERE and platform in NO_REFRESH):
            return False
        self._calls[platform] += 1
        if (calls := spell.number("calls")) and self._calls[platform] >= calls:
            self._calls[platform] = 0
            self.count(platform, "token_expiry")
            return True
        return self.strikes(platform, "token_expiry") is not None

    def is_late(self, platform: str, number: str, since: float) -> bool:
        """Whether the detail of order ``number``, there ``since``, is still held back."""
        spell = self.spell(platform, "late_detail")
        if spell is None or not self._chosen(spell, platform, number):
            return False
        if self.clock() >= since + spell.number("late"):
            return False
        self.count(platform, "late_detail")
        return True

    def is_promoted(self, platform: str, shop: str, code: str) -> bool:
        """Whether what ``shop`` sells as ``code`` may not be lowered in stock now."""
        spell = self.spell(platform, "promotion")
        return spell is not None and self._chosen(spell, shop, code)

    def skew(self, platform: str) -> float:
        """How many seconds the clock of ``platform`` is ahead."""
        spell = self.spell(platform, "clock_skew")
        return 0.0 if spell is None or not spell.share else spell.number("offset")

    def _chosen(self, spell: Spell, *what: object) -> bool:
        """The same ones every time: ``share`` of everything, picked by its name."""
        part = int(digest(self.seed, spell.kind, *what, length=8), 16) / 0xFFFFFFFF
        return part < spell.share

    def _over_limit(self, platform: str) -> Spell | None:
        spell = self.spell(platform, "throttle")
        if spell is None or not (limit := spell.number("limit_per_second")):
            return None
        now, hits = self.clock(), self._hits.setdefault(platform, deque())
        while hits and hits[0] <= now - 1.0:
            hits.popleft()
        if len(hits) < limit:
            hits.append(now)
            return None
        self.count(platform, "throttle")
        return spell
