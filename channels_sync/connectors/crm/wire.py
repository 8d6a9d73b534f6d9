"""How the private CRM is asked and how it pushes (``channels.md`` 7; the wire is ours to define).

Rows are served by keyset: ``GET /crm_order?updated_at=&id=&until=&limit=`` gives those with
``(updated_at, id)`` behind the given pair, oldest first; ``GET /crm_order/{order_no}`` one.
Both directions are signed with HMAC-SHA256 over the time and the bytes.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

from channels_sync.connectors.base import BaseConnector
from channels_sync.connectors.crm.reading import crm_error
from channels_sync.connectors.exchange import (
    endpoint,
    exchange,
    parse_reply,
    platform_error,
    raise_refusal,
    reading_reply,
    refuse_client_error,
)
from channels_sync.connectors.field_map import any_time
from channels_sync.connectors.stamped import stamp_sign, verify_stamped
from channels_sync.connectors.values import CHINA, Node, optional_id, required_time
from channels_sync.contracts import (
    ErrorClass,
    PlatformError,
    Rejected,
    TryLater,
    WebhookRequest,
)

PAGE_SIZE: Final = 200
MAX_PAGES: Final = 20_000


def crm_text(moment: datetime) -> str:
    return moment.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")


def no_such_order() -> Rejected:
    return Rejected(PlatformError(ErrorClass.BUSINESS, "no_such_order", "商城没有返回这张订单"))


class CrmLine(BaseConnector):
    """The CRM's HTTP rows, and the check of its pushes."""

    def walk(self, table: str, start: datetime, until: datetime) -> Iterator[list[Any]]:
        """Ask ``(updated_at, id) > cursor`` until a page is short; the cursor must move."""
        cursor = (crm_text(start), 0)
        for _page in range(MAX_PAGES):
            rows = self.rows(table, cursor, until, limit=PAGE_SIZE)
            yield rows
            if len(rows) < PAGE_SIZE:
                return
            following = _cursor(rows[-1])
            if following <= cursor:
                raise TryLater(platform_error("cursor", "商城的下一页没有前进，已停止翻页"))
            cursor = following
        raise TryLater(platform_error("page_cap", "商城的行一直没有读完，已停止翻页"))

    def rows(
        self, table: str, cursor: tuple[str, int], until: datetime, *, limit: int
    ) -> list[Any]:
        query: dict[str, str | int] = {
            "updated_at": cursor[0],
            "id": cursor[1],
            "until": crm_text(until),
            "limit": limit,
        }
        rows = self._get(f"/{table}", query).get("rows")
        if not isinstance(rows, list):
            raise TryLater(platform_error("bad_body", "商城的答复里没有 rows"))
        return rows

    def row(self, channel_number: str) -> Mapping[str, Any]:
        """The order's row, bare or in whatever the CRM wraps a single one."""
        answer = self._get(f"/crm_order/{quote(channel_number, safe='')}", {})
        found: Any = answer.data
        for key in ("rows", "row", "order"):
            found = answer.get(key) if key in answer.data else found
        if isinstance(found, list):
            found = found[0] if len(found) == 1 else None
        if not isinstance(found, Mapping) or optional_id(found.get("order_no")) != channel_number:
            raise no_such_order()
        return found

    def _get(self, path: str, query: Mapping[str, str | int]) -> Node:
        """Ask the CRM; the signature covers path and query exactly as they are sent."""
        url = endpoint(self.access.base_url, path) + (f"?{urlencode(query)}" if query else "")
        request = self.client.build_request("GET", url)
        timestamp = str(int(self.now().timestamp()))
        request.headers["X-Timestamp"] = timestamp
        request.headers["X-Signature"] = stamp_sign(
            self.access.app_secret, timestamp, request.url.raw_path
        )
        with self.calling("rows"):
            reply = exchange(self.client, request)
            if reply.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
                words = f"商城拒绝了请求（HTTP {reply.status}）"
                code = f"http_{reply.status}"
                raise Rejected(PlatformError(ErrorClass.BUSINESS, code, words))
            refuse_client_error(reply)
            with reading_reply():
                answer = Node.of(parse_reply(reply.body))
                error = crm_error(answer)
                if error is not None:
                    raise_refusal(error)
                return answer

    def verify(self, request: WebhookRequest) -> None:
        verify_stamped(self.access, request)


def _cursor(row: Any) -> tuple[str, int]:
    """Where the next page starts; a row without a place would lose all that follow."""
    with reading_reply():
        node = Node.of(row, "rows[-1]")
        moment = required_time(any_time(node.get("updated_at"), "updated_at"), "updated_at")
        return (crm_text(moment), node.whole("id"))
