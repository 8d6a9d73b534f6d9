"""The merchant's note where a platform replaces it whole: read, merge, write."""

from channels_sync.contracts import ErrorClass, PlatformError, Rejected


def has_line(note: str, line: str) -> bool:
    """Whether ``line`` stands in ``note`` already, whatever stands around it."""
    return line.strip() in note


def with_line(note: str, line: str, *, limit: int) -> str:
    """``note`` with ``line`` at its end, at most ``limit`` characters; all of it stays.

    Raises Rejected rather than cutting what others wrote.
    """
    merged = note if has_line(note, line) else "\n".join(filter(None, (note, line.strip())))
    if len(merged) > limit and merged != note:
        words = f"备注合起来有 {len(merged)} 个字，平台最多 {limit} 个，请先在平台后台整理"
        raise Rejected(PlatformError(ErrorClass.BUSINESS, "memo_too_long", words))
    return merged
