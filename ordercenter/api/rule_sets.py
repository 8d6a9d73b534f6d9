"""Rule sets: read, written as drafts, and asked to go live. They go live as from their page."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import IO, Any, Final

from django.contrib.auth.models import User
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ordercenter.api.permissions import MayKeepRules
from ordercenter.api.query import check_query
from ordercenter.api.tokens import TOKEN_OR_SESSION, actor_of
from ordercenter.api.views import JsonAlways
from ordercenter.core.actor import names_of
from ordercenter.core.errors import InvalidInput, NotFound
from risk import sets
from risk.language import digest_of
from risk.models import RuleSet

MOST: Final = 200
"""Sets in a list, the newest first."""


class RulesParser(JSONParser):
    """JSON, however deep somebody has nested it."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError(_("JSON 嵌套太深")) from error


class RulesDoor(APIView):
    """What every door to rule sets has in common."""

    authentication_classes = TOKEN_OR_SESSION
    permission_classes = (MayKeepRules,)
    renderer_classes = (JSONRenderer,)
    parser_classes = (RulesParser,)
    content_negotiation_class = JsonAlways
    metadata_class = None
    http_method_names = ["get", "head"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_query(request, frozenset())


class RuleSetList(RulesDoor):
    """``GET /api/rule-sets/``: every set without its rules. ``POST``: a new draft.

    A draft is made of ``rules``, or else of the version ``based_on`` (the live one where it is
    not given); ``note`` is for people.
    """

    http_method_names = ["get", "head", "post"]

    def get(self, _request: Request) -> Response:
        rows = list(RuleSet.objects.defer("rules").order_by("-version")[:MOST])
        names = names_of({mark for row in rows for mark in _people(row)})
        return Response({"results": [_told(row, names) for row in rows]})

    def post(self, request: Request) -> Response:
        body = _body(request, {"rules", "based_on", "note"})
        note, who = _text(body, "note"), actor_of(request)
        if "rules" in body:
            if "based_on" in body:
                raise InvalidInput(what="rules 与 based_on 只能给一个")
            row = sets.import_set(body["rules"], _user(request), note=note, actor=who)
        else:
            based_on = body.get("based_on")
            if based_on is not None and not _is_whole(based_on):
                raise InvalidInput(what="based_on 应为版本号")
            row = sets.new_draft(based_on, _user(request), note=note, actor=who)
        return Response(_whole(row), status=HTTPStatus.CREATED)


class RuleSetDetail(RulesDoor):
    """``GET /api/rule-sets/{version}/``: one set with its rules.

    ``PUT`` saves a draft: ``rules``, and ``edits`` as it was last read (409 when somebody else
    has saved since).
    """

    http_method_names = ["get", "head", "put"]

    def get(self, _request: Request, version: int) -> Response:
        return Response(_whole(_row(version)))

    def put(self, request: Request, version: int) -> Response:
        body = _body(request, {"rules", "edits", "note"})
        if not _is_whole(body.get("edits")) or "rules" not in body:
            raise InvalidInput(what="请给出 rules 和读到的 edits")
        note = _text(body, "note") if "note" in body else None
        row = sets.save_draft(
            _row(version).pk, body["rules"], body["edits"], _user(request), note=note,
            actor=actor_of(request),
        )  # fmt: skip
        return Response(_whole(row))


class RuleSetCommit(RulesDoor):
    """``POST /api/rule-sets/{version}/commit/``: close a draft for good."""

    http_method_names = ["post"]

    def post(self, request: Request, version: int) -> Response:
        body = _body(request, {"edits"})
        edits = body.get("edits")
        if edits is not None and not _is_whole(edits):
            raise InvalidInput(what="edits 应为读到的修改次数")
        row = sets.commit_draft(
            _row(version).pk, _user(request), seen_edits=edits, actor=actor_of(request)
        )
        return Response(_whole(row))


class RuleSetActivation(RulesDoor):
    """``POST /api/rule-sets/{version}/ask/``: make it live, or ask the second person it takes.

    ``state`` of the answer says which: ``live`` or ``asked``. Approving is for people on the page.
    """

    http_method_names = ["post"]

    def post(self, request: Request, version: int) -> Response:
        body = _body(request, {"reason"})
        row = sets.ask_activation(
            _row(version).pk, _user(request), reason=_text(body, "reason", longest=500),
            actor=actor_of(request),
        )  # fmt: skip
        return Response(_whole(row))


def _user(request: Request) -> User:
    assert isinstance(request.user, User)  # behind the guard
    return request.user


def _body(request: Request, known: set[str]) -> Mapping[str, Any]:
    body = request.data
    if not isinstance(body, Mapping):
        raise InvalidInput(what="请求内容应为 JSON 对象")
    if unknown := sorted(set(body) - known):
        raise InvalidInput(what=f"不认识的字段 {str(unknown[0])[:40]}")
    return body


def _text(body: Mapping[str, Any], name: str, *, longest: int = 200) -> str:
    text = body.get(name, "")
    if not isinstance(text, str) or len(text) > longest:
        raise InvalidInput(what=f"{name} 应为 {longest} 字以内的文字")
    return text


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _row(version: int) -> RuleSet:
    found = RuleSet.objects.filter(version=version).first() if version < 2**31 else None
    if found is None:
        raise NotFound(what=f"规则集 v{version}")
    return found


def _people(row: RuleSet) -> tuple[str, ...]:
    return row.author, row.asked_by, row.activated_by


def _told(row: RuleSet, names: Mapping[str, str]) -> dict[str, Any]:
    author, asked_by, activated_by = (names.get(mark, "") for mark in _people(row))
    return {
        "version": row.version, "state": row.state.value, "is_shadow": row.is_shadow,
        "note": row.note, "edits": row.edits, "based_on": row.based_on, "author": author,
        "created_at": row.created_at, "committed_at": row.committed_at, "asked_by": asked_by,
        "asked_at": row.asked_at, "activated_by": activated_by, "activated_at": row.activated_at,
    }  # fmt: skip


def _whole(row: RuleSet) -> dict[str, Any]:
    told = _told(row, names_of(set(_people(row))))
    return {**told, "digest": digest_of(row.rules), "rules": row.rules}
