"""JD's stand-in: gateway, orders, write-back, tokens."""
