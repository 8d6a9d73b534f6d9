"""Excel workbooks (ECMA-376), as much of them as a table of texts needs: the first sheet of a
file anybody may have made.

Nothing is unpacked to disk, no entity is expanded, and what holds macros or reaches outside is
refused.
"""

import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final
from xml.parsers import expat

from channels_sync.sheets.rows import SheetError, header_of
from channels_sync.sheets.xlsx_writing import ESCAPED, MAIN, PACKAGE, RELATIONS

_MIB: Final = 1024 * 1024
_CHUNK: Final = 64 * 1024
MOST_PARTS: Final = 500
MOST_COLUMNS: Final = 200
MOST_DIGITS: Final = 15
"""Longer numbers are rounded by every spreadsheet program."""
_STRICT: Final = "http://purl.oclc.org/ooxml/spreadsheetml/main"
_STRICT_RELATIONS: Final = "http://purl.oclc.org/ooxml/officeDocument/relationships"
_FORBIDDEN: Final = ("vbaproject", "externallinks/", "activex", "embeddings/", "macrosheets/")
_PLACE: Final = re.compile(r"([A-Z]{1,3})[0-9]{1,7}")
_SURROGATES: Final = range(0xD800, 0xE000)


class SheetTooBig(SheetError):
    """More than we are willing to unpack."""


class SheetForbidden(SheetError):
    """Not a plain table: macros, links to outside, another kind of file."""


def workbook_rows(
    source: Path | IO[bytes], *, max_rows: int, max_bytes: int = 64 * _MIB
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The header of the first sheet and its (row number, cells); rows without text passed over.

    Raises SheetError: SheetTooBig, SheetForbidden, or with the row that cannot be read.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            found = _read(_Package(archive, max_bytes), max_rows)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise SheetError("文件已损坏或有密码，打不开；请另存为 .xlsx 再上传") from error
    except expat.ExpatError as error:
        raise SheetError("工作簿内容已损坏，请另存为 .xlsx 再上传") from error
    filled = [(row, cells) for row, cells in found if any(cells)]
    if not filled or filled[0][0] != 1:
        return header_of(None), iter(())
    header = header_of(filled[0][1])
    return header, ((row, _padded(cells, len(header))) for row, cells in filled[1:])


def _padded(cells: list[str], width: int) -> list[str]:
    return cells + [""] * (width - len(cells))


class _Package:
    """The parts of a workbook, read under one limit for all of them together."""

    def __init__(self, archive: zipfile.ZipFile, max_bytes: int) -> None:
        self._archive = archive
        self._left = self._max = max_bytes
        infos = archive.infolist()
        if len(infos) > MOST_PARTS:
            raise SheetTooBig(f"工作簿里有 {len(infos)} 个部件，超过上限 {MOST_PARTS}")
        for info in infos:
            _refuse_forbidden(info)
        if sum(info.file_size for info in infos) > max_bytes:
            raise self._too_big()
        self.names = {info.filename for info in infos}
        if "xl/workbook.xml" not in self.names:
            raise SheetForbidden("这不是 Excel 工作簿（.xlsx）")

    def _too_big(self) -> SheetTooBig:
        return SheetTooBig(f"文件解压后超过上限 {self._max // _MIB} MiB，请拆成几个文件")

    def parse(self, name: str, parser: Any) -> None:
        """Feed a part to a parser; what a header claims about its size is not believed."""
        with self._archive.open(name) as stream:
            while chunk := stream.read(_CHUNK):
                self._left -= len(chunk)
                if self._left < 0:
                    raise self._too_big()
                parser.Parse(chunk, False)
        parser.Parse(b"", True)


def _refuse_forbidden(info: zipfile.ZipInfo) -> None:
    name = info.filename
    path = PurePosixPath(name)
    is_link = stat.S_ISLNK(info.external_attr >> 16)
    if is_link or path.is_absolute() or ".." in path.parts or "\\" in name:
        raise SheetForbidden("压缩包里有链接或路径，不是正常的工作簿")
    if any(part in name.lower() for part in _FORBIDDEN):
        raise SheetForbidden("工作簿含有宏、外部链接或嵌入对象；请另存为不含宏的 .xlsx 再上传")


def _parser() -> Any:
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def refuse(*_args: Any) -> None:
        raise SheetForbidden("工作簿里有不该有的内容（DOCTYPE）")

    parser.StartDoctypeDeclHandler = refuse
    return parser


def _local(tag: str, *spaces: str) -> str:
    """The name of a tag of one of these namespaces; another one's means nothing here."""
    space, _, name = tag.rpartition(" ")
    return name if space in spaces else ""


def _read(package: _Package, max_rows: int) -> list[tuple[int, list[str]]]:
    sheet = _first_sheet(package)
    shared = _SharedTexts()
    if "xl/sharedStrings.xml" in package.names:
        parser = _parser()
        shared.listen(parser)
        package.parse("xl/sharedStrings.xml", parser)
    reader = _SheetReader(shared.texts, max_rows)
    parser = _parser()
    reader.listen(parser)
    package.parse(sheet, parser)
    return reader.rows


def _first_sheet(package: _Package) -> str:
    """The part the first sheet lies in."""
    sheets = _elements(package, "xl/workbook.xml", "sheet", MAIN, _STRICT)
    relations = _elements(package, "xl/_rels/workbook.xml.rels", "Relationship", PACKAGE)
    if any(one.get("TargetMode") == "External" for one in relations):
        raise SheetForbidden("工作簿链接到外部文件；请另存为普通 .xlsx 再上传")
    targets = {one.get("Id", ""): one.get("Target", "") for one in relations}
    first = sheets[0] if sheets else {}
    key = first.get(f"{RELATIONS} id") or first.get(f"{_STRICT_RELATIONS} id") or ""
    target = targets.get(key, "")
    sheet = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    if sheet not in package.names:
        raise SheetError("工作簿里没有工作表")
    return sheet


def _elements(package: _Package, part: str, name: str, *spaces: str) -> list[dict[str, str]]:
    """The attributes of every element of this name; none where there is no such part."""
    found: list[dict[str, str]] = []

    def on_start(tag: str, attributes: dict[str, str]) -> None:
        if _local(tag, *spaces) == name:
            found.append(attributes)

    if part in package.names:
        parser = _parser()
        parser.StartElementHandler = on_start
        package.parse(part, parser)
    return found


class _SharedTexts:
    """The table of texts that cells point into. Readings of Chinese (``rPh``) are none of it."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._open: list[str] = []
        self._parts: list[str] = []

    def listen(self, parser: Any) -> None:
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters

    def _start(self, tag: str, _attributes: dict[str, str]) -> None:
        self._open.append(_local(tag, MAIN, _STRICT))
        if self._open[-1] == "si":
            self._parts = []

    def _end(self, _tag: str) -> None:
        if self._open.pop() == "si":
            self.texts.append(_unescaped("".join(self._parts)))

    def _characters(self, text: str) -> None:
        if self._open[-1] == "t" and "rPh" not in self._open:
            self._parts.append(text)


class _SheetReader:
    """The cells of one sheet as texts."""

    def __init__(self, shared: Sequence[str], max_rows: int) -> None:
        self.rows: list[tuple[int, list[str]]] = []
        self._shared = shared
        self._max_rows = max_rows
        self._at = 0
        self._cells: list[str] = []
        self._column = 0
        self._kind = ""
        self._parts: list[str] = []
        self._open: list[str] = []

    def listen(self, parser: Any) -> None:
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = _local(tag, MAIN, _STRICT)
        self._open.append(name)
        if name == "row":
            told = attributes.get("r", "")
            self._at = int(told) if told.isdecimal() and len(told) < 8 else self._at + 1  # noqa: PLR2004 - a sheet has seven digits of rows
            self._cells = []
        elif name == "c":
            self._column = self._place(attributes.get("r", ""))
            self._kind, self._parts = attributes.get("t", "n"), []
        elif name == "f":
            raise SheetError(f"第 {self._at} 行：{self._where()} 列是公式，请改为文本后再上传")

    def _place(self, told: str) -> int:
        """The column of a cell, from 0; the next one where it does not say."""
        match = _PLACE.fullmatch(told)
        at = len(self._cells)
        if match:
            at = -1
            for letter in match[1]:
                at = (at + 1) * 26 + ord(letter) - ord("A")
        if at >= MOST_COLUMNS:
            raise SheetTooBig(f"第 {self._at} 行超过 {MOST_COLUMNS} 列")
        return at

    def _where(self) -> str:
        tens, units = divmod(self._column, 26)
        return (chr(ord("A") + tens - 1) if tens else "") + chr(ord("A") + units)

    def _characters(self, text: str) -> None:
        if self._open[-1] in {"v", "t"} and "rPh" not in self._open:
            self._parts.append(text)

    def _end(self, _tag: str) -> None:
        name = self._open.pop()
        if name == "c":
            self._cells += [""] * (self._column + 1 - len(self._cells))
            self._cells[self._column] = self._value("".join(self._parts))
        elif name == "row" and any(self._cells):
            self.rows.append((self._at, self._cells))
            if len(self.rows) > self._max_rows + 1:
                raise SheetError(f"超过 {self._max_rows} 行，请拆成几个文件")

    def _value(self, text: str) -> str:
        if self._kind == "s":
            if not text.isdecimal() or int(text) >= len(self._shared):
                raise SheetError(f"第 {self._at} 行：{self._where()} 列的内容已损坏")
            return self._shared[int(text)]
        if self._kind == "e":
            raise SheetError(f"第 {self._at} 行：{self._where()} 列是错误值 {text[:20]}")
        if self._kind == "n" and text:
            return self._number(text)
        return _unescaped(text)

    def _number(self, text: str) -> str:
        """A number as it was typed, as long as that can be told."""
        if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) or len(text) > MOST_DIGITS:
            raise SheetError(
                f"第 {self._at} 行：{self._where()} 列的数字已被表格软件改写，"
                "请把该列设为文本格式后重新填写"
            )
        return text


def _unescaped(text: str) -> str:
    return ESCAPED.sub(_character, text)


def _character(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return "\ufffd" if code in _SURROGATES else chr(code)


def is_workbook(stream: IO[bytes]) -> bool:
    """Whether the bytes begin as those of a zip or an old Excel file; the name says nothing."""
    head = stream.read(4)
    stream.seek(0)
    if head == b"\xd0\xcf\x11\xe0":
        raise SheetForbidden("这是旧版 .xls 文件或有密码，请另存为 .xlsx 或 CSV 再上传")
    return head == b"PK\x03\x04"
