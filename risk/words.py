"""Typed text made comparable: width, case and blanks make no difference."""

import unicodedata
from collections.abc import Iterable


def normal(text: str) -> str:
    """NFKC, case-folded, without any white space: full-width letters are the plain ones."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def words_in(text: str, words: Iterable[str]) -> tuple[str, ...]:
    """Which of these normal words a normal text holds."""
    return tuple(word for word in words if word in text)
