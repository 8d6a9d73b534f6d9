"""The log-in door: five wrong guesses close it for one user at one address, and for nobody else."""

import pytest
from django.test import Client, override_settings

from ordercenter.core.policy import Role
from tests.factories import PASSWORD, user_with

pytestmark = pytest.mark.django_db
LOGIN = "/admin/login/"


def attempt(client: Client, username: str, password: str, address: str = "10.0.0.1") -> int:
    form = {"username": username, "password": password, "next": "/wall/"}
    return client.post(LOGIN, form, REMOTE_ADDR=address).status_code


def test_five_wrong_guesses_lock_that_user_at_that_address_only() -> None:
    user_with(Role.WAREHOUSE_SUPERVISOR, username="zhuguan")
    user_with(Role.REVIEWER, username="shendan")
    for _ in range(5):
        attempt(Client(), "zhuguan", "wrong")
    assert attempt(Client(), "zhuguan", PASSWORD) == 429
    assert attempt(Client(), "shendan", PASSWORD) == 302
    assert attempt(Client(), "zhuguan", PASSWORD, address="10.0.0.2") == 302


def test_guesses_at_users_that_do_not_exist_lock_nobody_out() -> None:
    user_with(Role.WAREHOUSE_SUPERVISOR, username="zhuguan")
    for number in range(12):
        attempt(Client(), f"nobody-{number}", "wrong")
    assert attempt(Client(), "zhuguan", PASSWORD) == 302


def test_behind_no_proxy_a_forwarded_address_is_not_believed() -> None:
    user_with(Role.WAREHOUSE_SUPERVISOR, username="zhuguan")
    for number in range(5):
        form = {"username": "zhuguan", "password": "wrong"}
        Client().post(LOGIN, form, REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=f"1.2.3.{number}")
    assert attempt(Client(), "zhuguan", PASSWORD) == 429


@override_settings(
    AXES_IPWARE_PROXY_COUNT=1,
    AXES_IPWARE_META_PRECEDENCE_ORDER=["HTTP_X_FORWARDED_FOR", "REMOTE_ADDR"],
)
def test_behind_one_proxy_each_client_is_counted_by_his_own_address() -> None:
    user_with(Role.WAREHOUSE_SUPERVISOR, username="zhuguan")
    form = {"username": "zhuguan", "password": "wrong"}
    forwarded = "203.0.113.9, 127.0.0.1"
    for _ in range(5):
        Client().post(LOGIN, form, REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR=forwarded)
    right = {**form, "password": PASSWORD}
    other = Client().post(
        LOGIN, right, REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="203.0.113.10, 127.0.0.1"
    )
    same = Client().post(LOGIN, right, REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR=forwarded)
    assert (other.status_code, same.status_code) == (302, 429)
