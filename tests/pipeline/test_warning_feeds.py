"""Warnings from outside: proposed or acted on, once, and over when the feed says so."""

import hmac
import json
import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from channels_sync.models import FeedWarning, WarningFeed
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Role
from ordercenter.notices.models import Notice
from ordercenter.orders.models import Interception, InterceptionPolicy
from ordercenter.pipeline.interception import acts, feeds, lookup
from ordercenter.pipeline.interception.warned import Warned, from_json, from_table
from tests.factories import RobotFactory, user_with
from tests.pipeline.seller import Seller, as_person, draft, holds, open_seller, take_one

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _names_read_anew() -> None:
    lookup.forget()


@pytest.fixture
def seller() -> Seller:
    return open_seller()


@pytest.fixture
def feed() -> WarningFeed:
    return WarningFeed.objects.create(code="cma", name="气象台", kind="weather", policy="start")


def warned(**changes: Any) -> Warned:
    values: dict[str, Any] = {
        "key": "W-1", "level": 4, "words": "江苏暴雨红色预警", "places": ("江苏省",), **changes
    }  # fmt: skip
    return Warned(**values)


def told(feed: WarningFeed, now: datetime | None = None, **changes: Any) -> FeedWarning:
    one = warned(**changes)
    feeds.hear(feed, [one], now=now)
    return FeedWarning.objects.get(feed=feed, key=one.key)


def test_a_red_warning_stops_what_it_names_until_it_ends(seller: Seller, feed: WarningFeed) -> None:
    order = take_one(seller.shop, draft())
    ends = clock_now() + timedelta(hours=3)
    row = told(feed, ends=ends)
    it = Interception.objects.get()
    assert (row.state, row.interception) == ("started", it)
    assert (it.state, it.source, it.source_key) == ("active", "feed", "cma:W-1")
    assert (it.words, it.ends_at) == ("江苏省暂停发货", ends)
    assert "红色预警" in it.reason
    assert holds(order) == {f"intercept:i{it.pk}"}


def test_the_same_warning_twice_is_one_and_a_later_end_counts(
    seller: Seller, feed: WarningFeed
) -> None:
    ends = clock_now() + timedelta(hours=3)
    told(feed, ends=ends)
    told(feed, ends=ends)
    later = ends + timedelta(hours=2)
    told(feed, ends=later)
    assert Interception.objects.get().ends_at == later
    assert FeedWarning.objects.count() == 1


def test_a_warning_taken_back_lifts_what_it_began(seller: Seller, feed: WarningFeed) -> None:
    order = take_one(seller.shop, draft())
    told(feed)
    row = told(feed, is_over=True)
    assert row.state == "ended"
    assert Interception.objects.get().state == "lifted"
    assert holds(order) == set()
    assert told(feed, is_over=True).state == "ended"


def test_a_feed_that_only_proposes_asks_and_tells(seller: Seller, feed: WarningFeed) -> None:
    RobotFactory.create(min_tier="1")
    WarningFeed.objects.filter(pk=feed.pk).update(policy="propose")
    feed.refresh_from_db()
    order = take_one(seller.shop, draft())
    row = told(feed)
    it = Interception.objects.get()
    assert (row.state, it.state, holds(order)) == ("asked", "asked", set())
    assert Notice.objects.filter(title__contains="待第二人确认").exists()
    boss = user_with(Role.WAREHOUSE_SUPERVISOR)
    acts.approve(it.pk, user=boss, actor=as_person(boss))
    assert holds(order) == {f"intercept:i{it.pk}"}


def test_a_proposal_whose_warning_is_over_is_no_question_any_more(
    seller: Seller, feed: WarningFeed
) -> None:
    WarningFeed.objects.filter(pk=feed.pk).update(policy="propose")
    feed.refresh_from_db()
    told(feed)
    told(feed, is_over=True)
    assert Interception.objects.get().state == "refused"


def test_above_the_limits_even_a_trusted_feed_asks(seller: Seller, feed: WarningFeed) -> None:
    InterceptionPolicy.objects.create(pk=1, most_orders=0)
    take_one(seller.shop, draft())
    assert told(feed).state == "asked"


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"level": 2}, "noted"),
        ({"carriers": ("中通",)}, "noted"),
        ({"carriers": ("中通", "顺丰")}, "started"),
        ({"places": ("亚特兰蒂斯",)}, "failed"),
        ({"places": ("吉林",)}, "failed"),
        ({"places": ()}, "failed"),
        ({"places": (), "skus": ("NO-SUCH",)}, "failed"),
        ({"places": (), "skus": ("SOFA",)}, "started"),
        ({"places": ("江苏省暂停发货 浙江",)}, "started"),
    ],
)
def test_what_is_not_sure_stops_nothing(
    seller: Seller, feed: WarningFeed, changes: dict[str, Any], state: str
) -> None:
    row = told(feed, **changes)
    assert row.state == state
    assert Interception.objects.exists() == (state == "started")
    assert bool(row.note) == (state != "started")


def test_what_starts_later_begins_in_its_time_and_ends_in_its_time(
    seller: Seller, feed: WarningFeed
) -> None:
    now = clock_now()
    starts, ends = now + timedelta(hours=1), now + timedelta(hours=3)
    row = told(feed, starts=starts, ends=ends)
    assert row.state == "waiting"
    assert feeds.hear_again(now=now) == "0 warnings begun, 0 ended"
    assert feeds.hear_again(now=starts) == "1 warnings begun, 0 ended"
    assert Interception.objects.get().state == "active"
    assert feeds.hear_again(now=ends) == "0 warnings begun, 1 ended"
    row.refresh_from_db()
    assert (row.state, Interception.objects.get().state) == ("ended", "lifted")


def test_a_killed_worker_leaves_nothing_half(
    seller: Seller, feed: WarningFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(feeds, "_act", lambda *_args, **_more: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            told(feed)
    assert FeedWarning.objects.get().state == "heard"
    feeds.hear_again()
    assert FeedWarning.objects.get().state == "started"


def test_a_person_may_end_what_a_feed_began(seller: Seller, feed: WarningFeed) -> None:
    row = told(feed)
    ceo = user_with(Role.CEO)
    assert row.interception is not None
    acts.end(row.interception.pk, user=ceo, actor=as_person(ceo), reason="现场天气正常")
    assert told(feed).state == "started"
    assert Interception.objects.get().state == "lifted"


# --- by the wire ----------------------------------------------------------------------------


def push(
    feed: WarningFeed, secret: str, body: Any, *, age: int = 0, signature: str | None = None
) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    stamp = str(int(time.time()) - age)
    right = hmac.new(secret.encode(), stamp.encode() + b"." + raw, "sha256").hexdigest()
    headers = {"X-Feed-Timestamp": stamp, "X-Feed-Signature": signature or right}
    return Client().post(
        f"/hooks/feeds/{feed.code}/", raw, content_type="application/json", headers=headers
    )


BODY = {"key": "W-1", "level": "red", "words": "江苏暴雨", "places": ["江苏省"]}


def test_a_signed_push_is_heard(seller: Seller, feed: WarningFeed) -> None:
    secret = feeds.new_secret(feed)
    answer = push(feed, secret, BODY)
    assert (answer.status_code, answer.json()) == (200, {"heard": {"started": 1}})
    assert push(feed, secret, BODY).status_code == 200
    assert Interception.objects.count() == 1


def test_what_is_not_signed_lately_by_its_feed_is_refused(
    seller: Seller, feed: WarningFeed
) -> None:
    secret = feeds.new_secret(feed)
    other = WarningFeed.objects.create(code="other", name="别家", kind="weather")
    theirs = feeds.new_secret(other)
    assert push(feed, theirs, BODY).status_code == 401
    assert push(feed, secret, BODY, age=600).status_code == 401
    assert push(feed, secret, BODY, age=-600).status_code == 401
    assert push(feed, secret, BODY, signature="0" * 64).status_code == 401
    assert push(feed, secret, BODY, signature="签名").status_code == 401
    feeds.new_secret(feed)
    assert push(feed, secret, BODY).status_code == 401
    assert Client().post(f"/hooks/feeds/{feed.code}/", b"{}", "application/json").status_code == 401
    WarningFeed.objects.filter(pk=feed.pk).update(is_active=False)
    assert push(feed, secret, BODY).status_code == 404
    assert not FeedWarning.objects.exists()


@pytest.mark.parametrize(
    "body",
    [b"not json", b"[]", b"[" * 5000, {"warnings": []}, [1], {"key": ""}, {**BODY, "level": "pink"},
     {**BODY, "ends": "tomorrow"}, {**BODY, "key": "x" * 65}, {**BODY, "places": "x" * 61},
     {**BODY, "words": "a\0b"}, {**BODY, "starts": "2026-01-02", "ends": "2026-01-01T00:00"},
     [BODY] * 201],
)  # fmt: skip
def test_a_broken_push_changes_nothing_and_says_why(feed: WarningFeed, body: Any) -> None:
    secret = feeds.new_secret(feed)
    answer = push(feed, secret, body)
    assert answer.status_code == 422, answer.content
    assert answer.json()["message"]
    assert not FeedWarning.objects.exists()


def test_a_push_that_is_too_big_is_refused(feed: WarningFeed) -> None:
    secret = feeds.new_secret(feed)
    assert push(feed, secret, b" " * (300 * 1024)).status_code == 422
    assert push(feed, secret, b" " * (3 * 1024 * 1024)).status_code == 413


# --- by file --------------------------------------------------------------------------------


@pytest.fixture
def folder(feed: WarningFeed, tmp_path: Path, settings: Any) -> Path:
    settings.DATA_DIR = tmp_path
    made = feeds.folder_of(feed)
    made.mkdir(parents=True)
    return made


def drop(folder: Path, name: str, text: str, *, age: int = 60) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_files_in_the_folder_are_taken_in_and_kept(
    seller: Seller, feed: WarningFeed, folder: Path
) -> None:
    drop(folder, "one.json", json.dumps(BODY))
    drop(folder, "two.csv", "编号,级别,内容,地区,货品\nW-2,橙色,供应商断货,,SOFA、LAMP\n")
    drop(folder, "bad.csv", "编号,内容\nW-3,没有级别\n")
    drop(folder, "fresh.json", json.dumps(BODY), age=0)
    drop(folder, ".hidden.json", json.dumps(BODY))
    assert feeds.read_folders() == "2 warning files taken, 1 refused"
    assert feeds.read_folders() == "0 warning files taken, 0 refused"
    assert set(FeedWarning.objects.values_list("key", flat=True)) == {"W-1", "W-2"}
    second = Interception.objects.get(source_key="cma:W-2")
    assert second.condition["skus"] == ["SOFA", "LAMP"]
    assert len(list((folder / "done").iterdir())) == 2
    assert any(path.name.endswith(".error.txt") for path in (folder / "bad").iterdir())
    assert (folder / "fresh.json").exists()


def test_json_and_tables_say_the_same(tmp_path: Path) -> None:
    path = drop(
        tmp_path, "a.csv",
        "编号,级别,内容,地区,快递,开始,结束,状态\n"
        "W-9,黄,大雾,江苏省、浙江省,顺丰,2026-11-23 08:00,2026-11-23T20:00+08:00,解除\n",
    )  # fmt: skip
    said = {
        "key": "W-9", "level": "yellow", "words": "大雾", "places": ["江苏省", "浙江省"],
        "carriers": ["顺丰"], "starts": "2026-11-23T08:00:00+08:00",
        "ends": "2026-11-23T12:00:00Z", "state": "over",
    }  # fmt: skip
    assert from_table(path) == from_json(json.dumps({"warnings": [said]}).encode())
    with pytest.raises(InvalidInput, match="第 2 条"):
        from_table(drop(tmp_path, "b.csv", "编号,级别,内容\nW-1,紫,雾\n"))
