"""Read raw platform JSON without a database and print what a connector makes of it."""

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.base import ConnectorFactory
from channels_sync.connectors.field_map import BadFieldMap, FieldMap
from channels_sync.connectors.strict_json import loads_strict
from channels_sync.contracts import Connector, ErrorClass, PlatformError, ShopAccess, Unreadable
from channels_sync.documents import document_json, error_json

NOBODY: Final = ShopAccess(shop_code="", base_url="", app_key="", app_secret="")
"""Reading needs no shop and no credentials."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of one file."""

    name: str
    document: Mapping[str, Any]
    refused: bool


class Command(BaseCommand):
    """Print the documents in FILE… in the vocabulary of ``channels.md`` 0.2.

    With ``--json`` one document on stdout: ``{"files": {name: document}}``. A file that cannot
    be read has ``{"error": {"klass", "code", "message"}}`` as its document, the first such
    error stands at the top level too, and the command ends with 1. ``--field-map`` reads as a
    shop with this edited table would: it names only what it changes of the packaged one.
    """

    help = _("读取平台原始报文，不连接数据库，打印读到的订单、退款或错误")
    requires_system_checks = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--channel", required=True, help=_("平台，如 taobao"))
        parser.add_argument("--json", action="store_true", help=_("只输出一个 JSON 文档"))
        parser.add_argument(
            "--field-map", metavar="FILE", help=_("字段对照表（JSON，只写改动的字段）")
        )
        parser.add_argument("files", nargs="+", metavar="FILE", help=_("报文文件"))

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            reader = _reader(options["channel"], options.get("field_map"))
        except _Refused as error:
            if options["json"]:
                self.stdout.write(json.dumps(refusal(error.code, str(error)), ensure_ascii=False))
            raise CommandError(str(error)) from error
        files = options["files"]
        names = unique_names(files)
        readings = [read_file(reader.read_document, Path(f), names[f]) for f in files]
        refused = [reading for reading in readings if reading.refused]
        if options["json"]:
            result: dict[str, Any] = {"files": {one.name: one.document for one in readings}}
            if refused:
                result["error"] = refused[0].document["error"]
            self.stdout.write(json.dumps(result, ensure_ascii=False, indent=1))
        else:
            for reading in readings:
                self.stdout.write(summary(reading))
        if refused:
            told = {"n": len(refused), "names": "、".join(reading.name for reading in refused)}
            raise CommandError(_("有 %(n)d 个文件无法读取：%(names)s") % told)


class _Refused(Exception):
    """The command cannot begin: no such channel, or a field map that cannot work."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


def _reader(channel: str, map_file: str | None) -> Connector:
    """A connector that only reads. Raises _Refused."""
    make = CONNECTORS.get(channel)
    if make is None:
        known = "、".join(sorted(CONNECTORS))
        words = _("不认识的平台 %(channel)s，可用：%(known)s") % {
            "channel": channel,
            "known": known,
        }
        raise _Refused("unknown_channel", words)
    return make(NOBODY, field_map=_field_map(make, map_file) if map_file else None)


def _field_map(make: ConnectorFactory, map_file: str) -> FieldMap:
    if make.default_map is None:
        raise _Refused("no_field_map", _("该平台没有字段对照表"))
    try:
        return make.default_map.changed(loads_strict(Path(map_file).read_bytes()))
    except OSError as error:
        raise _Refused("unreadable_file", _not_opened(error)) from error
    except (Unreadable, BadFieldMap) as error:
        words = _("字段对照表有误：%(why)s") % {"why": error}
        raise _Refused("bad_field_map", words) from error


def _not_opened(error: OSError) -> str:
    return _("打不开文件：%(why)s") % {"why": error.strerror or type(error).__name__}


def read_file(reader: Any, path: Path, name: str) -> Reading:
    """Read one file; never raises for what is in it."""
    try:
        document = reader(path.read_bytes())
    except OSError as error:
        return Reading(name, refusal("unreadable_file", _not_opened(error)), refused=True)
    except Unreadable as error:
        return Reading(name, refusal("unreadable", str(error)), refused=True)
    return Reading(name, document_json(document), refused=False)


def unique_names(files: list[str]) -> dict[str, str]:
    """Name each file by its last part, or as given where two would share a name."""
    names = [Path(file).name for file in files]
    return {
        file: name if names.count(name) == 1 else file
        for file, name in zip(files, names, strict=True)
    }


def refusal(code: str, message: str) -> dict[str, Any]:
    return {"error": error_json(PlatformError(ErrorClass.BUSINESS, code, message))}


def summary(reading: Reading) -> str:
    """One line a person can read, without anything a buyer typed."""
    document = reading.document
    if "error" in document:
        error = document["error"]
        return f"{reading.name}: {error['klass']} {error['code']} {error['message']!r}"
    parts = [reading.name + ":", document["kind"]]
    parts += [
        f"{one['platform_order_no']} {one['status']} {one['payable_amount']} {one['currency']}"
        for one in document.get("orders", ())
    ]
    parts += [
        f"{one['refund_id']} {one['refund_state']} {one['amount']}"
        for one in document.get("refunds", ())
    ]
    return "\n  ".join((" ".join(parts[:2]), *parts[2:]))
