"""A notice goes once to each robot, the worst first, within the robot's limit, or is seen dead."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from ordercenter.core.clock import now as clock_now
from ordercenter.notices import services as notices
from ordercenter.notices.models import Notice, Robot
from tests.factories import RobotFactory

pytestmark = pytest.mark.django_db
OK = {"errcode": 0, "errmsg": "ok"}
SECRETS = notices.seal_secrets(access_token="t0ken", secret="SECsecret")


class Group:
    """What the robot's group was shown, and how the robot answers."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.shown: list[str] = []
        self.client = httpx.Client(transport=httpx.MockTransport(self._handle))

    def _handle(self, request: httpx.Request) -> httpx.Response:
        answer = self.answers.pop(0) if self.answers else OK
        if isinstance(answer, Exception):
            raise answer
        if answer == OK:
            self.shown.append(request.content.decode())
        return httpx.Response(200, json=answer)

    def send(self, now: datetime) -> str:
        return notices.send_due(self.client, now=now)


def robot(**changes: Any) -> Robot:
    made: Robot = RobotFactory.create(sealed=SECRETS, **changes)
    return made


def tell(key: str, urgency: str = "2", now: datetime | None = None, title: str = "订单冻结") -> int:
    return notices.tell(
        key=key, urgency=urgency, title=title, lines=["TB1", "TB2"], now=now or clock_now()
    )


def test_an_event_told_twice_is_one_notice_for_each_robot() -> None:
    robot()
    robot()
    assert (tell("hold:1"), tell("hold:1"), tell("hold:2")) == (2, 0, 2)


def test_a_robot_hears_what_is_bad_enough_for_it_and_nothing_while_switched_off() -> None:
    robot(min_tier="3")
    robot(is_active=False)
    assert (tell("a", "2"), tell("b", "3")) == (0, 1)


def test_what_was_sent_is_not_sent_again() -> None:
    robot()
    tell("a")
    group, now = Group(), clock_now()
    assert group.send(now) == "1 notices sent, 0 failed"
    assert group.send(now + timedelta(hours=1)) == "0 notices sent, 0 failed"
    assert len(group.shown) == 1
    notice = Notice.objects.get()
    assert (notice.state, notice.tries, notice.sent_at) == ("sent", 1, now)


def test_the_worst_is_sent_first_and_of_equals_the_oldest() -> None:
    robot()
    now = clock_now()
    for key, urgency, age in (("c", "2", 1), ("b", "2", 2), ("a", "3", 0)):
        tell(key, urgency, now - timedelta(seconds=age), title=f"title-{key}")
    group = Group()
    group.send(now)
    order = [next(k for k in "abc" if f"title-{k}" in text) for text in group.shown]
    assert order == ["a", "b", "c"]


def test_a_robot_is_given_18_a_minute_and_the_rest_in_the_next() -> None:
    robot()
    now = clock_now()
    for n in range(30):
        tell(f"n{n}", now=now)
    group = Group()
    assert group.send(now) == "18 notices sent, 0 failed"
    assert group.send(now + timedelta(seconds=59)) == "0 notices sent, 0 failed"
    assert group.send(now + timedelta(seconds=61)) == "12 notices sent, 0 failed"


def test_a_robot_that_says_no_makes_the_notice_dead_with_its_words() -> None:
    robot()
    tell("a")
    now = clock_now()
    assert Group({"errcode": 310000, "errmsg": "sign not match"}).send(now).endswith("1 failed")
    notice = Notice.objects.get()
    assert notice.state == "dead"
    assert "310000" in notice.error
    assert "SECsecret" not in notice.error
    assert Group().send(now + timedelta(days=1)) == "0 notices sent, 0 failed"


def test_a_robot_that_does_not_answer_is_tried_again_ten_times_and_no_more() -> None:
    robot()
    tell("a")
    now = clock_now()
    for _ in range(12):
        now += timedelta(hours=1)
        Group(httpx.ConnectTimeout("")).send(now)
    notice = Notice.objects.get()
    assert (notice.state, notice.tries) == ("dead", 10)


def test_a_notice_that_was_not_tried_does_not_lose_a_try() -> None:
    """The robot is down: one notice is tried, the others only wait with it."""
    robot()
    now = clock_now()
    tell("first", "3", now)
    for n in range(5):
        tell(f"n{n}", now=now)
    for _ in range(12):
        now += timedelta(hours=1)
        Group(httpx.ConnectTimeout("")).send(now)
    assert Notice.objects.get(key="first").state == "dead"
    left = Notice.objects.exclude(key="first")
    assert sorted(left.values_list("tries", flat=True)) == [0, 0, 0, 0, 2]
    assert Group().send(now + timedelta(hours=1)).startswith("5 notices sent")


def test_one_robots_trouble_does_not_silence_the_others() -> None:
    robot(code="broken")
    robot(code="well")
    tell("a")
    group = Group(httpx.ConnectTimeout(""))
    assert group.send(clock_now()) == "1 notices sent, 1 failed"


def test_a_robot_without_usable_secrets_does_not_silence_the_others() -> None:
    RobotFactory.create(code="a-broken", sealed=b"")
    robot(code="b-well")
    tell("a")
    assert Group().send(clock_now()) == "1 notices sent, 1 failed"
    assert Notice.objects.get(robot__code="a-broken").state == "dead"


def test_two_workers_do_not_send_one_notice_twice() -> None:
    """A notice in hand is due again only when its lease is over."""
    owner = robot()
    tell("a")
    now = clock_now()
    assert len(notices._claim(owner, limit=18, now=now)) == 1
    assert notices._claim(owner, limit=18, now=now) == []
    late = now + notices.LEASE
    assert len(notices._claim(owner, limit=18, now=late)) == 1
