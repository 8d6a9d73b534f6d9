"""The stretches of a command read from left to right: what is named, what is left out, when."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ordercenter.pipeline.interception.commands import VERBS, Chip, Kind, shown, shown_start
from ordercenter.pipeline.interception.moments import TimeSaid
from ordercenter.pipeline.interception.scanning import Mention, Said, tidy
from ordercenter.pipeline.interception.vocabulary import Vocabulary
from ordercenter.pipeline.interception.wordlist import Word


@dataclass(slots=True)
class Named:
    """A mention, and whether it is left out."""

    mention: Mention
    is_out: bool = False


@dataclass(slots=True)
class Reader:
    """What the stretches of a command come to, read from left to right."""

    text: str
    vocabulary: Vocabulary
    named: list[Named] = field(default_factory=list)
    times: list[TimeSaid] = field(default_factory=list)
    time_spans: list[tuple[int, int]] = field(default_factory=list)
    rest: list[Said] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    verbs: list[tuple[Kind, int]] = field(default_factory=list)
    """With how many things had been named before."""
    says_every: bool = False
    number: int = 0
    group: list[Named] = field(default_factory=list)
    is_group_over: bool = False
    is_joined: bool = False
    leaves_out: bool = False

    def read(self, parts: Sequence[Said]) -> "Reader":
        for part in parts:
            if part.mention is not None:
                self._name(part.mention)
            elif part.time is not None:
                self.times.append(part.time)
                self.time_spans.append((part.start, part.end))
                self.is_group_over = True
            elif part.number:
                self.number = part.number
            elif part.word is None:
                self.rest.append(part)
            else:
                self._word(part.word, part)
        return self

    def _name(self, mention: Mention) -> None:
        one = Named(mention, self.leaves_out)
        is_other = bool(self.group) and self.group[-1].mention.thing != mention.thing
        if self.is_group_over or (is_other and not self.is_joined):
            self.group = []
        self.is_group_over = self.is_joined = False
        self.group.append(one)
        self.named.append(one)

    def _word(self, word: Word, part: Said) -> None:  # noqa: C901 - one case a word
        match word:
            case Word.STOP | Word.LIFT | Word.FIND:
                self.verbs.append((Kind(word.value), len(self.named)))
                self.is_group_over, self.leaves_out = True, False
            case Word.NOT_BEFORE:
                self.leaves_out = self.is_group_over = True
            case Word.NOT_AFTER:
                self._leave_out(part)
            case Word.OUTSIDE:
                if not self.leaves_out:
                    self.rest.append(part)
                self.leaves_out, self.is_group_over = False, True
            case Word.BREAK:
                self.is_group_over = True
                if self.named and self.named[-1].is_out:
                    self.leaves_out = False
            case Word.AND:
                self.is_joined = True
            case Word.EVERY:
                self.says_every = True
            case Word.REASON:
                self.reasons.append(part.text)
            case _:
                pass

    def _leave_out(self, part: Said) -> None:
        if not self.group and not self.leaves_out:
            self.rest.append(part)
        for one in self.group:
            one.is_out = True
        self.leaves_out, self.is_group_over, self.group = False, True, []

    # --- what is asked of the whole ------------------------------------------------------------

    @property
    def kind(self) -> Kind | None:
        """What is to be done; None where it is not said or two things are."""
        kinds = [kind for kind, _ in self.verbs]
        if not kinds:
            return None
        if Kind.FIND in kinds:
            return Kind.FIND
        if Kind.LIFT not in kinds or Kind.STOP not in kinds:
            return kinds[0]
        # 解除江苏的停发 and 江苏停发解除 lift; 江苏停发浙江恢复 are two commands.
        between = {count for _, count in self.verbs}
        is_one = self.verbs[0][0] is Kind.LIFT or len(between) == 1
        return Kind.LIFT if is_one else None

    @property
    def begins_at(self) -> datetime | None:
        """When it is to start; None for now. To be asked once no time is in doubt."""
        for time in self.times:
            if time.starts is not None:
                return time.starts
            if time.is_start and time.ends:
                return time.ends[0]
        return None

    def end_of(self, time: TimeSaid) -> datetime:
        """When a time says it ends; a length counts from the beginning."""
        begins = self.begins_at
        if begins is not None and time.lasts is not None:
            return begins + time.lasts
        return time.ends[0]

    @property
    def ends_at(self) -> datetime | None:
        """When it is to end; None for never. To be asked once no time is in doubt."""
        for time in self.times:
            if time.ends and not time.is_start:
                return self.end_of(time)
        return None

    def without(self, start: int, end: int, instead: str = "") -> str:
        """The command with one stretch replaced."""
        return tidy(f"{self.text[:start]} {instead} {self.text[end:]}")

    def chips(self) -> tuple[Chip, ...]:
        return tuple(self._chips())

    def _chips(self) -> Iterator[Chip]:
        kind = self.kind
        if kind is not None:
            yield Chip("verb", VERBS[kind])
        for one in self.named:
            label = one.mention.label
            yield Chip("not", f"{label} 除外") if one.is_out else Chip(one.mention.thing, label)
        if self.says_every and not any(not one.is_out for one in self.named):
            yield Chip("all", "全部订单")
        for time in self.times:
            begins = time.starts or (time.ends[0] if time.is_start and time.ends else None)
            if begins is not None and (time.starts or len(time.ends) == 1):
                yield Chip("from", f"从 {shown_start(begins)} 开始")
            if len(time.ends) == 1 and time.is_end:
                yield Chip("until", f"到 {shown(self.end_of(time))}")
        for reason in self.reasons:
            yield Chip("reason", reason)
        if self.number:
            yield Chip("number", f"#{self.number}")
