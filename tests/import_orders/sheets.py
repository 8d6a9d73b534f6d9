"""Small sheets for the tests, and the command run as an operator runs it."""

import json
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Final

from django.core.management import call_command

from channels_sync.connectors.spreadsheet.connector import SpreadsheetConnector
from channels_sync.contracts import ShopAccess
from channels_sync.sheets.mapping import SheetMapping
from channels_sync.sheets.orders import Sheet, SheetDocument
from ordercenter.orders.contracts import OrderDraft

HEADER: Final = ("单号", "编码", "名称", "数量", "单价", "时间", "买家")
CATALOG: Final = {
    "create_missing_skus": True,
    "base_price": "median_unit_price",
    "stock": 1000,
    "warehouse": {"code": "E1", "name": "东仓", "province": "上海市", "city": "上海市"},
}
PICKUP: Final = {
    "name": "自提点", "phone": "021-00000000", "province": "上海市", "city": "上海市",
    "district": "浦东新区", "address": "一号柜台",
}  # fmt: skip


def mapping(**more: Any) -> dict[str, Any]:
    """A mapping of ``HEADER`` with these parts set otherwise."""
    columns = {
        "order_number": "单号", "sku": "编码", "title": "名称", "quantity": "数量",
        "unit_price": "单价", "placed_at": "时间", "buyer_id": "买家",
    }  # fmt: skip
    return {"columns": columns, "receiver": {"pickup": PICKUP}, "catalog": CATALOG, **more}


def row(number: str, **cells: str) -> list[str]:
    """One row that is fine, apart from what is named."""
    told = {
        "单号": number, "编码": "A-1", "名称": "靠垫", "数量": "1", "单价": "10.00",
        "时间": "2026-03-02 10:00:00", "买家": "",
    }  # fmt: skip
    return list({**told, **cells}.values())


def text(*rows: Sequence[str], header: Sequence[str] = HEADER) -> str:
    return "".join(",".join(cells) + "\n" for cells in (header, *rows))


def write(folder: Path, content: str | bytes, name: str = "orders.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_mapping(folder: Path, told: Mapping[str, Any]) -> Path:
    path = folder / "mapping.json"
    path.write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
    return path


def documents(path: Path, told: Mapping[str, Any]) -> list[SheetDocument]:
    """Every document of a file; raises SheetError."""
    sheet = Sheet(path, SheetMapping.of(told))
    survey = list(sheet.survey())[-1]
    return list(sheet.documents(survey))


def read(body: bytes) -> OrderDraft:
    return SpreadsheetConnector(ShopAccess("", "", "", "")).read(body)


def drafts(folder: Path, *rows: Sequence[str], **more: Any) -> list[OrderDraft]:
    """Read a sheet of these rows under ``mapping(**more)``."""
    path = write(folder, text(*rows))
    return [read(one.message.body) for one in documents(path, mapping(**more))]


def import_orders(path: Path, *, shop: str = "sheet", **options: Any) -> dict[str, Any]:
    """Run the command with ``--json``; return its document."""
    out = StringIO()
    options.setdefault("create_shop", "表格店")
    call_command("import_orders", str(path), shop=shop, json=True, stdout=out, **options)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found
