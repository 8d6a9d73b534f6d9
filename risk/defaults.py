"""The rules that are shipped, and that decide where nobody ever made others live."""

import json
from pathlib import Path
from typing import Any, Final

DEFAULT_RULES: Final = Path(__file__).with_name("default_rules.json")


def default_rules() -> list[dict[str, Any]]:
    """The shipped rules at the thresholds of the requirements."""
    rules: list[dict[str, Any]] = json.loads(DEFAULT_RULES.read_text(encoding="utf-8"))
    return rules
