#!/usr/bin/env python
"""Django's command line, with the embedded database brought up first where it is needed."""

import os
import signal
import sys
from types import FrameType
from typing import Final

WITHOUT_DATABASE: Final = frozenset(
    {
        "check",
        "collectstatic",
        "compilemessages",
        "diffsettings",
        "findstatic",
        "help",
        "makemessages",
        "parse_address",
        "read_payload",
        "read_trace",
        "verify_proof",
        "version",
    }
)


def needs_database(arguments: list[str]) -> bool:
    if not arguments or {"-h", "--help", "--version"} & set(arguments):
        return False
    return arguments[0] not in WITHOUT_DATABASE


def stop(_signal: int, _frame: FrameType | None) -> None:
    """End in order on SIGTERM too, so that the database learns that we left."""
    sys.exit(128 + signal.SIGTERM)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ordercenter.settings.base")
    signal.signal(signal.SIGTERM, stop)
    try:
        # Here and not above, so that a missing environment gets its line too.
        from django.core.management import execute_from_command_line  # noqa: PLC0415

        from ordercenter.run.database import NotReady, data_dir, ensure_database  # noqa: PLC0415
    except ImportError as error:
        sys.exit(f"缺少依赖 {error.name}；请运行 make install，再用 .venv/bin/python manage.py")
    try:
        data_dir()
        if needs_database(sys.argv[1:]):
            ensure_database()
        execute_from_command_line(sys.argv)
    except NotReady as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
