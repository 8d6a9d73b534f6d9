"""The platforms, each on its own wire."""
