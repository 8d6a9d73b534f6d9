"""Times as people say them in a command: 明早8点, 后天中午, 3小时后, 到11月25日18点.

Pure: ``now`` is an argument, and what may mean two moments comes back as both.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from ordercenter.core.clock import SHANGHAI

A_YEAR: Final = timedelta(days=366)
"""The furthest a command may reach."""
_NOON: Final = 12
_DAWN: Final = 5
"""An hour of the night before this one belongs to the next day: 今晚2点."""

_NUM = r"(?:\d{1,2}|[零一二三四五六七八九十两]{1,3})"
_DAY = (
    r"(?P<{0}day>大后天|后天|明天|明日|今天|今日|当天|明(?=[早晚上中下凌])|今(?=[早晚上中下凌])|"
    r"(?:(?:\d{{4}})[年/.-])?\d{{1,2}}(?:月|[/-])\d{{1,2}}(?:日|号)?|"
    r"(?:[一二三四五六七八九十]{{1,2}})月(?:[一二三四五六七八九十]{{1,3}})(?:日|号)|"
    r"\d{{1,2}}(?:日|号)|(?:下个?|这个?|本)?(?:周|星期|礼拜)[一二三四五六日天])"
)
_PERIOD = (
    r"(?P<{0}period>凌晨|清晨|早晨|早上|早|上午|中午|正午|下午|午后|傍晚|晚上|晚间|夜里|半夜|晚|夜)"
)
_CLOCK = (
    r"(?P<{0}hour>" + _NUM.replace("{", "{{").replace("}", "}}") + r")(?:点钟?|时|:)"
    r"(?:(?P<{0}part>半|一刻|三刻|整)|(?P<{0}minute>[0-5]?\d|[零一二三四五]?十?[一二三四五六七八九十])分?)?"
)
_GAP = r"\s*的?\s*"


def _said(prefix: str) -> str:
    day, period, clock = (part.format(prefix) for part in (_DAY, _PERIOD, _CLOCK))
    return (
        rf"(?:{day}(?:{_GAP}{period})?(?:{_GAP}{clock})?"
        rf"|{period.replace('?P<' + prefix + 'period>', '?P<' + prefix + 'period2>')}"
        rf"(?:{_GAP}{clock.replace('?P<' + prefix, '?P<' + prefix + 'b')})?"
        rf"|{clock.replace('?P<' + prefix, '?P<' + prefix + 'c')})"
    )


_SINCE: Final = r"(?P<since>\s*(?:起|开始)(?!发货))?"
_UNTIL: Final = r"(?P<until>直到|一直到|持续到|截[至止]到?|到|至)?\s*"
_BEFORE: Final = r"(?P<before>\s*(?:之前|以前|为止|前|止))?"
_BACK: Final = (
    r"(?P<back>\s*(?:以后|之后|后)?\s*再?\s*(?:恢复(?:正常)?(?:发货)?|解除|放开|再发货?|开始发货)"
    r"(?=[\s,。;、!]|$))?"
)
_RANGE: Final = re.compile(
    rf"(?:从|自)?\s*{_said('f')}\s*(?:起|开始)?\s*(?:到|至|-|~|—)+\s*{_said('t')}{_BEFORE}{_BACK}"
)
_MOMENT: Final = re.compile(rf"(?P<from>[从自])?\s*{_UNTIL}{_said('t')}{_BEFORE}{_BACK}{_SINCE}")
_SPAN: Final = re.compile(
    r"(?P<until>直到|持续到?|到|停)?\s*"
    r"(?:(?P<half>半)个?(?P<halfunit>小时|钟头|天|日)"
    r"|(?P<count>\d{1,3}(?:\.\d)?|[一二三四五六七八九十两]{1,3})\s*个?(?P<plus>半)?\s*"
    r"(?P<unit>小时|钟头|天|分钟|周|星期|h(?![a-z]))(?P<tail>半)?)"
    r"(?P<after>\s*(?:之后|以后|后))?(?P<within>\s*(?:以内|之内|内))?" + _BACK,
    re.IGNORECASE,
)
_UNITS: Final[Mapping[str, timedelta]] = {
    "小时": timedelta(hours=1),
    "钟头": timedelta(hours=1),
    "h": timedelta(hours=1),
    "天": timedelta(days=1),
    "日": timedelta(days=1),
    "分钟": timedelta(minutes=1),
    "周": timedelta(days=7),
    "星期": timedelta(days=7),
}
_HOUR_OF: Final[Mapping[str, int]] = {
    "凌晨": 6, "清晨": 8, "早晨": 8, "早上": 8, "早": 8, "上午": 12, "中午": 12, "正午": 12,
    "下午": 18, "午后": 18, "傍晚": 18, "晚上": 24, "晚间": 24, "晚": 24, "夜里": 24, "夜": 24,
    "半夜": 24,
}  # fmt: skip
"""When a part of the day is over, for who names no hour; a morning is over when work begins."""
_EVENING: Final = frozenset({"晚上", "晚间", "晚", "夜里", "夜", "半夜"})
_AFTERNOON: Final = frozenset({"下午", "午后", "傍晚"})
_DIGITS: Final = {digit: n for n, digit in enumerate("零一二三四五六七八九")} | {"两": 2}
_WEEK: Final = {day: n for n, day in enumerate("一二三四五六日")} | {"天": 6}


@dataclass(frozen=True, slots=True)
class TimeSaid:
    """One time phrase of a command and the moments it may mean."""

    text: str
    length: int
    """Signs of the command it covers."""
    ends: tuple[datetime, ...] = ()
    """More than one: somebody has to choose. Empty: it makes no sense, ``problem`` says why."""
    starts: datetime | None = None
    """The beginning it names, if that is still to come."""
    is_end: bool = True
    """Whether it surely names the end (到…, …前, …恢复, 3小时), not a beginning."""
    is_start: bool = False
    """Whether it surely names the beginning (从…, …起, 3小时后); with no ``ends`` it is now."""
    lasts: timedelta | None = None
    """The length of time it names, to be counted from the beginning."""
    problem: str = ""


def time_at(text: str, at: int, now: datetime) -> TimeSaid | None:
    """The longest time phrase that begins at ``at``, or None."""
    here = now.astimezone(SHANGHAI)
    readers: tuple[tuple[re.Pattern[str], Callable[..., TimeSaid]], ...] = (
        (_RANGE, _range), (_MOMENT, _moment), (_SPAN, _span),
    )  # fmt: skip
    best: TimeSaid | None = None
    for pattern, read in readers:
        match = pattern.match(text, at)
        if match and match[0].strip() and (best is None or len(match[0]) > best.length):
            best = read(match, here)
    return best


def _group(match: re.Match[str], prefix: str, name: str) -> str:
    """What was said of ``name`` in whichever of the three forms matched."""
    known = match.re.groupindex
    forms = (f"{prefix}{name}", f"{prefix}{name}2", f"{prefix}b{name}", f"{prefix}c{name}")
    return next((match[form] for form in forms if form in known and match[form]), "")


def _range(match: re.Match[str], now: datetime) -> TimeSaid:
    begins, problem = _moments(match, "f", now)
    if problem:
        return TimeSaid(match[0], len(match[0]), problem=problem)
    start = _start_of(match, begins, now)
    # 后天 is the day after tomorrow of who speaks; a bare hour is the next one after the beginning.
    base = now if _group(match, "t", "day") else start
    ends, problem = _moments(match, "t", base, not_before=max(start, now))
    later = start if start > now + timedelta(minutes=1) else None
    return TimeSaid(match[0], len(match[0]), ends, later, problem=problem)


def _start_of(match: re.Match[str], begins: tuple[datetime, ...], now: datetime) -> datetime:
    """The beginning a range means: a bare hour of today that is past has begun."""
    if not _group(match, "f", "day"):
        for begin in begins:
            earlier = begin - timedelta(days=1)
            if earlier <= now and earlier.date() == now.date():
                return earlier
    return begins[0]


def _moment(match: re.Match[str], now: datetime) -> TimeSaid:
    ends, problem = _moments(match, "t", now)
    is_end = bool(match["until"] or match["before"] or match["back"])
    if not is_end and (match["since"] or match["from"]):
        return _start(match, ends, problem)
    if not is_end and _group(match, "t", "day") in {"今天", "今日", "当天"}:
        is_end = not _group(match, "t", "hour")  # 今天停发 is today, to its end
    return TimeSaid(match[0], len(match[0]), ends, is_end=is_end, problem=problem)


def _start(match: re.Match[str], moments: tuple[datetime, ...], problem: str) -> TimeSaid:
    """A beginning. A day named without an hour begins at its midnight, and today has begun."""
    day, hour = _group(match, "t", "day"), _group(match, "t", "hour")
    if not hour and _group(match, "t", "period"):
        problem = f"“{match[0].strip()}”请写明几点开始"
    elif not hour:
        moments = () if day in {"今天", "今日", "当天"} else moments[:1]
        problem = "" if day in {"今天", "今日", "当天"} else problem
    found = () if problem else moments
    return TimeSaid(match[0], len(match[0]), found, is_end=False, is_start=True, problem=problem)


def _span(match: re.Match[str], now: datetime) -> TimeSaid:
    if match["half"]:
        length = _UNITS[match["halfunit"]] / 2
    else:
        unit = _UNITS[match["unit"].lower()]
        length = unit * _amount(match["count"])
        if match["plus"] or match["tail"]:
            length += unit / 2
    is_later = bool(match["after"]) and not (match["until"] or match["back"])
    if not length or length > A_YEAR:
        return TimeSaid(match[0], len(match[0]), problem="时长不合理")
    return TimeSaid(
        match[0], len(match[0]), (_to_minute(now + length),), is_end=not is_later,
        is_start=is_later, lasts=None if is_later or match["after"] else length,
    )  # fmt: skip


def _amount(text: str) -> float:
    return float(text) if text[0].isdigit() else float(_number(text))


def _number(text: str) -> int:
    """二十三, 十, 两, 08 as a number; -1 for what is none."""
    if text.isdigit():
        return int(text)
    tens, has_ten, ones = text.rpartition("十")
    if not has_ten:
        return _DIGITS.get(text, -1)
    high, low = _DIGITS.get(tens, 1 if not tens else -1), _DIGITS.get(ones, 0 if not ones else -1)
    return high * 10 + low if high > 0 and low >= 0 else -1


def _to_minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _moments(
    match: re.Match[str], prefix: str, base: datetime, *, not_before: datetime | None = None
) -> tuple[tuple[datetime, ...], str]:
    """The moments after ``base`` one phrase may mean, the likeliest first, or what is wrong."""
    day, period, hour = (_group(match, prefix, name) for name in ("day", "period", "hour"))
    clock = _clock(match, prefix, hour) if hour else None
    if clock is not None and clock[0] < 0:
        return (), f"“{match[0].strip()}”不是有效的时间"
    dates = _dates(day, base)
    if dates is None:
        return (), f"“{match[0].strip()}”不是有效的日期"
    found = [
        moment
        for one in dates
        for moment in _on_day(one, period, clock, has_day=bool(day))
        if moment > (not_before or base) and moment > base
    ]
    found = list(dict.fromkeys(found))
    if not found:
        return (), f"“{match[0].strip()}”已经过去"
    if found[0] > base + A_YEAR:
        return (), f"“{match[0].strip()}”太远，最多一年"
    is_bare_hour = clock is not None and clock[0] <= _NOON and not day and not period
    keeps_all = len(found) > 1 and (is_bare_hour or (clock is None and not period))
    if keeps_all:
        return tuple(sorted(found)[:2]), ""
    return (found[0],), ""


def _clock(match: re.Match[str], prefix: str, hour: str) -> tuple[int, int]:
    part, minute = _group(match, prefix, "part"), _group(match, prefix, "minute")
    minutes = {"半": 30, "一刻": 15, "三刻": 45}.get(part, 0)
    if minute:
        minutes = _number(minute.lstrip("零") or "0")
    hours = _number(hour)
    if not 0 <= hours <= 24 or not 0 <= minutes < 60 or (hours == 24 and minutes):  # noqa: PLR2004
        return -1, 0
    return hours, minutes


def _dates(day: str, base: datetime) -> tuple[date, ...] | None:
    """The days a word may mean; None where there is no such day."""
    today = base.date()
    if not day:
        return today, today + timedelta(days=1)
    ahead = {"今": 0, "当": 0, "明": 1, "后": 2, "大": 3}.get(day[0])
    if ahead is not None:
        return (today + timedelta(days=ahead),)
    if match := re.fullmatch(r"(下个?|这个?|本)?(?:周|星期|礼拜)(.)", day):
        monday = today - timedelta(days=today.weekday())
        found = monday + timedelta(days=_WEEK[match[2]])
        if match[1] and match[1][0] == "下":
            return (found + timedelta(days=7),)
        return (found,) if match[1] else (found, found + timedelta(days=7))
    return _numbered(day, today)


def _numbered(day: str, today: date) -> tuple[date, ...] | None:
    """11月25日, 2026-11-25, 25号: of this year or the next, of this month or the next."""
    parts = [_number(part) for part in re.split(r"[年月/.日号-]", day) if part]
    year, month = today.year, today.month
    tries: list[tuple[int, int, int]]
    if len(parts) == 3:  # noqa: PLR2004 - year, month and day
        tries = [(parts[0], parts[1], parts[2])]
    elif len(parts) == 2:  # noqa: PLR2004 - month and day
        tries = [(year, parts[0], parts[1]), (year + 1, parts[0], parts[1])]
    else:
        after = (year + month // 12, month % 12 + 1)
        tries = [(year, month, parts[0]), (*after, parts[0])]
    found = []
    for one in tries:
        try:
            found.append(date(*one))
        except ValueError:
            continue
    return tuple(found) or None


def _on_day(  # noqa: PLR0911 - one line for each part of the day
    day: date, period: str, clock: tuple[int, int] | None, *, has_day: bool
) -> tuple[datetime, ...]:
    """The moments of one day that a part of the day and an hour may mean."""
    midnight = datetime.combine(day, time(), SHANGHAI)
    if clock is None:
        if period:
            return (midnight + timedelta(hours=_HOUR_OF[period]),)
        return midnight, midnight + timedelta(days=1)
    hour, minute = clock
    at = midnight + timedelta(hours=hour, minutes=minute)
    half = timedelta(hours=_NOON)
    if period in _EVENING:
        if hour < _DAWN:
            return (at + timedelta(days=1),)
        return (at + half,) if hour <= _NOON else (at,)
    if period in _AFTERNOON or (period in {"中午", "正午"} and hour < _DAWN):
        return (at + half,) if hour < _NOON else (at,)
    if period == "凌晨" and hour == _NOON:
        return (at - half,)
    if not period and not has_day and 0 < hour <= _NOON:
        return at, at + half
    return (at,)
