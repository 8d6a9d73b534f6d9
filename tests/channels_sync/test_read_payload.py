"""The command prints one JSON document, needs no database, and says what it could not read."""

import json
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
