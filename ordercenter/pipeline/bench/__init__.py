"""Measurements anyone can repeat: each beside its baseline, in one run, on its own database."""
