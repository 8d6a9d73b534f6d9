"""How receivers look to people who only need to recognise them (GB/T 41833)."""

import re
from typing import Final

_DIGIT_RUN: Final = re.compile(r"(?<!\d)(\d{6})\d{5,}(\d{2})(?!\d)")


def mask_name(name: str) -> str:
    """Keep the first character; a single character is masked whole."""
    name = name.strip()
    if not name:
        return ""
    return "*" if len(name) == 1 else name[0] + "*" * min(len(name) - 1, 3)


def mask_phone(phone: str) -> str:
    """Keep the first three and the last two of a number; keep what is masked already."""
    if "*" in phone or len(phone) < 7:  # noqa: PLR2004
        return phone if "*" in phone else "*" * len(phone)
    return f"{phone[:3] if len(phone) >= 11 else ''}******{phone[-2:]}"  # noqa: PLR2004


def mask_numbers(text: str) -> str:
    """Hide identity and bank-card numbers somebody typed into a remark."""
    return _DIGIT_RUN.sub(r"\1****\2", text)
