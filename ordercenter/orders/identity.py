"""The keys orders are matched by, and how each is made of what somebody tells.

A clear phone or address is a keyed blind index and holds everywhere; a channel's own id holds
for one shop. Masked text never becomes a key, and "" matches nothing.
"""

from ordercenter.core.addresses import Region, address_key
from ordercenter.core.phones import read_phone
from ordercenter.core.sealing import blind_key, blind_pairs


def buyer_key(buyer_id: str, shop_id: int) -> str:
    """A platform's id of a buyer, as it holds for one shop."""
    return blind_key("buyer", f"{shop_id}\0{buyer_id}") if buyer_id else ""


def device_key(device_id: str) -> str:
    return blind_key("device", device_id)


def phone_key(phone: str) -> str:
    """The blind index of a clear phone; empty for what is none, or tells nobody apart."""
    read = read_phone(phone)
    return blind_key("phone", read.key) if read else ""


def place_keys(region: Region, detail: str) -> tuple[str, tuple[int, ...] | None]:
    """(key, shingles) of a clear address; ("", None) where there is nothing to compare."""
    clear = address_key(region, detail)
    return blind_key("address", clear), blind_pairs(clear) or None


def place_key(region: Region, detail: str) -> str:
    """The blind index of a clear address: the same place in other words has the same key."""
    return blind_key("address", address_key(region, detail))


def oaid_key(oaid: str, shop_id: int) -> str:
    """A platform's id of a masked receiver, as it holds for one shop."""
    return blind_key("oaid", f"{shop_id}\0{oaid}") if oaid else ""
