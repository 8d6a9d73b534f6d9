"""Douyin shop as its open interface answers and pushes (channels.md 3a to 3e)."""
