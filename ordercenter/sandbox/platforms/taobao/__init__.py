"""Taobao and Tmall's stand-in: gateway, orders, write-back, privacy, messages, tokens."""
