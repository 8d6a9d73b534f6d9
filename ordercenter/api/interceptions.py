"""Interceptions for programs: say it in a sentence or as a condition, read how far it is, lift."""

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar, Final

from django.contrib.auth.models import User
from django.utils.dateparse import parse_datetime
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ordercenter.api.permissions import MayIntercept
from ordercenter.api.query import check_query
from ordercenter.api.tokens import TOKEN_OR_SESSION
from ordercenter.api.views import JsonAlways
from ordercenter.core.actor import Actor
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, NotFound
from ordercenter.orders.models import Interception
from ordercenter.pipeline.interception import acts, tracking
from ordercenter.pipeline.interception.commands import (
    Chip,
    Choices,
    Command,
    Kind,
    NotUnderstood,
    words_of,
)
from ordercenter.pipeline.interception.gates import Condition
from ordercenter.pipeline.interception.lookup import read_command, vocabulary
from ordercenter.pipeline.interception.preview import preview

LONGEST_KEY: Final = 80
MOST: Final = 100
FIELDS: Final = frozenset({"text", "condition", "reason", "begins_at", "ends_at", "dry_run"})


class _Door(APIView):
    authentication_classes = TOKEN_OR_SESSION
    permission_classes = (MayIntercept,)
    renderer_classes = (JSONRenderer,)
    parser_classes = (JSONParser,)
    content_negotiation_class = JsonAlways
    metadata_class = None
    known_parameters: ClassVar[frozenset[str]] = frozenset()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_query(request, self.known_parameters)


def _shown(row: Interception) -> dict[str, Any]:
    return _all_shown([row])[0]


def _all_shown(rows: Sequence[Interception]) -> list[dict[str, Any]]:
    found = tracking.figures([row.pk for row in rows])
    return [_facts(row, found[row.pk]) for row in rows]


def _facts(row: Interception, figures: tracking.Figures) -> dict[str, Any]:
    return {
        "id": str(row.pk), "state": row.state, "text": row.text, "words": row.words,
        "condition": row.condition, "reason": row.reason, "source": row.source,
        "asked_at": row.asked_at, "begins_at": row.begins_at, "started_at": row.started_at,
        "ends_at": row.ends_at,
        "held_at": row.held_at, "ended_at": row.ended_at, "end_reason": row.end_reason,
        "end_asked": bool(row.end_asked_by),
        "orders_held": figures.held, "orders_freed": figures.free,
        "parcels_stopped_at_bench": figures.at_bench, "parcels_too_late": figures.late,
        "carrier_accepted": figures.asked, "carrier_refused": figures.refused,
    }  # fmt: skip


class InterceptionList(_Door):
    """``GET``: the latest hundred. ``POST``: begin one; the same Idempotency-Key begins it once.

    201 it runs, 202 a second person has to agree, 200 for ``dry_run`` and for a key told before,
    422 with ``choices`` for what may mean several things.
    """

    http_method_names = ["get", "head", "post"]

    def get(self, _request: Request) -> Response:
        rows = Interception.objects.order_by("-asked_at", "-pk")[:MOST]
        return Response({"results": _all_shown([*rows])})

    def post(self, request: Request) -> Response:
        now = clock_now()
        told = _told(request)
        text = str(told.get("text") or "")
        if "condition" in told:
            condition, words = _condition(told)
            begins_at, ends_at = _moment(told, "begins_at"), _moment(told, "ends_at")
        else:
            read = read_command(text, now=now)
            if not isinstance(read, Command) or read.kind is not Kind.STOP:
                return _not_one_command(read)
            condition, words = Condition.read(read.condition), read.words
            begins_at, ends_at = read.begins_at, read.ends_at
        seen = preview(condition.stored(), ends_at=ends_at, now=now).stored()
        if told.get("dry_run") is True:
            facts = {"words": words, "condition": condition.stored()}
            return Response({**facts, "begins_at": begins_at, "ends_at": ends_at, "preview": seen})
        wish = acts.Wish(
            text=text or words, condition=condition, words=words,
            reason=str(told.get("reason") or ""), begins_at=begins_at, ends_at=ends_at,
            preview=seen,
            source=Interception.Source.API, source_key=_key(request),
        )  # fmt: skip
        before = Interception.objects.filter(source=wish.source, source_key=wish.source_key)
        was_told = before.exists()
        assert isinstance(request.user, User)
        row = acts.ask(wish, user=request.user, actor=Actor.person(request.user), now=now)
        status = HTTPStatus.ACCEPTED if row.state == "asked" else HTTPStatus.CREATED
        return Response(_shown(row), status=HTTPStatus.OK if was_told else status)


def _told(request: Request) -> dict[str, Any]:
    told = request.data
    if not isinstance(told, dict) or set(told) - FIELDS:
        raise InvalidInput(what=f"报文应是一个对象，字段只能是 {'、'.join(sorted(FIELDS))}")
    if ("text" in told) == ("condition" in told):
        raise InvalidInput(what="text 与 condition 请给且只给一个")
    if "text" in told and ("begins_at" in told or "ends_at" in told):
        raise InvalidInput(what="用 text 时，开始与到期时间请写在指令里")
    return told


def _condition(told: dict[str, Any]) -> tuple[Condition, str]:
    if not isinstance(told["condition"], dict):
        raise InvalidInput(what="condition 应是一个对象")
    condition = Condition.read(told["condition"])
    words = words_of(condition.stored(), vocabulary().label)
    return condition, words


def _moment(told: dict[str, Any], name: str) -> datetime | None:
    value = told.get(name)
    if value is None:
        return None
    try:
        moment = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise InvalidInput(what=f"{name} 不是有效的时间，例如 2026-11-23T08:00:00+08:00")
    return moment if moment.tzinfo else moment.replace(tzinfo=SHANGHAI)


def _key(request: Request) -> str:
    """The caller's own key, its user before it: two callers never meet in one."""
    key = request.headers.get("Idempotency-Key", "").strip()
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise InvalidInput(what=f"请在 Idempotency-Key 请求头里给出 1 到 {LONGEST_KEY} 个字符")
    return f"{request.user.pk}:{key}"


def _not_one_command(read: Command | Choices | NotUnderstood) -> Response:
    facts: dict[str, Any]
    if isinstance(read, Choices):
        options = [{"label": one.label, "text": one.text} for one in read.options]
        facts = {"code": "ambiguous", "message": read.question, "choices": options}
    elif isinstance(read, NotUnderstood):
        facts = {
            "code": "not_understood", "message": "；".join(read.hints),
            "understood": _words(read.understood), "rest": [*read.rest],
        }  # fmt: skip
    else:
        facts = {"code": "not_a_stop", "message": "这里只接受拦截指令；解除请用 lift"}
    return Response(facts, status=HTTPStatus.UNPROCESSABLE_ENTITY)


def _words(chips: tuple[Chip, ...]) -> list[str]:
    return [chip.words for chip in chips]


def _one(pk: int) -> Interception:
    row = Interception.objects.filter(pk=pk).first()
    if row is None:
        raise NotFound(what=f"拦截 {pk}")
    return row


class InterceptionDetail(_Door):
    """``GET /api/interceptions/{id}/``: how far it is; ``?orders=held|bench|late|free`` adds a
    page of its orders."""

    http_method_names = ["get", "head"]
    known_parameters = frozenset({"orders", "page"})

    def get(self, request: Request, pk: int) -> Response:
        facts = _shown(_one(pk))
        place = request.query_params.get("orders")
        if place is not None:
            if place not in {"", *tracking.Place.values}:
                raise InvalidInput(what="orders 只能是 held、bench、late、free 或空")
            text = request.query_params.get("page", "1")
            page = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 1  # noqa: PLR2004
            found = tracking.tracked(pk, user=request.user, place=place, page=page)
            facts["orders"] = [
                {"number": one.number, "shop": one.shop, "status": one.status,
                 "outcome": one.place.value, "parcel": one.parcel, "since": one.since,
                 "until": one.until, "carrier": one.call_back, "words": one.words}
                for one in found
            ]  # fmt: skip
        return Response(facts)


class InterceptionLift(_Door):
    """``POST …/lift/`` with a ``reason``: 200 it has ended, 202 the CEO is asked."""

    http_method_names = ["post"]

    def post(self, request: Request, pk: int) -> Response:
        _one(pk)
        told = request.data
        if not isinstance(told, dict) or set(told) - {"reason"}:
            raise InvalidInput(what='报文应是 {"reason": …}')
        assert isinstance(request.user, User)
        row = acts.lift(
            pk, user=request.user, actor=Actor.person(request.user),
            reason=str(told.get("reason") or ""),
        )  # fmt: skip
        is_over = row.state != Interception.State.ACTIVE
        return Response(_shown(row), status=HTTPStatus.OK if is_over else HTTPStatus.ACCEPTED)
