"""What holds for every page of the console. Who may open which: ``tests/test_permissions.py``."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from ordercenter.core.policy import Role
from tests.console.conftest import AsRole, held_order

pytestmark = pytest.mark.django_db

PAGES = ("/", "/wall/", "/approvals/", "/work/", "/work/scan/", "/admin/", "/admin/auth/user/")


def test_a_stranger_is_sent_to_log_in_and_brought_back() -> None:
    hold = held_order()
    client = Client()
    for path in (*PAGES, f"/orders/{hold.order.number}/"):
        answer = client.get(path)
        assert answer.status_code == 302, path
        assert answer["Location"].startswith("/admin/login/?next="), path
    answer = client.post(f"/orders/{hold.order.number}/decide/", {"verb": "release"})
    assert answer.status_code == 302
    hold.refresh_from_db()
    assert hold.released_at is None


def test_a_disabled_account_is_nobody(as_role: AsRole) -> None:
    client = as_role(Role.CEO, username="gone")
    User.objects.filter(username="gone").update(is_active=False)
    assert client.get("/approvals/").status_code == 302


@pytest.mark.parametrize("path", ["/wall/", "/approvals/", "/work/", "/work/scan/"])
def test_looking_changes_nothing_and_posting_to_a_page_is_no_way_in(
    as_role: AsRole, path: str
) -> None:
    assert as_role(Role.WAREHOUSE_SUPERVISOR, Role.CEO).post(path).status_code == 405


@pytest.mark.parametrize("number", ["%00", "a%00b", "..%2f..%2fadmin", "x" * 300, "%F0%9F%98%80"])
def test_no_order_number_breaks_the_page(as_role: AsRole, number: str) -> None:
    assert as_role(Role.REVIEWER).get(f"/orders/{number}/").status_code in {400, 404}


def test_pages_are_not_kept_by_browsers_and_run_no_foreign_script(as_role: AsRole) -> None:
    answer = as_role(Role.REVIEWER).get("/wall/")
    assert answer["Cache-Control"] == "no-store"
    assert "script-src 'self';" in answer["Content-Security-Policy"]
    page = answer.content.decode()
    assert "<script>" not in page
    assert " onclick=" not in page
    assert " style=" not in page
