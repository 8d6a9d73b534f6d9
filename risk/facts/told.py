"""Facts of a whole batch: a column has what was seen of each order, at its place in the batch.

What most orders have in common is one object. It is made once, and found at once.
"""

from collections.abc import Iterable
from typing import Final

from risk.contracts import NOT_APPLICABLE, FactValue, Seen

Column = list[Seen]
YES: Final = Seen(value=True)
NO: Final = Seen(value=False)
NO_MATTER: Final = Seen(NOT_APPLICABLE)
_SAID: Final = {True: YES, False: NO}


def said(values: Iterable[FactValue]) -> Column:
    """Values of yes and no, some of them neither."""
    return [_SAID[value] if isinstance(value, bool) else Seen(value) for value in values]
