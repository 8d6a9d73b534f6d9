"""The carriers we speak to. A carrier is a module here and a line in ``CARRIERS``."""

from collections.abc import Mapping
from typing import Final

from fulfillment.carriers.sf import SfCarrier
from fulfillment.contracts import CarrierFactory

CARRIERS: Final[Mapping[str, CarrierFactory]] = {"sf": SfCarrier}
