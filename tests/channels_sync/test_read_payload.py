"""The command prints one JSON document, needs no database, and says what it could not read."""

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from channels_sync.management.commands.read_payload import Command
from tests.channels_sync.platforms import PAYLOADS

ORDERS = PAYLOADS / "taobao" / "trades_sold_increment_get_page.json"
LIMITED = PAYLOADS / "taobao" / "error_call_limited.json"


def run(*files: Path, channel: str = "taobao", as_json: bool = True) -> tuple[str, str]:
    """Return what went to stdout and the words of the refusal, empty on success."""
    out = StringIO()
    words = ""
    try:
        call_command(Command(), *map(str, files), channel=channel, json=as_json, stdout=out)
    except CommandError as error:
        words = str(error)
    return out.getvalue(), words


def document(*files: Path, channel: str = "taobao") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*files, channel=channel)[0])
    return found


def test_files_are_printed_by_name() -> None:
    found = document(ORDERS, LIMITED)
    assert list(found) == ["files"]
    assert found["files"][ORDERS.name]["orders"][0]["platform_order_no"] == "2600000000000000101"
    error = found["files"][LIMITED.name]["error"]
    assert (error["klass"], error["code"], error["retry_after_s"]) == ("rate_limited", "7", 1)
    assert run(ORDERS)[1] == ""


def test_it_asks_for_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(self: object, alias: str) -> None:
        raise AssertionError("the database was asked for")

    monkeypatch.setattr(type(connections), "__getitem__", nobody)
    assert "files" in document(ORDERS)


def test_a_file_that_cannot_be_read_is_refused_and_the_others_are_not(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_bytes(ORDERS.read_bytes()[:-40])
    out, words = run(broken, ORDERS)
    found = json.loads(out)
    error = found["files"]["broken.json"]["error"]
    assert (error["klass"], error["code"]) == ("business", "unreadable")
    assert found["error"] == error
    assert found["files"][ORDERS.name]["kind"] == "order_list"
    assert "broken.json" in words


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    found = document(tmp_path / "none.json")
    assert found["error"]["code"] == "unreadable_file"


def test_an_unknown_channel_is_refused_in_words() -> None:
    out, words = run(ORDERS, channel="nowhere")
    assert json.loads(out)["error"]["code"] == "unknown_channel"
    assert "taobao" in words


def test_two_files_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    twin = tmp_path / LIMITED.name
    twin.write_bytes(LIMITED.read_bytes())
    assert set(document(LIMITED, twin)["files"]) == {str(LIMITED), str(twin)}


def test_the_summary_for_people_shows_nobody_and_nothing_typed() -> None:
    out, _ = run(ORDERS, as_json=False)
    assert "2600000000000000101 wait_ship 89.00 CNY" in out
    assert "林" not in out
    assert "请发顺丰" not in out


def test_names_phones_and_streets_are_not_printed() -> None:
    out, _ = run(ORDERS)
    assert "林**" not in out
    assert "*******0101" not in out
    assert "示**路" not in out


# --- with an edited field map ---------------------------------------------------------------------

OTHER_SHOP = {
    "order": {"channel_number": {"from": ["sn"]}, "lines": {"from": ["goods"]}},
    "receiver": {"province": {"from": ["prov"]}},
}
OTHER_ORDER = {
    "sn": "X-1",
    "status": "paid",
    "total_amount": "9.90",
    "created_at": "2026-03-01 09:00:00",
    "updated_at": "2026-03-01 09:00:00",
    "prov": "浙江省",
    "goods": [{"qty": 1, "unit_price": "9.90"}],
}


def with_map(
    tmp_path: Path, table: object, channel: str = "openjson"
) -> tuple[dict[str, Any], str]:
    """The document and the refusal's words, read by this table."""
    order, edited = tmp_path / "order.json", tmp_path / "map.json"
    order.write_text(json.dumps(OTHER_ORDER), encoding="utf-8")
    edited.write_text(table if isinstance(table, str) else json.dumps(table), encoding="utf-8")
    out, words = StringIO(), ""
    try:
        call_command(
            Command(), str(order), channel=channel, json=True, field_map=str(edited), stdout=out
        )
    except CommandError as error:
        words = str(error)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found, words


def test_a_file_is_read_as_a_shop_with_this_table_would(tmp_path: Path) -> None:
    found, words = with_map(tmp_path, OTHER_SHOP)
    [order] = found["files"]["order.json"]["orders"]
    assert (order["platform_order_no"], order["receiver"]["province"]) == ("X-1", "浙江省")
    assert words == ""


@pytest.mark.parametrize(
    ("table", "channel", "code", "told"),
    [
        (
            {"order": {"channel_number": {"from": []}}},
            "openjson",
            "bad_field_map",
            "channel_number",
        ),
        ("{", "openjson", "bad_field_map", "JSON"),
        ({}, "file", "no_field_map", "字段对照表"),
    ],
)
def test_a_table_that_cannot_work_is_refused_before_anything_is_read(
    tmp_path: Path, table: object, channel: str, code: str, told: str
) -> None:
    found, words = with_map(tmp_path, table, channel)
    assert set(found) == {"error"}
    assert (found["error"]["klass"], found["error"]["code"]) == ("business", code)
    assert told in found["error"]["message"]
    assert told in words


def test_the_command_ends_with_one_and_one_line_on_stderr(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "manage.py", "read_payload", "--channel", "taobao", "--json",
         str(tmp_path / "none.json")],
        capture_output=True, text=True, check=False, timeout=120,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert ran.returncode == 1
    assert json.loads(ran.stdout)["error"]["klass"] == "business"
    assert len(ran.stderr.strip().splitlines()) == 1
