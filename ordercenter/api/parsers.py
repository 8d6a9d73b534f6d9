"""One strict reader of JSON for the API: what two readers could take differently is refused.

DRF's own takes the last of duplicate keys, NaN and lone surrogates, and answers 100,000 nested
brackets with a crash (``reliability.md`` 3, traps 8 to 10).
"""

from collections.abc import Mapping
from typing import IO, Any, Final

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from channels_sync.connectors.strict_json import loads_strict
from channels_sync.contracts import Unreadable

MOST_BYTES: Final = 1024 * 1024


class StrictJSONParser(BaseParser):
    """Read a body of at most ``MOST_BYTES``; anything odd is 400 and reaches no view."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = stream.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise ParseError("请求体过大")
        try:
            return loads_strict(body)
        except Unreadable as reason:
            raise ParseError(f"无法读取的 JSON：{reason}") from reason
