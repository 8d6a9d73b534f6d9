"""Orders of a spreadsheet, through the same inbox and path as everything else.

The file is proved readable as a whole before anything is stored; then each order is an inbox
row of its own, in chunks. A run that is broken off goes on with the next: what is in the inbox
already is not stored again.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from django.db import connection, transaction

from channels_sync import services as channels
from channels_sync.connectors.spreadsheet.connector import SpreadsheetConnector
from channels_sync.contracts import MessageKind, Unreadable
from channels_sync.models import InboxMessage
from channels_sync.sheets.mapping import MappingError, SheetMapping
from channels_sync.sheets.orders import Sheet, SheetDocument, Survey
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.catalog.models import Channel, CodeType, Listing, Shop
from ordercenter.core.actor import Actor
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput
from ordercenter.core.readonly import read_only
from ordercenter.pipeline import goods
from ordercenter.pipeline.intake import reader, run

ACTOR: Final = Actor.job("import_orders")
CHUNK: Final = 500
OPEN: Final = (InboxMessage.State.NEW, InboxMessage.State.LEASED)
PATIENCE: Final = 60.0
"""Seconds to wait for messages another worker has in hand."""
DEFAULT_MAPPING: Final = Path(__file__).parent / "mappings" / "default.json"
_ROW_IN_REASON: Final = re.compile(r"第 (\d+) 行")
_SHOP_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")

Told = Callable[["Report"], None]


@dataclass(slots=True)
class Report:
    """What an import came to."""

    rows: int = 0
    documents: int = 0
    orders: int = 0
    """Orders of the file that the center has now."""
    new: int = 0
    unchanged: int = 0
    """Orders told with the very same bytes as before."""
    updated: int = 0
    """Known orders told with other bytes than before."""
    pending: int = 0
    """Messages that wait for another try."""
    rows_in_orders: int = 0
    rows_quarantined: int = 0
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    lines_not_orders: Counter[str] = field(default_factory=Counter)
    """Rows that are no order, by reason."""
    documents_not_orders: Counter[str] = field(default_factory=Counter)
    by_status: Counter[str] = field(default_factory=Counter)
    held: int = 0
    """Orders with an open hold."""
    held_by_kind: Counter[str] = field(default_factory=Counter)
    skus_created: int = 0
    listings_created: int = 0
    seconds: float = 0.0
    """The whole command, both passes."""

    def as_json(self) -> dict[str, Any]:
        return {
            name: dict(value) if isinstance(value, Counter) else value
            for name in self.__dataclass_fields__
            for value in [getattr(self, name)]
        }


def load_mapping(path: Path | None, *, max_bytes: int) -> SheetMapping:
    """Read a mapping file, the shipped one where none is named. Raises InvalidInput."""
    path = path or DEFAULT_MAPPING
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
        return SheetMapping.of(told, max_bytes=max_bytes)
    except OSError as error:
        raise InvalidInput(what=f"打不开映射文件 {path.name}：{error.strerror}") from error
    except ValueError as error:
        raise InvalidInput(what=f"映射文件 {path.name} 不是 UTF-8 的 JSON：{error}") from error
    except MappingError as error:
        raise InvalidInput(what=f"映射文件 {path.name}：{error}") from error


@transaction.atomic
def shop_for(code: str, *, create: str, currency: str) -> Shop:
    """The shop of this code; made with the name ``create`` where there is none.

    Raises InvalidInput for a missing shop, one of another channel or of another currency.
    """
    shop = Shop.objects.filter(code=code).first()
    if shop is None and create:
        if not _SHOP_CODE.fullmatch(code):
            raise InvalidInput(what="店铺编码只能用字母、数字、- 和 _，至多 32 个")
        shop = Shop.objects.create(
            code=code, name=create[:100], channel=Channel.FILE, currency=currency
        )
        record(
            Action.SHOP_CHANGED, object_type="shop", object_id=shop.pk, actor=ACTOR,
            change={"code": [None, code], "channel": [None, Channel.FILE.value]},
            reason="表格导入时新建店铺",
        )  # fmt: skip
    if shop is None:
        raise InvalidInput(what=f"没有店铺 {code}；请先建立，或加 --create-shop 店铺名称")
    if shop.channel != Channel.FILE:
        raise InvalidInput(
            what=f"店铺 {code} 属于{shop.get_channel_display()}；表格订单要放进“表格导入”的店铺"
        )
    if shop.currency != currency:
        raise InvalidInput(what=f"店铺 {code} 的币种是 {shop.currency}，映射文件是 {currency}")
    return shop


def survey(sheet: Sheet, tell: Callable[[Survey], None]) -> Survey:
    """Read the whole file once. Raises SheetError, nothing having been stored."""
    found = Survey()
    for found in sheet.survey():
        tell(found)
    return found


def take_in(sheet: Sheet, found: Survey, shop: Shop, tell: Told) -> Report:
    """Store every order of the sheet and take it along the path; tell after each chunk."""
    report = Report(rows=found.rows)
    catalog = sheet.mapping.catalog
    if catalog is not None:
        made = goods.create_missing(
            shop, catalog, found.codes, currency=sheet.mapping.rules.currency, actor=ACTOR
        )
        report.skus_created, report.listings_created = made.skus, made.listings
    for chunk in _chunks(sheet.documents(found)):
        _take_chunk(chunk, shop, report)
        tell(report)
    return report


@read_only()
def rehearse(sheet: Sheet, found: Survey, shop: Shop | None, tell: Told) -> Report:
    """Read every order without storing anything; say what an import would find."""
    report = Report(rows=found.rows)
    known_codes = _known_codes(shop)
    catalog = sheet.mapping.catalog
    missing = found.codes.keys() - known_codes
    if catalog is not None:
        report.listings_created = sum(1 for code in missing if catalog.pattern.fullmatch(code))
        report.skus_created = goods.count_missing_skus(catalog, missing)
    for chunk in _chunks(sheet.documents(found)):
        orders = _count_documents(chunk, report)
        read = reader(SpreadsheetConnector.channel).read
        good = []
        for document in orders:
            try:
                read(document.message.body)
                good.append(document)
            except Unreadable as reason:
                _quarantine(report, document, str(reason))
        told = [document.message.channel_number for document in good]
        known = _known(shop.pk, told) if shop else set()
        report.orders += len(good)
        report.new += len(good) - len(known)
        report.rows_in_orders += sum(document.rows for document in good)
        tell(report)
    return report


def _known_codes(shop: Shop | None) -> set[str]:
    if shop is None:
        return set()
    listings = Listing.objects.filter(shop=shop, code_type=CodeType.OUTER_CODE)
    return set(listings.values_list("code", flat=True))


def _chunks(documents: Iterable[SheetDocument]) -> Iterator[list[SheetDocument]]:
    rest = iter(documents)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _count_documents(chunk: Sequence[SheetDocument], report: Report) -> list[SheetDocument]:
    """Count what is no order; return the orders."""
    for document in chunk:
        if not document.is_order:
            report.lines_not_orders[document.not_an_order] += document.rows
            report.documents_not_orders[document.not_an_order] += 1
    orders = [document for document in chunk if document.is_order]
    report.documents += len(orders)
    return orders


def _take_chunk(chunk: Sequence[SheetDocument], shop: Shop, report: Report) -> None:
    orders = _count_documents(chunk, report)
    notes = [document.message for document in chunk if not document.is_order]
    numbers = [document.message.channel_number for document in orders]
    digests = [channels.digest(document.message) for document in orders]
    messages_before = _messages(shop.pk, digests)
    orders_before = _known(shop.pk, numbers)
    source = InboxMessage.Source.FILE
    channels.store(notes, source=source, shop_id=shop.pk)
    fresh = channels.store([d.message for d in orders], source=source, shop_id=shop.pk)
    if fresh or any(state in OPEN for state, _ in messages_before.values()):
        _drain(shop.pk)
    messages = _messages(shop.pk, digests)
    for document, digest in zip(orders, digests, strict=True):
        state, error = messages[digest]
        if state == InboxMessage.State.DEAD:
            _quarantine(report, document, error)
        elif state != InboxMessage.State.DONE:
            report.pending += 1
        else:
            report.orders += 1
            report.rows_in_orders += document.rows
            if digest in messages_before:
                report.unchanged += 1
            elif document.message.channel_number in orders_before:
                report.updated += 1
            else:
                report.new += 1
    _add_standing(shop.pk, numbers, report)


def _messages(shop_id: int, digests: Sequence[bytes]) -> dict[bytes, tuple[str, str]]:
    """(state, error) of the messages of these digests that the inbox has."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT digest, state, error FROM channels_sync_inboxmessage "
            "WHERE shop_id = %s AND carrier = '' AND digest = ANY(%s::bytea[])",
            [shop_id, list(digests)],
        )
        return {bytes(digest): (state, error) for digest, state, error in cursor.fetchall()}


def _known(shop_id: int, numbers: Sequence[str]) -> set[str]:
    """Those of these order numbers that the shop has."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT channel_number FROM orders_salesorder "
            "WHERE shop_id = %s AND channel_number = ANY(%s)",
            [shop_id, list(numbers)],
        )
        return {number for (number,) in cursor.fetchall()}


def _add_standing(shop_id: int, numbers: Sequence[str], report: Report) -> None:
    """Where the orders of a chunk stand, and what holds them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT o.status, h.kinds FROM orders_salesorder o "
            "LEFT JOIN LATERAL (SELECT array_agg(DISTINCT kind) AS kinds FROM orders_orderhold "
            "WHERE order_id = o.id AND released_at IS NULL) h ON true "
            "WHERE o.shop_id = %s AND o.channel_number = ANY(%s)",
            [shop_id, list(numbers)],
        )
        for status, kinds in cursor.fetchall():
            report.by_status[status] += 1
            report.held += bool(kinds)
            report.held_by_kind.update(kinds or ())


def _drain(shop_id: int) -> None:
    """Work the inbox off until nothing of this shop is due; others may be working beside us."""
    until = time.monotonic() + PATIENCE
    while True:
        passed = run()
        if passed.messages or passed.parked:
            continue
        if not _due(shop_id) or time.monotonic() > until:
            return
        time.sleep(0.2)


def _due(shop_id: int) -> bool:
    return (
        InboxMessage.objects.filter(shop_id=shop_id, kind=MessageKind.ORDER, state__in=OPEN)
        .exclude(leased_until__gt=clock_now())
        .exists()
    )


def _quarantine(report: Report, document: SheetDocument, reason: str) -> None:
    named = _ROW_IN_REASON.match(reason)
    row = int(named[1]) if named else document.first_row
    report.rows_quarantined += document.rows
    report.quarantined.append(
        {"row": row, "order": document.message.channel_number, "rows": document.rows,
         "reason": reason}
    )  # fmt: skip
