"""Measurements anyone can repeat: each beside its baseline, in one run, on a database of its own."""
