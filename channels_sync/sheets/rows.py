"""From a file to rows, strictly: what two programs could read differently is refused.

CSV as RFC 4180 has it, with the delimiter and the encoding the mapping declares, plain or
gzip by its magic bytes. A fault of the file as a whole raises ``SheetError`` with its row.
Rows are numbered as a spreadsheet program shows them: the header is row 1.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

MAX_LINE_BYTES: Final = 1024 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_OLE: Final = b"\xd0\xcf\x11\xe0"
_BOM: Final = b"\xef\xbb\xbf"
_MIB: Final = 1024 * 1024
_WORDS: Final = (
    ("unexpected end of data", "引号没有闭合"),
    ("expected after", "引号用法不对：右引号之后应为分隔符"),
    ("field limit", "单元格过长，可能是引号没有闭合"),
    ("new-line", "换行符不规范，请用 LF 或 CRLF 换行"),
)


class SheetError(Exception):
    """The file as a whole can't be read; the words name the row and what to do."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the bytes are to be read; declared, never guessed."""

    encoding: str = "utf-8"
    delimiter: str = ","
    max_bytes: int = 2 * 1024 * _MIB
    """The most the file may unpack to."""


@dataclass(slots=True)
class Meter:
    """How far the reading has come, in bytes of the file as it lies on disk."""

    total: int = 0
    source: IO[bytes] | None = field(default=None, repr=False)

    @property
    def done(self) -> int:
        return self.source.tell() if self.source and not self.source.closed else self.total


class _Lines:
    """Physical lines as text, counted and bounded; knows the row that is being read."""

    def __init__(self, stream: IO[bytes], dialect: Dialect, row: Callable[[], int]) -> None:
        self._stream = stream
        self._dialect = dialect
        self._row = row
        self._read = 0

    def __iter__(self) -> Iterator[str]:
        encoding, most = self._dialect.encoding, self._dialect.max_bytes
        first = True
        while line := self._stream.readline(MAX_LINE_BYTES + 1):
            self._read += len(line)
            if self._read > most:
                raise SheetError(f"文件解压后超过上限 {most // _MIB} MiB，请拆成几个文件")
            if len(line) > MAX_LINE_BYTES:
                raise SheetError(f"第 {self._row()} 行超过 {MAX_LINE_BYTES // _MIB} MiB")
            if first:
                line = line.removeprefix(_BOM) if encoding == "utf-8" else line
                first = False
            yield self._decode(line)

    def _decode(self, line: bytes) -> str:
        try:
            return line.decode(self._dialect.encoding)
        except UnicodeDecodeError:
            pass
        name = self._dialect.encoding.upper()
        raise SheetError(
            f"第 {self._row()} 行不是 {name} 编码；"
            "请另存为 UTF-8，或在映射文件中声明 encoding（utf-8 或 gbk）"
        )


@contextmanager
def _opened(path: Path, meter: Meter) -> Iterator[IO[bytes]]:
    try:
        raw = path.open("rb")
    except OSError as error:
        raise SheetError(f"打不开文件 {path.name}：{error.strerror}") from error
    with raw:
        meter.total, meter.source = path.stat().st_size, raw
        magic = raw.read(4)
        raw.seek(0)
        if magic in {_ZIP, _OLE}:
            raise SheetError("这是 Excel 或 zip 文件，请另存为 CSV（UTF-8）再导入")
        if not magic.startswith(_GZIP):
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as unpacked, io.BufferedReader(unpacked) as stream:
            yield stream


@contextmanager
def rows(
    path: Path, dialect: Dialect, meter: Meter | None = None
) -> Iterator[tuple[list[str], Iterator[tuple[int, list[str]]]]]:
    """Open a file; give its header and an iterator over (row number, cells).

    Rows without any text are passed over. Raises SheetError.
    """
    at = 1
    with _opened(path, meter or Meter()) as stream:
        reader = csv.reader(
            _Lines(stream, dialect, lambda: at), delimiter=dialect.delimiter, strict=True
        )

        def following() -> Iterator[tuple[int, list[str]]]:
            nonlocal at
            while (cells := _next(reader, at)) is not None:
                if any(cells):
                    yield at, cells
                at += 1

        header = header_of(_next(reader, at))
        at += 1
        yield header, following()


def _next(reader: "Iterator[list[str]]", row: int) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error as error:
        said = str(error)
        words = next((words for part, words in _WORDS if part in said), said)
        raise SheetError(f"第 {row} 行：{words}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SheetError(f"第 {row} 行：压缩文件不完整或已损坏") from error


def header_of(cells: Sequence[str] | None) -> list[str]:
    """The names of the columns. Raises SheetError where there are none, or one twice."""
    if cells is None or not any(cells):
        raise SheetError("文件没有表头：第 1 行应为各列的名称")
    names = [name.strip() for name in cells]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise SheetError(f"表头有重复的列：{'、'.join(twice)}")
    return names
