"""Chinese addresses: regions, free text, and a text by which two addresses are the same."""

from ordercenter.core.addresses.keys import address_key
from ordercenter.core.addresses.parser import (
    MAX_LENGTH,
    AddressProblem,
    ParsedAddress,
    ProblemCode,
    parse_address,
)
from ordercenter.core.addresses.regions import (
    DATA_VERSION,
    PROVINCES,
    Region,
    normalize_region,
    province_of,
)

__all__ = [
    "DATA_VERSION",
    "MAX_LENGTH",
    "PROVINCES",
    "AddressProblem",
    "ParsedAddress",
    "ProblemCode",
    "Region",
    "address_key",
    "normalize_region",
    "parse_address",
    "province_of",
]
