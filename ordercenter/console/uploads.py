"""Tables handed in by people: looked at first, and what was looked at signed for its reader.

Nothing of a file is kept; what is applied is what was shown.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from django.core import signing
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from channels_sync.sheets.mapping import DELIMITERS
from channels_sync.sheets.rows import Dialect
from ordercenter.console.access import me
from ordercenter.core.errors import InvalidInput
from ordercenter.pipeline.tables import MAX_BYTES, FileTooBig

GOOD_FOR: Final = 3600
"""Seconds for which a look may still be applied."""
MOST_SIGNED: Final = 1_500_000
"""Letters a form can carry, below what one request may have."""
ENCODINGS: Final = ("utf-8", "gbk")
WORKBOOK: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CONTENT_TYPES: Final = {"xlsx": WORKBOOK, "csv": "text/csv; charset=utf-8"}
_T = TypeVar("_T")


def read_upload(request: HttpRequest, read: Callable[[Path, Dialect], _T]) -> _T:
    """Read the file of a form; its name is nobody's business. Raises InvalidInput."""
    upload = request.FILES.get("file")
    if not isinstance(upload, UploadedFile):
        raise InvalidInput(what=_("请选择填好的表格"))
    if (upload.size or 0) > MAX_BYTES:
        raise FileTooBig(what=_("文件超过 %(most)d MiB") % {"most": MAX_BYTES // 1024**2})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "upload"
        with path.open("wb") as kept:
            for chunk in upload.chunks():
                kept.write(chunk)
        return read(path, _dialect(request))


def _dialect(request: HttpRequest) -> Dialect:
    encoding = request.POST.get("encoding", "utf-8")
    delimiter = {"comma": ",", "semicolon": ";", "tab": "\t"}.get(
        request.POST.get("delimiter", "comma"), ""
    )
    if encoding not in ENCODINGS or delimiter not in DELIMITERS:
        raise InvalidInput(what=_("请选择编码与分隔符"))
    return Dialect(encoding, delimiter, MAX_BYTES)


def sign(request: HttpRequest, told: dict[str, Any], *, salt: str) -> str:
    """What a look came to, for this person's form. Raises InvalidInput where it is too much."""
    signed = signing.dumps({**told, "user": me(request).pk}, salt=salt, compress=True)
    if len(signed) > MOST_SIGNED:
        raise InvalidInput(what=_("表格内容太多，请拆成几个文件"))
    return signed


def signed_by(request: HttpRequest, *, salt: str) -> dict[str, Any]:
    """What the form carries, as long as it was made for this person and not long ago."""
    try:
        told: dict[str, Any] = signing.loads(
            request.POST.get("plan", ""), salt=salt, max_age=GOOD_FOR
        )
    except (signing.BadSignature, json.JSONDecodeError):
        told = {}
    if told.get("user") != me(request).pk:
        raise InvalidInput(what=_("预览已过期，请重新上传表格"))
    return told


def handed_out(data: bytes, name: str, kind: str) -> HttpResponse:
    """A file under a name of ours; what its bytes are is said."""
    answer = HttpResponse(data, content_type=CONTENT_TYPES[kind])
    answer["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    return answer
