"""What the pages of the warehouse's papers have in common: reading what people typed."""

import re
from collections import Counter
from collections.abc import Collection
from datetime import datetime, time
from http import HTTPStatus
from typing import Any, Final, TypeVar

from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, QueryDict
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _

from inventory import papers
from inventory.models import VirtualWarehouse
from ordercenter.catalog.models import Sku
from ordercenter.console.access import me
from ordercenter.console.listing_facts import number_of
from ordercenter.core.clock import SHANGHAI
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can, allows

Paper = TypeVar("Paper", bound=Model)
PER_PAGE: Final = 50
ENDS_AT: Final = time(18)
"""A day goods are expected on ends for us at this hour: later they are late."""
SHOWN_AGAIN: Final = (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.CONFLICT, HTTPStatus.FORBIDDEN)
"""Refusals that are told on the page they come from."""
_UNITS: Final = re.compile(r"\d{1,7}")
_LINE: Final = re.compile(r"(?P<code>.+?)[\s,，;；×xX*]+(?P<units>-?\d{1,9})")
_NUMBER: Final = re.compile(r"[A-Z]{2}\d{6}-[A-Z2-9]{5}")


def rooms(request: HttpRequest) -> list[VirtualWarehouse]:
    """Where this person may move goods."""
    return list(papers.rooms_of(me(request)).select_related("warehouse").order_by("code"))


def number_for(request: HttpRequest, prefix: str) -> str:
    """The number the form carries, or a new one: sent twice, a form makes one paper."""
    typed = request.POST.get("number", "")
    fits = _NUMBER.fullmatch(typed) and typed.startswith(prefix)
    return typed if fits else papers.new_number(prefix, clock_now())


def id_of(told: QueryDict, name: str) -> int:
    return number_of(told.get(name, ""), most=2**62)


def page_of(request: HttpRequest) -> int:
    return max(1, number_of(request.GET.get("page", ""), most=10_000, otherwise=1))


def paged(request: HttpRequest, found: QuerySet[Any]) -> dict[str, Any]:
    """The rows of the page asked for, its number, and whether another follows."""
    number = page_of(request)
    rows = found[(number - 1) * PER_PAGE : number * PER_PAGE + 1]
    return {"rows": rows[:PER_PAGE], "number": number, "has_next": len(rows) > PER_PAGE}


def mine(found: QuerySet[Paper], pk: int) -> Paper:
    """One of the papers this person may see. Raises Http404."""
    paper = found.filter(pk=pk).first()
    if paper is None:
        raise Http404
    return paper


def units_of(text: str) -> int:
    """A number of units; an empty field is none. Raises InvalidInput."""
    plain = text.strip()
    if not plain:
        return 0
    if not (plain.isascii() and _UNITS.fullmatch(plain)):
        raise InvalidInput(what=_("件数要填整数：%(text)s") % {"text": plain[:20]})
    return int(plain)


def day_of(text: str) -> datetime:
    """The end of a day in Shanghai. Raises InvalidInput."""
    try:
        day = parse_date(text)
    except ValueError:
        day = None
    if day is None:
        raise InvalidInput(what=_("请填写日期"))
    return datetime.combine(day, ENDS_AT, tzinfo=SHANGHAI)


def skus_named(names: Collection[str]) -> dict[str, int]:
    """SKUs by code or barcode, as scanned; a barcode of two SKUs names none."""
    wanted = {name for name in names if name and "\0" not in name}
    rows = Sku.objects.filter(Q(code__in=wanted) | Q(barcode__in=wanted)).values_list(
        "pk", "code", "barcode"
    )
    by_code = {code: pk for pk, code, _barcode in rows}
    barcodes = Counter(barcode for _pk, _code, barcode in rows if barcode)
    by_barcode = {barcode: pk for pk, _code, barcode in rows if barcodes[barcode] == 1}
    return {name: pk for name in wanted if (pk := by_code.get(name) or by_barcode.get(name, 0))}


def sku_named(name: str) -> Sku:
    """The SKU with this code or barcode. Raises InvalidInput."""
    plain = name.strip()
    pk = skus_named([plain]).get(plain)
    if pk is None:
        raise InvalidInput(
            what=_("没有编码或条码为 %(code)s 的货品") % {"code": plain[:40].replace("\0", "")}
        )
    return Sku.objects.get(pk=pk)


def goods_of(text: str) -> dict[int, int]:
    """Units by SKU of a typed list, one a line: code or barcode, then how many.

    A code alone is one unit, so that a scanner may be let loose; named again, units add up.
    Raises InvalidInput naming the line.
    """
    lines = [(at, line.strip()) for at, line in enumerate(text.splitlines(), 1) if line.strip()]
    if len(lines) > papers.MOST_LINES:
        raise InvalidInput(what=_("最多 %(most)d 行") % {"most": papers.MOST_LINES})
    split = {line: found for _at, line in lines if (found := _LINE.fullmatch(line))}
    known = skus_named([*(line for _at, line in lines), *(m["code"] for m in split.values())])
    goods = Counter[int]()
    for at, line in lines:
        found = None if line in known else split.get(line)
        code, units = (found["code"], int(found["units"])) if found else (line, 1)
        if code not in known:
            raise InvalidInput(
                what=_("第 %(at)d 行：没有编码或条码为 %(code)s 的货品")
                % {"at": at, "code": code[:40]}
            )
        if not 0 < units <= papers.MOST_UNITS:
            raise InvalidInput(
                what=_("第 %(at)d 行：件数须在 1 到 %(most)d 之间")
                % {"at": at, "most": papers.MOST_UNITS}
            )
        goods[known[code]] += units
    return dict(goods)


def told_here(refusal: OrderCenterError) -> bool:
    """Whether the page that was refused can be shown again with the words."""
    return refusal.http_status in SHOWN_AGAIN


def frame(request: HttpRequest, here: str) -> dict[str, Any]:
    """What every page of the papers shows: the ways between them, and what may be done."""
    tabs = (
        ("inbounds", _("到货")), ("transfers", _("调拨")), ("adjustments", _("调整")),
        ("counts", _("盘点")), ("stock_sheet", _("导入")),
    )  # fmt: skip
    return {
        "tabs": [{"name": name, "label": label, "on": name == here} for name, label in tabs],
        "may_approve": allows(request.user, Can.APPROVE_STOCK),
        "may_move": allows(request.user, Can.MOVE_STOCK),
        "now": clock_now(),
    }
