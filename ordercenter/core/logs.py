"""Log lines that name nobody: an exception's own words may hold a receiver or a token.

PostgreSQL quotes the failing row, ``int()`` the text it could not read, httpx the whole address.
So a traceback says where and what kind; the words only of exceptions that are ours, which never
hold such values, and of kinds that speak about the program alone.
"""

import logging
import traceback
from types import TracebackType
from typing import Final

OURS: Final = ("ordercenter.", "channels_sync.", "inventory.", "fulfillment.", "risk.")
ABOUT_THE_PROGRAM: Final = (
    AttributeError, ImportError, MemoryError, NameError, NotImplementedError, RecursionError,
    RuntimeError, TypeError,
)  # fmt: skip
WITHHELD: Final = "(words withheld)"


def plain_words(error: BaseException) -> str:
    """What may be said of an exception anywhere: its kind, and its words where they are ours."""
    kind = type(error)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    if name.startswith(OURS) or kind in ABOUT_THE_PROGRAM:
        return f"{name}: {error}"
    facts = getattr(error, "diag", None) or getattr(error.__cause__, "diag", None)
    if facts is not None:  # of the database: the names of what refused, not the row
        told = (getattr(facts, key, None) for key in ("sqlstate", "table_name", "constraint_name"))
        return f"{name}: {' '.join(one for one in told if one) or WITHHELD}"
    return f"{name}: {WITHHELD}"


def plain_traceback(error: BaseException) -> str:
    """The traceback of an exception and of those behind it, each with its plain words."""
    lines: list[str] = []
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        frames = traceback.format_tb(one.__traceback__)
        lines.append("".join([*frames, plain_words(one)]))
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return "\n\nfollowed by\n\n".join(reversed(lines))


class PlainFormatter(logging.Formatter):
    """Formats every exception by ``plain_traceback``."""

    def formatException(  # noqa: N802 - logging's own name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        return "" if ei[1] is None else plain_traceback(ei[1])

    def format(self, record: logging.LogRecord) -> str:
        # A handler of somebody else may have left its own text of the exception behind.
        record.exc_text = None
        return super().format(record)
