"""Typed text made comparable: width, case and blanks make no difference."""

import unicodedata


def normal(text: str) -> str:
    """NFKC, case-folded, without any white space: full-width letters are the plain ones."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())
