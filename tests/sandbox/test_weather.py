"""Every switch of the weather does what it says, to the share it says, and is counted."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from ordercenter.sandbox.faults import Faults, FaultyLine
from ordercenter.sandbox.weather import CHANNELS, KINDS, NASTY, Weather
from ordercenter.sandbox.wire import beijing
from ordercenter.sandbox.words import PLATFORM_ERRORS, THROTTLES
from tests.sandbox.callers import Bench, Clock
from tests.sandbox.test_lists import listed, rows_of, searched

TRADES = "taobao.trades.sold.increment.get"


def set_weather(bench: Bench, kind: str, platform: str = "taobao", **told: Any) -> None:
    assert "error" not in bench.control("fault", platform=platform, kind=kind, **told)


def ask(bench: Bench, times: int = 1) -> list[httpx.Response]:
    """Ask Taobao for nothing much, ``times`` times."""
    sent = {"format": "json"}
    return [bench.http.post("/taobao/router/rest", data=sent) for _ in range(times)]


def served(bench: Bench, platform: str = "taobao") -> dict[str, int]:
    told: dict[str, int] = bench.http.get("/book/faults").json()["faults"].get(platform, {})
    return told


def status(reply: httpx.Response) -> int:
    return reply.status_code


# Setting it


def test_weather_ends_when_its_time_is_over(bench: Bench) -> None:
    set_weather(bench, "error5xx", share=1, seconds=60)
    assert status(ask(bench)[0]) in {500, 502, 503, 504}
    assert bench.http.get("/control/weather").json()["weather"][0]["seconds_left"] == 60
    bench.clock.pass_by(61)
    assert status(ask(bench)[0]) == 200
    assert bench.http.get("/control/weather").json()["weather"] == []


def test_a_spell_of_its_own_comes_before_the_one_of_all_platforms(bench: Bench) -> None:
    set_weather(bench, "html_200", "*", share=1)
    set_weather(bench, "html_200", "taobao", share=0)
    assert "json" in ask(bench)[0].headers["content-type"]
    assert "html" in bench.http.post("/jd/routerjson").headers["content-type"]


def test_the_desk_the_books_and_the_couriers_have_fair_weather(bench: Bench) -> None:
    set_weather(bench, "error5xx", "*", share=1)
    assert bench.http.get("/book/summary").status_code == 200
    assert bench.http.post("/sf/std/service", data={}).status_code == 200


def test_the_same_seed_brings_the_same_weather() -> None:
    def struck(seed: int) -> list[bool]:
        weather = Weather(Clock(), seed)
        weather.order("taobao", "html_200", share=0.3)
        return [weather.strikes("taobao", "html_200") is not None for _ in range(200)]

    assert struck(1) == struck(1)
    assert struck(1) != struck(2)
    assert 40 < sum(struck(1)) < 80


def test_one_kind_does_not_change_the_luck_of_another() -> None:
    def luck(*, beside: bool) -> list[bool]:
        weather = Weather(Clock(), 1)
        weather.order("taobao", "html_200", share=0.3)
        if beside:
            weather.order("taobao", "error5xx", share=0.0)
        return [weather.on_the_line("taobao") is not None for _ in range(100)]

    assert luck(beside=True) == luck(beside=False)


@pytest.mark.parametrize(
    "wish",
    [
        {"kind": "fog", "share": 0.5},
        {"kind": "html_200", "share": 2},
        {"kind": "html_200", "share": 0.1, "salt": 1},
        {"kind": "throttle", "share": 0.1, "how": "503"},
        {"kind": "moving_rows", "share": 0.1, "platform": "sf"},
    ],
)
def test_weather_nobody_knows_is_refused(bench: Bench, wish: dict[str, Any]) -> None:
    assert "error" in bench.control("fault", **({"platform": "taobao"} | wish))
    assert bench.http.get("/control/weather").json()["weather"] == []


def test_nasty_sets_everything_at_once_and_off_ends_it(bench: Bench) -> None:
    assert {kind for _, kind, _ in NASTY} == KINDS
    told = bench.control("nasty", level="all", seconds=600, seed=7)["weather"]
    assert len(told) == len(NASTY)
    assert {row["seconds_left"] for row in told} == {600}
    assert bench.control("nasty", level="off") == {"weather": []}
    assert "error" in bench.control("nasty", level="worse")


def test_a_center_that_asks_again_comes_through_the_nasty_profile(bench: Bench) -> None:
    bench.sell_paid("TB01", 5)
    bench.control("nasty", level="all")
    bench.control("fault", platform="*", kind="silence", share=0)
    bench.control("fault", platform="*", kind="slow_drip", share=0)
    right = 0
    for _ in range(300):
        bench.clock.pass_by(0.5)
        now = bench.book.now("TB01")
        try:
            body = bench.top(
                TRADES, fields="tid", start_modified="2026-03-01 09:00:00",
                end_modified=beijing(now), timestamp=beijing(now),
            )  # fmt: skip
        except (json.JSONDecodeError, httpx.ReadError):
            continue
        right += "trades_sold_increment_get_response" in body
    assert 180 < right < 295
    assert {"throttle", "error5xx", "html_200", "reset"} <= served(bench).keys()


# On the line


@pytest.mark.parametrize("platform", CHANNELS)
def test_every_platform_has_its_own_words_for_broken_and_busy(platform: str) -> None:
    assert platform in PLATFORM_ERRORS
    assert platform in THROTTLES


def test_the_throttle_speaks_in_three_tongues(bench: Bench) -> None:
    set_weather(bench, "throttle", share=1)
    said = Counter((reply.status_code, "retry-after" in reply.headers) for reply in ask(bench, 60))
    assert said.keys() == {(200, False), (429, False), (429, True)}
    set_weather(bench, "throttle", share=1, how="own")
    assert ask(bench)[0].json() == THROTTLES["taobao"]
    set_weather(bench, "throttle", share=1, how="429_retry", retry_after=7)
    assert ask(bench)[0].headers["retry-after"] == "7"


def test_the_limiter_lets_so_many_calls_a_second_pass_and_no_more(bench: Bench) -> None:
    set_weather(bench, "throttle", how="own", limit_per_second=5)
    replies = [reply.json() for reply in ask(bench, 12)]
    assert [reply == THROTTLES["taobao"] for reply in replies] == [False] * 5 + [True] * 7
    bench.clock.pass_by(1.01)
    assert ask(bench)[0].json() != THROTTLES["taobao"]
    assert served(bench)["throttle"] == 7


def test_errors_come_in_storms_and_calm_lies_between(bench: Bench) -> None:
    set_weather(bench, "error5xx", share=0, storm=10, every=60)
    broken = []
    for _ in range(120):
        broken.append(status(ask(bench)[0]) >= 500)
        bench.clock.pass_by(1)
    assert not any(broken[10:60] + broken[70:])
    assert sum(broken[:10]) + sum(broken[60:70]) >= 14


def test_a_half_written_write_has_taken_effect_and_its_answer_never_comes(bench: Bench) -> None:
    order = bench.sell_paid("TB01")[0]
    set_weather(bench, "half_write", share=1)
    with pytest.raises(httpx.ReadError):
        bench.top(
            "taobao.logistics.offline.send", tid=order.number, out_sid="SF1", company_code="SF"
        )
    assert [parcel.tracking_number for parcel in order.shipments] == ["SF1"]
    assert served(bench) == {"half_write": 1}


def test_a_read_passes_whole_where_only_writes_are_cut(bench: Bench) -> None:
    bench.sell_paid("TB01")
    set_weather(bench, "half_write", share=1)
    now = bench.clock.now
    assert len(rows_of(bench.trades(now - 60, now))) == 1
    assert served(bench) == {}


def test_an_ordered_half_write_waits_for_the_next_write(bench: Bench) -> None:
    order = bench.sell_paid("TB01")[0]
    bench.control("fault", platform="taobao", kind="half_write", count=1)
    now = bench.clock.now
    assert len(rows_of(bench.trades(now - 60, now))) == 1
    assert served(bench).get("half_write", 0) == 0
    with pytest.raises(httpx.ReadError):
        bench.top("taobao.trade.memo.update", tid=order.number, memo="改")
    assert order.memo == "改"
    assert "error_response" not in bench.top(
        "taobao.trade.memo.update", tid=order.number, memo="再改"
    )
    assert served(bench) == {"half_write": 1}


def test_a_reset_closes_the_line_before_the_platform_hears_of_the_call(bench: Bench) -> None:
    order = bench.sell_paid("TB01")[0]
    set_weather(bench, "reset", share=1)
    with pytest.raises(httpx.ReadError):
        bench.top(
            "taobao.logistics.offline.send", tid=order.number, out_sid="SF1", company_code="SF"
        )
    assert order.shipments == []


def test_a_slow_answer_comes_byte_by_byte_and_whole_in_the_end() -> None:
    """Spoken to below HTTP: a client of the test would put the bytes together again."""
    said: list[Any] = []

    async def app(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"slowly"})

    async def send(message: Any) -> None:
        said.append(message)

    async def receive() -> Any:
        await asyncio.sleep(60)

    bench = Bench()
    bench.book.weather.order("taobao", "slow_drip", share=1, drip=0.01)
    line = FaultyLine(app, Faults(), bench.book)
    asyncio.run(line({"type": "http", "path": "/taobao/router/rest"}, receive, send))
    bodies = [message["body"] for message in said if message["type"] == "http.response.body"]
    assert bodies == [b"s", b"l", b"o", b"w", b"l", b"y", b""]
    bench.book.close()


def test_silence_lasts_as_long_as_it_is_told(bench: Bench) -> None:
    set_weather(bench, "silence", share=1, hold=0.05)
    with pytest.raises(httpx.ReadError):
        ask(bench)
    assert served(bench) == {"silence": 1}


# Inside the platforms


def test_a_token_dies_after_so_many_calls_and_a_refresh_brings_another(bench: Bench) -> None:
    bench.sell_paid("TB01", 3)
    set_weather(bench, "token_expiry", calls=3)
    start, end = bench.clock.now - 60, bench.clock.now
    first = bench.shop("TB01").access_token
    replies = [bench.trades(start, end, session=first) for _ in range(4)]
    assert ["error_response" in reply for reply in replies] == [False, False, True, True]
    assert replies[2]["error_response"]["sub_code"] == "invalid-sessionkey"
    set_weather(bench, "token_expiry", calls=0)
    shop = bench.shop("TB01")
    granted = bench.http.post(
        "/taobao/oauth/token",
        data={
            "client_id": shop.app_key, "client_secret": shop.app_secret,
            "grant_type": "refresh_token", "refresh_token": shop.refresh_token,
        },
    ).json()  # fmt: skip
    assert "error_response" not in bench.trades(start, end, session=granted["access_token"])
    assert "error_response" in bench.trades(start, end, session=first)
    assert bench.http.get("/book/faults").json()["token_refreshes"] == {"TB01": 1}


def test_a_token_dies_now_when_it_is_ordered_and_stays_dead_over_a_restart(tmp_path: Any) -> None:
    before = Bench(data_dir=tmp_path)
    old = before.shop("JD01").access_token
    before.control("fault", platform="jd", kind="token_expiry")
    wish = {"order_id": "1", "optional_fields": "orderId"}
    died = before.jos("jingdong.pop.order.get", wish, access_token=old)
    assert died["error_response"]["code"] == "19"
    before.book.close()
    after = Bench(data_dir=tmp_path)
    still = after.jos("jingdong.pop.order.get", wish, access_token=old)
    assert still["error_response"]["code"] == "19"
    after.book.close()


@pytest.mark.parametrize("shop", ["TB01", "JD01", "PD01"])
def test_rows_move_after_the_page_was_read_and_not_before(bench: Bench, shop: str) -> None:
    platform = bench.shop(shop).channel
    bench.sell_paid(shop, 8)
    start, end = bench.clock.now - 600, bench.clock.now
    before = {order.number: order.modified for order in bench.book.orders(shop)}
    bench.clock.pass_by(30)
    set_weather(bench, "moving_rows", platform, share=0.5, most=3)
    lists: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "TB01": lambda: rows_of(bench.trades(start, end)),
        "JD01": lambda: searched(bench.jd_search(start, end))["orderInfoList"],
        "PD01": lambda: listed(bench.pdd_list(start, end))["order_sn_list"],
    }
    assert len(lists[shop]()) == 8
    moved = [o for o in bench.book.orders(shop) if o.modified != before[o.number]]
    assert 1 <= len(moved) <= 3
    assert {order.modified for order in moved} == {bench.clock.now}
    assert served(bench, platform)["moving_rows"] == len(moved)
    assert len(lists[shop]()) == 8 - len(moved)


def test_a_late_detail_is_not_there_at_first_though_the_order_is_listed(bench: Bench) -> None:
    taobao, jd, pdd = (bench.sell_paid(shop)[0] for shop in ("TB01", "JD01", "PD01"))
    bench.clock.now = max(order.paid or 0 for order in (taobao, jd, pdd))
    set_weather(bench, "late_detail", "*", share=1, late=30)
    now = bench.clock.now
    assert rows_of(bench.trades(now - 60, now))[0]["tid_str"] == taobao.number

    def details() -> list[Any]:
        top = bench.top("taobao.trade.fullinfo.get", fields="tid", tid=taobao.number)
        wish = {"optional_fields": "orderId", "order_id": jd.number}
        jos = bench.jos("jingdong.pop.order.get", wish)
        pop = bench.pop("pdd.order.information.get", order_sn=pdd.number)
        return [
            top.get("error_response", {}).get("sub_code"),
            jos["jingdong_pop_order_get_responce"]["orderDetailInfo"]["apiResult"]["numberCode"],
            pop.get("error_response", {}).get("error_code"),
        ]

    assert details() == ["isv.trade-not-exist", 10100002, 10001]
    bench.clock.pass_by(31)
    assert details() == [None, 10100000, None]


def test_odd_shapes_say_the_same_in_another_way(bench: Bench) -> None:
    order = next(o for o in bench.sell_paid("TB01", 20) if len(o.lines) == 1)
    set_weather(bench, "odd_shapes", share=1)
    seen = [
        bench.top("taobao.trade.fullinfo.get", fields="tid,num,orders", tid=order.number)[
            "trade_fullinfo_get_response"
        ]["trade"]
        for _ in range(20)
    ]
    assert {trade["tid"] for trade in seen} == {order.number}
    assert {trade["num"] for trade in seen} == {str(order.lines[0].quantity)}
    assert {type(trade["orders"]["order"]) for trade in seen} == {dict, list}
    bench.control("fault", kind="none")
    plain = bench.top("taobao.trade.fullinfo.get", fields="tid,num", tid=order.number)
    assert plain["trade_fullinfo_get_response"]["trade"]["tid"] == int(order.number)


def test_a_skewed_clock_shows_in_what_is_stamped_and_in_what_is_accepted(bench: Bench) -> None:
    set_weather(bench, "clock_skew", offset=600)
    assert bench.sell_paid("JD01")[0].modified == bench.clock.now
    order = bench.sell_paid("TB01")[0]
    assert order.modified == bench.clock.now + 600
    assert order.created > bench.clock.now + 500
    bench.clock.pass_by(3)
    true, skewed = beijing(bench.clock.now - 1), beijing(bench.clock.now + 600)
    refused = bench.trades(bench.clock.now, bench.clock.now + 700, timestamp=true)
    assert refused["error_response"]["code"] == 41
    found = rows_of(bench.trades(bench.clock.now, bench.clock.now + 700, timestamp=skewed))
    assert [row["tid_str"] for row in found] == [order.number]
    dated = ask(bench)[0].headers["date"]
    assert parsedate_to_datetime(dated).timestamp() == bench.clock.now + 600


def test_a_change_after_the_clock_was_set_back_still_moves_the_order_on(bench: Bench) -> None:
    set_weather(bench, "clock_skew", offset=600)
    order = bench.sell_paid("TB01")[0]
    bench.control("fault", kind="none")
    stamps = [order.modified]
    for _ in range(3):
        bench.clock.pass_by(1)
        bench.book.touch(order)
        stamps.append(order.modified)
    assert stamps == sorted(set(stamps))


def test_promoted_goods_are_a_share_of_all_and_always_the_same_ones(bench: Bench) -> None:
    set_weather(bench, "promotion", share=0.3)
    shop = bench.shop("TB01")
    codes = [row.platform_sku_id or "" for row in shop.listed]
    picked = [code for code in codes if bench.book.is_promoted("TB01", code)]
    assert 0.15 * len(codes) < len(picked) < 0.45 * len(codes)
    assert picked == [code for code in codes if bench.book.is_promoted("TB01", code)]
    bench.control("promote", shop="TB01", code=codes[0], on=True)
    bench.control("fault", kind="none")
    assert [code for code in codes if bench.book.is_promoted("TB01", code)] == [codes[0]]
