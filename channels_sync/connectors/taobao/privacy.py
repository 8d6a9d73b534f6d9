"""Ask Taobao for receivers in the clear, and which trades share one (``channels.md`` 1c)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar

from channels_sync.connectors.exchange import platform_error, reading_reply
from channels_sync.connectors.taobao.calls import TaobaoCalls
from channels_sync.connectors.taobao.documents import merge_groups
from channels_sync.connectors.values import Node
from channels_sync.contracts import (
    ConnectorError,
    Decrypted,
    DecryptRequest,
    ErrorClass,
    PlatformError,
)

T = TypeVar("T")

DECRYPT: Final = "taobao.top.oaid.decrypt"
DECRYPT_AT_ONCE: Final = 20
MERGE: Final = "taobao.top.oaid.merge"
MERGE_AT_ONCE: Final = 100
NO_OAID: Final = PlatformError(
    ErrorClass.BUSINESS, "no_oaid", "订单没有收件人标识（oaid），无法解密"
)
STALE: Final = PlatformError(
    ErrorClass.BUSINESS, "stale_oaid", "收件人标识已过期（买家可能改过地址），请重新拉取订单"
)
SILENT: Final = platform_error("not_answered", "平台没有答复这一单")


class TaobaoPrivacy(TaobaoCalls):
    """Option ``secret_no_days``: how long a virtual number shall live."""

    def decrypt(self, requests: Sequence[DecryptRequest]) -> list[Decrypted]:
        """Ask 20 at a time; what a later batch is refused stays with its own orders."""
        found = {
            one.channel_number: Decrypted(one.channel_number, error=NO_OAID)
            for one in requests
            if not one.oaid
        }
        asked = [one for one in requests if one.oaid]
        for number, batch in enumerate(_batches(asked, DECRYPT_AT_ONCE)):
            try:
                found |= self._decrypt_batch(batch)
            except ConnectorError as error:
                if number == 0:
                    raise
                found |= {
                    one.channel_number: Decrypted(one.channel_number, error=error.error)
                    for one in batch
                }
        return [
            found.get(one.channel_number, Decrypted(one.channel_number, error=SILENT))
            for one in requests
        ]

    def _decrypt_batch(self, batch: Sequence[DecryptRequest]) -> Mapping[str, Decrypted]:
        days = self.access.options.get("secret_no_days", "")
        queries = [
            {"tid": one.channel_number, "oaid": one.oaid, "scene": one.scene}
            | ({"secret_no_days": days} if days else {})
            for one in batch
        ]
        answer = self.call(DECRYPT, {"query_list": _json(queries)})
        with reading_reply():
            rows = answer.nodes("receiver_list", "receiver")
            return {row.text("tid"): _receiver(row) for row in rows}

    def merge_groups(self, requests: Sequence[DecryptRequest]) -> list[tuple[str, ...]]:
        """Ask 100 at a time; trades of different hundreds are never found to belong together."""
        groups: list[tuple[str, ...]] = []
        for batch in _batches([one for one in requests if one.oaid], MERGE_AT_ONCE):
            pairs = [{"tid": one.channel_number, "oaid": one.oaid} for one in batch]
            answer = self.call(MERGE, {"merge_list": _json(pairs)})
            with reading_reply():
                groups += [group for group in merge_groups(answer) if len(group) > 1]
        return groups


def _batches(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _receiver(row: Node) -> Decrypted:
    number = row.text("tid")
    if not row.boolean("matched"):
        return Decrypted(number, error=STALE)
    return Decrypted(
        number,
        name=row.text("name"),
        phone=row.first_text("mobile", "phone") or "",
        address=row.text("address_detail"),
        is_virtual=row.boolean("privacy_protection"),
        expires_at=row.china_time("secret_no_expire_time"),
    )
