"""Connecting a shop step by step, and everything people do on its page, through the doors."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.test import Client
from django.utils import timezone

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.exchange import make_client
from channels_sync.connectors.shopify.wire import oauth_sign
from channels_sync.models import (
    Backfill,
    CallBudget,
    FeedCursor,
    InboxMessage,
    LineAlarm,
    Reconciliation,
    ShopCredential,
    SyncCursor,
    SyncWindow,
)
from ordercenter.audit.models import Action, AuditRecord
from ordercenter.catalog.models import Channel, Shop
from ordercenter.console.platforms import PLATFORMS, Kept
from ordercenter.core.policy import Role
from ordercenter.pipeline import completeness, lines, pulling
from tests.channels_sync.platforms import payload
from tests.console.conftest import AsRole
from tests.factories import (
    OrderLineFactory,
    SalesOrderFactory,
    ShopCredentialFactory,
    ShopFactory,
    SyncCursorFactory,
)

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
WORDS = "平台维护，先停一停"
TYPED = {
    "base_url": "https://gw.example.com/router/rest",
    "app_key": "app-key-1",
    "app_secret": "a-typed-secret",
    "shop_id": "",
    "tmc_group": "暖屿",
    "sign_method": "md5",
    "tmc": "off",
    "push_stock": "",
    "more": "",
}


@pytest.fixture
def it(as_role: AsRole) -> Client:
    return as_role(Role.IT)


@pytest.fixture
def shop() -> Shop:
    """A shop that is read."""
    made: Shop = ShopFactory.create(code="TB01", name="暖屿旗舰店", channel=Channel.TAOBAO)
    ShopCredentialFactory.create(shop=made, base_url="https://gateway.example")
    SyncCursorFactory.create(shop=made, last_ok_at=timezone.now())
    return made


@pytest.fixture
def begun() -> Shop:
    """A shop with a name and no more."""
    made: Shop = ShopFactory.create(code="TB02", channel=Channel.TAOBAO, is_active=False)
    return made


Handler = Callable[[httpx.Request], httpx.Response]


@contextmanager
def platform(handler: Handler) -> Iterator[None]:
    """Whatever the pages ask a platform goes to ``handler``."""

    def client() -> httpx.Client:
        return make_client(transport=httpx.MockTransport(handler))

    with pytest.MonkeyPatch.context() as patch:
        for module in (lines, pulling, completeness):
            patch.setattr(module, "make_client", client)
        yield


def answering(body: dict[str, Any]) -> Handler:
    return lambda _request: httpx.Response(200, json=body)


REFUSES = answering({"error_response": {"code": 25, "msg": "Invalid signature"}})
EMPTY = answering({"trades_sold_increment_get_response": {"total_results": 0, "trades": {}}})
GIVES_TOKENS = answering(
    {"access_token": "token-by-code", "expires_in": 86400, "refresh_token": "refresh-by-code",
     "re_expires_in": 2_592_000, "w2_expires_in": 1800, "taobao_user_id": "2088",
     "taobao_user_nick": "nick"}
)  # fmt: skip


def text_of(answer: Any) -> str:
    return str(answer.content.decode())


def address_after(answer: Any) -> str:
    return str(answer.url)


def act(client: Client, verb: str, *, code: str = "TB01", **more: Any) -> Any:
    return client.post(f"/shops/{code}/act/", {"verb": verb, **more})


def last_record(action: Action) -> AuditRecord:
    return AuditRecord.objects.filter(action=action).order_by("-pk")[0]


# --- step by step -----------------------------------------------------------------------------


def test_every_channel_that_can_be_connected_says_what_it_needs_and_where(it: Client) -> None:
    assert set(CONNECTORS) <= set(PLATFORMS)
    text = text_of(it.get("/shops/new/"))
    for channel in CONNECTORS:
        assert f'href="?channel={channel}"' in text
        assert str(PLATFORMS[channel].where) in text


@pytest.mark.parametrize("channel", sorted(set(PLATFORMS) & set(CONNECTORS) - {"file"}))
def test_every_channel_asks_for_its_own_fields_and_hides_the_secret_ones(
    it: Client, channel: str
) -> None:
    ShopFactory.create(code="NEW", channel=channel, is_active=False)
    text = text_of(it.get("/shops/NEW/setup/access/"))
    for field in PLATFORMS[channel].fields:
        (tag,) = re.findall(rf'<(?:input|select)[^>]*name="{field.name}"[^>]*>', text)
        assert ('type="password"' in tag) is (field.kept is Kept.SECRET)


def test_a_shop_is_connected_step_by_step_and_reads_nothing_before_the_last(it: Client) -> None:
    answer = it.post(
        "/shops/new/?channel=taobao", {"code": "TB01", "name": "暖屿", "currency": "CNY"}
    )
    assert address_after(answer) == "/shops/TB01/setup/"
    assert address_after(it.get("/shops/TB01/setup/")) == "/shops/TB01/setup/access/"
    answer = it.post("/shops/TB01/setup/access/", TYPED)
    assert address_after(answer) == "/shops/TB01/setup/authorize/"
    answer = it.post(
        "/shops/TB01/setup/authorize/",
        {"verb": "tokens", "access_token": "typed-token", "refresh_token": ""},
    )
    assert address_after(answer) == "/shops/TB01/setup/test/"
    with platform(EMPTY):
        assert "连接正常" in text_of(it.post("/shops/TB01/setup/test/"))
    shop = Shop.objects.get()
    assert not shop.is_active
    assert pulling.due_shops(now=timezone.now() + HOUR) == []

    answer = it.post(
        "/shops/TB01/setup/mode/", {"mode": "event", "interval": "30", "backfill": "7"}
    )
    assert address_after(answer) == "/shops/TB01/setup/done/"
    shop.refresh_from_db()
    assert (shop.is_active, shop.channel, shop.currency) == (True, "taobao", "CNY")
    row = ShopCredential.objects.get()
    assert row.secrets() == {"app_secret": "a-typed-secret", "access_token": "typed-token"}
    assert row.options == {
        "tmc_group": "暖屿", "sign_method": "md5", "tmc": "off",
        "redirect_uri": "http://testserver/shops/TB01/authorized/",
    }  # fmt: skip
    cursor = SyncCursor.objects.get()
    assert (cursor.mode, cursor.interval_seconds) == ("event", 30)
    assert pulling.due_shops(now=timezone.now()) == [shop.pk]
    backfill = Backfill.objects.get()
    assert backfill.end - backfill.start == timedelta(days=7)
    assert "暖屿 已接入" in text_of(it.get("/shops/TB01/setup/done/"))


def test_leaving_in_the_middle_loses_nothing_and_goes_on_where_it_was(
    it: Client, begun: Shop
) -> None:
    assert 'href="/shops/TB02/setup/"' in text_of(it.get("/shops/"))
    assert address_after(it.get("/shops/TB02/")) == "/shops/TB02/setup/"
    # A later step without an earlier one leads back to it.
    assert address_after(it.get("/shops/TB02/setup/mode/")).endswith("/access/")
    it.post("/shops/TB02/setup/access/", TYPED)
    assert address_after(it.get("/shops/TB02/setup/")).endswith("/authorize/")
    text = text_of(it.get("/shops/TB02/setup/access/"))
    assert 'value="app-key-1"' in text
    assert "已保存，留空不变" in text
    it.post("/shops/TB02/setup/authorize/", {"verb": "tokens", "access_token": "t"})
    assert address_after(it.get("/shops/TB02/setup/")).endswith("/test/")
    begun.refresh_from_db()
    assert not begun.is_active


def test_the_last_step_pressed_twice_starts_once(it: Client, begun: Shop) -> None:
    it.post("/shops/TB02/setup/access/", TYPED)
    for _ in range(2):
        answer = it.post(
            "/shops/TB02/setup/mode/", {"mode": "timed", "interval": "900", "backfill": "1"}
        )
        assert address_after(answer).endswith("/done/")
    assert Backfill.objects.count() == 1
    changes = AuditRecord.objects.filter(object_id=begun.pk).values_list("change", flat=True)
    assert [change for change in changes if "is_active" in change] == [{"is_active": [False, True]}]


def test_a_name_pressed_twice_makes_one_shop_and_another_of_its_code_is_refused(
    it: Client,
) -> None:
    post = {"code": "JD01", "name": "京东店", "currency": "CNY"}
    for _ in range(2):
        assert it.post("/shops/new/?channel=jd", post).status_code == 302
    assert Shop.objects.count() == 1
    for changes in ({"name": "别的店"}, {"code": "jd01"}):
        answer = it.post("/shops/new/?channel=jd", post | changes)
        assert answer.status_code == 422
        assert "已被使用" in text_of(answer)
        assert f'value="{(post | changes)["name"]}"' in text_of(answer)
    assert Shop.objects.count() == 1


@pytest.mark.parametrize(
    "code",
    ["", "new", "quarantine", "有中文", "a b", "x" * 33, "../etc", "a\0b", "<script>"],
)
def test_a_code_that_cannot_be_an_address_is_refused_with_what_was_typed(
    it: Client, code: str
) -> None:
    answer = it.post(
        "/shops/new/?channel=jd", {"code": code, "name": "暖屿二店", "currency": "CNY"}
    )
    assert answer.status_code == 422
    assert 'value="暖屿二店"' in text_of(answer)
    assert "<script>" not in text_of(answer)
    assert not Shop.objects.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_url": "http://gw.example.com/"}, "https://"),
        ({"base_url": "ftp://gw.example.com/"}, "https://"),
        ({"base_url": "https://"}, "完整的网址"),
        ({"base_url": "https://[::1"}, "不是一个网址"),
        ({"base_url": "https://u:p@gw.example.com/"}, "账号和密码"),
        ({"base_url": ""}, "必填"),
        ({"app_key": ""}, "必填"),
        ({"app_key": "k\0"}, "有几项需要改正"),
        ({"app_secret": ""}, "必填"),
        ({"sign_method": "none"}, "none"),
        ({"more": "no equals sign"}, "名称=值"),
        ({"more": "sign_method=md5"}, "sign_method"),
        ({"more": "access_token=t"}, "access_token"),
        ({"more": "a=1\na=2"}, "重复"),
    ],
)
def test_wrong_credentials_are_refused_with_what_was_typed_but_not_the_secrets(
    it: Client, begun: Shop, changes: dict[str, str], said: str
) -> None:
    answer = it.post("/shops/TB02/setup/access/", TYPED | changes)
    assert answer.status_code == 422
    text = text_of(answer)
    assert set(answer.context["form"].errors) == set(changes)
    assert 'value="暖屿"' in text
    assert "a-typed-secret" not in text
    assert said in text
    assert not ShopCredential.objects.filter(shop=begun).exists()


def test_a_platform_on_this_machine_may_be_spoken_to_in_the_clear(it: Client, begun: Shop) -> None:
    answer = it.post("/shops/TB02/setup/access/", TYPED | {"base_url": "http://127.0.0.1:8100/tb"})
    assert answer.status_code == 302
    assert ShopCredential.objects.get(shop=begun).base_url == "http://127.0.0.1:8100/tb"


def test_options_the_table_does_not_know_are_kept_and_can_be_edited(
    it: Client, begun: Shop
) -> None:
    it.post(
        "/shops/TB02/setup/access/",
        TYPED | {"more": "limit.trade=5\n stop_method = a.b.c \n\n"},
    )
    options = ShopCredential.objects.get(shop=begun).options
    assert (options["limit.trade"], options["stop_method"]) == ("5", "a.b.c")
    text = text_of(it.get("/shops/TB02/setup/access/"))
    assert "limit.trade=5" in text
    it.post("/shops/TB02/setup/access/", TYPED | {"app_secret": "", "more": "limit.trade=7"})
    options = ShopCredential.objects.get(shop=begun).options
    assert options["limit.trade"] == "7"
    assert "stop_method" not in options


def test_a_shop_of_spreadsheets_needs_no_credentials(it: Client) -> None:
    it.post("/shops/new/?channel=file", {"code": "XL01", "name": "表格", "currency": "CNY"})
    assert address_after(it.get("/shops/XL01/setup/")).endswith("/done/")
    assert not Shop.objects.get().is_active  # looking starts nothing
    assert it.post("/shops/XL01/setup/done/").status_code == 302
    assert Shop.objects.get().is_active
    assert "import_orders" in text_of(it.get("/shops/XL01/setup/done/"))
    assert it.get("/shops/XL01/").status_code == 200


def test_the_push_address_is_given_where_a_platform_pushes(it: Client) -> None:
    for code, channel in (("DY01", "douyin"), ("PD01", "pinduoduo")):
        shop = ShopFactory.create(code=code, channel=channel)
        ShopCredentialFactory.create(shop=shop)
        SyncCursorFactory.create(shop=shop)
    address = "http://testserver/hooks/douyin/DY01/"
    for path in ("/shops/DY01/setup/done/", "/shops/DY01/"):
        assert address in text_of(it.get(path))
    assert "/hooks/" not in text_of(it.get("/shops/PD01/"))


# --- authorization ----------------------------------------------------------------------------


def asked_state(client: Client, code: str) -> str:
    answer = client.get(f"/shops/{code}/authorize/")
    assert answer.status_code == 302
    there = urlsplit(address_after(answer))
    assert there.hostname == "oauth.taobao.com"
    query = parse_qs(there.query)
    assert query["redirect_uri"] == [f"http://testserver/shops/{code}/authorized/"]
    return query["state"][0]


def test_the_owner_comes_back_from_the_platform_with_a_code_that_becomes_tokens(
    it: Client, shop: Shop
) -> None:
    state = asked_state(it, "TB01")
    with platform(GIVES_TOKENS):
        answer = it.get("/shops/TB01/authorized/", {"code": "the-code", "state": state})
    assert address_after(answer) == "/shops/TB01/setup/test/"
    row = ShopCredential.objects.get(shop=shop)
    assert row.secrets()["access_token"] == "token-by-code"
    assert row.write_expires_at is not None
    assert row.options["shop_id"] == "2088"
    text = text_of(it.get("/shops/TB01/"))
    assert "授权还有" in text
    for secret in ("token-by-code", "refresh-by-code", "app-secret"):
        assert secret not in text
    # What was answered once is answered.
    with platform(GIVES_TOKENS):
        again = it.get("/shops/TB01/authorized/", {"code": "the-code", "state": state})
    assert again.status_code == 422


def test_a_way_back_the_platform_did_not_sign_is_no_way_in(it: Client) -> None:
    shop = ShopFactory.create(code="SH01", channel="shopify")
    ShopCredentialFactory.create(
        shop=shop, base_url="https://a.myshopify.com", options={"shop_domain": "a.myshopify.com"}
    )
    SyncCursorFactory.create(shop=shop)
    asked: list[httpx.Request] = []

    def gives(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"access_token": "shpat_new", "scope": "read_orders"})

    def way_back(**changes: str) -> dict[str, str]:
        there = urlsplit(address_after(it.get("/shops/SH01/authorize/")))
        stamp = str(int(timezone.now().timestamp()))
        query = {"code": "c", "state": parse_qs(there.query)["state"][0], "timestamp": stamp,
                 "shop": "a.myshopify.com"}  # fmt: skip
        return query | {"hmac": oauth_sign("app-secret", query)} | changes

    with platform(gives):
        for forged in ({"hmac": ""}, {"hmac": "0" * 64}, {"shop": "evil.myshopify.com"}):
            answer = it.get("/shops/SH01/authorized/", way_back(**forged))
            assert answer.status_code == 422
        assert asked == []
        assert it.get("/shops/SH01/authorized/", way_back()).status_code == 302
    assert ShopCredential.objects.get(shop=shop).secrets()["access_token"] == "shpat_new"


def test_an_owner_who_lets_us_into_another_shop_is_told_at_once(it: Client, shop: Shop) -> None:
    ShopCredential.objects.filter(shop=shop).update(options={"shop_id": "1001"})
    with platform(GIVES_TOKENS):
        it.post("/shops/TB01/setup/authorize/", {"verb": "code", "code": "good"})
    text = text_of(it.get("/shops/TB01/"))
    assert "授权的是另一家店（编号 2088 nick）" in text
    assert ShopCredential.objects.get(shop=shop).options["shop_id"] == "1001"


def test_an_answer_nobody_here_asked_for_changes_nothing(
    it: Client, shop: Shop, as_role: AsRole
) -> None:
    before = ShopCredential.objects.values("sealed").get()
    state = asked_state(it, "TB01")
    ShopFactory.create(code="TB09", channel=Channel.TAOBAO)
    other = as_role(Role.IT, username="another")
    wrong = [
        it.get("/shops/TB01/authorized/", {"code": "c"}),
        it.get("/shops/TB01/authorized/", {"code": "c", "state": state + "x"}),
        other.get("/shops/TB01/authorized/", {"code": "c", "state": state}),
        it.get("/shops/TB09/authorized/", {"code": "c", "state": state}),
    ]
    assert [answer.status_code for answer in wrong] == [422] * 4
    assert ShopCredential.objects.filter(shop=shop).values("sealed").get() == before


def test_an_answer_that_comes_too_late_is_refused(
    it: Client, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = asked_state(it, "TB01")
    monkeypatch.setattr("ordercenter.console.shop_authorize.STATE_SECONDS", -1)
    with platform(GIVES_TOKENS):
        answer = it.get("/shops/TB01/authorized/", {"code": "c", "state": state})
    assert answer.status_code == 422
    assert "过期" in text_of(answer)
    assert ShopCredential.objects.get(shop=shop).secrets()["access_token"] == "access-token"


def test_an_owner_who_says_no_is_sent_back_to_the_step(it: Client, shop: Shop) -> None:
    state = asked_state(it, "TB01")
    answer = it.get("/shops/TB01/authorized/", {"error": "access_denied", "state": state})
    assert address_after(answer) == "/shops/TB01/setup/authorize/"
    assert "店主没有同意授权" in text_of(it.get("/shops/TB01/setup/authorize/"))


def test_a_pasted_code_is_traded_or_its_refusal_explained(it: Client, shop: Shop) -> None:
    with platform(REFUSES):
        answer = it.post("/shops/TB01/setup/authorize/", {"verb": "code", "code": "bad"})
    assert answer.status_code == 422
    assert "签名不正确" in text_of(answer)
    with platform(GIVES_TOKENS):
        answer = it.post("/shops/TB01/setup/authorize/", {"verb": "code", "code": " good "})
    assert answer.status_code == 302
    assert ShopCredential.objects.get(shop=shop).secrets()["access_token"] == "token-by-code"
    empty = it.post("/shops/TB01/setup/authorize/", {"verb": "code", "code": " "})
    assert empty.status_code == 422
    nothing = it.post("/shops/TB01/setup/authorize/", {"verb": "tokens"})
    assert nothing.status_code == 422
    assert "请填写访问令牌" in text_of(nothing)


def test_an_application_of_the_shops_own_gets_its_token_without_the_owner(it: Client) -> None:
    shop = ShopFactory.create(code="DY01", channel="douyin")
    ShopCredentialFactory.create(
        shop=shop, base_url="https://gateway.example", options={"shop_id": "7"}
    )
    SyncCursorFactory.create(shop=shop)
    asked: list[httpx.Request] = []

    def gives(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=payload("douyin", "token_create_ok"))

    with platform(gives):
        answer = it.post("/shops/DY01/setup/authorize/", {"verb": "own"})
    assert answer.status_code == 302
    assert b"authorization_self" in asked[0].content


def test_a_new_secret_leaves_the_old_one_good_for_a_day_and_says_so(it: Client, shop: Shop) -> None:
    post = TYPED | {"app_secret": "brand-new-secret"}
    assert address_after(it.post("/shops/TB01/setup/access/", post)) == "/shops/TB01/"
    row = ShopCredential.objects.get(shop=shop)
    assert row.access().app_secret == "brand-new-secret"
    assert row.access().old_app_secret == "app-secret"
    assert row.secrets()["access_token"] == "access-token"  # what was not typed stays
    text = text_of(it.get("/shops/TB01/"))
    assert "旧密钥有效到" in text
    assert "brand-new-secret" not in text
    assert "brand-new-secret" not in str(last_record(Action.SHOP_CHANGED).change)


# --- the shop's page --------------------------------------------------------------------------


def test_no_secret_is_in_any_page_of_a_shop(it: Client, shop: Shop) -> None:
    row = ShopCredential.objects.get(shop=shop)
    hidden = {"app_secret": "hidden-1", "access_token": "hidden-2", "refresh_token": "hidden-3",
              "old_app_secret": "hidden-4", "push_token": "hidden-5"}  # fmt: skip
    row.set_secrets(**hidden)
    row.save()
    paths = ["/shops/", "/shops/TB01/", "/shops/TB01/?fragment=1", "/shops/TB01/?fragment=records"]
    paths += [f"/shops/TB01/setup/{step}/" for step in ("access", "authorize", "test", "done")]
    for path in paths:
        assert "hidden-" not in text_of(it.get(path)), path


def test_the_page_shows_everything_that_is_known_of_the_line(it: Client, shop: Shop) -> None:
    now = timezone.now()
    FeedCursor.objects.create(shop=shop, feed="orders", position=now)
    SyncWindow.objects.create(
        shop=shop, feed="orders", start=now - HOUR, end=now, pages=3, messages=271,
        was=now - HOUR, position=now, at=now,
    )  # fmt: skip
    hour = (now - 3 * HOUR).replace(minute=0, second=0, microsecond=0)
    Reconciliation.objects.create(
        shop=shop, hour=hour, theirs=12, ours=10, missing=["88001", "88002"], extra=["99001"],
        state=Reconciliation.State.SHORT, checked_at=now,
    )  # fmt: skip
    LineAlarm.objects.create(
        shop=shop, kind="lag", level="alarm", words="数据延迟 7 分钟", opened_at=now, seen_at=now
    )
    LineAlarm.objects.create(
        shop=shop, kind="breaker", level="warn", words="曾经熔断", opened_at=now - HOUR,
        seen_at=now, closed_at=now,
    )  # fmt: skip
    CallBudget.objects.create(
        shop=shop, interface="taobao.trades.sold.get", per_second=2.5, burst=5, tokens=1,
        counted_at=now, blocked_until=now + HOUR,
    )  # fmt: skip
    Backfill.objects.create(
        shop=shop, start=now - HOUR, end=now, position=now, state="done", messages=41, new=40,
        asked_by="郑工程师", created_at=now, done_at=now,
    )  # fmt: skip
    text = text_of(it.get("/shops/TB01/"))
    shown = ["271", "88001、88002", "99001", "数据延迟 7 分钟", "曾经熔断", "2.5", "新增 40 条"]
    shown += ["taobao.trades.sold.get", "郑工程师", "仍有缺单"]
    assert [words for words in shown if words not in text] == []


def test_a_day_of_comparison_has_a_row_for_each_closed_hour(it: Client, shop: Shop) -> None:
    hours = it.get("/shops/TB01/?fragment=records").context["hours"]
    assert 46 <= len(hours) <= 48
    assert {later.hour - earlier.hour for later, earlier in pairwise(hours)} == {HOUR}
    assert hours[0].hour + HOUR + completeness.CLOSED <= timezone.now()


def test_who_reads_health_reads_the_page_without_the_buttons_of_it(
    as_role: AsRole, shop: Shop
) -> None:
    text = text_of(as_role(Role.CEO).get("/shops/TB01/"))
    assert 'value="poll"' in text
    assert 'value="pull"' in text
    for verb in ("pause", "mode", "backfill", "reset", "test"):
        assert f'value="{verb}"' not in text
    assert "/setup/" not in text
    assert "/hooks/" not in text
    assert ShopCredential.objects.get(shop=shop).app_key not in re.findall(r"<dd>(.*?)</dd>", text)


def test_a_shop_is_read_at_once_whatever_its_mode(as_role: AsRole, shop: Shop) -> None:
    later = timezone.now() + HOUR
    SyncCursor.objects.update(next_due_at=later, broken=9, open_until=later)
    supervisor = as_role(Role.OPERATIONS_SUPERVISOR)
    assert act(supervisor, "poll").status_code == 302
    cursor = SyncCursor.objects.get()
    assert cursor.next_due_at <= timezone.now()
    assert cursor.open_until is None


def test_a_pause_wants_a_reason_and_pressed_twice_is_one_pause(it: Client, shop: Shop) -> None:
    refused = act(it, "pause", reason="短")
    assert refused.status_code == 422
    assert 'value="短"' in text_of(refused)
    assert SyncCursor.objects.get().paused_at is None
    for _ in range(2):
        assert act(it, "pause", reason=WORDS).status_code == 302
    assert AuditRecord.objects.filter(action=Action.LINE_CHANGED, reason=WORDS).count() == 1
    assert pulling.due_shops(now=timezone.now() + HOUR) == []
    text = text_of(it.get("/shops/TB01/"))
    assert "已暂停" in text
    assert 'value="resume"' in text
    assert act(it, "resume").status_code == 302
    assert pulling.due_shops(now=timezone.now()) == [shop.pk]


@pytest.mark.parametrize(
    ("post", "status"),
    [
        ({"mode": "timed", "interval": "1800"}, 302),
        ({"mode": "manual", "interval": "60"}, 302),
        ({"mode": "never", "interval": "60"}, 422),
        ({"mode": "timed", "interval": "1"}, 422),
        ({"mode": "timed", "interval": "x"}, 422),
        ({}, 422),
    ],
)
def test_the_mode_is_one_of_three_and_the_interval_one_of_the_list(
    it: Client, shop: Shop, post: dict[str, str], status: int
) -> None:
    assert act(it, "mode", **post).status_code == status
    cursor = SyncCursor.objects.get()
    expected = (post["mode"], int(post["interval"])) if status == 302 else ("event", 60)
    assert (cursor.mode, cursor.interval_seconds) == expected


def full_order() -> tuple[str, Handler]:
    body = payload("taobao", "trade_fullinfo_get_discount_gift_oaid")
    trade = body["trade_fullinfo_get_response"]["trade"]
    return str(trade["tid"]), answering(body)


def test_one_order_is_pulled_and_where_it_has_got_to_is_shown(as_role: AsRole, shop: Shop) -> None:
    number, handler = full_order()
    supervisor = as_role(Role.WAREHOUSE_SUPERVISOR)
    with platform(handler):
        answer = act(supervisor, "pull", number=f" {number} ")
    assert address_after(answer) == f"/shops/TB01/?pulled={number}"
    assert InboxMessage.objects.get().channel_number == number
    text = text_of(supervisor.get(address_after(answer)))
    assert "待处理" in text
    order = SalesOrderFactory.create(shop=shop, channel_number=number)
    OrderLineFactory.create(order=order)
    assert f'href="/orders/{order.number}/"' in text_of(supervisor.get(address_after(answer)))
    # Who may not see orders sees that it is in, and no way to it.
    text = text_of(as_role(Role.IT).get(address_after(answer)))
    assert order.number in text
    assert "/orders/" not in text


@pytest.mark.parametrize("number", ["", " ", "x" * 65, "1\x002"])
def test_what_cannot_be_a_number_is_not_asked_for(it: Client, shop: Shop, number: str) -> None:
    assert shop.code == "TB01"
    assert act(it, "pull", number=number).status_code == 422
    assert it.get("/shops/TB01/", {"pulled": number}).status_code == 200


def test_a_refused_pull_says_why_and_keeps_the_number(it: Client, shop: Shop) -> None:
    assert shop.code == "TB01"
    with platform(REFUSES):
        answer = act(it, "pull", number="123456")
    assert answer.status_code == 422
    text = text_of(answer)
    assert "签名不正确" in text
    assert 'value="123456"' in text


def test_a_test_of_the_line_says_cause_and_cure(it: Client, shop: Shop) -> None:
    assert shop.code == "TB01"
    with platform(REFUSES):
        text = text_of(act(it, "test"))
    assert "签名不正确" in text
    assert "重新复制应用标识与密钥" in text
    with platform(EMPTY):
        assert act(it, "test").status_code == 302


def test_a_stretch_of_the_past_is_read_again_in_beijing_time(it: Client, shop: Shop) -> None:
    span = {"start": "2025-11-01T00:00", "end": "2025-11-02T12:30", "reason": "平台漏推"}
    assert act(it, "backfill", **span).status_code == 302
    made = Backfill.objects.get(shop=shop)
    assert made.start == datetime(2025, 10, 31, 16, 0, tzinfo=UTC)
    assert made.end == datetime(2025, 11, 2, 4, 30, tzinfo=UTC)
    text = text_of(it.get("/shops/TB01/?fragment=backfill"))
    assert "data-running" in text
    assert 'value="0"' in text
    second = act(it, "backfill", **span)
    assert second.status_code == 422
    assert "已有补拉任务" in text_of(second)
    Backfill.objects.update(position=made.start + (made.end - made.start) / 2)
    assert "50%" in text_of(it.get("/shops/TB01/?fragment=backfill"))
    for _ in range(2):
        assert act(it, "cancel_backfill", backfill=made.pk).status_code == 302
    assert Backfill.objects.get().state == Backfill.State.CANCELED
    assert "data-running" not in text_of(it.get("/shops/TB01/?fragment=backfill"))


@pytest.mark.parametrize(
    "changes",
    [
        {"start": "2025-11-03T00:00"},
        {"start": "2025-01-01T00:00"},
        {"start": "2999-11-03T00:00", "end": "2999-11-04T00:00"},
        {"start": "yesterday"},
        {"end": ""},
        {"reason": "x" * 501},
    ],
)
def test_a_stretch_that_makes_no_sense_is_refused_with_what_was_typed(
    it: Client, shop: Shop, changes: dict[str, str]
) -> None:
    span = {"start": "2025-11-01T00:00", "end": "2025-11-02T00:00", "reason": "平台漏推"}
    answer = act(it, "backfill", **(span | changes))
    assert answer.status_code == 422
    for name, value in (span | changes).items():
        assert value in answer.context["typed"][name]
    assert not Backfill.objects.filter(shop=shop).exists()


def test_nobody_cancels_the_backfill_of_another_shop_by_its_number(it: Client, shop: Shop) -> None:
    now = timezone.now()
    foreign = Backfill.objects.create(
        shop=ShopFactory.create(), start=now - HOUR, end=now, position=now, created_at=now
    )
    assert shop.code == "TB01"
    for told in (str(foreign.pk), "x", "9" * 40, "-1"):
        assert act(it, "cancel_backfill", backfill=told).status_code == 404
    foreign.refresh_from_db()
    assert foreign.state == Backfill.State.WAITING


def test_a_cursor_is_moved_by_hand_with_a_reason_that_stays(it: Client, shop: Shop) -> None:
    FeedCursor.objects.create(shop=shop, feed="orders", position=timezone.now())
    post = {"feed": "orders", "to": "2025-11-01T08:00", "reason": "平台补发了旧订单"}
    for wrong in ({"to": ""}, {"to": "2999-01-01T00:00"}, {"reason": ""}):
        assert act(it, "reset", **(post | wrong)).status_code == 422
    assert act(it, "reset", **(post | {"feed": "none"})).status_code == 404
    assert act(it, "reset", **post).status_code == 302
    assert FeedCursor.objects.get().position == datetime(2025, 11, 1, tzinfo=UTC)
    assert last_record(Action.CURSOR_RESET).reason == "平台补发了旧订单"
    assert "手工移动" in text_of(it.get("/shops/TB01/?fragment=records"))


def test_an_hour_is_compared_by_its_button(as_role: AsRole, shop: Shop) -> None:
    supervisor = as_role(Role.WAREHOUSE_SUPERVISOR)
    text = text_of(supervisor.get("/shops/TB01/?fragment=records"))
    hour = re.findall(r'name="hour" value="([^"]+)"', text)[0]
    nothing = answering({"trades_sold_get_response": {"total_results": 0, "trades": {}}})
    with platform(nothing):
        assert act(supervisor, "reconcile", hour=hour).status_code == 302
    row = Reconciliation.objects.get(shop=shop)
    assert (row.hour, row.state) == (datetime.fromisoformat(hour), Reconciliation.State.EVEN)
    for wrong in ("", "x", "2025-11-01T00:00", "1990-01-01T00:00+08:00", "2999-01-01T00:00Z"):
        assert act(supervisor, "reconcile", hour=wrong).status_code == 422
    assert Reconciliation.objects.count() == 1


def test_a_shop_switched_off_is_started_again_on_its_page(it: Client, shop: Shop) -> None:
    Shop.objects.update(is_active=False)
    text = text_of(it.get("/shops/TB01/"))
    assert "已停用" in text
    for _ in range(2):
        assert act(it, "start").status_code == 302
    shop.refresh_from_db()
    assert shop.is_active


def test_a_shop_without_credentials_offers_no_line_and_does_nothing(it: Client) -> None:
    ShopFactory.create(code="TB01", channel=Channel.TAOBAO)
    text = text_of(it.get("/shops/TB01/"))
    assert "还没有填写接口授权" in text
    assert 'value="poll"' not in text
    for verb in ("poll", "pull", "test", "mode", "reset", "reconcile"):
        assert act(it, verb, number="1", hour="x", reason=WORDS).status_code == 422
    assert it.get("/shops/TB01/authorize/").status_code == 422


def test_a_platforms_words_are_shown_as_text(it: Client, shop: Shop) -> None:
    SyncCursor.objects.update(
        failures=1, error_class="auth", error_code="27", error_message="<img src=x onerror=1>"
    )
    assert shop.code == "TB01"
    text = text_of(it.get("/shops/TB01/"))
    assert "&lt;img src=x" in text
    assert "<img src=x" not in text


def test_the_pages_have_no_script_of_their_own_and_post_only_with_a_token(
    it: Client, shop: Shop
) -> None:
    for path in ("/shops/new/", "/shops/TB01/", "/shops/TB01/setup/access/"):
        text = text_of(it.get(path))
        assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
        assert re.findall(r"\son\w+=", text) == []
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = it.cookies
    assert act(strict, "pause", reason=WORDS).status_code == 403
    assert SyncCursor.objects.get(shop=shop).paused_at is None
