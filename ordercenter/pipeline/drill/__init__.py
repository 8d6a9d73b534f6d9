"""Rehearsals: the whole center against the sandbox, with trouble ordered and the books compared."""
