"""Who acts. Comes down by argument, so that a job is as accountable as a click."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser, User
from django.http import HttpRequest

from ordercenter.core.policy import roles_of


class ActorKind(StrEnum):
    PERSON = "person"
    JOB = "job"
    PLATFORM = "platform"
    RULE = "rule"
    TOKEN = "token"  # noqa: S105 - a kind of actor


@dataclass(frozen=True, slots=True)
class Actor:
    kind: ActorKind
    id: str
    name: str
    role: str = ""
    request_id: str = ""

    @classmethod
    def of(cls, request: HttpRequest) -> "Actor":
        """The person behind a request."""
        return cls.person(request.user, request_id=getattr(request, "request_id", ""))  # type: ignore[arg-type]

    @classmethod
    def person(cls, user: AbstractBaseUser, *, request_id: str = "") -> "Actor":
        name = user.get_full_name() or user.get_username()  # type: ignore[attr-defined]
        role = ",".join(sorted(roles_of(user)))
        return cls(ActorKind.PERSON, str(user.pk), name, role, request_id)

    @classmethod
    def job(cls, name: str) -> "Actor":
        return cls(ActorKind.JOB, name, name)

    @classmethod
    def platform(cls, channel: str, shop_code: str) -> "Actor":
        return cls(ActorKind.PLATFORM, shop_code, channel)

    @property
    def mark(self) -> str:
        """Kind and id as one word, to tell people apart by: ``person:7``."""
        return f"{self.kind.value}:{self.id}"[:64]

    def facts(self) -> dict[str, Any]:
        return {"kind": self.kind.value, "id": self.id, "name": self.name, "role": self.role}


PIPELINE: Final = Actor.job("pipeline")


def names_of(marks: Iterable[str]) -> dict[str, str]:
    """What people read for each of these ``Actor.mark`` texts: names of persons, else the id."""
    parts = {mark: mark.partition(":") for mark in marks if mark}
    ids = [int(i) for kind, _, i in parts.values() if kind == ActorKind.PERSON and i.isdecimal()]
    people = {
        str(user.pk): user.get_full_name() or user.get_username()
        for user in User.objects.filter(pk__in=ids)
    }
    return {mark: people.get(i, i) or mark for mark, (_kind, _, i) in parts.items()}
