"""Rule sets over the wire: read, drafted, committed, and asked to go live."""

from typing import Any

import pytest
from django.test import Client

from ordercenter.audit.models import AuditRecord
from ordercenter.core.policy import Role, Scope
from risk import sets
from risk.models import RuleSet
from tests.factories import key_for, user_with
from tests.risk.rule_life import a_rule, committed, live, report_on

pytestmark = pytest.mark.django_db
SETS = "/api/rule-sets/"


def speaking_for(*roles: Role) -> Client:
    key = key_for(user_with(*roles), Scope.RULES_READ, Scope.RULES_WRITE)
    return Client(headers={"Authorization": f"Token {key}"})


@pytest.fixture
def keeper() -> Client:
    return speaking_for(Role.OPERATIONS_SUPERVISOR)


def send(client: Client, path: str, body: Any = None, method: str = "post") -> Any:
    call = getattr(client, method)
    return call(f"{SETS}{path}", {} if body is None else body, content_type="application/json")


def test_a_draft_is_made_saved_committed_and_goes_live_over_the_wire(keeper: Client) -> None:
    live(a_rule(value="9000"))
    made = send(keeper, "", {"note": "来自接口"})
    assert made.status_code == 201
    told = made.json()
    assert (told["version"], told["state"], told["edits"]) == (2, "draft", 0)
    saved = send(keeper, "2/", {"rules": [a_rule()], "edits": 0}, "put")
    assert (saved.status_code, saved.json()["edits"]) == (200, 1)
    stale = send(keeper, "2/", {"rules": [], "edits": 0}, "put")
    assert (stale.status_code, stale.json()["code"]) == (409, "stale_rules")
    assert send(keeper, "2/commit/", {"edits": 1}).json()["state"] == "committed"
    early = send(keeper, "2/ask/")
    assert (early.status_code, early.json()["code"]) == (409, "no_fresh_report")
    report_on(RuleSet.objects.get(version=2))
    assert send(keeper, "2/ask/", {"reason": "大促前"}).json()["state"] == "live"
    assert sets.live_program().version == 2
    kinds = AuditRecord.objects.filter(object_type="rule_set").values_list("actor_kind", flat=True)
    assert set(kinds) == {"token"}


def test_what_takes_a_second_person_is_only_asked_for(keeper: Client) -> None:
    live(a_rule())
    report_on(committed())
    assert send(keeper, "2/ask/").json()["state"] == "asked"
    assert sets.live_program().version == 1


def test_a_draft_may_bring_its_rules(keeper: Client) -> None:
    made = send(keeper, "", {"rules": [a_rule()]}).json()
    assert keeper.get(f"{SETS}{made['version']}/").json()["rules"] == [a_rule()]
    (row,) = keeper.get(SETS).json()["results"]
    assert "rules" not in row
    assert row["author"]


@pytest.mark.parametrize(
    ("path", "method", "body", "status"),
    [
        ("", "post", [], 422),
        ("", "post", {"rules": [{"code": "x"}]}, 422),
        ("", "post", {"rules": [], "based_on": 1}, 422),
        ("", "post", {"based_on": "1"}, 422),
        ("", "post", {"based_on": 99}, 404),
        ("", "post", {"note": 5}, 422),
        ("", "post", {"note": "长" * 201}, 422),
        ("", "post", {"evil": 1}, 422),
        ("2/", "put", {"rules": []}, 422),
        ("2/", "put", {"rules": [], "edits": True}, 422),
        ("2/", "put", {"rules": "x", "edits": 0}, 422),
        ("2/", "put", {"rules": [a_rule(name="\0")], "edits": 0}, 422),
        ("99/", "put", {"rules": [], "edits": 0}, 404),
        ("99999999999999999999/", "put", {"rules": [], "edits": 0}, 404),
        ("2/commit/", "post", {"edits": "0"}, 422),
        ("1/commit/", "post", {}, 409),
        ("2/ask/", "post", {}, 409),
        ("2/", "post", {}, 405),
        ("2/ask/", "put", {}, 405),
        ("?all=1", "post", {}, 400),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    keeper: Client, path: str, method: str, body: Any, status: int
) -> None:
    live(a_rule(), version=1)
    RuleSet.objects.create(version=2, rules=[])
    answer = send(keeper, path, body, method)
    assert answer.status_code == status, answer.content
    assert set(answer.json()) == {"code", "message"}
    assert answer.json()["message"]


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"rules": [NaN]}', b"[" * 100_000])
def test_what_is_no_json_is_refused(keeper: Client, body: bytes) -> None:
    answer = keeper.post(SETS, body, content_type="application/json")
    assert answer.status_code == 400
    assert not RuleSet.objects.exists()


def test_who_may_only_look_looks_and_no_more() -> None:
    live(a_rule())
    reviewer = speaking_for(Role.REVIEWER)
    assert reviewer.get(SETS).status_code == 200
    assert reviewer.get(f"{SETS}1/").status_code == 200
    assert send(reviewer, "", {"rules": []}).status_code == 403
    assert speaking_for(Role.CLERK).get(SETS).status_code == 403
    assert Client().get(SETS).status_code == 401
