"""Stand-ins for the platforms, a courier and a robot: a program of its own."""
