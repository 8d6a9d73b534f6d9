"""Orders that come as a spreadsheet: bytes to rows, rows to one document an order.

No model and no network: what leaves here are ``RawMessage``s for the inbox.
"""
