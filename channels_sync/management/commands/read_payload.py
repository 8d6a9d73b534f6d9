"""Read raw platform JSON without a database and print what a connector makes of it."""

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.base import ConnectorFactory, loads_strict
from channels_sync.connectors.field_map import BadFieldMap, FieldMap
from channels_sync.contracts import (
    Connector,
    Document,
    ErrorClass,
    PlatformError,
    ShopAccess,
    Unreadable,
)
from ordercenter.orders.contracts import (
    AddressChangeDraft,
    EventDraft,
    GiftDraft,
    LineDraft,
    OrderDraft,
    ReceiverDraft,
    RefundDraft,
)

NOBODY: Final = ShopAccess(shop_code="", base_url="", app_key="", app_secret="")
"""Reading needs no shop and no credentials."""
PRIVATE_FACTS: Final = ("order_facts", "refund_facts", "event_facts")
"""Facts about one order, refund or event, by its id; they are printed beside it."""


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


# --- documents as JSON ----------------------------------------------------------------------


def document_json(document: Document) -> dict[str, Any]:
    """Spell a document in the vocabulary of ``EXPECTED.json``; money and ids are text."""
    facts = dict(document.facts)
    orders, refunds, events = (facts.pop(key, {}) for key in PRIVATE_FACTS)
    result: dict[str, Any] = {"kind": document.kind, **_plain(facts)}
    if document.orders or document.kind in {"order", "order_list"}:
        result["orders"] = [_with(order_json(one), orders) for one in document.orders]
    if document.refunds or document.kind == "refund_list":
        result["refunds"] = [_with(refund_json(one), refunds) for one in document.refunds]
    if document.events or document.kind == "event_list":
        result["events"] = [_with(event_json(one), events) for one in document.events]
    if document.error is not None:
        result["error"] = error_json(document.error)
    return result


def _with(row: dict[str, Any], facts: Any) -> dict[str, Any]:
    identity = row.get("refund_id") or row.get("event_id") or row.get("platform_order_no")
    return {**row, **_plain(facts.get(identity, {}))}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def order_json(order: OrderDraft) -> dict[str, Any]:
    return _plain_dict(
        channel=order.channel,
        platform_order_no=order.channel_number,
        status_raw=order.status_raw,
        status=order.status.value,
        currency=order.currency,
        payable_amount=order.payable_amount,
        paid_amount=order.paid_amount,
        freight=order.freight,
        placed_at=order.placed_at,
        paid_at=order.paid_at,
        modified_at=order.modified_at,
        line_count=len(order.lines),
        lines=[line_json(line) for line in order.lines],
        gifts_outside_lines=[gift_json(gift) for gift in order.gifts_outside_lines],
        receiver=None if order.receiver is None else receiver_json(order.receiver),
        buyer_id=order.evidence.buyer_id or None,
        buyer_remark=order.buyer_remark,
        seller_memo=order.seller_memo,
        seller_flag=order.seller_flag,
        has_gift=order.has_gift,
        refund_state=order.refund_state,
        is_test=order.is_test,
        is_presale=order.is_presale,
        address_change=_change_json(order.address_change),
    )


def _change_json(change: AddressChangeDraft | None) -> dict[str, Any] | None:
    """That a buyer asks for another address, and until when; not which."""
    if change is None:
        return None
    return _plain_dict(asked_at=change.asked_at, answer_by=change.answer_by)


def _plain_dict(**values: Any) -> dict[str, Any]:
    return {key: _plain(value) for key, value in values.items()}


def line_json(line: LineDraft) -> dict[str, Any]:
    return _plain_dict(
        platform_line_no=line.channel_line_id,
        platform_sku_id=line.platform_sku_id,
        platform_item_id=line.platform_item_id,
        outer_code=line.outer_code,
        title=line.title,
        qty=line.quantity,
        unit_price=line.unit_price,
        amount=line.amount,
        is_gift=line.is_gift,
        refund_state=line.refund_state,
    )


def gift_json(gift: GiftDraft) -> dict[str, Any]:
    return _plain_dict(
        name=gift.name,
        platform_item_id=gift.platform_item_id,
        platform_sku_id=gift.platform_sku_id,
        outer_code=gift.outer_code,
        qty=gift.quantity,
    )


def receiver_json(receiver: ReceiverDraft) -> dict[str, Any]:
    """The region only: a name, a phone or a street has no business in a terminal's history."""
    return _plain_dict(
        province=receiver.province or None,
        city=receiver.city or None,
        district=receiver.district or None,
        town=receiver.town or None,
        is_masked=receiver.is_masked,
        oaid=receiver.oaid or None,
    )


def refund_json(refund: RefundDraft) -> dict[str, Any]:
    return _plain_dict(
        refund_id=refund.refund_id,
        platform_order_no=refund.channel_number,
        platform_line_no=refund.channel_line_id,
        amount=refund.amount,
        state_raw=refund.state_raw,
        refund_state=refund.refund_state,
        return_goods=refund.return_goods,
        phase=refund.phase,
        intercept_shipping=refund.intercept_shipping,
        modified_at=refund.modified_at,
        version=refund.version or None,
    )


def event_json(event: EventDraft) -> dict[str, Any]:
    return _plain_dict(
        event_id=event.event_id,
        topic=event.topic,
        platform_order_no=event.channel_number,
        occurred_at=event.occurred_at,
    )


def error_json(error: PlatformError) -> dict[str, Any]:
    return {
        "klass": error.klass.value,
        "code": error.code,
        "sub_code": error.sub_code,
        "message": error.message,
        "retry": error.klass in {ErrorClass.RATE_LIMITED, ErrorClass.PLATFORM},
        "retry_after_s": error.retry_after_seconds,
    }
