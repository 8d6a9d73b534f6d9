"""Back-tests of real orders, counted a second time with pandas, from the file alone."""

import json
import os
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pytest
from django.core.management import call_command

from ordercenter.orders.models import OrderEvidence, OrderLine, SalesOrder
from risk.backtesting import run_backtest
from tests.import_orders.sheets import import_orders

ROOT: Final = Path(__file__).parents[2]
SLICE: Final = ROOT / "tests" / "data" / "uci_slice.csv.gz"
PICKUP: Final = ROOT / "docs" / "mappings" / "uci_online_retail_pickup.json"
FREIGHT: Final = {"POST", "DOT", "C2"}
GOODS: Final = r"[0-9]{5}[A-Z]{0,2}"
DAY_LIMIT: Final = 500
MONTH: Final = 30 * 86_400


def rule(code: str, condition: dict[str, Any], tier: str = "2") -> dict[str, Any]:
    return {"code": code, "name": code, "when": {"all": [condition]}, "outcome": {"tier": tier}}


@dataclass(frozen=True)
class Agreed:
    """The orders each rule hits, and what the import said of the file."""

    hits: dict[str, set[str]]
    imported: dict[str, Any]


RULES: Final = [
    rule(
        "same_sku_5m",
        {"fact": "orders_in_window", "keys": ["buyer"], "window_seconds": 300, "same_sku": True,
         "op": ">=", "value": "2"},
    ),
    rule(
        "three_in_24h",
        {"fact": "orders_in_window", "keys": ["buyer"], "window_seconds": 86_400,
         "op": ">=", "value": "3"},
    ),
    rule(
        "day_money",
        {"fact": "day_amount", "keys": ["buyer"], "op": ">", "value": str(DAY_LIMIT)},
        tier="3",
    ),
    rule(
        "below_85",
        {"fact": "price_ratio", "base": "running", "window_seconds": MONTH,
         "op": "<", "value": "0.85"},
        tier="0",
    ),
]  # fmt: skip


def rows_of(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def below_a_penny(told: pd.DataFrame) -> set[str]:
    return set(told[told.UnitPrice.str.fullmatch(r"[0-9]*\.[0-9]{3,}")].InvoiceNo)


def sold(path: Path) -> pd.DataFrame:
    """One row a line of a sale, in whole pence, with the time of its invoice.

    Without the invoices that ask for a part of a penny: they are quarantined, not rounded.
    """
    told = rows_of(path)
    told = told[told.InvoiceNo.str.fullmatch(r"[0-9]+") & (told.Quantity.astype(int) > 0)]
    told = told[~told.InvoiceNo.isin(below_a_penny(told))]
    local = pd.to_datetime(told.InvoiceDate).dt.tz_localize("Europe/London")
    first = local.groupby(told.InvoiceNo).transform("min")
    pence = told.UnitPrice.map(lambda text: int(Decimal(text) * 100))
    return pd.DataFrame(
        {
            "invoice": told.InvoiceNo,
            "at": first,
            "customer": told.CustomerID,
            "sku": told.StockCode.str.upper(),
            "units": told.Quantity.astype(int),
            "pence": pence * told.Quantity.astype(int),
        }
    )


def invoices(lines: pd.DataFrame) -> pd.DataFrame:
    return lines.groupby("invoice", as_index=False).agg(
        at=("at", "first"), customer=("customer", "first"), pence=("pence", "sum")
    )


def goods(lines: pd.DataFrame) -> pd.DataFrame:
    return lines[lines.sku.str.fullmatch(GOODS)]


def same_goods(lines: pd.DataFrame) -> set[str]:
    """Pair every two invoices of a customer that share a SKU, and look at the clock."""
    known = goods(lines).query("customer != ''")[["invoice", "at", "customer", "sku"]]
    pairs = known.drop_duplicates().merge(known.drop_duplicates(), on=["customer", "sku"])
    gap = pairs.at_x - pairs.at_y
    near = (gap >= timedelta()) & (gap <= timedelta(minutes=5))
    return set(pairs[near & (pairs.invoice_x != pairs.invoice_y)].invoice_x)


def three_in_a_day(lines: pd.DataFrame) -> set[str]:
    known = invoices(lines).query("customer != ''")
    pairs = known.merge(known, on="customer")
    gap = pairs.at_x - pairs.at_y
    near = pairs[(gap >= timedelta()) & (gap <= timedelta(hours=24))]
    counts = near.groupby("invoice_x").invoice_y.nunique()
    return set(counts[counts >= 3].index)


def dear_days(lines: pd.DataFrame) -> set[str]:
    known = invoices(lines).query("customer != ''").copy()
    known["day"] = known["at"].dt.tz_convert("Asia/Shanghai").dt.date
    pairs = known.merge(known, on=["customer", "day"])
    spent = pairs[pairs.at_y <= pairs.at_x].groupby("invoice_x").pence_y.sum()
    return set(spent[spent > DAY_LIMIT * 100].index)


def cheap(lines: pd.DataFrame) -> set[str]:
    """SKU by SKU, by running sums in whole numbers."""
    found: set[str] = set()
    for _, group in goods(lines).sort_values("at", kind="stable").groupby("sku"):
        money, units = ([0, *group[name].cumsum()] for name in ("pence", "units"))
        first = group["at"].searchsorted(group["at"] - timedelta(days=30), side="left")
        last = group["at"].searchsorted(group["at"], side="left")  # not of the same minute
        for line, low, high in zip(group.itertuples(), first, last, strict=True):
            paid, pieces = money[high] - money[low], units[high] - units[low]
            if paid and 100 * line.pence * pieces < 85 * paid * line.units:
                found.add(line.invoice)
    return found


def by_invoice(report: dict[str, Any]) -> dict[str, set[str]]:
    ours = dict(SalesOrder.objects.values_list("number", "channel_number"))
    return {one["code"]: {ours[number] for number in one["orders"]} for one in report["rules"]}


def agree(path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> Agreed:
    """Import a file of sales, back-test it, and count it again from the file alone."""
    lines = sold(path)
    expected = {
        "same_sku_5m": same_goods(lines),
        "three_in_24h": three_in_a_day(lines),
        "day_money": dear_days(lines),
        "below_85": cheap(lines),
    }
    imported = import_orders(path, shop="uci", mapping=PICKUP)
    file = folder / "rules.json"
    file.write_text(json.dumps({"rules": RULES}), encoding="utf-8")
    capsys.readouterr()
    call_command("backtest", rules=file, json=True)
    report = json.loads(capsys.readouterr().out)
    for code, found in by_invoice(report).items():
        assert sorted(found ^ expected[code]) == [], code
    assert all(expected.values()), "a rule that hits nothing proves nothing"
    assert report["orders"] == lines.invoice.nunique()
    assert [one["unknown"] for one in report["rules"]] == [0, 0, 0, 0]
    stopped = set.union(*(expected[code] for code in ("same_sku_5m", "three_in_24h", "day_money")))
    assert report["stopped_orders"] == len(stopped)
    pence = invoices(lines).set_index("invoice").pence
    assert Decimal(report["held_amount"]["GBP"]) * 100 == int(pence[list(stopped)].sum())
    return Agreed(expected, imported)


@pytest.mark.django_db
def test_four_rules_hit_the_orders_that_pandas_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = agree(SLICE, tmp_path, capsys).hits
    short = json.loads(json.dumps(RULES))
    short[1]["when"]["all"][0]["window_seconds"] = 3_600
    found = by_invoice(run_backtest(short).as_json())
    assert found == expected | {"three_in_24h": found["three_in_24h"]}
    assert found["three_in_24h"] < expected["three_in_24h"], "an hour is not a day"


@pytest.mark.nightly
@pytest.mark.django_db(transaction=True)  # counting takes longer than a transaction may idle
def test_the_whole_file_agrees_with_pandas_odd_rows_and_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``UCI_FILE`` names the file, or a later part of it."""
    name = os.environ.get("UCI_FILE", "")
    if not name:
        pytest.skip("UCI_FILE names no file of the Online Retail set")
    path = Path(name)
    agreed = agree(path, tmp_path, capsys)
    told, lines = rows_of(path), sold(path)
    units, price = told.Quantity.astype(int), told.UnitPrice.map(Decimal)
    canceled, adjusted = (told.InvoiceNo.str.startswith(sign) for sign in "CA")
    written_off = ~canceled & ~adjusted & (units < 0) & (price == 0)
    imported = agreed.imported
    assert imported["rows"] == len(told)
    assert imported["lines_not_orders"] == {
        "cancellation_without_order": canceled.sum(),
        "bad_debt_adjustment": adjusted.sum(),
        "stock_write_off": written_off.sum(),
    }
    odd = told.InvoiceNo.isin(below_a_penny(told))
    assert imported["rows_quarantined"] == odd.sum()
    assert imported["rows_in_orders"] == len(lines)
    goods = lines[~lines.sku.isin(FREIGHT)]
    stored = OrderLine.objects.filter(bundle_line=None)
    assert stored.count() == len(goods)  # of two rows all alike both are sold
    assert stored.filter(amount=0).count() == (goods.pence == 0).sum()
    assert stored.filter(sku=None).count() >= (~goods.sku.str.fullmatch(GOODS)).sum()
    assert (
        OrderEvidence.objects.filter(buyer_key="").count() == (invoices(lines).customer == "").sum()
    )
