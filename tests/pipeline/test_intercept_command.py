"""``manage.py intercept``: parse, preview, act, report; one document with --json."""

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from ordercenter.core.policy import Role
from ordercenter.orders.models import Interception
from ordercenter.pipeline.interception import lookup
from tests.factories import user_with
from tests.pipeline.seller import Seller, draft, holds, open_seller, take, take_one

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _names_read_anew() -> None:
    lookup.forget()


@pytest.fixture
def seller() -> Seller:
    return open_seller()


def said(*args: str) -> Any:
    out = io.StringIO()
    call_command("intercept", *args, "--json", stdout=out)
    return json.loads(out.getvalue())


def refused(*args: str) -> Any:
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("intercept", *args, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_a_dry_run_counts_and_changes_nothing(seller: Seller) -> None:
    take(seller.shop, draft(), draft())
    found = said("江苏省暂停发货", "--dry-run")
    assert (found["kind"], found["words"], found["done"]) == ("stop", "江苏省暂停发货", False)
    assert (found["preview"]["count"], found["preview"]["value"]) == (2, "200.00")
    assert not Interception.objects.exists()


def test_yes_acts_and_reports(seller: Seller) -> None:
    user_with(Role.WAREHOUSE_SUPERVISOR, username="boss")
    user_with(Role.CEO, username="ceo")
    order = take_one(seller.shop, draft())
    found = said("江苏省暂停发货", "--yes", "--user", "boss", "--reason", "台风停运，暂停发货")
    assert (found["done"], found["interception"]["state"]) == (True, "active")
    assert found["interception"]["held"] == 1
    assert holds(order)
    lifted = said("解除江苏", "--yes", "--user", "ceo")
    assert lifted["interceptions"][0]["state"] == "lifted"
    assert holds(order) == set()


def test_without_yes_nobody_who_cannot_answer_has_it_done(seller: Seller) -> None:
    take_one(seller.shop, draft())
    assert said("江苏省暂停发货")["done"] is False
    assert not Interception.objects.exists()


def test_who_runs_it_is_written_down_where_nobody_is_named(seller: Seller) -> None:
    order = take_one(seller.shop, draft())
    found = said("江苏省暂停发货", "--yes")
    assert found["interception"]["state"] == "active"
    assert Interception.objects.get().asked_by.startswith("job:command")
    assert holds(order)
    asked = said("解除江苏", "--yes")["interceptions"][0]
    assert (asked["state"], asked["end_asked"]) == ("active", True)


@pytest.mark.parametrize(
    ("text", "code"),
    [("吉林停发", "ambiguous"), ("江苏停发到昨天", "not_understood"),
     ("解除广东", "no_such_interception")],
)  # fmt: skip
def test_what_cannot_be_done_says_so(text: str, code: str) -> None:
    found = refused(text, "--yes")
    assert found["error"]["code"] == code
    if code == "ambiguous":
        assert [one["text"] for one in found["choices"]] == ["吉林省 停发", "吉林省吉林市 停发"]


def test_rights_are_asked_for(seller: Seller) -> None:
    user_with(Role.PICKER, username="picker")
    assert refused("江苏停发", "--yes", "--user", "picker")["error"]["code"] == "not_allowed"
    assert refused("江苏停发", "--yes", "--user", "x")["error"]["code"] == "no_user"
    assert not Interception.objects.exists()


def test_words_are_for_people_without_json(seller: Seller) -> None:
    take_one(seller.shop, draft())
    out = io.StringIO()
    call_command("intercept", "江苏省暂停发货 3小时", "--dry-run", stdout=out)
    assert "江苏省暂停发货，到" in out.getvalue()
    assert "在途 1 单，¥100.00" in out.getvalue()
