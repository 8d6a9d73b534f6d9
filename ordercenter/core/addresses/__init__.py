"""Chinese addresses: regions, free text, and a text by which two addresses are the same."""

from ordercenter.core.addresses.regions import (
    PROVINCES,
    Region,
    normalize_region,
    province_of,
)

__all__ = ["PROVINCES", "Region", "normalize_region", "province_of"]
