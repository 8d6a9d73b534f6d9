"""A storm is one alarm: told at once, told again when it is far more, and never kept quiet."""

from datetime import datetime, time, timedelta

import httpx
import pytest

from ordercenter.core.clock import SHANGHAI
from ordercenter.core.errors import NotAllowed
from ordercenter.core.policy import Role
from ordercenter.notices import alarms
from ordercenter.notices import services as notices
from ordercenter.notices.alarms import STRETCH, Happening, raise_alarms
from ordercenter.notices.models import Alarm, Notice
from tests.factories import RobotFactory, user_with

pytestmark = pytest.mark.django_db
NIGHT = datetime(2026, 3, 1, 2, 0, tzinfo=SHANGHAI)
SECRETS = notices.seal_secrets(access_token="t0ken", secret="SECsecret")


def hit(times: int, at: datetime, *, topic: str = "rule:half", urgency: str = "3") -> None:
    lines = [f"TB{n} 成交价 0.50" for n in range(times)]
    raise_alarms([Happening(topic, urgency, "价格严重异常", "仓储主管", lines)], now=at)


def titles() -> list[str]:
    return list(Notice.objects.order_by("pk").values_list("title", flat=True))


def test_the_first_is_told_at_once_and_more_only_tenfold_and_at_the_end() -> None:
    RobotFactory.create()
    for second in range(136):
        hit(1, NIGHT + timedelta(seconds=second))
    assert titles() == [f"价格严重异常 {n} 单" for n in (1, 10, 100)]
    assert alarms.close_due(now=NIGHT + STRETCH) == "1 alarms are over"
    assert alarms.close_due(now=NIGHT + STRETCH) == "0 alarms are over"
    assert titles()[3:] == ["价格严重异常 136 单"]
    (alarm,) = Alarm.objects.all()
    assert (alarm.count, alarm.told, len(alarm.examples)) == (136, 136, alarms.EXAMPLES)
    assert "另有 131 单" in Notice.objects.latest("pk").text


def test_told_of_every_growth_it_would_be_136_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what keeps a storm to a few messages is the tenfold."""
    monkeypatch.setattr(alarms, "TENFOLD", 1)
    RobotFactory.create()
    for second in range(136):
        hit(1, NIGHT + timedelta(seconds=second))
    assert len(titles()) == 136


def test_what_did_not_grow_is_not_told_again_at_its_end() -> None:
    RobotFactory.create()
    hit(136, NIGHT)
    alarms.close_due(now=NIGHT + STRETCH)
    assert titles() == ["价格严重异常 136 单"]


def test_the_next_night_is_told_again_whether_or_not_anybody_closed_the_first() -> None:
    RobotFactory.create()
    hit(1, NIGHT)
    hit(2, NIGHT + timedelta(minutes=1))
    hit(1, NIGHT + timedelta(days=1))
    assert titles() == [f"价格严重异常 {n} 单" for n in (1, 1, 3)]
    assert Alarm.objects.filter(closed_at=None).count() == 1


def told_to(addressee: str) -> set[str]:
    """Names of the groups told of a storm for this addressee, at its beginning and its end."""
    lines = ["TB1 大额"]
    raise_alarms([Happening("rule:big", "2", "大额", "财务", lines, addressee)], now=NIGHT)
    raise_alarms([Happening("rule:big", "2", "大额", "财务", lines, addressee)], now=NIGHT)
    alarms.close_due(now=NIGHT + STRETCH)
    return set(Notice.objects.filter(title="大额 2 单").values_list("robot__name", flat=True))


def test_a_group_hears_what_is_for_those_who_are_in_it_and_a_group_of_all_hears_all() -> None:
    RobotFactory.create(name="财务群", addressees=["finance", "ceo"])
    RobotFactory.create(name="客服群", addressees=["customer_service"])
    RobotFactory.create(name="大群")
    assert told_to("finance") == {"财务群", "大群"}


def test_what_is_for_nobodys_group_goes_to_every_group_and_is_not_lost() -> None:
    RobotFactory.create(name="财务群", addressees=["finance"])
    RobotFactory.create(name="停用的仓库群", addressees=["warehouse"], is_active=False)
    RobotFactory.create(name="只收三级的仓库群", addressees=["warehouse"], min_tier="3")
    assert told_to("warehouse") == {"财务群"}


def test_topics_are_alarms_of_their_own() -> None:
    RobotFactory.create()
    hit(1, NIGHT)
    hit(1, NIGHT, topic="rule:burst")
    assert Alarm.objects.count() == len(titles()) == 2


def test_without_a_robot_the_alarm_stands_on_the_pages_all_the_same() -> None:
    hit(3, NIGHT)
    assert [row.count for row in alarms.standing(now=NIGHT, most=5)] == [3]
    assert not alarms.standing(now=NIGHT + timedelta(hours=25), most=5)


def test_whoever_has_seen_it_is_rid_of_it_until_it_is_told_again() -> None:
    hit(1, NIGHT)
    (alarm,) = Alarm.objects.all()
    reviewer = user_with(Role.REVIEWER)
    with pytest.raises(NotAllowed):
        alarms.acknowledge(alarm.pk, user=user_with(Role.PACKER), now=NIGHT)
    at = NIGHT + timedelta(seconds=5)
    assert alarms.acknowledge(alarm.pk, user=reviewer, now=at)
    assert not alarms.acknowledge(alarm.pk, user=reviewer, now=at)
    hit(5, NIGHT + timedelta(minutes=1))
    assert not alarms.standing(now=NIGHT + timedelta(minutes=1), most=5)
    hit(5, NIGHT + timedelta(minutes=2))
    assert [row.count for row in alarms.standing(now=NIGHT + timedelta(minutes=2), most=5)] == [11]


@pytest.mark.parametrize(
    ("start", "end", "at", "quiet"),
    [
        (time(22), time(8), time(2), True), (time(22), time(8), time(8), False),
        (time(22), time(8), time(22), True), (time(1), time(6), time(2), True),
        (time(1), time(2), time(2), False), (None, None, time(2), False),
    ],
)  # fmt: skip
def test_quiet_hours_run_over_midnight(
    start: time | None, end: time | None, at: time, quiet: bool
) -> None:
    robot = RobotFactory.build(quiet_from=start, quiet_to=end)
    assert robot.is_quiet(datetime.combine(NIGHT, at, SHANGHAI)) is quiet


def test_tier_3_is_sent_in_quiet_hours_and_the_rest_when_they_are_over() -> None:
    RobotFactory.create(sealed=SECRETS, quiet_from=time(22), quiet_to=time(8))
    hit(1, NIGHT, topic="rule:duplicate", urgency="2")
    hit(1, NIGHT)
    answer = httpx.Response(200, json={"errcode": 0, "errmsg": "ok"})
    with httpx.Client(transport=httpx.MockTransport(lambda _: answer)) as client:
        assert notices.send_due(client, now=NIGHT) == "1 notices sent, 0 failed"
        assert Notice.objects.get(state="sent").urgency == "3"
        morning = NIGHT.replace(hour=8)
        assert notices.send_due(client, now=morning) == "1 notices sent, 0 failed"
