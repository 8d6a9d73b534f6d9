"""The command box's language: a grammar of the trade, pure, without a network or a model.

``parse`` never guesses: what may mean two things comes back as choices, each of them a
complete command; what it does not know it names, beside what it did understand.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from ordercenter.core.addresses.regions import atlas
from ordercenter.pipeline.interception.commands import (
    KEYS,
    LONGEST,
    MOST_OPTIONS,
    VERBS,
    Choices,
    Command,
    Condition,
    Kind,
    NotUnderstood,
    Option,
    Parsed,
    empty_condition,
    shown,
    shown_start,
    typed,
    typed_start,
    words_of,
)
from ordercenter.pipeline.interception.moments import TimeSaid
from ordercenter.pipeline.interception.reader import Named, Reader
from ordercenter.pipeline.interception.scanning import Said, cut, tidy
from ordercenter.pipeline.interception.vocabulary import (
    MOST_GOODS,
    Name,
    Place,
    Thing,
    Vocabulary,
    place_label,
)

EXAMPLE: Final = "写出地区、店铺、平台或货品编码，例如：江苏省暂停发货 到明早8点 顺丰除外"


def parse(text: str, vocabulary: Vocabulary, now: datetime) -> Parsed:
    """Read one command. The same text, names and moment always give the same answer."""
    plain = tidy(text)
    if len(plain) > LONGEST:
        return NotUnderstood((), (), (f"一道指令最多 {LONGEST} 个字",))
    found = Reader(plain, vocabulary).read(cut(plain, vocabulary, now).parts)
    for step in (_times, _rest, _which, _numbered, _what, _verb):
        if (answer := step(found)) is not None:
            return answer
    return _command(found)


# --- the steps: each answers what it finds in doubt ---------------------------------------------


def _times(found: Reader) -> Parsed | None:
    for time, (start, end) in zip(found.times, found.time_spans, strict=True):
        if time.problem:
            return NotUnderstood(found.chips(), (time.text.strip(),), (time.problem,))
        if not time.is_end and not time.is_start:
            return _asked_time(found, time, start, end)
        if len(time.ends) > 1:
            return _asked_which(found, time, start, end)
    return _one_stretch(found)


def _one_stretch(found: Reader) -> Parsed | None:
    """Whether the times make one beginning and one end at most, the end after the beginning."""
    starts = [time.text.strip() for time in found.times if time.starts or time.is_start]
    ends = [time.text.strip() for time in found.times if not time.is_start]
    fault: tuple[list[str], str] | None = None
    begins_at, ends_at = found.begins_at, found.ends_at
    if len(starts) > 1:
        fault = starts[1:], "一道指令只能有一个开始时间"
    elif len(ends) > 1:
        fault = ends[1:], "一道指令只能有一个到期时间"
    elif begins_at is not None and found.kind not in {None, Kind.STOP}:
        fault = starts, "只有拦截可以预约开始"
    elif begins_at is not None and ends_at is not None and ends_at <= begins_at:
        fault = ends, "到期时间早于开始时间"
    return NotUnderstood(found.chips(), tuple(fault[0]), (fault[1],)) if fault else None


def _asked_which(found: Reader, time: TimeSaid, start: int, end: int) -> Choices:
    """A beginning or an end that may be one of several moments."""
    before = f"{typed_start(time.starts)} " if time.starts else ""
    options = tuple(
        Option(f"从 {shown_start(one)} 开始", found.without(start, end, typed_start(one)))
        if time.is_start
        else Option(f"到 {shown(one)}", found.without(start, end, before + typed(one)))
        for one in time.ends
    )
    return Choices(f"“{time.text.strip()}”是指：", options, found.chips())


def _asked_time(found: Reader, time: TimeSaid, start: int, end: int) -> Choices:
    """A time that does not say what happens at it."""
    options = [
        Option(f"现在开始，到 {shown(one)}", found.without(start, end, typed(one)))
        for one in time.ends
    ]
    options += [
        Option(f"从 {shown_start(one)} 开始", found.without(start, end, typed_start(one)))
        for one in time.ends
    ]
    options.append(Option("现在开始，不设到期", found.without(start, end)))
    question = f"“{time.text.strip()}”是开始时间，还是到期时间？"
    return Choices(question, tuple(options), found.chips())


def _rest(found: Reader) -> Parsed | None:
    """What is not known: things of nearly this name, or a plain word that it is not known."""
    if not found.rest:
        return None
    part = found.rest[0]
    told = tuple(one.text for one in found.rest)
    if len(part.text) > 1:
        options = list(_like(found, part))
        if options:
            question = f"没有叫“{part.text}”的店铺、货品或地区，是不是："
            return Choices(question, tuple(options[:MOST_OPTIONS]), found.chips())
    return NotUnderstood(found.chips(), told, _hints(found))


def _like(found: Reader, part: Said) -> Iterator[Option]:
    containing = found.vocabulary.containing(part.text)
    skus = [name for name in containing if name.thing is Thing.SKU]
    for name in containing or found.vocabulary.resembling(part.text):
        yield Option(_spoken(name), found.without(part.start, part.end, _typed_name(name)))
    if 1 < len(skus) <= MOST_OPTIONS:
        every = "、".join(_typed_name(name) for name in skus)
        yield Option(f"全部 {len(skus)} 种货品", found.without(part.start, part.end, every))


def _spoken(name: Name) -> str:
    kinds = {Thing.SKU: "货品", Thing.SHOP: "店铺", Thing.PLACE: "地区",
             Thing.CHANNEL: "平台", Thing.CARRIER: "快递"}  # fmt: skip
    return name.label if name.thing is Thing.CATEGORY else f"{kinds[name.thing]} {name.label}"


def _typed_name(name: Name) -> str:
    """A thing as a command names it without any doubt."""
    return name.label if name.thing in {Thing.PLACE, Thing.CHANNEL, Thing.CARRIER} else name.key


def _hints(found: Reader) -> tuple[str, ...]:
    hints = [EXAMPLE]
    told = [part.text for part in found.rest]
    if any(text.isascii() for text in told):
        hints.insert(0, "没有这个货品编码或店铺编码，请核对")
    zones = {zone.text for zone in atlas().zones}
    hints[:0] = [f"“{text}”跨几个区县，请写出区县名" for text in told if text in zones]
    if any(text.startswith(("到", "至")) for text in told):
        hints.insert(0, "到期时间可以写：到明早8点、3小时、到11月25日18点")
    return tuple(hints)


def _which(found: Reader) -> Parsed | None:
    """Names that several things have: one question at a time, never a guess."""
    inside = [one for one in found.named if not one.is_out and not one.mention.is_choice]
    for one in found.named:
        mention = one.mention
        if not mention.is_choice:
            continue
        if mention.rivals:
            options = tuple(
                Option(_spoken(Name("", thing, key, label)),
                       found.without(mention.start, mention.end, _typed_rival(thing, key, label)))
                for thing, key, label in mention.rivals
            )  # fmt: skip
            return Choices(f"“{mention.label}”是指：", options[:MOST_OPTIONS], found.chips())
        meant = _within(mention.places, inside) if one.is_out else list(mention.places)
        if len(meant) == 1:
            one.mention = replace(
                mention, places=(meant[0],), is_choice=False, label=place_label(meant[0])
            )
            continue
        options = tuple(
            Option(place_label(place),
                   found.without(mention.start, mention.end, place_label(place)))
            for place in (meant or mention.places)
        )  # fmt: skip
        return Choices(f"“{mention.label}”是指：", options[: 2 * MOST_OPTIONS], found.chips())
    return None


def _typed_rival(thing: Thing, key: str, label: str) -> str:
    words = {Thing.CATEGORY: "类目", Thing.SHOP: "店铺", Thing.SKU: "SKU"}
    text = _typed_name(Name("", thing, key, label))
    return f"{words[thing]} {text}" if thing in words else text


def _within(places: Sequence[Place], named: Sequence[Named]) -> list[Place]:
    """Those of ``places`` that lie in a place the command stops."""
    wide = [place for one in named for place in one.mention.places]
    return [
        place for place in places
        if any(all(not w or w == p for w, p in zip(above, place, strict=True)) for above in wide)
    ]  # fmt: skip


def _numbered(found: Reader) -> Parsed | None:
    """A number names an interception, and those are only ever lifted."""
    if not found.number or found.kind is Kind.LIFT:
        return None
    hint = f"编号只能用来解除：解除 #{found.number}"
    return NotUnderstood(found.chips(), (f"#{found.number}",), (hint,))


def _what(found: Reader) -> Parsed | None:
    """Whether anything is named, and nothing of it both stopped and left out."""
    stopped = {(one.mention.thing, one.mention.key) for one in found.named if not one.is_out}
    left_out = {(one.mention.thing, one.mention.key) for one in found.named if one.is_out}
    if twice := stopped & left_out:
        labels = "、".join(found.vocabulary.label(*one) for one in sorted(twice))
        return NotUnderstood(found.chips(), (labels,), (f"{labels} 既要拦截又要除外，请只留一个",))
    names_any = bool(stopped) or found.says_every or bool(found.number)
    if names_any:
        return None
    if found.kind is Kind.LIFT:
        return NotUnderstood(found.chips(), (), ("写明解除哪一条：解除江苏、解除 #12、解除全部",))
    if left_out:
        option = Option("除此以外全部订单", f"全部 {found.text}")
        return Choices("没有说拦截哪里，是不是：", (option,), found.chips())
    return NotUnderstood(found.chips(), (), _hints(found))


def _verb(found: Reader) -> Parsed | None:
    """Whether one thing is to be done."""
    if found.kind is not None:
        return None
    if found.verbs:
        return NotUnderstood(found.chips(), (), ("一次只能下一道指令：先拦截，再解除",))
    options = tuple(Option(f"{VERBS[kind]}", tidy(f"{found.text} {VERBS[kind]}")) for kind in Kind)
    return Choices("要做什么？", options, found.chips())


def _command(found: Reader) -> Parsed:
    kind = found.kind
    assert kind is not None
    condition = empty_condition()
    for one in found.named:
        _add(condition, one, found.vocabulary)
    if (many := max(len(condition["skus"]), len(condition["not_skus"]))) > MOST_GOODS:
        return NotUnderstood(
            found.chips(), (), (f"一次最多 {MOST_GOODS} 种货品，这个类目有 {many} 种",)
        )
    has_positive = any(condition.get(key) for key in KEYS.values())
    condition["all"] = found.says_every and not has_positive
    is_stop = kind is Kind.STOP
    return Command(
        kind=kind,
        condition=condition,
        words=words_of(condition, found.vocabulary.label, kind),
        ends_at=found.ends_at if is_stop else None,
        begins_at=found.begins_at if is_stop else None,
        chips=found.chips(),
        reason="、".join(dict.fromkeys(found.reasons)),
        number=found.number,
    )


def _add(condition: Condition, one: Named, vocabulary: Vocabulary) -> None:
    mention = one.mention
    prefix = "not_" if one.is_out else ""
    if mention.thing is Thing.CATEGORY:
        key, values = "skus", [sku.code for sku in vocabulary.by_category[mention.key]]
    elif mention.thing is Thing.PLACE:
        key, values = "places", [list(place) for place in mention.places]  # type: ignore[misc]
    else:
        key, values = KEYS[mention.thing], [mention.key]
    told = condition[prefix + key]
    told.extend(value for value in values if value not in told)
