"""For `make dev`: reload and readable errors."""

from ordercenter.settings.base import *  # noqa: F403

DEBUG = True
