"""The page of warning feeds: set up by IT, decided by the CEO, fed by hand."""

import json
import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from channels_sync.models import FeedWarning, WarningFeed
from ordercenter.audit.models import AuditRecord
from ordercenter.core.policy import Role
from ordercenter.orders.models import Interception
from ordercenter.pipeline.interception import lookup
from tests.console.conftest import AsRole

pytestmark = pytest.mark.django_db
NEW = {"code": "cma", "name": "气象台", "kind": "weather"}
ACT = "/intercept/feeds/cma/act/"


@pytest.fixture(autouse=True)
def _names_read_anew() -> None:
    lookup.forget()


@pytest.fixture
def it(as_role: AsRole) -> Client:
    return as_role(Role.IT)


@pytest.fixture
def boss(as_role: AsRole) -> Client:
    return as_role(Role.WAREHOUSE_SUPERVISOR)


def text_of(answer: Any, status: int = 200) -> str:
    assert answer.status_code == status, answer.content.decode()[:2000]
    return str(answer.content.decode())


def secret_in(page: str) -> str:
    found = re.search(r'class="secret">([^<]+)<', page)
    assert found
    return found[1]


def test_a_new_feed_shows_its_secret_once_and_only_proposes(it: Client) -> None:
    secret = secret_in(text_of(it.post("/intercept/feeds/", NEW)))
    feed = WarningFeed.objects.get()
    assert (feed.policy, feed.least_level, feed.is_active) == ("propose", 3, True)
    assert secret.encode() not in bytes(feed.sealed)
    assert secret not in text_of(it.get("/intercept/feeds/"))
    assert secret_in(text_of(it.post(ACT, {"verb": "rotate"}))) != secret
    told = AuditRecord.objects.filter(object_type="warning_feed").values_list("change", flat=True)
    assert len(told) == 2
    assert secret not in json.dumps(list(told))


@pytest.mark.parametrize(
    "wrong",
    [{"code": "a b"}, {"code": ""}, {"code": "x" * 33}, {"name": ""}, {"name": "x" * 61},
     {"kind": "rumor"}],
)  # fmt: skip
def test_a_feed_that_makes_no_sense_is_not_made(it: Client, wrong: dict[str, str]) -> None:
    assert 'role="alert"' in text_of(it.post("/intercept/feeds/", {**NEW, **wrong}), 422)
    assert not WarningFeed.objects.exists()


def test_a_code_is_given_once(it: Client) -> None:
    it.post("/intercept/feeds/", NEW)
    assert "已有编码" in text_of(it.post("/intercept/feeds/", NEW), 422)


def test_a_supervisor_hands_in_a_file_and_reads_what_became_of_it(it: Client, boss: Client) -> None:
    assert "还没有收到预警" in text_of(boss.get("/intercept/feeds/"))
    it.post("/intercept/feeds/", NEW)
    sheet = (
        "编号,级别,内容,地区\nW-1,红,台风登陆,浙江省\nW-2,红,海啸,亚特兰蒂斯\nW-3,蓝,小雨,江苏省\n"
    )
    file = SimpleUploadedFile("w.csv", sheet.encode())
    assert boss.post(ACT, {"verb": "upload", "file": file}).status_code == 302
    states = dict(FeedWarning.objects.values_list("key", "state"))
    assert states == {"W-1": "asked", "W-2": "failed", "W-3": "noted"}
    page = text_of(boss.get("/intercept/feeds/"))
    assert "认不出地区“亚特兰蒂斯”" in page
    assert "浙江省暂停发货" in page
    assert Interception.objects.get().state == "asked"
    broken = SimpleUploadedFile("w.csv", "编号\n1\n".encode())
    assert "表头缺少列" in text_of(boss.post(ACT, {"verb": "upload", "file": broken}), 422)
    assert "请选择预警文件" in text_of(boss.post(ACT, {"verb": "upload"}), 422)


def test_the_ceo_decides_and_it_switches(it: Client, as_role: AsRole) -> None:
    it.post("/intercept/feeds/", NEW)
    ceo = as_role(Role.CEO)
    assert ceo.post(ACT, {"verb": "decide", "policy": "start", "level": "4"}).status_code == 302
    text_of(ceo.post(ACT, {"verb": "decide", "policy": "never", "level": "9"}), 422)
    feed = WarningFeed.objects.get()
    assert (feed.policy, feed.least_level) == ("start", 4)
    assert it.post(ACT, {"verb": "switch", "to": "off"}).status_code == 302
    assert "已停用" in text_of(it.get("/intercept/feeds/"))
    assert it.post(ACT, {"verb": "decide", "policy": "start", "level": "1"}).status_code == 403
