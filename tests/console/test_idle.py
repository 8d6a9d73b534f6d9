"""A session on the shared computer of the packing bench ends when nobody works at it."""

from datetime import timedelta

import pytest
from django.test import Client, override_settings

from ordercenter.console import idle
from ordercenter.core.clock import now
from ordercenter.core.policy import Role
from tests.factories import user_with

pytestmark = pytest.mark.django_db


def logged_in(role: Role) -> Client:
    client = Client()
    client.force_login(user_with(role))
    assert client.get("/work/").status_code == 200
    return client


def later(client: Client, *, minutes: float, path: str = "/work/") -> int:
    moment = now() + timedelta(minutes=minutes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(idle, "clock_now", lambda: moment)
        return client.get(path).status_code


def test_x19_after_twenty_idle_minutes_a_packer_has_to_log_in() -> None:
    client = logged_in(Role.PACKER)
    assert later(client, minutes=19) == 200
    assert later(client, minutes=38) == 200  # he worked in between
    assert later(client, minutes=60) == 302
    assert later(client, minutes=60) == 302


def test_a_page_that_renews_itself_keeps_nobody_logged_in() -> None:
    client = logged_in(Role.PACKER)
    for minutes in (5, 10, 15, 19):
        assert later(client, minutes=minutes, path="/work/?fragment=1") == 200
    assert later(client, minutes=21, path="/work/?fragment=1") == 302


def test_a_supervisor_on_his_own_phone_stays_logged_in() -> None:
    assert later(logged_in(Role.WAREHOUSE_SUPERVISOR), minutes=60) == 200


@override_settings(IDLE_MINUTES=0)
def test_with_no_limit_set_a_packer_stays_logged_in() -> None:
    assert later(logged_in(Role.PACKER), minutes=300) == 200
