"""The CEO signs with a password typed lately, and lets others sign for a while."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from ordercenter.console.step_up import TYPED_AT
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.policy import Role
from ordercenter.orders.models import Delegation, OrderHold
from tests.console.conftest import AsRole, decision, held_order
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db
PAGE = "/approvals/delegations/"


@pytest.fixture
def asked(as_role: AsRole) -> OrderHold:
    hold = held_order(tier="3")
    supervisor = as_role(Role.WAREHOUSE_SUPERVISOR, username="asker")
    supervisor.post(f"/orders/{hold.order.number}/decide/", decision(hold, "ask"))
    hold.order.refresh_from_db()
    return hold


def age_login(client: Client, age: timedelta) -> None:
    session = client.session
    session[TYPED_AT] = (timezone.now() - age).timestamp()
    session.save()


def approve(client: Client, hold: OrderHold) -> int:
    post = decision(hold, "approve", back="/approvals/")
    return client.post(f"/orders/{hold.order.number}/decide/", post).status_code


def is_open(hold: OrderHold) -> bool:
    return OrderHold.objects.open().filter(pk=hold.pk).exists()


def lend(client: Client, to: str, /, **changes: str) -> tuple[int, str]:
    until = (timezone.now() + timedelta(days=2)).astimezone(SHANGHAI)
    post = {"taker": str(User.objects.get(username=to).pk), "starts_at": "",
            "ends_at": f"{until:%Y-%m-%dT%H:%M}", "reason": "总经理出差", **changes}  # fmt: skip
    answer = client.post(PAGE, post)
    return answer.status_code, answer.content.decode()


# --- a password typed lately ----------------------------------------------------------------------


def test_an_old_log_in_signs_nothing_until_the_password_is_typed_again(
    as_role: AsRole, asked: OrderHold
) -> None:
    ceo = as_role(Role.CEO)
    age_login(ceo, timedelta(hours=8, seconds=1))
    post = decision(asked, "approve", back="/approvals/")
    answer = ceo.post(f"/orders/{asked.order.number}/decide/", post)
    assert answer.status_code == 401
    assert 'type="password"' in answer.content.decode()
    assert is_open(asked)
    wrong = ceo.post("/approvals/password/", {"password": "wrong", "back": "/approvals/"})
    assert wrong.status_code == 422
    assert approve(ceo, asked) == 401
    right = ceo.post("/approvals/password/", {"password": PASSWORD, "back": "/approvals/"})
    assert right["Location"] == "/approvals/"
    assert approve(ceo, asked) == 302
    assert not is_open(asked)


def test_a_log_in_of_this_morning_signs(as_role: AsRole, asked: OrderHold) -> None:
    ceo = as_role(Role.CEO)
    age_login(ceo, timedelta(hours=7, minutes=59))
    assert approve(ceo, asked) == 302


@pytest.mark.parametrize("value", [None, "soon", 9e12])
def test_a_session_that_cannot_tell_is_old(
    as_role: AsRole, asked: OrderHold, value: object
) -> None:
    ceo = as_role(Role.CEO)
    session = ceo.session
    session[TYPED_AT] = value
    session.save()
    assert approve(ceo, asked) == 401
    assert lend(ceo, "asker")[0] == 401
    assert not Delegation.objects.exists()


def test_the_password_page_leads_nowhere_else(as_role: AsRole) -> None:
    ceo = as_role(Role.CEO)
    post = {"password": PASSWORD, "back": "//evil.example/"}
    assert ceo.post("/approvals/password/", post)["Location"] == "/approvals/"


# --- delegation -----------------------------------------------------------------------------------


def test_somebody_approves_in_the_ceos_stead_until_it_is_taken_back(
    as_role: AsRole, asked: OrderHold
) -> None:
    deputy = as_role(Role.OPERATIONS_SUPERVISOR, username="deputy")
    ceo = as_role(Role.CEO)
    assert approve(deputy, asked) == 403
    assert 'value="approve"' not in deputy.get("/approvals/").content.decode()
    assert lend(ceo, "deputy")[0] == 302
    assert "deputy" in ceo.get(PAGE).content.decode()
    assert 'value="approve"' in deputy.get("/approvals/").content.decode()
    made = Delegation.objects.get()
    for _twice in range(2):
        assert ceo.post(f"{PAGE}{made.pk}/end/").status_code == 302
    assert approve(deputy, asked) == 403
    assert lend(ceo, "deputy")[0] == 302
    assert approve(deputy, asked) == 302
    assert not is_open(asked)


def test_the_asker_cannot_approve_his_own_though_he_was_let(
    as_role: AsRole, asked: OrderHold
) -> None:
    ceo = as_role(Role.CEO)
    assert lend(ceo, "asker")[0] == 302
    asker = as_role(Role.WAREHOUSE_SUPERVISOR, username="asker")
    assert 'value="approve"' not in asker.get("/approvals/").content.decode()
    assert approve(asker, asked) == 403
    assert is_open(asked)


@pytest.mark.parametrize(
    "wrong",
    [{"taker": "0"}, {"taker": "x"}, {"ends_at": ""}, {"ends_at": "2020-01-01T00:00"},
     {"ends_at": "2099-01-01T00:00"}, {"ends_at": "soon"}, {"reason": "好"}],
)  # fmt: skip
def test_a_form_that_says_nonsense_lends_nothing(as_role: AsRole, wrong: dict[str, str]) -> None:
    as_role(Role.REVIEWER, username="deputy")
    status, page = lend(as_role(Role.CEO), "deputy", **wrong)
    assert status == 422
    assert 'role="alert"' in page
    assert not Delegation.objects.exists()


def test_lent_twice_it_is_one(as_role: AsRole) -> None:
    as_role(Role.REVIEWER, username="deputy")
    ceo = as_role(Role.CEO)
    assert [lend(ceo, "deputy")[0] for _twice in range(2)] == [302, 409]
    assert Delegation.objects.count() == 1


def test_who_asked_takes_it_back_from_the_page(as_role: AsRole, asked: OrderHold) -> None:
    asker = as_role(Role.WAREHOUSE_SUPERVISOR, username="asker")
    assert 'value="withdraw"' in asker.get("/approvals/").content.decode()
    post = decision(asked, "withdraw", reason="买家已取消，不再需要", back="/approvals/")
    assert asker.post(f"/orders/{asked.order.number}/decide/", post).status_code == 302
    assert 'value="withdraw"' not in asker.get("/approvals/").content.decode()
    assert is_open(asked)
