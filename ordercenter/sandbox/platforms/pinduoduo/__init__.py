"""Pinduoduo's stand-in: gateway, orders, write-back, privacy, messages, tokens."""
