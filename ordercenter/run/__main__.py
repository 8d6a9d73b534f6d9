"""``python -m ordercenter.run [--reload]``: the supervisor behind ``make run``."""

import argparse
import os
import sys

from rich.console import Console

from ordercenter.run.config import read_config
from ordercenter.run.database import NotReady
from ordercenter.run.report import Report
from ordercenter.run.supervisor import Supervisor


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ordercenter.run", description=__doc__)
    parser.add_argument("--reload", action="store_true", help="源码变化时重启各进程")
    options = parser.parse_args()
    settings = "ordercenter.settings.dev" if options.reload else "ordercenter.settings.base"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings)
    console = Console(highlight=False)
    try:
        config = read_config(os.environ, reload=options.reload)
        Supervisor(config, Report(console), os.environ).run()
    except NotReady as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
