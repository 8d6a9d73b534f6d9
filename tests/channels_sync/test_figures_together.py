"""Several stock figures in one call: as many as a platform takes, each with its own answer."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

import httpx
import pytest

from channels_sync.connectors.base import BaseConnector, lots
from channels_sync.connectors.crm.connector import CrmConnector
from channels_sync.connectors.douyin.connector import DouyinConnector
from channels_sync.connectors.jd.connector import JdConnector
from channels_sync.connectors.pinduoduo.connector import PinduoduoConnector
from channels_sync.connectors.shopify.connector import ShopifyConnector
from channels_sync.connectors.taobao.connector import TaobaoConnector
from channels_sync.connectors.wechat.connector import WeChatConnector
from channels_sync.contracts import (
    ConnectorError,
    ErrorClass,
    Rejected,
    StockEcho,
    StockFigure,
    TryLater,
    Unsupported,
)
from ordercenter.sandbox.platforms.douyin.bodies import product_of
from ordercenter.sandbox.platforms.taobao.bodies import item_id
from tests.channels_sync.gateway import Gateway
from tests.channels_sync.platforms import payload
from tests.channels_sync.sandboxed import a_bench, connect
from tests.channels_sync.test_shopify_telling import Store, data
from tests.sandbox.callers import Bench

bench = pytest.fixture(name="bench")(a_bench)
TOGETHER: dict[str, type[BaseConnector]] = {
    "TB01": TaobaoConnector, "DY01": DouyinConnector, "SH01": ShopifyConnector,
}  # fmt: skip
SINGLY: dict[str, type[BaseConnector]] = {
    "JD01": JdConnector, "PD01": PinduoduoConnector, "WX01": WeChatConnector,
}  # fmt: skip
AT_FIRST = 1_000
NO_SUCH_SKU = "5199999999999"


def of_one_item(bench: Bench, code: str) -> list[StockFigure]:
    """Figures of SKUs of one item (at Shopify of any), to be set."""
    by_item: dict[str, list[StockFigure]] = defaultdict(list)
    for n, listed in enumerate(bench.shop(code).listed):
        if listed.platform_sku_id is None:
            continue
        if code == "TB01":
            item = str(item_id(listed))
        elif code == "DY01":
            item = str(product_of(code, listed.goods))
        else:
            item = ""
        figure = StockFigure(f"stock:{n}:1", listed.platform_sku_id, item, "", 50 + n, None)
        by_item[item].append(figure)
    found = max(by_item.values(), key=len)[:3]
    assert len(found) >= 2
    return found


def shown(bench: Bench, code: str, figure: StockFigure) -> int:
    shop = bench.shop(code)
    shelf = bench.book.shelves[shop.channel]
    return shelf.figures(shop)[figure.platform_sku_id]


def calls_made(bench: Bench) -> int:
    return len({row["call"] for row in bench.book.records["stock"]})


@pytest.mark.parametrize("code", TOGETHER)
@pytest.mark.parametrize("believed", [None, AT_FIRST])
def test_figures_of_one_item_are_one_call(code: str, believed: int | None, bench: Bench) -> None:
    shop = connect(bench, code, TOGETHER[code])
    figures = [replace(one, believed=believed) for one in of_one_item(bench, code)]
    (call,) = shop.stock_calls(figures)
    assert call.figures == tuple(figures)
    answers = shop.publish_figures(call.figures)
    assert all(isinstance(answer, StockEcho) for answer in answers)
    assert [shown(bench, code, one) for one in figures] == [one.quantity for one in figures]
    assert calls_made(bench) == 1


@pytest.mark.parametrize("code", SINGLY)
def test_a_platform_that_takes_one_at_a_time_is_told_one_at_a_time(code: str, bench: Bench) -> None:
    figures = [StockFigure(f"k{n}", f"{n}", "1", "", n, None) for n in range(3)]
    calls = connect(bench, code, SINGLY[code]).stock_calls(figures)
    assert [call.figures for call in calls] == [(figure,) for figure in figures]
    assert len({call.interface for call in calls}) == 1


def test_a_platform_that_takes_none_says_so(bench: Bench) -> None:
    with pytest.raises(Unsupported):
        connect(bench, "CR01", CrmConnector).stock_calls([StockFigure("k", "1", "", "", 1, None)])


@pytest.mark.parametrize("code", TOGETHER)
@pytest.mark.parametrize("believed", [None, AT_FIRST])
def test_a_figure_the_platform_refuses_holds_up_no_other_and_none_counts_twice(
    code: str, believed: int | None, bench: Bench
) -> None:
    shop = connect(bench, code, TOGETHER[code])
    good = [replace(one, believed=believed) for one in of_one_item(bench, code)]
    bad = replace(good[0], key="bad", platform_sku_id=NO_SUCH_SKU)
    answers = shop.publish_figures((good[0], bad, *good[1:]))
    assert isinstance(answers[1], Rejected)
    assert answers[1].error.klass is ErrorClass.BUSINESS
    assert [isinstance(one, StockEcho) for one in answers] == [True, False, *[True] * len(good[1:])]
    assert [shown(bench, code, one) for one in good] == [one.quantity for one in good]


def test_of_goods_told_together_only_the_promoted_ones_are_locked(bench: Bench) -> None:
    shop = connect(bench, "TB01", TaobaoConnector)
    first, *others = of_one_item(bench, "TB01")
    bench.book.promote("TB01", first.platform_sku_id, on=True)
    locked, *taken = shop.publish_figures((first, *others))
    assert isinstance(locked, Rejected)
    assert locked.error.code == "stock_locked"
    assert all(isinstance(one, StockEcho) for one in taken)
    assert shown(bench, "TB01", first) == AT_FIRST


def figure(n: int, **changes: Any) -> StockFigure:
    return replace(StockFigure(f"s{n}", f"51{n}", "69", "", 10 + n, None), **changes)


def test_taobao_takes_twenty_of_an_item_told_the_same_way() -> None:
    shop = Gateway(TaobaoConnector).shop
    set_, lowered = [figure(n) for n in range(21)], [figure(n, believed=99) for n in range(30, 33)]
    elsewhere = figure(40, platform_item_id="70")
    bare = figure(41, platform_sku_id="", platform_item_id="71")
    calls = shop.stock_calls([bare, *set_, *lowered, elsewhere])
    assert sorted(len(call.figures) for call in calls) == [1, 1, 1, 3, 20]
    interfaces = [call.interface for call in calls]
    assert interfaces == sorted(interfaces, key=interfaces.index)  # each stands together
    assert len({figure.key for call in calls for figure in call.figures}) == 26


def test_a_sku_stands_in_a_call_once() -> None:
    twice = [figure(1), figure(2), figure(1, key="again")]
    assert [len(lot) for lot in lots(twice, 20)] == [2, 1]


def test_what_breaks_the_line_is_a_failure_of_the_whole_call() -> None:
    gate = Gateway(TaobaoConnector)
    gate.on("taobao.skus.quantity.update", httpx.ReadTimeout("x"))
    with pytest.raises(TryLater) as failure:
        gate.shop.publish_figures([figure(1), figure(2)])
    assert failure.value.outcome_unknown
    assert len(gate.sent) == 1


# --- Shopify's compare-and-set of several ---------------------------------------------------------

SET = payload("shopify", "inventorySetQuantities_ok")


def levels(*numbers: int | None) -> dict[str, Any]:
    def node(n: int, shown: int | None) -> dict[str, Any] | None:
        if shown is None:
            return None
        level = {"quantities": [{"name": "available", "quantity": shown}]}
        item = {"id": f"gid://shopify/InventoryItem/{n}", "inventoryLevel": level}
        return {"id": f"gid://shopify/ProductVariant/{n}", "inventoryItem": item}

    return data(nodes=[node(n, shown) for n, shown in enumerate(numbers)])


def refusal(**codes: str) -> dict[str, Any]:
    errors = [
        {
            "field": ["input", "quantities", at.lstrip("_"), "quantity"],
            "message": "no",
            "code": code,
        }
        for at, code in codes.items()
    ]
    return data(inventorySetQuantities={"userErrors": errors})


def told(*answers: Any) -> tuple[Store, list[Any]]:
    store = Store(*answers)
    figures = [StockFigure(f"s{n}", f"{n}", "", "", 8, 10) for n in range(3)]
    return store, list(store.connector(location_id="5").publish_figures(figures))


def rows(store: Store, at: int) -> list[tuple[str, int]]:
    sent = store.sent(at)["variables"]["input"]["quantities"]
    return [(row["inventoryItemId"].rpartition("/")[2], row["quantity"]) for row in sent]


def test_several_are_asked_for_once_and_set_once() -> None:
    store, answers = told(levels(10, 9, 8), SET)
    assert answers == [StockEcho(8), StockEcho(7), StockEcho(6)]
    assert len(store.requests) == 2
    assert rows(store, 1) == [("0", 8), ("1", 7), ("2", 6)]


def test_what_is_shown_already_is_not_set() -> None:
    store, answers = told(levels(10, None, 0), SET)
    assert answers[0] == StockEcho(8)
    assert isinstance(answers[1], Rejected)
    assert answers[2] == StockEcho(0)
    assert rows(store, 1) == [("0", 8)]


def test_a_row_that_went_stale_is_read_again_and_the_others_go_with_it() -> None:
    stale = refusal(_1="CHANGE_FROM_QUANTITY_STALE")
    store, answers = told(levels(10, 10, 10), stale, levels(10, 9, 10), SET)
    assert answers == [StockEcho(8), StockEcho(7), StockEcho(8)]
    assert store.sent(1)["variables"]["key"] != store.sent(3)["variables"]["key"]


def test_a_row_the_store_refuses_is_left_out() -> None:
    no = refusal(_2="INVALID_QUANTITY_TOO_HIGH")
    store, answers = told(levels(10, 10, 10), no, levels(10, 10), SET)
    assert answers[:2] == [StockEcho(8), StockEcho(8)]
    assert isinstance(answers[2], Rejected)
    assert answers[2].error.sub_code == "INVALID_QUANTITY_TOO_HIGH"
    assert rows(store, 3) == [("0", 8), ("1", 8)]


def test_rows_that_stay_stale_are_tried_later() -> None:
    stale = refusal(_0="CHANGE_FROM_QUANTITY_STALE")
    _, answers = told(levels(10, 10, 10), stale, levels(10, 10, 10), stale, levels(9, 9, 9), stale)
    assert all(isinstance(one, TryLater) and not one.outcome_unknown for one in answers)


def test_a_no_to_the_whole_is_a_no_to_each() -> None:
    words = data(inventorySetQuantities={"userErrors": [{"field": ["key"], "message": "no"}]})
    store = Store(levels(10, 10, 10), words)
    figures = [StockFigure(f"s{n}", f"{n}", "", "", 8, 10) for n in range(3)]
    with pytest.raises(ConnectorError):
        store.connector(location_id="5").publish_figures(figures)
