"""Back-filled history is judged for the record alone, until somebody asks for more."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django_q.models import OrmQ

from ordercenter.audit.models import AuditRecord
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import NotAllowed
from ordercenter.core.policy import Role
from ordercenter.notices.models import Alarm
from ordercenter.orders.contracts import ChannelStatus
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.pipeline import past, tasks
from risk.models import RuleSet, Verdict
from tests.factories import user_with
from tests.pipeline.seller import REASON, Carrier, Seller, draft, holds, line, ship, take
from tests.risk.rule_life import a_rule, live

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def keeper() -> User:
    return user_with(Role.OPERATIONS_SUPERVISOR)


@pytest.fixture
def told(seller: Seller, boss: User, carrier: Carrier) -> dict[str, SalesOrder]:
    """One order shipped elsewhere before it came, one shipped here, one still open."""
    live(a_rule("old", value="90000"))
    over, gone, still = take(
        seller.shop,
        draft(line(amount="600"), status=ChannelStatus.FINISHED),
        draft(line(amount="600")),
        draft(line(amount="600")),
    )
    ship(gone, boss)
    RuleSet.objects.update(is_live=False)
    live(a_rule("new", value="500", tier="3"), version=9)
    return {"over": over, "gone": gone, "open": still}


def stretch(seller: Seller) -> past.Stretch:
    now = clock_now()
    return past.Stretch(seller.shop, now - DAY, now + DAY)


def verdict(order: SalesOrder) -> Verdict:
    return Verdict.objects.filter(order=order).latest("pk")


def rules(order: SalesOrder) -> set[str]:
    return {one for one in holds(order) if one.startswith("rule:")}


def test_nothing_fires_on_history_by_itself(told: dict[str, SalesOrder]) -> None:
    assert [verdict(order).tier for order in told.values()] == ["0", "0", "0"]
    assert not OrderHold.objects.filter(kind="rule").exists()


def test_the_preview_says_what_there_is_and_changes_nothing(
    seller: Seller, told: dict[str, SalesOrder]
) -> None:
    before = Verdict.objects.count()
    found = past.preview(stretch(seller))
    assert (found.over, found.still_open, found.opened) == (2, 1, 1)
    assert found.hits["new"].orders == 2
    assert Verdict.objects.count() == before
    assert not OrderHold.objects.filter(kind="rule").exists()


def test_asked_to_it_judges_what_is_over_for_the_record_and_holds_what_is_open(
    seller: Seller, told: dict[str, SalesOrder], keeper: User
) -> None:
    for order in told.values():
        order.refresh_from_db()
    was = {name: (order.status, order.version) for name, order in told.items()}
    opened = []
    for _time in range(2):
        found = past.apply(stretch(seller), user=keeper, reason=REASON)
        assert (found.over, found.still_open) == (2, 1)
        opened.append(found.opened)
    assert opened == [1, 0]
    for name in ("over", "gone"):
        order = told[name]
        order.refresh_from_db()
        assert (order.status, order.version) == was[name]
        assert rules(order) == set()
        assert verdict(order).tier == "3"
        assert verdict(order).findings[0].get("skipped", "") == ""
    assert rules(told["open"]) == {"rule:new"}
    assert [row.count for row in Alarm.objects.all()] == [1]
    record = AuditRecord.objects.filter(object_type="rule_set", change__past="done")
    assert record.count() == 2
    assert record.first().change["over"] == 2  # type: ignore[union-attr]


def test_another_time_and_another_shop_are_left_alone(
    seller: Seller, told: dict[str, SalesOrder], keeper: User
) -> None:
    now = clock_now()
    found = past.apply(
        past.Stretch(seller.shop, now - 2 * DAY, now - DAY), user=keeper, reason=REASON
    )
    assert (found.over, found.still_open) == (0, 0)
    assert not OrderHold.objects.filter(kind="rule").exists()


def test_who_may_not_edit_rules_does_not_ask(seller: Seller, told: dict[str, SalesOrder]) -> None:
    with pytest.raises(NotAllowed):
        past.apply(stretch(seller), user=user_with(Role.REVIEWER), reason=REASON)


def command(*args: str) -> Any:
    out = StringIO()
    call_command("judge_past", *args, stdout=out)
    return out.getvalue()


def test_the_command_previews_and_with_yes_judges(
    seller: Seller, told: dict[str, SalesOrder], keeper: User
) -> None:
    now = clock_now()
    where = ("--shop", seller.shop.code, "--since", (now - DAY).isoformat(), "--until",
             (now + DAY).isoformat())  # fmt: skip
    seen = json.loads(command(*where, "--json"))
    assert (seen["over"], seen["opened"], seen["applied"]) == (2, 1, False)
    assert "已结束 2 单" in command(
        *where, "--yes", "--user", keeper.username, "--reason", "补拉后补判"
    )
    assert rules(told["open"]) == {"rule:new"}
    for wrong in (("--shop", "NONE"), ("--since", "yesterday"), ("--yes", "--user", "nobody")):
        with pytest.raises(CommandError):
            command(*where, *wrong)


def test_the_page_previews_a_stretch_and_a_worker_judges_it(
    seller: Seller, told: dict[str, SalesOrder], keeper: User, client: Client
) -> None:
    client.force_login(keeper, backend="django.contrib.auth.backends.ModelBackend")
    today = f"{clock_now().astimezone(SHANGHAI):%Y-%m-%d}"
    asked = {"shop": seller.shop.code, "since": today, "until": today}
    page = client.get("/rules/past/", asked).content.decode()
    assert "已结束 2，在途 1，会新挂起 1" in page
    unseen = client.post("/rules/past/", {**asked, "reason": REASON, "count": "99"})
    assert unseen.status_code == 422
    done = client.post("/rules/past/", {**asked, "reason": REASON, "count": "3"})
    assert done.status_code == 302
    (job,) = OrmQ.objects.all()
    task = job.task
    assert task["func"] == "ordercenter.pipeline.tasks.judge_past"
    assert tasks.judge_past(*task["args"]) == "2 past orders judged, 1 holds opened"
    assert rules(told["open"]) == {"rule:new"}
    assert "上次已补判：已结束 2 单" in client.get("/rules/past/").content.decode()
    for wrong in ({**asked, "until": "2020-01-01"}, {**asked, "since": "x"}):
        assert client.get("/rules/past/", wrong).status_code == 422
