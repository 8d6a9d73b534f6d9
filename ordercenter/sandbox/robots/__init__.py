"""The chat robots that staff are told by."""
