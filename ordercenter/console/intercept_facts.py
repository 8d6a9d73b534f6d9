"""What the pages of interceptions show: a command as it is read, what runs, what became of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from django.contrib.auth.models import User
from django.db.models import QuerySet

from ordercenter.core.actor import ActorKind
from ordercenter.core.policy import AnyUser, Can, allows
from ordercenter.orders.models import Interception, InterceptionPolicy
from ordercenter.pipeline.interception import tracking
from ordercenter.pipeline.interception.commands import (
    Choices,
    Command,
    Kind,
    NotUnderstood,
    Parsed,
    shown,
    shown_start,
)
from ordercenter.pipeline.interception.lookup import Meant, meant_by, read_command
from ordercenter.pipeline.interception.preview import Preview, preview
from ordercenter.pipeline.interception.tracking import Figures

State = Interception.State
OPEN_STATES: Final = (State.ASKED, State.PLANNED, State.ACTIVE)
A_PAGE: Final = 50
MOST_PAGES: Final = 200
HISTORY: Final = 30


@dataclass(frozen=True, slots=True)
class Read:
    """A command as the box shows it: what was understood, what is asked, what it would do."""

    text: str
    command: Command | None = None
    choices: Choices | None = None
    unknown: NotUnderstood | None = None
    preview: Preview | None = None
    meant: Meant | None = None
    policy: InterceptionPolicy | None = None

    @property
    def needs_second(self) -> bool:
        """Whether somebody else has to agree, as things stand."""
        if self.command is None or self.preview is None or self.policy is None:
            return False
        return (
            self.command.is_all
            or self.command.begins_at is not None
            or self.preview.count > self.policy.most_orders
            or sum((part.value for part in self.preview.money), Decimal(0)) > self.policy.most_value
        )


def read_box(text: str, *, now: datetime, is_light: bool = False) -> Read:
    """Read what stands in the box. ``is_light`` leaves the counting for later."""
    parsed: Parsed = read_command(text, now=now)
    if isinstance(parsed, Choices):
        return Read(text, choices=parsed)
    if isinstance(parsed, NotUnderstood):
        return Read(text, unknown=parsed)
    if parsed.kind is Kind.LIFT:
        return Read(text, command=parsed, meant=meant_by(parsed))
    if is_light:
        return Read(text, command=parsed)
    found = preview(parsed.condition, ends_at=parsed.ends_at, now=now)
    return Read(text, command=parsed, preview=found, policy=InterceptionPolicy.current())


@dataclass(frozen=True, slots=True)
class Row:
    """One interception with how far it is."""

    it: Interception
    who: str
    second: str
    ended_by: str
    end_asked_by: str
    figures: Figures
    wanted: int
    """Orders it was to stop when it was asked for."""
    may: frozenset[str] = frozenset()

    @property
    def until(self) -> str:
        return shown(self.it.ends_at) if self.it.ends_at else ""

    @property
    def since(self) -> str:
        """When it is to start, where that was said."""
        return shown_start(self.it.begins_at) if self.it.begins_at else ""

    @property
    def met(self) -> int:
        """Orders that ever carried its hold."""
        return self.figures.held + self.figures.free

    @property
    def of(self) -> int:
        """How many it is about: what it was to stop, and what came since."""
        return max(self.wanted, self.met)

    @property
    def value(self) -> Decimal:
        """In yuan, as it was shown to who asked."""
        try:
            return Decimal(str(self.it.preview.get("value") or 0))
        except InvalidOperation:
            return Decimal(0)


def rows(user: AnyUser, found: Sequence[Interception]) -> list[Row]:
    """These interceptions with their figures. Three questions, however many."""
    figures = tracking.figures([one.pk for one in found]) if found else {}
    names = names_of(
        {
            who
            for one in found
            for who in (one.asked_by, one.approved_by, one.ended_by, one.end_asked_by)
        }
    )
    return [
        Row(
            it=one,
            who=names[one.asked_by],
            second=names[one.approved_by],
            ended_by=names[one.ended_by],
            end_asked_by=names[one.end_asked_by],
            figures=figures[one.pk],
            wanted=int(one.preview.get("count") or 0),
            may=frozenset(may(user, one)),
        )
        for one in found
    ]


def may(user: AnyUser, one: Interception) -> list[str]:
    """What this user may do about it. The services check again."""
    if not allows(user, Can.INTERCEPT):
        return []
    own = one.asked_by == f"{ActorKind.PERSON}:{user.pk}"
    if one.state == State.ASKED:
        return ["refuse"] if own else ["approve", "refuse"]
    if one.state == State.PLANNED:
        return ["refuse"]
    if one.state != State.ACTIVE:
        return []
    if allows(user, Can.END_INTERCEPT):
        return ["lift"]
    return [] if one.end_asked_by else ["lift"]


def names_of(ids: Collection[str]) -> dict[str, str]:
    """What people are called who stand as ``person:7``; jobs and feeds keep their own name."""
    prefix = f"{ActorKind.PERSON}:"
    keys = {one.removeprefix(prefix) for one in ids if one.startswith(prefix)}
    users = User.objects.filter(pk__in=[key for key in keys if key.isdigit()])
    known = {str(user.pk): user.get_full_name() or user.get_username() for user in users}
    return {
        one: known.get(one.removeprefix(prefix), one) if one.startswith(prefix) else one
        for one in ids
    }


def running() -> QuerySet[Interception]:
    return Interception.objects.filter(state=State.ACTIVE).order_by("-started_at", "-pk")


def asked() -> QuerySet[Interception]:
    return Interception.objects.filter(state=State.ASKED).order_by("asked_at", "pk")


def planned() -> QuerySet[Interception]:
    """What is agreed on and still to start, the next first."""
    return Interception.objects.filter(state=State.PLANNED).order_by("begins_at", "pk")


def over() -> QuerySet[Interception]:
    return Interception.objects.exclude(state__in=OPEN_STATES).order_by("-asked_at", "-pk")
