"""Traps 8 to 10 of ``reliability.md`` 3: what a body may not be, at every door of the API."""

import json
from typing import Any

import pytest
from django.conf import settings
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from ordercenter.api.parsers import MOST_BYTES, StrictJSONParser

SURROGATE = b'{"a": "' + b"\\ud800" + b'"}'
FULL_WIDTH = '{"a": \uff11\uff12}'.encode()


class Echo(APIView):
    """A door with the house's own settings that answers with what it read."""

    permission_classes = (AllowAny,)
    authentication_classes = ()

    def post(self, request: Request) -> Response:
        return Response({"read": str(request.data)})


def post(body: bytes, content_type: str = "application/json") -> Any:
    return Echo.as_view()(APIRequestFactory().post("/", body, content_type=content_type))


def test_the_house_reads_bodies_with_the_strict_reader_alone() -> None:
    assert settings.REST_FRAMEWORK["DEFAULT_PARSER_CLASSES"] == [
        "ordercenter.api.parsers.StrictJSONParser"
    ]
    assert [str(one) for one in api_settings.DEFAULT_PARSER_CLASSES] == [str(StrictJSONParser)]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        SURROGATE,
        b'{"a": 1_000}',
        FULL_WIDTH,
        b"{'a': 1}",
        b'{"a": 1',
        b"\xff\xfe{}",
        b'{"a": "' + b"x" * MOST_BYTES + b'"}',
    ],
    ids=[
        "trap 8: brackets", "trap 8: braces", "trap 9: key twice", "trap 10: NaN",
        "trap 10: Infinity", "trap 10: minus Infinity", "trap 10: half a character",
        "trap 9: 1_000", "trap 9: full width", "single quotes", "cut off", "not UTF-8",
        "too much",
    ],
)  # fmt: skip
def test_a_body_that_can_be_read_in_two_ways_or_none_is_400(body: bytes) -> None:
    answer = post(body)
    assert answer.status_code == 400
    assert answer.data["code"] == "parse_error"


def test_sound_json_is_read_and_other_types_are_415() -> None:
    told = {"单号": "1234567890123456789", "n": 3, "list": [1, 2]}
    assert post(json.dumps(told).encode()).data == {"read": str(told)}
    for other in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
        assert post(b"{}", other).status_code == 415
