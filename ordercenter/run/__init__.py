"""What ``make run`` does: bring up the whole order center and keep it up.

Starts its parts as plain processes and imports none of them.
"""
