"""A table somebody hands in, CSV or .xlsx by its bytes, as rows of text; and one handed out."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final

from channels_sync.sheets.cells import quoted, unquoted
from channels_sync.sheets.rows import Dialect, SheetError
from channels_sync.sheets.rows import rows as csv_rows
from channels_sync.sheets.xlsx_reading import (
    SheetForbidden,
    SheetTooBig,
    is_workbook,
    workbook_rows,
)
from channels_sync.sheets.xlsx_writing import Column
from ordercenter.core.errors import InvalidInput

MAX_BYTES: Final = 8 * 1024 * 1024
"""The most an upload may have, and a CSV file may unpack to."""


class FileTooBig(InvalidInput):
    http_status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class FileForbidden(InvalidInput):
    http_status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


def table_of(
    path: Path, dialect: Dialect, *, most: int
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header of a file and its (row number, cells), as many cells as the header has.

    Nothing is kept. Raises InvalidInput with the row that is wrong, FileTooBig, FileForbidden.
    """
    try:
        with path.open("rb") as stream:
            binary = is_workbook(stream)
        if binary:
            header, body = workbook_rows(path, max_rows=most)
            return header, list(_counted(header, body, most))
        with csv_rows(path, dialect) as (header, body):
            plain = ((number, [unquoted(cell) for cell in cells]) for number, cells in body)
            return header, list(_counted(header, plain, most))
    except SheetTooBig as error:
        raise FileTooBig(what=str(error)) from error
    except SheetForbidden as error:
        raise FileForbidden(what=str(error)) from error
    except SheetError as error:
        raise InvalidInput(what=str(error)) from error


def _counted(
    header: Sequence[str], body: Iterable[tuple[int, list[str]]], most: int
) -> Iterator[tuple[int, list[str]]]:
    for count, (number, cells) in enumerate(body):
        if len(cells) != len(header):
            raise InvalidInput(what=f"第 {number} 行有 {len(cells)} 列，表头有 {len(header)} 列")
        if count == most:
            raise InvalidInput(what=f"超过 {most} 行，请拆成几个文件")
        yield number, cells


def need(header: Sequence[str], names: Iterable[str]) -> None:
    """Refuse a table that lacks one of these columns."""
    if missing := [name for name in names if name not in header]:
        raise InvalidInput(
            what=f"表头缺少列：{'、'.join(missing)}；请用下载的表格填写，并检查分隔符与编码"
        )


def as_csv(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> bytes:
    """UTF-8 with the mark Excel knows it by; what it would run or rewrite carries an apostrophe."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([column.name for column in columns])
    writer.writerows([quoted(cell) for cell in row] for row in rows)
    return out.getvalue().encode("utf-8-sig")
