"""The couriers, each on its own wire."""
