"""The platforms we speak to. A connector is a module here and a line in ``CONNECTORS``."""

from collections.abc import Mapping
from typing import Final

from channels_sync.connectors.base import ConnectorFactory

CONNECTORS: Final[Mapping[str, ConnectorFactory]] = {}
