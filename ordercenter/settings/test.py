"""For the tests: quick passwords, the network off, one database for each worker."""

from ordercenter.settings.base import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGGING["root"]["level"] = "WARNING"  # type: ignore[index]  # noqa: F405
AXES_ENABLED = True
DATABASES["default"]["CONN_MAX_AGE"] = 0  # noqa: F405
