"""For the tests: quick passwords, the network off, one database for each worker."""

from ordercenter.settings.base import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGGING["root"]["level"] = "WARNING"  # type: ignore[index]  # noqa: F405
AXES_ENABLED = True
# The tests make and empty databases of their own; what the application may not do is tried in
# tests/audit/test_roles.py with a connection of its own.
OPTIONS = OWNER_DATABASE["OPTIONS"]  # noqa: F405
# What a power cut takes with it is made anew anyway; a commit need not wait for the disk.
OPTIONS = {**OPTIONS, "options": f"{OPTIONS['options']} -c synchronous_commit=off"}
DATABASES["default"] = {**OWNER_DATABASE, "CONN_MAX_AGE": 0, "OPTIONS": OPTIONS}  # noqa: F405
