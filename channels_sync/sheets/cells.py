"""Cells of the CSV files we hand out: what a spreadsheet program would run or rewrite is text.

A leading apostrophe does that (ASVS 1.2.10). ``unquoted`` takes it away again, so that a file
somebody filled in comes back letter for letter.
"""

import re
from typing import Final

_RUNS: Final = frozenset("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20\ufffd")
"""What makes a formula of a cell, narrow or wide; and the apostrophe itself."""
_BLANKS: Final = " \u00a0\u3000"
_REWRITTEN: Final = re.compile(r"[0-9.,/:%eE+\- ]*[0-9][0-9.,/:%eE+\- ]*")
_SHORT_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,10}(\.[0-9]{2})?")


def quoted(text: str) -> str:
    """``text`` as a CSV cell that shows every letter of it and does nothing."""
    text = text.replace("\0", "\ufffd")
    return f"'{text}" if _needs_quote(text) else text


def unquoted(cell: str) -> str:
    """The text ``quoted`` made this cell of."""
    return cell[1:] if cell.startswith("'") and _needs_quote(cell[1:]) else cell


def _needs_quote(text: str) -> bool:
    begins = text.lstrip(_BLANKS)[:1]
    if begins in _RUNS and begins:
        return True
    return bool(_REWRITTEN.fullmatch(text)) and not _SHORT_NUMBER.fullmatch(text)
