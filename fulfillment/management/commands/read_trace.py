"""Read a carrier's raw answers and pushes without a database and print what they say."""

import json
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from fulfillment.carriers import CARRIERS
from fulfillment.carriers.wire import load_json
from fulfillment.contracts import (
    CarrierAccess,
    CarrierDocument,
    CarrierErrorClass,
    CarrierFault,
    TraceEventDraft,
    UnreadablePush,
    journey,
    status_of,
)

NOBODY: Final = CarrierAccess(account="", base_url="", partner_id="", secret="")
"""Reading needs no account and no credentials."""

Reader = Callable[[bytes], CarrierDocument]


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of one file."""

    name: str
    document: Mapping[str, Any]
    refused: bool


class Command(BaseCommand):
    """Print the scans, numbers and errors in FILE… in the vocabulary of ``carriers.md`` 1.4.

    With ``--json`` one document on stdout: ``{"files": {name: document}}``. A file that cannot
    be read has ``{"error": {"klass", "code", "message"}}`` as its document, the first such
    error stands at the top level too, and the command ends with 1. A recorded exchange
    (``request`` and ``responses`` in one file) prints each message under its own name.
    """

    help = _("读取快递公司的原始答复和推送，不连接数据库，打印读到的轨迹、单号或错误")
    requires_system_checks = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--carrier", required=True, help=_("快递公司，如 sf"))
        parser.add_argument("--json", action="store_true", help=_("只输出一个 JSON 文档"))
        parser.add_argument("files", nargs="+", metavar="FILE", help=_("报文文件"))

    def handle(self, *args: Any, **options: Any) -> None:
        reader = self._reader(options["carrier"], as_json=options["json"])
        names = unique_names(options["files"])
        readings = [read_file(reader, Path(file), name) for file, name in names.items()]
        refused = [reading for reading in readings if reading.refused]
        if options["json"]:
            result: dict[str, Any] = {"files": {one.name: one.document for one in readings}}
            if refused:
                result["error"] = refused[0].document["error"]
            self.stdout.write(json.dumps(result, ensure_ascii=False, indent=1))
        else:
            for reading in readings:
                self.stdout.write("\n".join(summary(reading.name, reading.document)))
        if refused:
            facts = {"n": len(refused), "names": "、".join(one.name for one in refused)}
            raise CommandError(_("有 %(n)d 个文件无法读取：%(names)s") % facts)

    def _reader(self, carrier: str, *, as_json: bool) -> Reader:
        make = CARRIERS.get(carrier)
        if make is not None:
            return make(NOBODY).read_document
        facts = {"carrier": carrier, "known": "、".join(sorted(CARRIERS))}
        words = _("不认识的快递公司 %(carrier)s，可用：%(known)s") % facts
        if as_json:
            self.stdout.write(json.dumps(refusal("unknown_carrier", words), ensure_ascii=False))
        raise CommandError(words)


def unique_names(files: list[str]) -> dict[str, str]:
    """Name each file by its last part, or as given where two would share a name."""
    names = [Path(file).name for file in files]
    return {
        file: name if names.count(name) == 1 else file
        for file, name in zip(files, names, strict=True)
    }


def read_file(reader: Reader, path: Path, name: str) -> Reading:
    """Read one file; never raises for what is in it."""
    try:
        body = path.read_bytes()
        document = read_body(reader, body)
    except OSError as error:
        words = _("打不开文件：%(why)s") % {"why": error.strerror or type(error).__name__}
        return Reading(name, refusal("unreadable_file", words), refused=True)
    except UnreadablePush as error:
        return Reading(name, refusal("unreadable", str(error)), refused=True)
    return Reading(name, document, refused=False)


def read_body(reader: Reader, body: bytes) -> Mapping[str, Any]:
    """Read one message, or every message of a recorded exchange. Raises UnreadablePush."""
    recorded = dict(messages_of(body))
    if not recorded:
        return document_json(reader(body))
    return {
        "kind": "exchange",
        "messages": {name: document_json(reader(one)) for name, one in recorded.items()},
    }


def messages_of(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The messages the carrier sent in a recorded exchange; none where the file is no record."""
    if body.lstrip()[:1] != b"{":
        return
    record = load_json(body)
    if not isinstance(record, Mapping) or "responses" not in record:
        return
    if record.get("direction") == "inbound":  # our own answers to it are not the carrier's
        yield from _message("request", record.get("request"))
        return
    answers = record["responses"]
    for name, answer in answers.items() if isinstance(answers, Mapping) else ():
        yield from _message(str(name), answer)


def _message(name: str, message: Any) -> Iterator[tuple[str, bytes]]:
    found = message if isinstance(message, Mapping) else {}
    form = found.get("form")
    if "json" in found:
        yield name, json.dumps(found["json"], ensure_ascii=False, default=str).encode()
    elif isinstance(form, Mapping) and isinstance(form.get("content"), str):
        yield name, form["content"].encode()


def refusal(code: str, message: str) -> dict[str, Any]:
    return {"error": fault_json(CarrierFault(CarrierErrorClass.BUSINESS, code, message))}


# --- documents as JSON ------------------------------------------------------------------------


def document_json(document: CarrierDocument) -> dict[str, Any]:
    """Spell a document for scripts: scans by number in the order they happened."""
    result: dict[str, Any] = {"kind": document.kind, **document.facts}
    if document.kind in {"traces", "trace_push"}:
        result["parcels"] = [parcel_json(number, document.events) for number in document.numbers]
    if document.issued is not None:
        issued = document.issued
        result["waybill"] = {
            "number": issued.number,
            "client_reference": issued.client_reference,
            "needs_check": issued.needs_check,
            "facts": dict(issued.facts),
        }
    if document.fault is not None:
        result["error"] = fault_json(document.fault)
    return result


def parcel_json(number: str, events: tuple[TraceEventDraft, ...]) -> dict[str, Any]:
    own = journey(event for event in events if event.number == number)
    return {
        "number": number,
        "status": status_of(own).value,
        "events": [event_json(event) for event in own],
    }


def event_json(event: TraceEventDraft) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "code": event.code,
        "status": None if event.status is None else event.status.value,
        "occurred_at": event.occurred_at.isoformat(),
        "place": event.place,
        "text": event.text,
        "known": event.known,
        "alert": event.alert,
        "linked_number": event.linked_number or None,
    }


def fault_json(fault: CarrierFault) -> dict[str, Any]:
    later = {CarrierErrorClass.RATE_LIMITED, CarrierErrorClass.PLATFORM}
    return {
        "klass": fault.klass.value,
        "code": fault.code,
        "message": fault.message,
        "retry": fault.klass in later,
        "retry_after_s": fault.retry_after_seconds,
    }


def summary(name: str, document: Mapping[str, Any]) -> list[str]:
    """Lines a person can read, without the scans' texts: they name couriers and phones."""
    if "messages" in document:
        return [
            line
            for key, one in document["messages"].items()
            for line in summary(f"{name} {key}", one)
        ]
    if "error" in document:
        error = document["error"]
        return [f"{name}: {error['klass']} {error['code']} {error['message']}"]
    lines = [f"{name}: {document['kind']}"]
    if "waybill" in document:
        lines.append(f"  {document['waybill']['number']}")
    lines += [
        f"  {parcel['number']} {parcel['status']} {len(parcel['events'])}"
        for parcel in document.get("parcels", ())
    ]
    return lines
