"""Shopify as its Admin GraphQL answers and its webhooks tell (channels.md 5a to 5e)."""
